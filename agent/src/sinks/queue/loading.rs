//! PURE: how a queue takes its backlog from the spool into memory, past what does not get on.

use std::collections::HashMap;
use std::time::Instant;

use super::Queue;
use super::item::{Item, Key, Load, Loaded};
use super::window::Parked;
use crate::sinks::delivery::Delivery;

impl Queue {
    /// The next part of the backlog that fits into memory. No shard is asked for twice at a time, except for what is parked.
    pub(in crate::sinks) fn take_load(&mut self, now: Instant) -> Option<Load> {
        if !self.may_load() {
            return None;
        }
        let room = self.window.room();
        let load = self.take_parked(room, now).or_else(|| self.take_next(room, now))?;
        self.window.ask(load.count);
        Some(load)
    }

    fn may_load(&self) -> bool {
        !self.paused && !self.is_over && self.window.room() > 0
    }

    fn take_parked(&mut self, room: usize, now: Instant) -> Option<Load> {
        let Parked { key, shard, from, count } = self.window.due(room)?;
        let count = self.pace.take(count, now);
        if count == 0 {
            return None;
        }
        self.window.due_is_asked_for();
        Some(Load { shard, from, count, parked: Some(key) })
    }

    /// Whether loading may go on with what it has not seen: beyond what is parked only while there is nothing else to do.
    fn may_go_on(&self) -> bool {
        !self.is_closing && (!self.window.is_passing() || self.ordered.is_idle())
    }

    fn take_next(&mut self, room: usize, now: Instant) -> Option<Load> {
        if !self.may_go_on() {
            return None;
        }
        while let Some(shard) = self.loadable.front().copied() {
            let backlog = self.streams.get_mut(&shard).and_then(|stream| stream.backlog.as_mut());
            let Some(backlog) = backlog.filter(|backlog| backlog.can_load(self.bounds.window.events)) else {
                self.loadable.pop_front();
                continue;
            };
            let count = self.pace.take(room.min(backlog.unloaded()), now);
            if count == 0 {
                return None;
            }
            backlog.loading = true;
            self.loadable.pop_front();
            return Some(Load { shard, from: backlog.next(), count, parked: None });
        }
        None
    }

    /// When a load that the pace does not allow yet will be allowed.
    pub(in crate::sinks) fn load_due(&self, now: Instant) -> Option<Instant> {
        let is_wanted = self.window.is_due() || (self.may_go_on() && !self.loadable.is_empty());
        (is_wanted && self.may_load()).then(|| self.pace.due(now))
    }

    /// What the spool answered to a load; how many events have expired there, of which memory knew nothing.
    pub(in crate::sinks) fn loaded(&mut self, load: Load, found: Loaded) -> u64 {
        self.window.answered(load.count);
        match load.parked {
            Some(key) => self.unpark(key, load, found),
            None => self.go_on(load, found),
        }
    }

    fn go_on(&mut self, load: Load, Loaded { records, expired, next }: Loaded) -> u64 {
        let Self { streams, window, pace, bounds, .. } = self;
        let Some(backlog) = streams.get_mut(&load.shard).and_then(|stream| stream.backlog.as_mut()) else { return 0 };
        let mut over = 0;
        backlog.loading = false;
        let mut fresh = Vec::new();
        // What was purged while it was read is of no use.
        if backlog.next() == load.from {
            for (index, delivery) in records {
                over += backlog.skip_to(index, &expired);
                let key = Key::of(&delivery);
                if !backlog.load(index) {
                    continue;
                }
                if window.admit(key, delivery.payload.len()) {
                    fresh.push(Item { delivery, owed: None, index: Some(index), out: false });
                } else {
                    window.park(key, load.shard, index);
                    backlog.parked += 1;
                    pace.earn();
                }
            }
            over += backlog.skip_to(next, &expired);
        }
        if backlog.can_load(bounds.window.events) {
            self.loadable.push_back(load.shard);
        }
        fresh.into_iter().for_each(|item| self.admit(item));
        over
    }

    fn unpark(&mut self, key: Key, load: Load, Loaded { records, expired, next }: Loaded) -> u64 {
        // What was purged while it was read is of no use.
        if !self.window.is_first(key, load.shard, load.from) {
            return 0;
        }
        let mut over = 0;
        let mut records: HashMap<u64, Delivery> = records.into_iter().collect();
        for index in load.from..next.min(load.from + load.count as u64) {
            match records.remove(&index) {
                Some(delivery) if self.window.unpark(key, delivery.payload.len()) => {
                    self.admit(Item { delivery, owed: None, index: Some(index), out: false });
                }
                Some(_) => break,
                None => {
                    over += u64::from(expired.binary_search(&index).is_ok());
                    self.window.forget_first(key);
                    self.settle(load.shard, index);
                }
            }
            let backlog = self.streams.get_mut(&load.shard).and_then(|stream| stream.backlog.as_mut());
            backlog.expect("what is parked has a backlog").parked -= 1;
        }
        self.window.unparked(key);
        over
    }

    /// The spool could not read: try again.
    pub(in crate::sinks) fn load_failed(&mut self, load: Load) {
        self.window.answered(load.count);
        if let Some(key) = load.parked {
            if self.window.is_first(key, load.shard, load.from) {
                self.window.unparked(key);
            }
            return;
        }
        let stream = self.streams.get_mut(&load.shard);
        if let Some(backlog) = stream.and_then(|stream| stream.backlog.as_mut()) {
            backlog.loading = false;
            self.loadable.push_back(load.shard);
        }
    }
}
