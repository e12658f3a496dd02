//! A sink of one route around a transport: events wait in memory, in order, one of a guild in flight, and are attempted
//! until the other side has them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use pilothouse_shared::ids::GuildId;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::delivery::{Delivery, Outcome, Transport};
use super::http::ordered::Ordered;
use super::{Sink, SinkReport};
use crate::gateway::backoff::Backoff;
use crate::pipeline::Event;
use crate::telemetry::clock;

const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
/// Between two lines in the log about the same trouble.
const LOG_PAUSE: Duration = Duration::from_secs(10);

/// What must stay in order among itself: a guild, else a shard.
type Key = (Option<GuildId>, u32);

/// Delivers by `T`. Dropping it ends what is in flight; the events stay unconfirmed.
pub(super) struct DirectSink<T> {
    route: Rc<Route<T>>,
    _sender: JoinSet<()>,
}

struct Route<T> {
    transport: T,
    queue: RefCell<Ordered<Key, Event>>,
    pushed: Notify,
    report: RefCell<SinkReport>,
    /// Events whose last attempt failed.
    troubled: Cell<u32>,
    logged: Cell<Option<Instant>>,
}

impl<T: Transport> DirectSink<T> {
    /// Starts its sender. To be called within a `LocalSet`: it lives on this thread.
    pub(super) fn start(name: String, kind: &'static str, transport: T, concurrency: u32) -> Self {
        let route = Rc::new(Route {
            transport,
            queue: RefCell::new(Ordered::new(concurrency.max(1) as usize)),
            pushed: Notify::new(),
            report: RefCell::new(SinkReport { name, kind, ..SinkReport::default() }),
            troubled: Cell::default(),
            logged: Cell::default(),
        });
        let mut sender = JoinSet::new();
        sender.spawn_local(Rc::clone(&route).run());
        Self { route, _sender: sender }
    }
}

impl<T: Transport> Sink for DirectSink<T> {
    fn push(&self, events: &[Event]) {
        for event in events {
            let guild = event.guild();
            let shard = if guild.is_some() { 0 } else { event.lane.origin.shard };
            self.route.queue.borrow_mut().push((guild, shard), event.clone());
        }
        self.route.pushed.notify_one();
    }

    fn report(&self) -> SinkReport {
        let mut report = self.route.report.borrow().clone();
        report.queued = u32::try_from(self.route.queue.borrow().queued()).unwrap_or(u32::MAX);
        report.trouble = report.trouble.filter(|_| self.route.troubled.get() > 0);
        report
    }
}

impl<T: Transport> Route<T> {
    async fn run(self: Rc<Self>) {
        let mut in_flight = FuturesUnordered::new();
        loop {
            while let Some((key, event)) = self.take_ready() {
                in_flight.push(self.deliver(key, event));
            }
            tokio::select! {
                Some(key) = in_flight.next() => self.queue.borrow_mut().done(key),
                () = self.pushed.notified() => {}
            }
        }
    }

    fn take_ready(&self) -> Option<(Key, Event)> {
        self.queue.borrow_mut().take_ready()
    }

    /// Repeats attempts until the other side has the event or refuses it.
    async fn deliver(&self, key: Key, event: Event) -> Key {
        let delivery = [delivery(&event)];
        let (mut backoff, mut troubled) = (BACKOFF, false);
        loop {
            match self.transport.deliver(&delivery).await {
                Outcome::Accepted => {
                    self.report.borrow_mut().delivered += 1;
                    break;
                }
                Outcome::Refused(reason) => {
                    self.bury(&event, &reason);
                    break;
                }
                Outcome::Failed { reason, pause } => {
                    self.failed(&reason, &mut troubled);
                    tokio::time::sleep(pause.unwrap_or_else(|| backoff.next(&mut fastrand::Rng::new()))).await;
                }
            }
        }
        self.troubled.set(self.troubled.get() - u32::from(troubled));
        event.confirm(Instant::now());
        key
    }

    fn bury(&self, event: &Event, reason: &str) {
        let (kind, route) = (event.kind.name(), self.transport.shown());
        tracing::warn!(id = %event.id(), kind, route, "an event was refused: {route} {reason}");
        self.report.borrow_mut().dead += 1;
    }

    fn failed(&self, reason: &str, troubled: &mut bool) {
        self.troubled.set(self.troubled.get() + u32::from(!std::mem::replace(troubled, true)));
        let said = format!("{} {reason}", self.transport.shown());
        if self.logged.get().is_none_or(|logged| logged.elapsed() >= LOG_PAUSE) {
            self.logged.set(Some(Instant::now()));
            tracing::warn!("{said}");
        }
        let mut report = self.report.borrow_mut();
        report.retries += 1;
        report.trouble = Some(said);
    }
}

fn delivery(event: &Event) -> Delivery {
    Delivery {
        origin: Rc::clone(&event.lane.origin),
        seq: event.seq,
        part: event.part,
        kind: event.kind,
        guild: event.guild(),
        received_ms: clock::unix_ms(event.received),
        payload: event.payload.clone(),
    }
}
