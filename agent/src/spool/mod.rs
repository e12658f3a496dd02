//! A sink's queue on disk, for the events that the bot has not taken in time.
//!
//! Contract: what [`Spool::append`] answers with survives kill -9 at once and power loss after a second; it is loaded in
//! the order in which it was appended, until it is removed. An append that fails has left nothing behind and stays with
//! its caller. What is dropped, expired or unreadable is counted. `writer` is the one thread that touches the disk.

use std::collections::HashMap;
use std::path::PathBuf;

use bytes::Bytes;

use crate::config::{self, SpoolConfig};
use crate::gateway::kind::EventKind;
use crate::hash;
use crate::pipeline::Origin;

mod admission;
mod disk;
mod file;
mod format;
mod handle;
mod ledger;
mod repair;
mod writer;

pub use admission::{Class, Expiry, WhenFull};
pub use handle::Spool;

/// Stands for a name (of a sink, of a route, of a session) on disk: FNV-1a, the same in every run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Tag(u64);

impl Tag {
    /// The tag of a name.
    pub fn of(name: &str) -> Self {
        Self(hash::stable(name))
    }
}

/// A stream: the spooled events of one shard for one route of one sink, in order. Its records have indices that grow by
/// one for ever, also while it is empty and over restarts. Routes and shards are those of one way to share events out: a
/// sink that shares them out otherwise has other streams.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct StreamKey {
    /// The sink.
    pub sink: Tag,
    /// The route.
    pub route: Tag,
    /// The shard.
    pub shard: u32,
}

/// What a stream holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamState {
    /// The stream.
    pub key: StreamKey,
    /// Index of its first record.
    pub head: u64,
    /// Index of the next record to be appended.
    pub tail: u64,
    /// Bytes on disk, what they cost beside the payloads included.
    pub bytes: u64,
}

/// The last event of a session that was ever appended to a stream: what the session replays up to it is in the spool, or
/// was, provided that no event was appended before an earlier one of its session.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Mark {
    session: Tag,
    seq: u64,
    part: u32,
}

impl Mark {
    fn of(record: &NewRecord) -> Self {
        Self { session: Tag::of(&record.origin.session), seq: record.seq, part: record.part }
    }

    fn advance(&mut self, to: Self) {
        if self.session != to.session || (self.seq, self.part) < (to.seq, to.part) {
            *self = to;
        }
    }

    /// The stream has this event now, behind what it had.
    pub fn reach(&mut self, session: &str, seq: u64, part: u32) {
        self.advance(Self { session: Tag::of(session), seq, part });
    }

    /// Whether the event is this one or an earlier one of the same session.
    pub fn covers(&self, session: &str, seq: u64, part: u32) -> bool {
        (seq, part) <= (self.seq, self.part) && self.session == Tag::of(session)
    }
}

/// How an event comes into the spool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// From its session, in its turn.
    Fresh,
    /// The same, but it was in flight, so that it may have arrived: it is never dropped.
    InFlight,
    /// Once more, and not in its turn, as dead letters do: it is never dropped, and no mark.
    Again,
    /// From another stream, from which it is removed: it is never dropped, no mark, and there is always room for it.
    Moved,
}

impl Entry {
    /// Whether events come in the order of their session, so that the last one stands for those before it.
    fn is_in_turn(self) -> bool {
        matches!(self, Self::Fresh | Self::InFlight)
    }
}

/// An event to be appended to the stream of its sink, its route and its shard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewRecord {
    /// The route that it waits for.
    pub route: Tag,
    /// Its stream's shard: its session's, unless shards were counted otherwise when it was received.
    pub shard: u32,
    /// The session it came on.
    pub origin: Origin,
    /// Its sequence in that session.
    pub seq: u64,
    /// 0 for what Discord sent; the n-th event that the agent made up beside it is n.
    pub part: u32,
    /// Its type.
    pub kind: EventKind,
    /// When it was received, Unix milliseconds.
    pub received_ms: u64,
    /// The whole gateway payload.
    pub payload: Bytes,
    /// How it comes.
    pub entry: Entry,
}

/// What became of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placed {
    /// It is in its stream, at this index.
    At(u64),
    /// It was dropped by its class, and counted.
    Dropped,
}

/// A record as it was appended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Its index in its stream.
    pub index: u64,
    /// The session it came on.
    pub origin: Origin,
    /// Its sequence in that session.
    pub seq: u64,
    /// 0 for what Discord sent; the n-th event that the agent made up beside it is n.
    pub part: u32,
    /// Its type, read from the payload.
    pub kind: EventKind,
    /// When it was received, Unix milliseconds.
    pub received_ms: u64,
    /// The whole gateway payload.
    pub payload: Bytes,
}

