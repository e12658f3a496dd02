//! What the spool takes on disk.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::*;

/// Bytes that a folder takes on disk, holes not counted.
fn taken(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let sizes = entries.map(|path| match fs::symlink_metadata(&path) {
        Ok(found) if found.is_dir() => taken(&path),
        Ok(found) => found.blocks() * 512,
        // The database removes files meanwhile.
        Err(_) => 0,
    });
    sizes.sum()
}

#[test]
fn what_is_drained_is_given_back() {
    const EVENTS: u64 = 100_000;
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    for start in (0..EVENTS).step_by(100) {
        append(&spool, (start..start + 100).map(|seq| record(seq as u32 % 50, seq, "MESSAGE_CREATE", 2_000)).collect());
    }
    let full = taken(folder.path());
    for shard in 0..50 {
        let mut from = 0;
        while from < EVENTS / 50 {
            let loaded = wait(spool.load(key(shard), from, 200, 1 << 20)).unwrap();
            assert!(loaded.records.iter().all(|record| record.seq % 50 == u64::from(shard)));
            from = loaded.next;
            spool.remove(key(shard), from);
        }
    }
    until(&spool, "drained", |status| status.events == 0);
    let drained = taken(folder.path());
    let mut rest = drained;
    for _ in 0..12_000 {
        rest = taken(folder.path());
        if rest < 1 << 20 {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("MiB on disk: {} full, {} when drained, {} a moment later", full >> 20, drained >> 20, rest >> 20);
    assert!(rest < 1 << 20, "{} MiB are left", rest >> 20);
    assert_eq!(append(&spool, vec![message(0, EVENTS)]), [Placed::At(EVENTS / 50)]);
    drop(spool);
    let spool = open(folder.path());
    assert_eq!(seqs(&spool, 0), [EVENTS]);
    assert!(spool.marks(sink())[&(key(1).route, 1)].covers("session-1", EVENTS - 49, 0));
}
