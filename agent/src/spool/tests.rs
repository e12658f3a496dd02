//! What the spool promises, over a real database in a folder of its own.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;

use super::*;

mod crash;
mod damage;
mod full;
mod model;
mod space;

const SINK: &str = "bot";

/// Whether tests may take minutes.
fn is_full() -> bool {
    std::env::var_os("PILOTHOUSE_FULL").is_some()
}

fn sink() -> Tag {
    Tag::of(SINK)
}

fn key(shard: u32) -> StreamKey {
    StreamKey { sink: sink(), route: Tag::of("http://localhost"), shard }
}

/// Limits that no test meets by accident.
fn limits() -> SpoolLimits {
    SpoolLimits { reserve_bytes: 0, ..SpoolLimits::default() }
}

fn open(folder: &Path) -> Spool {
    open_with(folder, limits())
}

fn open_with(folder: &Path, limits: SpoolLimits) -> Spool {
    Spool::open(&folder.join("spool"), limits).unwrap()
}

/// The event `seq` of a shard, at least `size` bytes long.
fn record(shard: u32, seq: u64, kind: &str, size: usize) -> NewRecord {
    let payload = format!(r#"{{"t":"{kind}","s":{seq},"op":0,"d":{{"x":"{}"}}}}"#, "x".repeat(size));
    NewRecord {
        route: key(shard).route,
        shard,
        origin: Origin { generation: 1, shard, session: format!("session-{shard}").into() },
        seq,
        part: 0,
        kind: EventKind::of(kind.as_bytes()),
        received_ms: crate::telemetry::clock::now_ms(),
        payload: Bytes::from(payload),
        entry: Entry::Fresh,
    }
}

fn message(shard: u32, seq: u64) -> NewRecord {
    record(shard, seq, "MESSAGE_CREATE", 20)
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn append(spool: &Spool, records: Vec<NewRecord>) -> Vec<Placed> {
    wait(spool.append(sink(), records)).unwrap()
}

/// All that is left of a stream.
fn load(spool: &Spool, shard: u32) -> Vec<Record> {
    let (mut records, mut from) = (Vec::new(), 0);
    loop {
        let loaded = wait(spool.load(key(shard), from, 1_000, 1 << 20)).unwrap();
        if loaded.next <= from {
            return records;
        }
        records.extend(loaded.records);
        from = loaded.next;
    }
}

fn seqs(spool: &Spool, shard: u32) -> Vec<u64> {
    load(spool, shard).iter().map(|record| record.seq).collect()
}

/// Waits for what the thread does by itself.
fn until(spool: &Spool, what: &str, is_so: impl Fn(&SpoolStatus) -> bool) {
    for _ in 0..3_000 {
        if is_so(&spool.status(sink())) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what}: {:?}", spool.status(sink()));
}

#[test]
fn records_come_back_in_order_and_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let first: Vec<NewRecord> = [(0, 1), (1, 1), (0, 2)].map(|(shard, seq)| message(shard, seq)).into();
    assert_eq!(append(&spool, first.clone()), [Placed::At(0), Placed::At(0), Placed::At(1)]);
    let other_route = NewRecord { route: Tag::of("elsewhere"), ..message(0, 9) };
    assert_eq!(append(&spool, vec![other_route]), [Placed::At(0)]);
    assert_eq!(load(&spool, 0), [Record::of(&first[0], 0), Record::of(&first[2], 1)]);
    assert_eq!(load(&spool, 1), [Record::of(&first[1], 0)]);
    assert_eq!(load(&spool, 2), []);
    assert_eq!(spool.status(sink()).events, 4);
    assert_eq!(spool.status(Tag::of("another")), SpoolStatus::default());
}

#[test]
fn a_load_ends_at_records_or_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    append(&spool, (1..=9).map(|seq| message(0, seq)).collect());
    let size = message(0, 1).payload.len();
    let count = |from, records, bytes| {
        let loaded = wait(spool.load(key(0), from, records, bytes)).unwrap();
        (loaded.records.len(), loaded.next)
    };
    assert_eq!(count(0, 4, usize::MAX), (4, 4));
    assert_eq!(count(4, 100, usize::MAX), (5, 9));
    assert_eq!(count(0, 100, 2 * size), (2, 2));
    assert_eq!(count(0, 100, 0), (1, 1));
    assert_eq!(count(9, 100, 100), (0, 9));
}

