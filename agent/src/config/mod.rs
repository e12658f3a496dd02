//! What the agent runs with, valid by construction: defaults, then a TOML file, then the environment, then flags.
//!
//! Contract: a [`Config`] that exists can work. [`keys`] is the one table from which the file's schema, the
//! example, the reference and `config print` come; [`mod@load`] lays the sources over each other and finds every problem.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::gateway::kind::EventKind;

pub mod authorities;
mod broker_keys;
pub mod broker_url;
pub mod certificate;
pub mod chat;
mod control_keys;
mod file;
pub mod intents;
pub mod keys;
pub mod live;
pub mod load;
pub(crate) mod nearest;
mod notices;
pub mod problem;
pub mod render;
pub mod routing_key;
pub mod scripts;
pub mod secret;
mod sink_keys;
pub mod stages;
mod value;

pub use authorities::Authorities;
pub use broker_url::BrokerUrl;
pub use chat::ChatConfig;
pub use load::{Loaded, Sources, data_dir, load};
pub use problem::{Origin, Problem, Problems};
pub use routing_key::RoutingKey;
pub use scripts::Script;
pub use secret::{Secret, Secrets};
pub use stages::StagesConfig;

/// Everything the agent is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The bot's token, without `Bot `.
    pub token: Secret,
    /// The events that Discord sends, as the identify's bit set.
    pub intents: u64,
    /// Version of the gateway and of the REST call before it.
    pub api_version: u8,
    /// How Discord compresses what it sends.
    pub compression: Compression,
    /// How many shards the bot has.
    pub shards: ShardCount,
    /// Base of the REST API, without a slash at its end; session info is `GET {rest_url}/v{version}/gateway/bot`.
    pub rest_url: String,
    /// The `authorization` header of REST calls, instead of `Bot TOKEN`, and the key of the bot's own requests to us.
    pub authorization: Option<Secret>,
    /// Ways to the bot; none: received counts as confirmed.
    pub sinks: Vec<SinkConfig>,
    /// Folder of what must survive.
    pub data_dir: PathBuf,
    /// Where consoles and HTTP are answered.
    pub listen: SocketAddr,
    /// Port of a listener on all interfaces that answers the bot's own requests and nothing else.
    pub bot_port: Option<u16>,
    /// Leave to listen beyond loopback without TLS.
    pub insecure: bool,
    /// Who reaches consoles and HTTP, and how.
    pub control: ControlConfig,
    /// Worker threads, at least 1.
    pub workers: u16,
    /// Name of this agent.
    pub name: String,
    /// Name of the fleet.
    pub fleet: String,
    /// Logs.
    pub log: LogConfig,
    /// The gateway's timings and limits.
    pub gateway: GatewayConfig,
    /// What waits on disk for a bot that is behind.
    pub spool: SpoolConfig,
    /// What is done to events before they are delivered.
    pub stages: StagesConfig,
    /// Commands by chat.
    pub chat: ChatConfig,
    /// Scripts that are commands.
    pub scripts: Vec<Script>,
    /// Shown on every console; set by programs only.
    pub note: Option<String>,
    /// Others share the process, so that its memory tells nothing of a shard's; set by programs only.
    pub embedded: bool,
    /// Files that this process can have open, where known; set by programs only.
    pub open_files: Option<u64>,
    /// What to say at the start: settings that are not needed or not acted on.
    pub notices: Vec<String>,
}

