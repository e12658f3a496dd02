//! The lane of a session: its events in order, from received to confirmed by every sink. What it has confirmed
//! without a gap is the sequence that is stored, heartbeated and resumed from. Lives on its worker's thread.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::event::Origin;

/// Room for open events that a lane keeps while it has none.
const KEPT: usize = 8;

/// The ordered, unconfirmed events of one session.
pub struct Lane {
    /// The session.
    pub origin: Rc<Origin>,
    progress: Rc<Progress>,
    confirmed: Cell<u64>,
    stored: Cell<u64>,
    open: RefCell<VecDeque<Open>>,
    /// Woken when fewer events are open than the number.
    awaited: Cell<Option<(usize, Waker)>>,
}

struct Open {
    seq: u64,
    received: Instant,
    /// Confirmations that are still to come: one for each sink and event of this sequence.
    sinks: u32,
}

impl Lane {
    /// A lane of a session whose sequence `confirmed` and everything before it is done with.
    pub fn new(generation: u32, shard: u32, session: &str, confirmed: u64, progress: Rc<Progress>) -> Rc<Self> {
        Rc::new(Self {
            origin: Rc::new(Origin { generation, shard, session: session.into() }),
            progress,
            confirmed: Cell::new(confirmed),
            stored: Cell::new(confirmed),
            open: RefCell::default(),
            awaited: Cell::default(),
        })
    }

    /// Takes in the next event of the session, which `sinks` confirmations make confirmed. With none it is confirmed as soon
    /// as everything before it is.
    pub fn open(&self, seq: u64, received: Instant, sinks: u32) {
        let mut open = self.open.borrow_mut();
        if sinks == 0 && open.is_empty() {
            self.confirmed.set(seq);
            self.progress.confirmed(Duration::ZERO);
        } else {
            open.push_back(Open { seq, received, sinks });
        }
    }

    /// One sink is done with the event `seq`. Confirming more often than there are sinks is a sink's bug and ignored.
    pub fn confirm(&self, seq: u64, now: Instant) {
        let mut open = self.open.borrow_mut();
        let is_first = open.front().is_some_and(|first| first.seq == seq);
        let found = if is_first { Ok(0) } else { open.binary_search_by_key(&seq, |event| event.seq) };
        let Ok(index) = found else { return };
        open[index].sinks = open[index].sinks.saturating_sub(1);
        if index > 0 {
            return;
        }
        while let Some(event) = open.front().filter(|event| event.sinks == 0) {
            self.confirmed.set(event.seq);
            self.progress.confirmed(now.saturating_duration_since(event.received));
            open.pop_front();
        }
        let left = open.len();
        if left == 0 && open.capacity() > KEPT {
            // After a burst most shards go back to a few open events.
            open.shrink_to(KEPT);
        }
        drop(open);
        self.wake_below(left);
    }

    /// Wakes `waker` once fewer than `bound` events are open; replaces an earlier wish.
    pub fn await_below(&self, bound: usize, waker: Waker) {
        self.awaited.set(Some((bound, waker)));
    }

    fn wake_below(&self, left: usize) {
        match self.awaited.take() {
            Some((bound, waker)) if left < bound => waker.wake(),
            awaited => self.awaited.set(awaited),
        }
    }

    /// The last sequence up to which every sink has confirmed every event.
    pub fn confirmed(&self) -> u64 {
        self.confirmed.get()
    }

    /// The store has this sequence.
    pub fn set_stored(&self, seq: u64) {
        self.stored.set(self.stored.get().max(seq));
    }

    /// The confirmed sequence as far as it is stored: a resume must not ask for less than a crash would.
    pub fn stored(&self) -> u64 {
        self.stored.get()
    }

    /// Events that are open.
    pub fn outstanding(&self) -> usize {
        self.open.borrow().len()
    }

    /// When the oldest open event was received.
    pub fn oldest(&self) -> Option<Instant> {
        self.open.borrow().front().map(|event| event.received)
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Origin { generation, shard, session } = &*self.origin;
        write!(out, "Lane({generation}/{shard}/{session} confirmed {})", self.confirmed.get())
    }
}

