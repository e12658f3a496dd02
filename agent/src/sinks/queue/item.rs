//! PURE: what a queue holds and hands out: events in memory, on their way to the spool, and in an attempt.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use pilothouse_shared::ids::GuildId;

use crate::pipeline::Lane;
use crate::sinks::delivery::Delivery;
use crate::spool::Entry;

/// What must stay in order among itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(in crate::sinks) enum Key {
    Guild(GuildId),
    /// Events without a guild, by shard.
    Shard(u32),
}

impl Key {
    pub(super) fn of(delivery: &Delivery) -> Self {
        delivery.guild.map_or(Self::Shard(delivery.stream), Self::Guild)
    }
}

/// One event that is in memory.
pub(super) struct Item {
    pub(super) delivery: Delivery,
    /// Until it is confirmed.
    pub(super) owed: Option<Owed>,
    /// Its record in the spool.
    pub(super) index: Option<u64>,
    /// Part of an attempt.
    pub(super) out: bool,
}

/// A lane's claim to hear of an event.
pub(super) struct Owed {
    pub(super) lane: Rc<Lane>,
    pub(super) seq: u64,
    pub(super) received: Instant,
}

impl Owed {
    pub(super) fn confirm(self, now: Instant) {
        self.lane.confirm(self.seq, now);
    }
}

/// An event on its way to the spool.
pub(in crate::sinks) struct Spilled {
    pub(in crate::sinks) delivery: Delivery,
    pub(super) owed: Option<Owed>,
    /// It is part of an attempt, too.
    pub(super) out: Option<u64>,
}

impl Spilled {
    /// How it comes into the spool. What does not come by its session's lane is a dead letter.
    pub(in crate::sinks) fn entry(&self) -> Entry {
        match (&self.owed, self.out) {
            (_, Some(_)) => Entry::InFlight,
            (Some(owed), None) if !Rc::ptr_eq(&owed.lane.origin, &self.delivery.origin) => Entry::Again,
            (_, None) => Entry::Fresh,
        }
    }
}

/// Where the spool put an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::sinks) enum Place {
    At(u64),
    /// It had no room for events of this kind.
    Dropped,
}

impl Place {
    pub(super) fn index(self) -> Option<u64> {
        match self {
            Self::At(index) => Some(index),
            Self::Dropped => None,
        }
    }
}

/// Events of one attempt.
#[derive(Default)]
pub(in crate::sinks) struct Batch {
    pub(super) ids: Vec<u64>,
    /// Those that are free once these events are done with.
    pub(super) keys: Vec<Key>,
    pub(in crate::sinks) deliveries: Vec<Delivery>,
}

impl Batch {
    /// Its events one by one, in order, apart for each key.
    pub(in crate::sinks) fn apart(self) -> VecDeque<VecDeque<Self>> {
        let Self { ids, keys, deliveries } = self;
        let mut apart: VecDeque<VecDeque<Self>> = keys.iter().map(|_| VecDeque::new()).collect();
        for (id, delivery) in ids.into_iter().zip(deliveries) {
            let of =
                keys.iter().position(|key| *key == Key::of(&delivery)).expect("a batch has the keys of its events");
            apart[of].push_back(Self { ids: vec![id], keys: Vec::new(), deliveries: vec![delivery] });
        }
        for (events, key) in apart.iter_mut().zip(keys) {
            events.back_mut().expect("a key of a batch has events").keys.push(key);
        }
        apart
    }
}

/// A part of the backlog that is to be loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::sinks) struct Load {
    pub(in crate::sinks) shard: u32,
    pub(in crate::sinks) from: u64,
    pub(in crate::sinks) count: usize,
    /// Loading has passed over them before, for the sake of this key.
    pub(super) parked: Option<Key>,
}

/// What the spool answered to a load.
#[derive(Default)]
pub(in crate::sinks) struct Loaded {
    /// Records by index, ascending; all that is left below `next`.
    pub(in crate::sinks) records: Vec<(u64, Delivery)>,
    /// Indices of those that have expired, ascending.
    pub(in crate::sinks) expired: Vec<u64>,
    /// Where to go on.
    pub(in crate::sinks) next: u64,
}