impl Config {
    /// The defaults, for this token; programs name a data folder of their own.
    pub fn new(token: impl Into<String>) -> Self {
        Self {
            token: Secret::new(token),
            intents: 1 | 1 << 9,
            api_version: 10,
            compression: Compression::Zlib,
            shards: ShardCount::Auto,
            rest_url: "https://discord.com/api".to_owned(),
            authorization: None,
            sinks: Vec::new(),
            data_dir: PathBuf::from("/var/lib/pilothouse"),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7600)),
            bot_port: None,
            insecure: false,
            control: ControlConfig::default(),
            workers: cores(),
            name: "agent".to_owned(),
            fleet: "local".to_owned(),
            log: LogConfig::default(),
            gateway: GatewayConfig::default(),
            spool: SpoolConfig::default(),
            stages: StagesConfig::default(),
            chat: ChatConfig::default(),
            scripts: Vec::new(),
            note: None,
            embedded: false,
            open_files: None,
            notices: Vec::new(),
        }
    }

    /// Every secret in it, to be covered where others wrote one.
    pub fn secrets(&self) -> impl Iterator<Item = Secret> {
        let of_sinks = self.sinks.iter().flat_map(SinkConfig::secrets);
        [Some(self.token.clone()), self.authorization.clone()].into_iter().flatten().chain(of_sinks)
    }

    /// What to say if this many shards need more open files than there can be.
    pub fn too_few_files(&self, shards: u32) -> Option<String> {
        let routes: u64 = self.sinks.iter().map(SinkConfig::sockets).sum();
        let needed = u64::from(shards) + routes * u64::from(self.workers) + SPARE_FILES;
        let limit = self.open_files.filter(|limit| *limit < needed)?;
        Some(format!(
            "{shards} shards and their sinks can need {needed} open files, the limit is {limit}: raise it (ulimit -n, LimitNOFILE)"
        ))
    }
}

/// Store, logs, consoles, runtimes.
const SPARE_FILES: u64 = 128;

fn cores() -> u16 {
    std::thread::available_parallelism().ok().and_then(|n| u16::try_from(n.get()).ok()).unwrap_or(1)
}

/// How Discord compresses what it sends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// `zlib-stream`.
    Zlib,
    /// `zstd-stream`.
    Zstd,
    /// Not at all.
    None,
}

/// How many shards the bot has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ShardCount {
    /// As many as Discord recommends.
    Auto,
    /// This many, at least 1.
    Count(u32),
}

/// One way to the bot.
#[derive(Clone, Debug)]
pub enum SinkConfig {
    /// POST to the bot's own server.
    Http(HttpConfig),
    /// Published to a RabbitMQ exchange.
    Amqp(AmqpConfig),
    /// Published to a NATS JetStream stream.
    Nats(NatsConfig),
    /// Lines of a file.
    Ndjson(NdjsonConfig),
}

impl SinkConfig {
    /// Its name, unique among the sinks.
    pub fn name(&self) -> &str {
        match self {
            Self::Http(http) => &http.name,
            Self::Amqp(amqp) => &amqp.name,
            Self::Nats(nats) => &nats.name,
            Self::Ndjson(ndjson) => &ndjson.name,
        }
    }

    /// Its `kind` in the file; also the name that it has unless it is given one.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Http(_) => "http",
            Self::Amqp(_) => "amqp",
            Self::Nats(_) => "nats",
            Self::Ndjson(_) => "ndjson",
        }
    }

    fn secrets(&self) -> Vec<Secret> {
        // NATS takes a token in the place of the user.
        let user = |url: &BrokerUrl| Some(url.expose().username().to_owned()).filter(|user| !user.is_empty());
        let password = |url: &BrokerUrl| url.expose().password().map(str::to_owned).or(user(url)).map(Secret::new);
        match self {
            Self::Http(http) => {
                let query = |url: &String| Some(url.split_once('?')?.1.to_owned()).filter(|query| !query.is_empty());
                http.authorization.iter().cloned().chain(http.urls.iter().filter_map(query).map(Secret::new)).collect()
            }
            Self::Amqp(amqp) => password(&amqp.url).into_iter().collect(),
            Self::Nats(nats) => nats.urls.iter().filter_map(password).collect(),
            Self::Ndjson(_) => Vec::new(),
        }
    }

    /// Sockets that one worker's instance can have open.
    fn sockets(&self) -> u64 {
        match self {
            Self::Http(http) => http.urls.len() as u64 * u64::from(http.concurrency),
            Self::Amqp(_) | Self::Nats(_) | Self::Ndjson(_) => 1,
        }
    }
}

