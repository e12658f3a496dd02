//! All sessions of the bot, pure: by id for a resume, by total and shard for the events.

use std::collections::HashMap;

use super::session::{Entry, Session, Terms};
use crate::traffic::{Guilds, VARIANTS};

/// The sessions. Keys stay valid until `remove`.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    slots: Vec<Option<Session>>,
    free: Vec<usize>,
    by_id: HashMap<String, usize>,
    generations: Vec<Generation>,
    serial: usize,
    /// Connections that have something new to write.
    touched: Vec<u64>,
}

/// All shards of one total; each may have several sessions.
#[derive(Debug)]
struct Generation {
    total: u32,
    shards: Vec<Vec<usize>>,
}

impl Sessions {
    /// Opens a session; its id is what READY names.
    pub(crate) fn open(&mut self, mut terms: Terms, connection: u64, bound: usize, seed: u64) -> usize {
        self.serial += 1;
        terms.variant = self.serial % VARIANTS;
        let id = format!("{:016x}{:016x}", seed.wrapping_mul(0x9E37_79B9_7F4A_7C15), self.serial);
        let (shard, total) = (terms.shard, terms.total);
        let key = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.by_id.insert(id.clone(), key);
        self.slots[key] = Some(Session::new(id, terms, connection, bound));
        self.generation(total).shards[shard as usize].push(key);
        key
    }

    pub(crate) fn get(&self, key: usize) -> &Session {
        self.slots[key].as_ref().expect("keys stay valid until remove")
    }

    pub(crate) fn get_mut(&mut self, key: usize) -> &mut Session {
        self.slots[key].as_mut().expect("keys stay valid until remove")
    }

    pub(crate) fn find(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &Session)> {
        self.slots.iter().enumerate().filter_map(|(key, slot)| Some((key, slot.as_ref()?)))
    }

    pub(crate) fn remove(&mut self, key: usize) -> Session {
        let session = self.slots[key].take().expect("keys stay valid until remove");
        self.free.push(key);
        self.by_id.remove(&session.id);
        let generation = self.generation(session.terms.total);
        generation.shards[session.terms.shard as usize].retain(|other| *other != key);
        if generation.shards.iter().all(Vec::is_empty) {
            self.generations.retain(|generation| generation.total != session.terms.total);
        }
        session
    }

    /// Appends a dispatch and remembers whom to wake.
    pub(crate) fn push(&mut self, key: usize, entry: Entry) {
        let session = self.get_mut(key);
        let was_idle = session.unwritten() == 0;
        session.push(entry);
        if let Some(connection) = session.connection()
            && was_idle
        {
            self.touched.push(connection);
        }
    }

    /// Connections to wake since the last call.
    pub(crate) fn take_touched(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.touched)
    }

    /// Sessions of every total that a guild's event goes to.
    pub(crate) fn takers_of(
        &self,
        guild: u32,
        guilds: &Guilds,
        wanted: impl Fn(&Terms) -> bool,
        takers: &mut Vec<usize>,
    ) {
        for generation in &self.generations {
            let shard = &generation.shards[guilds.shard(guild, generation.total) as usize];
            takers.extend(shard.iter().filter(|key| wanted(&self.get(**key).terms)));
        }
    }

    /// Sessions that get events without a guild.
    pub(crate) fn takers_on_shard_zero(&self, wanted: impl Fn(&Terms) -> bool, takers: &mut Vec<usize>) {
        for generation in &self.generations {
            takers.extend(generation.shards[0].iter().filter(|key| wanted(&self.get(**key).terms)));
        }
    }

    /// Whether any session serves the guild, whatever its intents.
    pub(crate) fn has_shard_of(&self, guild: u32, guilds: &Guilds) -> bool {
        let served =
            |generation: &Generation| !generation.shards[guilds.shard(guild, generation.total) as usize].is_empty();
        self.generations.iter().any(served)
    }

    /// Sessions of one shard of one total.
    pub(crate) fn of_shard(&self, shard: u32, total: u32) -> Vec<usize> {
        let generation = self.generations.iter().find(|generation| generation.total == total);
        generation.and_then(|generation| generation.shards.get(shard as usize)).cloned().unwrap_or_default()
    }

    fn generation(&mut self, total: u32) -> &mut Generation {
        let found = self.generations.iter().position(|generation| generation.total == total);
        let index = found.unwrap_or_else(|| {
            self.generations.push(Generation { total, shards: vec![Vec::new(); total as usize] });
            self.generations.len() - 1
        });
        &mut self.generations[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SandboxConfig;
    use crate::gateway::Compression;

    fn terms(shard: u32, total: u32) -> Terms {
        Terms { shard, total, version: 10, compression: Compression::None, intents: 1, variant: 0 }
    }

    #[test]
    fn a_guild_reaches_one_shard_of_every_total() {
        let guilds = Guilds::new(&SandboxConfig { guilds: 12, ..SandboxConfig::default() });
        let mut sessions = Sessions::default();
        for (shard, total) in [(0, 2), (1, 2), (0, 3), (1, 3), (2, 3)] {
            sessions.open(terms(shard, total), 1, 10, 1);
        }
        for guild in 0..12 {
            let mut takers = Vec::new();
            sessions.takers_of(guild, &guilds, |_| true, &mut takers);
            assert_eq!(takers.len(), 2);
            for key in takers {
                let terms = &sessions.get(key).terms;
                assert_eq!(terms.shard, guilds.shard(guild, terms.total));
            }
        }
    }

    #[test]
    fn removed_sessions_get_nothing_and_their_keys_are_reused() {
        let guilds = Guilds::new(&SandboxConfig::default());
        let mut sessions = Sessions::default();
        let key = sessions.open(terms(0, 1), 1, 10, 1);
        let id = sessions.remove(key).id;
        assert!(sessions.find(&id).is_none() && !sessions.has_shard_of(0, &guilds));
        assert_eq!(sessions.open(terms(0, 1), 1, 10, 1), key);
        assert_eq!(sessions.of_shard(0, 1), [key]);
    }
}
