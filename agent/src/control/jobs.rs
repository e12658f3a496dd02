//! Changes that were asked for, stored before they are done: each key is done once, over retries and restarts.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::dispatch::PATIENCE;
use super::refused::Refused;
use crate::store::{Change, Job, JobEnd, StoreWriter};
use crate::telemetry::clock::now_ms;

/// Jobs that are remembered, as many as the store keeps.
const KEPT: usize = 1_000;

/// The jobs of this agent.
#[derive(Debug)]
pub(super) struct Jobs {
    /// None once the agent ends.
    store: Mutex<Option<StoreWriter>>,
    known: Mutex<BTreeMap<u64, Job>>,
    /// How far a job came, on its way to the store.
    saving: Mutex<Option<oneshot::Receiver<()>>>,
    /// Told whenever a job ends.
    ended: watch::Sender<()>,
}

/// How a job is asked for.
#[derive(Debug)]
pub(super) struct Asked {
    /// The command, or that it is a plan.
    pub(super) line: String,
    /// Why.
    pub(super) reason: Option<String>,
}

/// What is to be done about a key.
#[derive(Debug)]
pub(super) enum Begun {
    /// It is new: this is its job, to be done now.
    New(u64),
    /// This job was begun for it before.
    Before(u64),
}

impl Jobs {
    /// Goes on from the `stored` ones; those that were not finished never will be.
    pub(super) fn new(store: StoreWriter, stored: &[Job]) -> Self {
        let mut known: BTreeMap<u64, Job> = stored.iter().map(|job| (job.number, job.clone())).collect();
        for job in known.values_mut() {
            let text = interrupted(job);
            job.end.get_or_insert_with(|| JobEnd { ok: false, text, at_ms: now_ms() });
        }
        Self {
            store: Mutex::new(Some(store)),
            known: Mutex::new(known),
            saving: Mutex::default(),
            ended: watch::Sender::new(()),
        }
    }

    /// The job that was begun when `by` asked for the same with this key.
    ///
    /// # Errors
    /// The key stands for something else.
    pub(super) fn begun(&self, key: &str, by: &str, asked: &str) -> Result<Option<u64>, Refused> {
        of_key(&self.known(), key, by, asked)
    }

    /// A job for `key`, on disk when this returns, unless there is one.
    ///
    /// # Errors
    /// The key stands for something else, or the store cannot be written.
    pub(super) async fn begin(&self, key: &str, by: &str, asked: Asked, lines: Vec<String>) -> Result<Begun, Refused> {
        let job = {
            let mut known = self.known();
            if let Some(number) = of_key(&known, key, by, &asked.line)? {
                return Ok(Begun::Before(number));
            }
            let number = known.last_key_value().map_or(1, |(last, _)| last + 1);
            if known.len() >= KEPT
                && let Some(oldest) = known.values().find(|job| job.end.is_some()).map(|job| job.number)
            {
                known.remove(&oldest);
            }
            let (key, by) = (key.to_owned(), by.to_owned());
            let Asked { line: asked, reason } = asked;
            let job = Job { number, key, by, asked, reason, lines, at_ms: now_ms(), done: 0, end: None };
            known.insert(number, job.clone());
            job
        };
        let number = job.number;
        if self.save(job).await {
            return Ok(Begun::New(number));
        }
        let trouble = self.store().as_ref().and_then(StoreWriter::trouble);
        let why = trouble.unwrap_or_else(|| "the disk is too slow".to_owned());
        self.void(number, &Refused::Store(why.clone()).to_string()).await;
        Err(Refused::Store(why))
    }

    /// So many of its commands are done. Stored soon, unless what was stored before is not on disk yet.
    pub(super) fn went_on(&self, number: u64, done: u32) {
        let job = {
            let mut known = self.known();
            let Some(job) = known.get_mut(&number) else { return };
            job.done = done;
            job.clone()
        };
        let mut saving = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = saving.as_mut().is_some_and(|saved| saved.try_recv() == Err(TryRecvError::Empty));
        // The end of a job is stored anyway.
        if waits || done as usize == job.lines.len() {
            return;
        }
        let (saved, when) = oneshot::channel();
        if let Some(store) = self.store().as_ref()
            && store.save(vec![Change::Job(job)], saved).is_ok()
        {
            *saving = Some(when);
        }
    }

    /// Nothing of it was begun: its key stands for nothing any more.
    pub(super) async fn void(&self, number: u64, text: &str) {
        self.known().get_mut(&number).into_iter().for_each(|job| job.key.clear());
        self.end(number, false, text).await;
    }

    /// It ended. Stored as well as the store can.
    pub(super) async fn end(&self, number: u64, ok: bool, text: &str) {
        let job = {
            let mut known = self.known();
            let Some(job) = known.get_mut(&number) else { return };
            job.end = Some(JobEnd { ok, text: text.to_owned(), at_ms: now_ms() });
            job.clone()
        };
        self.ended.send_replace(());
        if !self.save(job).await {
            tracing::error!(
                "job {number} ended, but the store does not know: after a restart it counts as interrupted"
            );
        }
    }

    /// How the job ended, once it has.
    pub(super) async fn outcome(&self, number: u64) -> Option<JobEnd> {
        let mut ended = self.ended.subscribe();
        loop {
            match self.known().get(&number) {
                None => return None,
                Some(Job { end: Some(end), .. }) => return Some(end.clone()),
                Some(_) => {}
            }
            ended.changed().await.ok()?;
        }
    }

    /// The last `count`, newest last.
    pub(super) fn last(&self, count: usize) -> Vec<Job> {
        let known = self.known();
        let skipped = known.len().saturating_sub(count);
        known.values().skip(skipped).cloned().collect()
    }

    /// One job.
    pub(super) fn get(&self, number: u64) -> Option<Job> {
        self.known().get(&number).cloned()
    }

    async fn save(&self, job: Job) -> bool {
        let (done, stored) = oneshot::channel();
        let taken = self.store().as_ref().is_some_and(|store| store.save(vec![Change::Job(job)], done).is_ok());
        taken && matches!(timeout(PATIENCE, stored).await, Ok(Ok(())))
    }

    /// Lets go of the store; no job begins any more.
    pub(super) fn close(&self) {
        *self.store() = None;
    }

    fn store(&self) -> MutexGuard<'_, Option<StoreWriter>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<u64, Job>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn interrupted(job: &Job) -> String {
    let far = match job.lines.len() {
        0 | 1 => String::new(),
        of => format!(", after {} of {of} commands or a few more", job.done),
    };
    format!("the agent ended while it was done{far}: look what is the case, then ask anew")
}

fn of_key(known: &BTreeMap<u64, Job>, key: &str, by: &str, asked: &str) -> Result<Option<u64>, Refused> {
    match known.values().find(|job| job.key == key && job.by == by && !key.is_empty()) {
        Some(job) if job.asked != asked => Err(Refused::KeyTaken(key.to_owned())),
        found => Ok(found.map(|job| job.number)),
    }
}
