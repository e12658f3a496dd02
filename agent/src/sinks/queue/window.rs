//! PURE: how much of the backlog waits in memory, in all and of each key. What is beyond a key's share is parked: only
//! its place in the spool is kept, so that a key that does not get on leaves room for the others.

use std::collections::{HashMap, VecDeque};

use super::Key;

/// Events of one load.
const LOAD: usize = 64;
/// Loads at a time.
const LOADS: usize = 4;

/// Events and the bytes of their payloads.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(in crate::sinks) struct Size {
    pub(in crate::sinks) events: usize,
    pub(in crate::sinks) bytes: usize,
}

impl Size {
    /// Whether one more may join `used`, whatever its size.
    fn has_room(self, used: Self) -> bool {
        used.events < self.events && used.bytes < self.bytes
    }

    fn add(&mut self, bytes: usize) {
        self.events += 1;
        self.bytes += bytes;
    }

    fn take(&mut self, bytes: usize) {
        self.events -= 1;
        self.bytes -= bytes;
    }
}

/// Events of the spool that are in memory and wait for an attempt.
pub(super) struct Window {
    limit: Size,
    /// What one key may have of it; one event always.
    share: Size,
    used: Size,
    shares: HashMap<Key, Share>,
    parked: usize,
    /// Keys of which something parked is to be loaded.
    due: VecDeque<Key>,
    /// Loads that are not answered, and the events of them.
    loads: usize,
    asked: usize,
}

/// What one key has.
#[derive(Default)]
struct Share {
    used: Size,
    /// Shard and index of those that were passed over, in order.
    parked: VecDeque<(u32, u64)>,
    /// To be loaded, or being loaded.
    due: bool,
}

/// The first records that are parked of a key.
pub(super) struct Parked {
    pub(super) key: Key,
    pub(super) shard: u32,
    pub(super) from: u64,
    pub(super) count: usize,
}

impl Window {
    /// Empty. With as many keys as there are attempts in trouble, each still has its share.
    pub(super) fn new(limit: Size, attempts: usize) -> Self {
        let share = Size { events: (limit.events / attempts).max(1), bytes: limit.bytes / attempts };
        Self {
            limit,
            share,
            used: Size::default(),
            shares: HashMap::new(),
            parked: 0,
            due: VecDeque::new(),
            loads: 0,
            asked: 0,
        }
    }

    /// Events that the next load may bring.
    pub(super) fn room(&self) -> usize {
        let used = Size { events: self.used.events + self.asked, ..self.used };
        if self.loads < LOADS && self.limit.has_room(used) { LOAD.min(self.limit.events - used.events) } else { 0 }
    }

    /// A load of so many events is on its way.
    pub(super) fn ask(&mut self, count: usize) {
        self.loads += 1;
        self.asked += count;
    }

    /// It is over.
    pub(super) fn answered(&mut self, count: usize) {
        self.loads -= 1;
        self.asked -= count;
    }

    /// Whether an event of `key` that was loaded is to wait in memory; where not, it is to be parked.
    pub(super) fn admit(&mut self, key: Key, bytes: usize) -> bool {
        let share = self.shares.entry(key).or_default();
        let fits = share.parked.is_empty() && share.fits(self.share);
        if fits {
            share.used.add(bytes);
            self.used.add(bytes);
        }
        fits
    }

    /// An event of `key` that was loaded stays in the spool for now. Of such a key something waits in memory.
    pub(super) fn park(&mut self, key: Key, shard: u32, index: u64) {
        self.shares.entry(key).or_default().parked.push_back((shard, index));
        self.parked += 1;
    }

    /// Whether something of `key` is parked.
    pub(super) fn has_parked(&self, key: Key) -> bool {
        self.shares.get(&key).is_some_and(|share| !share.parked.is_empty())
    }

    /// Whether a load is not answered.
    pub(super) fn is_loading(&self) -> bool {
        self.loads > 0
    }

    /// Whether anything is parked.
    pub(super) fn is_passing(&self) -> bool {
        self.parked > 0
    }

    /// An event that was loaded is being attempted.
    pub(super) fn taken(&mut self, key: Key, bytes: usize) {
        let Some(share) = self.shares.get_mut(&key) else { return };
        share.used.take(bytes);
        self.used.take(bytes);
        self.look_at(key);
    }

    fn look_at(&mut self, key: Key) {
        let Some(share) = self.shares.get_mut(&key) else { return };
        if share.parked.is_empty() {
            if share.used.events == 0 {
                self.shares.remove(&key);
            }
        } else if !share.due && share.is_low(self.share) {
            share.due = true;
            self.due.push_back(key);
        }
    }

    /// Whether something parked is to be loaded.
    pub(super) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// What is to be loaded of what is parked, up to `room` events: records behind each other.
    pub(super) fn due(&self, room: usize) -> Option<Parked> {
        let key = *self.due.front()?;
        let share = self.shares.get(&key)?;
        let (shard, from) = *share.parked.front()?;
        let most = room.min(self.share.events - share.used.events);
        let run = share.parked.iter().zip(from..).take(most).take_while(|(place, index)| **place == (shard, *index));
        Some(Parked { key, shard, from, count: run.count() })
    }

    /// A load of what [`Self::due`] told is on its way.
    pub(super) fn due_is_asked_for(&mut self) {
        self.due.pop_front();
    }

    /// Whether this is the first that is parked of `key`.
    pub(super) fn is_first(&self, key: Key, shard: u32, index: u64) -> bool {
        self.shares.get(&key).and_then(|share| share.parked.front()) == Some(&(shard, index))
    }

    /// Takes the first that is parked of `key` out, if its share has room for it.
    pub(super) fn unpark(&mut self, key: Key, bytes: usize) -> bool {
        let Some(share) = self.shares.get_mut(&key) else { return false };
        if !share.fits(self.share) || share.parked.pop_front().is_none() {
            return false;
        }
        self.parked -= 1;
        share.used.add(bytes);
        self.used.add(bytes);
        true
    }

    /// The first that is parked of `key` is no more.
    pub(super) fn forget_first(&mut self, key: Key) {
        let share = self.shares.get_mut(&key);
        self.parked -= usize::from(share.is_some_and(|share| share.parked.pop_front().is_some()));
    }

    /// A load of what is parked of `key` is over; there may be more.
    pub(super) fn unparked(&mut self, key: Key) {
        if let Some(share) = self.shares.get_mut(&key) {
            share.due = false;
            self.look_at(key);
        }
    }

    /// The backlog is given up.
    pub(super) fn purge(&mut self) {
        self.shares.clear();
        self.due.clear();
        self.parked = 0;
        self.used = Size::default();
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> Size {
        self.used
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.shares.is_empty() && self.used == Size::default() && self.parked + self.loads + self.asked == 0
    }
}

impl Share {
    fn fits(&self, share: Size) -> bool {
        self.used.events == 0 || share.has_room(self.used)
    }

    /// At most half of it is used.
    fn is_low(&self, share: Size) -> bool {
        let Size { events, bytes } = self.used;
        events == 0 || (events * 2 <= share.events && bytes * 2 <= share.bytes)
    }
}
