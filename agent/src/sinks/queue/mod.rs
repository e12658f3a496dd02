//! PURE: the queue of one route on one worker. Keeps the order of each guild from the moment an event is pushed,
//! through memory, the spool and repetitions, to its delivery. [`Queue`] is told what happened and asked what is next.
//!
//! An event is *live* while only memory holds it, and confirmed by its delivery. What is not delivered in time goes to
//! the spool with everything else of its shard, and counts as confirmed once the spool has it; until a shard's
//! backlog is back in memory, new events of that shard join its end.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::{Duration, Instant};

use self::backlog::Backlog;
use self::item::{Item, Key, Owed};
use self::ordered::{Ordered, Taken};
use self::window::Window;
use super::delivery::Delivery;
use crate::config::SpoolConfig;
use crate::pipeline::{Event, Lane};
use crate::spool::{Entry, Mark};

mod backlog;
mod item;
mod loading;
mod ordered;
mod pace;
#[cfg(test)]
mod tests;
mod window;

pub(super) use item::{Batch, Load, Loaded, Place, Spilled};
pub(super) use pace::Pace;
pub(super) use window::Size;

/// Events from the spool that wait in memory at a time, and their bytes, beyond what the loads under way bring.
pub(super) const WINDOW: Size = Size { events: 1024, bytes: 8 << 20 };
/// Events of one append.
const APPEND: usize = 1024;
/// Bytes of one append, beyond its first event.
const APPEND_BYTES: usize = 1 << 20;

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
    /// What waits in memory of the backlog.
    pub(super) window: Size,
    /// An event that is not confirmed after this time goes to the spool; none: there is no spool.
    pub(super) spill_after: Option<Duration>,
    /// Unconfirmed events at which a session's socket is held.
    pub(super) max_unconfirmed: usize,
}

/// The events of one shard.
#[derive(Default)]
struct Stream {
    /// Ids of live events, oldest first; some may be confirmed already.
    live: VecDeque<u64>,
    backlog: Option<Backlog>,
    /// It is among those that are to be spilled.
    to_spill: bool,
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
    to_spill: VecDeque<u32>,
    /// On their way to the spool, but not yet given to it.
    waiting: VecDeque<Spilled>,
    /// Given to the spool, which has not answered.
    appending: Vec<Spilled>,
    /// Events of the next append at most.
    append: usize,
    /// The last append failed.
    is_failing: bool,
    /// Shards of which something can be loaded.
    loadable: VecDeque<u32>,
    /// How far each shard's session is in the spool.
    marks: HashMap<u32, Mark>,
    window: Window,
    pub(super) paused: bool,
    /// The agent ends: what was begun with is still attempted, and nothing more.
    is_closing: bool,
    /// No other attempt begins.
    is_over: bool,
}

