//! The guilds of one shard, in 8 bytes a guild: which ones the bot has been told of, which are unavailable, and the
//! changes that are not stored yet.
//!
//! Invariant: undoing the unstored changes gives the set as of the stored sequence, which is what the store has. So
//! a replay after any crash starts from that set and tells the same again: an addition or removal whose event was
//! not confirmed is still one. (One that was confirmed, not stored, and undone before a READY is not seen undone.) READY makes no guild known by itself: its list only tells which ones are awaited.

use std::collections::VecDeque;

#[cfg(test)]
mod tests;

/// What a dispatch about a guild means, in the light of what the bot was told before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum GuildNote {
    /// It is about no coming or going.
    #[default]
    None,
    /// READY listed the guild and the bot knows it: GUILD_CREATE brings its state.
    Loaded,
    /// A known guild that had come before in this session comes again.
    Available,
    /// The bot was added to it.
    Added,
    /// It is in an outage.
    Unavailable,
    /// The bot was removed from it.
    Removed,
}

/// How a guild stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GuildState {
    /// Known and available.
    Here = 0,
    /// Known, in an outage.
    Out = 1,
    /// Known and listed by READY; its GUILD_CREATE has not come yet.
    Awaited = 2,
    /// There, but the bot was never told of it.
    New = 3,
}

impl GuildState {
    const ALL: [Self; 4] = [Self::Here, Self::Out, Self::Awaited, Self::New];

    /// Whether the bot was told of it.
    pub fn is_known(self) -> bool {
        self != Self::New
    }
}

/// How a guild stands from some event on; none: it is gone.
pub type GuildChange = (u64, Option<GuildState>);

/// A sorted set of snowflakes with the state of each in its two lowest bits: snowflakes have 62 bits until the
/// year 2049.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Guilds {
    entries: Vec<u64>,
    unavailable: u32,
    /// Nothing was ever known of this shard: whatever its first READY lists is known.
    is_first: bool,
    /// Guilds that the last READY did not list although they were known.
    vanished: Vec<u64>,
    unstored: VecDeque<Unstored>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Unstored {
    seq: u64,
    id: u64,
    before: Option<GuildState>,
    after: Option<GuildState>,
}

impl Default for Guilds {
    /// Of a shard that never ran before.
    fn default() -> Self {
        Self { is_first: true, ..Self::unpack(Vec::new()) }
    }
}

impl Guilds {
    /// As stored: [`Self::packed`] entries.
    pub fn unpack(entries: Vec<u64>) -> Self {
        let unavailable = entries.iter().filter(|entry| is_unavailable(state(**entry))).count();
        let unavailable = u32::try_from(unavailable).unwrap_or(u32::MAX);
        Self { entries, unavailable, is_first: false, vanished: Vec::new(), unstored: VecDeque::new() }
    }

    /// To store: an id in the upper 62 bits and its state below it, ascending.
    pub fn packed(&self) -> &[u64] {
        &self.entries
    }

    /// Their ids, ascending.
    pub fn ids(&self) -> impl Iterator<Item = u64> {
        self.entries.iter().map(|entry| entry >> 2)
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

    /// READY, whose sequence is `seq`, lists these. What earlier sessions left unstored is from now on stored with it.
    pub fn listed(&mut self, ids: &[u64], seq: u64) {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        let unheard = if std::mem::take(&mut self.is_first) { GuildState::Awaited } else { GuildState::New };
        let at_ready = |id: u64, before: Option<GuildState>| match (
            before.is_some_and(GuildState::is_known),
            ids.binary_search(&id).is_ok(),
        ) {
            (true, true) => Some(GuildState::Awaited),
            (true, false) => Some(GuildState::Out),
            (false, true) => Some(unheard),
            (false, false) => None,
        };
        for step in &mut self.unstored {
            *step = Unstored {
                seq,
                id: step.id,
                before: at_ready(step.id, step.before),
                after: at_ready(step.id, step.after),
            };
        }
        let mut all: Vec<u64> = self.ids().chain(ids.iter().copied()).collect();
        all.sort_unstable();
        all.dedup();
        let mut entries: Vec<u64> =
            all.iter().filter_map(|id| Some(entry(*id, at_ready(*id, self.state(*id))?))).collect();
        entries.shrink_to_fit();
        let unstored = std::mem::take(&mut self.unstored);
        *self = Self { unstored, ..Self::unpack(entries) };
        self.vanished = all.iter().copied().filter(|id| self.state(*id) == Some(GuildState::Out)).collect();
        for id in self.vanished.clone() {
            self.change(id, None, seq);
        }
    }

    /// Known guilds that the last READY did not list, once; each is to be told as removed.
    pub fn take_vanished(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.vanished)
    }

