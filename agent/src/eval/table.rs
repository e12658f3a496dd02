//! PURE: what scripts can see and do, as data. Objects, `help()` and the reference come from this one table.

use pilothouse_shared::snapshot::{AgentRow, GenerationRow, IdentifyRow, Overview, ShardRow, SinkRow, StageRow};
use rhai::Dynamic;

use crate::telemetry::snapshot::Snapshot;

/// Guilds that Discord lets one shard have.
const GUILDS_A_SHARD: u64 = 2_500;

/// The kinds of objects, in the order of [`CLASSES`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Gateway,
    Identify,
    Shard,
    Sink,
    Stage,
    Resharding,
    Agent,
}

/// What all objects of one kind have in common.
pub(super) struct Class {
    /// What one of them is called.
    pub name: &'static str,
    /// How a script comes by it.
    pub reached: &'static str,
    /// The list of all of them, where there is one.
    pub list: Option<&'static str>,
    pub about: &'static str,
    pub fields: &'static [Field],
    pub methods: &'static [Method],
    /// What a script could want and this agent cannot do while it runs.
    pub later: &'static [Later],
    /// What a command calls it.
    pub subject: fn(&Snapshot, usize) -> String,
}

/// Something that can be read.
pub(super) struct Field {
    pub name: &'static str,
    pub about: &'static str,
    /// Whether it is a column of a table of several.
    pub column: bool,
    pub get: fn(&Snapshot, usize) -> Dynamic,
}

/// Something that can be done; a method of several arguments counts is there once for each.
pub(super) struct Method {
    pub name: &'static str,
    pub arguments: &'static [&'static str],
    pub about: &'static str,
    /// The command's line: `{it}` is the subject, `{1}` and `{2}` are the arguments.
    pub line: &'static str,
}

/// A name that is a field to set and a method, and what to do instead.
pub(super) struct Later {
    pub name: &'static str,
    pub instead: &'static str,
}

/// A function that belongs to no object, or to every list.
pub(super) struct Function {
    pub call: &'static str,
    pub about: &'static str,
}

impl Kind {
    pub(super) fn class(self) -> &'static Class {
        &CLASSES[self as usize]
    }
}

impl Class {
    pub(super) fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    pub(super) fn later(&self, name: &str) -> Option<&'static Later> {
        self.later.iter().find(|later| later.name == name)
    }
}

const fn field(name: &'static str, about: &'static str, get: fn(&Snapshot, usize) -> Dynamic) -> Field {
    Field { name, about, column: false, get }
}

const fn column(name: &'static str, about: &'static str, get: fn(&Snapshot, usize) -> Dynamic) -> Field {
    Field { name, about, column: true, get }
}

const fn method(
    name: &'static str,
    arguments: &'static [&'static str],
    about: &'static str,
    line: &'static str,
) -> Method {
    Method { name, arguments, about, line }
}

fn int(number: impl TryInto<i64>) -> Dynamic {
    number.try_into().unwrap_or(i64::MAX).into()
}

fn text(text: &str) -> Dynamic {
    text.into()
}

/// `()` where there is nothing.
fn or_unit<T: Into<Dynamic>>(value: Option<T>) -> Dynamic {
    value.map_or(Dynamic::UNIT, Into::into)
}

fn fullest(snapshot: &Snapshot) -> u32 {
    snapshot.rows.iter().map(|row| row.guilds).max().unwrap_or(0)
}

fn shard(snapshot: &Snapshot, at: usize) -> &ShardRow {
    &snapshot.rows[at]
}

fn sink(snapshot: &Snapshot, at: usize) -> &SinkRow {
    &snapshot.overview.sinks[at]
}

fn stage(snapshot: &Snapshot, at: usize) -> &StageRow {
    &snapshot.overview.stages[at]
}

fn agent(snapshot: &Snapshot, at: usize) -> &AgentRow {
    &snapshot.overview.agents[at]
}

fn all(snapshot: &Snapshot) -> &Overview {
    &snapshot.overview
}

fn generation(snapshot: &Snapshot) -> &GenerationRow {
    &snapshot.overview.generation
}

fn identify(snapshot: &Snapshot) -> &IdentifyRow {
    &snapshot.overview.identify
}

/// Of every kind, in the order of [`Kind`].
pub(super) static CLASSES: [Class; 7] = [GATEWAY, IDENTIFY, SHARD, SINK, STAGE, RESHARDING, AGENT];

