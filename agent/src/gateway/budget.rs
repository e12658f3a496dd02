//! The send budget of one connection: at most so many commands in any minute, with no burst at a window's edge.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Discord closes with 4008 above 120 sends a minute; 4 are kept for heartbeats.
const COMMANDS: usize = 116;
const WINDOW: Duration = Duration::from_secs(60);

/// A sliding window over the commands of one connection. Heartbeats and the handshake do not pass through it.
#[derive(Clone, Debug, Default)]
pub struct SendBudget {
    sent: VecDeque<Instant>,
}

impl SendBudget {
    /// Takes leave to send one command at `now`.
    ///
    /// # Errors
    /// When the next leave can be had.
    pub fn take(&mut self, now: Instant) -> Result<(), Instant> {
        self.forget(now);
        if self.sent.len() < COMMANDS {
            self.sent.push_back(now);
            return Ok(());
        }
        Err(self.sent[0] + WINDOW)
    }

    /// Commands that may still be sent at `now`.
    pub fn left(&self, now: Instant) -> usize {
        COMMANDS - self.sent.iter().filter(|sent| **sent + WINDOW > now).count()
    }

    fn forget(&mut self, now: Instant) {
        while self.sent.front().is_some_and(|sent| *sent + WINDOW <= now) {
            self.sent.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_window_ever_holds_more_than_the_budget(gaps in prop::collection::vec(0_u64..3_000, 1..600)) {
            let mut budget = SendBudget::default();
            let mut now = Instant::now();
            let mut sent = Vec::new();
            for gap in gaps {
                now += Duration::from_millis(gap);
                match budget.take(now) {
                    Ok(()) => sent.push(now),
                    Err(until) => prop_assert!(until > now && until <= now + WINDOW),
                }
                let in_window = sent.iter().filter(|at| **at + WINDOW > now).count();
                prop_assert!(in_window <= COMMANDS);
                prop_assert_eq!(budget.left(now), COMMANDS - in_window);
            }
        }
    }
}
