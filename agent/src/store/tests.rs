//! What survives kill -9, torn files, second processes and a full disk.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redb::StorageBackend;
use redb::backends::FileBackend;

use super::*;
use crate::gateway::guilds::{GuildState, entry};
use tokio::sync::oneshot;

fn session(shard: u32, id: &str, confirmed: u64) -> StoredSession {
    StoredSession {
        generation: 1,
        shard,
        total: 5_000,
        session_id: id.to_owned(),
        resume_url: "wss://gateway-us-east1-b.discord.gg".to_owned(),
        confirmed,
        version: 10,
        compression: Compression::Zlib,
        intents: 513,
        since_ms: 1_790_000_000_000,
        user: 9,
    }
}

fn put(session: StoredSession) -> Change {
    Change::Put { session, guilds: vec![entry(7, GuildState::Awaited), entry(8, GuildState::New)] }
}

fn save(writer: &StoreWriter, changes: Vec<Change>) {
    let (done, wait) = oneshot::channel();
    writer.save(changes, done).expect("there is room");
    wait.blocking_recv().expect("the store is open");
}

fn writer(folder: &Path) -> StoreWriter {
    Store::open(folder).unwrap().into_writer().unwrap()
}

#[test]
fn what_was_saved_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let budget = Budget { total: 1000, remaining: 812, resets_at_ms: 1_790_011_520_000 };
    let writer = writer(folder.path());
    save(&writer, vec![put(session(0, "a", 5)), put(session(1, "b", 0)), Change::Budget(budget)]);
    save(&writer, vec![Change::confirmed(&session(0, "a", 5), 9), Change::Remove { generation: 1, shard: 1 }]);
    drop(writer);
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(store.sessions(), [session(0, "a", 9)]);
    assert_eq!(store.budget(), Some(budget));
    assert_eq!(store.set_aside(), None);
}

#[test]
fn the_first_session_of_another_total_ends_those_of_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let of = |total, shard| StoredSession { total, ..session(shard, &format!("{total}-{shard}"), 5) };
    let other = StoredSession { generation: 2, ..of(8, 0) };
    save(&writer(folder.path()), (0..8).map(|shard| put(of(8, shard))).chain([put(other.clone())]).collect());
    let sessions = |folder: &Path| Store::open(folder).unwrap().sessions().to_vec();
    assert_eq!(sessions(folder.path()).len(), 9, "while no other set has begun they can be resumed");
    save(&writer(folder.path()), vec![put(of(4, 2)), Change::confirmed(&of(8, 5), 9), put(of(4, 0))]);
    assert_eq!(sessions(folder.path()), [of(4, 0), of(4, 2), other]);
}

#[test]
fn a_sequence_is_never_combined_with_another_session() {
    let folder = tempfile::tempdir().unwrap();
    let writer = writer(folder.path());
    save(&writer, vec![put(session(0, "old", 5))]);
    save(&writer, vec![put(session(0, "new", 1)), Change::confirmed(&session(0, "old", 5), 900)]);
    save(&writer, vec![Change::confirmed(&session(0, "new", 1), 3), Change::confirmed(&session(0, "new", 1), 2)]);
    save(&writer, vec![Change::confirmed(&session(7, "never put", 1), 3)]);
    drop(writer);
    assert_eq!(Store::open(folder.path()).unwrap().sessions(), [session(0, "new", 3)]);
}

#[test]
fn guilds_move_with_the_sequence_and_outlive_the_session() {
    let folder = tempfile::tempdir().unwrap();
    let writer = writer(folder.path());
    let confirmed = |session: &StoredSession, seq, guilds: Vec<GuildChange>| {
        let tag = SessionTag::of(&session.session_id);
        Change::Confirmed { generation: 1, shard: session.shard, session: tag, seq, guilds }
    };
    let (old, new) = (session(0, "old", 0), session(0, "new", 0));
    save(
        &writer,
        vec![put(old.clone()), confirmed(&old, 4, vec![(7, Some(GuildState::Here)), (9, Some(GuildState::Here))])],
    );
    save(&writer, vec![confirmed(&old, 4, vec![(9, None)]), confirmed(&new, 9, vec![(8, None)])]);
    save(&writer, vec![confirmed(&old, 5, vec![(9, Some(GuildState::Out)), (8, None)])]);
    save(&writer, vec![Change::Remove { generation: 1, shard: 0 }]);
    drop(writer);
    let mut store = Store::open(folder.path()).unwrap();
    assert!(store.sessions().is_empty());
    let guilds = store.guilds(1, 5_000).unwrap();
    assert_eq!(guilds.len(), 1);
    assert_eq!(guilds[&0].packed(), [entry(7, GuildState::Here), entry(9, GuildState::Out)]);
}

