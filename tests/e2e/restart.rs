//! Restarts of the agent, planned and by kill -9, in the sandbox's strict mode: sessions are resumed, nothing is lost.

use std::time::Duration;

use pilothouse_agent::config::{Config, HttpConfig, SinkConfig, WhenFull};
use pilothouse_sandbox::{BotMode, Fault, FaultKind, Sandbox, SandboxConfig, Verdict};
use pilothouse_tests::{AgentProcess, Control, eventually, free_address, full, told};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::setup::{PATIENCE, config, connected, sandbox_config, start, verdict};

const SHARDS: u32 = 8;

/// Discord forgets whatever a heartbeat or a resume says was received.
async fn strict() -> (Sandbox, TempDir) {
    let sandbox = start(SandboxConfig { strict: true, ..sandbox_config(SHARDS, 800.0) }).await;
    (sandbox, TempDir::new().expect("a temporary folder"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_restart_costs_no_identify_and_no_event() {
    let (sandbox, data) = strict().await;
    let config: Config = config(&sandbox, &data, SHARDS);
    let mut agent = connected(&sandbox, config.clone(), SHARDS as usize).await;
    for _ in 0..3 {
        sleep(Duration::from_millis(700)).await;
        agent.stop().await.expect("a clean end");
        agent = connected(&sandbox, config.clone(), SHARDS as usize).await;
    }
    let verdict = verdict(&sandbox).await;
    assert!(verdict.clean(), "{verdict:?}");
    assert_eq!(sandbox.status().identifies, u64::from(SHARDS));
    agent.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_wrong_url_left_in_a_full_spool_goes_to_the_right_one() {
    let (sandbox, data) = strict().await;
    let mut right = Config { listen: free_address(), ..config(&sandbox, &data, SHARDS) };
    right.spool.max_bytes = 512 << 10;
    right.spool.when_full = WhenFull::Hold;
    let nobody = HttpConfig::new([format!("http://{}/", free_address())]);
    let wrong = Config { sinks: vec![SinkConfig::Http(nobody)], ..right.clone() };
    let control = Control::of(&wrong);
    let agent = connected(&sandbox, wrong, SHARDS as usize).await;
    control.sink("http", PATIENCE, |row| row.state.contains("the spool is full")).await;
    agent.stop().await.expect("a clean end");
    let agent = connected(&sandbox, right, SHARDS as usize).await;
    let verdict = verdict(&sandbox).await;
    assert!(verdict.clean(), "{verdict:?}");
    agent.stop().await.expect("a clean end");
}

/// The agent in a process of its own, with every shard connected.
async fn running(sandbox: &Sandbox, config: &Config) -> AgentProcess {
    let agent = AgentProcess::start_quiet(config);
    assert!(sandbox.connected(SHARDS as usize, PATIENCE).await, "{:?}", sandbox.status());
    agent
}

/// Each event came, a guild's in order.
fn complete(verdict: &Verdict) -> bool {
    verdict.lost + verdict.out_of_order + verdict.unknown == 0
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_under_load_loses_nothing() {
    let (sandbox, data) = strict().await;
    let config = config(&sandbox, &data, SHARDS);
    let mut random = fastrand::Rng::with_seed(9);
    let kills = if full() { 20 } else { 4 };
    for _ in 0..kills {
        let agent = running(&sandbox, &config).await;
        sleep(Duration::from_millis(random.u64(600..2_500))).await;
        agent.kill();
    }
    let agent = running(&sandbox, &config).await;
    sleep(Duration::from_millis(500)).await;
    let verdict = verdict(&sandbox).await;
    println!("{kills} times kill -9, http: {}", told(&verdict));
    assert!(complete(&verdict) && verdict.unreplayable.total() == 0, "{verdict:?}");
    assert_eq!(sandbox.status().identifies, u64::from(SHARDS), "a session was given up");
    agent.kill();
}

/// Discord has forgotten what is in the spool: only the spool has it.
#[tokio::test(flavor = "multi_thread")]
async fn kill_9_while_the_bot_is_away_loses_nothing() {
    let (sandbox, data) = strict().await;
    let config = config(&sandbox, &data, SHARDS);
    let mut random = fastrand::Rng::with_seed(7);
    let agent = running(&sandbox, &config).await;
    sleep(Duration::from_secs(1)).await;
    sandbox.bot(BotMode::Down);
    sleep(Duration::from_secs(2)).await;
    agent.kill();
    let kills = if full() { 20 } else { 2 };
    for _ in 1..kills {
        let agent = running(&sandbox, &config).await;
        sleep(Duration::from_millis(random.u64(300..2_500))).await;
        agent.kill();
    }
    let agent = running(&sandbox, &config).await;
    sandbox.bot(BotMode::Up);
    sleep(Duration::from_secs(1)).await;
    let verdict = verdict(&sandbox).await;
    println!("{kills} times kill -9 while the spool fills: {}", told(&verdict));
    assert!(verdict.clean() && verdict.unreplayable.total() == 0, "{verdict:?}");
    agent.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_while_a_backlog_is_delivered_loses_nothing() {
    let (sandbox, data) = strict().await;
    let mut config = config(&sandbox, &data, SHARDS);
    config.spool.drain_rate = 300;
    let mut random = fastrand::Rng::with_seed(11);
    let mut agent = running(&sandbox, &config).await;
    sandbox.bot(BotMode::Down);
    sleep(Duration::from_secs(if full() { 10 } else { 3 })).await;
    sandbox.bot(BotMode::Up);
    let kills = if full() { 10 } else { 3 };
    for _ in 0..kills {
        sleep(Duration::from_millis(random.u64(300..1_200))).await;
        agent.kill();
        agent = running(&sandbox, &config).await;
    }
    let verdict = verdict(&sandbox).await;
    println!("{kills} times kill -9 while a backlog is delivered: {}", told(&verdict));
    assert!(complete(&verdict) && verdict.unreplayable.total() == 0, "{verdict:?}");
    agent.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn planned_restarts_while_a_backlog_is_delivered_double_nothing() {
    let (sandbox, data) = strict().await;
    let mut config = config(&sandbox, &data, SHARDS);
    config.spool.drain_rate = 300;
    let mut agent = connected(&sandbox, config.clone(), SHARDS as usize).await;
    sandbox.bot(BotMode::Down);
    sleep(Duration::from_secs(3)).await;
    sandbox.bot(BotMode::Up);
    for _ in 0..3 {
        sleep(Duration::from_millis(700)).await;
        agent.stop().await.expect("a clean end");
        agent = connected(&sandbox, config.clone(), SHARDS as usize).await;
    }
    let verdict = verdict(&sandbox).await;
    println!("3 planned restarts while a backlog is delivered: {}", told(&verdict));
    assert!(verdict.clean() && verdict.unreplayable.total() == 0, "{verdict:?}");
    agent.stop().await.expect("a clean end");
}

/// Discord ends every session while the bot is away; with `kill`, the agent dies once it has new ones.
async fn survives_the_end_of_its_sessions(kill: bool) {
    let (sandbox, data) = strict().await;
    let config = config(&sandbox, &data, SHARDS);
    let mut agent = running(&sandbox, &config).await;
    sleep(Duration::from_millis(500)).await;
    sandbox.bot(BotMode::Hang);
    for round in 2..if full() { 8 } else { 4 } {
        // Before and after the unconfirmed ones are in the spool for their age.
        sleep(Duration::from_millis(if round % 2 == 0 { 400 } else { 1_700 })).await;
        sandbox.fault(Fault::now(FaultKind::InvalidSession { resumable: false }));
        eventually("new sessions", PATIENCE, || sandbox.status().readies >= round * u64::from(SHARDS)).await;
        if kill {
            // Until the new sessions are stored, nobody could come back to them.
            sleep(Duration::from_millis(200)).await;
            agent.kill();
            agent = running(&sandbox, &config).await;
        }
    }
    sandbox.bot(BotMode::Up);
    sleep(Duration::from_secs(1)).await;
    let verdict = verdict(&sandbox).await;
    println!("sessions ended while the bot is away, then killed {kill}: {}", told(&verdict));
    assert!(verdict.clean(), "{verdict:?}");
    agent.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_discord_ends_while_the_bot_is_away_lose_nothing() {
    survives_the_end_of_its_sessions(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_with_kill_9_right_after() {
    survives_the_end_of_its_sessions(true).await;
}
