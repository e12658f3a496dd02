//! What the tests that span crates share: an agent beside a sandbox, in this process or as the real program.

pub mod brokers;
mod lone;

pub use lone::LoneWorker;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pilothouse_agent::agent::{self, Failure};
use pilothouse_agent::config::{Compression, Config, HttpConfig, ShardCount, SinkConfig, StagesConfig};
use pilothouse_sandbox::Sandbox;
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

/// An agent in this process.
pub struct Agent {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), Failure>>,
}

impl Agent {
    /// Starts it.
    pub fn start(config: Config) -> Self {
        // A second start in one process finds the provider installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
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

/// The agent's program in a process of its own; killed when dropped.
pub struct AgentProcess(Child);

impl AgentProcess {
    /// Starts `pilothouse-agent run` with what `config` says, as environment and file.
    pub fn start(config: &Config) -> Self {
        Self::spawn(Self::command(config).stderr(Stdio::piped()))
    }

    /// The same with nobody to read what it says: only errors, which go where this process's go.
    pub fn start_quiet(config: &Config) -> Self {
        Self::spawn(Self::command(config).env("PILOTHOUSE_LOG", "error"))
    }

    fn spawn(command: &mut Command) -> Self {
        Self(command.spawn().expect("the agent's program starts"))
    }

    fn command(config: &Config) -> Command {
        let SinkConfig::Http(http) = &config.sinks[0] else { panic!("the sandbox's bot is told over HTTP") };
        let ShardCount::Count(shards) = config.shards else { panic!("tests choose their shard count") };
        let file = config.data_dir.join("pilothouse.toml");
        let interval = config.gateway.identify_interval.as_millis();
        let ca_file = config.gateway.ca_file.as_ref().map(|ca| format!("ca_file = {:?}\n", ca.path()));
        let ca_file = ca_file.unwrap_or_default();
        let stages = stages(&config.stages);
        std::fs::write(&file, format!("[gateway]\nidentify_interval = \"{interval}ms\"\n{ca_file}{stages}"))
            .expect("the data folder is there");
        let mut command = Command::new(program("pilothouse-agent"));
        command
            .arg("run")
            .env_clear()
            .env("TOKEN", config.token.expose())
            .env("REST_URL", &config.rest_url)
            .env("EVENT_HANDLER_URLS", http.urls.join(","))
            .env("PILOTHOUSE_DATA_DIR", &config.data_dir)
            .env("PILOTHOUSE_LISTEN", config.listen.to_string())
            .env("PILOTHOUSE_SHARDS", shards.to_string())
            .env("PILOTHOUSE_CONFIG", file)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Sends SIGTERM and waits until it is gone: whether it ended well.
    pub fn terminate(mut self) -> bool {
        let sent = Command::new("sh").args(["-c", "kill -TERM \"$0\"", &self.id().to_string()]).status();
        assert!(sent.is_ok_and(|sent| sent.success()), "a running process takes signals");
        self.0.wait().expect("it ends").success()
    }

    /// Files and sockets that it has open.
    pub fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.0.id())).expect("it runs").count()
    }

    /// Kills it with SIGKILL and waits until it is gone.
    pub fn kill(mut self) {
        self.0.kill().expect("a running process can be killed");
        self.0.wait().expect("a killed process ends");
    }

    /// Waits for it to end: exit code, and what it said on stderr.
    pub fn ended(mut self) -> (Option<i32>, String) {
        use std::io::Read;
        let mut said = String::new();
        let stderr = self.0.stderr.take().expect("stderr is piped");
        std::io::BufReader::new(stderr).read_to_string(&mut said).expect("stderr is text");
        (self.0.wait().expect("it ends").code(), said)
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The stages as a table of the configuration's file.
fn stages(config: &StagesConfig) -> String {
    let StagesConfig { enabled, prefixes, drop } = config;
    let enabled: Vec<&str> = enabled.iter().map(|name| name.name()).collect();
    let drop: Vec<&str> = drop.names().collect();
    format!("[stages]\nenabled = {enabled:?}\nprefixes = {prefixes:?}\ndrop = {drop:?}\n")
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
