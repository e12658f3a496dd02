//! A queue against a model of the spool and of the other side, in random order.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use pilothouse_shared::ids::GuildId;
use proptest::prelude::*;

use super::*;
use crate::gateway::kind::EventKind;
use crate::pipeline::{Origin, Progress};

mod bounds;

const KIND: EventKind = EventKind::GUILD_CREATE;

/// Shard and guild of events that nobody takes, where a test wants such.
const STUCK: (u32, u64) = (0, 1);

fn bounds(attempts: usize, batch: usize, window: Size) -> Bounds {
    Bounds { attempts, batch, window, spill_after: Some(Duration::from_secs(1)), max_unconfirmed: 8 }
}

#[derive(Clone, Debug)]
enum Step {
    /// Of shard and guild; guild 0: none.
    Push(u8, u8),
    Attempt,
    Deliver(usize),
    Tick(u16),
    /// The spool takes what it is given, drops events of odd sequence that need not be kept, or fails.
    Append(bool),
    AppendFails,
    Load,
    LoadFails(usize),
    Answer(usize),
    /// This record of every shard cannot be read any more.
    Rot(u64),
    Remove,
    SessionLost(u8),
    /// A purge; the books are told.
    Purge,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..3_u8, 0..3_u8).prop_map(|(shard, guild)| Step::Push(shard, guild)),
        10 => Just(Step::Attempt),
        8 => any::<usize>().prop_map(Step::Deliver),
        3 => (0..900_u16).prop_map(Step::Tick),
        4 => prop::bool::weighted(0.1).prop_map(Step::Append),
        1 => Just(Step::AppendFails),
        4 => Just(Step::Load),
        1 => any::<usize>().prop_map(Step::LoadFails),
        4 => any::<usize>().prop_map(Step::Answer),
        1 => (7..60_u64).prop_map(Step::Rot),
        2 => Just(Step::Remove),
        1 => (0..3_u8).prop_map(Step::SessionLost),
    ]
}

/// An event without a guild.
fn event(lane: &Rc<Lane>, seq: u64, bytes: usize) -> Delivery {
    Delivery {
        origin: Rc::clone(&lane.origin),
        stream: lane.origin.shard,
        seq,
        part: 0,
        kind: KIND,
        guild: None,
        received_ms: 0,
        payload: vec![0; bytes].into(),
    }
}

/// One event of a shard: its sequence and guild.
type Told = (u64, u64);

struct Rig {
    queue: Queue,
    lanes: Vec<Rc<Lane>>,
    seqs: Vec<u64>,
    now: Instant,
    out: Vec<Batch>,
    given: Option<Vec<(Delivery, bool)>>,
    loads: Vec<Load>,
    /// By shard: the records of the spool, and the next index.
    disk: BTreeMap<u32, (BTreeMap<u64, Delivery>, u64)>,
    /// Indices that cannot be read, of any shard.
    unreadable: Vec<u64>,
    pushed: BTreeMap<u32, Vec<Told>>,
    delivered: BTreeMap<u32, Vec<Told>>,
    dropped: BTreeMap<u32, Vec<u64>>,
    /// What could not be read; of that some was in memory, too.
    lost: BTreeMap<u32, BTreeSet<u64>>,
}

impl Rig {
    fn new(attempts: usize, batch: usize, drain_per_second: u32) -> Self {
        Self::with_window(attempts, batch, drain_per_second, WINDOW)
    }

    fn with_window(attempts: usize, batch: usize, drain_per_second: u32, window: Size) -> Self {
        let now = Instant::now();
        Self {
            queue: Queue::new(bounds(attempts, batch, window), Pace::new(drain_per_second, now)),
            lanes: (0..3).map(|shard| Lane::new(1, shard, "session", 0, Progress::new())).collect(),
            seqs: vec![0; 3],
            now,
            out: Vec::new(),
            given: None,
            loads: Vec::new(),
            disk: BTreeMap::new(),
            unreadable: vec![9, 10, 30],
            pushed: BTreeMap::new(),
            delivered: BTreeMap::new(),
            dropped: BTreeMap::new(),
            lost: BTreeMap::new(),
        }
    }

