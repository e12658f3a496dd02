//! One route of a sink on one worker: drives its queue, makes attempts and repeats them, and keeps its counts.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::future::pending;
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
use super::queue::{Batch, Bounds, Load, Loaded, Pace, Place, Queue};
use crate::config::SpoolConfig;
use crate::gateway::backoff::Backoff;
use crate::pipeline::{Event, Lane};
use crate::spool::{Expiry, SpoolLimits};
use crate::telemetry::clock::now_ms;

const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
/// Between two looks for events that wait too long.
const TICK: Duration = Duration::from_millis(50);
/// Between two attempts at the spool, when the disk is in trouble.
const DISK_RETRY: Duration = Duration::from_millis(250);
/// A batch that has failed as often as this is taken apart: one of its events may be what fails.
const APART_AFTER: u32 = 2;
/// Between two lines in the log about the same route.
const LOG_PAUSE: Duration = Duration::from_secs(10);

/// One destination, on one worker.
pub(super) struct Route<T> {
    transport: T,
    queue: RefCell<Queue>,
    disk: Option<Disk>,
    dead_letters: Arc<DeadLetters>,
    pushed: Notify,
    /// The queue was changed by hand, or has come to its end.
    ordered: Notify,
    expiry: RefCell<Expiry>,
    delivered: Cell<u64>,
    retries: Cell<u64>,
    dead: Cell<u64>,
    dropped: Cell<u64>,
    purged: Cell<u64>,
    trouble: RefCell<Trouble>,
    disk_trouble: RefCell<DiskTrouble>,
    /// Until when the disk is left alone after an append failed; loading goes on, as it makes room.
    append_again: Cell<Option<Instant>>,
    /// The same after a load failed.
    load_again: Cell<Option<Instant>>,
}

/// What goes wrong now.
#[derive(Default)]
struct Trouble {
    /// Events whose last attempt failed.
    events: u32,
    reason: String,
    logged: Option<Instant>,
}

/// Why the spool could not do the last that it was asked to.
#[derive(Default)]
struct DiskTrouble {
    append: Option<String>,
    load: Option<String>,
}

impl DiskTrouble {
    fn told(&self) -> Option<String> {
        let append = self.append.as_ref().map(|reason| format!("its spool cannot be used, sockets are held: {reason}"));
        append.or_else(|| self.load.as_ref().map(|reason| format!("its spool cannot be read: {reason}")))
    }
}

/// How an attempt, or a part of one, ended.
enum End {
    /// With these events nothing more is to be done.
    Done,
    /// To be attempted again, after this time where the other side says so.
    Again(Option<Duration>),
    /// One of them is refused.
    Apart,
}

