//! PURE: plans that were shown and wait to be applied: by whoever asked, once, for a while.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use pilothouse_shared::command::Command;

/// How long a plan can be applied: what it says of the shards grows old.
pub(super) const LIFETIME: Duration = Duration::from_secs(300);
/// Plans that wait; one more and the oldest is forgotten.
const KEPT: usize = 256;
/// Of one caller: one more and its own oldest is forgotten.
const OF_CALLER: usize = 32;

/// Plans that can still be applied, oldest first.
#[derive(Debug, Default)]
pub(super) struct Plans {
    open: VecDeque<Open>,
}

#[derive(Debug)]
struct Open {
    id: String,
    by: String,
    commands: Vec<Command>,
    until: Instant,
}

impl Plans {
    /// Keeps what `by` was shown as `id`.
    pub(super) fn keep(&mut self, id: String, by: &str, commands: Vec<Command>, now: Instant) {
        self.open.retain(|plan| plan.until > now);
        let mut own = self.open.iter().enumerate().filter(|(_, plan)| plan.by == by);
        let surplus = match (own.next(), own.count() + 1 >= OF_CALLER) {
            (Some((oldest, _)), true) => Some(oldest),
            _ => (self.open.len() == KEPT).then_some(0),
        };
        surplus.map(|at| self.open.remove(at));
        self.open.push_back(Open { id, by: by.to_owned(), commands, until: now + LIFETIME });
    }

    /// Takes the plan out, if it is of `by` and not too old.
    pub(super) fn take(&mut self, id: &str, by: &str, now: Instant) -> Option<Vec<Command>> {
        let at = self.open.iter().position(|plan| plan.id == id && plan.by == by && plan.until > now)?;
        self.open.remove(at).map(|plan| plan.commands)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restart() -> Vec<Command> {
        vec![Command::parse("restart 3").expect("a command")]
    }

    #[test]
    fn a_plan_is_applied_once_by_whoever_asked_and_not_too_late() {
        let (mut plans, start) = (Plans::default(), Instant::now());
        for id in ["a", "b"] {
            plans.keep(id.into(), "ann", restart(), start);
        }
        assert_eq!(plans.take("a", "bob", start), None);
        assert_eq!(plans.take("c", "ann", start), None);
        assert_eq!(plans.take("a", "ann", start), Some(restart()));
        assert_eq!(plans.take("a", "ann", start), None);
        assert_eq!(plans.take("b", "ann", start + LIFETIME), None);
    }

    #[test]
    fn only_so_many_wait() {
        let (mut plans, start) = (Plans::default(), Instant::now());
        let caller = |id: usize| format!("ann-{}", id % 100);
        for id in 0..=KEPT {
            plans.keep(id.to_string(), &caller(id), restart(), start);
        }
        assert_eq!(plans.take("0", &caller(0), start), None);
        assert!(plans.take("1", &caller(1), start).is_some());
        assert!(plans.take(&KEPT.to_string(), &caller(KEPT), start).is_some());
    }

    #[test]
    fn whoever_asks_much_forgets_their_own() {
        let (mut plans, start) = (Plans::default(), Instant::now());
        plans.keep("bob's".into(), "bob", restart(), start);
        for id in 0..KEPT {
            plans.keep(id.to_string(), "ann", restart(), start);
        }
        assert!(plans.take("bob's", "bob", start).is_some());
        let kept = (0..KEPT).filter(|id| plans.take(&id.to_string(), "ann", start).is_some()).count();
        assert_eq!(kept, OF_CALLER);
    }
}
