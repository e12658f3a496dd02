//! PURE: the queue of one route on one worker. Keeps the order of each guild from the moment an event is pushed,
//! through memory, the spool and repetitions, to its delivery. [`Queue`] is told what happened and asked what is next.
//!
//! An event is *live* while only memory holds it, and confirmed by its delivery. What is not delivered in time goes to
//! the spool with everything else of its shard, and counts as confirmed once the spool has it; until a shard's
//! backlog is back in memory, new events of that shard join its end.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use pilothouse_shared::ids::GuildId;

use self::backlog::Backlog;
use self::ordered::{Ordered, Taken};
use super::delivery::Delivery;
use crate::config::SpoolConfig;
use crate::pipeline::{Event, Lane};
use crate::spool::{Entry, Mark};

mod backlog;
mod ordered;
mod pace;
#[cfg(test)]
mod tests;

pub(super) use pace::Pace;

/// Events from the spool that are in memory at a time, while all is well.
pub(super) const WINDOW: usize = 1024;
/// Events of one stream that are loaded at a time.
const LOAD: usize = 64;
/// Events of one append.
const APPEND: usize = 1024;

/// While a socket is held because of unconfirmed events, they are spilled after this time.
const SPILL_HELD_AFTER: Duration = Duration::from_millis(100);
/// Room that an empty queue keeps, in items and in streams.
const KEPT: usize = 64;

/// What bounds a queue.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    /// Attempts at once.
    pub(super) attempts: usize,
    /// Events of an attempt.
    pub(super) batch: usize,
    /// An event that is not confirmed after this time goes to the spool; none: there is no spool.
    pub(super) spill_after: Option<Duration>,
    /// Unconfirmed events at which a session's socket is held.
    pub(super) max_unconfirmed: usize,
}

/// What must stay in order among itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Key {
    Guild(GuildId),
    /// Events without a guild, by shard.
    Shard(u32),
}

impl Key {
    fn of(delivery: &Delivery) -> Self {
        delivery.guild.map_or(Self::Shard(delivery.stream), Self::Guild)
    }
}

/// One event that is in memory.
struct Item {
    delivery: Delivery,
    /// Until it is confirmed.
    owed: Option<Owed>,
    /// Its record in the spool.
    index: Option<u64>,
    /// Part of an attempt.
    out: bool,
}

/// A lane's claim to hear of an event.
pub(super) struct Owed {
    lane: Rc<Lane>,
    seq: u64,
    received: Instant,
}

impl Owed {
    fn confirm(self, now: Instant) {
        self.lane.confirm(self.seq, now);
    }
}

/// An event on its way to the spool.
pub(super) struct Spilled {
    pub(super) delivery: Delivery,
    owed: Option<Owed>,
    /// It is part of an attempt, too.
    out: Option<u64>,
}

impl Spilled {
    /// How it comes into the spool. What does not come by its session's lane is a dead letter.
    pub(super) fn entry(&self) -> Entry {
        match (&self.owed, self.out) {
            (_, Some(_)) => Entry::InFlight,
            (Some(owed), None) if !Rc::ptr_eq(&owed.lane.origin, &self.delivery.origin) => Entry::Again,
            (_, None) => Entry::Fresh,
        }
    }
}

/// Where the spool put an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    At(u64),
    /// It had no room for events of this kind.
    Dropped,
}

impl Place {
    fn index(self) -> Option<u64> {
        match self {
            Self::At(index) => Some(index),
            Self::Dropped => None,
        }
    }
}

/// Events of one attempt.
pub(super) struct Batch {
    ids: Vec<u64>,
    keys: Vec<Key>,
    pub(super) deliveries: Vec<Delivery>,
}

/// A part of the backlog that is to be loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Load {
    pub(super) shard: u32,
    pub(super) from: u64,
    pub(super) count: usize,
}

