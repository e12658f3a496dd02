//! The life of one agent, stage by stage, and what each stage comes to.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use pilothouse_agent::config::{Authorities, Config};
use pilothouse_sandbox::{FaultKind, GuildSize, Rate, Sandbox, SandboxConfig, SessionStarts, Status};
use pilothouse_tests::{AgentProcess, config};
use tempfile::TempDir;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// The window of the start; the bar is meant for 500 ms and more.
const WINDOW: Duration = Duration::from_secs(1);
/// The window where something else is looked at.
const SHORT_WINDOW: Duration = Duration::from_millis(100);
/// A stage that takes longer does not end.
const PATIENCE: Duration = Duration::from_secs(90);
/// The agent closes connections to the bot that are idle for 4 s, 22 KiB each; they are none of a shard's.
const CALM: Duration = Duration::from_secs(9);
/// Every so many guilds one is big: about two of a shard's. Prime, so that every shard has its part.
const BIG_EVERY: u32 = 101;
const BIG_BYTES: usize = 1_000_000;

/// The guilds of a scene.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guilds {
    /// Two a shard: READY is all that a start is about.
    Few,
    /// 200 a shard, 4 kB each.
    Usual,
    /// The same, but for about two of 1 MB a shard.
    Big,
}

/// What the agent and the sandbox speak over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    Plain,
    Tls,
}

/// What is run.
pub(crate) struct Plan {
    pub(crate) shards: u32,
    max_concurrency: u32,
    /// Events a second over all shards.
    rate: f64,
    /// How long there is traffic before memory is read, and between faults.
    traffic: Duration,
    /// Whether there is a start with big guilds, and one with TLS, as well.
    more: bool,
    /// The stages that are run.
    pub(crate) part: Part,
}

/// Which stages are run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    All,
    Start,
    Memory,
}

impl Plan {
    /// The usual stages.
    pub(crate) fn new(shards: u32) -> Self {
        let max_concurrency = if shards > 1_000 { 64 } else { 16 };
        let traffic = Duration::from_secs(10);
        Self { shards, max_concurrency, rate: 2_000.0, traffic, more: shards <= 1_000, part: Part::All }
    }

    /// All of them within seconds.
    pub(crate) fn quick() -> Self {
        Self { max_concurrency: 40, rate: 1_000.0, traffic: Duration::from_secs(2), ..Self::new(200) }
    }

    /// Resident KiB a shard, `base` being what an agent with one has.
    fn per_shard(&self, resident: u64, base: u64) -> f64 {
        resident.saturating_sub(base) as f64 / f64::from(self.shards - 1)
    }

    /// The shortest time in which Discord lets all shards identify.
    fn shortest(&self) -> Duration {
        WINDOW * self.shards.div_ceil(self.max_concurrency)
    }
}

/// One line of the table, printed when it is known.
pub(crate) struct Row {
    shards: u32,
    what: &'static str,
    bar: String,
    measured: String,
    pub(crate) met: bool,
    /// Whether the run fails where it is not met.
    pub(crate) must: bool,
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shards, what, bar, measured, met, .. } = self;
        let met = if *met { "yes" } else { "no" };
        write!(out, "| {shards} | {what} | {bar} | {measured} | {met} |")
    }
}

/// The rows of one run.
struct Table {
    shards: u32,
    rows: Vec<Row>,
}

impl Table {
    fn add(&mut self, what: &'static str, bar: String, measured: String, met: bool, must: bool) {
        let row = Row { shards: self.shards, what, bar, measured, met, must };
        println!("{row}");
        self.rows.push(row);
    }

    /// Kibibytes.
    fn size(&mut self, what: &'static str, bar: f64, kib: f64) {
        self.add(what, format!("≤ {bar} KiB"), format!("{kib:.1} KiB"), kib <= bar, false);
    }

    fn time(&mut self, what: &'static str, bar: Duration, took: Duration) {
        let measured = format!("{:.2} s", took.as_secs_f64());
        self.add(what, format!("≤ {} s", bar.as_secs()), measured, took <= bar, false);
    }

    fn none(&mut self, what: &'static str, count: u64, must: bool) {
        self.add(what, "0".to_owned(), count.to_string(), count == 0, must);
    }
}

/// An agent and what it runs on.
struct Scene {
    sandbox: Sandbox,
    config: Config,
    shards: u32,
    rate: Rate,
    patience: Duration,
    _data: TempDir,
}