/// What the loop waits for.
enum Step {
    Finished(Batch),
    /// An attempt was given up, as the agent ends.
    GivenUp,
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
        settings: &SpoolConfig,
        disk: Option<Disk>,
        dead_letters: Arc<DeadLetters>,
        owns: &dyn Fn(u32) -> bool,
    ) -> Self {
        let mut queue = Queue::new(bounds, Pace::new(settings.drain_rate, Instant::now()));
        if let Some(disk) = &disk {
            disk.backlogs().filter(|found| owns(found.key.shard)).for_each(|found| {
                queue.recover(found.key.shard, found.head, found.tail);
            });
            disk.marks().filter(|(shard, _)| owns(*shard)).for_each(|(shard, mark)| queue.recover_mark(shard, mark));
        }
        Self {
            transport,
            queue: RefCell::new(queue),
            disk,
            dead_letters,
            pushed: Notify::new(),
            ordered: Notify::new(),
            expiry: RefCell::new(SpoolLimits::of(settings).expiry),
            delivered: Cell::default(),
            retries: Cell::default(),
            dead: Cell::default(),
            dropped: Cell::default(),
            purged: Cell::default(),
            trouble: RefCell::default(),
            disk_trouble: RefCell::default(),
            append_again: Cell::default(),
            load_again: Cell::default(),
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
        self.ordered.notify_waiters();
        result
    }

    /// Goes by these settings from now on.
    pub(super) fn adopt(&self, settings: &SpoolConfig, max_unconfirmed: u32) {
        *self.expiry.borrow_mut() = SpoolLimits::of(settings).expiry;
        self.with_queue(|queue| queue.adopt(settings, max_unconfirmed));
    }

    /// Attempts what is in memory and begins nothing else; ready when that is over. What fails now stays in the spool.
    pub(super) async fn finish(&self) {
        self.with_queue(Queue::close);
        self.until(Queue::is_closed).await;
        // What still comes from the disk would be delivered, and stay there.
        self.with_queue(Queue::end);
        self.remove();
    }

    async fn until(&self, is_so: impl Fn(&Queue) -> bool) {
        loop {
            let changed = self.ordered.notified();
            if is_so(&self.queue.borrow()) {
                return;
            }
            changed.await;
        }
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
            if self.queue.borrow().is_closed() {
                self.ordered.notify_waiters();
            }
            let (append_due, mut load_due) = (resting(&self.append_again), resting(&self.load_again));
            if let Some(disk) = self.disk.as_ref().filter(|_| append_due.is_none()) {
                appends.extend(self.take_append(disk));
            }
            if let Some(disk) = self.disk.as_ref().filter(|_| load_due.is_none()) {
                while let Some(load) = self.take_load() {
                    loads.push(disk.load(load));
                }
                load_due = self.queue.borrow().load_due(Instant::now()).filter(|_| loads.is_empty());
            }
            let disk_due = append_due.into_iter().chain(load_due).min();
            let step = tokio::select! {
                Some(ended) = attempts.next() => ended,
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
        self.queue.borrow_mut().take_load(Instant::now())
    }

    fn take_append<'a>(&self, disk: &'a Disk) -> Option<impl Future<Output = Result<Vec<Place>, String>> + 'a> {
        let mut queue = self.queue.borrow_mut();
        queue.take_append().map(|spilled| disk.append(spilled))
    }

    fn take_in(&self, step: Step) {
        let now = Instant::now();
        match step {
            Step::Finished(batch) => self.queue.borrow_mut().finished(&batch, now),
            Step::GivenUp => self.queue.borrow_mut().given_up(),
            Step::Appended(answer) => self.appended(answer, now),
            Step::Loaded(load, answer) => self.loaded(load, answer),
            Step::Tick => {
                self.queue.borrow_mut().tick(now);
                self.forget_disk_trouble();
                self.remove();
            }
            Step::Pushed => {}
        }
    }

    /// Lets go of what the spool need not hold any more.
    fn remove(&self) {
        let removals = self.queue.borrow_mut().take_removals();
        if let Some(disk) = &self.disk {
            removals.into_iter().for_each(|(shard, below)| disk.remove(shard, below));
        }
    }

    /// What the spool could not do may not be wanted any more.
    fn forget_disk_trouble(&self) {
        let (queue, mut trouble) = (self.queue.borrow(), self.disk_trouble.borrow_mut());
        trouble.append.take_if(|_| !queue.needs_spool());
        trouble.load.take_if(|_| queue.spooled() == 0);
    }

    fn appended(&self, answer: Result<Vec<Place>, String>, now: Instant) {
        match answer {
            Ok(places) => {
                self.disk_trouble.borrow_mut().append = None;
                let dropped = places.iter().filter(|place| **place == Place::Dropped).count();
                self.dropped.set(self.dropped.get() + dropped as u64);
                self.queue.borrow_mut().appended(&places, now);
            }
            Err(reason) => {
                self.queue.borrow_mut().append_failed();
                self.disk_trouble.borrow_mut().append = Some(reason);
                self.append_again.set(Some(Instant::now() + DISK_RETRY));
            }
        }
    }

    fn loaded(&self, load: Load, answer: Result<Loaded, String>) {
        match answer {
            Ok(found) => {
                self.disk_trouble.borrow_mut().load = None;
                let expired = self.queue.borrow_mut().loaded(load, found);
                self.count_expired(expired);
            }
            Err(reason) => {
                self.queue.borrow_mut().load_failed(load);
                self.disk_trouble.borrow_mut().load = Some(reason);
                self.load_again.set(Some(Instant::now() + DISK_RETRY));
            }
        }
    }

    /// Repeats an attempt until the other side has its events or refuses them.
    async fn attempt(&self, batch: Batch) -> Step {
        let mut troubled = false;
        let step = self.deliver(batch, &mut troubled).await;
        if troubled {
            self.trouble.borrow_mut().events -= 1;
        }
        step
    }

    async fn deliver(&self, batch: Batch, troubled: &mut bool) -> Step {
        let (mut backoff, mut failures) = (BACKOFF, 0);
        loop {
            match self.deliver_once(&batch.deliveries, troubled).await {
                End::Done => return Step::Finished(batch),
                End::Apart => return self.deliver_each(batch, troubled).await,
                End::Again(pause) if self.rest(&mut backoff, pause).await => failures += 1,
                End::Again(_) => return Step::GivenUp,
            }
            if failures == APART_AFTER && batch.deliveries.len() > 1 {
                return self.deliver_each(batch, troubled).await;
            }
        }
    }

    /// One of several is at fault: it shows which, when each goes alone. A key whose event fails lets the others go first.
    async fn deliver_each(&self, batch: Batch, troubled: &mut bool) -> Step {
        let mut backoff = BACKOFF;
        let mut keys = batch.apart();
        while let Some(mut events) = keys.pop_front() {
            while let Some(event) = events.front() {
                match self.deliver_once(&event.deliveries, troubled).await {
                    End::Done | End::Apart => {}
                    End::Again(pause) if self.rest(&mut backoff, pause).await => break,
                    End::Again(_) => return Step::GivenUp,
                }
                self.queue.borrow_mut().done_with(event, Instant::now());
                self.pushed.notify_one();
                backoff = BACKOFF;
                events.pop_front();
            }
            keys.extend(Some(events).filter(|events| !events.is_empty()));
        }
        Step::Finished(Batch::default())
    }

    async fn deliver_once(&self, deliveries: &[Delivery], troubled: &mut bool) -> End {
        let left = self.without_expired(deliveries);
        let end = if left.is_empty() { End::Done } else { self.deliver_all(&left, troubled).await };
        if let End::Done = end {
            self.count_expired((deliveries.len() - left.len()) as u64);
        }
        end
    }

    async fn deliver_all(&self, deliveries: &[Delivery], troubled: &mut bool) -> End {
        match self.transport.deliver(deliveries).await {
            Outcome::Accepted => {
                self.delivered.set(self.delivered.get() + deliveries.len() as u64);
                End::Done
            }
            Outcome::Refused(reason) => match deliveries {
                [delivery] => self.bury(delivery, reason, troubled).await,
                _ => End::Apart,
            },
            Outcome::Failed { reason, pause } => {
                self.failed(reason, troubled);
                End::Again(pause)
            }
        }
    }

    /// What is still worth an attempt. Once loaded, an event cannot expire in the spool.
    fn without_expired<'a>(&self, deliveries: &'a [Delivery]) -> Cow<'a, [Delivery]> {
        let (now, expiry) = (now_ms(), self.expiry.borrow());
        let is_over = |delivery: &Delivery| expiry.is_over(delivery.kind, now.saturating_sub(delivery.received_ms));
        if self.disk.is_none() || !deliveries.iter().any(is_over) {
            return deliveries.into();
        }
        deliveries.iter().filter(|delivery| !is_over(delivery)).cloned().collect()
    }

    fn count_expired(&self, events: u64) {
        if let Some(disk) = self.disk.as_ref().filter(|_| events > 0) {
            disk.expired(events);
        }
    }

    /// Waits before an attempt is repeated, also while the sink is paused; whether it is to be. When the agent ends it is
    /// at once, for the last time.
    async fn rest(&self, backoff: &mut Backoff, pause: Option<Duration>) -> bool {
        if self.queue.borrow().is_closing() {
            return false;
        }
        let pause = pause.unwrap_or_else(|| backoff.next(&mut fastrand::Rng::new()));
        let may_go_on = async {
            sleep(pause).await;
            self.until(|queue| !queue.paused).await;
        };
        tokio::select! {
            () = self.until(Queue::is_closing) => !self.queue.borrow().paused,
            () = may_go_on => true,
        }
    }

    /// An event that is refused for good goes to the dead letters; while they do not take it, it is not done with.
    async fn bury(&self, delivery: &Delivery, reason: String, troubled: &mut bool) -> End {
        let letter = Letter::new(delivery, self.transport.shown(), reason);
        if let Err(error) = self.dead_letters.bury(letter.clone()).await {
            self.failed(format!("refused an event, and the dead letters cannot take it: {error}"), troubled);
            return End::Again(None);
        }
        let Letter { id, route, reason, .. } = letter;
        tracing::warn!(id, kind = delivery.kind.name(), route, "an event was refused: {reason}");
        self.dead.set(self.dead.get() + 1);
        End::Done
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
        if let Some(told) = self.disk_trouble.borrow().told() {
            report.trouble = Some(told);
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

/// Until when it is, if it still is.
fn resting(until: &Cell<Option<Instant>>) -> Option<Instant> {
    until.get().filter(|until| *until > Instant::now())
}
