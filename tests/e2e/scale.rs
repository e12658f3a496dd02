//! Many shards in one agent process: a start, the loss of every connection at once, and back.

use std::time::{Duration, Instant};

use pilothouse_sandbox::{FaultKind, Rate, SandboxConfig, SessionStarts};
use pilothouse_tests::{AgentProcess, eventually, full, raise_open_files};
use tempfile::TempDir;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::setup::{PATIENCE, config, sandbox_config, start, verdict};

const RATE: f64 = 1_000.0;
/// Identifies in one window.
const MAX_CONCURRENCY: u32 = 64;
const WINDOW: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn the_loss_of_every_connection_at_once_costs_no_identify_and_no_event() {
    raise_open_files();
    let shards: u32 = if full() { 5_000 } else { 300 };
    let all = u64::from(shards);
    let sandbox = start(SandboxConfig {
        max_concurrency: MAX_CONCURRENCY,
        identify_window: WINDOW,
        // At this size a heartbeat every 1.5 s would be the load.
        heartbeat_interval: Duration::from_secs(30),
        rate: Rate::PerSecond(0.0),
        session_starts: SessionStarts { total: shards * 2, remaining: shards * 2, ..SessionStarts::default() },
        strict: true,
        ..sandbox_config(shards, RATE)
    })
    .await;
    let data = TempDir::new().expect("a temporary folder");
    let mut config = config(&sandbox, &data, shards);
    // This many on one busy machine reach the sandbox with more jitter than a short window allows.
    config.gateway.identify_interval = WINDOW * 3;
    let patience = PATIENCE + WINDOW * 6 * shards.div_ceil(MAX_CONCURRENCY);

    let begun = Instant::now();
    let agent = AgentProcess::start_quiet(&config);
    eventually("every shard is ready", patience, || sandbox.status().readies >= all).await;
    let started = begun.elapsed();
    sandbox.set_rate(Rate::PerSecond(RATE));
    sleep(Duration::from_secs(2)).await;
    let begun = Instant::now();
    sandbox.fault(FaultKind::Reset);
    eventually("every session is resumed", patience, || sandbox.status().resumes >= all).await;
    let back = begun.elapsed();
    assert!(sandbox.connected(shards as usize, PATIENCE).await, "{:?}", sandbox.status());
    sleep(Duration::from_secs(2)).await;

    let verdict = verdict(&sandbox).await;
    println!(
        "{shards} shards in one agent: all ready after {started:.1?}, all back {back:.1?} after the storm: {verdict:?}"
    );
    assert!(verdict.clean() && verdict.unreplayable.total() == 0, "{verdict:?}");
    assert_eq!(sandbox.status().identifies, all, "a resumable session was given up");
    let ended_well = spawn_blocking(move || agent.terminate()).await.expect("it ends");
    assert!(ended_well, "the agent did not end well after SIGTERM");
}
