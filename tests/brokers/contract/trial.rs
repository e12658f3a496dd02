//! The agent's part of a trial: one worker's sink with its spool, and a session whose events are numbered from 1.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use pilothouse_agent::config::{SinkConfig, SpoolConfig};
use pilothouse_agent::gateway::kind::EventKind;
use pilothouse_agent::pipeline::{Event, Lane, Progress};
use pilothouse_agent::sinks::{Common, Seat, Sink, SinkReport, factory};
use pilothouse_agent::spool::{Spool, SpoolError, SpoolLimits};
use tempfile::TempDir;
use tokio::task::LocalSet;
use tokio::time::sleep;

use super::{Arrived, Place};

/// Unconfirmed events that hold a session's socket: the default of the configuration.
const MAX_UNCONFIRMED: u32 = 256;
/// Shards of the bot, more than there are trials.
const TOTAL: u32 = 1_000;
/// What a sink may have in memory: of the spool 1,024 events, of its one session what holds the socket and one turn.
const BOUND: u32 = 1_024 + MAX_UNCONFIRMED + TURN as u32;
/// Events of one turn of a shard.
const TURN: u64 = 50;
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(5);

/// A promise under trial.
pub(super) struct Trial<'a, P> {
    pub(super) place: &'a mut P,
    data: TempDir,
    settings: SpoolConfig,
    sink: Option<Box<dyn Sink>>,
    lane: Rc<Lane>,
    sent: u64,
    got: Vec<Arrived>,
}

impl<'a, P: Place> Trial<'a, P> {
    /// An event that is not confirmed `after` this time goes to the spool.
    pub(super) fn new(place: &'a mut P, after: Duration) -> Self {
        // Each trial is a shard of its own, so that none gets what was another's.
        static SHARD: AtomicU32 = AtomicU32::new(1);
        let settings = SpoolConfig { after, drain_rate: 1_000_000, reserve_bytes: 0, ..SpoolConfig::default() };
        let lane = Lane::new(1, SHARD.fetch_add(1, Ordering::Relaxed), "c0ffee", 0, Progress::new());
        let data = TempDir::new().expect("a temporary folder");
        let sink = Some(start(data.path(), place.sink(), &settings));
        Self { place, data, settings, sink, lane, sent: 0, got: Vec::new() }
    }

    fn sink(&self) -> &dyn Sink {
        &**self.sink.as_ref().expect("it runs")
    }

    /// The sink's own words, which must be true of its memory whenever one asks.
    pub(super) fn report(&self) -> SinkReport {
        let report = self.sink().report();
        assert!(report.queued <= BOUND, "more in memory than {BOUND}: {report:?}");
        report
    }

    /// Sends so many events, as a session whose socket is held while too many are unconfirmed.
    pub(super) async fn send(&mut self, count: u64) {
        let last = self.sent + count;
        while self.sent < last {
            let turn: Vec<Event> = (self.sent + 1..=last.min(self.sent + TURN)).map(|seq| self.event(seq)).collect();
            self.sent += turn.len() as u64;
            self.sink().push(&turn);
            self.until("the socket is not held", |trial| trial.lane.outstanding() < MAX_UNCONFIRMED as usize).await;
        }
    }

    fn event(&self, seq: u64) -> Event {
        let of =
            if seq.is_multiple_of(7) { String::new() } else { format!("\"guild_id\":\"{}\",", ((seq % 40) << 22) | 1) };
        let payload = format!("{{\"t\":\"TYPING_START\",\"s\":{seq},\"op\":0,\"d\":{{{of}\"user_id\":\"7\"}}}}");
        let (received, kind) = (Instant::now(), EventKind::of(b"TYPING_START"));
        self.lane.open(seq, received, 1);
        Event { lane: Rc::clone(&self.lane), seq, kind, part: 0, payload: payload.into(), received }
    }

    /// Waits until all events are confirmed: the other side has them, or the spool.
    pub(super) async fn all_are_safe(&self) {
        self.until("all are confirmed", |trial| trial.lane.outstanding() == 0).await;
        assert_eq!(self.lane.confirmed(), self.sent);
    }

