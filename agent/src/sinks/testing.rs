//! What the tests of sinks share: a worker's thread, events with their lane, a sink with its files.

use std::cell::Cell;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::task::LocalSet;

use super::dead::Letter;
use super::{Common, Seat, Sink, factory};
use crate::config::{SinkConfig, SpoolConfig, WhenFull};
use crate::gateway::kind::EventKind;
use crate::pipeline::{Event, Lane, Progress};
use crate::spool::{self, Spool, SpoolLimits, Tag};

/// Shard of every event.
pub(super) const SHARD: u32 = 5;
/// Shards there are.
pub(super) const TOTAL: u32 = 16;

/// Unconfirmed events at which a socket would be held.
const MAX_UNCONFIRMED: u32 = 256;

/// A sink as the only worker has it.
pub(super) struct TestSink {
    sink: Box<dyn Sink>,
    common: Common,
    _folder: Rc<TempDir>,
}

impl TestSink {
    /// Without a spool. The error is what people would read.
    pub(super) fn start(config: SinkConfig) -> Result<Self, String> {
        Self::start_in(Rc::new(tempfile::tempdir().expect("a folder")), config, None, SpoolConfig::default(), TOTAL)
    }

    /// With the spool of `folder`, as an agent that is started there.
    pub(super) fn with_spool(folder: &Rc<TempDir>, config: SinkConfig, settings: SpoolConfig) -> Self {
        Self::of_total(folder, config, settings, TOTAL)
    }

    /// The same, in front of `total` shards.
    pub(super) fn of_total(folder: &Rc<TempDir>, config: SinkConfig, settings: SpoolConfig, total: u32) -> Self {
        let when_full = match settings.when_full {
            WhenFull::DropClass => spool::WhenFull::DropClass,
            WhenFull::Hold => spool::WhenFull::Hold,
        };
        let (max_bytes, reserve_bytes) = (settings.max_bytes, settings.reserve_bytes);
        let limits = SpoolLimits { max_bytes, reserve_bytes, when_full, ..SpoolLimits::default() };
        let spool = Spool::open(&folder.path().join("spool"), limits).expect("it opens");
        Self::start_in(Rc::clone(folder), config, Some(spool), settings, total).expect("it starts")
    }

    fn start_in(
        folder: Rc<TempDir>,
        config: SinkConfig,
        spool: Option<Spool>,
        settings: SpoolConfig,
        total: u32,
    ) -> Result<Self, String> {
        let configs = vec![config];
        let common = Common::open(folder.path(), &configs, spool, settings, MAX_UNCONFIRMED, total).expect("it opens");
        let seat = Seat { worker: 0, total, owns: Arc::new(|_| true) };
        let mut sinks = factory(configs, common.clone())(&seat).map_err(|error| format!("{error:#}"))?;
        Ok(Self { sink: sinks.remove(0), common, _folder: folder })
    }

    /// What an agent does with the spool of `folder` before it starts its sinks.
    pub(super) async fn adopt(folder: &TempDir, config: &SinkConfig, total: u32) -> u64 {
        let spool = Spool::open(&folder.path().join("spool"), SpoolLimits::default()).expect("it opens");
        super::adopt(&spool, std::slice::from_ref(config), total).await.expect("it can be written")
    }

    /// Ends it as the end of its worker would, and frees its files.
    pub(super) async fn stop(self) {
        drop(self);
        // Its tasks end when they are next looked at.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    /// Events that its spool has on disk.
    pub(super) fn on_disk(&self) -> u64 {
        self.common.spool().map_or(0, |spool| spool.status(Tag::of(&self.report().name)).events)
    }

    /// Events that its spool counts as expired.
    pub(super) fn expired(&self) -> u64 {
        self.common.spool().map_or(0, |spool| spool.status(Tag::of(&self.report().name)).expired)
    }

    /// Its dead letters.
    pub(super) fn letters(&self) -> Vec<Letter> {
        self.common.dead_letters()[0].list(1_000).expect("they are read")
    }

    /// Lets its letters be delivered again.
    pub(super) async fn resend(&self) {
        let letters = &self.common.dead_letters()[0];
        for number in letters.put_aside().expect("they are there") {
            self.sink.resend(&letters.read(number).expect("they are read")).await;
            letters.sent(number).expect("they are gone");
        }
    }
}

impl Deref for TestSink {
    type Target = dyn Sink;

    fn deref(&self) -> &Self::Target {
        &*self.sink
    }
}

/// A lane and the events of it.
pub(super) struct Feed {
    pub(super) lane: Rc<Lane>,
    seq: Cell<u64>,
}

impl Feed {
    /// Events so far.
    pub(super) fn sent(&self) -> u64 {
        self.seq.get()
    }

    pub(super) fn new() -> Self {
        Self::of_shard(SHARD)
    }

    /// Of another shard than the usual one.
    pub(super) fn of_shard(shard: u32) -> Self {
        Self { lane: Lane::new(1, shard, "5e551017", 0, Progress::new()), seq: Cell::new(0) }
    }

    /// The next event, of `guild`; 0: of none.
    pub(super) fn event(&self, guild: u64) -> Event {
        let seq = self.seq.get() + 1;
        self.seq.set(seq);
        let of = if guild == 0 { String::new() } else { format!("\"guild_id\":\"{guild}\",") };
        let payload = format!("{{\"t\":\"TYPING_START\",\"s\":{seq},\"op\":0,\"d\":{{{of}\"user_id\":\"7\"}}}}");
        let received = Instant::now();
        self.lane.open(seq, received, 1);
        Event {
            lane: Rc::clone(&self.lane),
            seq,
            kind: EventKind::of(b"TYPING_START"),
            part: 0,
            payload: payload.into(),
            received,
        }
    }

    pub(super) fn push(&self, sink: &dyn Sink, guilds: impl IntoIterator<Item = u64>) {
        let events: Vec<Event> = guilds.into_iter().map(|guild| self.event(guild)).collect();
        sink.push(&events);
    }
}

/// A guild whose route is its number.
pub(super) fn guild(number: u64) -> u64 {
    (number << 22) | 1
}

/// Waits until something is so.
pub(super) async fn until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Runs a test as a worker would run a sink.
pub(super) fn run(test: impl Future<Output = ()> + 'static) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, test);
}