const GATEWAY: Class = Class {
    name: "gateway",
    reached: "gateway",
    list: None,
    about: "The bot's gateway as a whole.",
    fields: &[
        field("at", "when the snapshot was taken, Unix milliseconds", |s, _| int(all(s).at)),
        field("total", "shards in all", |s, _| int(generation(s).total)),
        field("version", "API version", |s, _| int(generation(s).version)),
        field("intents", "intents, as Discord's bit set", |s, _| int(generation(s).intents)),
        field("compression", "zlib, zstd or none", |s, _| text(&generation(s).compression)),
        field("generation", "counts up with each complete set of shards", |s, _| int(generation(s).number)),
        field("guilds", "guilds, available or not", |s, _| int(all(s).guilds)),
        field("unavailable", "guilds that Discord calls unavailable", |s, _| int(all(s).unavailable)),
        field("in_per_s", "events received in the last second", |s, _| int(all(s).in_per_s)),
        field("out_per_s", "events confirmed by every sink in the last second", |s, _| int(all(s).out_per_s)),
        field("received", "events received since the agent started", |s, _| int(all(s).received)),
        field("delivered", "events confirmed since the agent started", |s, _| int(all(s).delivered)),
        field("lost", "events given up since the agent started", |s, _| int(all(s).lost)),
        field("lag", "age of the oldest unconfirmed event, ms", |s, _| int(all(s).lag_ms)),
        field("p50_us", "median time from socket to confirmation, µs", |s, _| int(all(s).p50_us)),
        field("p99_us", "99th percentile of the same, µs", |s, _| int(all(s).p99_us)),
        field("findings", "what needs attention, worst first", |s, _| {
            all(s).findings.iter().map(|finding| text(&finding.text)).collect::<Vec<_>>().into()
        }),
    ],
    methods: &[
        method("restart", &[], "reconnect every shard; all resume", "restart *"),
        method("restart_identify", &[], "new sessions for every shard: an identify each", "restart * --identify"),
        method("presence", &["status"], "the bot's presence on every shard", "presence * --status {1}"),
        method("presence", &["status", "text"], "the same with an activity", "presence * --status {1} --activity={2}"),
    ],
    later: &[
        Later { name: "version", instead: "set api_version in its configuration and restart it" },
        Later { name: "intents", instead: "set intents in its configuration and restart it" },
        Later { name: "compression", instead: "set compression in its configuration and restart it" },
        Later { name: "total", instead: "set shards in its configuration and restart it" },
        Later { name: "reshard", instead: "set shards in its configuration and restart it" },
    ],
    subject: |_, _| "*".to_owned(),
};

const IDENTIFY: Class = Class {
    name: "identify",
    reached: "gateway.identify",
    list: None,
    about: "The day's identifies and the queue for them.",
    fields: &[
        field("total", "identifies a day", |s, _| int(identify(s).total)),
        field("remaining", "identifies left", |s, _| int(identify(s).remaining)),
        field("resets_at", "when the budget is whole again, Unix milliseconds", |s, _| int(identify(s).resets_at)),
        field("max_concurrency", "identifies at once", |s, _| int(identify(s).max_concurrency)),
        field("reserve", "kept back for operators", |s, _| int(identify(s).reserve)),
        field("waiting", "shards that wait for leave", |s, _| int(identify(s).waiting)),
        field("held", "why nobody may identify, or ()", |s, _| or_unit(identify(s).held.as_deref().map(text))),
    ],
    methods: &[
        method("hold", &[], "nobody identifies until released; resumes go on", "identify hold"),
        method("release", &[], "identifies go on, and may use up the reserve", "identify release"),
    ],
    later: &[],
    subject: |_, _| String::new(),
};

