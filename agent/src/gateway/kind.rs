//! The types of dispatches as a table, so that an event carries one byte instead of a name.

/// Type of a dispatch: an index into [`EventKind::NAMES`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EventKind(u8);

/// Names in alphabetical order, which [`EventKind::of`] searches (Discord, Gateway Events, "Receive Events", and three
/// that the stage `guild_lifecycle` renames to).
const NAMES: [&str; 83] = [
    "APPLICATION_COMMAND_PERMISSIONS_UPDATE",
    "AUTO_MODERATION_ACTION_EXECUTION",
    "AUTO_MODERATION_RULE_CREATE",
    "AUTO_MODERATION_RULE_DELETE",
    "AUTO_MODERATION_RULE_UPDATE",
    "CHANNEL_CREATE",
    "CHANNEL_DELETE",
    "CHANNEL_INFO",
    "CHANNEL_PINS_UPDATE",
    "CHANNEL_UPDATE",
    "ENTITLEMENT_CREATE",
    "ENTITLEMENT_DELETE",
    "ENTITLEMENT_UPDATE",
    "GUILD_AUDIT_LOG_ENTRY_CREATE",
    "GUILD_BAN_ADD",
    "GUILD_BAN_REMOVE",
    "GUILD_CREATE",
    "GUILD_CREATE_AVAILABLE",
    "GUILD_DELETE",
    "GUILD_EMOJIS_UPDATE",
    "GUILD_INTEGRATIONS_UPDATE",
    "GUILD_LOADED_DD",
    "GUILD_MEMBERS_CHUNK",
    "GUILD_MEMBER_ADD",
    "GUILD_MEMBER_REMOVE",
    "GUILD_MEMBER_UPDATE",
    "GUILD_ROLE_CREATE",
    "GUILD_ROLE_DELETE",
    "GUILD_ROLE_UPDATE",
    "GUILD_SCHEDULED_EVENT_CREATE",
    "GUILD_SCHEDULED_EVENT_DELETE",
    "GUILD_SCHEDULED_EVENT_UPDATE",
    "GUILD_SCHEDULED_EVENT_USER_ADD",
    "GUILD_SCHEDULED_EVENT_USER_REMOVE",
    "GUILD_SOUNDBOARD_SOUNDS_UPDATE",
    "GUILD_SOUNDBOARD_SOUND_CREATE",
    "GUILD_SOUNDBOARD_SOUND_DELETE",
    "GUILD_SOUNDBOARD_SOUND_UPDATE",
    "GUILD_STICKERS_UPDATE",
    "GUILD_UNAVAILABLE",
    "GUILD_UPDATE",
    "INTEGRATION_CREATE",
    "INTEGRATION_DELETE",
    "INTEGRATION_UPDATE",
    "INTERACTION_CREATE",
    "INVITE_CREATE",
    "INVITE_DELETE",
    "MESSAGE_CREATE",
    "MESSAGE_DELETE",
    "MESSAGE_DELETE_BULK",
    "MESSAGE_POLL_VOTE_ADD",
    "MESSAGE_POLL_VOTE_REMOVE",
    "MESSAGE_REACTION_ADD",
    "MESSAGE_REACTION_REMOVE",
    "MESSAGE_REACTION_REMOVE_ALL",
    "MESSAGE_REACTION_REMOVE_EMOJI",
    "MESSAGE_UPDATE",
    "PRESENCE_UPDATE",
    "RATE_LIMITED",
    "READY",
    "RESUMED",
    "SOUNDBOARD_SOUNDS",
    "STAGE_INSTANCE_CREATE",
    "STAGE_INSTANCE_DELETE",
    "STAGE_INSTANCE_UPDATE",
    "SUBSCRIPTION_CREATE",
    "SUBSCRIPTION_DELETE",
    "SUBSCRIPTION_UPDATE",
    "THREAD_CREATE",
    "THREAD_DELETE",
    "THREAD_LIST_SYNC",
    "THREAD_MEMBERS_UPDATE",
    "THREAD_MEMBER_UPDATE",
    "THREAD_UPDATE",
    "TYPING_START",
    "USER_UPDATE",
    "VOICE_CHANNEL_EFFECT_SEND",
    "VOICE_CHANNEL_START_TIME_UPDATE",
    "VOICE_CHANNEL_STATUS_UPDATE",
    "VOICE_SERVER_UPDATE",
    "VOICE_STATE_UPDATE",
    "WEBHOOKS_UPDATE",
    "other",
];