    fn push(&mut self, shard: u8, guild: u8) {
        let (at, shard) = (usize::from(shard), u32::from(shard));
        self.seqs[at] += 1;
        let (seq, lane) = (self.seqs[at], Rc::clone(&self.lanes[at]));
        lane.open(seq, self.now, 1);
        // A guild belongs to one shard.
        let guild = (guild > 0).then(|| u64::from(shard) * 10 + u64::from(guild));
        let event = Event { lane, seq, kind: KIND, part: 0, payload: Bytes::new(), received: self.now };
        let delivery = Delivery {
            origin: Rc::clone(&event.lane.origin),
            stream: shard,
            seq,
            part: 0,
            kind: KIND,
            guild: guild.map(GuildId),
            received_ms: 0,
            payload: vec![0; (seq % 5) as usize].into(),
        };
        self.queue.push(&event, delivery);
        self.pushed.entry(shard).or_default().push((seq, guild.unwrap_or(0)));
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Push(shard, guild) => self.push(shard, guild),
            Step::Attempt => self.out.extend(self.queue.take_batch()),
            Step::Deliver(chosen) => self.deliver(chosen),
            Step::Tick(ms) => {
                self.now += Duration::from_millis(ms.into());
                self.queue.tick(self.now);
            }
            Step::Append(drops) => self.append(drops),
            Step::AppendFails => {
                if self.give() {
                    self.given = None;
                    self.queue.append_failed();
                }
            }
            Step::Load => self.loads.extend(self.queue.take_load(self.now)),
            Step::LoadFails(chosen) if !self.loads.is_empty() => {
                let load = self.loads.swap_remove(chosen % self.loads.len());
                self.queue.load_failed(load);
            }
            Step::Answer(chosen) if !self.loads.is_empty() => {
                let load = self.loads.swap_remove(chosen % self.loads.len());
                self.answer(load);
            }
            Step::LoadFails(_) | Step::Answer(_) => {}
            Step::Rot(index) => self.unreadable.push(index),
            Step::Remove => {
                for (shard, below) in self.queue.take_removals() {
                    let (records, _) = self.disk.get_mut(&shard).expect("it has records");
                    *records = records.split_off(&below);
                }
            }
            Step::SessionLost(shard) => self.queue.spill(shard.into()),
            Step::Purge => drop(self.queue.purge(self.now)),
        }
        self.check();
    }

    /// What holds at every moment.
    fn check(&self) {
        let Queue { items, streams, waiting, appending, window, bounds, .. } = &self.queue;
        let mut known: BTreeSet<u64> = streams.values().flat_map(|stream| stream.live.iter().copied()).collect();
        known.extend(waiting.iter().chain(appending).filter_map(|spilled| spilled.out));
        let owed = items.iter().filter(|(_, item)| item.owed.is_some());
        owed.for_each(|(id, _)| assert!(known.contains(id), "{id} can never be spilled"));
        let loaded =
            items.values().filter(|item| item.index.is_some() && !item.out).map(|item| item.delivery.payload.len());
        let used = Size { events: loaded.clone().count(), bytes: loaded.sum() };
        assert_eq!(window.used(), used);
        assert!(used.events <= bounds.window.events, "{used:?}");
    }

    fn deliver(&mut self, chosen: usize) {
        if self.out.is_empty() {
            return;
        }
        let batch = self.out.swap_remove(chosen % self.out.len());
        for delivery in &batch.deliveries {
            let told = (delivery.seq, delivery.guild.map_or(0, |guild| guild.0));
            let delivered = self.delivered.entry(delivery.origin.shard).or_default();
            assert!(!delivered.contains(&told), "{told:?} of shard {} came twice", delivery.origin.shard);
            delivered.push(told);
        }
        self.queue.finished(&batch, self.now);
    }

    fn give(&mut self) -> bool {
        if self.given.is_none() {
            let given = self.queue.take_append();
            self.given = given.map(|given| {
                given.iter().map(|spilled| (spilled.delivery.clone(), spilled.entry() == Entry::InFlight)).collect()
            });
        }
        self.given.is_some()
    }

    fn append(&mut self, drops: bool) {
        if !self.give() {
            return;
        }
        let mut places = Vec::new();
        for (delivery, is_out) in self.given.take().expect("it was given") {
            let shard = delivery.origin.shard;
            if drops && !is_out && delivery.seq % 2 == 1 {
                self.dropped.entry(shard).or_default().push(delivery.seq);
                places.push(Place::Dropped);
                continue;
            }
            let (records, next) = self.disk.entry(shard).or_insert((BTreeMap::new(), 7));
            records.insert(*next, delivery);
            places.push(Place::At(*next));
            *next += 1;
        }
        self.queue.appended(&places, self.now);
    }

    fn answer(&mut self, load: Load) {
        let records = &self.disk.get(&load.shard).expect("it has records").0;
        let records = records.range(load.from..).take(load.count).map(|(index, record)| (*index, record.clone()));
        let mut records: Vec<_> = records.collect();
        let next = records.last().map_or(load.from + load.count as u64, |(index, _)| index + 1);
        let lost = records.extract_if(.., |(index, _)| self.unreadable.contains(index));
        self.lost.entry(load.shard).or_default().extend(lost.map(|(_, delivery)| delivery.seq));
        self.queue.loaded(load, Loaded { records, expired: Vec::new(), next });
    }

    /// Everything works from now on, until nothing is left.
    fn drain(&mut self) {
        for _ in 0..10_000 {
            self.go_on();
            self.step(Step::Deliver(0));
            let idle = self.queue.queued() == 0 && self.queue.spooled() == 0 && self.out.is_empty();
            if idle && self.queue.waiting.is_empty() && self.loads.is_empty() {
                return;
            }
        }
        panic!("something is stuck: {} in memory, {} spooled", self.queue.queued(), self.queue.spooled());
    }

    fn go_on(&mut self) {
        self.step(Step::Tick(0));
        self.step(Step::Append(false));
        self.step(Step::Load);
        self.step(Step::Answer(0));
        self.step(Step::Attempt);
        self.step(Step::Remove);
        self.now += Duration::from_millis(1);
    }

    fn is_stuck(batch: &Batch) -> bool {
        batch.deliveries.iter().any(|delivery| Key::of(delivery) == Key::Guild(GuildId(STUCK.1)))
    }

    /// As [`Self::drain`], but nobody takes the events that are stuck.
    fn drain_beside_stuck(&mut self) {
        for _ in 0..3_000 {
            self.go_on();
            if let Some(taken) = self.out.iter().position(|batch| !Self::is_stuck(batch)) {
                self.deliver(taken);
            }
        }
    }

    /// Every event of a shard but those of a guild that were not delivered, dropped or lost.
    fn missing(&self, shard: u32, but: u64) -> Vec<u64> {
        let has = |seqs: Option<&BTreeSet<u64>>, seq| seqs.is_some_and(|seqs| seqs.contains(&seq));
        let none = Vec::new();
        let delivered = self.delivered.get(&shard).unwrap_or(&none);
        let dropped = self.dropped.get(&shard);
        let pushed = self.pushed.get(&shard).into_iter().flatten().filter(|(_, guild)| *guild != but);
        let missing = pushed.filter(|told| {
            let is_dropped = dropped.is_some_and(|dropped| dropped.contains(&told.0));
            !(delivered.contains(told) || is_dropped || has(self.lost.get(&shard), told.0))
        });
        missing.map(|(seq, _)| *seq).collect()
    }

    fn check_order(&self) {
        for (shard, delivered) in &self.delivered {
            let mut last: BTreeMap<u64, u64> = BTreeMap::new();
            for (seq, guild) in delivered {
                let before = last.insert(*guild, *seq);
                assert!(before.is_none_or(|before| before < *seq), "shard {shard}: {seq} came after {before:?}");
            }
        }
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_doubled_or_out_of_order(
        steps in prop::collection::vec(step(), 0..400),
        attempts in 1..5_usize,
        batch in 1..4_usize,
        rate in prop_oneof![Just(10_u32), Just(100_000)],
        events in prop_oneof![1..9_usize, Just(1_000)],
    ) {
        let mut rig = Rig::with_window(attempts, batch, rate, Size { events, bytes: 2 * events });
        for step in steps {
            rig.step(step);
            prop_assert!(rig.out.len() <= attempts);
        }
        rig.queue.hurry(true);
        rig.drain();
        rig.check_order();
        for shard in 0..3_u32 {
            let mut all: Vec<u64> = rig.delivered.remove(&shard).unwrap_or_default().iter().map(|(seq, _)| *seq).collect();
            all.extend(rig.dropped.remove(&shard).unwrap_or_default());
            let lost = rig.lost.remove(&shard).unwrap_or_default();
            all.extend(lost.into_iter().filter(|seq| !all.contains(seq)).collect::<Vec<_>>());
            all.sort_unstable();
            let last = rig.seqs[shard as usize];
            prop_assert_eq!(all, (1..=last).collect::<Vec<_>>());
            let lane = &rig.lanes[shard as usize];
            prop_assert_eq!((lane.confirmed(), lane.outstanding()), (last, 0));
        }
        rig.step(Step::Remove);
        prop_assert!(rig.disk.values().all(|(records, _)| records.is_empty()), "the spool keeps nothing");
        prop_assert!(rig.queue.streams.is_empty() && rig.queue.window.is_empty(), "an idle queue costs nothing");
    }

    #[test]
    fn what_keeps_failing_holds_up_its_own_guild_alone(
        steps in prop::collection::vec(step(), 0..300),
        attempts in 2..5_usize,
        events in 5..12_usize,
    ) {
        let mut rig = Rig::with_window(attempts, 1, 100_000, Size { events, bytes: 8 * events });
        for step in steps {
            match step {
                Step::Deliver(chosen) if !rig.out.is_empty() => {
                    let chosen = chosen % rig.out.len();
                    if !Rig::is_stuck(&rig.out[chosen]) {
                        rig.deliver(chosen);
                    }
                }
                Step::Deliver(_) => {}
                step => rig.step(step),
            }
        }
        rig.queue.hurry(true);
        rig.drain_beside_stuck();
        for shard in 0..3 {
            prop_assert_eq!(rig.missing(shard, STUCK.1), Vec::<u64>::new(), "of shard {}", shard);
        }
        rig.drain();
        rig.check_order();
        prop_assert_eq!(rig.missing(STUCK.0, 0), Vec::<u64>::new());
    }

    #[test]
    fn a_purge_leaves_a_queue_that_works(
        before in prop::collection::vec(step(), 0..200),
        after in prop::collection::vec(step(), 0..200),
    ) {
        let mut rig = Rig::new(2, 2, 1_000);
        rig.queue.window = Window::new(Size { events: 6, bytes: 12 }, 2);
        before.into_iter().chain([Step::Purge]).chain(after).for_each(|step| rig.step(step));
        rig.queue.hurry(true);
        rig.drain();
        rig.check_order();
        prop_assert!(rig.lanes.iter().all(|lane| lane.outstanding() == 0));
        rig.step(Step::Remove);
        prop_assert!(rig.queue.streams.is_empty() && rig.queue.window.is_empty());
    }
}