const SHARD: Class = Class {
    name: "shard",
    reached: "shards[3]",
    list: Some("shards"),
    about: "One shard. The methods are those of shards, too, and of any part of them that filter or top gives.",
    fields: &[
        column("id", "its number", |s, at| int(shard(s, at).id)),
        column("state", "active, resuming, fatal, …", |s, at| text(shard(s, at).state.name())),
        field("since", "when it came into that state, Unix milliseconds", |s, at| int(shard(s, at).since)),
        column("agent", "name of its agent", |s, at| text(&shard(s, at).agent)),
        column("worker", "worker of that agent", |s, at| int(shard(s, at).worker)),
        field("version", "API version of its connection", |s, at| int(shard(s, at).version)),
        column("lag", "age of its oldest unconfirmed event, ms", |s, at| int(shard(s, at).lag_ms)),
        column("latency", "round trip of a heartbeat, ms, or ()", |s, at| {
            or_unit(shard(s, at).latency_ms.map(i64::from))
        }),
        column("events_per_s", "events in the last second", |s, at| int(shard(s, at).events_per_s)),
        field("events", "events since the agent started", |s, at| int(shard(s, at).events)),
        field("unconfirmed", "events that are not confirmed", |s, at| int(shard(s, at).unconfirmed)),
        column("guilds", "guilds, available or not", |s, at| int(shard(s, at).guilds)),
        field("unavailable", "guilds that Discord calls unavailable", |s, at| int(shard(s, at).unavailable)),
        field("seq", "last sequence received", |s, at| int(shard(s, at).seq)),
        field("confirmed", "last sequence confirmed and stored", |s, at| int(shard(s, at).confirmed)),
        field("resumes", "resumes since the agent started", |s, at| int(shard(s, at).resumes)),
        field("identifies", "identifies since the agent started", |s, at| int(shard(s, at).identifies)),
        field("sends_left", "commands it may still send in this minute", |s, at| int(shard(s, at).sends_left)),
        field("close", "code of its last close, or ()", |s, at| {
            or_unit(shard(s, at).close.as_ref().and_then(|close| close.code).map(i64::from))
        }),
        field("close_reason", "that close in words, or ()", |s, at| {
            or_unit(shard(s, at).close.as_ref().map(|close| text(&close.reason)))
        }),
    ],
    methods: &[
        method("restart", &[], "reconnect; it resumes and nothing is lost", "restart {it}"),
        method("restart_identify", &[], "a new session: spends an identify", "restart {it} --identify"),
        method("close", &["code"], "close the connection with a code from 3000 to 4999", "close {it} --code {1}"),
        method("presence", &["status"], "the bot's presence there", "presence {it} --status {1}"),
        method(
            "presence",
            &["status", "text"],
            "the same with an activity",
            "presence {it} --status {1} --activity={2}",
        ),
    ],
    later: &[],
    subject: |s, at| shard(s, at).id.to_string(),
};

const SINK: Class = Class {
    name: "sink",
    reached: "sinks.http",
    list: Some("sinks"),
    about: "One way to the bot.",
    fields: &[
        column("name", "its name", |s, at| text(&sink(s, at).name)),
        field("kind", "http, amqp, nats or ndjson", |s, at| text(&sink(s, at).kind)),
        column("state", "in words", |s, at| text(&sink(s, at).state)),
        field("healthy", "whether that is the usual one", |s, at| sink(s, at).healthy.into()),
        column("queued", "events waiting or in flight", |s, at| int(sink(s, at).queued)),
        column("spooled", "events in its spool", |s, at| int(sink(s, at).spooled)),
        field("spool_bytes", "bytes of its spool", |s, at| int(sink(s, at).spool_bytes)),
        column("out_per_s", "events confirmed in the last second", |s, at| int(sink(s, at).out_per_s)),
        column("delivered", "events confirmed since the agent started", |s, at| int(sink(s, at).delivered)),
        field("retries", "attempts that were repeated", |s, at| int(sink(s, at).retries)),
        field("dead", "events that the bot refused for good", |s, at| int(sink(s, at).dead)),
        field("letters", "dead letters that wait", |s, at| int(sink(s, at).letters)),
        field("dropped", "events that a full spool had no room for", |s, at| int(sink(s, at).dropped)),
        field("expired", "events that were too old in their turn", |s, at| int(sink(s, at).expired)),
        field("purged", "events that an operator threw away", |s, at| int(sink(s, at).purged)),
        column("lag", "age of the oldest event that it tries to deliver, ms", |s, at| int(sink(s, at).lag_ms)),
    ],
    methods: &[
        method("pause", &[], "begin no delivery; events go to the spool", "sink {it} pause"),
        method("resume", &[], "go on, with the backlog at its usual pace", "sink {it} resume"),
        method("drain", &[], "deliver the backlog as fast as the bot takes it", "sink {it} drain"),
        method("purge", &[], "throw the backlog away", "sink {it} purge"),
        method("resend_letters", &[], "deliver its dead letters again", "dead {it} resend"),
        method("purge_letters", &[], "throw its dead letters away", "dead {it} purge"),
    ],
    later: &[],
    subject: |s, at| sink(s, at).name.clone(),
};

