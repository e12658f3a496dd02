//! Restarts of the agent, planned and by kill -9, in the sandbox's strict mode: sessions are resumed, nothing is lost.

use std::time::Duration;

use pilothouse_agent::config::Config;
use pilothouse_sandbox::{Sandbox, SandboxConfig};
use pilothouse_tests::{AgentProcess, full};
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
async fn kill_9_under_load_loses_nothing() {
    let (sandbox, data) = strict().await;
    let config = config(&sandbox, &data, SHARDS);
    let mut random = fastrand::Rng::with_seed(9);
    for _ in 0..if full() { 20 } else { 4 } {
        let agent = AgentProcess::start(&config);
        assert!(sandbox.connected(SHARDS as usize, PATIENCE).await, "{:?}", sandbox.status());
        sleep(Duration::from_millis(random.u64(600..2_500))).await;
        agent.kill();
    }
    let agent = AgentProcess::start(&config);
    assert!(sandbox.connected(SHARDS as usize, PATIENCE).await, "{:?}", sandbox.status());
    sleep(Duration::from_millis(500)).await;
    let verdict = verdict(&sandbox).await;
    assert_eq!((verdict.lost, verdict.unreplayable.total(), verdict.unknown), (0, 0, 0), "{verdict:?}");
    assert_eq!(sandbox.status().identifies, u64::from(SHARDS), "a session was given up");
    agent.kill();
}
