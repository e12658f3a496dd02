//! The verdict: what a run comes to, as numbers that a test asserts and a console prints.

use std::collections::BTreeMap;

use serde::Serialize;

/// The state of the ledger. Meaningful once traffic has stopped and [`crate::Sandbox::settle`] has returned.
///
/// Counted are the generated events (those that carry `_pilothouse`), once each however many sessions got them.
/// READY, its GUILD_CREATE burst, RESUMED and answers to requests are not: they belong to a session, not to the bot.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// Events given to at least one session, connected or resumable.
    pub sent: u64,
    /// Events the bot has at least once.
    pub received: u64,
    /// Events some session should have delivered and the bot does not have.
    pub lost: u64,
    /// Events the bot does not have because the client let them go by their age, as [`crate::Sandbox::expired`] was told.
    pub expired: u64,
    /// Deliveries beyond the first of an event.
    pub doubled: u64,
    /// First deliveries that came after a later event of the same guild.
    pub out_of_order: u64,
    /// Deliveries with an id that was never sent.
    pub unknown: u64,
    /// Deliveries without an id.
    pub uncounted: u64,
    /// Events the bot does not have and no session could deliver any more.
    pub unreplayable: Unreplayable,
    /// Median of the time from sending to receiving, in milliseconds.
    pub p50_ms: f64,
    /// 99th percentile of it.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// Rules of Discord that the client broke; the list is in [`crate::Status`].
    pub violations: u64,
    /// The same by event type.
    pub by_type: BTreeMap<&'static str, TypeCount>,
}

impl Verdict {
    /// Nothing lost, doubled, out of order or made up, and no rule broken.
    pub fn clean(&self) -> bool {
        self.lost + self.doubled + self.out_of_order + self.unknown + self.violations == 0
    }
}

/// Events excused, by why: the client had not received them, and no session that had them can replay them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Unreplayable {
    /// The session was invalidated by a fault.
    pub invalidated: u64,
    /// The replay buffer was too small.
    pub overflowed: u64,
    /// Nobody resumed in time.
    pub expired: u64,
}

impl Unreplayable {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.invalidated + self.overflowed + self.expired
    }
}

/// Events of one type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TypeCount {
    /// Sent to at least one session.
    pub sent: u64,
    /// Received at least once.
    pub received: u64,
}
