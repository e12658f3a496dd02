//! PURE: a queue that keeps the order of each key: at most one item of a key is out at a time, and at most
//! `limit` items of all keys. Knows nothing of events, sockets or time.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Items in, one of each key out at a time.
#[derive(Debug)]
pub(in crate::sinks) struct Ordered<K, T> {
    /// Items whose turn has come, in the order in which it came.
    ready: VecDeque<(K, T)>,
    /// What waits behind the item of its key that is ready or out; a key without either has no entry.
    behind: HashMap<K, VecDeque<T>>,
    out: usize,
    limit: usize,
    queued: usize,
}

impl<K: Copy + Eq + Hash, T> Ordered<K, T> {
    /// Empty; at most `limit` items will be out at a time.
    pub(in crate::sinks) fn new(limit: usize) -> Self {
        Self { ready: VecDeque::new(), behind: HashMap::new(), out: 0, limit, queued: 0 }
    }

    /// Takes in an item, behind every other of its key.
    pub(in crate::sinks) fn push(&mut self, key: K, item: T) {
        self.queued += 1;
        match self.behind.entry(key) {
            Entry::Occupied(mut waiting) => waiting.get_mut().push_back(item),
            Entry::Vacant(free) => {
                free.insert(VecDeque::new());
                self.ready.push_back((key, item));
            }
        }
    }

    /// The next item, unless all are out, waiting for one that is, or beyond the limit. It stays out until
    /// [`Self::done`].
    pub(in crate::sinks) fn take_ready(&mut self) -> Option<(K, T)> {
        if self.out == self.limit {
            return None;
        }
        let taken = self.ready.pop_front()?;
        self.out += 1;
        Some(taken)
    }

    /// The item of `key` that was out is finished with; the one behind it becomes ready.
    pub(in crate::sinks) fn done(&mut self, key: K) {
        self.out -= 1;
        self.queued -= 1;
        let Entry::Occupied(mut waiting) = self.behind.entry(key) else { return };
        match waiting.get_mut().pop_front() {
            Some(next) => self.ready.push_back((key, next)),
            None => drop(waiting.remove()),
        }
    }

    /// Items that are in: waiting, ready or out.
    pub(in crate::sinks) fn queued(&self) -> usize {
        self.queued
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Push(u8),
        Take,
        /// Finishes one of those that are out, chosen by this number.
        Done(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![3 => (0..6_u8).prop_map(Step::Push), 3 => Just(Step::Take), 2 => any::<usize>().prop_map(Step::Done)]
    }

    /// Drives a queue and keeps the books that its promises are checked against.
    struct Rig {
        queue: Ordered<u8, u32>,
        pushed: Vec<(u8, u32)>,
        out: Vec<u8>,
        taken: Vec<(u8, u32)>,
    }

    impl Rig {
        fn take(&mut self) -> bool {
            let Some((key, item)) = self.queue.take_ready() else { return false };
            assert!(!self.out.contains(&key), "two of key {key} are out");
            self.out.push(key);
            self.taken.push((key, item));
            true
        }

        fn step(&mut self, step: Step) {
            match step {
                Step::Push(key) => {
                    let item = u32::try_from(self.pushed.len()).expect("few items");
                    self.pushed.push((key, item));
                    self.queue.push(key, item);
                }
                Step::Take => drop(self.take()),
                Step::Done(chosen) if !self.out.is_empty() => {
                    let key = self.out.swap_remove(chosen % self.out.len());
                    self.queue.done(key);
                }
                Step::Done(_) => {}
            }
        }

        fn drain(&mut self) {
            while self.queue.queued() > 0 {
                while self.take() {}
                self.step(Step::Done(0));
            }
        }
    }

    fn of(key: u8, items: &[(u8, u32)]) -> Vec<u32> {
        items.iter().filter(|(other, _)| *other == key).map(|(_, item)| *item).collect()
    }

    proptest! {
        #[test]
        fn each_key_keeps_its_order_and_nothing_is_lost_or_doubled(
            steps in proptest::collection::vec(step(), 0..200),
            limit in 1..5_usize,
        ) {
            let mut rig = Rig { queue: Ordered::new(limit), pushed: vec![], out: vec![], taken: vec![] };
            for step in steps {
                rig.step(step);
                prop_assert!(rig.out.len() <= limit);
                let finished = rig.taken.len() - rig.out.len();
                prop_assert_eq!(rig.queue.queued(), rig.pushed.len() - finished);
            }
            rig.drain();
            for key in 0..6 {
                prop_assert_eq!(of(key, &rig.taken), of(key, &rig.pushed));
            }
            prop_assert!(rig.queue.behind.is_empty(), "a finished key costs nothing");
        }
    }
}
