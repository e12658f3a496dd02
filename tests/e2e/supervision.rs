//! A panic in one shard costs that shard its connection, and nobody an event.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pilothouse_agent::pipeline::Event;
use pilothouse_agent::sinks::{Seat, Sink, SinkReport};
use pilothouse_sandbox::Sandbox;
use pilothouse_tests::LoneWorker;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::setup::{PATIENCE, sandbox, verdict};

const SHARDS: u32 = 4;
const ILL: u32 = 2;

/// Hands events to the sandbox's ledger; panics once, in the middle of a turn of one shard.
struct Panicking {
    sandbox: Arc<Sandbox>,
    panics: Arc<AtomicBool>,
}

impl Sink for Panicking {
    fn push(&self, events: &[Event]) {
        for event in events {
            if event.lane.origin.shard == ILL && self.panics.swap(false, Ordering::SeqCst) {
                panic!("this panic was asked for");
            }
            self.sandbox.received(&event.payload);
            event.confirm(Instant::now());
        }
    }

    fn report(&self) -> SinkReport {
        SinkReport::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_panics_comes_back_and_nobody_loses_an_event() {
    let sandbox = Arc::new(sandbox(SHARDS, 400.0).await);
    let data = TempDir::new().expect("a temporary folder");
    let panics = Arc::new(AtomicBool::new(false));
    let sinks = {
        let (sandbox, panics) = (Arc::clone(&sandbox), Arc::clone(&panics));
        Arc::new(move |_: &Seat| {
            let sink = Panicking { sandbox: Arc::clone(&sandbox), panics: Arc::clone(&panics) };
            Ok(vec![Box::new(sink) as Box<dyn Sink>])
        })
    };
    let worker = LoneWorker::start(&sandbox, &data, SHARDS, sinks);
    assert!(sandbox.connected(SHARDS as usize, PATIENCE).await, "{:?}", sandbox.status());
    for _ in 0..3 {
        sleep(Duration::from_millis(500)).await;
        panics.store(true, Ordering::SeqCst);
        pilothouse_tests::eventually("the panic", PATIENCE, || !panics.load(Ordering::SeqCst)).await;
        sleep(Duration::from_millis(100)).await;
        assert!(sandbox.connected(SHARDS as usize, PATIENCE).await, "{:?}", sandbox.status());
    }
    let identifies = sandbox.status().identifies;
    let verdict = verdict(&sandbox).await;
    assert_eq!((verdict.lost, verdict.unreplayable.total()), (0, 0), "{verdict:?}");
    assert_eq!(identifies, u64::from(SHARDS), "the shard resumes");
    worker.stop().await;
}