#[test]
fn another_total_shares_the_guilds_out_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let writer = writer(folder.path());
    let ids = [0, 1, 2, 3].map(|number| number << 22 | 5);
    let session = StoredSession { total: 1, ..session(0, "a", 0) };
    let packed = ids.map(|id| entry(id, GuildState::Here)).to_vec();
    save(&writer, vec![Change::Put { session, guilds: packed }]);
    drop(writer);
    for _ in 0..2 {
        let mut store = Store::open(folder.path()).unwrap();
        let guilds = store.guilds(1, 2).unwrap();
        let of = |shard: u32| guilds[&shard].ids().collect::<Vec<_>>();
        assert_eq!((of(0), of(1)), (vec![ids[0], ids[2]], vec![ids[1], ids[3]]));
    }
}

/// A copy of the file of a running store is what kill -9 leaves behind.
#[test]
fn kill_9_leaves_everything_that_was_done() {
    let folder = tempfile::tempdir().unwrap();
    let writer = writer(folder.path());
    save(&writer, (0..100).map(|shard| put(session(shard, "s", 0))).collect());
    for seq in 1..=20 {
        save(&writer, (0..100).map(|shard| Change::confirmed(&session(shard, "s", 0), seq)).collect());
        let copy = tempfile::tempdir().unwrap();
        fs::copy(folder.path().join(FILE), copy.path().join(FILE)).unwrap();
        let store = Store::open(copy.path()).unwrap();
        assert_eq!(store.set_aside(), None);
        assert_eq!(store.sessions().len(), 100);
        assert!(store.sessions().iter().all(|session| session.confirmed == seq));
    }
}

/// A file that lost its end or some of its pages is found out: nothing wrong is ever read from it.
#[test]
fn a_torn_write_is_repaired_or_set_aside() {
    let mut repaired = 0;
    for seed in 0..40_u64 {
        let folder = tempfile::tempdir().unwrap();
        let writer = writer(folder.path());
        save(&writer, (0..200).map(|shard| put(session(shard, "s", 0))).collect());
        drop(writer);
        let path = folder.path().join(FILE);
        damage(&path, seed);
        let store = Store::open(folder.path()).unwrap();
        if let Some(aside) = store.set_aside() {
            assert!(aside.exists() && aside.to_string_lossy().contains("store.redb.unreadable-"));
            assert!(store.sessions().is_empty());
        } else {
            repaired += 1;
            assert!(store.sessions().iter().all(|found| *found == session(found.shard, "s", 0)), "seed {seed}");
        }
        let writer = store.into_writer().unwrap();
        save(&writer, vec![put(session(3, "after", 1))]);
    }
    assert!(repaired < 40, "no damage was found");
}

fn damage(path: &Path, seed: u64) {
    let length = fs::metadata(path).unwrap().len();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    if seed.is_multiple_of(2) {
        file.set_len(random.u64(1..length)).unwrap();
    } else {
        for _ in 0..8 {
            file.seek(SeekFrom::Start(random.u64(0..length - 512))).unwrap();
            file.write_all(&[0xA5; 512]).unwrap();
        }
    }
}

/// A disk that is full from the first write on.
#[derive(Debug)]
struct Full(FileBackend, Arc<AtomicBool>);

impl StorageBackend for Full {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.1.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
}

