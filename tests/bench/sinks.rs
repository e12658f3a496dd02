//! Benchmark of the ways to the bot: the real program against the sandbox, which runs in this process, once with each
//! kind of sink on its real server. Events a second at saturation and the agent's CPU per event there, beside the same
//! without a sink; and the time from socket to answer at half of what the other side takes by itself, beside that of a
//! bare client at the same pace, in the same run.
//!
//! `cargo build --release --workspace --bins`, then `cargo bench -p pilothouse-tests --bench sinks`; `-- --quick` for
//! shorter rounds, `-- amqp nats` for these alone. A broker that is not installed is left out, and said.

mod bare;

use std::time::{Duration, Instant};

use anyhow::Context;
use pilothouse_agent::config::{AmqpConfig, BrokerUrl, Config, HttpConfig, NatsConfig, NdjsonConfig, SinkConfig};
use pilothouse_sandbox::{Rate, Sandbox, SandboxConfig};
use pilothouse_shared::snapshot::Overview;
use pilothouse_tests::brokers::{Nats, Rabbit};
use pilothouse_tests::{AgentProcess, Control, raise_open_files};
use tempfile::TempDir;
use tokio::time::sleep;

use self::bare::{Latency, Publisher};

const SHARDS: u32 = 16;
const GUILDS: u32 = 640;
/// Clock ticks a second in /proc, on every Linux that matters.
const TICKS: f64 = 100.0;

/// A pace that every way keeps, events a second.
const USUAL: f64 = 2_000.0;

/// One way to the bot.
struct Way {
    name: &'static str,
    sink: Option<SinkConfig>,
    bare: Option<Publisher>,
}

/// What was seen of the agent between two looks.
struct Seen {
    per_second: f64,
    cpu_us: f64,
    latency: Latency,
}

fn main() -> anyhow::Result<()> {
    let round = Duration::from_secs(if std::env::args().any(|word| word == "--quick") { 3 } else { 10 });
    raise_open_files();
    // The bare clients compute with it, too; nothing else has installed one yet.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    println!("{SHARDS} shards, zlib, the agent's CPU on all its threads; the other side shares the machine's cores\n");
    let mut bench = Bench { round, cpu_floor: None, latencies: Vec::new() };
    println!("| sink | events/s at saturation | a bare client's | µs CPU an event | of that beyond no sink |");
    println!("|---|---:|---:|---:|---:|");
    runtime.block_on(bench.run())?;
    println!("\n| sink | events/s | ms bare, p50 | p99 | ms from socket to answer, p50 | p99 | added, p50 | p99 |");
    println!("|---|---:|---:|---:|---:|---:|---:|---:|");
    bench.latencies.iter().for_each(|row| println!("{row}"));
    Ok(())
}

/// The rows so far.
struct Bench {
    round: Duration,
    /// CPU of an event without a sink, µs.
    cpu_floor: Option<f64>,
    /// Rows of the second table.
    latencies: Vec<String>,
}

impl Bench {
    async fn run(&mut self) -> anyhow::Result<()> {
        let http = |batch, url: &str| SinkConfig::Http(HttpConfig { batch, ..HttpConfig::new([url]) });
        self.row(start().await?, Way { name: "none", sink: None, bare: None }).await?;
        for (name, batch) in [("http", 1), ("http, 100 a request", 100)] {
            let sandbox = start().await?;
            let (sink, bare) = (Some(http(batch, sandbox.bot_url())), Some(Publisher::http(sandbox.bot_url())?));
            self.row(sandbox, Way { name, sink, bare: bare.filter(|_| batch == 1) }).await?;
        }
        let file = TempDir::new()?;
        let path = Some(file.path().join("events.ndjson"));
        let sink = Some(SinkConfig::Ndjson(NdjsonConfig { path, ..NdjsonConfig::default() }));
        self.row(start().await?, Way { name: "ndjson", sink, bare: None }).await?;
        match Rabbit::start().await {
            Ok(rabbit) => {
                let amqp = AmqpConfig::new(broker(&rabbit.url())?);
                let bare = Some(Publisher::amqp(&rabbit.url(), &amqp.exchange).await?);
                self.row(start().await?, Way { name: "amqp", sink: Some(SinkConfig::Amqp(amqp)), bare }).await?;
            }
            Err(lack) => println!("\namqp is left out: {lack}"),
        }
        match Nats::start().await {
            Ok(nats) => {
                let config = NatsConfig::new([broker(&nats.url())?]);
                let bare = Some(Publisher::nats(&nats, &format!("{}.bare.0", config.subject)).await?);
                self.row(start().await?, Way { name: "nats", sink: Some(SinkConfig::Nats(config)), bare }).await?;
            }
            Err(lack) => println!("\nnats is left out: {lack}"),
        }
        Ok(())
    }

