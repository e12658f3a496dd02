//! The `ndjson` sink end to end, alone over restarts and beside a sink that does not deliver; the sandbox judges the file.

use std::path::Path;
use std::time::{Duration, Instant};

use pilothouse_agent::config::{Config, HttpConfig, NdjsonConfig, SinkConfig};
use pilothouse_sandbox::{Sandbox, SandboxConfig, Verdict};
use pilothouse_tests::{AgentProcess, full, told};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::setup::{PATIENCE, config, connected, sandbox_config, start, verdict};

const SHARDS: u32 = 4;
const FILE: &str = "events.ndjson";

/// A sandbox and an agent's configuration with a file as its sink.
async fn with_file() -> (Sandbox, TempDir, Config) {
    let sandbox = start(SandboxConfig { strict: true, ..sandbox_config(SHARDS, 800.0) }).await;
    let data = TempDir::new().expect("a temporary folder");
    let file = NdjsonConfig { path: Some(data.path().join(FILE)), ..NdjsonConfig::default() };
    let config = Config { sinks: vec![SinkConfig::Ndjson(file)], ..config(&sandbox, &data, SHARDS) };
    (sandbox, data, config)
}

/// Hands what the file holds to the sandbox, until that has everything. Each line is an object.
async fn judge(sandbox: &Sandbox, data: &Path) -> Verdict {
    sandbox.stop_traffic();
    let (begun, mut passed) = (Instant::now(), 0);
    while sandbox.status().outstanding > 0 && begun.elapsed() < PATIENCE {
        sleep(Duration::from_millis(200)).await;
        let text = std::fs::read(data.join(FILE)).expect("the sink writes it");
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in text[passed..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            if serde_json::from_slice::<serde_json::Value>(line).is_ok() {
                sandbox.received(line);
            }
        }
        passed = whole;
    }
    verdict(sandbox).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_gets_every_event_once_and_in_order_over_restarts() {
    let (sandbox, data, config) = with_file().await;
    let mut agent = connected(&sandbox, config.clone(), SHARDS as usize).await;
    for _ in 0..if full() { 10 } else { 3 } {
        sleep(Duration::from_millis(700)).await;
        agent.stop().await.expect("a clean end");
        agent = connected(&sandbox, config.clone(), SHARDS as usize).await;
    }
    sleep(Duration::from_millis(300)).await;
    let verdict = judge(&sandbox, data.path()).await;
    println!("a file over restarts: {}", told(&verdict));
    assert!(verdict.clean(), "{verdict:?}");
    agent.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_costs_a_file_no_event() {
    let (sandbox, data, config) = with_file().await;
    let mut random = fastrand::Rng::with_seed(3);
    let kills = if full() { 20 } else { 3 };
    for _ in 0..kills {
        let agent = AgentProcess::start_quiet(&config);
        assert!(sandbox.connected(SHARDS as usize, PATIENCE).await, "{:?}", sandbox.status());
        sleep(Duration::from_millis(random.u64(300..2_000))).await;
        agent.kill();
    }
    let agent = connected(&sandbox, config.clone(), SHARDS as usize).await;
    let verdict = judge(&sandbox, data.path()).await;
    println!("{kills} times kill -9, a file: {}", told(&verdict));
    assert_eq!((verdict.lost, verdict.out_of_order, verdict.unreplayable.total()), (0, 0, 0), "{verdict:?}");
    agent.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_does_not_deliver_keeps_nothing_from_another() {
    let (sandbox, data, mut config) = with_file().await;
    // Takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/", silent.local_addr().expect("it is bound"));
    config.sinks.push(SinkConfig::Http(HttpConfig { timeout: Duration::from_secs(3_600), ..HttpConfig::new([url]) }));
    let agent = connected(&sandbox, config, SHARDS as usize).await;
    sleep(Duration::from_secs(if full() { 30 } else { 4 })).await;
    let verdict = judge(&sandbox, data.path()).await;
    println!("a file beside a bot that hangs: {}", told(&verdict));
    assert!(verdict.clean() && verdict.unreplayable.total() == 0, "{verdict:?}");
    agent.stop().await.expect("a clean end");
}
