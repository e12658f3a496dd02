//! The thread that touches the disk: appends that wait become one batch; a database that fails is opened again.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::disk::{free_bytes, taken_bytes};
use super::file::{File, Unread, Write, describe};
use super::format::{Undecodable, read_before, read_record, write_record};
use super::handle::Shared;
use super::ledger::{Staged, Stream};
use super::{Entry, Loaded, NewRecord, Placed, Record, SpoolLimits, SpoolTrouble, StreamKey, Tag};
use crate::memory;
use crate::telemetry::clock::now_ms;

/// Requests that are taken together.
const TURN: usize = 256;
/// Bytes of records after which a batch is written.
const BATCH_BYTES: usize = 1 << 20;
/// Records that one batch removes: appends wait for no more.
const REMOVALS: u64 = 4_096;
/// Records that one request or search looks at.
const EXAMINED: u64 = 4_096;
/// Counted records of a stream at which those that are gone are forgotten, first.
const PRUNED: usize = 1_024;
/// From a write to the moment when it survives power loss.
const SYNC: Duration = Duration::from_secs(1);
/// Between attempts to use a disk that fails.
const RETRY: Duration = Duration::from_secs(1);
/// Between searches for what is too old.
const SWEEP: Duration = Duration::from_secs(60);
/// Between looks at how far giving back has come.
const LOOK: Duration = Duration::from_millis(50);
/// Bytes on disk above twice what is held, after which a spool that rests gives them back.
const REST: u64 = 4 << 20;
/// Bytes removed above what is held, after which a spool that is written to gives them back.
const REMOVED: u64 = 32 << 20;

/// What stands at an index.
enum Found {
    Record(Record),
    Expired,
    Unreadable,
}

type Done<T> = oneshot::Sender<Result<T, SpoolTrouble>>;

/// What the thread is asked.
#[derive(Debug)]
pub(super) enum Command {
    Append { sink: Tag, records: Vec<NewRecord>, done: Done<Vec<Placed>> },
    Load { key: StreamKey, from: u64, max_records: usize, max_bytes: usize, done: Done<Loaded> },
    Purge { sink: Tag, done: Done<u64> },
    Limits(SpoolLimits),
    Wake,
}

/// Changes that are written together, and who waits for them.
#[derive(Default)]
struct Batch {
    writes: Vec<Write>,
    staged: Staged,
    bytes: usize,
    removed: u64,
    appends: Vec<(Tag, Done<Vec<Placed>>, Vec<Placed>)>,
    removals: Vec<(StreamKey, u64)>,
}

/// A purge that is under way.
struct Purge {
    sink: Tag,
    events: u64,
    done: Done<u64>,
}

/// How far it is with giving disk space back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum GivingBack {
    No,
    /// All that was written is on its way out of the journal.
    Flushing,
    Compacting,
}

pub(super) struct Writer {
    /// None after it failed.
    file: Option<File>,
    folder: PathBuf,
    limits: SpoolLimits,
    shared: Arc<Shared>,
    retry_at: Instant,
    /// The first write that may not survive power loss.
    unsynced: Option<Instant>,
    last_write: Instant,
    giving_back: GivingBack,
    /// Something was written since disk space was given back, or may have been before the start.
    changed: bool,
    /// Bytes removed since then.
    removed: u64,
    purges: Vec<Purge>,
    sweep_at: Instant,
    /// The streams' expired and unreadable records that have been counted here and are there still. They are not always
    /// read in order.
    counted: HashMap<StreamKey, BTreeSet<u64>>,
    /// Up to where each stream was loaded, or kept because it was in flight: it is their holder's to expire what is below.
    given_out: HashMap<StreamKey, u64>,
    /// One encoded record.
    scratch: Vec<u8>,
}

