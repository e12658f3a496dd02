//! Every setting, as data. The file's schema, the flags, the example, the reference and `config print` come from here.

use std::net::SocketAddr;
use std::time::Duration;

use super::value::{Raw, Rejected, quoted, quoted_bytes, quoted_duration, shown_duration, url};
use super::{
    Authorities, Compression, Config, LogFormat, Secret, ShardCount, WhenFull, chat, control_keys, intents, stages,
};
use crate::gateway::kind::EventKind;

/// One setting of a `T`.
#[derive(Debug)]
pub struct Key<T: 'static> {
    /// Its name in the file; a dot separates table and key.
    pub name: &'static str,
    /// The environment variable that sets it.
    pub env: Option<&'static str>,
    /// The flag that sets it, without `--`.
    pub flag: Option<&'static str>,
    /// What it does, one or two sentences.
    pub about: &'static str,
    /// What can be written.
    pub allowed: &'static str,
    /// What holds when nothing is written, in words, where that is not the same for everyone.
    pub otherwise: Option<&'static str>,
    /// A TOML value to show where there is no fixed default.
    pub example: &'static str,
    /// Its value is never shown.
    pub secret: bool,
    /// It can change while the agent runs.
    pub live: bool,
    /// Takes the value over.
    pub set: fn(&mut T, &Raw) -> Result<(), Rejected>,
    /// The value in TOML; none where nothing is set.
    pub get: fn(&T) -> Option<String>,
}

/// A setting of the agent.
pub type Agent = Key<Config>;

impl<T> Key<T> {
    pub(super) const fn new(
        name: &'static str,
        about: &'static str,
        allowed: &'static str,
        set: fn(&mut T, &Raw) -> Result<(), Rejected>,
        get: fn(&T) -> Option<String>,
    ) -> Self {
        Self {
            name,
            env: None,
            flag: None,
            about,
            allowed,
            otherwise: None,
            example: "",
            secret: false,
            live: false,
            set,
            get,
        }
    }

    pub(super) const fn env(self, variable: &'static str) -> Self {
        Self { env: Some(variable), ..self }
    }

    const fn flag(self, flag: &'static str) -> Self {
        Self { flag: Some(flag), ..self }
    }

    pub(super) const fn otherwise(self, words: &'static str, example: &'static str) -> Self {
        Self { otherwise: Some(words), example, ..self }
    }

    const fn live(self) -> Self {
        Self { live: true, ..self }
    }

    pub(super) const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }
}

pub(super) const DURATION: &str = "a time such as 250ms, 5s or 1m, from 1ms to 10m";

pub(super) const SIZE: &str = "a size such as 512MiB or 4GiB";
const AGE: &str = "a time such as 10m, 24h or 0s, up to 720h";
const LONGEST_AGE: Duration = Duration::from_secs(30 * 24 * 3_600);

/// What is left of an identify when everything else is in it.
const PRESENCE_BYTES: usize = 3_072;

/// The name of a key in its table.
pub(super) fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

pub(super) fn put<T>(place: &mut T, value: Result<T, Rejected>) -> Result<(), Rejected> {
    *place = value?;
    Ok(())
}

pub(super) fn duration(raw: &Raw) -> Result<Duration, Rejected> {
    raw.duration(Duration::from_millis(1)..=Duration::from_secs(600))
}

pub(super) fn secret(raw: &Raw) -> Result<Option<Secret>, Rejected> {
    raw.header().map(|text| Some(Secret::new(text)))
}

pub(super) fn hidden(secret: Option<&Secret>) -> Option<String> {
    secret.map(|secret| quoted(&secret.to_string()))
}

/// `INTERACTION_CREATE=3s`
fn expiry(item: &str) -> Result<(EventKind, Duration), Rejected> {
    let (name, limit) =
        item.split_once('=').ok_or_else(|| Rejected::because(format!("{item}: the time is missing")))?;
    let kind = EventKind::of(name.trim().as_bytes());
    if kind == EventKind::OTHER {
        return Err(Rejected::because(format!("{} is no type of event that Discord documents", name.trim())));
    }
    let limit = Raw::One(limit.to_owned()).duration(Duration::from_millis(1)..=LONGEST_AGE)?;
    Ok((kind, limit))
}

