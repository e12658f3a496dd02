//! The agent as its users run it: a process, told by environment and file what a test's configuration says.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use pilothouse_agent::config::{
    AmqpConfig, Config, ControlConfig, HttpConfig, NatsConfig, NdjsonConfig, RouteBy, ShardCount,
};
use pilothouse_agent::config::{SinkConfig, SpoolConfig, StagesConfig, Unroutable, WhenFull};

use crate::program;

/// The agent's program in a process of its own; killed when dropped.
pub struct AgentProcess(Child);

impl AgentProcess {
    /// Starts `pilothouse-agent run` with what `config` says of shards, sinks, spool and stages.
    pub fn start(config: &Config) -> Self {
        Self::spawn(Self::command(config).stderr(Stdio::piped()))
    }

    /// The same with nobody to read what it says: only errors, which go where this process's go.
    pub fn start_quiet(config: &Config) -> Self {
        Self::spawn(Self::command(config).env("PILOTHOUSE_LOG", "error"))
    }

    /// The same, telling all of `level` and above in `said`.
    pub fn start_told(config: &Config, level: &str, said: File) -> Self {
        Self::spawn(Self::command(config).env("PILOTHOUSE_LOG", level).stderr(said))
    }

    fn spawn(command: &mut Command) -> Self {
        Self(command.spawn().expect("the agent's program starts"))
    }

    fn command(config: &Config) -> Command {
        let ShardCount::Count(shards) = config.shards else { panic!("tests choose their shard count") };
        let file = config.data_dir.join("pilothouse.toml");
        std::fs::write(&file, toml(config)).expect("the data folder is there");
        let mut command = Command::new(program("pilothouse-agent"));
        command
            .arg("run")
            .env_clear()
            .env("TOKEN", config.token.expose())
            .env("REST_URL", &config.rest_url)
            .env("PILOTHOUSE_DATA_DIR", &config.data_dir)
            .env("PILOTHOUSE_LISTEN", config.listen.to_string())
            .env("PILOTHOUSE_SHARDS", shards.to_string())
            .env("PILOTHOUSE_CONFIG", file)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if let Some(authorization) = &config.authorization {
            command.env("AUTHORIZATION", authorization.expose());
        }
        command
    }

    /// Bytes of memory that it has resident.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("Linux tells it");
        let kib: u64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number");
        kib << 10
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

/// What the environment does not tell, as the configuration's file.
fn toml(config: &Config) -> String {
    let ca_file = config.gateway.ca_file.as_ref().map(|ca| format!("ca_file = {:?}\n", ca.path()));
    let interval = millis(config.gateway.identify_interval);
    let sinks: String = config.sinks.iter().map(sink).collect();
    let (ca_file, spool, stages) = (ca_file.unwrap_or_default(), spool(&config.spool), stages(&config.stages));
    let control = control(&config.control);
    format!("[gateway]\nidentify_interval = {interval}\n{ca_file}{control}{spool}{stages}{sinks}")
}

fn control(config: &ControlConfig) -> String {
    let ControlConfig { tls_cert, tls_key, hosts, audit_keep } = config;
    let file = |name, path: &Option<PathBuf>| path.as_ref().map(|path| format!("{name} = {path:?}\n"));
    let (cert, key) = (file("tls_cert", tls_cert), file("tls_key", tls_key));
    let (cert, key) = (cert.unwrap_or_default(), key.unwrap_or_default());
    format!("[control]\n{cert}{key}hosts = {hosts:?}\naudit_keep = {audit_keep}\n")
}

fn millis(time: Duration) -> String {
    format!("\"{}ms\"", time.as_millis())
}

fn spool(config: &SpoolConfig) -> String {
    let SpoolConfig { max_bytes, reserve_bytes, when_full, after, drain_rate, .. } = config;
    let (after, when_full) = (millis(*after), if *when_full == WhenFull::Hold { "hold" } else { "drop_class" });
    format!(
        "[spool]\nmax_size = \"{max_bytes}\"\nreserve = \"{reserve_bytes}\"\nafter = {after}\n\
         drain_rate = {drain_rate}\nwhen_full = \"{when_full}\"\n"
    )
}

fn stages(config: &StagesConfig) -> String {
    let StagesConfig { enabled, prefixes, drop } = config;
    let enabled: Vec<&str> = enabled.iter().map(|name| name.name()).collect();
    let drop: Vec<&str> = drop.names().collect();
    format!("[stages]\nenabled = {enabled:?}\nprefixes = {prefixes:?}\ndrop = {drop:?}\n")
}

fn sink(config: &SinkConfig) -> String {
    let settings = match config {
        SinkConfig::Http(HttpConfig { urls, route_by, concurrency, batch, timeout, .. }) => {
            let (route_by, timeout) = (if *route_by == RouteBy::Guild { "guild" } else { "shard" }, millis(*timeout));
            format!(
                "urls = {urls:?}\nroute_by = \"{route_by}\"\nconcurrency = {concurrency}\nbatch = {batch}\n\
                 timeout = {timeout}"
            )
        }
        SinkConfig::Amqp(AmqpConfig { url, exchange, unroutable, timeout, .. }) => {
            let (url, timeout) = (url.expose().as_str(), millis(*timeout));
            let unroutable = if *unroutable == Unroutable::Drop { "drop" } else { "hold" };
            format!("url = {url:?}\nexchange = {exchange:?}\nunroutable = \"{unroutable}\"\ntimeout = {timeout}")
        }
        SinkConfig::Nats(NatsConfig { urls, stream, subject, timeout, .. }) => {
            let urls: Vec<&str> = urls.iter().map(|url| url.expose().as_str()).collect();
            let timeout = millis(*timeout);
            format!("urls = {urls:?}\nstream = {stream:?}\nsubject = {subject:?}\ntimeout = {timeout}")
        }
        SinkConfig::Ndjson(NdjsonConfig { path, max_bytes, keep, .. }) => {
            let path = path.as_ref().expect("a test's process has no standard output");
            format!("path = {path:?}\nmax_size = \"{max_bytes}\"\nkeep = {keep}")
        }
    };
    format!("[[sinks]]\nkind = \"{}\"\nname = {:?}\n{settings}\n", config.kind(), config.name())
}
