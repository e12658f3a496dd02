//! Benchmark of the spool: how fast events of 1 kB go to disk and come back, beside a file to which the same payloads are
//! appended with one fsync a second, in the same run; what they take on disk and in memory. It asserts nothing.
//!
//! Then the same as its users meet it: the real program, whose bot is away for a minute.
//!
//! `cargo build --release --workspace --bins`, then `cargo bench -p pilothouse-tests --bench spool`; `-- --quick` for a
//! fifth of the events, `-- --away` for the second part alone, `-- --full` for a bot that is away for ten minutes.

mod away;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use pilothouse_agent::gateway::kind::EventKind;
use pilothouse_agent::pipeline::Origin;
use pilothouse_agent::spool::{Entry, NewRecord, Spool, SpoolLimits, StreamKey, Tag};
use tokio::runtime::Runtime;

const PAYLOAD: usize = 1_000;
/// Records of one append and of one load.
const BATCH: usize = 64;
/// Appends and loads under way at once, as from several workers.
const AT_ONCE: usize = 8;
const EVENTS: usize = 500_000;
const MIB: f64 = 1_048_576.0;

fn main() -> anyhow::Result<()> {
    let said = |word: &str| std::env::args().any(|said| said == word);
    if !said("--away") {
        streams(if said("--quick") { EVENTS / 5 } else { EVENTS })?;
    }
    away::run(Duration::from_secs(if said("--full") { 600 } else { 60 }))
}

fn streams(events: usize) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    println!("{events} events of {PAYLOAD} bytes, {BATCH} an append\n");
    println!(
        "| streams | floor events/s | append events/s | append MB/s | append/floor time | drain events/s | drain MB/s | disk bytes a payload byte: full | a moment after the drain, MiB | RSS MiB: closed | open | most | drained |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for streams in [1, 100, 2_500] {
        row(&runtime, streams, events).with_context(|| format!("{streams} streams"))?;
    }
    println!();
    Ok(())
}

fn row(runtime: &Runtime, streams: usize, events: usize) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let payload = payload();
    let floor = floor(&folder.path().join("floor"), &payload, events)?;
    let place = folder.path().join("spool");
    let closed = resident()?;
    let limits = SpoolLimits { max_bytes: u64::MAX, reserve_bytes: 0, ..SpoolLimits::default() };
    let spool = Spool::open(&place, limits)?;
    let opened = resident()?;
    let mut most = opened;
    let start = Instant::now();
    runtime.block_on(append(&spool, &payload, streams, events, &mut most))?;
    let appended = start.elapsed();
    let full = taken(&place)? as f64 / (events * PAYLOAD) as f64;
    let start = Instant::now();
    runtime.block_on(drain(&spool, &mut most))?;
    let drained = start.elapsed();
    let rest = settled(&place)?;
    let rate = |time: Duration| events as f64 / time.as_secs_f64();
    let megabytes = |time: Duration| rate(time) * PAYLOAD as f64 / 1e6;
    println!(
        "| {streams} | {:.0} | {:.0} | {:.0} | {:.2} | {:.0} | {:.0} | {full:.2} | {:.1} | {closed:.0} | {opened:.0} | {most:.0} | {:.0} |",
        rate(floor),
        rate(appended),
        megabytes(appended),
        appended.as_secs_f64() / floor.as_secs_f64(),
        rate(drained),
        megabytes(drained),
        rest as f64 / MIB,
        resident()?,
    );
    Ok(())
}

fn payload() -> Bytes {
    let head = r#"{"t":"MESSAGE_CREATE","s":123456,"op":0,"d":{"content":""#;
    let mut text = head.to_owned();
    while text.len() < PAYLOAD - 3 {
        text.push(char::from(fastrand::alphanumeric() as u8));
    }
    text.push_str("\"}}");
    Bytes::from(text)
}

/// The same payloads, appended to one file, and on disk at the end.
fn floor(path: &Path, payload: &Bytes, events: usize) -> anyhow::Result<Duration> {
    let mut file = File::create(path)?;
    let batch = payload.repeat(BATCH);
    let start = Instant::now();
    let mut synced = start;
    for _ in 0..events / BATCH {
        file.write_all(&batch)?;
        if synced.elapsed() > Duration::from_secs(1) {
            file.sync_data()?;
            synced = Instant::now();
        }
    }
    file.sync_data()?;
    let took = start.elapsed();
    drop(file);
    fs::remove_file(path)?;
    Ok(took)
}

async fn append(spool: &Spool, payload: &Bytes, streams: usize, events: usize, most: &mut f64) -> anyhow::Result<()> {
    let kind = EventKind::of(b"MESSAGE_CREATE");
    let mut under_way = VecDeque::new();
    for first in (0..events).step_by(BATCH) {
        let records = (first..first + BATCH).map(|seq| NewRecord {
            route: Tag::of("route"),
            shard: (seq % streams) as u32,
            origin: Origin {
                generation: 1,
                shard: (seq % streams) as u32,
                session: "0123456789abcdef".repeat(2).into(),
            },
            seq: seq as u64,
            part: 0,
            kind,
            received_ms: 0,
            payload: payload.clone(),
            entry: Entry::Fresh,
        });
        under_way.push_back(spool.append(Tag::of("sink"), records.collect()));
        if under_way.len() == AT_ONCE {
            under_way.pop_front().context("it is not empty")?.await?;
            *most = most.max(resident()?);
        }
    }
    for answer in under_way {
        answer.await?;
    }
    Ok(())
}

/// Every stream in turn gives a batch, until all are empty.
async fn drain(spool: &Spool, most: &mut f64) -> anyhow::Result<()> {
    let streams = spool.streams(Tag::of("sink"));
    let mut left: VecDeque<(StreamKey, u64, u64)> =
        streams.iter().map(|state| (state.key, state.head, state.tail)).collect();
    while !left.is_empty() {
        let turn: Vec<_> = left.drain(..left.len().min(AT_ONCE)).collect();
        let loads: Vec<_> = turn.iter().map(|(key, from, _)| spool.load(*key, *from, BATCH, 1 << 20)).collect();
        for (load, (key, _, tail)) in loads.into_iter().zip(turn) {
            let next = load.await?.next;
            spool.remove(key, next);
            if next < tail {
                left.push_back((key, next, tail));
            }
        }
        *most = most.max(resident()?);
    }
    while spool.status(Tag::of("sink")).events > 0 {
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Bytes that the folder takes once they are given back, or after 20 s.
fn settled(folder: &Path) -> anyhow::Result<u64> {
    for _ in 0..100 {
        if taken(folder)? < 1 << 20 {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    taken(folder)
}

/// Bytes that a folder takes on disk.
fn taken(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // What the database has just removed counts nothing.
        bytes += match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => taken(&path)?,
            Ok(found) => found.blocks() * 512,
            Err(_) => 0,
        };
    }
    Ok(bytes)
}

/// Memory of this process, MiB.
fn resident() -> anyhow::Result<f64> {
    let pages = fs::read_to_string("/proc/self/statm")?;
    let pages: f64 = pages.split(' ').nth(1).context("statm has it second")?.parse()?;
    Ok(pages * 4_096.0 / MIB)
}
