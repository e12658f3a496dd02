//! A sink of any kind: its routes, and which of them an event takes.

use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::future::{LocalBoxFuture, join_all};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::dead::Letter;
use super::delivery::{Delivery, Transport};
use super::layout::route_of;
use super::route::Route;
use super::{Seat, Sink, SinkOrder, SinkReport};
use crate::config::{RouteBy, SpoolConfig};
use crate::pipeline::{Event, Lane, Progress};
use crate::standing::standing;
use crate::telemetry::clock;

/// A sink on one worker. Dropping it ends what is in flight; those events stay unconfirmed.
pub(super) struct Routed<T> {
    name: String,
    kind: &'static str,
    route_by: RouteBy,
    routes: Vec<Rc<Route<T>>>,
    seat: Seat,
    _tasks: JoinSet<()>,
}

impl<T: Transport> Routed<T> {
    /// Starts its routes, of which there is at least one. To be called within a `LocalSet`: they live on this thread.
    pub(super) fn start(name: &str, kind: &'static str, route_by: RouteBy, routes: Vec<Route<T>>, seat: Seat) -> Self {
        let routes: Vec<_> = routes.into_iter().map(Rc::new).collect();
        let mut tasks = JoinSet::new();
        for route in &routes {
            tasks.spawn_local(standing("a route of a sink", Rc::clone(route).run()));
        }
        Self { name: name.to_owned(), kind, route_by, routes, seat, _tasks: tasks }
    }

    fn route(&self, delivery: &Delivery) -> &Route<T> {
        &self.routes[route_of(self.route_by, delivery.guild, delivery.stream, self.routes.len())]
    }
}

impl<T: Transport> Sink for Routed<T> {
    fn push(&self, events: &[Event]) {
        for event in events {
            let delivery = delivery(event);
            self.route(&delivery).push(event, delivery);
        }
    }

    fn report(&self) -> SinkReport {
        let mut report = SinkReport { name: self.name.clone(), kind: self.kind, ..SinkReport::default() };
        self.routes.iter().for_each(|route| route.add_to(&mut report));
        report
    }

    fn session_lost(&self, shard: u32) {
        self.routes.iter().for_each(|route| route.with_queue(|queue| queue.spill(shard)));
    }

    fn close(&self) {
        self.routes.iter().for_each(|route| route.with_queue(|queue| queue.spill_all()));
    }

    fn obey(&self, order: SinkOrder) {
        for route in &self.routes {
            match order {
                SinkOrder::Pause => route.with_queue(|queue| queue.paused = true),
                SinkOrder::Resume => route.with_queue(|queue| {
                    queue.paused = false;
                    queue.hurry(false);
                }),
                SinkOrder::Drain => route.with_queue(|queue| {
                    queue.paused = false;
                    queue.hurry(true);
                }),
                SinkOrder::Purge => route.purge(),
            }
        }
    }

    fn adopt(&self, settings: &SpoolConfig, max_unconfirmed: u32) {
        self.routes.iter().for_each(|route| route.adopt(settings, max_unconfirmed));
    }

    fn finish(&self) -> LocalBoxFuture<'static, ()> {
        let routes = self.routes.clone();
        Box::pin(async move { drop(join_all(routes.iter().map(|route| route.finish())).await) })
    }

    fn resend(&self, letters: &[Letter]) -> LocalBoxFuture<'static, ()> {
        let mine = letters.iter().map(|letter| letter.delivery(self.seat.total));
        let mine = mine.filter(|delivery| (self.seat.owns)(delivery.stream));
        let lane = Lane::new(0, 0, "dead letters", 0, Progress::new());
        for (delivery, seq) in mine.zip(1..) {
            lane.open(seq, Instant::now(), 1);
            self.route(&delivery).push_again(delivery, &lane, seq);
        }
        Box::pin(async move {
            while lane.outstanding() > 0 {
                sleep(Duration::from_millis(20)).await;
            }
        })
    }
}

fn delivery(event: &Event) -> Delivery {
    Delivery {
        origin: Rc::clone(&event.lane.origin),
        stream: event.lane.origin.shard,
        seq: event.seq,
        part: event.part,
        kind: event.kind,
        guild: event.guild(),
        received_ms: clock::unix_ms(event.received),
        payload: event.payload.clone(),
    }
}
