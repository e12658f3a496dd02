//! One session, pure: its log of dispatches is the send queue, the replay buffer and the memory of what is owed.

use std::collections::VecDeque;

use bytes::Bytes;

use super::Compression;

/// A connected client this far behind is cut off, as Discord does it; memory is bounded by it.
const SLOW_CLIENT: u64 = 65_536;

/// One dispatch of a session.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) at_us: u64,
    /// The ledger's id; 0 for what is not counted.
    pub(crate) event: u64,
    pub(crate) kind: &'static str,
    pub(crate) body: Body,
}

/// The `d` of a dispatch.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// Acknowledged in strict mode, or beyond the replay bound.
    Forgotten,
    Json(Bytes),
    /// Rendered when it is written: a READY burst of big guilds would not fit into memory.
    Guild(u32),
}

/// What a session was opened with; a resume must repeat version and compression.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) shard: u32,
    pub(crate) total: u32,
    pub(crate) version: u8,
    pub(crate) compression: Compression,
    pub(crate) intents: u64,
    /// Chooses key order and minor fields of everything sent to it.
    pub(crate) variant: usize,
}

/// Who holds the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    Connection(u64),
    Nobody { since_us: u64 },
}

/// A session. Sequence numbers start at 1; `log[0]` has the number `first`.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) terms: Terms,
    pub(crate) holder: Holder,
    /// A newer session took the shard while nobody held this one: its loss is the client's doing.
    pub(crate) given_up: bool,
    pub(crate) lag_us: u64,
    first: u64,
    log: VecDeque<Entry>,
    next_write: u64,
    /// Bodies from here on can be replayed.
    replayable_from: u64,
    /// The client said, or the transport proves, that it has everything up to here.
    delivered: u64,
    bound: u64,
}

impl Session {
    pub(crate) fn new(id: String, terms: Terms, connection: u64, bound: usize) -> Self {
        Self {
            id,
            terms,
            holder: Holder::Connection(connection),
            given_up: false,
            lag_us: 0,
            first: 1,
            log: VecDeque::new(),
            next_write: 1,
            replayable_from: 1,
            delivered: 0,
            bound: bound as u64,
        }
    }

    /// The highest sequence number given.
    pub(crate) fn last(&self) -> u64 {
        self.first + self.log.len() as u64 - 1
    }

    /// Dispatches not yet written to a socket.
    pub(crate) fn unwritten(&self) -> u64 {
        self.last() + 1 - self.next_write
    }

    /// READY was written: before that its client knows nothing of it.
    pub(crate) fn has_begun(&self) -> bool {
        self.next_write > 1
    }

    /// Appends a dispatch.
    pub(crate) fn push(&mut self, entry: Entry) {
        self.log.push_back(entry);
        self.enforce_bound();
    }

    /// The connected client has fallen hopelessly behind.
    pub(crate) fn is_too_slow(&self) -> bool {
        self.unwritten() > SLOW_CLIENT.max(self.bound)
    }

    /// The next dispatch to write, if it is due, with its sequence number.
    pub(crate) fn next_due(&self, now_us: u64) -> Option<(u64, &Entry)> {
        let entry = self.entry(self.next_write)?;
        (entry.at_us + self.lag_us <= now_us).then_some((self.next_write, entry))
    }

    /// When the next dispatch becomes due.
    pub(crate) fn due_us(&self) -> Option<u64> {
        self.entry(self.next_write).map(|entry| entry.at_us + self.lag_us)
    }

    pub(crate) fn written(&mut self) {
        self.next_write += 1;
        self.enforce_bound();
    }

    /// The client has everything up to `seq`; in strict mode it is forgotten.
    pub(crate) fn acknowledge(&mut self, seq: u64, strict: bool) {
        self.delivered = self.delivered.max(seq.min(self.next_write - 1));
        if strict {
            self.forget_to(self.delivered);
        }
        self.trim();
    }

    /// The connection ended after everything written to it was flushed in order.
    pub(crate) fn all_written_is_delivered(&mut self) {
        self.delivered = self.next_write - 1;
    }

    /// Whether a RESUME with `seq` can be answered with every later dispatch.
    pub(crate) fn can_replay_after(&self, seq: u64) -> bool {
        seq + 1 >= self.replayable_from
    }

    /// Gives the session to a connection that has everything up to `seq`.
    pub(crate) fn resume(&mut self, connection: u64, seq: u64) {
        self.holder = Holder::Connection(connection);
        self.next_write = seq + 1;
    }

    pub(crate) fn detach(&mut self, now_us: u64) {
        self.holder = Holder::Nobody { since_us: now_us };
        self.enforce_bound();
    }

