//! What the rest of the program holds of the spool: it sends to the thread and reads what the thread has published.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::sync::oneshot;

use super::ledger::Ledger;
use super::writer::{Command, Writer};
use super::{
    Loaded, Marks, NewRecord, Placed, SpoolError, SpoolLimits, SpoolStatus, SpoolTrouble, StreamKey, StreamState, Tag,
    repair,
};

/// Requests that can wait: several of every worker.
const QUEUE: usize = 1024;

/// The spool, from any thread. Dropping the last clone waits until what was asked is done, and closes the files.
#[derive(Clone, Debug)]
pub struct Spool(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    queue: Option<SyncSender<Command>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    set_aside: Option<PathBuf>,
}

/// What the thread has published, and what waits for it beside its queue.
#[derive(Debug)]
pub(super) struct Shared {
    ledger: Mutex<Ledger>,
    trouble: Mutex<Option<SpoolTrouble>>,
    removals: Mutex<HashMap<StreamKey, u64>>,
    max_bytes: AtomicU64,
    refused: AtomicU64,
}

impl Shared {
    /// Locked for moments only: never while the disk is at work.
    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn trouble(&self) -> MutexGuard<'_, Option<SpoolTrouble>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes up to where a stream is to be removed, of what it holds now; true where nothing else was noted.
    pub(super) fn remove(&self, key: StreamKey, below: u64) -> bool {
        let below = below.min(self.ledger().stream(&key).tail);
        let mut removals = self.removals();
        let is_first = removals.is_empty();
        let entry = removals.entry(key).or_default();
        *entry = below.max(*entry);
        is_first
    }

    fn max_bytes(&self) -> u64 {
        self.max_bytes.load(Ordering::Relaxed)
    }

    /// Up to where each stream is to be removed; at most one entry a stream.
    pub(super) fn removals(&self) -> MutexGuard<'_, HashMap<StreamKey, u64>> {
        self.removals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spool {
    /// Opens or makes the spool in `folder` and starts its thread. An unreadable one is set aside.
    ///
    /// # Errors
    /// [`SpoolError`] where the folder cannot be used, another agent uses it, or a later version wrote it.
    pub fn open(folder: &Path, limits: SpoolLimits) -> Result<Self, SpoolError> {
        let opened = repair::open(folder)?;
        for note in &opened.notes {
            tracing::warn!("{note}");
        }
        let shared = Arc::new(Shared {
            ledger: Mutex::new(opened.ledger),
            trouble: Mutex::default(),
            removals: Mutex::default(),
            max_bytes: limits.max_bytes.into(),
            refused: AtomicU64::new(0),
        });
        let mut writer = Writer::new(opened.file, folder, limits, Arc::clone(&shared));
        let (queue, commands) = sync_channel(QUEUE);
        let thread = thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || writer.run(&commands))
            .map_err(|err| SpoolError::Unusable { path: folder.to_owned(), reason: err.to_string() })?;
        let handle = Handle { queue: Some(queue), shared, thread: Some(thread), set_aside: opened.set_aside };
        Ok(Self(Arc::new(handle)))
    }

    /// Where an unreadable spool was put, if one was found.
    pub fn set_aside(&self) -> Option<&Path> {
        self.0.set_aside.as_deref()
    }

    /// The sinks that hold something, in order.
    pub fn sinks(&self) -> Vec<Tag> {
        self.0.shared.ledger().sinks()
    }

    /// The streams of a sink that hold something, in order of route and shard.
    pub fn streams(&self, sink: Tag) -> Vec<StreamState> {
        self.0.shared.ledger().states(sink)
    }

    /// How far each stream of a sink ever came, empty ones included.
    pub fn marks(&self, sink: Tag) -> Marks {
        self.0.shared.ledger().marks(sink)
    }

