//! A session and the generation it belongs to: what survives a connection, and what every connection of a set of shards has in common.

use std::time::Duration;

use crate::config::{Compression, Secret};

/// What survives a connection, and by the store also the process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// Session id from READY.
    pub id: String,
    /// Where to resume, from READY.
    pub resume_url: String,
    /// The bot's user, from READY; 0 where it is not known.
    pub user: u64,
    /// Last sequence received; replays up to it are dropped.
    pub received: u64,
    /// Last sequence confirmed by every sink and stored: what heartbeats and resumes carry, never more.
    pub stored: u64,
}

/// A complete set of shards: what each of its connections and sessions is made with.
#[derive(Clone, Debug)]
pub struct Generation {
    /// Counts up with each reshard or rollout.
    pub number: u32,
    /// Shards in all.
    pub total: u32,
    /// The bot's token.
    pub token: Secret,
    /// Bit set of intents.
    pub intents: u64,
    /// API version.
    pub version: u8,
    /// Transport compression.
    pub compression: Compression,
    /// URL from `/gateway/bot`.
    pub gateway_url: String,
    /// Members above which a guild counts as large.
    pub large_threshold: u8,
    /// Presence of new sessions, as JSON.
    pub presence: Option<String>,
    /// How long to wait for what.
    pub timeouts: Timeouts,
}

/// How long to wait for what, before the connection is given up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    /// TCP, TLS and the WebSocket handshake.
    pub connect: Duration,
    /// From the handshake to HELLO.
    pub hello: Duration,
    /// From op 2 to READY, and the longest silence of a replay.
    pub ready: Duration,
}

impl Generation {
    /// `base` with the query that a connection of this generation has; a resume has the same as its identify.
    pub fn connect_url(&self, base: &str) -> String {
        let base = base.trim_end_matches('/');
        let compress = match self.compression {
            Compression::Zlib => "&compress=zlib-stream",
            Compression::Zstd => "&compress=zstd-stream",
            Compression::None => "",
        };
        format!("{base}/?v={}&encoding=json{compress}", self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generation(version: u8, compression: Compression) -> Generation {
        let limit = Duration::from_secs(1);
        Generation {
            number: 1,
            total: 1,
            token: Secret::new("t"),
            intents: 0,
            version,
            compression,
            gateway_url: "wss://gateway".to_owned(),
            large_threshold: 50,
            presence: None,
            timeouts: Timeouts { connect: limit, hello: limit, ready: limit },
        }
    }

    #[test]
    fn every_connection_names_version_encoding_and_compression_as_its_identify_did() {
        for (compression, query) in [
            (Compression::None, ""),
            (Compression::Zlib, "&compress=zlib-stream"),
            (Compression::Zstd, "&compress=zstd-stream"),
        ] {
            let generation = generation(9, compression);
            for base in ["wss://gateway", "wss://resume/"] {
                let expected = format!("{}/?v=9&encoding=json{query}", base.trim_end_matches('/'));
                assert_eq!(generation.connect_url(base), expected);
            }
        }
    }
}
