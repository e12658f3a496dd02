//! Counts wrong tokens, for each address and in all, and what is refused to each token, minute by minute. It has no clock
//! of its own.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Answered with 401 in a minute, for each address; more of them get 429.
pub(super) const OF_ADDRESS: u32 = 20;
/// The same for all addresses together; it also bounds how many of them are remembered.
const IN_ALL: u32 = 1_000;
/// Refusals to one token in a minute that are noted.
pub(super) const NOTED: u32 = 30;
const MINUTE: Duration = Duration::from_secs(60);

/// The wrong tokens of this minute.
#[derive(Debug, Default)]
pub(super) struct Failures {
    since: Option<Instant>,
    all: u32,
    by: HashMap<IpAddr, u32>,
}

impl Failures {
    /// Whether so many came from `from` that the next get 429.
    pub(super) fn are_many(&self, from: IpAddr, now: Instant) -> bool {
        let current = self.since.is_some_and(|since| now.duration_since(since) < MINUTE);
        current && self.by.get(&network(from)).is_some_and(|count| *count >= OF_ADDRESS)
    }

    /// Counts one from `from`: whether that is still within the limits.
    pub(super) fn count(&mut self, from: IpAddr, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.duration_since(since) >= MINUTE) {
            *self = Self { since: Some(now), ..Self::default() };
        }
        if self.all >= IN_ALL {
            return false;
        }
        let count = self.by.entry(network(from)).or_default();
        if *count == OF_ADDRESS {
            return false;
        }
        (*count, self.all) = (*count + 1, self.all + 1);
        if *count == OF_ADDRESS {
            tracing::warn!("{OF_ADDRESS} requests with a wrong token from {from} in a minute: the next get 429");
        }
        if self.all == IN_ALL {
            tracing::warn!("{IN_ALL} requests with a wrong token in a minute: the next from anywhere get 429");
        }
        true
    }
}

/// What was refused in this minute and stands in the audit log: not so much that it fills the disk.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    since: Option<Instant>,
    by: HashMap<String, u32>,
}

impl Refusals {
    /// Whether one more to `who` is to be noted.
    pub(super) fn admit(&mut self, who: &str, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.duration_since(since) >= MINUTE) {
            *self = Self { since: Some(now), by: HashMap::new() };
        }
        let count = self.by.entry(who.to_owned()).or_default();
        *count += 1;
        if *count == NOTED {
            tracing::warn!("{NOTED} commands were refused to {who} in a minute: the next are not noted");
        }
        *count <= NOTED
    }
}

/// What one client has for itself: an IPv4 address, or the upper half of an IPv6 address.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(whole) => Ipv6Addr::from_bits(whole.to_bits() >> 64 << 64).into(),
        four => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn each_address_has_its_own_limit() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        let stranger = address("203.0.113.7");
        for _ in 0..OF_ADDRESS {
            assert!(failures.count(stranger, now));
        }
        assert!(!failures.count(stranger, now) && !failures.count(address("::ffff:203.0.113.7"), now));
        assert!(failures.count(address("203.0.113.8"), now));
        assert!(failures.are_many(stranger, now) && !failures.are_many(address("203.0.113.8"), now));
        assert!(!failures.are_many(stranger, now + MINUTE) && failures.count(stranger, now + MINUTE));
    }

    #[test]
    fn an_ipv6_client_cannot_change_its_address_to_go_on() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        let taken = (0..30).filter(|n| failures.count(address(&format!("2001:db8::{n}")), now)).count();
        assert_eq!(taken, OF_ADDRESS as usize);
        assert!(failures.count(address("2001:db8:0:1::1"), now));
    }

    #[test]
    fn refusals_are_noted_so_often_for_each_token() {
        let (mut refusals, now) = (Refusals::default(), Instant::now());
        let noted = (0..1_000).filter(|_| refusals.admit("ann", now)).count();
        assert_eq!(noted, NOTED as usize);
        assert!(refusals.admit("bob", now) && refusals.admit("ann", now + MINUTE));
    }

    #[test]
    fn all_together_have_one_that_bounds_the_memory() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        let taken = (0..100_000_u32).filter(|n| failures.count(IpAddr::V4((*n).into()), now)).count();
        assert_eq!((taken, failures.by.len()), (IN_ALL as usize, IN_ALL as usize));
        assert!(failures.count(address("10.0.0.1"), now + MINUTE));
    }
}
