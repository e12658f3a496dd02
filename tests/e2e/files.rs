//! The `ndjson` sink end to end, alone over restarts and beside a sink that does not deliver; the sandbox judges the file.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pilothouse_agent::config::{Config, HttpConfig, NdjsonConfig, SinkConfig};
use pilothouse_sandbox::{Sandbox, SandboxConfig, Verdict};
use pilothouse_tests::{AgentProcess, full, told};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::setup::{PATIENCE, config, connected, sandbox_config, start, verdict};

const SHARDS: u32 = 4;
const RATE: f64 = 800.0;
const FILE: &str = "events.ndjson";

/// A sandbox and an agent's configuration with a file as its sink.
async fn with_file() -> (Sandbox, TempDir, Config) {
    let sandbox = start(SandboxConfig { strict: true, ..sandbox_config(SHARDS, RATE) }).await;
    let data = TempDir::new().expect("a temporary folder");
    let file = NdjsonConfig { path: Some(data.path().join(FILE)), ..NdjsonConfig::default() };
    let config = Config { sinks: vec![SinkConfig::Ndjson(file)], ..config(&sandbox, &data, SHARDS) };
    (sandbox, data, config)
}

/// Reads the file while it is written, as `tail -f` does, and hands its lines to the sandbox.
struct Tail<'a> {
    sandbox: &'a Sandbox,
    path: PathBuf,
    passed: usize,
}

impl<'a> Tail<'a> {
    fn new(sandbox: &'a Sandbox, data: &Path) -> Self {
        Self { sandbox, path: data.join(FILE), passed: 0 }
    }

    async fn follow(&mut self, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            sleep(Duration::from_millis(100)).await;
            self.read();
        }
    }

    fn read(&mut self) {
        let text = std::fs::read(&self.path).unwrap_or_default();
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in text[self.passed..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            // One that kill -9 has cut is no event.
            if is_whole(line) {
                self.sandbox.received(line);
            }
        }
        self.passed = whole;
    }

    /// What the file comes to in the end.
    async fn judge(&mut self) -> Verdict {
        self.sandbox.stop_traffic();
        let begun = Instant::now();
        while self.sandbox.status().outstanding > 0 && begun.elapsed() < PATIENCE {
            self.follow(Duration::from_millis(200)).await;
        }
        verdict(self.sandbox).await
    }
}

fn is_whole(line: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(line).is_ok()
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
    let verdict = Tail::new(&sandbox, data.path()).judge().await;
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
    let verdict = Tail::new(&sandbox, data.path()).judge().await;
    println!("{kills} times kill -9, a file: {}", told(&verdict));
    assert_eq!((verdict.lost, verdict.out_of_order, verdict.unreplayable.total()), (0, 0, 0), "{verdict:?}");
    agent.stop().await.expect("a clean end");
}

/// The half line that kill -9 or an empty battery left is not continued.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_was_cut_costs_no_other() {
    const CUT: &str = "{\"payload\":{\"op\":0,\"t\":\"MESS";
    let (sandbox, data, config) = with_file().await;
    std::fs::write(data.path().join(FILE), CUT).expect("it is written");
    let agent = connected(&sandbox, config, SHARDS as usize).await;
    sleep(Duration::from_millis(500)).await;
    agent.stop().await.expect("a clean end");
    let text = std::fs::read_to_string(data.path().join(FILE)).expect("it is there");
    let (first, rest) = text.split_once('\n').expect("events follow");
    assert_eq!(first, CUT);
    assert!(!rest.is_empty() && rest.lines().all(|line| is_whole(line.as_bytes())), "{rest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_does_not_deliver_keeps_nothing_from_another() {
    let (sandbox, data, mut config) = with_file().await;
    // Takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/", silent.local_addr().expect("it is bound"));
    config.sinks.push(SinkConfig::Http(HttpConfig { timeout: Duration::from_secs(3_600), ..HttpConfig::new([url]) }));
    let agent = connected(&sandbox, config, SHARDS as usize).await;
    let mut tail = Tail::new(&sandbox, data.path());
    for _ in 0..if full() { 30 } else { 4 } {
        tail.follow(Duration::from_secs(1)).await;
        let open = sandbox.status().outstanding;
        assert!(open < RATE as u64, "{open} events are not in the file yet");
    }
    let verdict = tail.judge().await;
    println!("a file beside a bot that hangs: {}", told(&verdict));
    assert!(verdict.clean() && verdict.unreplayable.total() == 0, "{verdict:?}");
    agent.stop().await.expect("a clean end");
}
