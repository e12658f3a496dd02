//! What can be made to go wrong, as data: by [`crate::Sandbox::fault`] or as JSON by `POST /sandbox/fault`.

use serde::{Deserialize, Serialize};

/// A fault with its aim, e.g. `{"kind":"close","code":4000,"shards":[3],"when":"now"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What goes wrong.
    #[serde(flatten)]
    pub kind: FaultKind,
    /// Whose connections; only for faults of a connection.
    #[serde(default)]
    pub shards: Shards,
    /// When; only for faults of a connection.
    #[serde(default)]
    pub when: When,
}

/// Shards by id, over every total that is connected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shards {
    /// All of them.
    #[default]
    All,
    /// These.
    #[serde(untagged)]
    List(Vec<u32>),
}

/// When a fault of a connection strikes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// On the connections there are.
    #[default]
    Now,
    /// Once for each selected shard, when it next identifies or resumes. Faults that end or refuse a connection
    /// replace the answer; the others last from then on.
    NextConnection,
}

/// Every scripted fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FaultKind {
    /// Op 7; the connection is closed some seconds later.
    Reconnect,
    /// Op 9; without `resumable` the session is gone.
    InvalidSession {
        /// The `d` of op 9.
        resumable: bool,
    },
    /// A close frame. 4003, 4007, 4009 and the fatal codes end the session.
    Close {
        /// Any close code.
        code: u16,
    },
    /// The TCP connection ends without a close frame.
    Drop,
    /// The TCP connection is reset.
    Reset,
    /// The server asks for a heartbeat (op 1).
    Beat,
    /// Nothing is sent any more, not even acknowledgements; the socket is read.
    Silence,
    /// Heartbeats are not acknowledged; dispatches flow.
    NoAck,
    /// The socket stays, nothing is read or written.
    HalfOpen,
    /// The next message has flipped bits.
    Corrupt,
    /// The next message lacks its end.
    Truncate,
    /// One byte at a time.
    Drip {
        /// Pause between two bytes.
        interval_us: u64,
    },
    /// Dispatches lag by so much; 0 ends it. With `total`, only sessions of that total.
    Lag {
        /// Milliseconds.
        ms: u64,
        /// Shard count of the sessions meant.
        total: Option<u32>,
    },
    /// Ends silence, missing acknowledgements, half-open and drip on open connections.
    Recover,
    /// The session is lost inside Discord: the connection drops and a RESUME gets op 9 false.
    Forget,
    /// The gateway's port is closed; open connections stay.
    Refuse {
        /// For so long.
        ms: u64,
        /// Only the port of `resume_gateway_url`.
        #[serde(default)]
        resume_only: bool,
    },
    /// The WebSocket upgrade is answered with an HTTP status.
    UpgradeStatus {
        /// E.g. 503.
        status: u16,
        /// So many connections.
        times: u32,
    },
    /// HELLO never comes.
    NoHello {
        /// So many connections.
        times: u32,
    },
    /// Op 7 comes instead of HELLO.
    ReconnectForHello {
        /// So many connections.
        times: u32,
    },
    /// The token is dead: everybody is closed with 4004, identifies too.
    RevokeToken,
    /// From now on the privileged intents in `mask` alone are allowed; others get 4014.
    AllowIntents {
        /// Bits of privileged intents.
        mask: u64,
    },
    /// `/gateway/bot` recommends another shard count.
    Recommend {
        /// The count.
        shards: u32,
    },
    /// REST answers with a status.
    RestStatus {
        /// E.g. 500 or 429.
        status: u16,
        /// So many requests.
        times: u32,
        /// The `Retry-After` header, in seconds.
        retry_after: Option<u32>,
    },
    /// The bot endpoint changes its behaviour until told otherwise.
    Bot {
        /// The behaviour.
        mode: BotMode,
    },
}

/// How the bot endpoint behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BotMode {
    /// Takes everything with 204.
    #[default]
    Up,
    /// The port is closed and connections are cut.
    Down,
    /// Takes nothing and answers a status.
    Status {
        /// E.g. 500, 429, 400.
        status: u16,
        /// The `Retry-After` header, in seconds.
        retry_after: Option<u32>,
    },
    /// Takes nothing and never answers.
    Hang,
    /// Takes everything, after a pause.
    Slow {
        /// The pause.
        ms: u64,
    },
    /// Takes the event, but cuts the connection before the answer: a retry is a double.
    TakeAndCut,
}

impl Fault {
    /// Strikes every connection there is.
    pub fn now(kind: FaultKind) -> Self {
        Self { kind, shards: Shards::All, when: When::Now }
    }

    /// Strikes the next connection of every shard.
    pub fn next(kind: FaultKind) -> Self {
        Self { kind, shards: Shards::All, when: When::NextConnection }
    }

    /// Narrows it to some shards.
    #[must_use]
    pub fn on(mut self, shards: impl Into<Vec<u32>>) -> Self {
        self.shards = Shards::List(shards.into());
        self
    }
}

impl From<FaultKind> for Fault {
    fn from(kind: FaultKind) -> Self {
        Self::now(kind)
    }
}

impl Shards {
    /// Whether the shard is meant.
    pub fn contains(&self, shard: u32) -> bool {
        match self {
            Self::All => true,
            Self::List(list) => list.contains(&shard),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_read_as_documented() {
        let fault: Fault =
            serde_json::from_str(r#"{"kind":"close","code":4000,"shards":[3],"when":"next_connection"}"#).unwrap();
        assert_eq!(fault, Fault::next(FaultKind::Close { code: 4000 }).on([3]));
        let all: Fault = serde_json::from_str(r#"{"kind":"reconnect","shards":"all"}"#).unwrap();
        assert_eq!(all, Fault::now(FaultKind::Reconnect));
        let bot: Fault = serde_json::from_str(r#"{"kind":"bot","mode":{"status":{"status":429}}}"#).unwrap();
        let mode = BotMode::Status { status: 429, retry_after: None };
        assert_eq!(bot, FaultKind::Bot { mode }.into());
    }
}
