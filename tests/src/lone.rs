//! A worker without the rest of an agent, for sinks that a test brings along. Identifies are granted at once.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use pilothouse_agent::config::{Compression, Secret, StagesConfig};
use pilothouse_agent::fleet::permits::PermitInput;
use pilothouse_agent::gateway::session::{Generation, Timeouts};
use pilothouse_agent::shard::handle::ToWorker;
use pilothouse_agent::shard::worker::{self, Plan, Start};
use pilothouse_agent::sinks::{Seat, SinkFactory};
use pilothouse_agent::store::Store;
use pilothouse_sandbox::Sandbox;
use tempfile::TempDir;
use tokio::sync::mpsc;

/// A worker that runs.
pub struct LoneWorker {
    inbox: mpsc::Sender<ToWorker>,
    thread: JoinHandle<anyhow::Result<()>>,
    ended: mpsc::Receiver<()>,
}

impl LoneWorker {
    /// Starts a worker with shards 0 to `total` of `sandbox`'s bot.
    pub fn start(sandbox: &Sandbox, data: &TempDir, total: u32, sinks: SinkFactory) -> Self {
        let (tell, inbox) = mpsc::channel(64);
        let (permits, asked) = mpsc::channel(64);
        let (samples, mut sampled) = mpsc::channel(4);
        tokio::spawn(grant(asked, tell.clone()));
        tokio::spawn(async move { while sampled.recv().await.is_some() {} });
        let (ending, ended) = mpsc::channel(1);
        let plan = Plan {
            agent: "test".to_owned(),
            seat: Seat { worker: 0, total, owns: Arc::new(|_| true) },
            shards: (0..total).map(|id| Start { id, session: None, guilds: None }).collect(),
            generation: Arc::new(generation(sandbox, total)),
            stages: StagesConfig::default(),
            sinks,
            ear: None,
            tls: Arc::new(no_tls()),
            max_unconfirmed: 256,
            inbox,
            permits,
            samples,
            store: Store::open(data.path()).expect("a store").into_writer().expect("a writer"),
        };
        Self { inbox: tell, thread: worker::spawn(plan, ending).expect("the worker starts"), ended }
    }

    /// Why it ended by itself, once it has.
    pub async fn failed(mut self) -> String {
        self.ended.recv().await;
        let ended = tokio::task::spawn_blocking(move || self.thread.join()).await.expect("it ends");
        ended.expect("the worker does not panic").expect_err("a fault").to_string()
    }

    /// Stops it and waits for its end.
    pub async fn stop(self) {
        self.inbox.send(ToWorker::Stop).await.expect("the worker listens");
        let ended = tokio::task::spawn_blocking(move || self.thread.join()).await.expect("it ends");
        ended.expect("the worker does not panic").expect("the worker does not fail");
    }
}

async fn grant(mut asked: mpsc::Receiver<PermitInput>, worker: mpsc::Sender<ToWorker>) {
    while let Some(input) = asked.recv().await {
        let answer = match input {
            PermitInput::Request(shard) => ToWorker::Dial(shard),
            PermitInput::Ready(shard) => ToWorker::Permit(shard),
            _ => continue,
        };
        if worker.send(answer).await.is_err() {
            return;
        }
    }
}

fn generation(sandbox: &Sandbox, total: u32) -> Generation {
    let limit = Duration::from_secs(10);
    Generation {
        number: 1,
        total,
        token: Secret::new("sandbox-token"),
        intents: 513,
        version: 10,
        compression: Compression::Zlib,
        gateway_url: sandbox.gateway_url().to_owned(),
        large_threshold: 50,
        presence: None,
        timeouts: Timeouts { connect: limit, hello: limit, ready: limit },
    }
}

fn no_tls() -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("ring has safe versions");
    builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
}
