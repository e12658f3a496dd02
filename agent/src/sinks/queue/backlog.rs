//! PURE: which records of one shard the spool holds, which of them are in memory, and which have done their duty.

use std::collections::BTreeSet;

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
    /// Spilled while they were attempted: memory still has them, so they are not loaded.
    held: BTreeSet<u64>,
    /// No longer needed, but behind one that is.
    done: BTreeSet<u64>,
    /// The spool was told to forget what is below.
    removed: u64,
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

    pub(super) fn can_load(&self) -> bool {
        !self.loading && self.next < self.tail
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

    /// The records before `index` that were not loaded cannot be.
    pub(super) fn skip_to(&mut self, index: u64) {
        for lost in self.next..index {
            if !self.held.contains(&lost) {
                self.done.insert(lost);
            }
        }
        self.next = self.next.max(index);
        self.advance();
    }

    /// A record has done its duty; whether it had been loaded.
    pub(super) fn settle(&mut self, index: u64) -> bool {
        let was_loaded = !self.held.remove(&index) && index < self.next;
        self.done.insert(index);
        self.advance();
        was_loaded
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

    /// Gives everything up; how many of that had not been loaded.
    pub(super) fn purge(&mut self) -> u64 {
        let needless = self.done.range(self.next..).count() + self.held.range(self.next..).count();
        let unloaded = self.tail - self.next - needless as u64;
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
