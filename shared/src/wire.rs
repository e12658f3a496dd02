//! The frames of the console link, JSON text in both directions; `PROTOCOL.md` is their reference.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::page::{Fields, Page};
use crate::plan::Plan;
use crate::snapshot::{Overview, ShardDetail};
use crate::stream::{LogLevel, LogLine, Tail, TailEvent};

/// Version of the protocol. An agent refuses a console of another version with both numbers.
pub const PROTOCOL: u32 = 2;

/// What a console without a terminal calls itself in its hello, before its version.
pub const EXEC: &str = "pilothouse-exec";

/// Where the link is served, below the agent's address.
pub const PATH: &str = "/v1/console";

/// Address on which an agent listens for consoles unless told otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:7600";

/// File in the agent's data folder that holds the local admin token (mode 0600).
pub const TOKEN_FILE: &str = "console.token";

/// From a console to an agent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToAgent {
    /// First frame of a console.
    Hello {
        /// [`PROTOCOL`] of the sender.
        protocol: u32,
        /// Program and version, for the log.
        client: String,
    },
    /// Replaces what this console is told: only what its view shows.
    Subscribe(Subscription),
    /// Asks for something in the grammar of [`crate::command`]. What changes something is answered with its plan.
    Command {
        /// Chosen by the console; comes back with the answer.
        id: u64,
        /// The command as a line.
        line: String,
        /// Do what changes something at once, without asking with a plan.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        yes: bool,
        /// A name of the sender's own for this change: sent again with it, it is not done again but answered again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// Why, for those who read it later; at most 200 characters are kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Does what a plan says. Sent again it is answered again, also over another link.
    Apply {
        /// Chosen by the console; comes back with the answer.
        id: u64,
        /// The plan's id.
        plan: String,
        /// Why, for those who read it later; at most 200 characters are kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

impl ToAgent {
    /// Asks for something; what changes something is answered with its plan.
    pub fn command(id: u64, line: impl Into<String>) -> Self {
        Self::Command { id, line: line.into(), yes: false, key: None, reason: None }
    }
}

/// What a console wants to be told.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Subscription {
    /// [`FromAgent::Overview`] once a second.
    pub overview: bool,
    /// [`FromAgent::Map`]: every state at first, then the changed ones, at most twice a second.
    pub map: bool,
    /// [`FromAgent::Page`] once a second.
    pub page: Option<Page>,
    /// [`FromAgent::Detail`] of this shard once a second.
    pub detail: Option<u32>,
    /// [`FromAgent::Tail`] ten times a second.
    pub tail: Option<Tail>,
    /// [`FromAgent::Logs`], lines of this level and graver ones, ten times a second.
    pub logs: Option<LogLevel>,
}

/// From an agent to a console.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromAgent {
    /// Answer to a hello.
    Hello {
        /// [`PROTOCOL`] of the agent.
        protocol: u32,
        /// The agent's name.
        agent: String,
        /// Name of its fleet, for the environment band.
        fleet: String,
        /// Version of the program.
        version: String,
        /// What the console's token allows.
        role: Role,
    },
    /// Totals.
    Overview(Box<Overview>),
    /// States of shards.
    Map {
        /// Shards in all.
        total: u32,
        /// Whether `states` are all there are, replacing what was told before.
        full: bool,
        /// A shard, and the letters of its state and those of the shards that follow it; `?` is not known.
        states: Vec<(u32, String)>,
    },
    /// A list of shards and rows of its page: all of them at first, then what changed.
    Page {
        /// What was asked for.
        of: Page,
        /// Shards in all.
        total: u32,
        /// The ids of the list in order, as [`crate::page::write_order`] does; absent when they are as told before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        order: Option<String>,
        /// Frames that follow before the page is complete.
        follow: u32,
        /// Whole rows, and of rows that were on the page before what changed.
        rows: Vec<Fields>,
    },
    /// Events since the frame before.
    Tail {
        /// Events that matched.
        matched: u64,
        /// Those of them that are shown.
        events: Vec<TailEvent>,
    },
    /// Log lines since the frame before.
    Logs {
        /// Lines that matched.
        matched: u64,
        /// Those of them that are shown.
        lines: Vec<LogLine>,
    },
    /// One shard in depth.
    Detail(Box<ShardDetail>),
    /// Answer to a command that changes something: what it would do.
    Plan {
        /// The command's id.
        id: u64,
        /// What is done once it is applied.
        plan: Plan,
    },
    /// How far the steps of a change have come, where it has several.
    Progress {
        /// Id of the command or of what applied the plan.
        id: u64,
        /// Steps that are done.
        done: u32,
        /// Steps in all.
        of: u32,
    },
    /// Answer to a command, or to what applied a plan.
    Result {
        /// The command's id.
        id: u64,
        /// Whether it was done.
        ok: bool,
        /// What was done, or what is wrong and what is allowed.
        text: String,
    },
    /// The link is about to end; the console says why and, where that helps, tries again.
    Bye {
        /// In plain words.
        reason: String,
        /// Whether connecting again can help.
        retry: bool,
    },
}

