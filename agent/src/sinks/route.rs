//! One route of a sink on one worker: drives its queue, makes attempts and repeats them, and keeps its counts.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until};

use super::SinkReport;
use super::dead::{DeadLetters, Letter};
use super::delivery::{Delivery, Outcome, Transport};
use super::disk::Disk;
use super::queue::{Batch, Bounds, Load, Pace, Place, Queue, WINDOW};
use crate::gateway::backoff::Backoff;
use crate::pipeline::{Event, Lane};

const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
/// Between two looks for events that wait too long.
const TICK: Duration = Duration::from_millis(50);
/// Between two attempts at the spool, when the disk is in trouble.
const DISK_RETRY: Duration = Duration::from_millis(250);
/// Between two lines in the log about the same route.
const LOG_PAUSE: Duration = Duration::from_secs(10);

/// One destination, on one worker.
pub(super) struct Route<T> {
    transport: T,
    queue: RefCell<Queue>,
    /// Attempts at once.
    attempts: usize,
    disk: Option<Disk>,
    dead_letters: Arc<DeadLetters>,
    pushed: Notify,
    delivered: Cell<u64>,
    retries: Cell<u64>,
    dead: Cell<u64>,
    dropped: Cell<u64>,
    purged: Cell<u64>,
    trouble: RefCell<Trouble>,
    disk_trouble: RefCell<Option<String>>,
    disk_again: Cell<Option<Instant>>,
}

/// What goes wrong now.
#[derive(Default)]
struct Trouble {
    /// Events whose last attempt failed.
    events: u32,
    reason: String,
    logged: Option<Instant>,
}

/// Records of the spool by index, and where to go on.
pub(super) type Loaded = (Vec<(u64, Delivery)>, u64);

/// What the loop waits for.
enum Step {
    Finished(Batch),
    Appended(Result<Vec<Place>, String>),
    Loaded(Load, Result<Loaded, String>),
    Tick,
    Pushed,
}

impl<T: Transport> Route<T> {
    /// Over `transport`; `owns` tells which shards' backlogs are this worker's to deliver.
    pub(super) fn new(
        transport: T,
        bounds: Bounds,
        drain_rate: u32,
        disk: Option<Disk>,
        dead_letters: Arc<DeadLetters>,
        owns: &dyn Fn(u32) -> bool,
    ) -> Self {
        let attempts = bounds.attempts;
        let mut queue = Queue::new(bounds, Pace::new(drain_rate, Instant::now()));
        if let Some(disk) = &disk {
            disk.backlogs().filter(|found| owns(found.key.shard)).for_each(|found| {
                queue.recover(found.key.shard, found.head, found.tail);
            });
            disk.marks().filter(|(shard, _)| owns(*shard)).for_each(|(shard, mark)| queue.recover_mark(shard, mark));
        }
        Self {
            transport,
            queue: RefCell::new(queue),
            attempts,
            disk,
            dead_letters,
            pushed: Notify::new(),
            delivered: Cell::default(),
            retries: Cell::default(),
            dead: Cell::default(),
            dropped: Cell::default(),
            purged: Cell::default(),
            trouble: RefCell::default(),
            disk_trouble: RefCell::default(),
            disk_again: Cell::default(),
        }
    }

    /// Takes over an event; it goes out when its turn has come.
    pub(super) fn push(&self, event: &Event, delivery: Delivery) {
        let mut queue = self.queue.borrow_mut();
        if queue.has_spooled(&delivery) {
            return event.confirm(Instant::now());
        }
        queue.push(event, delivery);
        self.pushed.notify_one();
    }

    /// Takes over a dead letter once more; `lane` is told by number `seq` when it is safe.
    pub(super) fn push_again(&self, delivery: Delivery, lane: &Rc<Lane>, seq: u64) {
        self.queue.borrow_mut().push_again(delivery, Rc::clone(lane), seq, Instant::now());
        self.pushed.notify_one();
    }

