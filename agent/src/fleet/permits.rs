//! PURE: who may identify now. One bucket for each `shard % max_concurrency`; in a bucket one identify at a time and a
//! fixed interval from op 2 to op 2; all within the daily budget.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::breaker::Breaker;

/// Discord allows 24 hours' worth of identifies at a time.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Waiting shards of a bucket that connect up to HELLO before their turn.
const PREPARED: usize = 2;
/// A permit that was neither used nor given back is taken back after this long.
const HOLD_LIMIT: Duration = Duration::from_secs(40);

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PermitInput {
    /// A shard wants to identify.
    Request(u32),
    /// It is connected up to HELLO.
    Ready(u32),
    /// The system took the last byte of its op 2, then.
    Used(u32, Instant),
    /// READY came, or it gave up, with or without the permit.
    Done(u32),
    /// Discord told its limits.
    Limits(Limits),
    /// Nobody may identify, for this reason.
    Hold(String),
    /// They may again, after a hold or a loop, and use up the reserve until the budget is whole again.
    Release,
    /// So many percent of a day's identifies are kept for operators from now on.
    Reserve(u8),
    /// A deadline may have passed.
    Timer,
}

/// Discord's `session_start_limit`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Buckets.
    pub max_concurrency: u32,
    /// Identifies a day.
    pub total: u32,
    /// Identifies left.
    pub remaining: u32,
    /// When the budget is whole again.
    pub resets_at: Instant,
}

/// What to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PermitOutput {
    /// Tell this shard to connect up to HELLO.
    Dial(u32),
    /// Tell this shard to identify.
    Permit(u32),
    /// The budget changed: store it.
    Budget,
}

/// The buckets and the budget.
#[derive(Debug)]
pub struct Permits {
    interval: Duration,
    /// Identifies that only an operator may use.
    reserve_percent: u8,
    /// An operator lets it be used today.
    reserve_open: bool,
    limits: Limits,
    held: Option<String>,
    breaker: Breaker,
    buckets: Vec<Bucket>,
    /// When the last input came.
    seen: Instant,
    outputs: VecDeque<PermitOutput>,
}

#[derive(Debug)]
struct Bucket {
    waiting: VecDeque<Waiting>,
    holder: Option<Holder>,
    free_at: Instant,
}

#[derive(Debug)]
struct Waiting {
    shard: u32,
    dialled: bool,
    ready: bool,
}

#[derive(Debug)]
struct Holder {
    shard: u32,
    since: Instant,
    used: bool,
}

impl Permits {
    /// Permits `interval` apart in a bucket; `reserve_percent` of the daily budget stay for operators.
    pub fn new(interval: Duration, reserve_percent: u8, limits: Limits, now: Instant) -> Self {
        let buckets = (0..limits.max_concurrency.max(1)).map(|_| Bucket::new(now)).collect();
        Self {
            interval,
            reserve_percent,
            reserve_open: false,
            limits,
            held: None,
            breaker: Breaker::default(),
            buckets,
            seen: now,
            outputs: VecDeque::new(),
        }
    }

    /// Takes in what happened at `now`; outputs wait in [`Self::poll_output`].
    pub fn handle(&mut self, input: PermitInput, now: Instant) {
        match input {
            PermitInput::Request(shard) => self.bucket(shard).request(shard),
            PermitInput::Ready(shard) => self.bucket(shard).ready(shard),
            PermitInput::Used(shard, written) => self.used(shard, written),
            PermitInput::Done(shard) => self.done(shard),
            PermitInput::Limits(limits) => self.set_limits(limits, now),
            PermitInput::Hold(reason) => self.held = Some(reason),
            PermitInput::Release => {
                self.held = None;
                self.reserve_open = true;
                self.breaker.reset();
            }
            PermitInput::Reserve(percent) => self.reserve_percent = percent,
            PermitInput::Timer => {}
        }
        self.seen = now;
        self.refill(now);
        self.grant(now);
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<PermitOutput> {
        self.outputs.pop_front()
    }

    /// When [`PermitInput::Timer`] is due: always later than the last input.
    pub fn wait(&self) -> Option<Instant> {
        let expiries = self.buckets.iter().filter_map(Bucket::expires);
        let due = if self.allowed() {
            let turns = self.buckets.iter().filter_map(Bucket::turn);
            let waiting = self.buckets.iter().flat_map(|bucket| &bucket.waiting).filter(|waiting| !waiting.dialled);
            let pauses = waiting.filter_map(|waiting| self.breaker.pause_of(waiting.shard));
            turns.chain(pauses).filter(|at| *at > self.seen).min()
        } else {
            Some(self.limits.resets_at)
        };
        expiries.chain(due).min()
    }

    /// Discord's limits, with what was used since they were told.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Identifies kept for operators now.
    pub fn reserve(&self) -> u32 {
        if self.reserve_open { 0 } else { self.limits.total * u32::from(self.reserve_percent) / 100 }
    }

    /// Shards that wait.
    pub fn waiting(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.waiting.len() + usize::from(bucket.holder.is_some())).sum()
    }

