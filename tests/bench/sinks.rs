//! Benchmark of the ways to the bot: the real program against the sandbox, which runs in this process, once with each
//! kind of sink on its real server. Events a second at saturation, the agent's CPU per event there, and what the
//! agent adds to an event's time at half of that rate. Beside them the same without a sink, as the floor.
//!
//! `cargo build --release --workspace --bins`, then `cargo bench -p pilothouse-tests --bench sinks`; `-- --quick` for
//! shorter rounds. A broker that is not installed is left out, and said.

use std::time::{Duration, Instant};

use anyhow::Context;
use pilothouse_agent::config::{
    AmqpConfig, BrokerUrl, Config, HttpConfig, NatsConfig, NdjsonConfig, SinkConfig, Unroutable,
};
use pilothouse_sandbox::{Rate, Sandbox, SandboxConfig};
use pilothouse_shared::snapshot::Overview;
use pilothouse_tests::brokers::{Nats, Rabbit};
use pilothouse_tests::{AgentProcess, Control, raise_open_files};
use tempfile::TempDir;
use tokio::time::sleep;

const SHARDS: u32 = 16;
const GUILDS: u32 = 640;
/// Clock ticks a second in /proc, on every Linux that matters.
const TICKS: f64 = 100.0;

/// One way to the bot.
struct Way {
    name: &'static str,
    sink: Option<SinkConfig>,
}

/// What was seen of the agent between two looks.
struct Seen {
    per_second: f64,
    cpu_us: f64,
    p50_us: u32,
    p99_us: u32,
}

fn main() -> anyhow::Result<()> {
    let round = Duration::from_secs(if std::env::args().any(|word| word == "--quick") { 3 } else { 10 });
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    println!("{SHARDS} shards, zlib, the agent's CPU on all its threads; the other side shares the machine's cores\n");
    println!(
        "| sink | events/s at saturation | µs CPU an event | of that beyond no sink | added at half load, p50 | p99 |"
    );
    println!("|---|---:|---:|---:|---:|---:|");
    runtime.block_on(run(round))
}

async fn run(round: Duration) -> anyhow::Result<()> {
    let (rabbit, nats) = (Rabbit::start().await, Nats::start().await);
    let file = TempDir::new()?;
    let http = |batch| move |url: String| SinkConfig::Http(HttpConfig { batch, ..HttpConfig::new([url]) });
    let mut floor = None;
    for batch in [None, Some(1), Some(100)] {
        let sandbox = start().await?;
        let sink = batch.map(|batch| http(batch)(sandbox.bot_url().to_owned()));
        let name = match batch {
            None => "none",
            Some(1) => "http",
            Some(_) => "http, 100 a request",
        };
        let cpu = row(sandbox, Way { name, sink }, floor, round).await?;
        floor.get_or_insert(cpu);
    }
    let path = Some(file.path().join("events.ndjson"));
    let ndjson = SinkConfig::Ndjson(NdjsonConfig { path, ..NdjsonConfig::default() });
    row(start().await?, Way { name: "ndjson", sink: Some(ndjson) }, floor, round).await?;
    match &rabbit {
        Ok(rabbit) => {
            let amqp = AmqpConfig { unroutable: Unroutable::Drop, ..AmqpConfig::new(broker(&rabbit.url())?) };
            row(start().await?, Way { name: "amqp", sink: Some(SinkConfig::Amqp(amqp)) }, floor, round).await?;
        }
        Err(lack) => println!("\namqp is left out: {lack}"),
    }
    match &nats {
        Ok(nats) => {
            let nats = NatsConfig::new([broker(&nats.url())?]);
            row(start().await?, Way { name: "nats", sink: Some(SinkConfig::Nats(nats)) }, floor, round).await?;
        }
        Err(lack) => println!("\nnats is left out: {lack}"),
    }
    Ok(())
}

fn broker(url: &str) -> anyhow::Result<BrokerUrl> {
    BrokerUrl::parse(url, &["amqp", "nats"]).map_err(anyhow::Error::msg)
}

async fn start() -> anyhow::Result<Sandbox> {
    let config = SandboxConfig {
        shards: SHARDS,
        guilds: GUILDS,
        max_concurrency: 16,
        identify_window: Duration::from_millis(100),
        rate: Rate::PerSecond(0.0),
        ..SandboxConfig::default()
    };
    Sandbox::start(config).await
}

/// Measures one way and prints its row; the CPU of an event, µs.
async fn row(sandbox: Sandbox, way: Way, floor: Option<f64>, round: Duration) -> anyhow::Result<f64> {
    let data = TempDir::new()?;
    let mut config: Config = pilothouse_tests::config(&sandbox, &data, SHARDS);
    config.listen = pilothouse_tests::free_address();
    config.gateway.identify_interval = Duration::from_millis(120);
    // At saturation the sockets are held: the spool has its own benchmark.
    config.spool.max_bytes = 0;
    config.sinks = way.sink.into_iter().collect();
    let agent = AgentProcess::start_quiet(&config);
    let control = Control::of(&config);
    control.shows(Duration::from_secs(30), |seen| seen.reporting == SHARDS && seen.agents[0].active == SHARDS).await;
    sandbox.set_rate(Rate::Flood);
    let full = measure(&agent, &control, round).await?;
    sandbox.set_rate(Rate::PerSecond(full.per_second / 2.0));
    let half = measure(&agent, &control, round).await?;
    let beyond = floor.map_or("–".to_owned(), |floor| format!("{:.1}", full.cpu_us - floor));
    let ms = |us: u32| format!("{:.2} ms", f64::from(us) / 1_000.0);
    println!(
        "| {} | {:.0} | {:.1} | {beyond} | {} | {} |",
        way.name,
        full.per_second,
        full.cpu_us,
        ms(half.p50_us),
        ms(half.p99_us)
    );
    Ok(full.cpu_us)
}

async fn measure(agent: &AgentProcess, control: &Control, round: Duration) -> anyhow::Result<Seen> {
    // What came before leaves the percentiles, which look back 5 s.
    sleep(Duration::from_secs(6)).await;
    let status = || async { control.status().await.context("the agent answers") };
    let (before, cpu, begin) = (status().await?.delivered, cpu_seconds(agent)?, Instant::now());
    sleep(round).await;
    let Overview { delivered, p50_us, p99_us, .. } = status().await?;
    let (events, took) = ((delivered - before) as f64, begin.elapsed().as_secs_f64());
    let cpu_us = (cpu_seconds(agent)? - cpu) * 1e6 / events;
    Ok(Seen { per_second: events / took, cpu_us, p50_us, p99_us })
}

/// Processor time of the agent so far, of user and system.
fn cpu_seconds(agent: &AgentProcess) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", agent.id()))?;
    // The name, in brackets, may hold blanks.
    let fields = stat.rsplit_once(')').context("stat has a name")?.1.split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).map(|field| field.parse::<f64>().unwrap_or_default()).sum();
    Ok(ticks / TICKS)
}
