//! The agent's part from socket to sink queue: one worker with every shard, a sink that counts and confirms at once,
//! the store and the samples as in a whole agent. A trivial fleet permits everyone everything.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use pilothouse_agent::config::{Compression, Secret, StagesConfig};
use pilothouse_agent::fleet::permits::PermitInput;
use pilothouse_agent::gateway::session::{Generation, Timeouts};
use pilothouse_agent::pipeline::Event;
use pilothouse_agent::shard::handle::ToWorker;
use pilothouse_agent::shard::worker::{self, Plan, Sample, Start};
use pilothouse_agent::sinks::{Seat, Sink, SinkReport};
use pilothouse_agent::store::Store;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::spawn_local;

use crate::meter::Meter;
use crate::row::{Packing, Row};

/// Unconfirmed events at which a socket is held: the default of the configuration.
const MAX_UNCONFIRMED: u32 = 256;

struct CountingSink(RefCell<Meter>);

impl Sink for CountingSink {
    fn push(&self, events: &[Event]) {
        let now = Instant::now();
        events.iter().for_each(|event| event.confirm(now));
        let count = events.iter().filter(|event| event.seq > 1).count();
        self.0.borrow_mut().add(count as u64);
    }

    fn report(&self) -> SinkReport {
        SinkReport::default()
    }
}

/// Starts the worker. The folder of the store is removed when what is returned drops.
pub(crate) fn start(row: Row, port: u16, meter: Meter) -> anyhow::Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let store = Store::open(folder.path())?.into_writer()?;
    let (to_worker, inbox) = mpsc::channel(1_024);
    let (permits, asked) = mpsc::channel(1_024);
    let (samples, sampled) = mpsc::channel(2);
    let meter = Mutex::new(Some(meter));
    let plan = Plan {
        agent: "bench".to_owned(),
        seat: Seat { worker: 0, total: row.shards, owns: Arc::new(|_| true) },
        shards: (0..row.shards).map(|id| Start { id, session: None, guilds: None }).collect(),
        generation: Arc::new(generation(&row, port)),
        stages: StagesConfig::default(),
        sinks: Arc::new(move |_| {
            let meter = meter.lock().ok().and_then(|mut meter| meter.take()).context("one worker")?;
            Ok(vec![Box::new(CountingSink(RefCell::new(meter)))])
        }),
        ear: None,
        tls: Arc::new(tls()?),
        max_unconfirmed: MAX_UNCONFIRMED,
        inbox,
        permits,
        samples,
        store,
    };
    worker::spawn(plan, mpsc::channel(1).0)?;
    spawn_local(permit(asked, to_worker));
    spawn_local(drain(sampled));
    Ok(folder)
}

async fn permit(mut asked: mpsc::Receiver<PermitInput>, to_worker: mpsc::Sender<ToWorker>) {
    while let Some(input) = asked.recv().await {
        let answer = match input {
            PermitInput::Request(shard) => ToWorker::Dial(shard),
            PermitInput::Ready(shard) => ToWorker::Permit(shard),
            _ => continue,
        };
        // A worker that is gone needs none.
        let _ = to_worker.send(answer).await;
    }
}

async fn drain(mut sampled: mpsc::Receiver<Sample>) {
    while sampled.recv().await.is_some() {}
}

fn generation(row: &Row, port: u16) -> Generation {
    let patience = Duration::from_secs(60);
    Generation {
        number: 1,
        total: row.shards,
        token: Secret::new("bench"),
        intents: 513,
        version: 10,
        compression: match row.packing {
            Packing::None => Compression::None,
            Packing::Zlib => Compression::Zlib,
            Packing::Zstd => Compression::Zstd,
        },
        gateway_url: format!("ws://127.0.0.1:{port}"),
        large_threshold: 50,
        presence: None,
        timeouts: Timeouts { connect: patience, hello: patience, ready: patience },
    }
}

fn tls() -> anyhow::Result<rustls::ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth())
}
