//! PURE: which events are kept while a spool fills up, and for how long: what the bot can do without goes first.

use std::time::Duration;

use crate::gateway::kind::EventKind;

/// Percent of a spool at which its ambient events are not stored any more.
const AMBIENT_PERCENT: u64 = 80;
/// Percent of a spool at which its ordinary events are not stored any more.
const ORDINARY_PERCENT: u64 = 95;

/// How much a bot misses an event.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Class {
    /// Of this moment only: presence and typing.
    Ambient,
    /// What the bot can ask for again.
    Ordinary,
    /// What nobody tells twice, or what permissions or money hang on; also types that this version does not know.
    Precious,
}

impl Class {
    /// Every class, the first to be dropped first; each at its index as a number.
    pub const ALL: [Self; 3] = [Self::Ambient, Self::Ordinary, Self::Precious];

    /// The class of a type of event.
    pub fn of(kind: EventKind) -> Self {
        const AMBIENT: [&str; 2] = ["PRESENCE_UPDATE", "TYPING_START"];
        const PRECIOUS: [&str; 11] = [
            "AUTO_MODERATION_ACTION_EXECUTION",
            "ENTITLEMENT_",
            "GUILD_BAN_",
            "GUILD_MEMBER_",
            "GUILD_ROLE_",
            "INTERACTION_CREATE",
            "MESSAGE_",
            "READY",
            "RESUMED",
            "SUBSCRIPTION_",
            "other",
        ];
        let name = kind.name();
        if AMBIENT.contains(&name) {
            Self::Ambient
        } else if kind.is_about_guild() || PRECIOUS.iter().any(|start| name.starts_with(start)) {
            Self::Precious
        } else {
            Self::Ordinary
        }
    }

    /// `ambient`, `ordinary` or `precious`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ambient => "ambient",
            Self::Ordinary => "ordinary",
            Self::Precious => "precious",
        }
    }
}

/// What happens to new events when a sink's spool is nearly full.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum WhenFull {
    /// Ambient events are dropped from 80 % on, ordinary ones from 95 % on; the others wait, and with them their sockets.
    #[default]
    DropClass,
    /// Nothing is dropped: all wait, and with them their sockets.
    Hold,
}

/// What is to be done with one event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Store,
    Drop(Class),
    /// It waits.
    Wait,
}

/// Decides on an event of `size` bytes for a sink whose spool holds `used` of `max` bytes. What is not fresh (`keep`)
/// is never dropped. One that is larger than the whole spool is stored alone.
pub(super) fn admit(policy: WhenFull, max: u64, used: u64, size: u64, kind: EventKind, keep: bool) -> Verdict {
    let from = |percent: u64| used >= max / 100 * percent;
    let overflows = used > 0 && used.saturating_add(size) > max;
    if policy == WhenFull::DropClass && !keep && (from(AMBIENT_PERCENT) || overflows) {
        match Class::of(kind) {
            Class::Ambient => return Verdict::Drop(Class::Ambient),
            Class::Ordinary if from(ORDINARY_PERCENT) || overflows => return Verdict::Drop(Class::Ordinary),
            _ => {}
        }
    }
    if overflows { Verdict::Wait } else { Verdict::Store }
}

/// How long events are worth delivering.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Expiry {
    /// Any event; none: for ever.
    pub any: Option<Duration>,
    /// Events of these types: `INTERACTION_CREATE` cannot be answered after 15 minutes.
    pub by_kind: Vec<(EventKind, Duration)>,
}

impl Expiry {
    /// Whether an event of `kind` received `age_ms` milliseconds ago is not worth delivering any more.
    pub fn is_over(&self, kind: EventKind, age_ms: u64) -> bool {
        let own = self.by_kind.iter().find(|(listed, _)| *listed == kind).map(|(_, limit)| *limit);
        own.into_iter().chain(self.any).any(|limit| u128::from(age_ms) > limit.as_millis())
    }