#[test]
fn indices_go_on_over_emptiness_and_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    append(&spool, vec![message(0, 1), message(0, 2)]);
    spool.remove(key(0), 2);
    until(&spool, "removed", |status| status.events == 0 && status.bytes == 0);
    assert_eq!(spool.streams(sink()), []);
    drop(spool);

    let spool = open(folder.path());
    assert_eq!(append(&spool, vec![message(0, 3), message(0, 4), message(0, 5)]), [2, 3, 4].map(Placed::At));
    spool.remove(key(0), 3);
    until(&spool, "removed", |status| status.events == 2);
    drop(spool);

    let spool = open(folder.path());
    let states = spool.streams(sink());
    let [state] = states.as_slice() else { panic!("{states:?}") };
    assert_eq!((state.key, state.head, state.tail, state.bytes), (key(0), 3, 5, spool.status(sink()).bytes));
    let sizes: u64 = [4, 5].iter().map(|seq| format::record_size(&message(0, *seq))).sum();
    assert_eq!(state.bytes, sizes);
    assert_eq!(seqs(&spool, 0), [4, 5]);
}

#[test]
fn marks_outlive_what_they_mark() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    append(&spool, vec![message(0, 7), NewRecord { part: 2, ..message(0, 7) }, message(0, 6), message(1, 3)]);
    spool.remove(key(0), u64::MAX);
    until(&spool, "removed", |status| status.events == 1);
    drop(spool);

    let spool = open(folder.path());
    let mark = spool.marks(sink())[&(key(0).route, 0)];
    assert!(mark.covers("session-0", 7, 2) && mark.covers("session-0", 1, 9));
    assert!(!mark.covers("session-0", 7, 3) && !mark.covers("session-1", 1, 0));
    let origin = Origin { generation: 2, shard: 0, session: "newer".into() };
    append(&spool, vec![NewRecord { origin, ..message(0, 1) }]);
    let mark = spool.marks(sink())[&(key(0).route, 0)];
    assert!(mark.covers("newer", 1, 0) && !mark.covers("session-0", 1, 0));
}

#[test]
fn what_comes_out_of_its_turn_is_no_mark() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    append(&spool, vec![message(0, 7)]);
    let origin = Origin { generation: 1, shard: 0, session: "older".into() };
    for entry in [Entry::Again, Entry::Moved] {
        append(
            &spool,
            vec![NewRecord { entry, origin: origin.clone(), ..message(0, 99) }, NewRecord { entry, ..message(0, 9) }],
        );
    }
    let mark = spool.marks(sink())[&(key(0).route, 0)];
    assert!(mark.covers("session-0", 7, 0) && !mark.covers("session-0", 8, 0) && !mark.covers("older", 1, 0));
    assert_eq!(seqs(&spool, 0), [7, 99, 9, 99, 9]);
}

#[test]
fn a_purge_takes_one_sink_only() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    append(&spool, (0..20_000).map(|seq| message(seq as u32 % 7, seq)).collect());
    wait(spool.append(Tag::of("other"), vec![message(0, 1)])).unwrap();
    assert_eq!(wait(spool.purge(sink())), Ok(20_000));
    assert_eq!(spool.status(sink()), SpoolStatus::default());
    assert_eq!(spool.status(Tag::of("other")).events, 1);
    assert_eq!(append(&spool, vec![message(0, 30_000)]), [Placed::At(2_858)]);
}

#[test]
fn a_purge_takes_what_was_there_when_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    append(&spool, (0..20_000).map(|seq| message(0, seq)).collect());
    let purged = spool.purge(sink());
    let appended = spool.append(sink(), vec![message(0, 20_000)]);
    assert_eq!(wait(appended), Ok(vec![Placed::At(20_000)]));
    assert_eq!(wait(purged), Ok(20_000));
    assert_eq!(seqs(&spool, 0), [20_000]);
}

#[test]
fn what_is_too_old_is_left_out_and_counted_once() {
    let folder = tempfile::tempdir().unwrap();
    let interaction = EventKind::of(b"INTERACTION_CREATE");
    let hour = Duration::from_secs(3_600);
    let expiry = Expiry { any: Some(hour), by_kind: vec![(interaction, hour / 4)] };
    let aged = |seq, kind, minutes: u64| {
        let fresh = record(0, seq, kind, 0);
        NewRecord { received_ms: fresh.received_ms - minutes * 60_000, ..fresh }
    };
    let spool = open(folder.path());
    let records = [(1, "MESSAGE_CREATE", 61), (2, "MESSAGE_CREATE", 1), (3, "INTERACTION_CREATE", 16)];
    append(&spool, records.map(|(seq, kind, minutes)| aged(seq, kind, minutes)).into());
    append(&spool, vec![aged(4, "INTERACTION_CREATE", 1)]);
    drop(spool);

    let spool = open_with(folder.path(), SpoolLimits { expiry, ..limits() });
    until(&spool, "swept", |status| status.events == 3);
    for _ in 0..2 {
        let loaded = wait(spool.load(key(0), 0, 9, usize::MAX)).unwrap();
        let seqs: Vec<u64> = loaded.records.iter().map(|record| record.seq).collect();
        assert_eq!((seqs, loaded.expired), (vec![2, 4], vec![2]), "whoever loads it counts it");
    }
    assert_eq!(spool.status(sink()).expired, 1, "what was swept");
}

