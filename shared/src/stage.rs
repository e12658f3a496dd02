//! The stages by name: what may be done to events between their session and the sinks. PURE.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A stage. Each is off unless configured and can be switched while the agent runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageName {
    /// Tells additions of the bot to a guild from guilds that load or come back.
    GuildLifecycle,
    /// Drops updates of messages that change nothing of their own.
    MessageUpdate,
    /// Keeps only messages that begin with a prefix or mention the bot.
    MessagePrefix,
    /// Drops events by type.
    Drop,
}

impl StageName {
    /// Every stage.
    pub const ALL: [Self; 4] = [Self::GuildLifecycle, Self::MessageUpdate, Self::MessagePrefix, Self::Drop];
    /// The names of [`Self::ALL`], in its order.
    pub const NAMES: [&'static str; 4] = ["guild_lifecycle", "message_update", "message_prefix", "drop"];

    /// Its name, as configuration and commands write it.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

impl fmt::Display for StageName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

/// No stage has this name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no stage is called {name}; the stages are {}", StageName::NAMES.join(", "))]
pub struct UnknownStage {
    name: String,
}

impl FromStr for StageName {
    type Err = UnknownStage;

    fn from_str(name: &str) -> Result<Self, UnknownStage> {
        Self::ALL.into_iter().find(|stage| stage.name() == name).ok_or_else(|| UnknownStage { name: name.to_owned() })
    }
}