/// The settings of the agent: those of the root table first, then table by table.
pub static KEYS: &[Agent] = &[
    Agent::new(
        "token",
        "The bot's token, with or without `Bot ` before it. Better given by the environment than by a file.",
        "a bot token: letters, digits and punctuation, no spaces",
        |config, raw| {
            let text = raw.header()?;
            let token = text.strip_prefix("Bot ").unwrap_or(text).trim();
            if token.is_empty() || token.contains(' ') {
                return Err(Rejected::default());
            }
            config.token = Secret::new(token);
            Ok(())
        },
        |config| hidden(Some(&config.token)),
    )
    .env("TOKEN")
    .otherwise("none, it must be set", "\"…\"")
    .secret(),
    Agent::new(
        "intents",
        "The events that Discord sends. GUILD_MEMBERS, GUILD_PRESENCES and MESSAGE_CONTENT need Discord's leave.",
        "names of intents, with commas between them, or the number of their bit set",
        |config, raw| put(&mut config.intents, intents::parse(&raw.list()).map_err(Rejected::because)),
        |config| Some(quoted(&intents::display(config.intents))),
    )
    .env("PILOTHOUSE_INTENTS")
    .flag("intents"),
    Agent::new(
        "shards",
        "How many shards the bot has. `auto`: as many as Discord recommends.",
        "auto, or a whole number from 1 to 100000",
        |config, raw| {
            config.shards = match raw.text()? {
                "auto" => ShardCount::Auto,
                _ => ShardCount::Count(raw.whole(1..=100_000)?),
            };
            Ok(())
        },
        |config| {
            Some(match config.shards {
                ShardCount::Auto => quoted("auto"),
                ShardCount::Count(count) => count.to_string(),
            })
        },
    )
    .env("PILOTHOUSE_SHARDS")
    .flag("shards"),
    Agent::new(
        "api_version",
        "Version of Discord's gateway and of the REST call before it.",
        "a whole number from 6 to 99 (Discord discontinued 5 and everything before it)",
        |config, raw| put(&mut config.api_version, raw.whole(6..=99)),
        |config| Some(config.api_version.to_string()),
    )
    .env("PILOTHOUSE_API_VERSION")
    .flag("api-version"),
    Agent::new(
        "compression",
        "How Discord compresses what it sends. zlib's window takes 48 KiB of memory a shard, zstd's 250 to 750 KiB.",
        "zlib, zstd or none",
        |config, raw| put(&mut config.compression, raw.choice(&COMPRESSIONS)),
        |config| named(&COMPRESSIONS, config.compression),
    )
    .env("PILOTHOUSE_COMPRESSION")
    .flag("compression"),
    Agent::new(
        "rest_url",
        "Base of Discord's REST API or of your proxy of it. Session info is asked at `{rest_url}/v{api_version}/gateway/bot`.",
        "an http or https URL without the version",
        |config, raw| {
            config.rest_url = url(raw.text()?)?.trim_end_matches('/').to_owned();
            let last = config.rest_url.rsplit('/').next().unwrap_or_default();
            let version = last.strip_prefix('v').is_some_and(|rest| rest.parse::<u8>().is_ok());
            if version { Err(Rejected::because(format!("leave out /{last}: it comes from api_version"))) } else { Ok(()) }
        },
        |config| Some(quoted(&config.rest_url)),
    )
    .env("REST_URL")
    .flag("rest-url"),
    Agent::new(
        "authorization",
        "The `authorization` header of calls to `rest_url` (instead of `Bot TOKEN`) and to sinks that have none of their own, and the key that the bot shows us.",
        "a text of printable ASCII characters",
        |config, raw| put(&mut config.authorization, secret(raw)),
        |config| hidden(config.authorization.as_ref()),
    )
    .env("AUTHORIZATION")
    .otherwise("none", "\"…\"")
    .secret(),
    Agent::new(
        "data_dir",
        "Folder of what must survive: sessions, the console's token, logs. One agent each.",
        "a path",
        |config, raw| {
            config.data_dir = raw.text()?.into();
            Ok(())
        },
        |config| Some(quoted(&config.data_dir.to_string_lossy())),
    )
    .env("PILOTHOUSE_DATA_DIR")
    .flag("data-dir")
    .otherwise("$XDG_DATA_HOME/pilothouse, else $HOME/.local/share/pilothouse, else /var/lib/pilothouse", "\"/var/lib/pilothouse\""),
    Agent::new(
        "listen",
        "Where consoles and HTTP are answered. Beyond loopback only with `control.tls_cert`, or with `insecure`.",
        "an IP address and a port, such as 127.0.0.1:7600 or [::1]:7600",
        |config, raw| put(&mut config.listen, raw.text()?.parse::<SocketAddr>().map_err(|_| Rejected::default())),
        |config| Some(quoted(&config.listen.to_string())),
    )
    .env("PILOTHOUSE_LISTEN")
    .flag("listen"),
    Agent::new(
        "bot_port",
        "Port of a second listener, on all interfaces and without TLS, that answers the bot's own requests and nothing else. Needs `authorization`. They are answered at `listen`, too.",
        "a whole number from 1 to 65535",
        |config, raw| put(&mut config.bot_port, raw.whole(1..=65_535).map(Some)),
        |config| config.bot_port.map(|port| port.to_string()),
    )
    .env("GATEWAY_MANAGER_PORT")
    .otherwise("none", "8081"),
    Agent::new(
        "insecure",
        "Leave to listen beyond loopback without TLS: whoever can read the network then reads tokens.",
        "true or false",
        |config, raw| put(&mut config.insecure, raw.flag()),
        |config| Some(config.insecure.to_string()),
    )
    .env("PILOTHOUSE_INSECURE")
    .flag("insecure"),
    Agent::new(
        "workers",
        "Threads that run shards.",
        "a whole number from 1 to 256",
        |config, raw| put(&mut config.workers, raw.whole(1..=256)),
        |config| Some(config.workers.to_string()),
    )
    .env("PILOTHOUSE_WORKERS")
    .flag("workers")
    .otherwise("one for each core", "4"),
    Agent::new(
        "name",
        "Name of this agent, on consoles and in metrics.",
        "up to 64 letters, digits, dots, dashes and underscores",
        |config, raw| put(&mut config.name, raw.name()),
        |config| Some(quoted(&config.name)),
    )
    .env("PILOTHOUSE_NAME")
    .flag("name")
    .otherwise("the machine's name", "\"eu-1\""),
    Agent::new(
        "fleet",
        "Name of the fleet, on consoles.",
        "up to 64 letters, digits, dots, dashes and underscores",
        |config, raw| put(&mut config.fleet, raw.name()),
        |config| Some(quoted(&config.fleet)),
    ),
    control_keys::TLS_CERT,
    control_keys::TLS_KEY,
    control_keys::HOSTS,
    control_keys::AUDIT_KEEP,
    Agent::new(
        "log.level",
        "What is logged: a level, or directives such as `info,pilothouse_agent::shard=debug`.",
        "error, warn, info, debug, trace, off, or directives TARGET=LEVEL with commas between them",
        |config, raw| {
            let level = raw.list().join(",");
            crate::telemetry::logs::filter(&level).map_err(Rejected::because)?;
            config.log.level = level;
            Ok(())
        },
        |config| Some(quoted(&config.log.level)),
    )
    .live()
    .env("PILOTHOUSE_LOG")
    .flag("log"),
    Agent::new(
        "log.format",
        "Format of the log files.",
        "text or json",
        |config, raw| put(&mut config.log.format, raw.choice(&FORMATS)),
        |config| named(&FORMATS, config.log.format),
    ),
    Agent::new(
        "log.dir",
        "Folder of the log files.",
        "a path",
        |config, raw| {
            config.log.dir = Some(raw.text()?.into());
            Ok(())
        },
        |config| config.log.dir.as_ref().map(|dir| quoted(&dir.to_string_lossy())),
    )
    .otherwise("`logs` in the data folder", "\"/var/log/pilothouse\""),
    Agent::new(
        "log.keep",
        "Log files kept. There is one a day.",
        "a whole number from 1 to 3650",
        |config, raw| put(&mut config.log.keep, raw.whole(1..=3650)),
        |config| Some(config.log.keep.to_string()),
    ),
    Agent::new(
        "gateway.identify_interval",
        "Time between two identifies of one bucket. Discord demands 5 s; shorten it only against a stand-in.",
        DURATION,
        |config, raw| put(&mut config.gateway.identify_interval, duration(raw)),
        |config| Some(quoted_duration(config.gateway.identify_interval)),
    ),
    Agent::new(
        "gateway.connect_timeout",
        "Longest wait for a connection: TCP, TLS and WebSocket together.",
        DURATION,
        |config, raw| put(&mut config.gateway.connect_timeout, duration(raw)),
        |config| Some(quoted_duration(config.gateway.connect_timeout)),
    ),
    Agent::new(
        "gateway.hello_timeout",
        "Longest wait for HELLO on a new connection.",
        DURATION,
        |config, raw| put(&mut config.gateway.hello_timeout, duration(raw)),
        |config| Some(quoted_duration(config.gateway.hello_timeout)),
    ),
    Agent::new(
        "gateway.ready_timeout",
        "Longest wait for the answer to an identify or a resume.",
        DURATION,
        |config, raw| put(&mut config.gateway.ready_timeout, duration(raw)),
        |config| Some(quoted_duration(config.gateway.ready_timeout)),
    ),
    Agent::new(
        "gateway.large_threshold",
        "Members above which Discord leaves the offline ones out of a guild.",
        "a whole number from 50 to 250",
        |config, raw| put(&mut config.gateway.large_threshold, raw.whole(50..=250)),
        |config| Some(config.gateway.large_threshold.to_string()),
    ),
    Agent::new(
        "gateway.max_unconfirmed",
        "Events of one session that may be unconfirmed before no more are read from its socket.",
        "a whole number from 1 to 1000000",
        |config, raw| put(&mut config.gateway.max_unconfirmed, raw.whole(1..=1_000_000)),
        |config| Some(config.gateway.max_unconfirmed.to_string()),
    )
    .live(),
    Agent::new(
        "gateway.reserve_percent",
        "Percent of the day's identifies that are left to an operator.",
        "a whole number from 0 to 90",
        |config, raw| put(&mut config.gateway.reserve_percent, raw.whole(0..=90)),
        |config| Some(config.gateway.reserve_percent.to_string()),
    )
    .live(),
    Agent::new(
        "gateway.presence",
        "The bot's presence when it identifies, as Discord's JSON.",
        "a JSON object, such as {\"since\":null,\"activities\":[],\"status\":\"idle\",\"afk\":false}",
        |config, raw| {
            let text = raw.text()?;
            let parsed = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text);
            parsed.map_err(|err| Rejected::because(err.to_string()))?;
            if text.len() > PRESENCE_BYTES {
                return Err(Rejected::because(format!("longer than {PRESENCE_BYTES} bytes, an identify holds 4096")));
            }
            config.gateway.presence = Some(text.to_owned());
            Ok(())
        },
        |config| config.gateway.presence.as_deref().map(quoted),
    )
    .otherwise("none, the bot is online", "'{\"since\":null,\"activities\":[],\"status\":\"idle\",\"afk\":false}'"),
    Agent::new(
        "gateway.ca_file",
        "Certificate authorities that a wss:// gateway may have its certificate from, beside the public ones: for a gateway proxy of your own.",
        "a path of a PEM file with at least one certificate",
        |config, raw| {
            let authorities = Authorities::read(raw.text()?).map_err(Rejected::because)?;
            config.gateway.ca_file = Some(authorities);
            Ok(())
        },
        |config| config.gateway.ca_file.as_ref().map(|ca| quoted(&ca.path().to_string_lossy())),
    )
    .otherwise("none, the public authorities alone", "\"/etc/pilothouse/ca.pem\""),
    Agent::new(
        "spool.max_size",
        "Disk that the events of one sink may take while its bot is behind. 0: no spool; then sockets are held.",
        SIZE,
        |config, raw| put(&mut config.spool.max_bytes, raw.bytes()),
        |config| Some(quoted_bytes(config.spool.max_bytes)),
    )
    .live(),
    Agent::new(
        "spool.reserve",
        "Disk that stays free for others; below it nothing is spooled and sockets are held.",
        SIZE,
        |config, raw| put(&mut config.spool.reserve_bytes, raw.bytes()),
        |config| Some(quoted_bytes(config.spool.reserve_bytes)),
    )
    .live(),
    Agent::new(
        "spool.when_full",
        "A spool nearly full. `drop_class`: presence and typing are dropped from 80 %, what can be asked for again from 95 %, counted; messages, interactions and the like never: their sockets are held. `hold`: nothing is dropped.",
        "drop_class or hold",
        |config, raw| put(&mut config.spool.when_full, raw.choice(&WHEN_FULL)),
        |config| named(&WHEN_FULL, config.spool.when_full),
    )
    .live(),
    Agent::new(
        "spool.after",
        "An event that a sink has not confirmed after this time goes to its spool, with everything behind it.",
        DURATION,
        |config, raw| put(&mut config.spool.after, duration(raw)),
        |config| Some(quoted_duration(config.spool.after)),
    )
    .live(),
    Agent::new(
        "spool.drain_rate",
        "Events a second by which a backlog shrinks, of each route and worker, so that a bot that returns is not drowned.",
        "a whole number from 1 to 1000000",
        |config, raw| put(&mut config.spool.drain_rate, raw.whole(1..=1_000_000)),
        |config| Some(config.spool.drain_rate.to_string()),
    )
    .live(),
    Agent::new(
        "spool.max_age",
        "Older events are not delivered from the spool, but counted as expired. 0s: they are, however old.",
        AGE,
        |config, raw| {
            let age = raw.duration(Duration::ZERO..=LONGEST_AGE)?;
            config.spool.max_age = (age > Duration::ZERO).then_some(age);
            Ok(())
        },
        |config| Some(quoted_duration(config.spool.max_age.unwrap_or_default())),
    )
    .live(),
    Agent::new(
        "spool.expiry",
        "The same for single types: an interaction cannot be answered after 3 s, for example.",
        "types with times: INTERACTION_CREATE=3s, TYPING_START=10s",
        |config, raw| put(&mut config.spool.expiry, raw.list().iter().map(|item| expiry(item)).collect()),
        |config| {
            let shown = |(kind, limit): &(EventKind, Duration)| format!("{}={}", kind.name(), shown_duration(*limit));
            let all: Vec<String> = config.spool.expiry.iter().map(shown).collect();
            (!all.is_empty()).then(|| quoted(&all.join(", ")))
        },
    )
    .live()
    .otherwise("none", "\"INTERACTION_CREATE=3s\""),
    Agent::new(
        "stages.enabled",
        "What is done to events before they are delivered. `guild_lifecycle`: a GUILD_CREATE is left only where the bot was added; of a guild that READY listed it becomes GUILD_LOADED_DD, of one that comes again GUILD_CREATE_AVAILABLE; a GUILD_DELETE with `unavailable` becomes GUILD_UNAVAILABLE. `message_update`: an update that changes no more than embeds is dropped. `message_prefix`: of messages only those with a prefix or a mention of the bot are kept. `drop`: types are dropped. Each can be switched live: `stage NAME on|off`.",
        "names of stages, with commas between them or as a list: guild_lifecycle, message_update, message_prefix, drop",
        |config, raw| put(&mut config.stages.enabled, stages::enabled(raw)),
        |config| Some(stages::shown(config.stages.enabled.iter().map(|name| name.name()))),
    )
    .live()
    .env("PILOTHOUSE_STAGES"),
    Agent::new(
        "stages.prefixes",
        "For `message_prefix`: how messages begin that are kept. In a list a prefix is taken with its blanks.",
        "texts that are not empty, with commas between them or as a list",
        |config, raw| put(&mut config.stages.prefixes, stages::prefixes(raw)),
        |config| Some(stages::shown(config.stages.prefixes.iter().map(String::as_str))),
    )
    .live(),
    Agent::new(
        "stages.drop",
        "For `drop`: the types that are dropped, as the bot would see them: GUILD_CREATE_AVAILABLE and GUILD_UNAVAILABLE are among them where `guild_lifecycle` is on.",
        "names of event types, with commas between them or as a list, such as PRESENCE_UPDATE, TYPING_START",
        |config, raw| put(&mut config.stages.drop, stages::kinds(raw)),
        |config| Some(stages::shown(config.stages.drop.names())),
    )
    .live(),
    Agent::new(
        "chat.guild",
        "Your developer guild: there the agent takes commands from `chat.owners` as an admin does, and answers in the channel. Off unless both are set.",
        "the id of a guild",
        |config, raw| put(&mut config.chat.guild, chat::id(raw)),
        |config| config.chat.guild.map(|id| quoted(&id.to_string())),
    )
    .otherwise("none", "\"197038439483310086\""),
    Agent::new(
        "chat.owners",
        "Users whose messages are commands there. Bots and webhooks never command.",
        "ids of users, with commas between them or as a list",
        |config, raw| put(&mut config.chat.owners, chat::ids(raw)),
        |config| {
            let owners: Vec<String> = config.chat.owners.iter().map(u64::to_string).collect();
            (!owners.is_empty()).then(|| quoted(&owners.join(", ")))
        },
    )
    .otherwise("none", "\"80351110224678912\""),
    Agent::new(
        "chat.prefix",
        "How a command begins, `ph!eval shards.len()`; a mention of the bot does, too, and needs no MESSAGE_CONTENT.",
        "a text of up to 32 letters",
        |config, raw| put(&mut config.chat.prefix, chat::prefix(raw)),
        |config| Some(quoted(&config.chat.prefix)),
    ),
];

const COMPRESSIONS: [(&str, Compression); 3] =
    [("zlib", Compression::Zlib), ("zstd", Compression::Zstd), ("none", Compression::None)];
const FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];
const WHEN_FULL: [(&str, WhenFull); 2] = [("drop_class", WhenFull::DropClass), ("hold", WhenFull::Hold)];

pub(super) fn named<T: PartialEq>(names: &[(&str, T)], value: T) -> Option<String> {
    names.iter().find(|(_, named)| *named == value).map(|(name, _)| quoted(name))
}
