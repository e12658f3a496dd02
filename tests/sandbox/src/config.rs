//! Everything that can be chosen about a sandbox, with the defaults that Discord itself would have.

use std::time::Duration;

/// What the sandbox plays. `Default` is a small bot without traffic under Discord's own numbers.
#[derive(Clone, Debug)]
pub struct SandboxConfig {
    /// The bot token, without the `Bot ` prefix.
    pub token: String,
    /// Seeds ids, contents and the mix; equal seeds give equal traffic.
    pub seed: u64,
    /// Guilds the bot is in; spread evenly over any shard count.
    pub guilds: u32,
    /// The shard count that `/gateway/bot` recommends.
    pub shards: u32,
    /// Identifies that may start together: buckets are `shard_id % max_concurrency`.
    pub max_concurrency: u32,
    /// Spacing of identifies in one bucket (Discord: 5 s).
    pub identify_window: Duration,
    /// The identify allowance of a day.
    pub session_starts: SessionStarts,
    /// What HELLO asks for (Discord: 41.25 s).
    pub heartbeat_interval: Duration,
    /// Events in total over all guilds.
    pub rate: Rate,
    /// Forget everything up to the sequence that a heartbeat or RESUME carried.
    pub strict: bool,
    /// How long a session without a connection can be resumed.
    pub resume_window: Duration,
    /// Events of one session kept for replay.
    pub replay_bound: usize,
    /// Size of GUILD_CREATE and of the member list.
    pub guild_size: GuildSize,
    /// HELLO is held back this long.
    pub hello_delay: Duration,
    /// Every dispatch is held back this long.
    pub latency: Duration,
    /// Each session lags by its own part of this on top of `latency`.
    pub session_skew: Duration,
    /// REST answers are held back this long.
    pub rest_latency: Duration,
    /// Accepted by REST besides `Bot TOKEN` (a REST proxy's own secret).
    pub rest_authorization: Option<String>,
    /// If set, the bot endpoint answers 401 to any other `authorization`.
    pub bot_authorization: Option<String>,
    /// Gateway and REST versions that exist; anything else is 4012 or HTTP 400.
    pub versions: Vec<u8>,
    /// Privileged intents the bot may use; another one is 4014.
    pub privileged_intents: u64,
    /// Above this many guilds a shard the identify is refused with 4011.
    pub guilds_per_shard: u32,
    /// For very large bots: shard counts must be a multiple of this, or 4010.
    pub shard_multiple: u32,
    /// Level of zlib-stream.
    pub zlib_level: u32,
    /// Level of zstd-stream.
    pub zstd_level: i32,
    /// The gateway speaks TLS, with a certificate of an authority that is made at the start.
    pub tls: bool,
    /// Local ports; 0 takes any free one.
    pub ports: Ports,
}

/// Discord's `session_start_limit`, the identify allowance.
#[derive(Clone, Copy, Debug)]
pub struct SessionStarts {
    /// Identifies a day.
    pub total: u32,
    /// Identifies left at the start.
    pub remaining: u32,
    /// Time until `remaining` is `total` again.
    pub reset_after: Duration,
}

/// How much traffic there is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// Events a second over all guilds, evenly paced; 0 is silence. A client that does not keep up is cut off.
    PerSecond(f64),
    /// As fast as the connected clients read: the generator waits for the slowest.
    Flood,
}

/// Shape of the guilds.
#[derive(Clone, Copy, Debug)]
pub struct GuildSize {
    /// Members of each guild, as REQUEST_GUILD_MEMBERS lists them.
    pub members: u32,
    /// Approximate bytes of a GUILD_CREATE.
    pub bytes: usize,
    /// Every n-th guild is a big one; 0 for none.
    pub big_every: u32,
    /// Approximate bytes of a big guild's GUILD_CREATE.
    pub big_bytes: usize,
}

/// Local ports to bind; 0 takes any free one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ports {
    /// REST and the sandbox's own controls.
    pub rest: u16,
    /// The gateway that `/gateway/bot` names.
    pub gateway: u16,
    /// The gateway that READY names as `resume_gateway_url`.
    pub resume: u16,
    /// The bot endpoint.
    pub bot: u16,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        Self {
            token: "sandbox-token".to_owned(),
            seed: 1,
            guilds: 100,
            shards: 1,
            max_concurrency: 1,
            identify_window: Duration::from_secs(5),
            session_starts: SessionStarts::default(),
            heartbeat_interval: Duration::from_millis(41_250),
            rate: Rate::PerSecond(0.0),
            strict: false,
            resume_window: Duration::from_secs(180),
            replay_bound: 16_384,
            guild_size: GuildSize::default(),
            hello_delay: Duration::ZERO,
            latency: Duration::ZERO,
            session_skew: Duration::ZERO,
            rest_latency: Duration::ZERO,
            rest_authorization: None,
            bot_authorization: None,
            versions: vec![6, 7, 8, 9, 10],
            privileged_intents: crate::intents::PRIVILEGED,
            guilds_per_shard: 2500,
            shard_multiple: 1,
            zlib_level: 6,
            zstd_level: 3,
            tls: false,
            ports: Ports::default(),
        }
    }
}

impl Default for SessionStarts {
    fn default() -> Self {
        Self { total: 1000, remaining: 1000, reset_after: Duration::from_secs(86_400) }
    }
}

impl Default for GuildSize {
    fn default() -> Self {
        Self { members: 50, bytes: 4_000, big_every: 0, big_bytes: 300_000 }
    }
}

/// A configuration that cannot work.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// A count that must be at least one.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    /// An empty token would match a missing header.
    #[error("token must not be empty")]
    NoToken,
    /// The rate is negative or not a number.
    #[error("rate must be zero or more events a second")]
    Rate,
}

impl SandboxConfig {
    /// Refuses what cannot work, before anything is bound.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let counts = [
            ("guilds", u64::from(self.guilds)),
            ("shards", u64::from(self.shards)),
            ("max_concurrency", u64::from(self.max_concurrency)),
            ("shard_multiple", u64::from(self.shard_multiple)),
            ("replay_bound", self.replay_bound as u64),
            ("heartbeat_interval in ms", crate::clock::micros(self.heartbeat_interval) / 1000),
        ];
        if let Some((name, _)) = counts.iter().find(|(_, value)| *value == 0) {
            return Err(ConfigError::Zero(name));
        }
        match self.rate {
            Rate::PerSecond(rate) if !(0.0..=1e9).contains(&rate) => Err(ConfigError::Rate),
            _ if self.token.is_empty() => Err(ConfigError::NoToken),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_zeroes_are_not() {
        assert_eq!(SandboxConfig::default().check(), Ok(()));
        let zero = SandboxConfig { shards: 0, ..SandboxConfig::default() };
        assert_eq!(zero.check(), Err(ConfigError::Zero("shards")));
        let negative = SandboxConfig { rate: Rate::PerSecond(-1.0), ..SandboxConfig::default() };
        assert_eq!(negative.check(), Err(ConfigError::Rate));
    }
}