impl Queue {
    pub(super) fn new(bounds: Bounds, pace: Pace) -> Self {
        Self {
            ordered: Ordered::new(bounds.attempts),
            window: Window::new(bounds.window, bounds.attempts),
            bounds,
            pace,
            items: HashMap::new(),
            next_id: 0,
            streams: HashMap::new(),
            to_spill: VecDeque::new(),
            waiting: VecDeque::new(),
            appending: Vec::new(),
            append: APPEND,
            is_failing: false,
            loadable: VecDeque::new(),
            marks: HashMap::new(),
            paused: false,
            is_closing: false,
            is_over: false,
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
        if self.window.has_parked(Key::of(&delivery)) {
            return self.push_to_spool(delivery, owed);
        }
        let stream = self.streams.entry(delivery.stream).or_default();
        match &mut stream.backlog {
            Some(backlog) if backlog.is_behind() => {
                backlog.coming += 1;
                self.waiting.push_back(Spilled { delivery, owed, out: None });
            }
            _ => self.push_live(delivery, owed),
        }
    }

    fn push_live(&mut self, delivery: Delivery, owed: Option<Owed>) {
        self.streams.entry(delivery.stream).or_default().live.push_back(self.next_id);
        self.admit(Item { delivery, owed, index: None, out: false });
    }

    fn push_to_spool(&mut self, delivery: Delivery, owed: Option<Owed>) {
        // The spool takes a session for safe up to its last event there: none that is only in memory may be before it.
        self.spill_stream(delivery.stream);
        let stream = self.streams.entry(delivery.stream).or_default();
        stream.backlog.get_or_insert_default().coming += 1;
        self.waiting.push_back(Spilled { delivery, owed, out: None });
    }

    /// Takes over an event of long ago, by way of the spool; `lane` is told by number `seq` when it is safe there.
    pub(super) fn push_again(&mut self, delivery: Delivery, lane: Rc<Lane>, seq: u64, now: Instant) {
        let owed = Some(Owed { lane, seq, received: now });
        if self.bounds.spill_after.is_none() {
            return self.admit(Item { delivery, owed, index: None, out: false });
        }
        self.push_to_spool(delivery, owed);
    }

    fn admit(&mut self, item: Item) {
        let id = self.next_id;
        self.next_id += 1;
        self.ordered.push(Key::of(&item.delivery), id);
        self.items.insert(id, item);
    }

    /// The next attempt, if there is something to attempt and room for it.
    pub(super) fn take_batch(&mut self) -> Option<Batch> {
        if self.paused || self.is_over {
            return None;
        }
        let Self { ordered, items, bounds, window, .. } = self;
        let Taken { keys, items: ids } = ordered.take(bounds.batch, |id| items.contains_key(id))?;
        let deliveries = ids.iter().map(|id| {
            let item = items.get_mut(id).expect("what is taken is in");
            item.out = true;
            if item.index.is_some() {
                window.taken(Key::of(&item.delivery), item.delivery.payload.len());
            }
            item.delivery.clone()
        });
        Some(Batch { deliveries: deliveries.collect(), ids, keys })
    }

    /// An attempt is over: the other side has its events, or they are among the dead letters.
    pub(super) fn finished(&mut self, batch: &Batch, now: Instant) {
        self.ordered.over();
        self.done_with(batch, now);
    }

    /// An attempt is given up, as the agent ends: its events are not done with.
    pub(super) fn given_up(&mut self) {
        self.ordered.over();
        self.is_over = true;
    }

    /// So far an attempt is done with; what is left of it stays out.
    pub(super) fn done_with(&mut self, batch: &Batch, now: Instant) {
        for (id, delivery) in batch.ids.iter().zip(&batch.deliveries) {
            let Some(item) = self.items.remove(id) else { continue };
            if let Some(owed) = item.owed {
                owed.confirm(now);
            }
            if let Some(index) = item.index {
                self.settle(delivery.stream, index);
            }
        }
        self.ordered.free(&batch.keys);
        batch.deliveries.iter().for_each(|delivery| self.forget_if_idle(delivery.stream));
        if self.items.is_empty() {
            self.items.shrink_to(KEPT);
            self.streams.shrink_to(KEPT);
        }
    }

    /// The record `index` of `shard` has done its duty.
    fn settle(&mut self, shard: u32, index: u64) {
        let backlog = self.streams.get_mut(&shard).and_then(|stream| stream.backlog.as_mut());
        let Some(backlog) = backlog else { return };
        let near = self.bounds.window.events;
        let was_loadable = backlog.can_load(near);
        backlog.settle(index);
        if backlog.can_load(near) && !was_loadable {
            self.loadable.push_back(shard);
        }
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
        if self.bounds.spill_after.is_none() {
            return;
        }
        let stream = self.streams.get_mut(&shard);
        if stream.is_some_and(|stream| !std::mem::replace(&mut stream.to_spill, true)) {
            self.to_spill.push_back(shard);
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
        let due: Vec<u32> = self.streams.iter().filter(is_due).map(|(shard, _)| *shard).collect();
        due.into_iter().for_each(|shard| self.spill(shard));
        self.look_at_heads();
    }

    fn look_at_heads(&mut self) {
        let near = self.bounds.window.events;
        for (shard, stream) in &mut self.streams {
            let Some(backlog) = &mut stream.backlog else { continue };
            let was_loadable = backlog.can_load(near);
            backlog.look();
            if backlog.can_load(near) && !was_loadable {
                self.loadable.push_back(*shard);
            }
        }
    }

    /// Whether something must go to the spool.
    pub(super) fn needs_spool(&self) -> bool {
        !(self.to_spill.is_empty() && self.waiting.is_empty() && self.appending.is_empty())
    }

    /// What the spool is to append now, in order. Until [`Self::appended`] or [`Self::append_failed`] there is no more.
    pub(super) fn take_append(&mut self) -> Option<&[Spilled]> {
        if !self.appending.is_empty() {
            return None;
        }
        // While appends fail one shard tries whether they still do: the others' events are better off in memory.
        while !self.is_failing || self.waiting.is_empty() {
            let Some(shard) = self.to_spill.pop_front() else { break };
            if self.streams.get_mut(&shard).is_some_and(|stream| std::mem::take(&mut stream.to_spill)) {
                self.spill_stream(shard);
            }
        }
        let mut bytes = 0;
        let fits = |spilled: &&Spilled| {
            let fits = bytes < APPEND_BYTES;
            bytes += spilled.delivery.payload.len();
            fits
        };
        let count = self.waiting.iter().take(self.append).take_while(fits).count();
        self.appending.extend(self.waiting.drain(..count));
        (count > 0).then_some(&self.appending)
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
        self.is_failing = false;
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
            let near = self.bounds.window.events;
            let was_loadable = backlog.can_load(near);
            backlog.appended(index);
            match out {
                Some(_) if is_out => backlog.hold(index),
                Some(_) => backlog.settle(index),
                None => self.pace.earn(),
            }
            if backlog.can_load(near) && !was_loadable {
                self.loadable.push_back(shard);
            }
        }
        self.forget_if_idle(shard);
    }

    /// The spool cannot take what it was given. Shards that have nothing else there are live again; the others' events will
    /// be given to it again, less at a time, as some of it may have room.
    pub(super) fn append_failed(&mut self) {
        self.is_failing = true;
        self.append = (self.appending.len() / 2).max(1);
        let waiting = std::mem::take(&mut self.waiting);
        for spilled in std::mem::take(&mut self.appending).into_iter().chain(waiting) {
            let stream = self.streams.get_mut(&spilled.delivery.stream);
            match stream.and_then(|stream| stream.backlog.as_mut()).filter(|backlog| backlog.is_caught_up()) {
                Some(backlog) => {
                    backlog.coming -= 1;
                    self.take_back(spilled);
                }
                None => self.waiting.push_back(spilled),
            }
        }
    }

    /// Only memory holds it, again.
    fn take_back(&mut self, Spilled { delivery, owed, out }: Spilled) {
        match out {
            None => self.push_live(delivery, owed),
            Some(id) if self.items.contains_key(&id) => {
                self.streams.entry(delivery.stream).or_default().live.push_back(id);
            }
            Some(_) => {}
        }
    }

    /// Begins with nothing new of the backlog, and ends with what was begun.
    pub(super) fn close(&mut self) {
        self.is_closing = true;
        self.pace.hurry(true);
    }

    /// Begins no attempt any more.
    pub(super) fn end(&mut self) {
        self.is_over = true;
    }

    pub(super) fn is_closing(&self) -> bool {
        self.is_closing
    }

    /// Whether nothing is out, and nothing will be.
    pub(super) fn is_closed(&self) -> bool {
        let is_done = self.ordered.is_idle() && !self.window.is_passing() && !self.window.is_loading();
        self.is_closing && self.ordered.out() == 0 && (self.paused || self.is_over || is_done)
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
        let before = self.items.len();
        self.items.retain(|_, item| item.out || item.index.is_none());
        self.items.values_mut().for_each(|item| item.index = None);
        self.window.purge();
        let mut given_up = (before - self.items.len()) as u64;
        for spilled in std::mem::take(&mut self.waiting) {
            let backlog = self.streams.get_mut(&spilled.delivery.stream).and_then(|stream| stream.backlog.as_mut());
            backlog.expect("what waits is coming to a backlog").coming -= 1;
            match spilled {
                Spilled { out: None, owed, .. } => {
                    given_up += 1;
                    owed.into_iter().for_each(|owed| owed.confirm(now));
                }
                spilled => self.take_back(spilled),
            }
        }
        let backlogs = self.streams.values_mut().filter_map(|stream| stream.backlog.as_mut());
        given_up + backlogs.map(Backlog::purge).sum::<u64>()
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
