//! Who may identify, pure: one bucket for each `shard_id % max_concurrency`, and the allowance of a day.

use crate::clock::micros;
use crate::config::SandboxConfig;

/// What becomes of an IDENTIFY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Granted,
    /// The bucket's window is not over for so many microseconds: op 9 false.
    TooSoon(u64),
    /// The allowance is spent: Discord ends all sessions and resets the token.
    Exhausted,
}

/// The identify buckets and the daily allowance of one bot token.
#[derive(Debug)]
pub(crate) struct IdentifyGate {
    window_us: u64,
    free_at: Vec<u64>,
    total: u32,
    remaining: u32,
    reset_us: u64,
    resets_at: u64,
    spent: u64,
}

impl IdentifyGate {
    pub(crate) fn new(config: &SandboxConfig, now_us: u64) -> Self {
        let reset_us = micros(config.session_starts.reset_after);
        Self {
            window_us: micros(config.identify_window),
            free_at: vec![0; config.max_concurrency as usize],
            total: config.session_starts.total,
            remaining: config.session_starts.remaining,
            reset_us,
            resets_at: now_us + reset_us,
            spent: 0,
        }
    }

    /// Judges one IDENTIFY; a refused one costs allowance too.
    pub(crate) fn admit(&mut self, shard: u32, now_us: u64) -> Admission {
        self.refill(now_us);
        if self.remaining == 0 {
            return Admission::Exhausted;
        }
        self.remaining -= 1;
        self.spent += 1;
        let bucket = shard as usize % self.free_at.len();
        let free_at = std::mem::replace(&mut self.free_at[bucket], now_us + self.window_us);
        if now_us < free_at { Admission::TooSoon(free_at - now_us) } else { Admission::Granted }
    }

    /// Identifies left, and microseconds until the allowance is whole again.
    pub(crate) fn allowance(&mut self, now_us: u64) -> (u32, u64) {
        self.refill(now_us);
        (self.remaining, self.resets_at - now_us)
    }

    pub(crate) fn total(&self) -> u32 {
        self.total
    }

    pub(crate) fn max_concurrency(&self) -> usize {
        self.free_at.len()
    }

    /// Identifies counted since the start, refused ones included.
    pub(crate) fn spent(&self) -> u64 {
        self.spent
    }

    fn refill(&mut self, now_us: u64) {
        while self.resets_at <= now_us {
            self.resets_at += self.reset_us.max(1);
            self.remaining = self.total;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::SessionStarts;

    fn gate(max_concurrency: u32, remaining: u32) -> IdentifyGate {
        let session_starts = SessionStarts { total: 1000, remaining, reset_after: Duration::from_secs(100) };
        IdentifyGate::new(&SandboxConfig { max_concurrency, session_starts, ..SandboxConfig::default() }, 0)
    }

    #[test]
    fn buckets_are_independent_and_spaced() {
        let mut gate = gate(2, 10);
        assert_eq!(gate.admit(0, 0), Admission::Granted);
        assert_eq!(gate.admit(1, 0), Admission::Granted);
        assert_eq!(gate.admit(2, 4_000_000), Admission::TooSoon(1_000_000));
        assert_eq!(gate.admit(3, 5_000_000), Admission::Granted);
    }

    #[test]
    fn the_allowance_runs_out_and_comes_back() {
        let mut gate = gate(1, 1);
        assert_eq!(gate.admit(0, 0), Admission::Granted);
        assert_eq!(gate.admit(0, 6_000_000), Admission::Exhausted);
        assert_eq!(gate.allowance(99_000_000), (0, 1_000_000));
        assert_eq!(gate.allowance(100_000_000).0, 1000);
        assert_eq!(gate.spent(), 1);
    }
}