/// A writer on a database that fails while `full`; what it opens instead is the folder's own.
fn full_writer(folder: &Path, full: &Arc<AtomicBool>) -> StoreWriter {
    let file = tempfile::tempfile().unwrap();
    let backend = Full(FileBackend::new(file).unwrap(), Arc::clone(full));
    let database = Database::builder().create_with_backend(backend).unwrap();
    StoreWriter::start(database, folder.join(FILE), &[]).unwrap()
}

#[test]
fn a_full_disk_is_told_and_the_write_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let full = Arc::new(AtomicBool::new(false));
    let writer = full_writer(folder.path(), &full);
    full.store(true, Ordering::Relaxed);
    fs::create_dir(folder.path().join(FILE)).unwrap();
    let (done, mut wait) = oneshot::channel();
    writer.save(vec![put(session(0, "a", 6))], done).unwrap();
    std::thread::sleep(Duration::from_millis(1_300));
    assert!(writer.trouble().is_some_and(|trouble| trouble.starts_with("cannot write ")), "{:?}", writer.trouble());
    assert!(wait.try_recv().is_err_and(|err| err == oneshot::error::TryRecvError::Empty));

    fs::remove_dir(folder.path().join(FILE)).unwrap();
    wait.blocking_recv().unwrap();
    assert_eq!(writer.trouble(), None);
    drop(writer);
    assert_eq!(Store::open(folder.path()).unwrap().sessions(), [session(0, "a", 6)]);
}

#[test]
fn closing_does_not_hang_on_a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let full = Arc::new(AtomicBool::new(false));
    let writer = full_writer(folder.path(), &full);
    full.store(true, Ordering::Relaxed);
    fs::create_dir(folder.path().join(FILE)).unwrap();
    let (done, wait) = oneshot::channel();
    writer.save(vec![put(session(0, "a", 6))], done).unwrap();
    let start = Instant::now();
    drop(writer);
    assert!(start.elapsed() < Duration::from_millis(900));
    assert!(wait.blocking_recv().is_err());
}

#[test]
fn what_is_no_store_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(FILE), "this is no database").unwrap();
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(fs::read(store.set_aside().unwrap()).unwrap(), b"this is no database");
}

#[test]
fn a_second_agent_is_refused_and_let_in_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let writer = writer(folder.path());
    let refused = Store::open(folder.path()).unwrap_err();
    assert!(matches!(refused, StoreError::InUse(_)), "{refused}");
    assert!(refused.to_string().contains("is in use by another agent"));
    drop(writer);
    assert!(Store::open(folder.path()).is_ok());
}

#[test]
fn a_folder_that_cannot_be_is_told() {
    let refused = Store::open(Path::new("/proc/nothing")).unwrap_err();
    assert!(refused.to_string().starts_with("cannot use the data folder /proc/nothing: "), "{refused}");
}

#[test]
fn five_thousand_shards_are_saved_in_one_batch() {
    let folder = tempfile::tempdir().unwrap();
    let writer = writer(folder.path());
    let sessions: Vec<StoredSession> = (0..5_000).map(|shard| session(shard, &format!("{shard:032x}"), 0)).collect();
    save(&writer, sessions.iter().cloned().map(put).collect());
    let mut took = Vec::new();
    for seq in 1..=7 {
        let changes = sessions.iter().map(|session| Change::confirmed(session, seq)).collect();
        let start = Instant::now();
        save(&writer, changes);
        took.push(start.elapsed());
    }
    took.sort();
    println!("5,000 sequences: median {:?}", took[3]);
    drop(writer);
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(store.sessions().len(), 5_000);
    assert!(store.sessions().iter().all(|session| session.confirmed == 7));
}

#[test]
fn more_batches_than_can_wait_are_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let full = Arc::new(AtomicBool::new(false));
    let writer = full_writer(folder.path(), &full);
    full.store(true, Ordering::Relaxed);
    fs::create_dir(folder.path().join(FILE)).unwrap();
    let (seq, changes) = (0..5_000)
        .find_map(|seq| {
            let (done, _) = oneshot::channel();
            writer.save(vec![put(session(0, "s", seq))], done).err().map(|changes| (seq, changes))
        })
        .expect("the queue is bounded");
    assert!(seq >= 1_024);
    assert_eq!(changes, [put(session(0, "s", seq))]);
}
