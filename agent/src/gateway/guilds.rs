//! The guilds of one shard and which of them are unavailable, in 8 bytes a guild.

/// A sorted set of snowflakes; the lowest bit of an entry tells whether the guild is unavailable (snowflakes
/// have 63 bits until the year 2084).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Guilds {
    entries: Vec<u64>,
    unavailable: u32,
    /// Guilds came or went since the last [`Guilds::take_changed`].
    changed: bool,
}

impl Guilds {
    /// The guilds that READY lists: all unavailable until their GUILD_CREATE comes.
    pub fn listed(ids: &[u64]) -> Self {
        let mut entries: Vec<u64> = ids.iter().map(|id| id << 1 | 1).collect();
        entries.sort_unstable();
        entries.dedup();
        let unavailable = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        Self { entries, unavailable, changed: false }
    }

    /// The guilds of a session that is resumed: available as far as is known.
    pub fn resumed(ids: &[u64]) -> Self {
        let mut guilds = Self::listed(ids);
        guilds.entries.iter_mut().for_each(|entry| *entry &= !1);
        Self { unavailable: 0, ..guilds }
    }

    /// Their ids, ascending.
    pub fn ids(&self) -> Vec<u64> {
        self.entries.iter().map(|entry| entry >> 1).collect()
    }

    /// Whether guilds came or went since the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// A guild was created, or became available.
    pub fn available(&mut self, id: u64) {
        self.set(id, false);
    }

    /// A guild is in an outage.
    pub fn outage(&mut self, id: u64) {
        self.set(id, true);
    }

    /// The bot was removed from a guild.
    pub fn removed(&mut self, id: u64) {
        if let Ok(at) = self.find(id) {
            self.unavailable -= (self.entries.remove(at) & 1) as u32;
            self.changed = true;
        }
    }

    /// Guilds in all.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Unavailable ones.
    pub fn unavailable(&self) -> u32 {
        self.unavailable
    }

    fn set(&mut self, id: u64, unavailable: bool) {
        let entry = id << 1 | u64::from(unavailable);
        match self.find(id) {
            Ok(at) => {
                self.unavailable -= (self.entries[at] & 1) as u32;
                self.entries[at] = entry;
            }
            Err(at) => {
                self.entries.insert(at, entry);
                self.changed = true;
            }
        }
        self.unavailable += u32::from(unavailable);
    }

    fn find(&self, id: u64) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&id, |entry| entry >> 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_map(listed in prop::collection::vec(0_u64..20, 0..10), steps in prop::collection::vec((0_u64..20, 0..3), 0..60)) {
            let mut guilds = Guilds::listed(&listed);
            let mut model: BTreeMap<u64, bool> = listed.into_iter().map(|id| (id, true)).collect();
            for (id, step) in steps {
                match step {
                    0 => { guilds.available(id); model.insert(id, false); }
                    1 => { guilds.outage(id); model.insert(id, true); }
                    _ => { guilds.removed(id); model.remove(&id); }
                }
                let ids: Vec<u64> = model.keys().copied().collect();
                prop_assert_eq!(guilds.ids(), ids);
                prop_assert_eq!(guilds.unavailable() as usize, model.values().filter(|out| **out).count());
            }
        }
    }
}
