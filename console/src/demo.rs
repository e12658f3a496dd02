//! `pilothouse demo`: the stand-in Discord, an agent, a small bot and the console in one process, with mishaps now and
//! then. Needs no account and no server; its data is in a temporary folder.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use pilothouse_agent::agent;
use pilothouse_agent::config::{Config, HttpConfig, ShardCount, SinkConfig};
use pilothouse_agent::telemetry::logs;
use pilothouse_sandbox::{Fault, FaultKind, Rate, Sandbox, SandboxConfig, Verdict};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::address::{Address, Token};
use crate::app;
use crate::link::Peer;

/// All shards identify within about this time, by a shortened window.
const START: Duration = Duration::from_secs(5);
/// Between two mishaps.
const MISHAP_EVERY: Duration = Duration::from_secs(4);
/// One in so many mishaps ends a session for good.
const FINAL_EVERY: u32 = 15;
/// For the last events to reach the bot.
const SETTLE: Duration = Duration::from_secs(15);
/// For a failing agent to say why.
const READY: Duration = Duration::from_secs(60);

/// How big the demo is.
#[derive(Args, Clone, Debug)]
pub struct Demo {
    /// Shards
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub shards: u32,
    /// Guilds; without it ten for each shard
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=2_000_000))]
    pub guilds: Option<u32>,
    /// Events a second, over all guilds
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    pub rate: u32,
    /// Run without the terminal; the last line on stdout is a verdict as JSON
    #[arg(long)]
    pub headless: bool,
    /// With --headless: how long the traffic lasts once all shards are connected
    #[arg(long, default_value_t = 10, requires = "headless", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
}

/// The parts that run beside the console.
struct Stage {
    sandbox: Arc<Sandbox>,
    stop: oneshot::Sender<()>,
    agent: JoinHandle<Result<(), agent::Failure>>,
    mishaps: JoinHandle<()>,
    listen: SocketAddr,
    data: Folder,
}

/// Runs the demo; the exit code is 1 if an event was lost or none was received.
///
/// # Errors
/// A part of it cannot be started, or the terminal cannot be used.
pub async fn run(demo: &Demo, options: app::Options) -> anyhow::Result<ExitCode> {
    let stage = Stage::set(demo).await?;
    if demo.headless { stage.play(demo).await } else { stage.show(options).await }
}

impl Stage {
    async fn set(demo: &Demo) -> anyhow::Result<Self> {
        let data = Folder::create().context("the demo's temporary folder")?;
        keep_panics_off_the_terminal(data.0.join("panics.txt"));
        logs::start_for_consoles("info")?;
        let sandbox = Arc::new(Sandbox::start(sandbox_config(demo)).await.context("the stand-in Discord")?);
        let listen = free_address().context("a port for the agent")?;
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move {
            // A stage that is gone stops the agent, too.
            let _ = stopped.await;
        };
        let agent = tokio::spawn(agent::run(agent_config(demo, &sandbox, listen, &data.0), shutdown));
        let mishaps = tokio::spawn(mishaps(Arc::clone(&sandbox), demo.shards));
        Ok(Self { sandbox, stop, agent, mishaps, listen, data })
    }

    async fn play(mut self, demo: &Demo) -> anyhow::Result<ExitCode> {
        let connected = self.sandbox.connected(demo.shards as usize, READY.max(START * 4));
        tokio::select! {
            connected = connected => anyhow::ensure!(connected, "not all shards connected: {:?}", self.sandbox.status()),
            ended = &mut self.agent => ended.context("the agent panicked")??,
        }
        sleep(Duration::from_secs(demo.seconds)).await;
        let verdict = self.strike().await?;
        println!("{}", serde_json::to_string(&verdict)?);
        Ok(code(&verdict))
    }

    async fn show(self, options: app::Options) -> anyhow::Result<ExitCode> {
        let address = Address::parse(&format!("ws://{}", self.listen), false).map_err(anyhow::Error::msg)?;
        let token = Token::new(None, &address, &self.data.0);
        let left = app::run(Peer { address, token, trust: None }, options).await?;
        eprintln!("settling …");
        let verdict = self.strike().await?;
        println!(
            "demo over: {} events sent, {} received, {} lost, {} doubled, {} out of order; p50 {:.1} ms, p99 {:.1} ms",
            verdict.sent,
            verdict.received,
            verdict.lost,
            verdict.doubled,
            verdict.out_of_order,
            verdict.p50_ms,
            verdict.p99_ms
        );
        Ok(if left == 0 { code(&verdict) } else { ExitCode::from(u8::try_from(left).unwrap_or(1)) })
    }

