//! Torn and garbled files.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;

use super::*;

fn journal(folder: &Path) -> PathBuf {
    let journals = repair::journals(&folder.join("spool")).unwrap();
    let [journal] = journals.as_slice() else { panic!("one journal is expected: {journals:?}") };
    journal.clone()
}

/// A spool of 100 batches, and the length of its journal after each.
fn written(folder: &Path) -> Vec<u64> {
    drop(open(folder));
    let mut lengths = Vec::new();
    for seq in 0..100 {
        let spool = open(folder);
        append(&spool, vec![message(0, seq), message(1, seq)]);
        drop(spool);
        drop(open(folder));
        lengths.push(fs::metadata(journal(folder)).unwrap().len());
    }
    lengths
}

fn garble(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

#[test]
fn a_torn_journal_gives_what_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let lengths = written(folder.path());
    for cut in [lengths[98] + 1, lengths[97] + 40, lengths[50], lengths[49] - 1] {
        let file = OpenOptions::new().write(true).open(journal(folder.path())).unwrap();
        file.set_len(cut).unwrap();
        let whole = lengths.iter().filter(|length| **length <= cut).count() as u64;
        let spool = open(folder.path());
        assert!(spool.set_aside().is_none());
        for shard in [0, 1] {
            assert!(seqs(&spool, shard).into_iter().eq(0..whole), "cut at {cut}");
        }
    }
    let spool = open(folder.path());
    assert_eq!(append(&spool, vec![message(0, 49)]), [Placed::At(49)]);
}

#[test]
fn a_garbled_journal_gives_what_is_before() {
    let folder = tempfile::tempdir().unwrap();
    let lengths = written(folder.path());
    let (start, end) = (lengths[59], lengths[60]);
    for offset in (0..end - start).step_by(if is_full() { 1 } else { 19 }) {
        let copy = tempfile::tempdir().unwrap();
        copy_all(folder.path(), copy.path());
        garble(&journal(copy.path()), start + offset, &[0xa5; 5]);
        let spool = open(copy.path());
        assert!(spool.set_aside().is_none(), "{offset}");
        for shard in [0, 1] {
            let kept = seqs(&spool, shard);
            assert!(kept.len() >= 60, "{offset}: {}", kept.len());
            assert!(kept.iter().copied().eq(0..kept.len() as u64), "{offset}: {kept:?}");
        }
        assert_eq!(append(&spool, vec![message(0, 1_000)]).len(), 1);
    }
}

/// Pages that were never written are zeros, also before ones that were.
#[test]
fn a_hole_in_a_journal_is_repaired_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    for seq in 0..50 {
        append(&spool, vec![record(0, seq, "MESSAGE_CREATE", 20_000)]);
    }
    drop(spool);
    garble(&journal(folder.path()), 30 * 20_000, &[0; 4_096]);
    let opened = repair::open(&folder.path().join("spool")).unwrap();
    assert!(opened.notes[0].contains("are damaged; it is kept as"), "{:?}", opened.notes);
    assert!(opened.set_aside.is_none());
    drop(opened);
    let spool = open(folder.path());
    let kept = seqs(&spool, 0);
    assert!(kept.len() >= 29 && kept.iter().copied().eq(0..kept.len() as u64), "{kept:?}");
}

#[test]
fn what_is_no_spool_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    fs::create_dir(&spool).unwrap();
    fs::write(spool.join("version"), "this is no database").unwrap();
    let opened = open(folder.path());
    assert_eq!(fs::read(opened.set_aside().unwrap().join("version")).unwrap(), b"this is no database");
    append(&opened, vec![message(0, 1)]);
}

#[test]
fn one_that_was_never_finished_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("spool");
    fs::create_dir(&spool).unwrap();
    fs::write(spool.join("lock"), "").unwrap();
    fs::write(spool.join("0.jnl"), "").unwrap();
    append(&open(folder.path()), vec![message(0, 1)]);
}

/// Writes values as another version, or nobody, would have written them.
fn forge(folder: &Path, writes: Vec<file::Write>, staged: &ledger::Staged) {
    let file = file::File::open(&folder.join("spool")).ok().unwrap();
    file.commit(writes, staged).unwrap();
}

#[test]
fn a_newer_record_is_neither_lost_nor_misread() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    append(&spool, (0..5).map(|seq| message(0, seq)).collect());
    drop(spool);
    let newer = b"\x03something that nobody knows yet";
    forge(folder.path(), vec![file::Write::Put(key(0), 3, newer.as_slice().into())], &ledger::Staged::default());

    let spool = open(folder.path());
    let loaded = wait(spool.load(key(0), 0, 100, usize::MAX)).unwrap();
    assert_eq!((loaded.records.len(), loaded.next), (3, 3));
    let refused = wait(spool.load(key(0), 3, 100, usize::MAX)).unwrap_err();
    assert_eq!(refused, SpoolTrouble::Newer { version: 3 });
    assert!(refused.to_string().contains("format 3"), "{refused}");
    assert_eq!(spool.status(sink()).events, 5);
}

#[test]
fn a_damaged_record_is_skipped_and_counted_once() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    append(&spool, (0..6).map(|seq| message(0, seq)).collect());
    drop(spool);
    let damaged = file::Write::Put(key(0), 3, b"\x01\x00".as_slice().into());
    forge(folder.path(), vec![damaged, file::Write::Remove(key(0), 4)], &ledger::Staged::default());

    let spool = open(folder.path());
    assert_eq!(seqs(&spool, 0), [0, 1, 2, 5]);
    assert_eq!(seqs(&spool, 0), [0, 1, 2, 5]);
    assert_eq!(spool.status(sink()).unreadable, 2);
    spool.remove(key(0), 4);
    until(&spool, "removed", |status| status.events == 2);
}

fn copy_all(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            fs::create_dir(&target).unwrap();
            copy_all(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}