/// An `http` sink.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Its name, unique among the sinks.
    pub name: String,
    /// Each URL is a route; at least one.
    pub urls: Vec<String>,
    /// The `authorization` header.
    pub authorization: Option<Secret>,
    /// What chooses the URL of an event.
    pub route_by: RouteBy,
    /// Requests in flight per route and worker, at least 1.
    pub concurrency: u32,
    /// Events of one request; 1: each alone, as in the guide; more: NDJSON.
    pub batch: u32,
    /// Longest wait for an answer.
    pub timeout: Duration,
}

impl HttpConfig {
    /// The defaults, for these URLs.
    pub fn new(urls: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            name: "http".to_owned(),
            urls: urls.into_iter().map(Into::into).collect(),
            authorization: None,
            route_by: RouteBy::Guild,
            concurrency: 64,
            batch: 1,
            timeout: Duration::from_secs(10),
        }
    }
}

/// An `amqp` sink.
#[derive(Clone, Debug)]
pub struct AmqpConfig {
    /// Its name, unique among the sinks.
    pub name: String,
    /// The broker, with its virtual host and credentials.
    pub url: BrokerUrl,
    /// Trusted for amqps:// beside the public authorities.
    pub ca_file: Option<Authorities>,
    /// The topic exchange, at most 255 bytes; declared durable.
    pub exchange: String,
    /// The routing key of an event.
    pub routing_key: RoutingKey,
    /// What becomes of an event that no queue takes.
    pub unroutable: Unroutable,
    /// Unconfirmed messages per worker, at least 1.
    pub concurrency: u32,
    /// Longest wait for a confirmation, connecting included.
    pub timeout: Duration,
}

impl AmqpConfig {
    /// The defaults, for this broker.
    pub fn new(url: BrokerUrl) -> Self {
        Self {
            name: "amqp".to_owned(),
            url,
            ca_file: None,
            exchange: "pilothouse".to_owned(),
            routing_key: RoutingKey::default(),
            unroutable: Unroutable::Hold,
            concurrency: 256,
            timeout: Duration::from_secs(10),
        }
    }
}

/// What becomes of an event that no queue takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unroutable {
    /// It is published again until a queue is bound that takes it.
    Hold,
    /// The broker drops it: only what a queue is bound for is wanted.
    Drop,
}

/// A `nats` sink.
#[derive(Clone, Debug)]
pub struct NatsConfig {
    /// Its name, unique among the sinks.
    pub name: String,
    /// The servers of one cluster, with credentials; at least one.
    pub urls: Vec<BrokerUrl>,
    /// A `.creds` file with the user's JWT and key.
    pub credentials_file: Option<PathBuf>,
    /// Trusted for tls://, instead of the system's authorities.
    pub ca_file: Option<Authorities>,
    /// The stream; created where it is missing.
    pub stream: String,
    /// What subjects begin with, before type and guild.
    pub subject: String,
    /// Copies that the created stream keeps, 1 to 5.
    pub replicas: u8,
    /// Bytes that the created stream holds at most; 0: no limit.
    pub max_bytes: u64,
    /// How long the created stream keeps a message; none: for ever.
    pub max_age: Option<Duration>,
    /// Unacknowledged messages per worker, at least 1.
    pub concurrency: u32,
    /// Longest wait for an acknowledgement, connecting included.
    pub timeout: Duration,
}

impl NatsConfig {
    /// The defaults, for these servers.
    pub fn new(urls: impl IntoIterator<Item = BrokerUrl>) -> Self {
        Self {
            name: "nats".to_owned(),
            urls: urls.into_iter().collect(),
            credentials_file: None,
            ca_file: None,
            stream: "PILOTHOUSE".to_owned(),
            subject: "pilothouse".to_owned(),
            replicas: 1,
            max_bytes: 0,
            max_age: Some(Duration::from_secs(86_400)),
            concurrency: 256,
            timeout: Duration::from_secs(10),
        }
    }
}

/// What chooses the URL of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RouteBy {
    /// `(guild >> 22) mod urls`; without a guild as [`RouteBy::Shard`].
    Guild,
    /// `shard mod urls`.
    Shard,
}

