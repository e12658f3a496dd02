//! The set against a map, and the notes against a model of Discord, a bot and a store, with kill -9 at any point.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn of(guilds: &Guilds) -> Vec<(u64, GuildState)> {
    guilds.packed().iter().map(|entry| (entry >> 2, state(*entry))).collect()
}

#[test]
fn a_first_ready_makes_everything_known_and_a_later_one_does_not() {
    let mut guilds = Guilds::default();
    guilds.listed(&[8, 7], 1);
    assert_eq!(of(&guilds), [(7, GuildState::Awaited), (8, GuildState::Awaited)]);
    assert_eq!(guilds.created(7, 2), GuildNote::Loaded);
    assert_eq!(guilds.outage(7, 3), GuildNote::Unavailable);
    assert_eq!(guilds.created(7, 4), GuildNote::Available);
    assert_eq!(guilds.created(9, 5), GuildNote::Added);
    guilds.listed(&[7, 9, 10], 1);
    assert_eq!(guilds.take_vanished(), [8]);
    assert_eq!([7, 9, 10].map(|id| guilds.created(id, 2)), [GuildNote::Loaded, GuildNote::Loaded, GuildNote::Added]);
    assert_eq!(guilds.removed(7, 5), GuildNote::Removed);
    assert_eq!(guilds.created(7, 6), GuildNote::Added);
}

#[test]
fn an_outage_makes_no_guild_known() {
    let mut guilds = Guilds::unpack(vec![entry(7, GuildState::Here)]);
    guilds.listed(&[7, 8], 1);
    assert_eq!([7, 8, 9].map(|id| guilds.outage(id, 2)), [GuildNote::Unavailable; 3]);
    assert_eq!([7, 8, 9].map(|id| guilds.created(id, 3)), [GuildNote::Loaded, GuildNote::Added, GuildNote::Added]);
}

/// What happens in the model.
#[derive(Clone, Debug)]
enum Step {
    Add(u64),
    Remove(u64),
    Outage(u64),
    Back(u64),
    /// The agent takes in so many of the dispatches that wait.
    Take(usize),
    /// The bot confirms so many of the open dispatches, oldest first.
    Confirm(usize),
    /// What is confirmed is stored.
    Store,
    /// The connection is lost; Discord replays what is not stored.
    Resume,
    /// The session is lost: a new READY.
    Identify,
    /// kill -9, then a resume if Discord still has the session.
    Kill {
        resumes: bool,
    },
}

fn step(crashes: bool) -> impl Strategy<Value = Step> {
    let guild = || 1_u64..6;
    prop_oneof![
        3 => guild().prop_map(Step::Add),
        3 => guild().prop_map(Step::Remove),
        2 => guild().prop_map(Step::Outage),
        2 => guild().prop_map(Step::Back),
        6 => (1_usize..5).prop_map(Step::Take),
        6 => (1_usize..5).prop_map(Step::Confirm),
        4 => Just(Step::Store),
        1 => Just(Step::Resume),
        1 => Just(Step::Identify),
        2 => any::<bool>().prop_map(move |resumes| if crashes { Step::Kill { resumes } } else { Step::Resume }),
    ]
}

#[derive(Clone, Debug)]
enum Dispatch {
    Ready(Vec<u64>),
    Create(u64),
    Delete(u64, bool),
}

/// A dispatch that the bot has not confirmed: session, sequence, and what it is told.
type Open = (u32, u64, Vec<(u64, GuildNote)>);

#[derive(Default)]
struct World {
    /// The bot's guilds, and whether each is in an outage.
    truth: BTreeMap<u64, bool>,
    session: u32,
    /// The session that the store has.
    put: u32,
    log: Vec<Dispatch>,
    guilds: Guilds,
    received: u64,
    open: Vec<Open>,
    confirmed: u64,
    /// The store: sequence, and guilds, once there was a READY.
    stored: u64,
    store: Option<Guilds>,
    /// Guilds that the bot believes to be in.
    believed: BTreeSet<u64>,
    /// What the bot has confirmed, by session and sequence.
    told: BTreeMap<(u32, u64), Vec<(u64, GuildNote)>>,
    crashed: bool,
    /// Guilds that came or went since the store was written, as far as the bot confirmed it.
    unstored: BTreeSet<u64>,
    /// The same where a crash kept it from the store: if the session is lost, too, and the opposite happened before the
    /// next READY, it looks as if nothing had.
    unsure: BTreeSet<u64>,
    first: bool,
}

