//! PURE: what every stream holds and what became of a sink's events. Changes are staged, and applied once they are written.

use std::collections::HashMap;

use super::admission::{Class, Verdict, admit};
use super::format::record_size;
use super::{Entry, Mark, NewRecord, Placed, SpoolLimits, StreamKey, StreamState, Tag};

/// What a stream holds: records `head..tail`. Both only grow, also while it is empty and over restarts.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Stream {
    pub(super) head: u64,
    pub(super) tail: u64,
    /// Bytes of all records that were ever below `head`.
    pub(super) head_bytes: u64,
    /// Bytes of all records that were ever below `tail`.
    pub(super) tail_bytes: u64,
    pub(super) mark: Mark,
}

impl Stream {
    fn events(&self) -> u64 {
        self.tail - self.head
    }

    fn bytes(&self) -> u64 {
        self.tail_bytes - self.head_bytes
    }

    fn append(&mut self, record: &NewRecord, size: u64) -> u64 {
        let index = self.tail;
        self.tail += 1;
        self.tail_bytes += size;
        if record.entry.is_in_turn() {
            self.mark.advance(Mark::of(record));
        }
        index
    }

    /// Takes out what is below `below`, and tells its bytes; `before` are the bytes of all that ever was below it, where they
    /// are known.
    pub(super) fn remove(&mut self, below: u64, before: Option<u64>) -> u64 {
        let old = self.head_bytes;
        self.head = below.clamp(self.head, self.tail);
        let before = if self.head == self.tail { Some(self.tail_bytes) } else { before };
        self.head_bytes = before.unwrap_or(old).clamp(old, self.tail_bytes);
        self.head_bytes - old
    }
}

/// What became of the events of one sink.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Account {
    pub(super) events: u64,
    pub(super) bytes: u64,
    /// By [`Class`].
    pub(super) dropped: [u64; Class::ALL.len()],
    pub(super) expired: u64,
    pub(super) unreadable: u64,
    /// The newest append found no room.
    pub(super) full: bool,
}

/// Everything that the spool holds.
#[derive(Default, Debug)]
pub(super) struct Ledger {
    streams: HashMap<StreamKey, Stream>,
    accounts: HashMap<Tag, Account>,
}

impl Ledger {
    pub(super) fn stream(&self, key: &StreamKey) -> Stream {
        self.streams.get(key).copied().unwrap_or_default()
    }

    pub(super) fn account(&self, sink: Tag) -> Account {
        self.accounts.get(&sink).copied().unwrap_or_default()
    }

    pub(super) fn account_mut(&mut self, sink: Tag) -> &mut Account {
        self.accounts.entry(sink).or_default()
    }

    /// Replaces what a stream holds, and keeps its sink's sums.
    pub(super) fn set(&mut self, key: StreamKey, stream: Stream) {
        let old = self.streams.insert(key, stream).unwrap_or_default();
        let account = self.account_mut(key.sink);
        account.events = account.events + stream.events() - old.events();
        account.bytes = account.bytes + stream.bytes() - old.bytes();
    }

    pub(super) fn apply(&mut self, staged: Staged) {
        for (key, stream) in staged.streams {
            self.set(key, stream);
        }
        for (sink, class) in staged.dropped {
            self.account_mut(sink).dropped[class as usize] += 1;
        }
    }

    /// The sinks that hold something, in order.
    pub(super) fn sinks(&self) -> Vec<Tag> {
        let filled = self.accounts.iter().filter(|(_, account)| account.events > 0);
        let mut sinks: Vec<Tag> = filled.map(|(sink, _)| *sink).collect();
        sinks.sort_unstable();
        sinks
    }

    /// Bytes of everything.
    pub(super) fn bytes(&self) -> u64 {
        self.accounts.values().map(|account| account.bytes).sum()
    }