    /// Ends the traffic, lets the last events arrive, and takes everything down.
    async fn strike(self) -> anyhow::Result<Verdict> {
        self.mishaps.abort();
        self.sandbox.stop_traffic();
        self.sandbox.settle(SETTLE).await;
        let verdict = self.sandbox.verdict();
        // An agent that has ended needs no telling.
        let _ = self.stop.send(());
        timeout(SETTLE, self.agent).await.context("the agent does not end")?.context("the agent panicked")??;
        Ok(verdict)
    }
}

fn code(verdict: &Verdict) -> ExitCode {
    if verdict.lost > 0 || verdict.received == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn sandbox_config(demo: &Demo) -> SandboxConfig {
    let max_concurrency = if demo.shards <= 512 { 16 } else { 128 };
    SandboxConfig {
        guilds: guilds(demo),
        shards: demo.shards,
        max_concurrency,
        identify_window: window(demo.shards, max_concurrency),
        heartbeat_interval: Duration::from_secs(10),
        rate: Rate::PerSecond(f64::from(demo.rate)),
        session_starts: pilothouse_sandbox::SessionStarts {
            total: demo.shards.saturating_mul(4).max(1_000),
            remaining: demo.shards.saturating_mul(4).max(1_000),
            ..Default::default()
        },
        ..SandboxConfig::default()
    }
}

fn guilds(demo: &Demo) -> u32 {
    demo.guilds.unwrap_or(demo.shards.saturating_mul(10))
}

/// Between two identifies of one bucket; at most half a second, so that a small demo is lively at once.
fn window(shards: u32, max_concurrency: u32) -> Duration {
    (START / shards.div_ceil(max_concurrency)).min(Duration::from_millis(500))
}

fn agent_config(demo: &Demo, sandbox: &Sandbox, listen: SocketAddr, data: &Path) -> Config {
    let window = window(demo.shards, sandbox_config(demo).max_concurrency);
    let mut config = Config {
        rest_url: sandbox.rest_url().to_owned(),
        shards: ShardCount::Auto,
        intents: pilothouse_sandbox::intents::ALL,
        sinks: vec![SinkConfig::Http(HttpConfig::new([sandbox.bot_url()]))],
        data_dir: data.to_owned(),
        listen,
        name: "demo-1".to_owned(),
        fleet: "demo".to_owned(),
        embedded: true,
        note: Some(format!("demo: a stand-in for Discord; identify window {} ms instead of 5 s", window.as_millis())),
        ..Config::new(SandboxConfig::default().token)
    };
    config.gateway.identify_interval = window + window / 10;
    config
}

/// What happens to real bots, to one shard at a time: a reconnect, a reset, a session to resume or to give up.
async fn mishaps(sandbox: Arc<Sandbox>, shards: u32) {
    let kinds = [
        FaultKind::Reconnect,
        FaultKind::Reset,
        FaultKind::Close { code: 4000 },
        FaultKind::InvalidSession { resumable: true },
    ];
    for (number, kind) in (1_u32..).zip(kinds.into_iter().cycle()) {
        sleep(MISHAP_EVERY).await;
        // Rarely, so that no shard looks like one that identifies in a loop.
        let kind = if number % FINAL_EVERY == 0 { FaultKind::Close { code: 4009 } } else { kind };
        sandbox.fault(Fault::now(kind).on([fastrand::u32(..shards)]));
    }
}

fn free_address() -> std::io::Result<SocketAddr> {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// The agent is supervised and comes back from a panic; its report goes to a file instead of the screen.
fn keep_panics_off_the_terminal(path: PathBuf) {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        if name == "main" || name.starts_with("console-") {
            return before(info);
        }
        let file = OpenOptions::new().create(true).append(true).open(&path);
        // There is nowhere left to tell that the report cannot be written.
        let _ = file.and_then(|mut file| writeln!(file, "{name}: {info}"));
    }));
}

/// A temporary folder, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn create() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("pilothouse-demo-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The system clears its temporary folder in time.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_size_starts_soon() {
        for (shards, max_concurrency) in [(1, 16), (64, 16), (512, 16), (5_000, 128), (20_000, 128)] {
            let all = window(shards, max_concurrency) * shards.div_ceil(max_concurrency);
            assert!(all <= START, "{shards} shards: {all:?}");
        }
    }
}
