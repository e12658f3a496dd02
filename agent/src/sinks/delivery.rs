//! What a sink's kind is asked to do: one attempt to deliver a few events, and how it ended. Queues, order,
//! repetition, spool and counts are the same for every kind and not its business.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use pilothouse_shared::ids::GuildId;

use crate::gateway::kind::EventKind;
use crate::pipeline::Origin;
use crate::pipeline::event::EventId;

/// One event for one sink, from the memory of this run or from the spool.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The session it came on.
    pub origin: Rc<Origin>,
    /// Shard of those there are now with whose events it stays in order: its session's, unless shards were counted
    /// otherwise when it was received.
    pub stream: u32,
    /// Its sequence in that session.
    pub seq: u64,
    /// 0 for what Discord sent; the n-th event that the agent made up beside it is n.
    pub part: u32,
    /// Its type.
    pub kind: EventKind,
    /// Its guild, where it has one.
    pub guild: Option<GuildId>,
    /// When it was received, Unix milliseconds.
    pub received_ms: u64,
    /// The whole gateway payload, `{"op":0,"t":…,"s":…,"d":…}`.
    pub payload: Bytes,
}

impl Delivery {
    /// `generation/shard/session/seq`.
    pub fn id(&self) -> EventId<'_> {
        EventId { origin: &self.origin, seq: self.seq, part: self.part }
    }
}

/// How an attempt ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The other side has every event of the attempt.
    Accepted,
    /// The event will never be accepted, for this reason: `answers 413`. Of several events one cannot be told, so each
    /// is then attempted alone.
    Refused(String),
    /// Nothing may have arrived; to be attempted again.
    Failed {
        /// For people, behind the name of the route: `answers 503, retrying`.
        reason: String,
        /// When to try again, where the other side decides it; else a backoff does.
        pause: Option<Duration>,
    },
}

/// One way to the other side, on one worker.
pub trait Transport: 'static {
    /// Attempts to deliver `batch`, in order: 1 to [`Self::largest_batch`] events. One attempt: it does not repeat, and
    /// has its own limit of time. Several attempts run at once on one thread. Dropped at any await it leaves
    /// nothing behind but events of which it is unknown whether they arrived.
    fn deliver(&self, batch: &[Delivery]) -> impl Future<Output = Outcome>;

    /// Events that one attempt may carry.
    fn largest_batch(&self) -> usize {
        1
    }

    /// The other side as people see it, without credentials: `http://127.0.0.1:8080/events`.
    fn shown(&self) -> &str;
}