#[test]
fn what_was_given_out_does_not_expire_here() {
    let folder = tempfile::tempdir().unwrap();
    let expiry = Expiry { any: Some(Duration::from_secs(60)), by_kind: vec![] };
    let spool = open(folder.path());
    let aged = |shard, seq| NewRecord { received_ms: message(shard, seq).received_ms - 120_000, ..message(shard, seq) };
    append(
        &spool,
        vec![aged(0, 1), aged(0, 2), NewRecord { entry: Entry::InFlight, ..aged(1, 1) }, aged(2, 1), aged(2, 2)],
    );
    assert_eq!(wait(spool.load(key(0), 0, 1, 1)).unwrap().records.len(), 1);
    // From here on everything is too old, and the next search finds what it may.
    spool.set_limits(SpoolLimits { expiry, ..limits() }).unwrap();
    until(&spool, "swept", |status| status.events == 3);
    std::thread::sleep(Duration::from_millis(200));
    let streams: Vec<(u32, u64)> = spool.streams(sink()).iter().map(|state| (state.key.shard, state.head)).collect();
    assert_eq!((streams, spool.status(sink()).expired), (vec![(0, 0), (1, 0)], 2));
}

#[test]
fn nothing_is_dropped_without_a_count() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open_with(folder.path(), SpoolLimits { max_bytes: 100_000, ..limits() });
    let send = |kind: &str, keep| {
        let entry = if keep { Entry::InFlight } else { Entry::Fresh };
        wait(spool.append(sink(), vec![NewRecord { entry, ..record(0, 1, kind, 900) }]))
    };
    while spool.status(sink()).bytes < 80_000 {
        assert!(matches!(send("TYPING_START", false).unwrap()[..], [Placed::At(_)]));
    }
    assert_eq!(send("TYPING_START", false), Ok(vec![Placed::Dropped]));
    while spool.status(sink()).bytes < 95_000 {
        assert!(matches!(send("CHANNEL_UPDATE", false).unwrap()[..], [Placed::At(_)]));
    }
    assert_eq!(send("CHANNEL_UPDATE", false), Ok(vec![Placed::Dropped]));
    assert!(matches!(send("PRESENCE_UPDATE", true).unwrap()[..], [Placed::At(_)]));
    let full = loop {
        if let Err(full) = send("MESSAGE_CREATE", false) {
            break full;
        }
    };
    assert!(matches!(full, SpoolTrouble::Full { limit: 100_000, .. }), "{full}");
    assert!(matches!(send("TYPING_START", true), Err(SpoolTrouble::Full { .. })));
    let again = NewRecord { entry: Entry::Again, ..record(0, 1, "TYPING_START", 900) };
    assert!(matches!(wait(spool.append(sink(), vec![again])), Err(SpoolTrouble::Full { .. })));
    let mixed = ["TYPING_START", "MESSAGE_CREATE"].map(|kind| record(0, 1, kind, 900));
    assert!(matches!(wait(spool.append(sink(), mixed.into())), Err(SpoolTrouble::Full { .. })));
    let status = spool.status(sink());
    assert_eq!(status.dropped, [1, 1, 0]);
    assert!(status.trouble.is_some_and(|trouble| trouble.starts_with("the spool is full")));

    spool.remove(key(0), 10);
    until(&spool, "removed", |status| status.bytes < 95_000);
    assert!(send("MESSAGE_CREATE", false).is_ok());
    assert_eq!(spool.status(sink()).trouble, None);
}

#[test]
fn held_means_that_nothing_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let limits = SpoolLimits { max_bytes: 10_000, when_full: WhenFull::Hold, ..limits() };
    let spool = open_with(folder.path(), limits);
    while wait(spool.append(sink(), vec![record(0, 1, "TYPING_START", 900)])).is_ok() {}
    let status = spool.status(sink());
    assert_eq!(status.dropped, [0; 3]);
    assert!(status.bytes > 9_000 && status.bytes <= 10_000, "{status:?}");
}

#[test]
fn a_second_agent_is_refused_and_let_in_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let spool = open(folder.path());
    let refused = Spool::open(&folder.path().join("spool"), limits()).unwrap_err();
    assert!(matches!(refused, SpoolError::InUse(_)), "{refused}");
    drop(spool);
    open(folder.path());
}

#[test]
fn a_folder_that_cannot_be_is_told() {
    let refused = Spool::open(Path::new("/proc/nothing"), limits()).unwrap_err();
    assert!(refused.to_string().starts_with("cannot use the spool in /proc/nothing: "), "{refused}");
}