/// The events of one shard.
#[derive(Default)]
struct Stream {
    /// Ids of live events, oldest first; some may be confirmed already.
    live: VecDeque<u64>,
    backlog: Option<Backlog>,
}

/// The queue of one route on one worker.
pub(super) struct Queue {
    bounds: Bounds,
    pace: Pace,
    items: HashMap<u64, Item>,
    next_id: u64,
    ordered: Ordered<Key, u64>,
    streams: HashMap<u32, Stream>,
    /// Shards of which everything is to be spilled.
    to_spill: Vec<u32>,
    /// On their way to the spool, but not yet given to it.
    waiting: VecDeque<Spilled>,
    /// Given to the spool, which has not answered.
    appending: Vec<Spilled>,
    /// Events of the next append at most.
    append: usize,
    /// Shards of which something can be loaded.
    loadable: VecDeque<u32>,
    /// Items that came from the spool.
    loaded: usize,
    /// How far each shard's session is in the spool.
    marks: HashMap<u32, Mark>,
    pub(super) paused: bool,
}

impl Queue {
    pub(super) fn new(bounds: Bounds, pace: Pace) -> Self {
        Self {
            ordered: Ordered::new(bounds.attempts),
            bounds,
            pace,
            items: HashMap::new(),
            next_id: 0,
            streams: HashMap::new(),
            to_spill: Vec::new(),
            waiting: VecDeque::new(),
            appending: Vec::new(),
            append: APPEND,
            loadable: VecDeque::new(),
            loaded: 0,
            marks: HashMap::new(),
            paused: false,
        }
    }

    /// Goes by these settings from now on.
    pub(super) fn adopt(&mut self, settings: &SpoolConfig, max_unconfirmed: u32) {
        let Bounds { spill_after, max_unconfirmed: limit, .. } = &mut self.bounds;
        *spill_after = spill_after.map(|_| settings.after);
        *limit = max_unconfirmed as usize;
        self.pace.set(settings.drain_rate);
    }

    /// The spool holds the records `head..tail` of `shard` from an earlier run.
    pub(super) fn recover(&mut self, shard: u32, head: u64, tail: u64) {
        let stream = self.streams.entry(shard).or_default();
        stream.backlog = Some(Backlog::recovered(head, tail));
        self.loadable.push_back(shard);
    }

    /// So far did `shard` come in the spool in an earlier run.
    pub(super) fn recover_mark(&mut self, shard: u32, mark: Mark) {
        self.marks.insert(shard, mark);
    }

    /// Whether Discord replays an event that the spool has or had: after the agent was restarted, or a shard of it.
    pub(super) fn has_spooled(&self, delivery: &Delivery) -> bool {
        let Delivery { origin, seq, part, .. } = delivery;
        self.marks.get(&origin.shard).is_some_and(|mark| mark.covers(&origin.session, *seq, *part))
    }

    /// Takes over an event, behind every other of its shard.
    pub(super) fn push(&mut self, event: &Event, delivery: Delivery) {
        let owed = Some(Owed { lane: Rc::clone(&event.lane), seq: event.seq, received: event.received });
        let stream = self.streams.entry(delivery.stream).or_default();
        match &mut stream.backlog {
            Some(backlog) if backlog.is_behind() => {
                backlog.coming += 1;
                self.waiting.push_back(Spilled { delivery, owed, out: None });
            }
            _ => {
                stream.live.push_back(self.next_id);
                self.admit(Item { delivery, owed, index: None, out: false });
            }
        }
    }

    /// Takes over an event of long ago, by way of the spool; `lane` is told by number `seq` when it is safe there.
    pub(super) fn push_again(&mut self, delivery: Delivery, lane: Rc<Lane>, seq: u64, now: Instant) {
        let owed = Some(Owed { lane, seq, received: now });
        if self.bounds.spill_after.is_none() {
            return self.admit(Item { delivery, owed, index: None, out: false });
        }
        // The spool takes a session for safe up to its last event there: none that is only in memory may be before it.
        self.spill_stream(delivery.stream);
        let stream = self.streams.entry(delivery.stream).or_default();
        stream.backlog.get_or_insert_default().coming += 1;
        self.waiting.push_back(Spilled { delivery, owed, out: None });
    }

