//! What the spool takes on disk.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::disk::taken_bytes;
use super::*;

/// These tests measure how the disk keeps up, which the others of them would slow down.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

const STREAMS: u64 = 50;
const SIZE: usize = 2_000;
const MIB: u64 = 1 << 20;

/// Appends records numbered `from..to`, which go round the streams.
fn fill(spool: &Spool, from: u64, to: u64) {
    for start in (from..to).step_by(100) {
        let records = (start..start + 100).map(|seq| record((seq % STREAMS) as u32, seq, "MESSAGE_CREATE", SIZE));
        append(spool, records.collect());
    }
}

/// Removes what has a number below `below`.
fn remove(spool: &Spool, below: u64) {
    for shard in 0..STREAMS {
        spool.remove(key(shard as u32), below.saturating_sub(shard).div_ceil(STREAMS));
    }
}

/// Waits until the folder takes less than `bytes`.
fn shrinks(folder: &Path, bytes: u64) {
    for _ in 0..1_000 {
        if taken_bytes(folder) < bytes {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{} MiB are left", taken_bytes(folder) / MIB);
}

#[test]
fn what_is_drained_is_given_back() {
    let _alone = alone();
    const EVENTS: u64 = 20_000;
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    fill(&spool, 0, EVENTS);
    assert!(taken_bytes(folder.path()) > 40 * MIB);
    remove(&spool, EVENTS);
    shrinks(folder.path(), MIB);
    fill(&spool, EVENTS, EVENTS + 100);
    assert_eq!(append(&spool, vec![message(0, EVENTS + 100)]), [Placed::At(EVENTS / STREAMS + 2)]);
    drop(spool);
    let spool = open(folder.path());
    assert_eq!(seqs(&spool, 0), [EVENTS, EVENTS + 50, EVENTS + 100]);
    assert!(spool.marks(sink())[&(key(1).route, 1)].covers("session-1", EVENTS + 51, 0));
}

#[test]
fn what_was_drained_before_a_restart_is_given_back() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    fill(&spool, 0, 10_000);
    remove(&spool, 10_000);
    drop(spool);
    assert!(taken_bytes(folder.path()) > 20 * MIB);
    let _spool = open(folder.path());
    shrinks(folder.path(), MIB);
}

/// One record in a hundred stays: no file is without one.
#[test]
fn a_few_that_stay_do_not_keep_the_others() {
    let _alone = alone();
    const EVENTS: u64 = 20_000;
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let stays = |seq: u64| seq.is_multiple_of(100);
    for start in (0..EVENTS).step_by(100) {
        let records = (start..start + 100).map(|seq| record(u32::from(stays(seq)), seq, "MESSAGE_CREATE", SIZE));
        append(&spool, records.collect());
    }
    spool.remove(key(0), u64::MAX);
    shrinks(folder.path(), 6 * MIB);
    assert!(seqs(&spool, 1).into_iter().eq((0..EVENTS).filter(|seq| stays(*seq))));
    drop(spool);
    assert!(seqs(&open(folder.path()), 1).into_iter().eq((0..EVENTS).filter(|seq| stays(*seq))));
}

/// A bot that is 24 MB behind and stays so.
#[test]
fn a_queue_that_never_empties_stays_small() {
    let _alone = alone();
    const BEHIND: u64 = 12_000;
    let events = if is_full() { 1_000_000 } else { 180_000 };
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let mut most = 0;
    for start in (0..events).step_by(1_000) {
        fill(&spool, start, start + 1_000);
        remove(&spool, start.saturating_sub(BEHIND));
        most = most.max(taken_bytes(folder.path()));
    }
    // Twice what is held and 32 MiB, of which a second round may wait for the first, and the journal.
    assert!(most < 280 * MIB, "{} MiB at most", most / MIB);
    println!("{} MiB at most", most / MIB);
    let left = (events - BEHIND - 1_000) / STREAMS;
    until(&spool, "removed", |status| status.events == BEHIND + 1_000);
    assert_eq!(spool.streams(sink())[0].head, left);
    shrinks(folder.path(), 2 * spool.status(sink()).bytes + 5 * MIB);
    let kept = seqs(&spool, 7);
    assert!(kept.iter().copied().eq((left..events / STREAMS).map(|index| index * STREAMS + 7)));
}