    /// Measures one way: its row of the first table is printed, those of the second are kept.
    async fn row(&mut self, sandbox: Sandbox, Way { name, sink, bare }: Way) -> anyhow::Result<()> {
        let mut chosen = std::env::args().skip(1).filter(|word| !word.starts_with("--")).peekable();
        if chosen.peek().is_some() && !chosen.any(|word| word == name) {
            return Ok(());
        }
        let data = TempDir::new()?;
        let mut config: Config = pilothouse_tests::config(&sandbox, &data, SHARDS);
        config.listen = pilothouse_tests::free_address();
        config.gateway.identify_interval = Duration::from_millis(120);
        // At saturation the sockets are held: the spool has its own benchmark.
        config.spool.max_bytes = 0;
        config.sinks = sink.into_iter().collect();
        let agent = AgentProcess::start_quiet(&config);
        let control = Control::of(&config);
        let is_up = |seen: &Overview| seen.reporting == SHARDS && seen.agents[0].active == SHARDS;
        control.shows(Duration::from_secs(30), is_up).await;
        // The sink has made its stream by now: READY went there.
        let knee = match &bare {
            Some(bare) => Some(bare.saturated(self.round).await?),
            None => None,
        };
        sandbox.set_rate(Rate::Flood);
        let full = measure(&agent, &control, self.round).await?;
        let beyond = self.cpu_floor.map_or("–".to_owned(), |floor| format!("{:.1}", full.cpu_us - floor));
        self.cpu_floor.get_or_insert(full.cpu_us);
        let shown = knee.map_or("–".to_owned(), |knee| format!("{knee:.0}"));
        println!("| {name} | {:.0} | {shown} | {:.1} | {beyond} |", full.per_second, full.cpu_us);
        let half = knee.unwrap_or(full.per_second).min(full.per_second) / 2.0;
        for rate in [half, USUAL] {
            sandbox.stop_traffic();
            drained(&control).await?;
            let bare = self.bare(bare.as_ref(), rate).await?;
            sandbox.set_rate(Rate::PerSecond(rate));
            let seen = measure(&agent, &control, self.round).await?;
            self.latencies.push(latencies(name, rate, bare, seen.latency));
        }
        Ok(())
    }

    async fn bare(&self, bare: Option<&Publisher>, rate: f64) -> anyhow::Result<Option<Latency>> {
        let Some(bare) = bare else { return Ok(None) };
        bare.clear().await?;
        let latency = bare.paced(rate, self.round).await?;
        bare.clear().await?;
        Ok(Some(latency))
    }
}

fn latencies(name: &str, rate: f64, bare: Option<Latency>, ours: Latency) -> String {
    let ms = |us: u32| f64::from(us) / 1_000.0;
    let (floor, added) = match bare {
        Some(Latency { p50, p99 }) => (
            format!("{:.2} | {:.2}", ms(p50), ms(p99)),
            format!("{:.2} | {:.2}", ms(ours.p50) - ms(p50), ms(ours.p99) - ms(p99)),
        ),
        None => ("– | –".to_owned(), "– | –".to_owned()),
    };
    format!("| {name} | {rate:.0} | {floor} | {:.2} | {:.2} | {added} |", ms(ours.p50), ms(ours.p99))
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

/// Waits until the agent delivers no more: a flood leaves many events in the buffers of the sockets.
async fn drained(control: &Control) -> anyhow::Result<()> {
    let mut last = None;
    loop {
        let delivered = control.status().await.context("the agent answers")?.delivered;
        if last.replace(delivered) == Some(delivered) {
            return Ok(());
        }
        sleep(Duration::from_secs(2)).await;
    }
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
    Ok(Seen { per_second: events / took, cpu_us, latency: Latency { p50: p50_us, p99: p99_us } })
}

/// Processor time of the agent so far, of user and system.
fn cpu_seconds(agent: &AgentProcess) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", agent.id()))?;
    // The name, in brackets, may hold blanks.
    let fields = stat.rsplit_once(')').context("stat has a name")?.1.split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).map(|field| field.parse::<f64>().unwrap_or_default()).sum();
    Ok(ticks / TICKS)
}