/// What was read of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loaded {
    /// Records in order. Indices are missing where a record has expired or cannot be read, which is counted.
    pub records: Vec<Record>,
    /// Indices of those that have expired, in order. They are counted by whoever has them, by [`Spool::count_expired`]:
    /// nobody else knows whether memory had the event already.
    pub expired: Vec<u64>,
    /// Where to go on: the records are all that is left below it. The stream is at its end when it is the stream's tail.
    pub next: u64,
}

/// How much is kept, and for how long.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SpoolLimits {
    /// Bytes that one sink may hold.
    pub max_bytes: u64,
    /// Bytes of the file system that stay free.
    pub reserve_bytes: u64,
    /// What happens to new events when it is nearly full.
    pub when_full: WhenFull,
    /// When events are not worth delivering any more.
    pub expiry: Expiry,
}

impl SpoolLimits {
    /// As configured.
    pub fn of(config: &SpoolConfig) -> Self {
        let SpoolConfig { max_bytes, reserve_bytes, when_full, max_age, ref expiry, .. } = *config;
        let when_full = match when_full {
            config::WhenFull::DropClass => WhenFull::DropClass,
            config::WhenFull::Hold => WhenFull::Hold,
        };
        Self { max_bytes, reserve_bytes, when_full, expiry: Expiry { any: max_age, by_kind: expiry.clone() } }
    }
}

impl Default for SpoolLimits {
    /// 1 GiB for a sink, 64 MiB stay free, by class, for ever.
    fn default() -> Self {
        const MIB: u64 = 1 << 20;
        Self {
            max_bytes: 1024 * MIB,
            reserve_bytes: 64 * MIB,
            when_full: WhenFull::default(),
            expiry: Expiry::default(),
        }
    }
}

/// State of one sink's part of the spool.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SpoolStatus {
    /// Events it holds.
    pub events: u64,
    /// Bytes they take.
    pub bytes: u64,
    /// Events dropped since the start, by [`Class`].
    pub dropped: [u64; Class::ALL.len()],
    /// Events found expired since the start.
    pub expired: u64,
    /// Records found unreadable since the start.
    pub unreadable: u64,
    /// Why events cannot be stored at the moment, if so.
    pub trouble: Option<String>,
}

/// Why the spool did not do what it was asked to. Nothing of it was done; it can be asked again.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SpoolTrouble {
    /// There is no room for what must not be dropped.
    #[error("the spool is full: it holds {} of {} MiB", .held >> 20, .limit >> 20)]
    Full {
        /// Bytes it holds.
        held: u64,
        /// Bytes it may hold.
        limit: u64,
    },
    /// The file system has no room.
    #[error("disk full: {} MiB free in {}, {} MiB wanted", .free >> 20, .folder.display(), .wanted >> 20)]
    DiskFull {
        /// The spool's folder.
        folder: PathBuf,
        /// Bytes free.
        free: u64,
        /// Bytes that must be.
        wanted: u64,
    },
    /// A read or a write failed.
    #[error("cannot use the spool in {}: {reason}", .folder.display())]
    Disk {
        /// The spool's folder.
        folder: PathBuf,
        /// Why.
        reason: String,
    },
    /// The next record was written by a later version of this program.
    #[error("the spool holds a record of format {version}, newer than this program: run the version that wrote it")]
    Newer {
        /// The format.
        version: u8,
    },
    /// Too many requests wait.
    #[error("the spool is busy")]
    Busy,
    /// The spool has been closed.
    #[error("the spool is closed")]
    Closed,
}

/// Why the spool cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// Another process has it open.
    #[error("the spool in {} is in use by another agent", .0.display())]
    InUse(PathBuf),
    /// A later version of this program wrote it.
    #[error(
        "the spool in {} has format {version}, newer than this program: run the version that wrote it, or move the folder away",
        .path.display()
    )]
    Newer {
        /// The folder.
        path: PathBuf,
        /// The format.
        version: u8,
    },
    /// The folder cannot be used.
    #[error("cannot use the spool in {}: {reason}", .path.display())]
    Unusable {
        /// The folder.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// How far each stream of a sink ever came, by route and shard.
pub type Marks = HashMap<(Tag, u32), Mark>;

#[cfg(test)]
impl Record {
    fn of(new: &NewRecord, index: u64) -> Self {
        let NewRecord { origin, seq, part, kind, received_ms, payload, .. } = new.clone();
        Self { index, origin, seq, part, kind, received_ms, payload }
    }
}

#[cfg(test)]
mod tests;
