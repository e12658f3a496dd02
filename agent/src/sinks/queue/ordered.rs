//! PURE: keeps the order of each key: at most one attempt of a key is out at a time, and at most `limit` attempts of
//! all keys. Knows nothing of events, sockets or time.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Items in, attempts out.
#[derive(Debug)]
pub(super) struct Ordered<K, T> {
    /// Items whose turn has come, in the order in which it came.
    ready: VecDeque<(K, T)>,
    /// What waits behind the item of its key that is ready or out; a key without either has no entry.
    behind: HashMap<K, VecDeque<T>>,
    out: usize,
    limit: usize,
}

/// Room that an empty queue keeps, in items and in keys.
const KEPT: usize = 64;

/// Items that are out together, and their keys, each once.
#[derive(Debug)]
pub(super) struct Taken<K, T> {
    pub(super) keys: Vec<K>,
    pub(super) items: Vec<T>,
}

impl<K: Copy + Eq + Hash, T> Ordered<K, T> {
    /// Empty; at most `limit` attempts will be out at a time.
    pub(super) fn new(limit: usize) -> Self {
        Self { ready: VecDeque::new(), behind: HashMap::new(), out: 0, limit }
    }

    /// Takes in an item, behind every other of its key.
    pub(super) fn push(&mut self, key: K, item: T) {
        match self.behind.entry(key) {
            Entry::Occupied(mut waiting) => waiting.get_mut().push_back(item),
            Entry::Vacant(free) => {
                free.insert(VecDeque::new());
                self.ready.push_back((key, item));
            }
        }
    }

    /// The next attempt, of at most `most` items, unless everything is out, behind something that is, or beyond the
    /// limit. Items that are no longer wanted fall away here. The keys stay out until [`Self::free`],
    /// the attempt until [`Self::over`].
    pub(super) fn take(&mut self, most: usize, is_wanted: impl Fn(&T) -> bool) -> Option<Taken<K, T>> {
        if self.out == self.limit {
            return None;
        }
        let mut taken = Taken { keys: Vec::new(), items: Vec::new() };
        while taken.items.len() < most {
            let Some((key, item)) = self.ready.pop_front() else { break };
            let before = taken.items.len();
            let behind = self.behind.get_mut(&key).expect("a key that is ready has an entry");
            let mut next = Some(item);
            while let Some(item) = next {
                taken.items.extend(Some(item).filter(&is_wanted));
                next = if taken.items.len() < most { behind.pop_front() } else { None };
            }
            if taken.items.len() > before {
                taken.keys.push(key);
            } else {
                self.behind.remove(&key);
            }
        }
        if taken.items.is_empty() {
            return None;
        }
        self.out += 1;
        Some(taken)
    }

    /// Whether one more attempt could be out, but nothing is ready.
    pub(super) fn is_idle(&self) -> bool {
        self.out < self.limit && self.ready.is_empty()
    }

    /// Attempts that are out.
    pub(super) fn out(&self) -> usize {
        self.out
    }

    /// An attempt is over, its keys freed or never to be.
    pub(super) fn over(&mut self) {
        self.out -= 1;
    }

    /// These keys are done with, as their attempt is, or as far as they are concerned; what waits behind them becomes ready.
    pub(super) fn free(&mut self, keys: &[K]) {
        for key in keys {
            let Entry::Occupied(mut waiting) = self.behind.entry(*key) else { continue };
            match waiting.get_mut().pop_front() {
                Some(next) => self.ready.push_back((*key, next)),
                None => drop(waiting.remove()),
            }
        }
        if self.behind.is_empty() {
            // After a READY burst most guilds go back to silence.
            self.ready.shrink_to(KEPT);
            self.behind.shrink_to(KEPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Push(u8),
        Take(usize),
        /// Finishes one of the attempts that are out, chosen by this number.
        Done(usize),
        /// An item is no longer wanted, chosen by this number.
        Withdraw(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..6_u8).prop_map(Step::Push),
            6 => (1..4_usize).prop_map(Step::Take),
            4 => any::<usize>().prop_map(Step::Done),
            1 => any::<usize>().prop_map(Step::Withdraw),
        ]
    }

    /// Drives a queue and keeps the books that its promises are checked against.
    struct Rig {
        queue: Ordered<u8, u32>,
        pushed: Vec<(u8, u32)>,
        out: Vec<Vec<u8>>,
        taken: Vec<u32>,
        withdrawn: HashSet<u32>,
    }

    impl Rig {
        fn take(&mut self, most: usize) -> bool {
            let Some(Taken { keys, items }) = self.queue.take(most, |item| !self.withdrawn.contains(item)) else {
                return false;
            };
            assert!((1..=most).contains(&items.len()));
            for key in &keys {
                assert!(!self.out.iter().flatten().any(|out| out == key), "two attempts of key {key} are out");
            }
            assert!(items.iter().all(|item| keys.contains(&self.pushed[*item as usize].0)));
            self.out.push(keys);
            self.taken.extend(items);
            true
        }

        fn step(&mut self, step: Step) {
            match step {
                Step::Push(key) => {
                    let item = u32::try_from(self.pushed.len()).expect("few items");
                    self.pushed.push((key, item));
                    self.queue.push(key, item);
                }
                Step::Take(most) => drop(self.take(most)),
                Step::Done(chosen) if !self.out.is_empty() => {
                    let keys = self.out.swap_remove(chosen % self.out.len());
                    self.queue.free(&keys);
                    self.queue.over();
                }
                Step::Withdraw(chosen) if !self.pushed.is_empty() => {
                    let item = self.pushed[chosen % self.pushed.len()].1;
                    if !self.taken.contains(&item) {
                        self.withdrawn.insert(item);
                    }
                }
                Step::Done(_) | Step::Withdraw(_) => {}
            }
        }

        fn drain(&mut self) {
            while self.take(2) || !self.out.is_empty() {
                while self.take(2) {}
                self.step(Step::Done(0));
            }
        }
    }

    proptest! {
        #[test]
        fn each_key_keeps_its_order_and_nothing_is_lost_or_doubled(
            steps in proptest::collection::vec(step(), 0..200),
            limit in 1..5_usize,
        ) {
            let mut rig = Rig { queue: Ordered::new(limit), pushed: vec![], out: vec![], taken: vec![], withdrawn: HashSet::new() };
            for step in steps {
                rig.step(step);
                prop_assert!(rig.out.len() <= limit);
            }
            rig.drain();
            for key in 0..6 {
                let of = |item: &u32| rig.pushed[*item as usize].0 == key;
                let taken: Vec<u32> = rig.taken.iter().copied().filter(of).collect();
                let wanted = rig.pushed.iter().map(|(_, item)| *item).filter(of).filter(|item| !rig.withdrawn.contains(item));
                prop_assert_eq!(taken, wanted.collect::<Vec<_>>());
            }
            prop_assert!(rig.queue.behind.is_empty(), "a finished key costs nothing");
        }
    }
}
