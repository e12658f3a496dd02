//! Makes one snapshot of the agent, twice a second, out of its workers' samples.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use pilothouse_shared::snapshot::{
    AgentRow, GenerationRow, IdentifyRow, Overview, ShardRow, ShardState, SinkRow, StageRow,
};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use super::clock::now_ms;
use super::findings;
use super::process::Process;
use super::snapshot::Snapshot;
use crate::gateway::kind::EventKind;
use crate::shard::worker::Sample;
use crate::sinks::{self, SinkReport};
use crate::store::StoreWriter;

/// How often a snapshot is made.
const EVERY: Duration = Duration::from_millis(500);
/// A worker that tells nothing for this long is stalled.
const STALLED: Duration = Duration::from_secs(3);
/// A rate looks back this many snapshots: one second.
const RATE_OVER: usize = 2;
/// Latency percentiles look back this many snapshots.
const LATENCY_OVER: usize = 10;

/// What stays the same while the agent runs.
pub struct About {
    /// The agent's own row, without its counts.
    pub agent: AgentRow,
    /// What its shards run as.
    pub generation: GenerationRow,
    /// Shown on every console.
    pub note: Option<String>,
}

/// Makes snapshots until the workers' senders are gone.
pub async fn run(
    about: About,
    mut samples: mpsc::Receiver<Sample>,
    identify: watch::Receiver<IdentifyRow>,
    store: StoreWriter,
    disk: sinks::Common,
    snapshots: watch::Sender<Arc<Snapshot>>,
) {
    let mut sampler = Sampler::new(about, disk);
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            sample = samples.recv() => match sample {
                Some(sample) => sampler.take(sample),
                None => return,
            },
            _ = tick.tick() => {
                let snapshot = sampler.snapshot(identify.borrow().clone(), store.trouble());
                snapshots.send_replace(Arc::new(snapshot));
            }
        }
    }
}

struct Sampler {
    about: About,
    disk: sinks::Common,
    process: Process,
    workers: Vec<Option<Sample>>,
    /// When each worker told something last.
    heard: Vec<Instant>,
    totals: VecDeque<Totals>,
    latencies: VecDeque<Histogram<u32>>,
    fresh: Histogram<u32>,
}

/// Counts since the start, of all workers.
#[derive(Clone, Default)]
struct Totals {
    received: u64,
    delivered: u64,
    kinds: Vec<u64>,
    sinks: Vec<SinkReport>,
    stages: Vec<StageRow>,
}

impl Sampler {
    fn new(about: About, disk: sinks::Common) -> Self {
        let workers = (0..about.agent.workers).map(|_| None).collect();
        let heard = vec![Instant::now(); about.agent.workers.into()];
        let fresh = Histogram::new_with_bounds(1, 60_000_000, 2).expect("the bounds are valid");
        Self {
            about,
            disk,
            process: Process::default(),
            workers,
            heard,
            totals: VecDeque::new(),
            latencies: VecDeque::new(),
            fresh,
        }
    }

    fn take(&mut self, sample: Sample) {
        // Histograms of the same bounds always add up.
        let _ = self.fresh.add(&sample.latency);
        let worker = usize::from(sample.worker);
        self.workers[worker] = Some(sample);
        self.heard[worker] = Instant::now();
    }

    /// Workers that told nothing for a while, with the seconds.
    fn stalled(&self, now: Instant) -> Vec<(u16, u64)> {
        let silences =
            (0_u16..).zip(&self.heard).map(|(worker, heard)| (worker, now.saturating_duration_since(*heard)));
        silences
            .filter(|(_, silence)| *silence > STALLED)
            .map(|(worker, silence)| (worker, silence.as_secs()))
            .collect()
    }

    fn snapshot(&mut self, identify: IdentifyRow, store_trouble: Option<String>) -> Snapshot {
        let now = Instant::now();
        let totals = self.totals();
        let before = self.totals.front().cloned().unwrap_or_default();
        let rows = self.rows();
        let (p50_us, p99_us) = self.latency();
        let states = states(&rows);
        let in_per_s = rate(totals.received, before.received);
        let sum = |count: fn(&ShardRow) -> u32| rows.iter().map(|row| u64::from(count(row))).sum();
        let mut overview = Overview {
            at: now_ms(),
            agents: vec![self.agent(&rows, in_per_s)],
            generation: self.about.generation.clone(),
            reporting: count(rows.len()),
            guilds: sum(|row| row.guilds),
            unavailable: sum(|row| row.unavailable),
            in_per_s,
            out_per_s: rate(totals.delivered, before.delivered),
            received: totals.received,
            delivered: totals.delivered,
            lost: 0,
            p50_us,
            p99_us,
            lag_ms: rows.iter().map(|row| row.lag_ms).max().unwrap_or(0),
            identify,
            sinks: sinks(&totals.sinks, &before.sinks, &self.disk),
            stages: totals.stages.clone(),
            types: types(&totals.kinds, &before.kinds),
            note: self.about.note.clone(),
            states,
            findings: Vec::new(),
        };
        overview.sinks.extend(self.disk.former());
        overview.lost = overview.sinks.iter().map(|sink| sink.dropped + sink.purged + sink.unreadable).sum();
        overview.findings = findings::find(&overview, &rows, store_trouble, &self.stalled(now));
        self.totals.push_back(totals);
        if self.totals.len() > RATE_OVER {
            self.totals.pop_front();
        }
        Snapshot { overview, rows }
    }