    fn admit(&mut self, item: Item) {
        let id = self.next_id;
        self.next_id += 1;
        self.ordered.push(Key::of(&item.delivery), id);
        self.items.insert(id, item);
    }

    /// The next attempt, if there is something to attempt and room for it.
    pub(super) fn take_batch(&mut self) -> Option<Batch> {
        if self.paused {
            return None;
        }
        let Self { ordered, items, bounds, .. } = self;
        let Taken { keys, items: ids } = ordered.take(bounds.batch, |id| items.contains_key(id))?;
        let deliveries = ids.iter().map(|id| {
            let item = items.get_mut(id).expect("what is taken is in");
            item.out = true;
            item.delivery.clone()
        });
        Some(Batch { deliveries: deliveries.collect(), ids, keys })
    }

    /// The other side has the events of an attempt, or they are among the dead letters.
    pub(super) fn finished(&mut self, batch: &Batch, now: Instant) {
        for (id, delivery) in batch.ids.iter().zip(&batch.deliveries) {
            let Some(item) = self.items.remove(id) else { continue };
            if let Some(owed) = item.owed {
                owed.confirm(now);
            }
            if let Some(index) = item.index {
                self.settle(delivery.stream, index);
            }
        }
        self.ordered.done(&batch.keys);
        batch.deliveries.iter().for_each(|delivery| self.forget_if_idle(delivery.stream));
        if self.items.is_empty() {
            self.items.shrink_to(KEPT);
            self.streams.shrink_to(KEPT);
        }
    }

    /// The record `index` of `shard` has done its duty.
    fn settle(&mut self, shard: u32, index: u64) {
        let backlog = self.streams.get_mut(&shard).and_then(|stream| stream.backlog.as_mut());
        self.loaded -= usize::from(backlog.is_some_and(|backlog| backlog.settle(index)));
    }

    fn forget_if_idle(&mut self, shard: u32) {
        let Some(stream) = self.streams.get_mut(&shard) else { return };
        while stream.live.front().is_some_and(|id| self.items.get(id).is_none_or(|item| item.owed.is_none())) {
            stream.live.pop_front();
        }
        if stream.live.is_empty() && stream.backlog.is_none() {
            self.streams.remove(&shard);
        }
    }

    /// Everything live of `shard` is to go to the spool: its session cannot be resumed any more.
    pub(super) fn spill(&mut self, shard: u32) {
        if self.bounds.spill_after.is_some() {
            self.to_spill.push(shard);
        }
    }

    /// Everything live is to go to the spool.
    pub(super) fn spill_all(&mut self) {
        let shards: Vec<u32> = self.streams.keys().copied().collect();
        shards.into_iter().for_each(|shard| self.spill(shard));
    }

    /// Sends to the spool what has waited too long.
    pub(super) fn tick(&mut self, now: Instant) {
        let Some(usual) = self.bounds.spill_after else { return };
        let bounds = &self.bounds;
        let is_due = |(_, stream): &(&u32, &Stream)| {
            let oldest = stream.live.iter().find_map(|id| self.items.get(id)?.owed.as_ref());
            oldest.is_some_and(|Owed { lane, received, .. }| {
                let held = lane.outstanding() >= bounds.max_unconfirmed;
                let limit = if held { SPILL_HELD_AFTER.min(usual) } else { usual };
                now.saturating_duration_since(*received) >= limit
            })
        };
        let due = self.streams.iter().filter(is_due).map(|(shard, _)| *shard);
        self.to_spill.extend(due);
    }

