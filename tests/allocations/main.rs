//! What an event costs in allocations on its worker's thread, from the socket to the sinks' queues.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pilothouse_agent::pipeline::Event;
use pilothouse_agent::sinks::{Seat, Sink, SinkReport};
use pilothouse_sandbox::{Rate, Sandbox, SandboxConfig};
use pilothouse_tests::LoneWorker;
use tempfile::TempDir;
use tokio::time::sleep;

/// One for the bytes of a turn, one to share them between its events and sinks. The rest is for what is not an
/// event's: samples, heartbeats, batches for the store.
const ALLOWED: f64 = 2.2;

thread_local! {
    /// Allocations of this thread.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[expect(unsafe_code, reason = "an allocator that counts, and leaves the work to the system's")]
// SAFETY: every call is the system allocator's own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer comes from `alloc` above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Counts events, and tells what its thread has allocated at each of them.
#[derive(Default)]
struct Counts {
    events: AtomicU64,
    allocations: AtomicU64,
}

struct CountingSink(Arc<Counts>);

impl Sink for CountingSink {
    fn push(&self, events: &[Event]) {
        let now = Instant::now();
        events.iter().for_each(|event| event.confirm(now));
        self.0.events.fetch_add(events.len() as u64, Ordering::Relaxed);
        self.0.allocations.store(ALLOCATIONS.with(Cell::get), Ordering::Relaxed);
    }

    fn report(&self) -> SinkReport {
        SinkReport::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_costs_two_allocations_at_most() {
    let config = SandboxConfig {
        shards: 4,
        guilds: 40,
        max_concurrency: 4,
        rate: Rate::PerSecond(2_000.0),
        identify_window: Duration::from_millis(1),
        ..SandboxConfig::default()
    };
    let sandbox = Sandbox::start(config).await.expect("the sandbox starts");
    let data = TempDir::new().expect("a temporary folder");
    let counts = Arc::new(Counts::default());
    let sinks = {
        let counts = Arc::clone(&counts);
        Arc::new(move |_: &Seat| Ok(vec![Box::new(CountingSink(Arc::clone(&counts))) as Box<dyn Sink>]))
    };
    let worker = LoneWorker::start(&sandbox, &data, 4, sinks);
    assert!(sandbox.connected(4, Duration::from_secs(30)).await, "{:?}", sandbox.status());
    sleep(Duration::from_secs(1)).await;
    let look = || (counts.events.load(Ordering::Relaxed), counts.allocations.load(Ordering::Relaxed));
    let (events, allocations) = look();
    sleep(Duration::from_secs(3)).await;
    let (events, allocations) = (look().0 - events, look().1 - allocations);
    let each = allocations as f64 / events as f64;
    println!("{allocations} allocations for {events} events: {each:.2} each");
    assert!(events > 1_000, "{events} events");
    assert!(each <= ALLOWED, "{each:.2} allocations an event");
    worker.stop().await;
}
