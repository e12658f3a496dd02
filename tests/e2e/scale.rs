//! Many shards in one agent process: a start, the loss of every connection at once, and back.

use std::time::Duration;

use pilothouse_sandbox::{FaultKind, Rate, SandboxConfig, SessionStarts};
use pilothouse_tests::{eventually, full, raise_open_files};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::setup::{PATIENCE, config, connected, sandbox_config, start, verdict};

const RATE: f64 = 1_000.0;

#[tokio::test(flavor = "multi_thread")]
async fn the_loss_of_every_connection_at_once_costs_no_identify_and_no_event() {
    raise_open_files();
    let shards: u32 = if full() { 1_000 } else { 300 };
    // At this size a heartbeat every 1.5 s would be the load.
    let heartbeat_interval = Duration::from_secs(20);
    let rate = Rate::PerSecond(0.0);
    let session_starts = SessionStarts { total: shards * 2, remaining: shards * 2, ..SessionStarts::default() };
    let config_of_size = SandboxConfig { heartbeat_interval, rate, session_starts, ..sandbox_config(shards, RATE) };
    let sandbox = start(config_of_size).await;
    let data = TempDir::new().expect("a temporary folder");
    let mut config = config(&sandbox, &data, shards);
    // This many on one busy machine reach the sandbox with more jitter than a short window allows.
    config.gateway.identify_interval = Duration::from_millis(200);
    let agent = connected(&sandbox, config, shards as usize).await;
    sandbox.set_rate(Rate::PerSecond(RATE));
    sleep(Duration::from_secs(1)).await;
    sandbox.fault(FaultKind::Reset);
    eventually("every session is resumed", PATIENCE, || sandbox.status().resumes >= u64::from(shards)).await;
    assert!(sandbox.connected(shards as usize, PATIENCE).await, "{:?}", sandbox.status());
    sleep(Duration::from_secs(1)).await;
    let verdict = verdict(&sandbox).await;
    assert!(verdict.clean() && verdict.unreplayable.total() == 0, "{verdict:?}");
    assert_eq!(sandbox.status().identifies, u64::from(shards), "a resumable session was given up");
    agent.stop().await.expect("a clean end");
}