impl Writer {
    pub(super) fn new(file: File, folder: &Path, limits: SpoolLimits, shared: Arc<Shared>) -> Self {
        let now = Instant::now();
        Self {
            file: Some(file),
            folder: folder.to_owned(),
            limits,
            shared,
            retry_at: now,
            unsynced: None,
            last_write: now,
            giving_back: GivingBack::No,
            changed: true,
            removed: 0,
            purges: Vec::new(),
            sweep_at: now,
            counted: HashMap::new(),
            given_out: HashMap::new(),
            scratch: Vec::new(),
        }
    }

    pub(super) fn run(&mut self, commands: &Receiver<Command>) {
        loop {
            match commands.recv_timeout(self.pause()) {
                Ok(first) => self.turn(std::iter::once(first).chain(commands.try_iter().take(TURN - 1))),
                Err(RecvTimeoutError::Timeout) => self.turn(std::iter::empty()),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.keep_house();
            // Otherwise the files would grow for as long as compaction gets less of the machine than appends do.
            while self.is_behind() {
                std::thread::sleep(LOOK);
                self.keep_house();
            }
        }
        while !self.shared.removals().is_empty() && self.shared.trouble().is_none() {
            self.turn(std::iter::empty());
        }
        if let Some(file) = &self.file
            && let Err(reason) = file.sync()
        {
            self.fail(reason);
        }
    }

    /// How long it may wait for requests.
    fn pause(&self) -> Duration {
        if self.shared.trouble().is_some() {
            return RETRY;
        }
        if !self.shared.removals().is_empty() {
            return Duration::ZERO;
        }
        let now = Instant::now();
        let sync = self.unsynced.map(|since| since + SYNC);
        let give_back = match self.giving_back {
            GivingBack::No => self.give_back_at(),
            GivingBack::Flushing | GivingBack::Compacting => Some(now + LOOK),
        };
        let sweep = (!self.limits.expiry.is_never()).then_some(self.sweep_at);
        let next = [sync, give_back, sweep].into_iter().flatten().min();
        next.map_or(SWEEP, |next| next.saturating_duration_since(now))
    }

    fn turn(&mut self, commands: impl Iterator<Item = Command>) {
        let mut batch = Batch::default();
        let mut loads = Vec::new();
        let mut room = None;
        for command in commands {
            match command {
                Command::Append { sink, records, done } => {
                    match room.get_or_insert_with(|| self.check_room()) {
                        Ok(()) => self.stage(&mut batch, sink, &records, done),
                        Err(trouble) => {
                            let _ = done.send(Err(trouble.clone()));
                        }
                    }
                    if batch.bytes >= BATCH_BYTES {
                        let _ = self.commit(std::mem::take(&mut batch));
                    }
                }
                Command::Load { .. } => loads.push(command),
                Command::Purge { sink, done } => {
                    let _ = self.commit(std::mem::take(&mut batch));
                    self.begin_purge(sink, done);
                }
                Command::Limits(limits) => self.limits = limits,
                Command::Wake => {}
            }
        }
        self.stage_removals(&mut batch);
        let removed = self.commit(batch);
        self.answer_purges(&removed);
        for command in loads {
            if let Command::Load { key, from, max_records, max_bytes, done } = command {
                let _ = done.send(self.load(&key, from, max_records, max_bytes));
            }
        }
    }

    fn check_room(&mut self) -> Result<(), SpoolTrouble> {
        let free = free_bytes(&self.folder).map_err(|err| self.disk(err.to_string()))?;
        if free >= self.limits.reserve_bytes {
            return Ok(());
        }
        let trouble = SpoolTrouble::DiskFull { folder: self.folder.clone(), free, wanted: self.limits.reserve_bytes };
        self.tell(Some(trouble.clone()));
        Err(trouble)
    }

    /// Places the records; an append that has to wait is answered at once.
    fn stage(&mut self, batch: &mut Batch, sink: Tag, records: &[NewRecord], done: Done<Vec<Placed>>) {
        let Batch { writes, staged, bytes, appends, .. } = batch;
        let (scratch, given_out) = (&mut self.scratch, &mut self.given_out);
        let placed = staged.append(&self.shared.ledger(), &self.limits, sink, records, |record, place| {
            if record.entry == Entry::InFlight {
                given_out.insert(place.key, place.index + 1);
            }
            write_record(scratch, record, place.before);
            *bytes += scratch.len();
            writes.push(Write::Put(place.key, place.index, scratch.as_slice().into()));
        });
        match placed {
            Ok(placed) => appends.push((sink, done, placed)),
            Err(held) => {
                self.shared.ledger().account_mut(sink).full = true;
                let _ = done.send(Err(SpoolTrouble::Full { held, limit: self.limits.max_bytes }));
            }
        }
    }

    /// Takes what is to be removed, up to what one batch removes.
    fn stage_removals(&mut self, batch: &mut Batch) {
        let mut left = REMOVALS;
        while left > 0 {
            let Some((key, below)) = self.shared.removals().iter().next().map(|(key, below)| (*key, *below)) else {
                return;
            };
            let stream = *batch.staged.stream_mut(&self.shared.ledger(), key);
            let to = below.min(stream.tail).min(stream.head + left);
            let before = if to < stream.tail { self.bytes_before(&key, to) } else { None };
            batch.removed += batch.staged.stream_mut(&self.shared.ledger(), key).remove(to, before);
            batch.writes.extend((stream.head..to).map(|index| Write::Remove(key, index)));
            left -= to.saturating_sub(stream.head);
            batch.removals.push((key, below));
            if to >= below.min(stream.tail) {
                let mut removals = self.shared.removals();
                if removals.get(&key) == Some(&below) {
                    removals.remove(&key);
                }
            }
        }
    }

    fn bytes_before(&self, key: &StreamKey, index: u64) -> Option<u64> {
        let value = self.file.as_ref()?.get(key, index).ok()?;
        read_before(&value).ok()
    }

    /// Writes the batch and answers those who wait for it. What could not be removed is removed later.
    fn commit(&mut self, batch: Batch) -> Result<(), SpoolTrouble> {
        let Batch { writes, staged, removed, appends, removals, .. } = batch;
        let writes_something = !writes.is_empty();
        if writes_something && let Err(trouble) = self.write(writes, &staged) {
            for (_, done, _) in appends {
                let _ = done.send(Err(trouble.clone()));
            }
            for (key, below) in removals {
                self.shared.remove(key, below);
            }
            return Err(trouble);
        }
        self.removed += removed;
        if !staged.is_empty() {
            let mut ledger = self.shared.ledger();
            ledger.apply(staged);
            for (sink, ..) in &appends {
                ledger.account_mut(*sink).full = false;
            }
        }
        if writes_something && !appends.is_empty() {
            self.tell(None);
        }
        for (_, done, placed) in appends {
            let _ = done.send(Ok(placed));
        }
        Ok(())
    }

    fn write(&mut self, writes: Vec<Write>, staged: &Staged) -> Result<(), SpoolTrouble> {
        let result = self.file()?.commit(writes, staged);
        if let Err(reason) = result {
            return Err(self.fail(reason));
        }
        self.last_write = Instant::now();
        self.changed = true;
        self.unsynced.get_or_insert(self.last_write);
        Ok(())
    }

    fn load(
        &mut self,
        key: &StreamKey,
        from: u64,
        max_records: usize,
        max_bytes: usize,
    ) -> Result<Loaded, SpoolTrouble> {
        let stream = self.shared.ledger().stream(key);
        let mut next = from.max(stream.head);
        let end = stream.tail.min(next.saturating_add(EXAMINED));
        let (mut records, mut expired) = (Vec::new(), Vec::new());
        let mut bytes = 0;
        while next < end && records.len() < max_records && (records.is_empty() || bytes < max_bytes) {
            match self.read(key, next) {
                Ok(Found::Record(record)) => {
                    bytes += record.payload.len();
                    records.push(record);
                }
                Ok(Found::Expired) if self.is_counted(key, next) => {}
                Ok(Found::Expired) => expired.push(next),
                Ok(Found::Unreadable) => {}
                Err(trouble) if records.is_empty() => return Err(trouble),
                Err(_) => break,
            }
            next += 1;
        }
        let given_out = self.given_out.entry(*key).or_default();
        *given_out = next.max(*given_out);
        Ok(Loaded { records, expired, next })
    }

    /// A record, where it has neither expired nor never can be read; that is counted.
    fn read(&mut self, key: &StreamKey, index: u64) -> Result<Found, SpoolTrouble> {
        let read = self.file()?.get(key, index);
        let damage = match read {
            Ok(value) => match read_record(key.shard, index, &value) {
                Ok(record) if !self.limits.expiry.is_over(record.kind, now_ms().saturating_sub(record.received_ms)) => {
                    return Ok(Found::Record(record));
                }
                Ok(_) => return Ok(Found::Expired),
                Err(Undecodable::Newer(version)) => return Err(SpoolTrouble::Newer { version }),
                Err(Undecodable::Damaged) => "it is damaged".to_owned(),
            },
            Err(Unread::Damaged(reason)) => reason,
            Err(Unread::Failed(reason)) => return Err(self.disk(reason)),
        };
        if self.count(key, index) {
            self.shared.ledger().account_mut(key.sink).unreadable += 1;
            tracing::error!("record {index} of shard {} in the spool cannot be read: {damage}", key.shard);
        }
        Ok(Found::Unreadable)
    }

    fn is_counted(&self, key: &StreamKey, index: u64) -> bool {
        self.counted.get(key).is_some_and(|counted| counted.contains(&index))
    }

    /// Whether the record was not counted before.
    fn count(&mut self, key: &StreamKey, index: u64) -> bool {
        let counted = self.counted.entry(*key).or_default();
        if counted.len() >= PRUNED && counted.len().is_power_of_two() {
            *counted = counted.split_off(&self.shared.ledger().stream(key).head);
        }
        counted.insert(index)
    }

    /// Notes all that the sink holds for removal, which goes on between other requests.
    fn begin_purge(&mut self, sink: Tag, done: Done<u64>) {
        let events = self.shared.ledger().account(sink).events;
        let streams = self.shared.ledger().states(sink);
        for state in streams {
            self.shared.remove(state.key, state.tail);
        }
        self.purges.push(Purge { sink, events, done });
    }

    /// Answers purges that are done; where removing failed, all of them.
    fn answer_purges(&mut self, removed: &Result<(), SpoolTrouble>) {
        for purge in std::mem::take(&mut self.purges) {
            let is_left = |key: &StreamKey| key.sink == purge.sink;
            match removed {
                Ok(()) if self.shared.removals().keys().any(is_left) => self.purges.push(purge),
                outcome => {
                    let _ = purge.done.send(outcome.clone().map(|()| purge.events));
                }
            }
        }
    }

    fn keep_house(&mut self) {
        let now = Instant::now();
        if self.unsynced.is_some_and(|since| now >= since + SYNC) {
            self.unsynced = None;
            if let Some(file) = &self.file
                && let Err(reason) = file.sync()
            {
                self.fail(reason);
            }
        }
        if self.shared.trouble().is_some() && self.check_room().is_ok() && self.file().is_ok() {
            self.tell(None);
        }
        if now >= self.sweep_at && !self.limits.expiry.is_never() {
            self.sweep_at = now + SWEEP;
            self.sweep();
        }
        match self.giving_back {
            GivingBack::No if self.give_back_at().is_none_or(|at| now < at) => {}
            _ => self.give_back(),
        }
    }

    /// Removes what has expired at the heads of streams of which nothing is given out; goes on soon where that is much.
    fn sweep(&mut self) {
        let is_here = |(key, stream): &(StreamKey, Stream)| self.given_out.get(key).is_none_or(|to| *to <= stream.head);
        let streams: Vec<_> = self.shared.ledger().filled().filter(is_here).collect();
        let mut left = EXAMINED;
        for (key, stream) in streams {
            let end = stream.tail.min(stream.head + left);
            let live = (stream.head..end).find(|index| match self.read(&key, *index) {
                Ok(Found::Unreadable) => false,
                Ok(Found::Expired) => {
                    let expired = u64::from(self.count(&key, *index));
                    self.shared.ledger().account_mut(key.sink).expired += expired;
                    false
                }
                Ok(Found::Record(_)) | Err(_) => true,
            });
            let below = live.unwrap_or(end);
            if below > stream.head {
                self.shared.remove(key, below);
            }
            left -= below - stream.head;
            if left == 0 {
                self.sweep_at = Instant::now();
                return;
            }
        }
    }

    /// When to give disk space back: at once where much more was removed than is held, else when nothing is written for a
    /// while.
    fn give_back_at(&self) -> Option<Instant> {
        self.file.as_ref()?;
        if self.owes() {
            return Some(self.last_write);
        }
        self.changed.then(|| self.last_write + SYNC)
    }

    /// Whether much more was removed than is held.
    fn owes(&self) -> bool {
        self.removed > self.shared.ledger().bytes() + REMOVED
    }

    /// Whether as much as that was removed again before it was given back.
    fn is_behind(&self) -> bool {
        self.giving_back != GivingBack::No && self.owes()
    }

    /// Takes the next step to make the files as small as what they hold.
    fn give_back(&mut self) {
        if self.giving_back == GivingBack::No && !self.owes() {
            let held = self.shared.ledger().bytes();
            // The memory of a spool that is empty again counts as well: it may be that of several memtables.
            let emptied = held == 0 && self.removed > 0;
            self.changed = emptied || taken_bytes(&self.folder) > 2 * held + REST;
            if !self.changed {
                return;
            }
        }
        let Some(file) = self.file.take() else { return };
        match self.step_back(file) {
            Ok(file) => self.file = file,
            Err(reason) => {
                self.fail(reason);
            }
        }
        let _ = self.file();
        if self.giving_back == GivingBack::No {
            memory::give_back_kept();
        }
    }

    /// The database afterwards; none where it is to be opened again.
    fn step_back(&mut self, mut file: File) -> Result<Option<File>, String> {
        match self.giving_back {
            GivingBack::No => {
                self.changed = false;
                self.removed = 0;
                self.giving_back = GivingBack::Flushing;
                file.flush()?;
            }
            GivingBack::Flushing if file.is_flushed()? => {
                self.giving_back = GivingBack::Compacting;
                file.compact()?;
            }
            GivingBack::Compacting if file.is_compacted()? => {
                self.giving_back = GivingBack::No;
                if !self.changed {
                    file.close_small(&self.folder)?;
                    return Ok(None);
                }
            }
            GivingBack::Flushing | GivingBack::Compacting => {}
        }
        Ok(Some(file))
    }

    /// The database, opened again where it failed.
    fn file(&mut self) -> Result<&File, SpoolTrouble> {
        if self.file.is_none() {
            let now = Instant::now();
            if let Some(trouble) = self.shared.trouble().clone().filter(|_| now < self.retry_at) {
                return Err(trouble);
            }
            match File::open(&self.folder) {
                Ok(file) => self.file = Some(file),
                Err(err) => return Err(self.fail(describe(&err))),
            }
        }
        Ok(self.file.as_ref().expect("it is open"))
    }

    /// Closes a database that is of no use any more.
    fn fail(&mut self, reason: String) -> SpoolTrouble {
        self.file = None;
        self.giving_back = GivingBack::No;
        self.changed = true;
        self.retry_at = Instant::now() + RETRY;
        let trouble = self.disk(reason);
        self.tell(Some(trouble.clone()));
        trouble
    }

    fn disk(&self, reason: String) -> SpoolTrouble {
        SpoolTrouble::Disk { folder: self.folder.clone(), reason }
    }

    fn tell(&self, trouble: Option<SpoolTrouble>) {
        let mut told = self.shared.trouble();
        if let (Some(trouble), None) = (&trouble, &*told) {
            tracing::error!("{trouble}");
        }
        *told = trouble;
    }
}
