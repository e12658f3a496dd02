//! The types of dispatches as a table, so that an event carries one byte instead of a name.

use pilothouse_shared::event_types::NAMES;

/// Type of a dispatch: an index into [`EventKind::NAMES`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EventKind(u8);

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