    /// When the last of them is expected to have its turn.
    pub fn done_at(&self, now: Instant) -> Option<Instant> {
        let longest = self
            .buckets
            .iter()
            .filter(|bucket| !bucket.waiting.is_empty())
            .max_by_key(|bucket| bucket.waiting.len())?;
        let turns = u32::try_from(longest.waiting.len() - 1).unwrap_or(u32::MAX);
        Some(longest.free_at.max(now) + self.interval * turns)
    }

    /// Why nobody may identify now.
    pub fn held(&self) -> Option<String> {
        if let Some(loop_of_identifies) = self.breaker.tripped() {
            return Some(loop_of_identifies);
        }
        if self.held.is_none() && self.limits.remaining <= self.reserve() {
            return Some(format!(
                "{} identifies are left today, {} are the reserve",
                self.limits.remaining,
                self.reserve()
            ));
        }
        self.held.clone()
    }

    fn bucket(&mut self, shard: u32) -> &mut Bucket {
        let count = self.buckets.len();
        &mut self.buckets[shard as usize % count]
    }

    fn used(&mut self, shard: u32, written: Instant) {
        let interval = self.interval;
        let bucket = self.bucket(shard);
        bucket.free_at = bucket.free_at.max(written + interval);
        if let Some(holder) = bucket.holder.as_mut().filter(|holder| holder.shard == shard) {
            holder.used = true;
        }
        self.breaker.identified(shard, self.limits.total, written);
        self.outputs.push_back(PermitOutput::Budget);
    }

    fn done(&mut self, shard: u32) {
        let bucket = self.bucket(shard);
        bucket.waiting.retain(|waiting| waiting.shard != shard);
        if let Some(holder) = bucket.holder.take_if(|holder| holder.shard == shard) {
            self.limits.remaining += u32::from(!holder.used);
        }
    }

    fn set_limits(&mut self, limits: Limits, now: Instant) {
        if limits.max_concurrency.max(1) as usize != self.buckets.len() {
            self.rebucket(limits.max_concurrency.max(1), now);
        }
        self.limits = limits;
    }

    /// Buckets of another number: everyone waits in the new ones, which open one interval from now.
    fn rebucket(&mut self, count: u32, now: Instant) {
        let free_at = now + self.interval;
        let former = std::mem::take(&mut self.buckets);
        self.buckets = (0..count).map(|_| Bucket::new(free_at)).collect();
        for bucket in former {
            for waiting in bucket.waiting {
                self.bucket(waiting.shard).waiting.push_back(waiting);
            }
        }
    }

    fn refill(&mut self, now: Instant) {
        if self.limits.resets_at <= now {
            self.limits.remaining = self.limits.total;
            self.limits.resets_at = now + DAY;
            self.reserve_open = false;
            self.outputs.push_back(PermitOutput::Budget);
        }
    }

    fn allowed(&self) -> bool {
        self.held.is_none() && self.breaker.tripped().is_none() && self.limits.remaining > self.reserve()
    }

    fn grant(&mut self, now: Instant) {
        for index in 0..self.buckets.len() {
            self.buckets[index].expire(now);
            if !self.allowed() {
                continue;
            }
            let bucket = &mut self.buckets[index];
            let breaker = &self.breaker;
            let may = |shard: u32| breaker.pause_of(shard).is_none_or(|until| until <= now);
            self.outputs.extend(bucket.prepare(may).map(PermitOutput::Dial));
            if let Some(shard) = bucket.grant(now) {
                self.limits.remaining -= 1;
                self.outputs.push_back(PermitOutput::Permit(shard));
            }
        }
    }
}

impl Bucket {
    fn new(free_at: Instant) -> Self {
        Self { waiting: VecDeque::new(), holder: None, free_at }
    }

    fn request(&mut self, shard: u32) {
        if !self.waiting.iter().any(|waiting| waiting.shard == shard) {
            self.waiting.push_back(Waiting { shard, dialled: false, ready: false });
        }
    }

