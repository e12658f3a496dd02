//! A panic in one shard costs that shard its connection, and nobody an event; one in what a worker stands on ends it.

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
    fails: Arc<AtomicBool>,
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
        assert!(!self.fails.load(Ordering::SeqCst), "this panic was asked for");
        SinkReport::default()
    }
}

/// A worker with such a sink, and what makes that panic once, or fail.
fn worker(sandbox: &Arc<Sandbox>, data: &TempDir) -> (LoneWorker, Arc<AtomicBool>, Arc<AtomicBool>) {
    let (panics, fails) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let (ours, to_panic, to_fail) = (Arc::clone(sandbox), Arc::clone(&panics), Arc::clone(&fails));
    let sinks = Arc::new(move |_: &Seat| {
        let (sandbox, panics, fails) = (Arc::clone(&ours), Arc::clone(&to_panic), Arc::clone(&to_fail));
        Ok(vec![Box::new(Panicking { sandbox, panics, fails }) as Box<dyn Sink>])
    });
    (LoneWorker::start(sandbox, data, SHARDS, sinks), panics, fails)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_lost_a_task_it_stands_on_ends_and_says_so() {
    let sandbox = Arc::new(sandbox(SHARDS, 400.0).await);
    let data = TempDir::new().expect("a temporary folder");
    let (worker, _, fails) = worker(&sandbox, &data);
    assert!(sandbox.connected(SHARDS as usize, PATIENCE).await, "{:?}", sandbox.status());
    fails.store(true, Ordering::SeqCst);
    let why = tokio::time::timeout(PATIENCE, worker.failed()).await.expect("it ends");
    assert!(why.contains("a task of worker 0 panicked"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_panics_comes_back_and_nobody_loses_an_event() {
    let sandbox = Arc::new(sandbox(SHARDS, 400.0).await);
    let data = TempDir::new().expect("a temporary folder");
    let (worker, panics, _) = worker(&sandbox, &data);
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