impl World {
    fn new() -> Self {
        let mut world = Self { first: true, truth: BTreeMap::from([(1, false), (2, false)]), ..Self::default() };
        world.identify();
        world
    }

    fn identify(&mut self) {
        self.session += 1;
        self.log = vec![Dispatch::Ready(self.truth.keys().copied().collect())];
        let burst =
            self.truth.iter().map(|(id, out)| if *out { Dispatch::Delete(*id, true) } else { Dispatch::Create(*id) });
        self.log.extend(burst);
        (self.received, self.confirmed) = (0, 0);
        // The store forgets the session, not the guilds.
        self.stored = 0;
    }

    fn perform(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Add(id) if !self.truth.contains_key(&id) => {
                self.truth.insert(id, false);
                self.log.push(Dispatch::Create(id));
            }
            Step::Remove(id) if self.truth.remove(&id).is_some() => self.log.push(Dispatch::Delete(id, false)),
            Step::Outage(id) if self.truth.get(&id) == Some(&false) => {
                self.truth.insert(id, true);
                self.log.push(Dispatch::Delete(id, true));
            }
            Step::Back(id) if self.truth.get(&id) == Some(&true) => {
                self.truth.insert(id, false);
                self.log.push(Dispatch::Create(id));
            }
            Step::Take(count) => (0..count).for_each(|_| self.take()),
            Step::Confirm(count) => {
                for _ in 0..count.min(self.open.len()) {
                    self.confirm()?;
                }
            }
            Step::Store => self.store(),
            // The machine drops what was received before, so that a replay changes nothing.
            Step::Resume => {}
            Step::Identify => self.identify(),
            Step::Kill { resumes } => self.kill(resumes),
            _ => {}
        }
        Ok(())
    }

    fn take(&mut self) {
        let Some(dispatch) = self.log.get(self.received as usize).cloned() else { return };
        self.received += 1;
        let seq = self.received;
        let told = match dispatch {
            Dispatch::Ready(ids) => {
                self.guilds.listed(&ids, seq);
                if self.put != self.session {
                    (self.put, self.store) = (self.session, Some(self.guilds.as_stored()));
                }
                self.guilds.take_vanished().into_iter().map(|id| (id, GuildNote::Removed)).collect()
            }
            Dispatch::Create(id) => vec![(id, self.guilds.created(id, seq))],
            Dispatch::Delete(id, true) => vec![(id, self.guilds.outage(id, seq))],
            Dispatch::Delete(id, false) => vec![(id, self.guilds.removed(id, seq))],
        };
        self.open.push((self.session, seq, told));
    }

    fn confirm(&mut self) -> Result<(), TestCaseError> {
        let (session, seq, told) = self.open.remove(0);
        if session == self.session {
            self.confirmed = seq;
        }
        // A READY can tell of a removal again that a former session told and that was not stored.
        let before = self.told.insert((session, seq), told.clone());
        if let Some(before) = before.filter(|_| seq > 1) {
            let is_unsure = told.iter().all(|(id, _)| self.unsure.contains(id));
            prop_assert!(is_unsure || before == told, "{:?} means {:?} when replayed", before, told);
            return Ok(());
        }
        for (id, note) in told {
            self.unstored.insert(id);
            let known = self.believed.contains(&id);
            match note {
                GuildNote::Added => {
                    prop_assert!(!known || self.crashed, "{} is told as added twice", id);
                    self.believed.insert(id);
                }
                GuildNote::Loaded if self.first => drop(self.believed.insert(id)),
                GuildNote::Loaded | GuildNote::Available => {
                    prop_assert!(known || self.unsure.contains(&id), "{} was never told as added", id);
                    self.believed.insert(id);
                }
                GuildNote::Removed => drop(self.believed.remove(&id)),
                GuildNote::Unavailable | GuildNote::None => {}
            }
        }
        Ok(())
    }

    /// A new session's sequence waits for the events of the sessions before it.
    fn store(&mut self) {
        if self.open.iter().any(|(session, ..)| *session < self.session) || self.confirmed <= self.stored {
            return;
        }
        let store = self.store.as_mut().expect("READY comes first");
        self.guilds.changes(self.confirmed).into_iter().for_each(|(id, after)| store.set(id, after));
        self.stored = self.confirmed;
        self.guilds.stored(self.stored);
        self.unstored.clear();
    }

    fn kill(&mut self, resumes: bool) {
        self.crashed = true;
        self.unsure.extend(&self.unstored);
        self.open.clear();
        self.guilds = self.store.clone().map_or_else(Guilds::default, |store| Guilds::unpack(store.packed().to_vec()));
        (self.received, self.confirmed) = (self.stored, self.stored);
        // A session whose READY never came is not known.
        if !resumes || self.put != self.session {
            self.identify();
        }
    }

    fn settle(&mut self) -> Result<(), TestCaseError> {
        while (self.received as usize) < self.log.len() {
            self.take();
        }
        while !self.open.is_empty() {
            self.confirm()?;
        }
        self.store();
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn every_addition_and_removal_is_told(
        crashes in any::<bool>(),
        steps in prop::collection::vec(any::<bool>().prop_flat_map(step), 0..120),
    ) {
        let mut world = World::new();
        // The first READY and its guilds; the rest is later runs.
        world.settle()?;
        world.first = false;
        for step in steps {
            let step = if crashes { step } else { without_crash(step) };
            world.perform(step)?;
            if let Some(store) = world.store.as_ref().filter(|_| world.received > 0) {
                prop_assert_eq!(of(&world.guilds.as_stored()), of(store), "the store is as of its sequence");
            }
        }
        (1..6).try_for_each(|id| world.perform(Step::Back(id)))?;
        world.settle()?;
        let there: BTreeSet<u64> = world.truth.keys().copied().collect();
        let wrong: BTreeSet<u64> = world.believed.symmetric_difference(&there).copied().collect();
        prop_assert!(wrong.is_subset(&world.unsure), "{:?} where {:?} are there", world.believed, there);
        prop_assert_eq!(world.guilds.ids().collect::<Vec<_>>(), world.truth.keys().copied().collect::<Vec<_>>());
    }

    #[test]
    fn a_crash_during_the_first_burst_makes_nothing_new(taken in 1_usize..4, confirmed in 0_usize..4, resumes in any::<bool>()) {
        let mut world = World::new();
        world.perform(Step::Take(taken))?;
        world.perform(Step::Confirm(confirmed))?;
        world.store();
        world.kill(resumes);
        world.settle()?;
        prop_assert_eq!(world.believed, BTreeSet::from([1, 2]));
    }

    #[test]
    fn behaves_like_a_map(
        listed in prop::collection::vec(0_u64..20, 0..10),
        steps in prop::collection::vec((0_u64..20, 0..3), 0..60),
        packed in any::<bool>(),
    ) {
        let mut guilds = Guilds::default();
        guilds.listed(&listed, 1);
        let mut model: BTreeMap<u64, bool> = listed.into_iter().map(|id| (id, true)).collect();
        for (id, step) in steps {
            match step {
                0 => { guilds.created(id, 2); model.insert(id, false); }
                1 => { guilds.outage(id, 2); model.insert(id, true); }
                _ => { guilds.removed(id, 2); model.remove(&id); }
            }
            let guilds = if packed { Guilds::unpack(guilds.packed().to_vec()) } else { guilds.clone() };
            prop_assert_eq!(guilds.ids().collect::<Vec<_>>(), model.keys().copied().collect::<Vec<_>>());
            prop_assert_eq!(guilds.unavailable() as usize, model.values().filter(|out| **out).count());
            prop_assert_eq!(guilds.len(), model.len());
        }
    }
}

fn without_crash(step: Step) -> Step {
    if matches!(step, Step::Kill { .. }) { Step::Identify } else { step }
}
