//! PURE: what may be done to events between their session and the lane: nothing, unless a stage is configured or
//! switched on.
//!
//! Contract: [`Stages::apply`] looks at one event and says keep, drop or rename. It parses only the types that a
//! stage acts on and of them only the fields that it needs, and counts what it drops and renames. What a stage
//! remembers is bounded and keyed by message; what is known of guilds comes with the event.

use std::time::Instant;

use pilothouse_shared::snapshot::StageRow;
use pilothouse_shared::stage::StageName;

use crate::config::StagesConfig;
use crate::gateway::guilds::GuildNote;
use crate::gateway::kind::{EventKind, KindSet};

mod guild_lifecycle;
mod message_prefix;
mod message_update;
mod rename;
#[cfg(test)]
mod tests;

pub use guild_lifecycle::vanished;
pub use rename::renamed;

use message_prefix::MessagePrefix;
use message_update::MessageUpdate;

/// An event as the stages see it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Its type.
    pub kind: EventKind,
    /// The whole gateway payload.
    pub payload: &'a [u8],
    /// What it means for its guild.
    pub note: GuildNote,
    /// The bot's user; 0 where it is not known.
    pub user: u64,
    /// When it was received.
    pub now: Instant,
}

/// What becomes of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It goes on as it came.
    Keep,
    /// It goes nowhere.
    Drop,
    /// It goes on as this type.
    Rename(EventKind),
}

#[derive(Clone, Copy, Default, Debug)]
struct Switch {
    on: bool,
    dropped: u64,
    renamed: u64,
}

/// The stages of one worker.
#[derive(Debug)]
pub struct Stages {
    /// By [`StageName`].
    switches: [Switch; StageName::ALL.len()],
    /// Types that a stage which is on may do something to.
    acts_on: KindSet,
    updates: MessageUpdate,
    prefix: MessagePrefix,
    drop: KindSet,
}

impl Stages {
    /// As configured.
    pub fn new(config: &StagesConfig) -> Self {
        let mut stages = Self {
            switches: Default::default(),
            acts_on: KindSet::default(),
            updates: MessageUpdate::default(),
            prefix: MessagePrefix::new(config.prefixes.clone()),
            drop: config.drop,
        };
        config.enabled.iter().for_each(|name| stages.set(*name, true));
        stages
    }

    /// Goes by this configuration from now on; what a stage that stays on remembers and has counted stays.
    pub fn adopt(&mut self, config: &StagesConfig) {
        self.prefix = MessagePrefix::new(config.prefixes.clone());
        self.drop = config.drop;
        StageName::ALL.into_iter().for_each(|name| self.set(name, config.enabled.contains(&name)));
    }

    /// Switches a stage. One that is switched off forgets what it remembered.
    fn set(&mut self, name: StageName, on: bool) {
        self.switches[name as usize].on = on;
        if name == StageName::MessageUpdate && !on {
            self.updates = MessageUpdate::default();
        }
        let acting = StageName::ALL.into_iter().filter(|name| self.is_on(*name)).map(|name| self.kinds(name));
        self.acts_on = acting.fold(KindSet::default(), KindSet::and);
    }

    /// Whether the stage is on.
    pub fn is_on(&self, name: StageName) -> bool {
        self.switches[name as usize].on
    }

    /// Whether none does anything.
    pub fn are_idle(&self) -> bool {
        self.acts_on.is_empty()
    }

    /// What becomes of an event. Each event of a session comes here once and in order.
    pub fn apply(&mut self, event: &Seen<'_>) -> Verdict {
        if !self.acts_on.contains(event.kind) {
            return Verdict::Keep;
        }
        if self.is_on(StageName::MessageUpdate) && self.updates.is_repeated(event) {
            return self.dropped(StageName::MessageUpdate);
        }
        if self.is_on(StageName::MessagePrefix) && !self.prefix.wants(event) {
            return self.dropped(StageName::MessagePrefix);
        }
        let is_lifecycle = self.is_on(StageName::GuildLifecycle);
        let kind = if is_lifecycle { guild_lifecycle::kind(event) } else { event.kind };
        if self.is_on(StageName::Drop) && self.drop.contains(kind) {
            return self.dropped(StageName::Drop);
        }
        if kind == event.kind {
            return Verdict::Keep;
        }
        self.switches[StageName::GuildLifecycle as usize].renamed += 1;
        Verdict::Rename(kind)
    }

    /// What they have done since the start.
    pub fn report(&self) -> Vec<StageRow> {
        let row = |(name, switch): (StageName, &Switch)| {
            let Switch { on, dropped, renamed } = *switch;
            StageRow { name: name.name().to_owned(), on, dropped, renamed }
        };
        StageName::ALL.into_iter().zip(&self.switches).map(row).collect()
    }

    fn dropped(&mut self, name: StageName) -> Verdict {
        self.switches[name as usize].dropped += 1;
        Verdict::Drop
    }

    fn kinds(&self, name: StageName) -> KindSet {
        match name {
            StageName::GuildLifecycle => guild_lifecycle::KINDS,
            StageName::MessageUpdate => message_update::KINDS,
            StageName::MessagePrefix => message_prefix::KINDS,
            StageName::Drop => self.drop,
        }
    }
}
