//! The send budget of one connection: at most so many commands in any minute, with no burst at a window's edge.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Discord closes with 4008 above so many payloads a minute, heartbeats and the handshake included.
const PAYLOADS: usize = 120;
/// Kept for them at Discord's usual heartbeat interval of 41.25 s.
const KEPT: usize = 4;
/// Commands in a window at that interval.
#[cfg(test)]
pub(super) const COMMANDS: usize = PAYLOADS - KEPT;
/// A minute, and a second for payloads that travel unequally long: Discord counts when they arrive.
const WINDOW: Duration = Duration::from_secs(61);

/// A sliding window over the commands of one connection. Heartbeats and the handshake do not pass through it.
#[derive(Clone, Debug)]
pub struct SendBudget {
    sent: VecDeque<Instant>,
    limit: usize,
}

impl Default for SendBudget {
    fn default() -> Self {
        Self { sent: VecDeque::new(), limit: PAYLOADS - KEPT }
    }
}

impl SendBudget {
    /// Of a connection whose heartbeats are this far apart: what they and the handshake need is kept for them.
    pub fn new(heartbeat: Duration) -> Self {
        let beats = WINDOW.as_millis().div_ceil(heartbeat.as_millis().max(1));
        let kept = usize::try_from(beats).unwrap_or(usize::MAX).saturating_add(2).max(KEPT);
        Self { sent: VecDeque::new(), limit: PAYLOADS.saturating_sub(kept).max(1) }
    }

    /// Takes leave to send one command at `now`; false until [`Self::free_at`].
    pub fn take(&mut self, now: Instant) -> bool {
        while self.sent.front().is_some_and(|sent| *sent + WINDOW <= now) {
            self.sent.pop_front();
        }
        let free = self.sent.len() < self.limit;
        if free {
            self.sent.push_back(now);
        }
        free
    }

    /// When the next leave can be had, where the last one asked for was refused.
    pub fn free_at(&self) -> Option<Instant> {
        self.sent.front().filter(|_| self.sent.len() >= self.limit).map(|sent| *sent + WINDOW)
    }

    /// Commands that may still be sent at `now`.
    pub fn left(&self, now: Instant) -> usize {
        self.limit - self.sent.iter().filter(|sent| **sent + WINDOW > now).count()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn heartbeats_and_handshake_keep_their_share() {
        for (interval, commands) in [(41_250, 116), (45_000, 116), (120_000, 116), (20_000, 114), (1_500, 77), (1, 1)] {
            let budget = SendBudget::new(Duration::from_millis(interval));
            assert_eq!(budget.left(Instant::now()), commands, "{interval} ms");
        }
        assert_eq!(COMMANDS, 116);
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more_than_the_budget(gaps in prop::collection::vec(0_u64..3_000, 1..600)) {
            let mut budget = SendBudget::default();
            let mut now = Instant::now();
            let mut sent = Vec::new();
            for gap in gaps {
                now += Duration::from_millis(gap);
                if budget.take(now) {
                    sent.push(now);
                } else {
                    let until = budget.free_at().expect("it is used up");
                    prop_assert!(until > now && until <= now + WINDOW);
                    let mut later = budget.clone();
                    prop_assert!(!later.take(until - Duration::from_nanos(1)) && later.take(until));
                }
                let in_window = sent.iter().filter(|at| **at + WINDOW > now).count();
                prop_assert!(in_window <= COMMANDS);
                prop_assert_eq!(budget.left(now), COMMANDS - in_window);
            }
        }
    }
}