    /// What the spool is to append now, in order. Until [`Self::appended`] or [`Self::append_failed`] there is no more.
    pub(super) fn take_append(&mut self) -> Option<&[Spilled]> {
        for shard in std::mem::take(&mut self.to_spill) {
            self.spill_stream(shard);
        }
        if !self.appending.is_empty() || self.waiting.is_empty() {
            return None;
        }
        let count = self.waiting.len().min(self.append);
        self.appending.extend(self.waiting.drain(..count));
        Some(&self.appending)
    }

    fn spill_stream(&mut self, shard: u32) {
        let Some(stream) = self.streams.get_mut(&shard) else { return };
        for id in std::mem::take(&mut stream.live) {
            let Some(item) = self.items.get(&id).filter(|item| item.owed.is_some()) else { continue };
            let spilled = if item.out {
                Spilled { delivery: item.delivery.clone(), owed: None, out: Some(id) }
            } else {
                let item = self.items.remove(&id).expect("it was there");
                Spilled { delivery: item.delivery, owed: item.owed, out: None }
            };
            self.waiting.push_back(spilled);
            stream.backlog.get_or_insert_default().coming += 1;
        }
    }

    /// The spool has what it was given: each event's place.
    pub(super) fn appended(&mut self, places: &[Place], now: Instant) {
        self.append = APPEND.min(self.append * 2);
        for (spilled, place) in std::mem::take(&mut self.appending).into_iter().zip(places) {
            self.place(spilled, *place, now);
        }
    }

    fn place(&mut self, spilled: Spilled, place: Place, now: Instant) {
        let entry = spilled.entry();
        let Spilled { delivery, owed, out } = spilled;
        let shard = delivery.stream;
        let item = out.and_then(|id| self.items.get_mut(&id));
        let is_out = item.is_some();
        let owed = item.map_or(owed, |item| {
            item.index = place.index();
            item.owed.take()
        });
        if let Some(owed) = owed {
            owed.confirm(now);
        }
        let stream = self.streams.entry(shard).or_default();
        let backlog = stream.backlog.get_or_insert_default();
        backlog.coming -= 1;
        if let Some(index) = place.index() {
            // A letter is of an older session, or of a sequence that its own may not have reached again.
            if entry != Entry::Again {
                let mark = self.marks.entry(delivery.origin.shard).or_default();
                mark.reach(&delivery.origin.session, delivery.seq, delivery.part);
            }
            let was_loadable = backlog.can_load();
            backlog.appended(index);
            match out {
                Some(_) if is_out => backlog.hold(index),
                Some(_) => drop(backlog.settle(index)),
                None => self.pace.earn(),
            }
            if backlog.can_load() && !was_loadable {
                self.loadable.push_back(shard);
            }
        }
        self.forget_if_idle(shard);
    }

    /// The spool cannot take what it was given: it will be given it again, less at a time, as some of it may have room.
    pub(super) fn append_failed(&mut self) {
        self.append = (self.appending.len() / 2).max(1);
        let failed = std::mem::take(&mut self.appending);
        failed.into_iter().rev().for_each(|spilled| self.waiting.push_front(spilled));
    }

    /// The next part of the backlog that fits into memory, of which `window` events may be there. No shard is asked for
    /// twice at a time.
    pub(super) fn take_load(&mut self, window: usize, now: Instant) -> Option<Load> {
        if self.paused || self.loaded >= window {
            return None;
        }
        let room = LOAD.min(window - self.loaded);
        while let Some(shard) = self.loadable.front().copied() {
            let backlog = self.streams.get_mut(&shard).and_then(|stream| stream.backlog.as_mut());
            let Some(backlog) = backlog.filter(|backlog| backlog.can_load()) else {
                self.loadable.pop_front();
                continue;
            };
            let count = self.pace.take(room.min(backlog.unloaded()), now);
            if count == 0 {
                return None;
            }
            backlog.loading = true;
            self.loadable.pop_front();
            return Some(Load { shard, from: backlog.next(), count });
        }
        None
    }