    /// Streams that hold something, in no order.
    pub(super) fn filled(&self) -> impl Iterator<Item = (StreamKey, Stream)> {
        self.streams.iter().filter(|(_, stream)| stream.events() > 0).map(|(key, stream)| (*key, *stream))
    }

    /// The streams of a sink that hold something, in order of route and shard.
    pub(super) fn states(&self, sink: Tag) -> Vec<StreamState> {
        let streams = self.filled().filter(|(key, _)| key.sink == sink);
        let states = streams.map(|(key, stream)| StreamState {
            key,
            head: stream.head,
            tail: stream.tail,
            bytes: stream.bytes(),
        });
        let mut states: Vec<StreamState> = states.collect();
        states.sort_by_key(|state| (state.key.route, state.key.shard));
        states
    }

    /// How far each stream of a sink ever came.
    pub(super) fn marks(&self, sink: Tag) -> HashMap<(Tag, u32), Mark> {
        let streams = self.streams.iter().filter(|(key, _)| key.sink == sink);
        streams.map(|(key, stream)| ((key.route, key.shard), stream.mark)).collect()
    }
}

/// Changes that are not written yet.
#[derive(Default, Debug)]
pub(super) struct Staged {
    streams: HashMap<StreamKey, Stream>,
    /// Bytes of sinks, these changes included.
    used: HashMap<Tag, u64>,
    dropped: Vec<(Tag, Class)>,
}

/// A record that has found its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) key: StreamKey,
    pub(super) index: u64,
    /// Bytes of all records that its stream ever had before it.
    pub(super) before: u64,
}

impl Staged {
    /// Places records at the ends of their streams, all or none of them, and hands each that is stored to `store`.
    ///
    /// # Errors
    /// The bytes that the sink's spool holds, where there is no room for one that must not be dropped.
    pub(super) fn append(
        &mut self,
        ledger: &Ledger,
        limits: &SpoolLimits,
        sink: Tag,
        records: &[NewRecord],
        mut store: impl FnMut(&NewRecord, Place),
    ) -> Result<Vec<Placed>, u64> {
        let used = *self.used.entry(sink).or_insert_with(|| ledger.account(sink).bytes);
        let (verdicts, used) = judge(limits, used, records)?;
        self.used.insert(sink, used);
        let placed = records.iter().zip(verdicts).map(|(record, dropped)| match dropped {
            Some(class) => {
                self.dropped.push((sink, class));
                Placed::Dropped
            }
            None => {
                let key = StreamKey { sink, route: record.route, shard: record.shard };
                let stream = self.stream_mut(ledger, key);
                let before = stream.tail_bytes;
                let index = stream.append(record, record_size(record));
                store(record, Place { key, index, before });
                Placed::At(index)
            }
        });
        Ok(placed.collect())
    }

    /// The stream, with what is staged for it.
    pub(super) fn stream_mut(&mut self, ledger: &Ledger, key: StreamKey) -> &mut Stream {
        self.streams.entry(key).or_insert_with(|| ledger.stream(&key))
    }

    /// The streams that change.
    pub(super) fn streams(&self) -> impl Iterator<Item = (&StreamKey, &Stream)> {
        self.streams.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.dropped.is_empty()
    }
}

/// The class of each record that is dropped, and what the spool holds afterwards.
fn judge(limits: &SpoolLimits, used: u64, records: &[NewRecord]) -> Result<(Vec<Option<Class>>, u64), u64> {
    let mut after = used;
    let mut verdicts = Vec::with_capacity(records.len());
    for record in records {
        let size = record_size(record);
        let verdict = match record.entry {
            Entry::Moved => Verdict::Store,
            entry => admit(limits.when_full, limits.max_bytes, after, size, record.kind, entry != Entry::Fresh),
        };
        match verdict {
            Verdict::Store => {
                after += size;
                verdicts.push(None);
            }
            Verdict::Drop(class) => verdicts.push(Some(class)),
            Verdict::Wait => return Err(used),
        }
    }
    Ok((verdicts, after))
}
