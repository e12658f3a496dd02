//! Commands on their way to Discord: they wait, bounded and with an expiry, until the session is active and its send
//! budget has room, in order. The presence is a state rather than a command: only the newest counts, and it does not
//! expire but goes with the next identify.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::budget::SendBudget;
use super::payload::Payload;
use super::scan;
use super::signal::{Output, Wait};

/// Commands that wait for one shard.
const WAITING: usize = 64;

/// Whom to tell what became of a command.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ticket {
    /// A caller.
    Caller(u64),
    /// A request for members, by its number.
    Members(u64),
}

/// A command for Discord.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outgoing {
    /// Whom to tell.
    pub ticket: Ticket,
    /// What to send.
    pub payload: Payload,
    /// When it is no longer worth sending.
    pub expires: Instant,
}

/// What became of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It is sent.
    Sent,
    /// It is sent later, for this reason.
    Waits(&'static str),
    /// It is not sent, for this reason.
    Refused(&'static str),
    /// It waited too long and is not sent.
    Expired,
}

/// What one shard has to send.
#[derive(Clone, Debug, Default)]
pub struct Commands {
    queue: VecDeque<Outgoing>,
    budget: SendBudget,
    presence: Option<Outgoing>,
    /// The presence is newer than what Discord was told.
    presence_due: bool,
}

impl Commands {
    /// Takes a command in; false if too many wait.
    pub fn add(&mut self, outgoing: &Outgoing) -> bool {
        if outgoing.payload.is_presence() {
            self.presence = Some(outgoing.clone());
            self.presence_due = true;
            return true;
        }
        let fits = self.queue.len() < WAITING;
        if fits {
            self.queue.push_back(outgoing.clone());
        }
        fits
    }

    /// Whether the command with this ticket waits.
    pub fn holds(&self, ticket: Ticket) -> bool {
        let presence = self.presence.as_ref().filter(|_| self.presence_due);
        self.queue.iter().chain(presence).any(|outgoing| outgoing.ticket == ticket)
    }

    /// Sends what may be sent on an active session.
    pub fn pump(&mut self, now: Instant, outputs: &mut VecDeque<Output>) {
        self.expire(now, outputs);
        while self.presence_due || !self.queue.is_empty() {
            if !self.budget.take(now) {
                return;
            }
            let presence = std::mem::take(&mut self.presence_due).then(|| self.presence.clone()).flatten();
            let Some(outgoing) = presence.or_else(|| self.queue.pop_front()) else { return };
            outputs.push_back(Output::Send(outgoing.payload.text().to_owned()));
            outputs.push_back(Output::Command(outgoing.ticket, Standing::Sent));
        }
        self.queue = VecDeque::new();
    }

    /// Drops what waited too long.
    pub fn expire(&mut self, now: Instant, outputs: &mut VecDeque<Output>) {
        self.queue.retain(|outgoing| {
            let expired = outgoing.expires <= now;
            if expired {
                outputs.push_back(Output::Command(outgoing.ticket, Standing::Expired));
            }
            !expired
        });
    }

    /// The next moment at which something expires or, on an `active` session, may be sent.
    pub fn wait(&self, active: bool) -> Option<Wait> {
        if self.queue.is_empty() && !self.presence_due {
            return None;
        }
        let expiry = self.queue.iter().map(|outgoing| outgoing.expires).min();
        let expiry = expiry.map(|until| Wait { until, why: "the expiry of a command" });
        let leave = self.budget.free_at().filter(|_| active).map(|until| Wait { until, why: "the send budget" });
        expiry.into_iter().chain(leave).min_by_key(|wait| wait.until)
    }

    /// A new connection begins, with a budget of its own.
    pub fn connected(&mut self, heartbeat: Duration) {
        self.budget = SendBudget::new(heartbeat);
    }

    /// The presence to identify with, as JSON, if one was set.
    pub fn presence(&self) -> Option<&str> {
        let text = self.presence.as_ref()?.payload.text();
        scan::field(text.as_bytes(), "d").and_then(|data| std::str::from_utf8(data).ok())
    }

    /// The presence went with an identify.
    pub fn identified(&mut self) {
        self.presence_due = false;
    }

    /// Commands that may still be sent on this connection at `now`.
    pub fn left(&self, now: Instant) -> usize {
        self.budget.left(now)
    }

    /// What is still to be sent.
    pub fn waiting(&self) -> usize {
        self.queue.len() + usize::from(self.presence_due)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::budget::COMMANDS;
    use super::super::presence::{Presence, Status};
    use super::*;

    const LATER: Duration = Duration::from_secs(600);

    fn outgoing(number: u64, expires: Instant) -> Outgoing {
        let payload = Payload::raw(&format!("{{\"op\":4,\"d\":{number}}}")).expect("valid");
        Outgoing { ticket: Ticket::Caller(number), payload, expires }
    }

    fn presence(number: u64, status: Status, now: Instant) -> Outgoing {
        let payload = Payload::presence(&Presence::new(status)).expect("valid");
        Outgoing { ticket: Ticket::Caller(number), payload, expires: now }
    }

    fn pump(commands: &mut Commands, now: Instant) -> Vec<Output> {
        let mut outputs = VecDeque::new();
        commands.pump(now, &mut outputs);
        outputs.into()
    }

    #[test]
    fn a_queue_is_bounded_and_what_waits_too_long_is_told() {
        let now = Instant::now();
        let mut commands = Commands::default();
        let fit = (0..100).filter(|number| commands.add(&outgoing(*number, now + LATER * (1 + *number as u32 % 2))));
        assert_eq!(fit.count(), WAITING);
        assert_eq!(commands.wait(false).map(|wait| wait.until), Some(now + LATER));
        let mut outputs = VecDeque::new();
        commands.expire(now + LATER, &mut outputs);
        let even: Vec<_> = (0..64).step_by(2).map(|n| Output::Command(Ticket::Caller(n), Standing::Expired)).collect();
        assert_eq!(Vec::from(outputs), even);
        assert_eq!(pump(&mut commands, now + LATER).len(), 64, "a text and a word for each of the rest");
        assert_eq!(commands.wait(true), None);
    }

    #[test]
    fn of_presences_the_newest_is_sent_once_and_identified_with() {
        let now = Instant::now();
        let mut commands = Commands::default();
        assert_eq!(commands.presence(), None);
        commands.add(&presence(1, Status::Idle, now));
        commands.add(&presence(2, Status::Dnd, now));
        assert!(!commands.holds(Ticket::Caller(1)) && commands.holds(Ticket::Caller(2)));
        assert!(commands.presence().expect("one is set").contains("dnd"));
        commands.identified();
        assert_eq!(pump(&mut commands, now + LATER), [], "the identify told it");
        commands.add(&presence(3, Status::Online, now));
        assert_eq!(pump(&mut commands, now + LATER).len(), 2, "it does not expire");
        assert_eq!(pump(&mut commands, now + LATER), []);
        assert!(commands.presence().expect("it is remembered").contains("online"));
    }

    proptest! {
        #[test]
        fn commands_leave_in_order_and_within_the_budget(steps in prop::collection::vec((0_u8..4, 0_u64..20_000), 1..400)) {
            let mut commands = Commands::default();
            let (mut now, mut number, mut taken) = (Instant::now(), 0, VecDeque::new());
            let mut sent = Vec::new();
            for (kind, ms) in steps {
                match kind {
                    0 => now += Duration::from_millis(ms),
                    1 => {
                        commands.add(&presence(u64::MAX, Status::Idle, now));
                    }
                    _ => for _ in 0..ms % 30 {
                        number += 1;
                        if commands.add(&outgoing(number, now + LATER)) {
                            taken.push_back(number);
                        }
                    }
                }
                for output in pump(&mut commands, now) {
                    match output {
                        Output::Send(_) => sent.push(now),
                        Output::Command(Ticket::Caller(u64::MAX), Standing::Sent) => {}
                        Output::Command(Ticket::Caller(number), Standing::Sent) => {
                            prop_assert_eq!(taken.pop_front(), Some(number));
                        }
                        other => prop_assert!(false, "{other:?}"),
                    }
                }
                prop_assert!(sent.iter().filter(|at| **at + Duration::from_secs(60) > now).count() <= COMMANDS);
                prop_assert!(commands.waiting() <= WAITING + 1);
                if commands.waiting() > 0 {
                    prop_assert!(commands.wait(true).is_some_and(|wait| wait.until > now), "nothing would wake it");
                }
            }
        }
    }
}
