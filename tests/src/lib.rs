//! What the tests that span crates share: an agent beside a sandbox, in this process or as the real program.

pub mod authority;
pub mod brokers;
mod control;
mod lone;
mod process;

pub use control::Control;
pub use lone::LoneWorker;
pub use process::AgentProcess;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use pilothouse_agent::agent::{self, Failure};
use pilothouse_agent::config::{Compression, Config, HttpConfig, ShardCount, SinkConfig};
use pilothouse_sandbox::{Sandbox, Verdict};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

#[path = "../../agent/src/limits.rs"]
mod limits;

/// Raises this process's limit on open files as far as it may: a shard is two of them, its own and the sandbox's.
pub fn raise_open_files() -> Option<u64> {
    limits::raise_open_files()
}

/// Whether the long tier runs (`./tests/run --full`).
pub fn full() -> bool {
    std::env::var_os("PILOTHOUSE_FULL").is_some()
}

/// A configuration for `sandbox`: its token, its bot as the only sink, data in `data`, `shards` shards.
pub fn config(sandbox: &Sandbox, data: &TempDir, shards: u32) -> Config {
    Config {
        rest_url: sandbox.rest_url().to_owned(),
        shards: ShardCount::Count(shards),
        sinks: vec![SinkConfig::Http(HttpConfig::new([sandbox.bot_url()]))],
        data_dir: data.path().to_owned(),
        // Any free port; a test that asks the agent chooses one.
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        workers: 2,
        compression: Compression::Zlib,
        ..Config::new("sandbox-token")
    }
}

/// An address on loopback that nobody listens on now.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
    listener.local_addr().expect("a bound listener has an address")
}

/// What TLS and HTTP clients compute with, in this process.
fn install_crypto() {
    // The second call finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// An agent in this process.
pub struct Agent {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), Failure>>,
}

impl Agent {
    /// Starts it.
    pub fn start(config: Config) -> Self {
        install_crypto();
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move {
            let _ = stopped.await;
        };
        Self { stop, task: tokio::spawn(agent::run(config, shutdown)) }
    }

    /// Shuts it down as SIGTERM would.
    pub async fn stop(self) -> Result<(), Failure> {
        let _ = self.stop.send(());
        self.task.await.expect("the agent does not panic")
    }

    /// Whether it has ended by itself; [`Agent::ended`] tells why.
    pub fn is_over(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits for it to end by itself.
    pub async fn ended(self) -> Result<(), Failure> {
        self.task.await.expect("the agent does not panic")
    }
}

/// A verdict as the line that is reported.
pub fn told(verdict: &Verdict) -> String {
    let Verdict { sent, lost, expired, doubled, out_of_order, max_ms, .. } = verdict;
    let excused = verdict.unreplayable.total();
    format!(
        "{sent} events, {lost} lost, {expired} expired, {doubled} doubled, {out_of_order} out of order, {excused} excused, \
         the longest took {max_ms:.0} ms"
    )
}

/// A program of this workspace, built beside the test that asks.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its path");
    let folder = test.ancestors().find(|folder| folder.ends_with("release")).expect("tests run in the release profile");
    let path = folder.join(name);
    assert!(path.exists(), "{} is not built: cargo build --release --workspace --bins", path.display());
    path
}

/// Waits until `reached`, at most `limit`.
pub async fn eventually(what: &str, limit: Duration, mut reached: impl FnMut() -> bool) {
    let start = Instant::now();
    while !reached() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
