//! Sinks deliver events to the bot. Each worker runs its own instance of every sink, on its own thread.
//!
//! Contract: [`Sink::push`] never blocks and never drops; events of one guild reach one route in the order in which they
//! were pushed, at most one attempt of them in flight; an event is confirmed once: when the bot has it, or the spool. How
//! many events can be outstanding is bounded by the lanes, which stop reading their sockets, and by the spool.
//!
//! `delivery` is all that a kind of sink has to do. `route` does the rest for every kind: `queue` (pure) keeps the order,
//! `disk` is its way to the spool, `dead` is where refused events go.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use futures_util::future::LocalBoxFuture;
use pilothouse_shared::snapshot::SinkRow;

use self::dead::{DeadLetters, Letter};
use self::delivery::Transport;
use self::disk::Disk;
use self::former::Former;
use self::layout::Layout;
use self::queue::{Bounds, WINDOW};
use self::route::Route;
use self::routed::Routed;
use crate::config::{SinkConfig, SpoolConfig};
use crate::pipeline::Event;
use crate::spool::{Class, Spool, Tag};

mod adopt;
pub mod amqp;
mod certificate;
pub mod dead;
pub mod delivery;
mod disk;
mod envelope;
mod former;
mod http;
mod layout;
mod lines;
mod link;
pub mod nats;
mod ndjson;
mod queue;
mod route;
mod routed;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use self::adopt::{adopt, adopt_later};
pub use self::former::FORMER;

/// One worker, as its sinks see it.
#[derive(Clone)]
pub struct Seat {
    /// Number of the worker.
    pub worker: u16,
    /// Shards there are, of all workers.
    pub total: u32,
    /// Whether the backlog of a shard is this worker's to deliver; of every shard there is, exactly one worker's.
    pub owns: Arc<dyn Fn(u32) -> bool + Send + Sync>,
}

/// Makes one worker's instances of the sinks, on its thread.
pub type SinkFactory = Arc<dyn Fn(&Seat) -> anyhow::Result<Vec<Box<dyn Sink>>> + Send + Sync>;

/// A way to the bot.
pub trait Sink {
    /// Takes over events, in order; each is confirmed through [`Event::confirm`] when the bot or the spool has it.
    fn push(&self, events: &[Event]);

    /// Its state, for people.
    fn report(&self) -> SinkReport;

    /// The session of `shard` cannot be resumed: Discord will not repeat what is unconfirmed.
    fn session_lost(&self, _shard: u32) {}

    /// The agent ends: what is unconfirmed goes where it is safe.
    fn close(&self) {}

    /// The agent ends: attempts what is in memory, repeats no failure, and begins nothing else; ready when nothing is under way
    /// and the spool knows what the bot has. Dropped before, it leaves events that will be delivered again.
    fn finish(&self) -> LocalBoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Does what an operator orders.
    fn obey(&self, _order: SinkOrder) {}

    /// Goes by these settings of the spool, and this many unconfirmed events that hold a session's socket, from now on.
    fn adopt(&self, _settings: &SpoolConfig, _max_unconfirmed: u32) {}

    /// Delivers dead letters again, those that are this worker's; ready when they are safe.
    fn resend(&self, _letters: &[Letter]) -> LocalBoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// What an operator can order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SinkOrder {
    /// Begin no attempt; events go to the spool.
    Pause,
    /// Go on, at the usual pace.
    Resume,
    /// Go on, and deliver the backlog as fast as the bot takes it.
    Drain,
    /// Throw the backlog away.
    Purge,
}

/// What one instance of a sink tells about itself; the sampler adds the instances up.
#[derive(Clone, Debug, Default)]
pub struct SinkReport {
    /// Name in the configuration.
    pub name: String,
    /// `http`, …
    pub kind: &'static str,
    /// Why it does not deliver, where it does not: `connection refused by http://…, retrying`.
    pub trouble: Option<String>,
    /// An operator paused it.
    pub paused: bool,
    /// Events waiting in memory or in flight.
    pub queued: u32,
    /// Events in the spool or on their way there.
    pub spooled: u64,
    /// When the oldest event in memory was received, Unix milliseconds.
    pub oldest_ms: Option<u64>,
    /// Events the bot has accepted since the start.
    pub delivered: u64,
    /// Attempts that failed and were or will be repeated.
    pub retries: u64,
    /// Events that the bot refused for good.
    pub dead: u64,
    /// Events that a spool nearly full had no room for.
    pub dropped: u64,
    /// Events of the backlog that an operator threw away.
    pub purged: u64,
}

/// What the sinks of all workers share.
#[derive(Clone)]
pub struct Common {
    spool: Option<Spool>,
    settings: SpoolConfig,
    max_unconfirmed: usize,
    /// Of each sink, in the order of the configuration.
    dead: Vec<Arc<DeadLetters>>,
    /// The streams that each sink has now, by sink.
    routes: Arc<HashMap<Tag, Vec<Tag>>>,
    /// Sinks that are configured no longer.
    former: Arc<Vec<Former>>,
}