/// An `ndjson` sink.
#[derive(Clone, Debug)]
pub struct NdjsonConfig {
    /// Its name, unique among the sinks.
    pub name: String,
    /// The file; none: standard output.
    pub path: Option<PathBuf>,
    /// A file that would grow beyond this is put aside.
    pub max_bytes: u64,
    /// Files put aside, at least 1.
    pub keep: u32,
}

impl Default for NdjsonConfig {
    fn default() -> Self {
        Self { name: "ndjson".to_owned(), path: None, max_bytes: 256 << 20, keep: 4 }
    }
}

/// The spool: each sink's queue on disk.
#[derive(Clone, Debug)]
pub struct SpoolConfig {
    /// Bytes that one sink may hold; 0: no spool.
    pub max_bytes: u64,
    /// Bytes of the file system that stay free.
    pub reserve_bytes: u64,
    /// What happens to new events when a sink's spool is nearly full.
    pub when_full: WhenFull,
    /// An event that is not confirmed after this time goes to the spool.
    pub after: Duration,
    /// Events a second by which a backlog shrinks, for each route and worker.
    pub drain_rate: u32,
    /// Events older than this are not delivered from the spool.
    pub max_age: Option<Duration>,
    /// The same for single types of events.
    pub expiry: Vec<(EventKind, Duration)>,
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self {
            max_bytes: 4 << 30,
            reserve_bytes: 256 << 20,
            when_full: WhenFull::DropClass,
            after: Duration::from_secs(1),
            drain_rate: 2_000,
            max_age: Some(Duration::from_secs(24 * 3_600)),
            expiry: Vec::new(),
        }
    }
}

/// What happens to new events when a sink's spool is nearly full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WhenFull {
    /// Presence and typing are dropped first, then what can be asked for again; the rest waits.
    DropClass,
    /// Nothing is dropped: sockets are held.
    Hold,
}

/// Who reaches consoles and HTTP, and how.
#[derive(Clone, Debug)]
pub struct ControlConfig {
    /// PEM file of the certificate that is shown, with its chain; set where `tls_key` is.
    pub tls_cert: Option<PathBuf>,
    /// PEM file of its key.
    pub tls_key: Option<PathBuf>,
    /// Names that a request's `Host` may have, in lower case, beside our own.
    pub hosts: Vec<String>,
    /// Days for which the audit log is kept, at least 1.
    pub audit_keep: u64,
}

impl Default for ControlConfig {
    fn default() -> Self {
        Self { tls_cert: None, tls_key: None, hosts: Vec::new(), audit_keep: 365 }
    }
}

/// Logs.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// What is logged: a level, or directives like `info,pilothouse_agent::shard=debug`.
    pub level: String,
    /// The files' format.
    pub format: LogFormat,
    /// Folder of the files; none: `logs` in the data folder.
    pub dir: Option<PathBuf>,
    /// Files kept, one a day.
    pub keep: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Text, dir: None, keep: 14 }
    }
}

/// The log files' format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// One line for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The gateway's timings and limits.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Spacing between two identifies of one bucket.
    pub identify_interval: Duration,
    /// Longest wait for TCP, TLS and the WebSocket handshake together.
    pub connect_timeout: Duration,
    /// Longest wait for HELLO.
    pub hello_timeout: Duration,
    /// Longest wait from identify to READY and from resume to RESUMED or its first replayed event.
    pub ready_timeout: Duration,
    /// Members above which Discord leaves out the offline ones: 50 to 250.
    pub large_threshold: u8,
    /// Events of one session that may be unconfirmed before its socket is held.
    pub max_unconfirmed: u32,
    /// Percent of the daily identifies that only an operator may spend.
    pub reserve_percent: u8,
    /// The `presence` of the identify, JSON.
    pub presence: Option<String>,
    /// Trusted for wss:// beside the public authorities.
    pub ca_file: Option<Authorities>,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            identify_interval: Duration::from_millis(5_050),
            connect_timeout: Duration::from_secs(10),
            hello_timeout: Duration::from_secs(20),
            ready_timeout: Duration::from_secs(30),
            large_threshold: 50,
            max_unconfirmed: 256,
            reserve_percent: 5,
            presence: None,
            ca_file: None,
        }
    }
}

#[cfg(test)]
mod tests;
