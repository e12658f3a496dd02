//! The thread that writes the store: batches that wait become one transaction; a failing write is told and repeated.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use redb::Database;
use tokio::sync::oneshot;

use super::file::{self, slot, unslot};
use super::{Change, SessionTag, StoredSession};

/// Batches that can wait: more than there are workers.
const QUEUE: usize = 1024;
const RETRY: Duration = Duration::from_secs(1);

/// Writes to the store, from any thread. Dropping the last clone waits until what was saved is on disk, or has
/// failed once more, and closes the file.
#[derive(Clone, Debug)]
pub struct StoreWriter(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    queue: Option<SyncSender<Batch>>,
    status: Arc<Status>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Status {
    closing: AtomicBool,
    trouble: Mutex<Option<String>>,
}

#[derive(Debug)]
struct Batch {
    changes: Vec<Change>,
    done: oneshot::Sender<()>,
}

impl StoreWriter {
    pub(super) fn start(database: Database, path: PathBuf, sessions: &[StoredSession]) -> io::Result<Self> {
        let (queue, batches) = sync_channel(QUEUE);
        let status = Arc::new(Status::default());
        let known = sessions.iter().map(Known::of).collect();
        let mut writer = Writer { database: Some(database), path, known, status: Arc::clone(&status) };
        let thread = thread::Builder::new().name("store".to_owned()).spawn(move || writer.run(&batches))?;
        Ok(Self(Arc::new(Handle { queue: Some(queue), status, thread: Some(thread) })))
    }

    /// Saves changes, in order; `done` is told when they are on disk, and dropped if the store closes before that.
    /// A caller that waits for `done` before it saves again is never refused.
    ///
    /// # Errors
    /// Gives the changes back while too many batches wait.
    pub fn save(&self, changes: Vec<Change>, done: oneshot::Sender<()>) -> Result<(), Vec<Change>> {
        let queue = self.0.queue.as_ref().expect("the queue is open until the last clone drops");
        queue.try_send(Batch { changes, done }).map_err(|err| match err {
            TrySendError::Full(batch) | TrySendError::Disconnected(batch) => batch.changes,
        })
    }

    /// Why nothing can be written at the moment, if so; it is tried again every second.
    pub fn trouble(&self) -> Option<String> {
        self.0.status.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue = None;
        self.status.closing.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// The session that a slot holds.
struct Known {
    session: SessionTag,
    confirmed: u64,
    total: u32,
}

impl Known {
    fn of(session: &StoredSession) -> (u64, Self) {
        let StoredSession { confirmed, total, .. } = *session;
        let known = Self { session: SessionTag::of(&session.session_id), confirmed, total };
        (slot(session.generation, session.shard), known)
    }
}

struct Writer {
    /// None after a failed write: redb refuses everything until it is opened again.
    database: Option<Database>,
    path: PathBuf,
    known: HashMap<u64, Known>,
    status: Arc<Status>,
}

impl Writer {
    fn run(&mut self, batches: &Receiver<Batch>) {
        while let Ok(first) = batches.recv() {
            let waiting: Vec<Batch> = std::iter::once(first).chain(batches.try_iter()).collect();
            let (changes, done): (Vec<_>, Vec<_>) =
                waiting.into_iter().map(|batch| (batch.changes, batch.done)).unzip();
            let mut admitted = Vec::new();
            for change in changes.into_iter().flatten() {
                if self.admit(&change) {
                    admitted.extend(self.outdated(&change));
                    admitted.push(change);
                }
            }
            if self.persist(&admitted) {
                for done in done {
                    let _ = done.send(());
                }
            }
        }
    }

    /// False for a sequence of another session than the slot's, or behind the known one.
    fn admit(&mut self, change: &Change) -> bool {
        match change {
            Change::Put { session, .. } => {
                let (slot, known) = Known::of(session);
                self.known.insert(slot, known);
            }
            Change::Confirmed { generation, shard, session, seq, .. } => {
                let known = self.known.get_mut(&slot(*generation, *shard));
                let Some(known) = known.filter(|known| known.session == *session && known.confirmed < *seq) else {
                    return false;
                };
                known.confirmed = *seq;
            }
            Change::Remove { generation, shard } => {
                self.known.remove(&slot(*generation, *shard));
            }
            Change::Budget(_) | Change::Job(_) => {}
        }
        true
    }

    /// Sessions of another number of shards, which a new one ends: what they missed since then was delivered by its set.
    fn outdated(&mut self, change: &Change) -> Vec<Change> {
        let Change::Put { session: StoredSession { generation, total, .. }, .. } = *change else { return Vec::new() };
        let is_outdated = |at: &u64, known: &mut Known| unslot(*at).0 == generation && known.total != total;
        let outdated = self.known.extract_if(is_outdated);
        outdated.map(|(at, _)| Change::Remove { generation, shard: unslot(at).1 }).collect()
    }

    /// Writes until it is on disk; false if the store closes while the writes fail.
    fn persist(&mut self, changes: &[Change]) -> bool {
        loop {
            let closing = self.status.closing.load(Ordering::Acquire);
            let Err(err) = self.commit(changes) else {
                self.tell(None);
                return true;
            };
            self.database = None;
            self.tell(Some(format!("cannot write {}: {err}", self.path.display())));
            if closing {
                return false;
            }
            thread::park_timeout(RETRY);
        }
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), redb::Error> {
        let database = match self.database.take() {
            Some(database) => database,
            None => file::open(&self.path)?.0,
        };
        file::commit(self.database.insert(database), changes)
    }

    fn tell(&self, trouble: Option<String>) {
        let mut told = self.status.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(err), None) = (&trouble, &*told) {
            tracing::error!("{err}");
        }
        *told = trouble;
    }
}
