//! Every setting, as data. The file's schema, the flags, the example, the reference and `config print` come from here.

use std::net::SocketAddr;
use std::time::Duration;

use super::value::{Raw, Rejected, quoted, quoted_duration, url};
use super::{Authorities, Compression, Config, HttpConfig, LogFormat, RouteBy, Secret, ShardCount, intents};

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
    /// Takes the value over.
    pub set: fn(&mut T, &Raw) -> Result<(), Rejected>,
    /// The value in TOML; none where nothing is set.
    pub get: fn(&T) -> Option<String>,
}

/// A setting of the agent.
pub type Agent = Key<Config>;
/// A setting of a sink.
pub type Sink = Key<HttpConfig>;

impl<T> Key<T> {
    const fn new(
        name: &'static str,
        about: &'static str,
        allowed: &'static str,
        set: fn(&mut T, &Raw) -> Result<(), Rejected>,
        get: fn(&T) -> Option<String>,
    ) -> Self {
        Self { name, env: None, flag: None, about, allowed, otherwise: None, example: "", secret: false, set, get }
    }

    const fn env(self, variable: &'static str) -> Self {
        Self { env: Some(variable), ..self }
    }

    const fn flag(self, flag: &'static str) -> Self {
        Self { flag: Some(flag), ..self }
    }

    const fn otherwise(self, words: &'static str, example: &'static str) -> Self {
        Self { otherwise: Some(words), example, ..self }
    }

    const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }
}

const DURATION: &str = "a time such as 250ms, 5s or 1m, from 1ms to 10m";

/// What is left of an identify when everything else is in it.
const PRESENCE_BYTES: usize = 3_072;

/// The name of a key in its table.
pub(super) fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn put<T>(place: &mut T, value: Result<T, Rejected>) -> Result<(), Rejected> {
    *place = value?;
    Ok(())
}

fn duration(raw: &Raw) -> Result<Duration, Rejected> {
    raw.duration(Duration::from_millis(1)..=Duration::from_secs(600))
}

fn secret(raw: &Raw) -> Result<Option<Secret>, Rejected> {
    raw.header().map(|text| Some(Secret::new(text)))
}

fn hidden(secret: Option<&Secret>) -> Option<String> {
    secret.map(|secret| quoted(&secret.to_string()))
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
        "Where consoles and HTTP are answered. Beyond loopback only with `insecure`.",
        "an IP address and a port, such as 127.0.0.1:7600 or [::1]:7600",
        |config, raw| put(&mut config.listen, raw.text()?.parse::<SocketAddr>().map_err(|_| Rejected::default())),
        |config| Some(quoted(&config.listen.to_string())),
    )
    .env("PILOTHOUSE_LISTEN")
    .flag("listen"),
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
    ),
    Agent::new(
        "gateway.reserve_percent",
        "Percent of the day's identifies that are left to an operator.",
        "a whole number from 0 to 90",
        |config, raw| put(&mut config.gateway.reserve_percent, raw.whole(0..=90)),
        |config| Some(config.gateway.reserve_percent.to_string()),
    ),
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
];

/// The settings of one `[[sinks]]`.
pub static SINK_KEYS: &[Sink] = &[
    Sink::new(
        "kind",
        "How events are delivered. `http`: POST `{\"payload\":{op,t,s,d},\"shardId\":n}`.",
        "http",
        |_, raw| raw.choice(&[("http", ())]),
        |_| Some(quoted("http")),
    ),
    Sink::new(
        "name",
        "Its name, on consoles and in metrics.",
        "up to 64 letters, digits, dots, dashes and underscores",
        |sink, raw| put(&mut sink.name, raw.name()),
        |sink| Some(quoted(&sink.name)),
    ),
    Sink::new(
        "urls",
        "Where events go; a guild always goes to the same one. The variable makes or changes the sink named `http`; so does `EVENT_LISTENER_URL`, if it is not set.",
        "http or https URLs, with commas between them or as a list",
        |sink, raw| {
            let urls: Result<Vec<String>, Rejected> = raw.list().iter().map(|text| url(text)).collect();
            sink.urls = urls?;
            if sink.urls.is_empty() { Err(Rejected::default()) } else { Ok(()) }
        },
        |sink| {
            let urls: Vec<String> = sink.urls.iter().map(|text| quoted(text)).collect();
            (!urls.is_empty()).then(|| format!("[{}]", urls.join(", ")))
        },
    )
    .env("EVENT_HANDLER_URLS")
    .otherwise("none, it must be set", "[\"http://127.0.0.1:8080/events\"]"),
    Sink::new(
        "authorization",
        "The `authorization` header of each delivery.",
        "a text of printable ASCII characters",
        |sink, raw| put(&mut sink.authorization, secret(raw)),
        |sink| hidden(sink.authorization.as_ref()),
    )
    .otherwise("the agent's `authorization`", "\"…\"")
    .secret(),
    Sink::new(
        "route_by",
        "What chooses the URL of an event: its guild (by shard where it has none), or its shard.",
        "guild or shard",
        |sink, raw| put(&mut sink.route_by, raw.choice(&ROUTES)),
        |sink| named(&ROUTES, sink.route_by),
    ),
    Sink::new(
        "concurrency",
        "Requests in flight for each URL and worker.",
        "a whole number from 1 to 4096",
        |sink, raw| put(&mut sink.concurrency, raw.whole(1..=4096)),
        |sink| Some(sink.concurrency.to_string()),
    ),
    Sink::new(
        "timeout",
        "Longest wait for an answer; then the event is sent again.",
        DURATION,
        |sink, raw| put(&mut sink.timeout, duration(raw)),
        |sink| Some(quoted_duration(sink.timeout)),
    ),
];

const COMPRESSIONS: [(&str, Compression); 3] =
    [("zlib", Compression::Zlib), ("zstd", Compression::Zstd), ("none", Compression::None)];
const FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];
const ROUTES: [(&str, RouteBy); 2] = [("guild", RouteBy::Guild), ("shard", RouteBy::Shard)];

fn named<T: PartialEq>(names: &[(&str, T)], value: T) -> Option<String> {
    names.iter().find(|(_, named)| *named == value).map(|(name, _)| quoted(name))
}
