//! PURE: how fast a backlog is delivered, so that a bot that returns is not drowned: as many events as are newly spooled,
//! and so many a second beyond.

use std::time::{Duration, Instant};

/// Leave to load events of the backlog.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    per_second: f64,
    allowed: f64,
    at: Instant,
    hurry: bool,
}

impl Pace {
    /// So many events a second more than arrive.
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        let per_second = f64::from(per_second.max(1));
        Self { per_second, allowed: burst(per_second), at: now, hurry: false }
    }

    /// A new event joined the backlog: one more may leave it.
    pub(super) fn earn(&mut self) {
        self.allowed = (self.allowed + 1.0).min(burst(self.per_second));
    }

    /// Takes leave for up to `wanted` events.
    pub(super) fn take(&mut self, wanted: usize, now: Instant) -> usize {
        if self.hurry {
            return wanted;
        }
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.allowed = (self.allowed + passed * self.per_second).min(burst(self.per_second));
        let taken = wanted.min(self.allowed as usize);
        self.allowed -= taken as f64;
        taken
    }

    /// When there is leave for one more.
    pub(super) fn due(&self, now: Instant) -> Instant {
        let missing = if self.hurry { 0.0 } else { (1.0 - self.allowed).max(0.0) };
        now.max(self.at + Duration::from_secs_f64(missing / self.per_second))
    }

    /// So many a second from now on.
    pub(super) fn set(&mut self, per_second: u32) {
        self.per_second = f64::from(per_second.max(1));
    }

    /// With no limit, or with it again.
    pub(super) fn hurry(&mut self, hurry: bool) {
        self.hurry = hurry;
    }
}

/// Leave that can be saved up: a quarter of a second's.
fn burst(per_second: f64) -> f64 {
    (per_second / 4.0).max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backlog_shrinks_at_its_rate_whatever_arrives() {
        let start = Instant::now();
        let mut pace = Pace::new(1_000, start);
        let (mut taken, mut arrived) = (0, 0);
        for ms in 0..10_000 {
            for _ in 0..3 {
                pace.earn();
                arrived += 1;
            }
            taken += pace.take(64, start + Duration::from_millis(ms));
        }
        let beyond = taken - arrived;
        assert!((9_900..=10_300).contains(&beyond), "{beyond} in 10 s");
    }

    #[test]
    fn leave_comes_when_it_is_said_to() {
        let start = Instant::now();
        let mut pace = Pace::new(4, start);
        assert_eq!(pace.take(9, start), 1);
        let due = pace.due(start);
        assert_eq!(due, start + Duration::from_millis(250));
        assert_eq!((pace.take(9, due - Duration::from_millis(1)), pace.take(9, due)), (0, 1));
        pace.hurry(true);
        assert_eq!((pace.take(9, due), pace.due(due)), (9, due));
    }
}
