//! What a session machine hears and what it says.

use std::time::{Duration, Instant};

use super::commands::{Outgoing, Standing, Ticket};
use super::frame::Header;
use super::guilds::GuildNote;
use super::kind::EventKind;

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Begin, or begin again after a fatal close.
    Start,
    /// The turn to identify is near: connect up to HELLO.
    Dial,
    /// Leave to identify now.
    Permit,
    /// The WebSocket handshake succeeded.
    Opened,
    /// No connection came about.
    ConnectFailed,
    /// One decompressed payload.
    Payload(&'a [u8], Header),
    /// The connection ended, with this close code if there was one.
    Closed(Option<u16>),
    /// What came in cannot be read: compression, framing or JSON is broken.
    Corrupt(&'a str),
    /// The store has this sequence of the present session as confirmed.
    Stored(u64),
    /// The agent stops (true) or goes on reading the socket.
    Held(bool),
    /// A deadline may have passed.
    Timer,
    /// Something for Discord.
    Command(&'a Outgoing),
    /// An operator wants a new connection, and with `identify` a new session.
    Restart {
        /// Give the session up.
        identify: bool,
    },
    /// An operator wants the connection closed with this code.
    Close(u16),
    /// The agent shuts down: leave the connection, keep the session.
    Stop,
}

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Dial this URL; any earlier connection is gone.
    Connect(String),
    /// Send this text.
    Send(String),
    /// What became of a command: at once, and again when one that waited is sent or expires.
    Command(Ticket, Standing),
    /// Send a close frame if there is a connection, and leave it: nothing of it may be reported any more.
    Disconnect(u16),
    /// Ask for leave to identify; `Dial` and later `Permit` answer.
    RequestPermit,
    /// Connected up to HELLO: the permit can be used at once.
    PermitReady,
    /// The text before it was op 2: the permit's clock starts when it is written.
    PermitUsed,
    /// The permit or the wait for it is over: READY came, or something failed.
    PermitDone,
    /// READY named a new session; its dispatches follow.
    SessionStarted,
    /// The session is gone and will not be resumed.
    SessionLost,
    /// The present payload is a dispatch for the bot: type, sequence, and what it means for its guild.
    Deliver(EventKind, u64, GuildNote),
    /// A heartbeat took this long.
    Latency(Duration),
    /// The connection ended, for people.
    Ended {
        /// Close code, where there was one.
        code: Option<u16>,
        /// In plain words, with the next step.
        reason: String,
    },
    /// A step of the shard's life, for people.
    Life(String),
    /// Close code 4004: the token is dead for every shard.
    TokenRefused,
}

/// The next deadline and what it is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wait {
    /// When.
    pub until: Instant,
    /// Why.
    pub why: &'static str,
}