    /// Waits until the sink says that the other side is away, and which.
    pub(super) async fn is_in_trouble(&self) {
        self.until("it says what is wrong", |trial| trial.report().trouble.is_some()).await;
        let (trouble, shown) = (self.report().trouble.expect("it was there"), self.place.shown());
        println!("    {trouble}");
        assert!(trouble.contains(&shown), "{trouble} does not name {shown}");
    }

    /// The agent ends, and what is unconfirmed gets safe by that alone.
    pub(super) async fn closes(&mut self) {
        self.sink().close();
        self.all_are_safe().await;
        self.sink = None;
    }

    /// The next run with the same data.
    pub(super) async fn starts_again(&mut self) {
        // The tasks of the last one end when they are next looked at.
        sleep(Duration::from_millis(50)).await;
        self.sink = Some(start(self.data.path(), self.place.sink(), &self.settings));
    }

    /// Waits until each event has arrived and nothing waits any more; `doubles` of them may have come again, and each
    /// guild's came in their order.
    pub(super) async fn has_everything(&mut self, doubles: u32) {
        let begun = Instant::now();
        while self.firsts().len() < usize::try_from(self.sent).expect("a small number") || !self.is_calm() {
            assert!(begun.elapsed() < PATIENCE, "{} of {}: {:?}", self.firsts().len(), self.sent, self.report());
            sleep(LOOK).await;
            self.look().await;
        }
        self.look().await;
        let firsts = self.firsts();
        assert!(firsts.keys().copied().eq(1..=self.sent), "an event that nobody sent");
        assert!(self.got.len() - firsts.len() <= doubles as usize, "{} of {} twice", self.got.len(), firsts.len());
        let mut by_guild: Vec<(u64, usize, u64)> =
            firsts.iter().map(|(seq, (at, guild))| (*guild, *at, *seq)).collect();
        by_guild.sort_unstable();
        assert!(by_guild.is_sorted_by_key(|(guild, _, seq)| (*guild, *seq)), "out of order");
    }

    /// Takes in what has arrived. What a frozen broker had in its sockets can come as late as in the next trial: a double
    /// of what the one before has counted.
    async fn look(&mut self) {
        let (shard, arrived) = (self.lane.origin.shard, self.place.arrived().await);
        self.got.extend(arrived.into_iter().filter(|arrived| arrived.shard == shard));
    }

    /// When each sequence arrived first, and its guild.
    fn firsts(&self) -> BTreeMap<u64, (usize, u64)> {
        let mut firsts = BTreeMap::new();
        for (at, arrived) in self.got.iter().enumerate() {
            firsts.entry(arrived.seq).or_insert((at, arrived.guild));
        }
        firsts
    }

    fn is_calm(&self) -> bool {
        let SinkReport { trouble, queued, spooled, oldest_ms, .. } = self.report();
        (trouble, queued, spooled, oldest_ms) == (None, 0, 0, None)
    }

    async fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !done(self) {
            assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}: {:?}", self.report());
            sleep(LOOK).await;
        }
    }
}

/// The only worker's instance, with the spool of `data`.
fn start(data: &Path, config: SinkConfig, settings: &SpoolConfig) -> Box<dyn Sink> {
    let spool: Result<Spool, SpoolError> = Spool::open(&data.join("spool"), SpoolLimits::of(settings));
    let (spool, configs) = (Some(spool.expect("the spool opens")), vec![config]);
    let common = Common::open(data, &configs, spool, settings.clone(), MAX_UNCONFIRMED, TOTAL).expect("it opens");
    let seat = Seat { worker: 0, total: TOTAL, owns: Arc::new(|_| true) };
    factory(configs, common)(&seat).expect("it starts").remove(0)
}

/// Runs a trial as a worker would run a sink.
pub(super) fn run(trial: impl Future<Output = ()>) {
    // The second call finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, trial);
}