/// Runs every stage.
pub(crate) async fn run(plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let mut table = Table { shards: plan.shards, rows: Vec::new() };
    if plan.part != Part::Memory {
        starting(plan, &mut table).await?;
    }
    if plan.part == Part::Start {
        return Ok(table.rows);
    }
    let base = base(plan, Wire::Plain).await?;
    let measured = format!("{:.1} MiB", base as f64 / 1_024.0);
    table.add("resident with one shard, after traffic", "–".to_owned(), measured, true, false);
    let per_shard = |resident: u64| plan.per_shard(resident, base);
    let plain = life(plan, &per_shard, &mut table).await?;
    if plan.more {
        burst(plan, &per_shard, &mut table).await?;
        tls(plan, plain, &mut table).await?;
    }
    Ok(table.rows)
}

/// Resident KiB of an agent with one shard, which is as good as none.
async fn base(plan: &Plan, wire: Wire) -> anyhow::Result<u64> {
    let scene = Scene::new(plan, 1, Guilds::Usual, wire).await?;
    let agent = scene.start().await?.0;
    scene.resident_after_traffic(plan, &agent).await
}

async fn burst(plan: &Plan, per_shard: &impl Fn(u64) -> f64, table: &mut Table) -> anyhow::Result<()> {
    let scene = Scene::new(plan, plan.shards, Guilds::Big, Wire::Plain).await?;
    let agent = scene.start().await?.0;
    let resident = scene.resident_after_traffic(plan, &agent).await?;
    table.size("resident a shard, after a READY burst with guilds of 1 MB", 100.0, per_shard(resident));
    scene.end(agent, "lost in the burst", table).await
}

/// What TLS adds to `plain` KiB a shard.
async fn tls(plan: &Plan, plain: f64, table: &mut Table) -> anyhow::Result<()> {
    let base = base(plan, Wire::Tls).await?;
    let scene = Scene::new(plan, plan.shards, Guilds::Usual, Wire::Tls).await?;
    let agent = scene.start().await?.0;
    let resident = scene.resident_after_traffic(plan, &agent).await?;
    table.size("TLS adds a shard, after traffic", 25.0, plan.per_shard(resident, base) - plain);
    scene.end(agent, "lost over TLS", table).await
}

async fn starting(plan: &Plan, table: &mut Table) -> anyhow::Result<()> {
    let scene = Scene::new(plan, plan.shards, Guilds::Few, Wire::Plain).await?;
    let (agent, took) = scene.start().await?;
    let limit = plan.shortest();
    let ratio = took.as_secs_f64() / limit.as_secs_f64();
    let measured = format!("{ratio:.3} ({:.2} s of {:.2} s)", took.as_secs_f64(), limit.as_secs_f64());
    table.add("start until every READY, of what Discord allows", "≤ 1.02 ×".to_owned(), measured, ratio <= 1.02, false);
    scene.sandbox.set_rate(scene.rate);
    sleep(plan.traffic / 2).await;
    scene.end(agent, "lost in the start", table).await
}

/// Returns the resident KiB a shard after traffic.
async fn life(plan: &Plan, per_shard: &impl Fn(u64) -> f64, table: &mut Table) -> anyhow::Result<f64> {
    let scene = Scene::new(plan, plan.shards, Guilds::Usual, Wire::Plain).await?;
    let agent = scene.start().await?.0;
    let plain = per_shard(scene.resident_after_traffic(plan, &agent).await?);
    table.size("resident a shard, after traffic", 64.0, plain);
    if plan.part == Part::Memory {
        scene.end(agent, "lost in the traffic", table).await?;
        return Ok(plain);
    }

    scene.sandbox.set_rate(scene.rate);
    sleep(plan.traffic / 2).await;
    let resumed = scene.all_resumed();
    scene.sandbox.fault(FaultKind::Reset);
    let bar = Duration::from_secs(if plan.shards > 1_000 { 60 } else { 5 });
    table.time("every connection reset until every session is resumed", bar, resumed.await?);

    sleep(plan.traffic / 2).await;
    let (signalled, resumed) = (Instant::now(), scene.all_resumed());
    ensure!(spawn_blocking(move || agent.terminate()).await?, "the agent did not end well after SIGTERM");
    let gone = signalled.elapsed();
    let agent = AgentProcess::start_quiet(&scene.config);
    let took = resumed.await?;
    let bar = Duration::from_secs(if plan.shards > 1_000 { 25 } else { 5 });
    table.time("SIGTERM until it has ended", bar, gone);
    table.time("start after it until every session is resumed", bar, took - gone);

    sleep(plan.traffic / 2).await;
    let resumed = scene.all_resumed();
    agent.kill();
    let agent = AgentProcess::start_quiet(&scene.config);
    table.time("kill -9 and start until every session is resumed", bar, resumed.await?);

    sleep(plan.traffic / 2).await;
    let resident = resident(&agent)?;
    table.size("resident a shard, after the restart", 64.0, per_shard(resident));
    scene.end(agent, "lost in reset, restart and kill", table).await?;
    Ok(plain)
}