    /// Appends records to the streams of `sink`, each behind what its stream holds: all or none of them. Sent at once; the
    /// answer, in the order of the records, survives kill -9, and after a second power loss.
    pub fn append(
        &self,
        sink: Tag,
        records: Vec<NewRecord>,
    ) -> impl Future<Output = Result<Vec<Placed>, SpoolTrouble>> + use<> {
        let (done, answer) = oneshot::channel();
        self.ask(Command::Append { sink, records, done }, answer)
    }

    /// Loads records of a stream from index `from` on, in order: at most `max_records`, and none after `max_bytes` of
    /// payload are reached.
    pub fn load(
        &self,
        key: StreamKey,
        from: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> impl Future<Output = Result<Loaded, SpoolTrouble>> + use<> {
        let (done, answer) = oneshot::channel();
        self.ask(Command::Load { key, from, max_records, max_bytes, done }, answer)
    }

    /// Removes all records that a stream holds below index `below`; repeated until the disk has taken it. What is removed when the
    /// process dies may be loaded once more.
    pub fn remove(&self, key: StreamKey, below: u64) {
        if self.0.shared.remove(key, below) {
            // A full queue wakes the thread as well.
            let _ = self.queue().try_send(Command::Wake);
        }
    }

    /// Counts events that were loaded and then found expired.
    pub fn count_expired(&self, sink: Tag, events: u64) {
        self.0.shared.ledger().account_mut(sink).expired += events;
    }

    /// Removes everything that is spooled for a sink, and tells how many events that were.
    pub fn purge(&self, sink: Tag) -> impl Future<Output = Result<u64, SpoolTrouble>> + use<> {
        let (done, answer) = oneshot::channel();
        self.ask(Command::Purge { sink, done }, answer)
    }

    /// Goes by these limits from now on.
    ///
    /// # Errors
    /// [`SpoolTrouble`] where the thread has too much to do or is gone.
    pub fn set_limits(&self, limits: SpoolLimits) -> Result<(), SpoolTrouble> {
        let max_bytes = limits.max_bytes;
        self.queue().try_send(Command::Limits(limits)).map_err(|err| match err {
            TrySendError::Full(_) => SpoolTrouble::Busy,
            TrySendError::Disconnected(_) => SpoolTrouble::Closed,
        })?;
        self.0.shared.max_bytes.store(max_bytes, Ordering::Relaxed);
        Ok(())
    }

    /// State of a sink's part, without a wait for the disk.
    pub fn status(&self, sink: Tag) -> SpoolStatus {
        let account = self.0.shared.ledger().account(sink);
        let full = account.full.then(|| SpoolTrouble::Full { held: account.bytes, limit: self.0.shared.max_bytes() });
        let trouble = self.0.shared.trouble().clone().or(full);
        SpoolStatus {
            events: account.events,
            bytes: account.bytes,
            dropped: account.dropped,
            expired: account.expired,
            unreadable: account.unreadable,
            trouble: trouble.map(|trouble| trouble.to_string()),
        }
    }

    /// Requests that were answered with [`SpoolTrouble::Busy`].
    pub fn refused(&self) -> u64 {
        self.0.shared.refused.load(Ordering::Relaxed)
    }

    fn ask<T>(
        &self,
        command: Command,
        answer: oneshot::Receiver<Result<T, SpoolTrouble>>,
    ) -> impl Future<Output = Result<T, SpoolTrouble>> + use<T> {
        let sent = self.queue().try_send(command).map_err(|err| match err {
            TrySendError::Full(_) => {
                self.0.shared.refused.fetch_add(1, Ordering::Relaxed);
                SpoolTrouble::Busy
            }
            TrySendError::Disconnected(_) => SpoolTrouble::Closed,
        });
        async move {
            sent?;
            answer.await.unwrap_or(Err(SpoolTrouble::Closed))
        }
    }

    fn queue(&self) -> &SyncSender<Command> {
        self.0.queue.as_ref().expect("the queue is open until the last clone drops")
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
