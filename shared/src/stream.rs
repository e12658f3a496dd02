//! What can be watched as it happens: events and log lines, a sample of them where there are many. Pure.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::event_types;
use crate::ids::GuildId;
use crate::selector::{Selector, SelectorError};

/// Which events a client watches: those that hold in every point it names.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Tail {
    /// Of these types, by Discord's names; empty is any type.
    pub types: Vec<String>,
    /// Of this guild.
    pub guild: Option<GuildId>,
    /// Of the shards that this selector names when it is asked.
    pub shards: Option<String>,
    /// With their payloads, which takes the role operator.
    pub payloads: bool,
}

impl Tail {
    /// What the words of a command ask for.
    pub fn of(terms: &[TailTerm]) -> Self {
        let mut tail = Self::default();
        for term in terms {
            match term {
                TailTerm::Type(name) => tail.types.push((*name).to_owned()),
                TailTerm::Guild(guild) => tail.guild = Some(*guild),
                TailTerm::Shards(shards) => tail.shards = Some(shards.to_string()),
            }
        }
        tail
    }
}

impl fmt::Display for Tail {
    /// As the command has it, behind `tail`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let guild = self.guild.map(|guild| format!("guild={guild}"));
        let shards = self.shards.as_ref().map(|shards| format!("shards={shards}"));
        let words: Vec<String> = self.types.iter().cloned().chain(guild).chain(shards).collect();
        out.write_str(&words.join(" "))
    }
}

/// One word of the command `tail`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TailTerm {
    /// A type of events.
    Type(&'static str),
    /// `guild=ID`.
    Guild(GuildId),
    /// `shards=SELECTOR`.
    Shards(Selector),
}

/// Why a word does not say what to watch.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TailError {
    /// No type has that name.
    #[error("no event type is called {0:?}: write a type (MESSAGE_CREATE), guild=ID or shards=SELECTOR")]
    Type(String),
    /// Behind `guild=`.
    #[error("guild={0:?} is no guild: an id is a number such as 197038439483310086")]
    Guild(String),
    /// Behind `shards=`.
    #[error(transparent)]
    Shards(#[from] SelectorError),
}

impl FromStr for TailTerm {
    type Err = TailError;

    fn from_str(word: &str) -> Result<Self, TailError> {
        if let Some(id) = word.strip_prefix("guild=") {
            return id.parse().map(Self::Guild).map_err(|_| TailError::Guild(id.to_owned()));
        }
        if let Some(shards) = word.strip_prefix("shards=") {
            return Ok(Self::Shards(shards.parse()?));
        }
        event_types::find(word).map(Self::Type).ok_or_else(|| TailError::Type(word.to_owned()))
    }
}

impl fmt::Display for TailTerm {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(name) => out.write_str(name),
            Self::Guild(guild) => write!(out, "guild={guild}"),
            Self::Shards(shards) => write!(out, "shards={shards}"),
        }
    }
}

/// One event that is shown.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TailEvent {
    /// When its last byte had been read.
    pub at: u64,
    /// Its shard.
    pub shard: u32,
    /// Its type, as the bot gets it.
    #[serde(rename = "type")]
    pub name: String,
    /// Its sequence in its session.
    pub seq: u64,
    /// Its guild; none for direct messages and account-wide events.
    pub guild: Option<GuildId>,
    /// Bytes of its payload.
    pub size: u32,
    /// Its payload's first [`PAYLOAD_CUT`] bytes, where they were asked for and the role allows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<String>,
}

/// Bytes of a payload that are shown.
pub const PAYLOAD_CUT: usize = 1_024;

/// How much a log line matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "lowercase")]
pub enum LogLevel {
    /// Something is broken.
    Error,
    /// Something is not as it should be.
    Warn,
    /// What happens, in large.
    #[default]
    Info,
    /// What happens, in small.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// Every level, the gravest first.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// Its name, as the wire writes it.
    pub fn name(self) -> &'static str {
        ["error", "warn", "info", "debug", "trace"][self as usize]
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

/// One line of an agent's log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogLine {
    /// When.
    pub at: u64,
    /// How much it matters.
    pub level: LogLevel,
    /// The part of the program that says it.
    pub target: String,
    /// What it says, then its fields as `name=value`.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_what_to_watch() {
        let terms = |line: &str| line.split(' ').map(str::parse).collect::<Result<Vec<TailTerm>, _>>();
        let tail = Tail::of(&terms("message_create READY guild=7 shards=0-3,9").expect("valid"));
        assert_eq!(tail.types, ["MESSAGE_CREATE", "READY"]);
        assert_eq!(tail.to_string(), "MESSAGE_CREATE READY guild=7 shards=0-3,9");
        for (word, part) in [("MESSAGES", "MESSAGE_CREATE"), ("guild=x", "197038439483310086"), ("shards=9-2", "2-9")] {
            let error = terms(word).expect_err(word).to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn levels_are_named_alike_everywhere() {
        for level in LogLevel::ALL {
            assert_eq!(serde_json::to_value(level).expect("a string"), level.name());
            assert_eq!(LogLevel::from_str(level.name(), false), Ok(level));
        }
    }
}