impl Scene {
    async fn new(plan: &Plan, shards: u32, guilds: Guilds, wire: Wire) -> anyhow::Result<Self> {
        let guild_size = GuildSize { bytes: 4_000, big_bytes: BIG_BYTES, ..GuildSize::default() };
        let big_every = if guilds == Guilds::Big { BIG_EVERY } else { 0 };
        // Over TLS the sandbox counts from when it reads, late where guilds are many: there the agent has room.
        let (a_shard, window, interval) = match guilds {
            Guilds::Few => (2, WINDOW, WINDOW * 101 / 100),
            Guilds::Usual | Guilds::Big => (200, SHORT_WINDOW, SHORT_WINDOW * 6),
        };
        let sandbox = Sandbox::start(SandboxConfig {
            shards,
            guilds: shards * a_shard,
            guild_size: GuildSize { big_every, ..guild_size },
            max_concurrency: plan.max_concurrency,
            identify_window: window,
            session_starts: SessionStarts { total: 100_000, remaining: 100_000, ..SessionStarts::default() },
            // The level changes nothing for who reads it, and this machine runs both sides.
            zlib_level: 1,
            strict: true,
            tls: wire == Wire::Tls,
            ..SandboxConfig::default()
        })
        .await?;
        let data = TempDir::new()?;
        let mut config = config(&sandbox, &data, shards);
        config.gateway.identify_interval = interval;
        if let Some(authority) = sandbox.ca_pem() {
            let file = data.path().join("ca.pem");
            fs::write(&file, authority)?;
            config.gateway.ca_file = Some(Authorities::read(file).map_err(anyhow::Error::msg)?);
        }
        let patience = PATIENCE + plan.shortest() * 2;
        Ok(Self { sandbox, config, shards, rate: Rate::PerSecond(plan.rate), patience, _data: data })
    }

    /// An agent whose shards all have had READY, and how long that took from its start.
    async fn start(&self) -> anyhow::Result<(AgentProcess, Duration)> {
        let begun = Instant::now();
        let agent = AgentProcess::start_quiet(&self.config);
        let shards = u64::from(self.shards);
        let took = self.reached(begun, |status| status.readies >= shards).await?;
        Ok((agent, took))
    }

    /// Ends when every session has been resumed after now: how long that took.
    fn all_resumed(&self) -> impl Future<Output = anyhow::Result<Duration>> {
        let begun = Instant::now();
        let enough = self.sandbox.status().resumes + u64::from(self.shards);
        let shards = self.shards as usize;
        self.reached(begun, move |status| status.resumes >= enough && status.connected == shards)
    }

    async fn reached(&self, begun: Instant, reached: impl Fn(&Status) -> bool) -> anyhow::Result<Duration> {
        while !reached(&self.sandbox.status()) {
            if begun.elapsed() > self.patience {
                bail!("not all {} sessions: {:?}", self.shards, self.sandbox.status());
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(begun.elapsed())
    }

    async fn resident_after_traffic(&self, plan: &Plan, agent: &AgentProcess) -> anyhow::Result<u64> {
        self.sandbox.set_rate(self.rate);
        sleep(plan.traffic).await;
        self.sandbox.stop_traffic();
        ensure!(self.sandbox.settle(PATIENCE).await, "the agent does not keep up: {:?}", self.sandbox.verdict());
        sleep(CALM).await;
        resident(agent)
    }

    /// Ends the traffic, waits for the bot to have everything and asks for the verdict.
    async fn end(self, agent: AgentProcess, lost: &'static str, table: &mut Table) -> anyhow::Result<()> {
        self.sandbox.stop_traffic();
        self.sandbox.settle(PATIENCE / 3).await;
        let (verdict, status) = (self.sandbox.verdict(), self.sandbox.status());
        ensure!(verdict.received > 0, "there was no traffic: {verdict:?}");
        table.none(lost, verdict.lost + verdict.unreplayable.total() + verdict.unknown, true);
        if let Some(first) = status.violations.first() {
            eprintln!("the first of {}: {first:?}", verdict.violations);
        }
        table.none("identifies beyond one a shard", status.identifies.saturating_sub(u64::from(self.shards)), true);
        table.none("rules of Discord broken", verdict.violations, true);
        spawn_blocking(move || agent.kill()).await?;
        Ok(())
    }
}

/// Resident KiB of the agent's process.
fn resident(agent: &AgentProcess) -> anyhow::Result<u64> {
    let path = Path::new("/proc").join(agent.id().to_string()).join("status");
    let status = fs::read_to_string(path)?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("this system tells no VmRSS")?;
    Ok(line.split_whitespace().nth(1).context("VmRSS has a number")?.parse()?)
}
