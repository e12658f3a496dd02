//! Many shards against a scripted Discord on a virtual clock: real session machines and real permits, seeded faults,
//! invariants after every step. A failure prints its seed; `SEED=n cargo test --test simulation` repeats it.

mod discord;
mod world;

use std::time::Duration;

use pilothouse_tests::full;
use world::{Size, World};

fn seeds(short: u64, long: u64) -> impl Iterator<Item = u64> {
    let only: Option<u64> = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let number = if full() { long } else { short };
    only.map_or(0..number, |seed| seed..seed + 1)
}

#[test]
fn two_hundred_shards_survive_every_kind_of_fault() {
    let size = Size { shards: 200, max_concurrency: 16, faults: 400, calm: Duration::from_secs(600) };
    for seed in seeds(20, 2_000) {
        World::new(seed, size).run();
    }
}

#[test]
fn a_thousand_shards_survive_every_kind_of_fault() {
    let size = Size { shards: 1_000, max_concurrency: 16, faults: 600, calm: Duration::from_secs(1_200) };
    for seed in seeds(5, 500) {
        World::new(seed, size).run();
    }
}

#[test]
fn the_daily_budget_is_never_overdrawn() {
    let size = Size { shards: 50, max_concurrency: 1, faults: 300, calm: Duration::from_secs(90_000) };
    for seed in seeds(3, 100) {
        let world = World::new(seed, size).with_budget(120);
        world.run();
    }
}
