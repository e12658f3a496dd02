//! Shards against a scripted Discord on a virtual clock: real session machines and real permits, seeded faults,
//! invariants after every step. A failure prints its seed; `SEED=n cargo test --test simulation` repeats it.

mod discord;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use pilothouse_tests::full;
use world::{Size, World};

/// Runs the world of every seed: the one that `SEED` names, else as many as the tier has, on every core.
fn run(short: u64, long: u64, world: impl Fn(u64) -> World + Sync) {
    let only: Option<u64> = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = only.map_or(0..if full() { long } else { short }, |seed| seed..seed + 1);
    let next = AtomicU64::new(seeds.start);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let work = || {
            while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| seeds.contains(seed)) {
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| world(seed).run())) {
                    eprintln!("failed with SEED={seed}");
                    // The other cores need not go on.
                    next.store(seeds.end, Ordering::Relaxed);
                    resume_unwind(panic);
                }
            }
        };
        (0..cores).for_each(|_| drop(scope.spawn(work)));
    });
}

/// One seed in a hundred has a thousand shards, nine have a hundred, the others 1 to 32.
fn size_of(seed: u64) -> Size {
    let calm = Duration::from_secs(1_200);
    match seed % 100 {
        0 => Size { shards: 1_000, max_concurrency: 16, faults: 400, calm },
        rest if rest % 11 == 0 => Size { shards: 100, max_concurrency: 16, faults: 200, calm },
        rest => {
            let shards = 1 + u32::try_from(rest % 32).expect("small");
            Size { shards, max_concurrency: [1, 2, 16][seed as usize % 3], faults: 40, calm }
        }
    }
}

#[test]
fn shards_survive_every_kind_of_fault() {
    run(50, 10_000, |seed| World::new(seed, size_of(seed)));
}

#[test]
fn the_daily_budget_is_never_overdrawn() {
    let size = Size { shards: 50, max_concurrency: 1, faults: 300, calm: Duration::from_secs(90_000) };
    run(3, 100, |seed| World::new(seed, size).with_budget(120));
}
