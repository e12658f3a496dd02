//! A bot that is away while 5,000 events a second come: the real program against the sandbox, which runs in this process.
//! What it takes in memory and on disk meanwhile, how fast it spools and drains, and what is lost.

use std::time::{Duration, Instant};

use anyhow::ensure;
use pilothouse_sandbox::{BotMode, Rate, Sandbox, SandboxConfig};
use pilothouse_tests::{AgentProcess, Control, free_address, raise_open_files, told};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{MIB, taken};

const SHARDS: u32 = 16;
const RATE: f64 = 5_000.0;
const SETTLING: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(200);

/// Runs the stage, away for `outage`, and prints it.
pub(crate) fn run(outage: Duration) -> anyhow::Result<()> {
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(stage(outage))
}

async fn stage(outage: Duration) -> anyhow::Result<()> {
    let discord = SandboxConfig {
        shards: SHARDS,
        guilds: SHARDS * 10,
        max_concurrency: 16,
        identify_window: Duration::from_millis(100),
        rate: Rate::PerSecond(RATE),
        ..SandboxConfig::default()
    };
    let (sandbox, data) = (Sandbox::start(discord).await?, TempDir::new()?);
    let mut config = pilothouse_tests::config(&sandbox, &data, SHARDS);
    config.listen = free_address();
    config.gateway.identify_interval = Duration::from_millis(120);
    config.spool.max_bytes = 64 << 30;
    let (agent, control) = (AgentProcess::start_quiet(&config), Control::of(&config));
    ensure!(sandbox.connected(SHARDS as usize, SETTLING * 3).await, "not all shards connect");
    sleep(SETTLING).await;
    let resident = || agent.resident() as f64 / MIB;
    let before = resident();
    sandbox.bot(BotMode::Down);
    let (begin, sent) = (Instant::now(), sandbox.verdict().sent);
    let mut most = before;
    while begin.elapsed() < outage {
        sleep(LOOK).await;
        most = most.max(resident());
    }
    let row = control.sink("http", SETTLING, |row| row.spooled > 0).await;
    let (away, disk) = (begin.elapsed().as_secs_f64(), taken(&data.path().join("spool"))? as f64 / MIB);
    let sent = (sandbox.verdict().sent - sent) as f64;
    sandbox.stop_traffic();
    sandbox.bot(BotMode::Up);
    control.done("sink http drain").await;
    let begin = Instant::now();
    ensure!(sandbox.settle(outage * 10).await, "not drained: {}", told(&sandbox.verdict()));
    let drained = begin.elapsed().as_secs_f64();
    println!(
        "| the bot is away for | events/s sent | spooled | a second | disk MiB | RSS MiB: before | most, away | drained | drain s | events/s | lost |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    println!(
        "| {away:.0} s | {:.0} | {} | {:.0} | {disk:.0} | {before:.0} | {most:.0} | {:.0} | {drained:.0} | {:.0} | {} |\n",
        sent / away,
        row.spooled,
        row.spooled as f64 / away,
        resident(),
        row.spooled as f64 / drained,
        sandbox.verdict().lost
    );
    println!("{}", told(&sandbox.verdict()));
    Ok(())
}