impl EventKind {
    /// Every name; the last stands for all that this version does not know.
    pub const NAMES: [&'static str; NAMES.len()] = NAMES;
    /// A type that this version does not know.
    pub const OTHER: Self = Self((NAMES.len() - 1) as u8);
    /// The session is identified.
    pub const READY: Self = Self::known("READY");
    /// The replay is over.
    pub const RESUMED: Self = Self::known("RESUMED");
    /// A guild is there.
    pub const GUILD_CREATE: Self = Self::known("GUILD_CREATE");
    /// A known guild is there again; made of a GUILD_CREATE.
    pub const GUILD_CREATE_AVAILABLE: Self = Self::known("GUILD_CREATE_AVAILABLE");
    /// A known guild that READY listed; made of a GUILD_CREATE.
    pub const GUILD_LOADED_DD: Self = Self::known("GUILD_LOADED_DD");
    /// A guild is in an outage; made of a GUILD_DELETE.
    pub const GUILD_UNAVAILABLE: Self = Self::known("GUILD_UNAVAILABLE");
    /// A guild changed.
    pub const GUILD_UPDATE: Self = Self::known("GUILD_UPDATE");
    /// A guild is gone, or unavailable.
    pub const GUILD_DELETE: Self = Self::known("GUILD_DELETE");
    /// Part of the answer to a request for members.
    pub const GUILD_MEMBERS_CHUNK: Self = Self::known("GUILD_MEMBERS_CHUNK");
    /// A message was sent.
    pub const MESSAGE_CREATE: Self = Self::known("MESSAGE_CREATE");
    /// A message changed.
    pub const MESSAGE_UPDATE: Self = Self::known("MESSAGE_UPDATE");
    /// A request came too early.
    pub const RATE_LIMITED: Self = Self::known("RATE_LIMITED");

    /// The kind called `name`: one hash and, mostly, one comparison, as every event passes here.
    pub fn of(name: &[u8]) -> Self {
        let mut slot = slot_of(name);
        loop {
            let kind = Self(SLOTS[slot]);
            if kind == Self::OTHER || kind.name().as_bytes() == name {
                return kind;
            }
            slot = (slot + 1) % SLOTS.len();
        }
    }

    /// Its name, or `other`.
    pub fn name(self) -> &'static str {
        NAMES[usize::from(self.0)]
    }

    /// Its place in [`Self::NAMES`].
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// Whether `d.id` is the guild itself.
    pub fn is_about_guild(self) -> bool {
        Self::ABOUT_GUILD.contains(self)
    }

    const ABOUT_GUILD: KindSet = KindSet::of(&[
        Self::GUILD_CREATE,
        Self::GUILD_UPDATE,
        Self::GUILD_DELETE,
        Self::GUILD_CREATE_AVAILABLE,
        Self::GUILD_LOADED_DD,
        Self::GUILD_UNAVAILABLE,
    ]);

    const fn known(name: &str) -> Self {
        let mut index = 0;
        while index < NAMES.len() {
            if same(NAMES[index].as_bytes(), name.as_bytes()) {
                return Self(index as u8);
            }
            index += 1;
        }
        panic!("not in NAMES")
    }
}

/// A set of types.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KindSet(u128);

impl KindSet {
    /// These.
    pub const fn of(kinds: &[EventKind]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < kinds.len() {
            bits |= 1 << kinds[at].0;
            at += 1;
        }
        Self(bits)
    }

    /// Whether it is one of them.
    pub const fn contains(self, kind: EventKind) -> bool {
        self.0 >> kind.0 & 1 == 1
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// These and those.
    #[must_use]
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Their names, in alphabetical order.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let kinds = NAMES.iter().zip(0..);
        kinds.filter(move |(_, index)| self.contains(EventKind(*index))).map(|(name, _)| *name)
    }
}

impl FromIterator<EventKind> for KindSet {
    fn from_iter<I: IntoIterator<Item = EventKind>>(kinds: I) -> Self {
        kinds.into_iter().fold(Self::default(), |set, kind| set.and(Self::of(&[kind])))
    }
}

/// Indices into [`NAMES`] by [`slot_of`], open addressing; the index of `other` marks a free slot.
const SLOTS: [u8; 256] = {
    let mut slots = [EventKind::OTHER.0; 256];
    let mut index = 0;
    while index < NAMES.len() - 1 {
        let mut slot = slot_of(NAMES[index].as_bytes());
        while slots[slot] != EventKind::OTHER.0 {
            slot = (slot + 1) % slots.len();
        }
        slots[slot] = index as u8;
        index += 1;
    }
    slots
};

/// Where the search for a name begins; factors by which at most two names meet in a slot.
const fn slot_of(name: &[u8]) -> usize {
    let length = name.len();
    if length < 4 {
        return 0;
    }
    let (middle, late, last) = (name[length / 2] as usize, name[length * 3 / 4] as usize, name[length - 3] as usize);
    (length * 225 + middle * 183 + late * 29 + last * 97) % 256
}

const fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut index = 0;
    while index < one.len() {
        if one[index] != other[index] {
            return false;
        }
        index += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_nothing_else() {
        assert!(NAMES[..NAMES.len() - 1].is_sorted());
        for name in &NAMES[..NAMES.len() - 1] {
            assert_eq!(EventKind::of(name.as_bytes()).name(), *name);
        }
        assert_eq!(EventKind::of(b"MESSAGE_CREATED"), EventKind::OTHER);
        assert_eq!(EventKind::of(b""), EventKind::OTHER);
        assert_eq!(EventKind::of(&[b'A'; 300]), EventKind::OTHER);
        assert_eq!(EventKind::of(b"other"), EventKind::OTHER);
    }
}