    /// Whether nothing ever expires.
    pub fn is_never(&self) -> bool {
        self.any.is_none() && self.by_kind.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TYPING: &[u8] = b"TYPING_START";
    const CHANNEL: &[u8] = b"CHANNEL_PINS_UPDATE";
    const INTERACTION: &[u8] = b"INTERACTION_CREATE";

    fn verdict(policy: WhenFull, used: u64, name: &[u8], keep: bool) -> Verdict {
        admit(policy, 1_000, used, 10, EventKind::of(name), keep)
    }

    #[test]
    fn every_type_has_the_class_it_should() {
        let class = |name: &str| Class::of(EventKind::of(name.as_bytes()));
        for name in ["INTERACTION_CREATE", "MESSAGE_REACTION_ADD", "GUILD_DELETE", "GUILD_MEMBER_ADD", "NEW_TYPE"] {
            assert_eq!(class(name), Class::Precious, "{name}");
        }
        for name in ["VOICE_STATE_UPDATE", "GUILD_MEMBERS_CHUNK", "CHANNEL_UPDATE", "GUILD_EMOJIS_UPDATE"] {
            assert_eq!(class(name), Class::Ordinary, "{name}");
        }
        assert_eq!(class("PRESENCE_UPDATE"), Class::Ambient);
        assert!(Class::ALL.iter().enumerate().all(|(index, class)| *class as usize == index));
    }

    #[test]
    fn classes_are_dropped_one_after_the_other() {
        let table = [
            (799, [Verdict::Store, Verdict::Store, Verdict::Store]),
            (800, [Verdict::Drop(Class::Ambient), Verdict::Store, Verdict::Store]),
            (949, [Verdict::Drop(Class::Ambient), Verdict::Store, Verdict::Store]),
            (950, [Verdict::Drop(Class::Ambient), Verdict::Drop(Class::Ordinary), Verdict::Store]),
            (990, [Verdict::Drop(Class::Ambient), Verdict::Drop(Class::Ordinary), Verdict::Store]),
            (991, [Verdict::Drop(Class::Ambient), Verdict::Drop(Class::Ordinary), Verdict::Wait]),
        ];
        for (used, expected) in table {
            let got = [TYPING, CHANNEL, INTERACTION].map(|name| verdict(WhenFull::DropClass, used, name, false));
            assert_eq!(got, expected, "at {used}");
            let kept = [TYPING, CHANNEL, INTERACTION].map(|name| verdict(WhenFull::DropClass, used, name, true));
            assert_eq!(kept, [expected[2]; 3], "kept, at {used}");
            let held = [TYPING, CHANNEL, INTERACTION].map(|name| verdict(WhenFull::Hold, used, name, false));
            assert_eq!(held, [expected[2]; 3], "held, at {used}");
        }
    }

    #[test]
    fn one_that_is_larger_than_the_spool_does_not_wait_for_ever() {
        let kind = EventKind::of(INTERACTION);
        assert_eq!(admit(WhenFull::DropClass, 100, 0, 1_000, kind, false), Verdict::Store);
        assert_eq!(admit(WhenFull::DropClass, 100, 1, 1_000, kind, false), Verdict::Wait);
    }

    #[test]
    fn the_shorter_limit_counts() {
        let interaction = EventKind::of(INTERACTION);
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let expiry = Expiry { any: Some(minutes(60)), by_kind: vec![(interaction, minutes(15))] };
        assert!(!expiry.is_over(interaction, 15 * 60_000));
        assert!(expiry.is_over(interaction, 15 * 60_000 + 1));
        assert!(!expiry.is_over(EventKind::READY, 60 * 60_000));
        assert!(expiry.is_over(EventKind::READY, 60 * 60_000 + 1));
        assert!(!Expiry::default().is_over(interaction, u64::MAX));
        assert!(Expiry::default().is_never() && !expiry.is_never());
    }

    proptest! {
        #[test]
        fn what_is_more_precious_is_never_dropped_earlier(used in 0_u64..1_200, size in 1_u64..2_000) {
            let verdicts = [TYPING, CHANNEL, INTERACTION]
                .map(|name| admit(WhenFull::DropClass, 1_000, used, size, EventKind::of(name), false));
            let dropped = verdicts.map(|verdict| matches!(verdict, Verdict::Drop(_)));
            prop_assert!(dropped[0] >= dropped[1]);
            prop_assert!(!dropped[2]);
            prop_assert!(verdicts[2] == Verdict::Wait || used == 0 || used + size <= 1_000);
        }
    }
}
