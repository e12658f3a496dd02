//! PURE: which records of one shard the spool holds, which of them are in memory, and which have done their duty.

use std::collections::BTreeSet;

/// Records from the first that is still needed up to where loading goes on while that one does not get on. Each is
/// remembered, and comes again after a crash.
const SPAN: u64 = 1 << 16;
/// Looks without a change, at the first that is still needed, after which it does not get on.
const STILL: u8 = 2;

/// The records `head..tail` of one stream; `head` is the first that is still needed.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    head: u64,
    /// The first that was not loaded yet.
    next: u64,
    tail: u64,
    /// Events on their way to the spool.
    pub(super) coming: u64,
    /// A load has been asked for.
    pub(super) loading: bool,
    /// Records that loading has passed over for now.
    pub(super) parked: usize,
    /// Spilled while they were attempted: memory still has them, so they are not loaded.
    held: BTreeSet<u64>,
    /// No longer needed, but behind one that is.
    done: BTreeSet<u64>,
    /// The spool was told to forget what is below.
    removed: u64,
    /// The head as it was last looked at, and how often it had not moved.
    seen: u64,
    still: u8,
}

impl Backlog {
    /// What an earlier run left.
    pub(super) fn recovered(head: u64, tail: u64) -> Self {
        Self { head, next: head, tail, removed: head, ..Self::default() }
    }

    /// Whether something is on disk, or on its way there, that must be delivered before any new event.
    pub(super) fn is_behind(&self) -> bool {
        self.coming > 0 || self.next < self.tail
    }

    /// The spool has a new record.
    pub(super) fn appended(&mut self, index: u64) {
        if self.head == self.tail {
            (self.head, self.next) = (index, index);
        }
        self.tail = index + 1;
    }

    /// Memory has that record's event already.
    pub(super) fn hold(&mut self, index: u64) {
        self.held.insert(index);
        self.pass();
    }

    /// Notes whether the head has moved.
    pub(super) fn look(&mut self) {
        self.still = if self.seen == self.head { self.still.saturating_add(1) } else { 0 };
        self.seen = self.head;
    }

    /// Whether loading can go on: up to `near` records from the head, and beyond it while the head does not get on.
    pub(super) fn can_load(&self, near: usize) -> bool {
        let ahead = self.next - self.head;
        let is_allowed = ahead < near as u64 || (self.still >= STILL && ahead < SPAN);
        !self.loading && self.next < self.tail && is_allowed
    }

    /// Whether memory has everything that is to be delivered before what comes now.
    pub(super) fn is_caught_up(&self) -> bool {
        !self.loading && self.next == self.tail && self.parked == 0
    }

    /// Where loading goes on.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Records that were not loaded yet.
    pub(super) fn unloaded(&self) -> usize {
        usize::try_from(self.tail - self.next).unwrap_or(usize::MAX)
    }

    /// A record was read; whether its event is to be taken into memory.
    pub(super) fn load(&mut self, index: u64) -> bool {
        let is_news = index >= self.next && !self.held.contains(&index) && !self.done.contains(&index);
        self.next = self.next.max(index + 1);
        is_news
    }

    /// The records before `index` that were not loaded cannot be; how many of them are among the `expired`.
    pub(super) fn skip_to(&mut self, index: u64, expired: &[u64]) -> u64 {
        let mut found = 0;
        for lost in self.next..index {
            if !self.held.contains(&lost) && self.done.insert(lost) {
                found += u64::from(expired.binary_search(&lost).is_ok());
            }
        }
        self.next = self.next.max(index);
        self.advance();
        found
    }

    /// A record has done its duty.
    pub(super) fn settle(&mut self, index: u64) {
        self.held.remove(&index);
        self.done.insert(index);
        self.advance();
    }

    fn advance(&mut self) {
        while self.done.remove(&self.head) {
            self.head += 1;
        }
        self.next = self.next.max(self.head);
        self.pass();
    }

    /// Loading passes over what need not be loaded.
    fn pass(&mut self) {
        while self.next < self.tail && (self.held.contains(&self.next) || self.done.contains(&self.next)) {
            self.next += 1;
        }
    }

    /// Below which index the spool can forget, if that is news.
    pub(super) fn take_removal(&mut self) -> Option<u64> {
        let news = self.head > self.removed;
        self.removed = self.head;
        news.then_some(self.head)
    }

    /// Nothing is left of it, and the spool knows.
    pub(super) fn is_over(&self) -> bool {
        self.head == self.tail && self.removed == self.head && self.coming == 0 && !self.loading
    }

    /// Gives everything up; how many of that memory does not have.
    pub(super) fn purge(&mut self) -> u64 {
        let needless = self.done.range(self.next..).count() + self.held.range(self.next..).count();
        let unloaded = self.tail - self.next - needless as u64 + self.parked as u64;
        self.parked = 0;
        self.held.clear();
        self.done.clear();
        (self.head, self.next) = (self.tail, self.tail);
        unloaded
    }

    /// Events that are in the spool or on their way there.
    pub(super) fn len(&self) -> u64 {
        self.tail - self.head - self.done.len() as u64 + self.coming
    }
}
