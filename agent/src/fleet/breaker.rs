//! PURE: breaks loops of identifies long before they use up the day, after which Discord resets the token.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Identifies of one shard within [`WINDOW`] after which it waits for the window's end.
pub(super) const SHARD_LIMIT: u32 = 10;
/// Repeated identifies of all shards within [`WINDOW`], in percent of the day's, after which everybody waits for an
/// operator. A shard's first identify in a window is no repetition: starts and reshards do not count.
const FLEET_PERCENT: u32 = 20;
const WINDOW: Duration = Duration::from_secs(60 * 60);

/// Counts identifies by shard, an hour at a time.
#[derive(Debug, Default)]
pub struct Breaker {
    shards: BTreeMap<u32, Count>,
    /// Begin and repeated identifies of the fleet's window.
    fleet: Option<(Instant, u32)>,
    tripped: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    since: Instant,
    identifies: u32,
}

impl Breaker {
    /// A shard identified; `total` are the identifies of a day.
    pub fn identified(&mut self, shard: u32, total: u32, now: Instant) {
        let count = self.shards.entry(shard).or_insert(Count { since: now, identifies: 0 });
        if count.since + WINDOW <= now {
            *count = Count { since: now, identifies: 0 };
        }
        count.identifies += 1;
        if count.identifies > 1 {
            self.repeated(total, now);
        }
    }

    fn repeated(&mut self, total: u32, now: Instant) {
        let (since, repeated) = self.fleet.filter(|(since, _)| *since + WINDOW > now).unwrap_or((now, 0));
        self.fleet = Some((since, repeated + 1));
        let limit = (total * FLEET_PERCENT / 100).max(SHARD_LIMIT);
        if repeated + 1 >= limit {
            self.tripped = Some(format!("shards identify in a loop: {limit} repeated identifies within an hour"));
        }
    }

    /// Until when a shard that loops must wait.
    pub fn pause_of(&self, shard: u32) -> Option<Instant> {
        let count = self.shards.get(&shard).filter(|count| count.identifies >= SHARD_LIMIT)?;
        Some(count.since + WINDOW)
    }

    /// Why nobody may identify until an operator releases it.
    pub fn tripped(&self) -> Option<String> {
        self.tripped.clone()
    }

    /// An operator has seen to it: counting begins anew.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_identifies_never_trip_it_and_repeated_ones_do() {
        let mut breaker = Breaker::default();
        let mut now = Instant::now();
        (0..900).for_each(|shard| breaker.identified(shard, 1_000, now));
        assert_eq!(breaker.tripped(), None);
        for shard in 0..200 {
            assert_eq!(breaker.tripped(), None, "{shard}");
            now += Duration::from_secs(1);
            breaker.identified(shard, 1_000, now);
        }
        assert!(breaker.tripped().expect("tripped").contains("200"));
        breaker.reset();
        assert_eq!(breaker.tripped(), None);
    }

    #[test]
    fn a_shard_waits_for_the_end_of_its_window() {
        let mut breaker = Breaker::default();
        let start = Instant::now();
        (0..SHARD_LIMIT).for_each(|second| breaker.identified(7, 1_000, start + Duration::from_secs(second.into())));
        assert_eq!(breaker.pause_of(7), Some(start + WINDOW));
        assert_eq!(breaker.pause_of(8), None);
        breaker.identified(7, 1_000, start + WINDOW);
        assert_eq!(breaker.pause_of(7), None);
    }
}