    fn ready(&mut self, shard: u32) {
        if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.shard == shard) {
            waiting.ready = true;
        }
    }

    /// The first in line that should connect now and do not yet.
    fn prepare(&mut self, may: impl Fn(u32) -> bool) -> impl Iterator<Item = u32> {
        self.waiting.iter_mut().filter(move |waiting| may(waiting.shard)).take(PREPARED).filter_map(|waiting| {
            let first = !std::mem::replace(&mut waiting.dialled, true);
            first.then_some(waiting.shard)
        })
    }

    /// The first in line that can use a permit at once, if one is free.
    fn grant(&mut self, now: Instant) -> Option<u32> {
        if self.holder.is_some() || self.free_at > now {
            return None;
        }
        let at = self.waiting.iter().position(|waiting| waiting.ready)?;
        let shard = self.waiting.remove(at)?.shard;
        self.holder = Some(Holder { shard, since: now, used: false });
        Some(shard)
    }

    fn expire(&mut self, now: Instant) {
        self.holder.take_if(|holder| holder.since + HOLD_LIMIT <= now);
    }

    /// When the permit is taken back.
    fn expires(&self) -> Option<Instant> {
        self.holder.as_ref().map(|holder| holder.since + HOLD_LIMIT)
    }

    /// When the permit is free for one that can use it.
    fn turn(&self) -> Option<Instant> {
        let awaited = self.holder.is_none() && self.waiting.iter().any(|waiting| waiting.ready);
        awaited.then_some(self.free_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(5);

    fn limits(max_concurrency: u32, remaining: u32, now: Instant) -> Limits {
        Limits { max_concurrency, total: 1_000, remaining, resets_at: now + DAY }
    }

    fn drain(permits: &mut Permits) -> Vec<PermitOutput> {
        std::iter::from_fn(|| permits.poll_output()).filter(|output| *output != PermitOutput::Budget).collect()
    }

    /// Every shard dials at once, is ready at once and gets READY `took` after op 2.
    fn start_all(count: u32, max_concurrency: u32, took: Duration) -> Vec<(u32, Instant)> {
        let mut now = Instant::now();
        let mut permits = Permits::new(INTERVAL, 5, limits(max_concurrency, 1_000, now), now);
        let mut identified: Vec<(u32, Instant)> = Vec::new();
        let mut ready_at: Vec<(Instant, u32)> = Vec::new();
        (0..count).for_each(|shard| permits.handle(PermitInput::Request(shard), now));
        while identified.len() < count as usize || !ready_at.is_empty() {
            for output in drain(&mut permits) {
                match output {
                    PermitOutput::Dial(shard) => permits.handle(PermitInput::Ready(shard), now),
                    PermitOutput::Permit(shard) => {
                        identified.push((shard, now));
                        permits.handle(PermitInput::Used(shard, now), now);
                        ready_at.push((now + took, shard));
                    }
                    PermitOutput::Budget => {}
                }
            }
            now += Duration::from_millis(50);
            for (_, shard) in ready_at.extract_if(.., |(at, _)| *at <= now) {
                permits.handle(PermitInput::Done(shard), now);
            }
            permits.handle(PermitInput::Timer, now);
        }
        identified
    }

    #[test]
    fn a_bucket_identifies_one_at_a_time_an_interval_apart_and_never_waits_longer() {
        for (count, max_concurrency) in [(12, 1), (64, 16), (33, 16)] {
            let identified = start_all(count, max_concurrency, Duration::from_millis(400));
            assert_eq!(identified.len(), count as usize);
            for bucket in 0..max_concurrency {
                let times: Vec<Instant> = identified
                    .iter()
                    .filter(|(shard, _)| shard % max_concurrency == bucket)
                    .map(|(_, at)| *at)
                    .collect();
                assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= INTERVAL));
            }
            let took = identified.iter().map(|(_, at)| *at).max().expect("some") - identified[0].1;
            assert!(took <= INTERVAL * (count.div_ceil(max_concurrency) - 1) + Duration::from_millis(600), "{took:?}");
        }
    }

    #[test]
    fn the_interval_counts_from_the_write_however_late_the_fleet_hears_of_it() {
        let start = Instant::now();
        let mut permits = Permits::new(INTERVAL, 0, limits(1, 10, start), start);
        for shard in 0..2 {
            permits.handle(PermitInput::Request(shard), start);
            permits.handle(PermitInput::Ready(shard), start);
        }
        assert!(drain(&mut permits).contains(&PermitOutput::Permit(0)));
        let (written, heard) = (start + Duration::from_millis(700), start + Duration::from_millis(1_900));
        permits.handle(PermitInput::Used(0, written), heard);
        permits.handle(PermitInput::Done(0), heard);
        assert_eq!(permits.wait(), Some(written + INTERVAL));
        permits.handle(PermitInput::Timer, written + INTERVAL - Duration::from_millis(1));
        assert_eq!(drain(&mut permits), []);
        permits.handle(PermitInput::Timer, written + INTERVAL);
        assert_eq!(drain(&mut permits), [PermitOutput::Permit(1)]);
    }

    #[test]
    fn a_slow_ready_keeps_the_permit() {
        let identified = start_all(3, 1, Duration::from_secs(12));
        assert!(identified.windows(2).all(|pair| pair[1].1 - pair[0].1 >= Duration::from_secs(12)));
    }

    #[test]
    fn the_reserve_is_left_alone_until_the_day_is_over() {
        let now = Instant::now();
        let mut permits = Permits::new(INTERVAL, 5, limits(16, 51, now), now);
        for shard in 0..2 {
            permits.handle(PermitInput::Request(shard), now);
            permits.handle(PermitInput::Ready(shard), now);
        }
        let granted = drain(&mut permits);
        assert_eq!(granted.iter().filter(|output| matches!(output, PermitOutput::Permit(_))).count(), 1);
        assert!(permits.held().expect("held").contains("50 are the reserve"));
        let mut released = Permits::new(INTERVAL, 5, limits(16, 50, now), now);
        released.handle(PermitInput::Request(0), now);
        assert_eq!(drain(&mut released), []);
        released.handle(PermitInput::Release, now);
        assert_eq!(drain(&mut released), [PermitOutput::Dial(0)], "an operator may use it");
        permits.handle(PermitInput::Timer, now + DAY);
        assert!(drain(&mut permits).contains(&PermitOutput::Permit(1)));
        assert_eq!(permits.held(), None);
    }

    #[test]
    fn a_permit_that_was_not_used_costs_nothing_and_lets_the_next_in() {
        let now = Instant::now();
        let mut permits = Permits::new(INTERVAL, 0, limits(1, 10, now), now);
        for shard in 0..2 {
            permits.handle(PermitInput::Request(shard), now);
            permits.handle(PermitInput::Ready(shard), now);
        }
        assert!(drain(&mut permits).contains(&PermitOutput::Permit(0)));
        permits.handle(PermitInput::Done(0), now);
        assert!(drain(&mut permits).contains(&PermitOutput::Permit(1)));
        assert_eq!(permits.limits().remaining, 9);
    }

    #[test]
    fn a_shard_in_a_loop_waits_while_others_identify() {
        let start = Instant::now();
        let mut permits = Permits::new(INTERVAL, 5, limits(1, 1_000, start), start);
        let identify = |permits: &mut Permits, shard: u32, now: Instant| {
            permits.handle(PermitInput::Request(shard), now);
            permits.handle(PermitInput::Ready(shard), now);
            let granted = drain(permits).contains(&PermitOutput::Permit(shard));
            permits.handle(PermitInput::Used(shard, now), now);
            permits.handle(PermitInput::Done(shard), now);
            granted
        };
        let mut now = start;
        for _ in 0..super::super::breaker::SHARD_LIMIT {
            assert!(identify(&mut permits, 0, now));
            now += INTERVAL;
        }
        permits.handle(PermitInput::Request(0), now);
        assert_eq!(drain(&mut permits), [], "the loop is broken");
        assert!(identify(&mut permits, 1, now));
        let resumes = permits.wait().expect("the pause ends");
        assert!(resumes > now + Duration::from_secs(60));
        permits.handle(PermitInput::Timer, resumes.max(now + INTERVAL));
        assert_eq!(drain(&mut permits), [PermitOutput::Dial(0)]);
    }

    #[test]
    fn while_held_nobody_dials_or_identifies() {
        let now = Instant::now();
        let mut permits = Permits::new(INTERVAL, 0, limits(1, 10, now), now);
        permits.handle(PermitInput::Hold("the token was refused".into()), now);
        permits.handle(PermitInput::Request(0), now);
        assert_eq!(drain(&mut permits), []);
        permits.handle(PermitInput::Release, now);
        assert_eq!(drain(&mut permits), [PermitOutput::Dial(0)]);
    }

    #[test]
    fn a_wait_lies_always_ahead() {
        let now = Instant::now();
        let mut permits = Permits::new(INTERVAL, 0, limits(1, 1_000, now), now);
        for shard in 0..8 {
            permits.handle(PermitInput::Request(shard), now);
        }
        permits.handle(PermitInput::Ready(1), now);
        for input in [PermitInput::Hold("held".into()), PermitInput::Ready(0), PermitInput::Timer, PermitInput::Release]
        {
            permits.handle(input, now + INTERVAL);
            assert!(permits.wait().is_none_or(|at| at > now + INTERVAL), "{permits:?}");
        }
    }
}