#[test]
fn what_waits_too_long_is_spilled_with_everything_behind_it_and_counts_as_confirmed() {
    let mut rig = Rig::new(1, 1, 1_000);
    rig.push(0, 1);
    rig.step(Step::Attempt);
    rig.step(Step::Tick(600));
    rig.push(0, 2);
    rig.step(Step::Tick(300));
    assert!(rig.queue.take_append().is_none(), "0.9 s is not too long");
    rig.step(Step::Tick(100));
    rig.step(Step::Append(false));
    assert_eq!(rig.lanes[0].confirmed(), 2);
    assert_eq!((rig.queue.queued(), rig.queue.spooled()), (1, 2), "the one that is out stays out");
}

#[test]
fn a_held_session_is_spilled_sooner() {
    let mut rig = Rig::new(1, 1, 1_000);
    (0..8).for_each(|_| rig.push(0, 1));
    rig.step(Step::Tick(99));
    assert!(rig.queue.take_append().is_none());
    rig.step(Step::Tick(1));
    rig.step(Step::Append(false));
    assert_eq!(rig.lanes[0].confirmed(), 8);
}

#[test]
fn a_backlog_of_an_earlier_run_comes_before_new_events() {
    let mut rig = Rig::new(8, 1, 1_000);
    rig.push(0, 1);
    rig.step(Step::SessionLost(0));
    rig.step(Step::Append(false));
    let mut later = Rig::new(8, 1, 1_000);
    later.disk = std::mem::take(&mut rig.disk);
    later.queue.recover(0, 7, 8);
    later.seqs[0] = 1;
    later.pushed.insert(0, vec![(1, 1)]);
    later.push(0, 1);
    assert!(later.queue.take_batch().is_none(), "it waits for the backlog");
    later.drain();
    assert_eq!(later.delivered[&0], [(1, 1), (2, 1)]);
}

#[test]
fn a_letter_joins_the_backlog_behind_what_only_memory_has() {
    let mut rig = Rig::new(1, 1, 1_000);
    rig.push(0, 1);
    let lane = Rc::clone(&rig.lanes[0]);
    let letter = Delivery {
        origin: Rc::new(Origin::clone(&lane.origin)),
        stream: 0,
        seq: 9,
        part: 0,
        kind: KIND,
        guild: None,
        received_ms: 0,
        payload: Bytes::new(),
    };
    rig.queue.push_again(letter, lane, 9, rig.now);
    let spilled = rig.queue.take_append().expect("both go to the spool");
    let spilled: Vec<_> = spilled.iter().map(|spilled| (spilled.delivery.seq, spilled.entry())).collect();
    assert_eq!(spilled, [(1, Entry::Fresh), (9, Entry::Again)]);
}