const STAGE: Class = Class {
    name: "stage",
    reached: "stages.drop",
    list: Some("stages"),
    about: "What is done to events before they are delivered. `stages.drop = true` is `stages.drop.on()`.",
    fields: &[
        column("name", "its name", |s, at| text(&stage(s, at).name)),
        column("on", "whether it is on", |s, at| stage(s, at).on.into()),
        column("dropped", "events dropped since the agent started", |s, at| int(stage(s, at).dropped)),
        column("renamed", "events renamed since the agent started", |s, at| int(stage(s, at).renamed)),
    ],
    methods: &[
        method("on", &[], "switch it on until the agent restarts", "stage {it} on"),
        method("off", &[], "switch it off until the agent restarts", "stage {it} off"),
    ],
    later: &[],
    subject: |s, at| stage(s, at).name.clone(),
};

const RESHARDING: Class = Class {
    name: "resharding",
    reached: "resharding",
    list: None,
    about: "How full the shards are. Discord lets one have 2,500 guilds.",
    fields: &[
        field("total", "shards in all", |s, _| int(generation(s).total)),
        field("fullest", "guilds of the fullest shard", |s, _| int(fullest(s))),
        field("full_percentage", "that in percent of 2,500", |s, _| int(u64::from(fullest(s)) * 100 / GUILDS_A_SHARD)),
    ],
    methods: &[],
    later: &[
        Later { name: "total", instead: "set shards in its configuration and restart it" },
        Later { name: "shards_full_percentage", instead: "watch full_percentage, set shards and restart it in time" },
    ],
    subject: |_, _| String::new(),
};

const AGENT: Class = Class {
    name: "agent",
    reached: "fleet[0]",
    list: Some("fleet"),
    about: "One agent process.",
    fields: &[
        column("name", "its name", |s, at| text(&agent(s, at).name)),
        column("version", "version of the program", |s, at| text(&agent(s, at).version)),
        field("started_at", "when it started, Unix milliseconds", |s, at| int(agent(s, at).started_at)),
        column("workers", "threads that run shards", |s, at| int(agent(s, at).workers)),
        column("shards", "shards that it holds", |s, at| int(agent(s, at).shards)),
        column("active", "of those, active ones", |s, at| int(agent(s, at).active)),
        column("in_per_s", "events received in the last second", |s, at| int(agent(s, at).in_per_s)),
        field("cpu_permille", "thousandths of one core", |s, at| int(agent(s, at).cpu_permille)),
        column("resident", "memory, bytes", |s, at| int(agent(s, at).resident)),
    ],
    methods: &[],
    later: &[],
    subject: |s, at| agent(s, at).name.clone(),
};

/// What every list has.
pub(super) static OF_LISTS: [Function; 11] = [
    Function { call: "len()", about: "how many" },
    Function { call: "is_empty()", about: "whether there is none" },
    Function { call: "filter(|s| …)", about: "those of which the function says true, as a list" },
    Function { call: "map(|s| …)", about: "what the function makes of each, as an array" },
    Function { call: "find(|s| …)", about: "the first of which the function says true, or ()" },
    Function { call: "some(|s| …)", about: "whether the function says true of one" },
    Function { call: "all(|s| …)", about: "whether the function says true of each" },
    Function {
        call: "filter(|s, most| s.lag > most, 300)",
        about: "a function sees only its arguments: a value more, for all five",
    },
    Function { call: "sum(\"guilds\")", about: "the sum of a field" },
    Function { call: "top(\"lag\", 10)", about: "those with the most of a field, most first, as a list" },
    Function { call: "for s in shards { … }", about: "one after the other" },
];

/// What belongs to no object.
pub(super) static GLOBAL: [Function; 4] = [
    Function { call: "help()", about: "all this" },
    Function { call: "help(shards)", about: "what one object has" },
    Function {
        call: "command(\"voice leave 197038439483310086\")",
        about: "any command that does something, as a line",
    },
    Function { call: "print(value)", about: "a line before the answer" },
];
