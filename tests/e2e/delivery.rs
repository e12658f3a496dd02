//! Every event reaches the bot once and in order, whatever the compression, also while the bot is away.

use std::time::Duration;

use pilothouse_agent::config::{Compression, Config, HttpConfig, SinkConfig};
use pilothouse_agent::gateway::kind::EventKind;
use pilothouse_sandbox::BotMode;
use pilothouse_tests::{AgentProcess, Control, eventually, free_address, full, told};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::setup::{PATIENCE, config, connected, sandbox, verdict};

const SHARDS: u32 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn every_event_arrives_once_and_in_order_with_any_compression() {
    for compression in [Compression::None, Compression::Zlib, Compression::Zstd] {
        let sandbox = sandbox(8, 1_000.0).await;
        let data = TempDir::new().expect("a temporary folder");
        let mut config = config(&sandbox, &data, 8);
        config.compression = compression;
        let agent = connected(&sandbox, config, 8).await;
        sleep(Duration::from_secs(2)).await;
        let verdict = verdict(&sandbox).await;
        assert!(verdict.clean() && verdict.received > 1_000, "{compression:?}: {verdict:?}");
        assert_eq!(verdict.unreplayable.total(), 0);
        agent.stop().await.expect("a clean end");
    }
}

/// How long a bot misbehaves.
fn trouble() -> Duration {
    Duration::from_secs(if full() { 30 } else { 3 })
}

async fn survives(mode: BotMode) {
    let sandbox = sandbox(SHARDS, 800.0).await;
    let data = TempDir::new().expect("a temporary folder");
    let agent = connected(&sandbox, config(&sandbox, &data, SHARDS), SHARDS as usize).await;
    sandbox.bot(mode);
    sleep(trouble()).await;
    sandbox.bot(BotMode::Up);
    sleep(Duration::from_secs(1)).await;
    let verdict = verdict(&sandbox).await;
    println!("{mode:?} for {:?}: {}", trouble(), told(&verdict));
    assert!(verdict.clean(), "{mode:?}: {verdict:?}");
    assert_eq!(verdict.unreplayable.total(), 0, "{mode:?}: {verdict:?}");
    agent.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_is_away_loses_nothing() {
    survives(BotMode::Down).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_fails_or_refuses_loses_nothing() {
    let status = |status, retry_after| survives(BotMode::Status { status, retry_after });
    tokio::join!(status(500, None), status(429, Some(1)), status(401, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_hangs_loses_nothing() {
    survives(BotMode::Hang).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_takes_a_third_of_what_comes_gets_everything_in_the_end() {
    const RATE: f64 = 1_000.0;
    let sandbox = sandbox(8, RATE).await;
    let data = TempDir::new().expect("a temporary folder");
    let mut config = Config { listen: free_address(), ..config(&sandbox, &data, 8) };
    // Two workers with 16 requests each, which take 96 ms: 333 a second.
    config.sinks = vec![SinkConfig::Http(HttpConfig { concurrency: 16, ..HttpConfig::new([sandbox.bot_url()]) })];
    let control = Control::of(&config);
    let agent = connected(&sandbox, config, 8).await;
    sandbox.bot(BotMode::Slow { ms: 96 });
    sleep(Duration::from_secs(if full() { 60 } else { 4 })).await;
    let row = control.sink("http", PATIENCE, |row| row.spooled > 500).await;
    let open = sandbox.status().outstanding;
    sandbox.bot(BotMode::Up);
    sleep(Duration::from_secs(1)).await;
    let verdict = verdict(&sandbox).await;
    println!("a third of the rate, {} in the spool, {open} behind: {}", row.spooled, told(&verdict));
    assert!(verdict.clean(), "{verdict:?}");
    agent.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expires_by_its_type_is_counted_and_nothing_else_is_missing() {
    const KIND: &str = "MESSAGE_CREATE";
    let sandbox = sandbox(SHARDS, 800.0).await;
    let data = TempDir::new().expect("a temporary folder");
    let mut config = Config { listen: free_address(), ..config(&sandbox, &data, SHARDS) };
    config.spool.expiry = vec![(EventKind::of(KIND.as_bytes()), Duration::from_secs(1))];
    let control = Control::of(&config);
    let agent = connected(&sandbox, config, SHARDS as usize).await;
    sandbox.bot(BotMode::Down);
    sleep(trouble()).await;
    sandbox.bot(BotMode::Up);
    sandbox.stop_traffic();
    // All that is on its way to the agent gets there before it is asked.
    sleep(Duration::from_secs(1)).await;
    let row = control.sink("http", PATIENCE, |row| (row.spooled, row.queued) == (0, 0)).await;
    eventually("nothing is missing but these", PATIENCE, || sandbox.verdict().lost == row.expired).await;
    assert!(row.expired > 0, "{row:?}");
    assert_eq!(sandbox.expired(KIND, row.expired), row.expired, "others are missing");
    let verdict = sandbox.verdict();
    println!("{} of {} expired: {}", verdict.expired, verdict.by_type[KIND].sent, told(&verdict));
    assert!(verdict.clean() && verdict.expired == row.expired, "{verdict:?}");
    assert_eq!(verdict.received + verdict.expired, verdict.sent);
    agent.stop().await.expect("a clean end");
}

/// At 5,000 events a second what waits goes to the disk, not into memory.
#[tokio::test(flavor = "multi_thread")]
async fn while_the_bot_is_away_memory_stays_bounded() {
    if !full() {
        return;
    }
    const MIB: u64 = 1 << 20;
    let sandbox = sandbox(16, 5_000.0).await;
    let data = TempDir::new().expect("a temporary folder");
    let config = Config { listen: free_address(), ..config(&sandbox, &data, 16) };
    let control = Control::of(&config);
    let agent = AgentProcess::start_quiet(&config);
    assert!(sandbox.connected(16, PATIENCE).await, "{:?}", sandbox.status());
    sleep(Duration::from_secs(5)).await;
    let before = agent.resident();
    sandbox.bot(BotMode::Down);
    let mut highest = before;
    for _ in 0..60 {
        sleep(Duration::from_secs(1)).await;
        highest = highest.max(agent.resident());
    }
    let row = control.sink("http", PATIENCE, |row| row.spooled > 100_000).await;
    sandbox.stop_traffic();
    sandbox.bot(BotMode::Up);
    control.done("sink http drain").await;
    sandbox.settle(PATIENCE * 4).await;
    let verdict = verdict(&sandbox).await;
    let (before, highest, after) = (before / MIB, highest / MIB, agent.resident() / MIB);
    println!("memory: {before} MiB, at most {highest} MiB with {} spooled, {after} MiB drained", row.spooled);
    println!("60 s at 5,000 events/s: {}", told(&verdict));
    assert!(verdict.clean(), "{verdict:?}");
    assert!(highest < before + 64, "{before} MiB became {highest} MiB");
}