impl Common {
    /// Opens the dead letters of `sinks` in the data folder; they are in front of `total` shards.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn open(
        data_dir: &Path,
        sinks: &[SinkConfig],
        spool: Option<Spool>,
        settings: SpoolConfig,
        max_unconfirmed: u32,
        total: u32,
    ) -> anyhow::Result<Self> {
        let open = |sink: &SinkConfig| {
            DeadLetters::open(data_dir, sink.name()).with_context(|| format!("the dead letters of {}", sink.name()))
        };
        let dead = sinks.iter().map(open).collect::<anyhow::Result<_>>()?;
        let routes = sinks.iter().map(|sink| (Tag::of(sink.name()), Layout::of(sink, total).tags()));
        let routes = Arc::new(routes.collect());
        let former = Arc::new(former::find(data_dir, sinks, spool.as_ref())?);
        Ok(Self { spool, settings, max_unconfirmed: max_unconfirmed as usize, dead, routes, former })
    }

    /// The dead letters of each sink, in the order of the configuration.
    pub fn dead_letters(&self) -> &[Arc<DeadLetters>] {
        &self.dead
    }

    /// The queues on disk.
    pub fn spool(&self) -> Option<&Spool> {
        self.spool.as_ref()
    }

    /// The rows of sinks that are configured no longer, but left something.
    pub fn former(&self) -> impl Iterator<Item = SinkRow> {
        self.former.iter().map(|former| former.row(self.spool()))
    }

    /// Adds what all workers' instances of a sink share to its row.
    pub fn add_to(&self, row: &mut SinkRow) {
        let named = |letters: &&Arc<DeadLetters>| letters.name() == row.name;
        row.letters = self.dead.iter().find(named).map_or(0, |letters| letters.count());
        let Some(spool) = &self.spool else { return };
        let tag = Tag::of(&row.name);
        if let Some(routes) = self.routes.get(&tag) {
            let strays = adopt::strays(spool, tag, routes);
            row.spooled += strays.iter().map(|stray| stray.tail - stray.head).sum::<u64>();
        }
        let status = spool.status(tag);
        row.spool_bytes = status.bytes;
        row.expired = status.expired;
        row.unreadable = status.unreadable;
        row.dropped_ordinary = status.dropped[Class::Ordinary as usize];
    }

    fn bounds(&self, attempts: u32, batch: usize) -> Bounds {
        let after = self.settings.after;
        Bounds {
            attempts: attempts.max(1) as usize,
            batch,
            window: WINDOW,
            spill_after: self.spool.as_ref().map(|_| after),
            max_unconfirmed: self.max_unconfirmed,
        }
    }
}

/// Makes every configured sink, once for each worker; must be called inside the worker's `LocalSet`.
pub fn factory(configs: Vec<SinkConfig>, common: Common) -> SinkFactory {
    Arc::new(move |seat| {
        let sinks = configs.iter().zip(&common.dead);
        sinks
            .map(|(config, dead)| start(config, &common, dead, seat).with_context(|| format!("sink {}", config.name())))
            .collect()
    })
}

fn start(config: &SinkConfig, common: &Common, dead: &Arc<DeadLetters>, seat: &Seat) -> anyhow::Result<Box<dyn Sink>> {
    let layout = Layout::of(config, seat.total);
    let starter = Starter { name: config.name(), kind: config.kind(), layout, common, dead, seat };
    Ok(match config {
        SinkConfig::Http(http) => {
            let transports = http::transports(http).map_err(anyhow::Error::msg)?;
            starter.start(http.concurrency, transports)
        }
        SinkConfig::Amqp(amqp) => starter.start(amqp.concurrency, [amqp::AmqpTransport::new(amqp.clone())]),
        SinkConfig::Nats(nats) => starter.start(nats.concurrency, [nats::NatsTransport::new(nats.clone())]),
        SinkConfig::Ndjson(ndjson) => starter.start(1, [ndjson::NdjsonTransport::new(ndjson)]),
    })
}

/// What is the same for the sinks of every kind.
struct Starter<'a> {
    name: &'a str,
    kind: &'static str,
    layout: Layout<'a>,
    common: &'a Common,
    dead: &'a Arc<DeadLetters>,
    seat: &'a Seat,
}

impl Starter<'_> {
    /// Over the transports of its routes.
    fn start<T: Transport>(&self, attempts: u32, transports: impl IntoIterator<Item = T>) -> Box<dyn Sink> {
        let Self { name, kind, ref layout, common, dead, seat } = *self;
        let route = |(transport, tag): (T, Tag)| {
            let bounds = common.bounds(attempts, transport.largest_batch());
            let disk = common.spool.clone().map(|spool| Disk::new(spool, Tag::of(name), tag));
            Route::new(transport, bounds, &common.settings, disk, Arc::clone(dead), &*seat.owns)
        };
        let routes = transports.into_iter().zip(layout.tags()).map(route).collect();
        Box::new(Routed::start(name, kind, layout.route_by, routes, seat.clone()))
    }
}
