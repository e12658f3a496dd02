//! The database: one keyspace in which each stream has a row and its records lie in order.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use fjall::compaction::Leveled;
use fjall::{
    Database, Error, KeyspaceCreateOptions, KvSeparationOptions, LsmError, OwnedWriteBatch, PersistMode, UserValue,
};

use super::format::{STREAMS, Undecodable, read_stream, read_stream_key, record_key, stream_key, write_stream};
use super::ledger::{Staged, Stream};
use super::{StreamKey, repair};

const KEYSPACE: &str = "spool";
/// Blocks of keys; payloads are read once and pass through it.
const CACHE_BYTES: u64 = 2 << 20;
/// Files kept open for reading.
const OPEN_FILES: usize = 64;
/// One flushes while the other compacts.
const THREADS: usize = 2;
/// As few as fjall allows.
const JOURNAL_BYTES: u64 = 64 << 20;
const MEMTABLE_BYTES: u64 = 8 << 20;
/// Larger values lie in files of their own, which compaction of keys does not rewrite, and go as a whole.
const SEPARATED_BYTES: u32 = 128;
/// Part of such a file that is removed before the rest of it is written anew.
const STALE: f32 = 0.5;
/// Memtables that may wait for the disk beside the one that is written; fjall stops at one more.
const SEALED: usize = 2;
/// Tables that may wait to be merged; fjall stops at 30.
const UNSORTED: usize = 24;
/// No database gets as far: one that says so read it from a damaged journal, whose checksums leave the number out, and
/// would end the thread that writes.
const LAST_BATCH: u64 = 1 << 48;

/// An open database.
pub(super) struct File {
    // Dropped before its database.
    events: fjall::Keyspace,
    compaction: Option<JoinHandle<Result<(), String>>>,
    database: Database,
}

/// A change to the records.
pub(super) enum Write {
    Put(StreamKey, u64, UserValue),
    Remove(StreamKey, u64),
}

/// Why a value was not read.
pub(super) enum Unread {
    /// It never will be.
    Damaged(String),
    /// It may be later.
    Failed(String),
}

impl File {
    /// Opens or makes the database.
    pub(super) fn open(folder: &Path) -> Result<Self, Error> {
        guarded(|| {
            let database = Database::builder(folder)
                .cache_size(CACHE_BYTES)
                .max_cached_files(Some(OPEN_FILES))
                .max_journaling_size(JOURNAL_BYTES)
                .worker_threads(THREADS)
                .open()?;
            if database.seqno() > LAST_BATCH {
                return Err(Error::JournalRecovery(fjall::JournalRecoveryError::ChecksumMismatch));
            }
            let events = database.keyspace(KEYSPACE, options)?;
            Ok(Self { events, compaction: None, database })
        })
    }

    /// The row of every stream.
    pub(super) fn streams(&self) -> Result<Vec<(StreamKey, Stream)>, StreamsError> {
        let rows = self.events.prefix(STREAMS).map(|row| {
            let (key, value) = row.into_inner().map_err(StreamsError::Database)?;
            let read = read_stream_key(&key).and_then(|key| Ok((key, read_stream(&value)?)));
            read.map_err(StreamsError::Row)
        });
        rows.collect()
    }

    /// Makes the changes, all or none; they survive kill -9 when this returns. After an error the database is of no use.
    pub(super) fn commit(&self, writes: Vec<Write>, staged: &Staged) -> Result<(), String> {
        let rows = staged.streams().count();
        let mut batch = OwnedWriteBatch::with_capacity(self.database.clone(), writes.len() + rows);
        batch = batch.durability(Some(PersistMode::Buffer));
        for write in writes {
            match write {
                Write::Put(key, index, value) => batch.insert(&self.events, record_key(&key, index), value),
                // Each record is written once, so that its removal and it vanish together.
                Write::Remove(key, index) => batch.remove_weak(&self.events, record_key(&key, index)),
            }
        }
        for (key, stream) in staged.streams() {
            batch.insert(&self.events, stream_key(key), write_stream(stream));
        }
        guarded(|| {
            self.await_disk()?;
            batch.commit()
        })
        .map_err(|err| describe(&err))
    }

    /// The bytes of a record.
    pub(super) fn get(&self, key: &StreamKey, index: u64) -> Result<Bytes, Unread> {
        match guarded(|| self.events.get(record_key(key, index))) {
            Ok(Some(value)) => Ok(Bytes::from_owner(value)),
            Ok(None) => Err(Unread::Damaged("it is not there".to_owned())),
            Err(err) if is_damage(&err) => Err(Unread::Damaged(describe(&err))),
            Err(err) => Err(Unread::Failed(describe(&err))),
        }
    }