/// What the lanes of one worker have confirmed, for its samples.
pub struct Progress {
    delivered: Cell<u64>,
    latency: RefCell<Histogram<u32>>,
    /// The last time, and how often it came in a row: the events of a turn that are confirmed together have one.
    run: Cell<(Duration, u32)>,
}

impl Progress {
    /// Nothing confirmed yet.
    pub fn new() -> Rc<Self> {
        let latency = Histogram::new_with_bounds(1, 60_000_000, 2).expect("the bounds are valid");
        Rc::new(Self { delivered: Cell::new(0), latency: RefCell::new(latency), run: Cell::default() })
    }

    /// Events confirmed by every sink so far.
    pub fn delivered(&self) -> u64 {
        self.delivered.get()
    }

    /// Times from socket to confirmation since the last call, microseconds; the histogram starts anew.
    pub fn take_latency(&self) -> Histogram<u32> {
        self.record(self.run.take());
        let mut latency = self.latency.borrow_mut();
        let taken = latency.clone();
        latency.reset();
        taken
    }

    fn confirmed(&self, took: Duration) {
        self.delivered.set(self.delivered.get() + 1);
        let (last, count) = self.run.get();
        if took == last {
            return self.run.set((took, count + 1));
        }
        self.record(self.run.replace((took, 1)));
    }

    fn record(&self, (took, count): (Duration, u32)) {
        if count == 0 {
            return;
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.latency.borrow_mut().saturating_record_n(micros, count);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lane(confirmed: u64) -> Rc<Lane> {
        Lane::new(1, 0, "session", confirmed, Progress::new())
    }

    #[test]
    fn without_sinks_received_is_confirmed() {
        let lane = lane(0);
        lane.open(1, Instant::now(), 0);
        assert_eq!((lane.confirmed(), lane.outstanding()), (1, 0));
    }

    #[test]
    fn an_event_for_no_sink_waits_for_the_ones_before_it() {
        let (lane, now) = (lane(0), Instant::now());
        lane.open(1, now, 1);
        lane.open(2, now, 0);
        assert_eq!(lane.confirmed(), 0);
        lane.confirm(1, now);
        assert_eq!((lane.confirmed(), lane.outstanding()), (2, 0));
    }

    #[test]
    fn every_confirmation_is_in_the_latency_once() {
        let progress = Progress::new();
        let lane = Lane::new(1, 0, "session", 0, Rc::clone(&progress));
        let now = Instant::now();
        let took = [5, 5, 5, 900, 5, 0, 0].map(Duration::from_micros);
        (1..).zip(took).for_each(|(seq, took)| {
            lane.open(seq, now, 1);
            lane.confirm(seq, now + took);
        });
        let latency = progress.take_latency();
        assert_eq!((latency.len(), progress.delivered()), (7, 7));
        assert_eq!([0, 5].map(|micros| latency.count_at(micros)), [2, 4]);
        assert!(latency.max() >= 895);
        assert!(progress.take_latency().is_empty());
    }

    proptest! {
        #[test]
        fn the_confirmed_sequence_never_passes_an_open_event(
            sinks in 1_u32..4,
            order in Just((1_u64..40).collect::<Vec<_>>()).prop_shuffle(),
            repeats in prop::collection::vec(0_usize..39, 0..10),
        ) {
            let (lane, now) = (lane(0), Instant::now());
            (1..40).for_each(|seq| lane.open(seq, now, sinks));
            let mut left: Vec<u32> = vec![sinks; 40];
            let steps = order.iter().flat_map(|seq| vec![*seq; sinks as usize]).chain(repeats.iter().map(|at| order[*at]));
            for seq in steps {
                lane.confirm(seq, now);
                left[seq as usize] = left[seq as usize].saturating_sub(1);
                let expected = (1..40).take_while(|seq| left[*seq as usize] == 0).last().unwrap_or(0);
                prop_assert_eq!(lane.confirmed(), expected);
                prop_assert_eq!(lane.outstanding() as u64, 39 - expected);
            }
        }
    }
}