    /// Changes the queue by hand, and sees to what follows.
    pub(super) fn with_queue<R>(&self, change: impl FnOnce(&mut Queue) -> R) -> R {
        let result = change(&mut self.queue.borrow_mut());
        self.pushed.notify_one();
        result
    }

    /// Gives the backlog up.
    pub(super) fn purge(&self) {
        let purged = self.with_queue(|queue| queue.purge(Instant::now()));
        self.purged.set(self.purged.get() + purged);
        tracing::warn!(route = self.transport.shown(), "{purged} spooled events were thrown away by command");
    }

    /// Keeps its attempts and its disk going, for ever.
    pub(super) async fn run(self: Rc<Self>) {
        let mut attempts = FuturesUnordered::new();
        let (mut appends, mut loads) = (FuturesUnordered::new(), FuturesUnordered::new());
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while let Some(batch) = self.take_batch() {
                attempts.push(self.attempt(batch));
            }
            let mut disk_due = self.disk_rests();
            if let Some(disk) = self.disk.as_ref().filter(|_| disk_due.is_none()) {
                appends.extend(self.take_append(disk));
                while let Some(load) = self.take_load() {
                    loads.push(disk.load(load));
                }
                disk_due = self.queue.borrow().load_due(self.window(), Instant::now()).filter(|_| loads.is_empty());
            }
            let step = tokio::select! {
                Some(batch) = attempts.next() => Step::Finished(batch),
                Some(answer) = appends.next() => Step::Appended(answer),
                Some((load, answer)) = loads.next() => Step::Loaded(load, answer),
                () = self.pushed.notified() => Step::Pushed,
                () = at(disk_due) => Step::Pushed,
                _ = tick.tick() => Step::Tick,
            };
            self.take_in(step);
        }
    }

    fn take_batch(&self) -> Option<Batch> {
        self.queue.borrow_mut().take_batch()
    }

    fn take_load(&self) -> Option<Load> {
        self.queue.borrow_mut().take_load(self.window(), Instant::now())
    }

    /// While attempts fail, no more is loaded than can be attempted: what waits in the spool can still expire there.
    fn window(&self) -> usize {
        if self.trouble.borrow().events > 0 { self.attempts.min(WINDOW) } else { WINDOW }
    }

    fn take_append<'a>(&self, disk: &'a Disk) -> Option<impl Future<Output = Result<Vec<Place>, String>> + 'a> {
        let mut queue = self.queue.borrow_mut();
        queue.take_append().map(|spilled| disk.append(spilled))
    }

    fn take_in(&self, step: Step) {
        let now = Instant::now();
        match step {
            Step::Finished(batch) => self.queue.borrow_mut().finished(&batch, now),
            Step::Appended(answer) => self.appended(answer, now),
            Step::Loaded(load, answer) => self.loaded(load, answer),
            Step::Tick => {
                let mut queue = self.queue.borrow_mut();
                queue.tick(now);
                let removals = queue.take_removals();
                if let Some(disk) = &self.disk {
                    removals.into_iter().for_each(|(shard, below)| disk.remove(shard, below));
                }
            }
            Step::Pushed => {}
        }
    }

    fn appended(&self, answer: Result<Vec<Place>, String>, now: Instant) {
        match answer {
            Ok(places) => {
                self.disk_trouble.take();
                let dropped = places.iter().filter(|place| **place == Place::Dropped).count();
                self.dropped.set(self.dropped.get() + dropped as u64);
                self.queue.borrow_mut().appended(&places, now);
            }
            Err(reason) => {
                self.queue.borrow_mut().append_failed();
                self.disk_failed(reason);
            }
        }
    }

    fn loaded(&self, load: Load, answer: Result<Loaded, String>) {
        match answer {
            Ok((records, next)) => self.queue.borrow_mut().loaded(load, records, next),
            Err(reason) => {
                self.queue.borrow_mut().load_failed(load);
                self.disk_failed(reason);
            }
        }
    }

    fn disk_failed(&self, reason: String) {
        *self.disk_trouble.borrow_mut() = Some(reason);
        self.disk_again.set(Some(Instant::now() + DISK_RETRY));
    }

    /// Until when the disk is left alone, after it has failed.
    fn disk_rests(&self) -> Option<Instant> {
        self.disk_again.get().filter(|again| *again > Instant::now())
    }

    /// Repeats attempts until the other side has the events or refuses them.
    async fn attempt(&self, batch: Batch) -> Batch {
        let mut troubled = false;
        self.deliver(&batch.deliveries, &mut troubled).await;
        if troubled {
            self.trouble.borrow_mut().events -= 1;
        }
        batch
    }

    async fn deliver(&self, deliveries: &[Delivery], troubled: &mut bool) {
        let mut backoff = BACKOFF;
        loop {
            let pause = match self.transport.deliver(deliveries).await {
                Outcome::Accepted => return self.delivered.set(self.delivered.get() + deliveries.len() as u64),
                Outcome::Refused(reason) => match deliveries {
                    [delivery] => match self.bury(delivery, reason).await {
                        Ok(()) => return,
                        Err(error) => {
                            let reason = format!("refused an event, and the dead letters cannot take it: {error}");
                            self.failed(reason, troubled);
                            backoff.next(&mut fastrand::Rng::new())
                        }
                    },
                    several => return self.deliver_each(several, troubled).await,
                },
                Outcome::Failed { reason, pause } => {
                    self.failed(reason, troubled);
                    pause.unwrap_or_else(|| backoff.next(&mut fastrand::Rng::new()))
                }
            };
            sleep(pause).await;
        }
    }

    /// One of several was refused: it shows which, when each goes alone.
    async fn deliver_each(&self, several: &[Delivery], troubled: &mut bool) {
        for delivery in several {
            Box::pin(self.deliver(std::slice::from_ref(delivery), troubled)).await;
        }
    }

    /// An event that is refused for good goes to the dead letters; while they do not take it, it is not done with.
    async fn bury(&self, delivery: &Delivery, reason: String) -> io::Result<()> {
        let letter = Letter::new(delivery, self.transport.shown(), reason);
        self.dead_letters.bury(letter.clone()).await?;
        let Letter { id, route, reason, .. } = letter;
        tracing::warn!(id, kind = delivery.kind.name(), route, "an event was refused: {reason}");
        self.dead.set(self.dead.get() + 1);
        Ok(())
    }

    fn failed(&self, reason: String, troubled: &mut bool) {
        self.retries.set(self.retries.get() + 1);
        let mut trouble = self.trouble.borrow_mut();
        trouble.events += u32::from(!std::mem::replace(troubled, true));
        if trouble.logged.is_none_or(|logged| logged.elapsed() >= LOG_PAUSE) {
            trouble.logged = Some(Instant::now());
            tracing::warn!("{} {reason}", self.transport.shown());
        }
        trouble.reason = reason;
    }

    /// Adds its counts to those of the sink; the first route in trouble tells its own.
    pub(super) fn add_to(&self, report: &mut SinkReport) {
        let queue = self.queue.borrow();
        report.queued = report.queued.saturating_add(u32::try_from(queue.queued()).unwrap_or(u32::MAX));
        report.spooled += queue.spooled();
        report.paused |= queue.paused;
        report.oldest_ms = report.oldest_ms.into_iter().chain(queue.oldest_ms()).min();
        report.delivered += self.delivered.get();
        report.retries += self.retries.get();
        report.dead += self.dead.get();
        report.dropped += self.dropped.get();
        report.purged += self.purged.get();
        let trouble = self.trouble.borrow();
        if let Some(reason) = self.disk_trouble.borrow().as_ref() {
            report.trouble = Some(format!("its spool cannot be used, sockets are held: {reason}"));
        } else if trouble.events > 0 && report.trouble.is_none() {
            report.trouble = Some(format!("{} {}", self.transport.shown(), trouble.reason));
        }
    }
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when.into()).await,
        None => pending().await,
    }
}