    pub(crate) fn connection(&self) -> Option<u64> {
        match self.holder {
            Holder::Connection(id) => Some(id),
            Holder::Nobody { .. } => None,
        }
    }

    /// Counted events after `seq`: what goes down with the session if the client has no more than that.
    pub(crate) fn events_after(&self, seq: u64) -> impl Iterator<Item = u64> {
        let skip = (seq + 1).saturating_sub(self.first) as usize;
        self.log.iter().skip(skip).map(|entry| entry.event).filter(|event| *event != 0)
    }

    /// The client is known to have everything up to here.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// What the client has if its session ends now: TCP delivers what is written before a close; without a
    /// connection, only what was acknowledged is sure.
    pub(crate) fn client_has(&self) -> u64 {
        if self.connection().is_some() { self.next_write - 1 } else { self.delivered }
    }

    fn entry(&self, seq: u64) -> Option<&Entry> {
        self.log.get(usize::try_from(seq.checked_sub(self.first)?).ok()?)
    }

    /// What a connected client was not yet sent is never dropped; once nobody holds the session it is.
    fn enforce_bound(&mut self) {
        let over = self.last().saturating_sub(self.bound);
        let limit = if self.connection().is_some() { over.min(self.next_write - 1) } else { over };
        self.forget_to(limit);
    }

    fn forget_to(&mut self, seq: u64) {
        for forgotten in self.replayable_from..=seq {
            let index = (forgotten - self.first) as usize;
            if let Some(entry) = self.log.get_mut(index) {
                entry.body = Body::Forgotten;
            }
        }
        self.replayable_from = self.replayable_from.max(seq + 1);
        self.trim();
    }

    /// Entries leave once they can neither be replayed nor be owed.
    fn trim(&mut self) {
        while self.first < self.replayable_from && self.first <= self.delivered && !self.log.is_empty() {
            self.log.pop_front();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(bound: usize) -> Session {
        let terms = Terms { shard: 0, total: 1, version: 10, compression: Compression::None, intents: 0, variant: 0 };
        Session::new("s".to_owned(), terms, 1, bound)
    }

    fn push(session: &mut Session, events: std::ops::RangeInclusive<u64>) {
        for event in events {
            let body = Body::Json(Bytes::from_static(b"{}"));
            session.push(Entry { at_us: event, event, kind: "TEST", body });
        }
    }

    fn write_all(session: &mut Session) -> Vec<u64> {
        let mut written = Vec::new();
        while let Some((seq, _)) = session.next_due(u64::MAX) {
            written.push(seq);
            session.written();
        }
        written
    }

    #[test]
    fn replays_what_the_client_lacks() {
        let mut session = session(100);
        push(&mut session, 1..=5);
        assert_eq!(write_all(&mut session), [1, 2, 3, 4, 5]);
        session.detach(0);
        push(&mut session, 6..=7);
        assert!(session.can_replay_after(3));
        session.resume(2, 3);
        assert_eq!(write_all(&mut session), [4, 5, 6, 7]);
    }

    #[test]
    fn strict_forgets_what_was_acknowledged() {
        let mut session = session(100);
        push(&mut session, 1..=5);
        write_all(&mut session);
        session.acknowledge(4, true);
        assert!(session.can_replay_after(4) && !session.can_replay_after(3));
        assert_eq!(session.last(), 5);
        session.acknowledge(5, true);
        push(&mut session, 6..=6);
        assert_eq!(write_all(&mut session), [6]);
    }

    #[test]
    fn an_acknowledgement_beyond_what_was_written_proves_nothing() {
        let mut session = session(100);
        push(&mut session, 1..=5);
        session.acknowledge(5, true);
        assert_eq!(write_all(&mut session), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn the_bound_spares_the_unwritten_while_connected() {
        let mut session = session(3);
        push(&mut session, 1..=6);
        assert!(session.can_replay_after(0));
        session.detach(0);
        assert!(!session.can_replay_after(2) && session.can_replay_after(3));
        assert_eq!(session.events_after(0).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn ids_outlive_their_bodies_until_acknowledged() {
        let mut session = session(2);
        push(&mut session, 1..=6);
        write_all(&mut session);
        assert_eq!(session.events_after(2).collect::<Vec<_>>(), [3, 4, 5, 6]);
        session.acknowledge(3, false);
        assert_eq!(session.events_after(0).collect::<Vec<_>>(), [4, 5, 6]);
    }

    #[test]
    fn lag_holds_dispatches_back() {
        let mut session = session(10);
        session.lag_us = 50;
        push(&mut session, 1..=1);
        assert!(session.next_due(50).is_none());
        assert_eq!(session.due_us(), Some(51));
        assert!(session.next_due(51).is_some());
    }
}
