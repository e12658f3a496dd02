//! One dispatch on its way to the sinks: the bytes as they came, and what was learned without parsing them.

use std::fmt;
use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use pilothouse_shared::ids::GuildId;

use super::lane::Lane;
use crate::gateway::kind::EventKind;
use crate::gateway::scan;

/// Where events come from: one session of one shard.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Origin {
    /// Generation of the session.
    pub generation: u32,
    /// Shard of the session.
    pub shard: u32,
    /// Session id, as READY gave it.
    pub session: Box<str>,
}

/// One dispatch. Cloning copies two pointers: the payload is shared.
#[derive(Clone, Debug)]
pub struct Event {
    /// The session it came on; confirmations go here.
    pub lane: Rc<Lane>,
    /// Its sequence in that session.
    pub seq: u64,
    /// Its type, `t`.
    pub kind: EventKind,
    /// 0 for what Discord sent; the n-th event that the agent made up beside it is n.
    pub part: u32,
    /// The whole gateway payload as received, `{"op":0,"t":…,"s":…,"d":…}` in Discord's key order.
    pub payload: Bytes,
    /// When its last byte had been read.
    pub received: Instant,
}

impl Event {
    /// `generation/shard/session/seq`: the same for the same event of a session, however often it is replayed.
    pub fn id(&self) -> EventId<'_> {
        EventId { origin: &self.lane.origin, seq: self.seq, part: self.part }
    }

    /// The guild it belongs to; none for direct messages and account-wide events. Scans the payload.
    pub fn guild(&self) -> Option<GuildId> {
        scan::guild_id(self.kind, &self.payload)
    }

    /// Tells the lane that one sink is done with it.
    pub fn confirm(&self, now: Instant) {
        self.lane.confirm(self.seq, now);
    }
}

/// Displays an event's id without allocating: `generation/shard/session/seq`, with `.part` behind it for what the
/// agent made up.
pub struct EventId<'a> {
    /// Where it came from.
    pub origin: &'a Origin,
    /// Its sequence.
    pub seq: u64,
    /// Its part.
    pub part: u32,
}

impl fmt::Display for EventId<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Origin { generation, shard, session } = self.origin;
        write!(out, "{generation}/{shard}/{session}/{}", self.seq)?;
        if self.part > 0 {
            write!(out, ".{}", self.part)?;
        }
        Ok(())
    }
}