    /// When a load that the pace does not allow yet will be allowed.
    pub(super) fn load_due(&self, window: usize, now: Instant) -> Option<Instant> {
        let wanted = !self.paused && self.loaded < window && !self.loadable.is_empty();
        wanted.then(|| self.pace.due(now))
    }

    /// What the spool answered to a load: records by index, ascending, all that is left below `next`.
    pub(super) fn loaded(&mut self, load: Load, records: Vec<(u64, Delivery)>, next: u64) {
        let stream = self.streams.get_mut(&load.shard);
        let Some(backlog) = stream.and_then(|stream| stream.backlog.as_mut()) else { return };
        backlog.loading = false;
        let mut fresh = Vec::new();
        // What was purged while it was read is of no use.
        if backlog.next() == load.from {
            for (index, delivery) in records {
                backlog.skip_to(index);
                if backlog.load(index) {
                    fresh.push(Item { delivery, owed: None, index: Some(index), out: false });
                }
            }
            backlog.skip_to(next);
        }
        if backlog.can_load() {
            self.loadable.push_back(load.shard);
        }
        self.loaded += fresh.len();
        fresh.into_iter().for_each(|item| self.admit(item));
    }

    /// The spool could not read: try again.
    pub(super) fn load_failed(&mut self, load: Load) {
        let stream = self.streams.get_mut(&load.shard);
        if let Some(backlog) = stream.and_then(|stream| stream.backlog.as_mut()) {
            backlog.loading = false;
            self.loadable.push_back(load.shard);
        }
    }

    /// The spool can forget the records of these shards below these indices.
    pub(super) fn take_removals(&mut self) -> Vec<(u32, u64)> {
        let mut removals = Vec::new();
        self.streams.retain(|shard, stream| {
            if let Some(backlog) = &mut stream.backlog {
                removals.extend(backlog.take_removal().map(|below| (*shard, below)));
                if backlog.is_over() {
                    stream.backlog = None;
                }
            }
            stream.backlog.is_some() || !stream.live.is_empty()
        });
        removals
    }

    /// Gives the whole backlog up; how many events that were. What is being attempted goes on.
    pub(super) fn purge(&mut self, now: Instant) -> u64 {
        let before = self.items.len() + self.waiting.len();
        self.items.retain(|_, item| item.out || item.index.is_none());
        self.items.values_mut().for_each(|item| item.index = None);
        let mut given_up = before - self.items.len() - self.waiting.len();
        for Spilled { delivery, owed, .. } in self.waiting.drain(..) {
            let backlog = self.streams.get_mut(&delivery.stream).and_then(|stream| stream.backlog.as_mut());
            if let Some(backlog) = backlog {
                backlog.coming -= 1;
            }
            if let Some(owed) = owed {
                owed.confirm(now);
            }
            given_up += 1;
        }
        let backlogs = self.streams.values_mut().filter_map(|stream| stream.backlog.as_mut());
        self.loaded = 0;
        given_up as u64 + backlogs.map(Backlog::purge).sum::<u64>()
    }

    /// Drains as fast as the other side takes it, until the backlog is gone; or at the configured pace again.
    pub(super) fn hurry(&mut self, hurry: bool) {
        self.pace.hurry(hurry);
    }

    /// Events in memory: waiting, or part of an attempt.
    pub(super) fn queued(&self) -> usize {
        self.items.len()
    }

    /// Events in the spool or on their way there.
    pub(super) fn spooled(&self) -> u64 {
        self.streams.values().filter_map(|stream| stream.backlog.as_ref()).map(Backlog::len).sum()
    }

    /// When the oldest event in memory was received, Unix milliseconds.
    pub(super) fn oldest_ms(&self) -> Option<u64> {
        self.items.values().map(|item| item.delivery.received_ms).min()
    }
}
