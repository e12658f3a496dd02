//! Benchmark of one agent with many shards: the real program against the sandbox, which runs in this process. Memory
//! per shard, the start, the loss of every connection at once, restarts. Times and sizes are printed beside their
//! bars; lost events and identifies beyond one a shard fail the run.
//!
//! `cargo build --release --workspace --bins`, then `cargo bench -p pilothouse-tests --bench scale`: 1,000 shards;
//! `-- --quick` for 200, `-- --full` for 5,000 as well, `-- --shards 300` for another number; `--start` and `--memory` for that only.

mod stages;

use anyhow::{Context, bail};
use pilothouse_tests::raise_open_files;

use crate::stages::{Part, Plan, Row};

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| words.iter().any(|given| given == word);
    let shards = words.iter().position(|word| word == "--shards").and_then(|at| words.get(at + 1));
    let shards: Option<u32> = shards.map(|shards| shards.parse()).transpose().context("--shards takes a number")?;
    let mut plans = match shards {
        Some(shards) => vec![Plan::new(shards)],
        None if has("--quick") => vec![Plan::quick()],
        None if has("--full") => vec![Plan::new(1_000), Plan::new(5_000)],
        None => vec![Plan::new(1_000)],
    };
    let part = if has("--start") {
        Part::Start
    } else if has("--memory") {
        Part::Memory
    } else {
        Part::All
    };
    plans.iter_mut().for_each(|plan| plan.part = part);
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    println!("| shards | what | bar | measured | in order |\n|---:|---|---:|---:|---|");
    let mut failures = Vec::new();
    for plan in plans {
        let rows = runtime.block_on(stages::run(&plan)).with_context(|| format!("{} shards", plan.shards))?;
        failures.extend(rows.iter().filter(|row| row.must && !row.met).map(Row::to_string));
    }
    if !failures.is_empty() {
        bail!("a session or an event was given up:\n{}", failures.join("\n"));
    }
    Ok(())
}