    /// A GUILD_CREATE with its data.
    pub fn created(&mut self, id: u64, seq: u64) -> GuildNote {
        let before = self.state(id);
        self.change(id, Some(GuildState::Here), seq);
        match before {
            Some(GuildState::Here | GuildState::Out) => GuildNote::Available,
            Some(GuildState::Awaited) => GuildNote::Loaded,
            Some(GuildState::New) | None => GuildNote::Added,
        }
    }

    /// The guild is in an outage. One that the bot does not know stays unknown.
    pub fn outage(&mut self, id: u64, seq: u64) -> GuildNote {
        match self.state(id) {
            Some(GuildState::Here) => self.change(id, Some(GuildState::Out), seq),
            None => self.change(id, Some(GuildState::New), seq),
            Some(GuildState::Out | GuildState::Awaited | GuildState::New) => {}
        }
        GuildNote::Unavailable
    }

    /// The bot was removed from the guild.
    pub fn removed(&mut self, id: u64, seq: u64) -> GuildNote {
        self.change(id, None, seq);
        GuildNote::Removed
    }

    /// What changed up to the sequence `confirmed` and is not stored yet, in order.
    pub fn changes(&self, confirmed: u64) -> Vec<GuildChange> {
        let due = self.unstored.iter().take_while(|step| step.seq <= confirmed);
        due.map(|step| (step.id, step.after)).collect()
    }

    /// The store has everything up to this sequence.
    pub fn stored(&mut self, seq: u64) {
        while self.unstored.pop_front_if(|step| step.seq <= seq).is_some() {}
        if self.unstored.is_empty() {
            self.unstored = VecDeque::new();
        }
    }

    /// The guilds as of the stored sequence.
    pub fn as_stored(&self) -> Self {
        let mut guilds = Self { is_first: self.is_first, ..Self::unpack(self.entries.clone()) };
        self.unstored.iter().rev().for_each(|step| guilds.set(step.id, step.before));
        guilds
    }

    /// Takes over how a guild stands.
    pub fn set(&mut self, id: u64, after: Option<GuildState>) {
        let found = self.find(id);
        if let Ok(at) = found {
            self.unavailable -= u32::from(is_unavailable(state(self.entries[at])));
        }
        match (found, after) {
            (Ok(at), Some(after)) => self.entries[at] = entry(id, after),
            (Err(at), Some(after)) => self.entries.insert(at, entry(id, after)),
            (Ok(at), None) => drop(self.entries.remove(at)),
            (Err(_), None) => {}
        }
        self.unavailable += u32::from(after.is_some_and(is_unavailable));
    }

    /// How a guild stands; none where it is unheard of.
    pub fn state(&self, id: u64) -> Option<GuildState> {
        self.find(id).ok().map(|at| state(self.entries[at]))
    }

    fn change(&mut self, id: u64, after: Option<GuildState>, seq: u64) {
        let before = self.state(id);
        if before != after {
            self.unstored.push_back(Unstored { seq, id, before, after });
            self.set(id, after);
        }
    }

    fn find(&self, id: u64) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&id, |entry| entry >> 2)
    }
}

/// An entry of [`Guilds::packed`].
pub fn entry(id: u64, state: GuildState) -> u64 {
    id << 2 | state as u64
}

/// The state in an entry of [`Guilds::packed`].
pub fn state(entry: u64) -> GuildState {
    GuildState::ALL[(entry & 3) as usize]
}

fn is_unavailable(state: GuildState) -> bool {
    state != GuildState::Here
}