    fn totals(&self) -> Totals {
        let mut totals = Totals { kinds: vec![0; EventKind::NAMES.len()], ..Totals::default() };
        for sample in self.workers.iter().flatten() {
            totals.received += sample.kinds.iter().sum::<u64>();
            totals.delivered += sample.delivered;
            totals.kinds.iter_mut().zip(&sample.kinds).for_each(|(total, count)| *total += count);
            sample.sinks.iter().for_each(|report| add_report(&mut totals.sinks, report));
            sample.stages.iter().for_each(|row| add_stage(&mut totals.stages, row));
        }
        totals
    }

    fn rows(&self) -> Vec<ShardRow> {
        let mut rows: Vec<ShardRow> = self.workers.iter().flatten().flat_map(|sample| sample.rows.clone()).collect();
        rows.sort_unstable_by_key(|row| row.id);
        rows
    }

    fn latency(&mut self) -> (u32, u32) {
        self.latencies.push_back(self.fresh.clone());
        self.fresh.reset();
        if self.latencies.len() > LATENCY_OVER {
            self.latencies.pop_front();
        }
        let mut all = self.fresh.clone();
        self.latencies.iter().for_each(|latency| {
            let _ = all.add(latency);
        });
        let at = |quantile| u32::try_from(all.value_at_quantile(quantile)).unwrap_or(u32::MAX);
        (at(0.5), at(0.99))
    }

    fn agent(&mut self, rows: &[ShardRow], in_per_s: u32) -> AgentRow {
        let usage = self.process.usage();
        AgentRow {
            shards: count(rows.len()),
            active: count(rows.iter().filter(|row| row.state == ShardState::Active).count()),
            in_per_s,
            cpu_permille: usage.cpu_permille,
            resident: usage.resident,
            ..self.about.agent.clone()
        }
    }
}

fn add_report(reports: &mut Vec<SinkReport>, report: &SinkReport) {
    let Some(total) = reports.iter_mut().find(|total| total.name == report.name) else {
        return reports.push(report.clone());
    };
    total.queued += report.queued;
    total.delivered += report.delivered;
    total.retries += report.retries;
    total.dead += report.dead;
    total.spooled += report.spooled;
    total.dropped += report.dropped;
    total.purged += report.purged;
    total.paused |= report.paused;
    total.oldest_ms = total.oldest_ms.into_iter().chain(report.oldest_ms).min();
    total.trouble = total.trouble.take().or_else(|| report.trouble.clone());
}

fn add_stage(rows: &mut Vec<StageRow>, row: &StageRow) {
    let Some(total) = rows.iter_mut().find(|total| total.name == row.name) else { return rows.push(row.clone()) };
    total.on |= row.on;
    total.dropped += row.dropped;
    total.renamed += row.renamed;
}

fn sinks(now: &[SinkReport], before: &[SinkReport], disk: &sinks::Common) -> Vec<SinkRow> {
    let earlier = |name: &str| before.iter().find(|report| report.name == name).map_or(0, |report| report.delivered);
    let row = |report: &SinkReport| {
        let mut row = SinkRow {
            name: report.name.clone(),
            kind: report.kind.to_owned(),
            state: state(report),
            healthy: report.trouble.is_none(),
            queued: report.queued,
            out_per_s: rate(report.delivered, earlier(&report.name)),
            delivered: report.delivered,
            retries: report.retries,
            dead: report.dead,
            spooled: report.spooled,
            dropped: report.dropped,
            purged: report.purged,
            lag_ms: report.oldest_ms.map_or(0, |oldest| now_ms().saturating_sub(oldest)),
            ..SinkRow::default()
        };
        disk.add_to(&mut row);
        row
    };
    now.iter().map(row).collect()
}

fn state(report: &SinkReport) -> String {
    match &report.trouble {
        Some(trouble) => trouble.clone(),
        None if report.paused => "paused by an operator".to_owned(),
        None if report.spooled > 0 => "working off its backlog".to_owned(),
        None => "delivering".to_owned(),
    }
}

fn types(now: &[u64], before: &[u64]) -> Vec<(String, u32)> {
    let earlier = before.iter().copied().chain(std::iter::repeat(0));
    let rates = now.iter().zip(earlier).map(|(now, before)| rate(*now, before));
    let mut types: Vec<(String, u32)> = EventKind::NAMES
        .iter()
        .zip(rates)
        .filter(|(_, rate)| *rate > 0)
        .map(|(name, rate)| ((*name).to_owned(), rate))
        .collect();
    types.sort_by_key(|(_, rate)| std::cmp::Reverse(*rate));
    types
}

fn states(rows: &[ShardRow]) -> Vec<(ShardState, u32)> {
    let of = |state| (state, count(rows.iter().filter(|row| row.state == state).count()));
    ShardState::ALL.into_iter().map(of).filter(|(_, count)| *count > 0).collect()
}

fn rate(now: u64, before: u64) -> u32 {
    u32::try_from(now.saturating_sub(before)).unwrap_or(u32::MAX)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