/// What a token allows; each role includes the ones before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look
    Viewer,
    /// Look, and change what can be undone
    Operator,
    /// Everything
    Admin,
}

impl Role {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{AgentRow, GenerationRow, IdentifyRow, ShardRow, SinkRow, StageRow};

    #[test]
    fn frames_are_what_the_protocol_document_shows() {
        let document = include_str!("../PROTOCOL.md");
        let mut seen = 0;
        for example in document.split("```json\n").skip(1) {
            let (text, _) = example.split_once("\n```").expect("a code block ends");
            let (side, frame) = text.split_once(' ').expect("an example starts with its direction");
            let value: serde_json::Value = serde_json::from_str(frame).expect(frame);
            let again = match side {
                ">" => serde_json::to_value(serde_json::from_str::<ToAgent>(frame).expect(frame)),
                "<" => serde_json::to_value(serde_json::from_str::<FromAgent>(frame).expect(frame)),
                _ => panic!("direction {side:?} in PROTOCOL.md"),
            };
            assert!(contains(&again.expect("frames serialise"), &value), "{frame}");
            seen += 1;
        }
        assert!(seen >= 16, "PROTOCOL.md shows every frame, found {seen}");
    }

    #[test]
    fn the_protocol_document_explains_every_field() {
        let document = include_str!("../PROTOCOL.md");
        let told = [
            serde_json::to_value(Subscription::default()),
            serde_json::to_value(Page::default()),
            serde_json::to_value(Tail::default()),
            serde_json::to_value(TailEvent { payload: Some(String::new()), ..TailEvent::default() }),
            serde_json::to_value(Overview::default()),
            serde_json::to_value(AgentRow::default()),
            serde_json::to_value(GenerationRow::default()),
            serde_json::to_value(IdentifyRow::default()),
            serde_json::to_value(SinkRow::default()),
            serde_json::to_value(StageRow::default()),
            serde_json::to_value(ShardDetail::default()),
            serde_json::to_value(ShardRow::default()),
        ];
        let told = told.map(|value| value.expect("it serialises"));
        let names = told.iter().flat_map(|value| value.as_object().expect("an object").keys().map(String::as_str));
        let sorts = crate::fields::FIELDS.iter().map(|field| field.name);
        for name in names.chain(sorts) {
            assert!(document.contains(&format!("`{name}`")), "{name} is not explained in PROTOCOL.md");
        }
    }

    /// Examples may leave out fields that have defaults.
    fn contains(whole: &serde_json::Value, part: &serde_json::Value) -> bool {
        match (whole, part) {
            (serde_json::Value::Object(whole), serde_json::Value::Object(part)) => {
                part.iter().all(|(key, value)| whole.get(key).is_some_and(|found| contains(found, value)))
            }
            (serde_json::Value::Array(whole), serde_json::Value::Array(part)) => {
                whole.len() == part.len() && whole.iter().zip(part).all(|(whole, part)| contains(whole, part))
            }
            _ => whole == part,
        }
    }
}