    /// Returns when everything committed survives power loss. After an error the database is of no use.
    pub(super) fn sync(&self) -> Result<(), String> {
        guarded(|| self.database.persist(PersistMode::SyncData)).map_err(|err| describe(&err))
    }

    /// Begins to move everything out of the journal.
    pub(super) fn flush(&self) -> Result<(), String> {
        guarded(|| self.events.rotate_memtable()).map(|_| ()).map_err(|err| describe(&err))
    }

    /// Whether all that was there when [`Self::flush`] was called is out of the journal.
    pub(super) fn is_flushed(&self) -> Result<bool, String> {
        // Tells of an error, after which nothing would be flushed any more.
        guarded(|| self.database.persist(PersistMode::Buffer)).map_err(|err| describe(&err))?;
        Ok(self.events.sealed_memtable_count() == 0)
    }

    /// Begins to take what was removed out of the files, in a thread of its own: a large spool takes it seconds.
    pub(super) fn compact(&mut self) -> Result<(), String> {
        let events = self.events.clone();
        // The first pass finds what no key leads to any more, the second removes the files that hold nothing else, and
        // rewrites those that hold little else.
        let passes = move || guarded(|| events.major_compact().and_then(|()| events.major_compact()));
        let thread = thread::Builder::new().name("spool-compact".to_owned());
        let compaction = thread.spawn(move || passes().map_err(|err| describe(&err)));
        self.compaction = Some(compaction.map_err(|err| err.to_string())?);
        Ok(())
    }

    /// Whether what [`Self::compact`] began is done.
    pub(super) fn is_compacted(&mut self) -> Result<bool, String> {
        match self.compaction.take_if(|compaction| compaction.is_finished()) {
            Some(compaction) => compaction.join().expect("it catches panics").map(|()| true),
            None => Ok(self.compaction.is_none()),
        }
    }

    /// Closes and empties the journal, and lets go of files that nothing needs. Only for a database that has been flushed and
    /// not written to since.
    pub(super) fn close_small(self, folder: &Path) -> Result<(), String> {
        drop(self);
        // A journal that is gone would take the sequence numbers with it, an empty one does not.
        for journal in repair::journals(folder).map_err(|err| err.to_string())? {
            let file = fs::OpenOptions::new().write(true).open(&journal);
            file.and_then(|file| file.set_len(0)).map_err(|err| err.to_string())?;
        }
        Ok(())
    }

    /// Waits while the disk is behind by more than memory should hold, which fjall would do without an end after an error.
    fn await_disk(&self) -> Result<(), Error> {
        while self.events.sealed_memtable_count() > SEALED || self.events.l0_table_count() > UNSORTED {
            self.database.persist(PersistMode::Buffer)?;
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if let Some(compaction) = self.compaction.take() {
            let _ = compaction.join();
        }
    }
}

/// Why the streams cannot be read.
#[derive(Debug)]
pub(super) enum StreamsError {
    Database(Error),
    Row(Undecodable),
}

fn options() -> KeyspaceCreateOptions {
    let separation =
        KvSeparationOptions::default().separation_threshold(SEPARATED_BYTES).staleness_threshold(STALE).age_cutoff(1.0);
    KeyspaceCreateOptions::default()
        .max_memtable_size(MEMTABLE_BYTES)
        .with_kv_separation(Some(separation))
        .compaction_strategy(Arc::new(Leveled::default().with_table_target_size(MEMTABLE_BYTES)))
}

/// fjall's own asserts can meet files that something else wrote to.
fn guarded<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Error::Unrecoverable))
}

/// The content of files is at fault, not the disk or another process.
pub(super) fn is_damage(err: &Error) -> bool {
    match err {
        Error::Locked => false,
        Error::Io(err) | Error::Storage(LsmError::Io(err)) => {
            use io::ErrorKind::{AlreadyExists, InvalidData, NotFound, UnexpectedEof};
            matches!(err.kind(), InvalidData | UnexpectedEof | NotFound | AlreadyExists)
        }
        _ => true,
    }
}

/// The error for people.
pub(super) fn describe(err: &Error) -> String {
    match err {
        Error::Io(err) | Error::Storage(LsmError::Io(err)) => err.to_string(),
        Error::Poisoned => "an earlier write failed".to_owned(),
        Error::Storage(err) => format!("{err:?}"),
        err => format!("{err:?}"),
    }
}
