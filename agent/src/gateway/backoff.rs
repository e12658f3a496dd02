//! Full-jitter exponential backoff: a random wait between nothing and a limit that doubles.

use std::time::Duration;

/// Waits of repeated attempts. `reset` after a success.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    /// The first wait is below `base`, none is above `cap`.
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, failures: 0 }
    }

    /// The wait before the next attempt.
    pub fn next(&mut self, random: &mut fastrand::Rng) -> Duration {
        let limit = self.base.saturating_mul(1 << self.failures.min(16)).min(self.cap);
        self.failures = self.failures.saturating_add(1);
        limit.mul_f64(random.f64())
    }

    /// Failures since the last success.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// An attempt succeeded.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_below_a_limit_that_doubles_up_to_the_cap() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        for limit in [1, 2, 4, 8, 16, 30, 30, 30] {
            assert!(backoff.next(&mut random) <= Duration::from_secs(limit));
        }
        let many = (0..1_000).map(|_| backoff.next(&mut random)).max().expect("1,000 waits");
        assert!(many > Duration::from_secs(25) && many <= Duration::from_secs(30), "{many:?}");
        backoff.reset();
        assert!(backoff.next(&mut random) <= Duration::from_secs(1));
    }
}
