//! Why a command was not done, in words that say what is wrong and what is allowed.

use pilothouse_shared::command::{Command, CommandError};
use pilothouse_shared::selector::Selector;
use pilothouse_shared::wire::Role;

use super::audit::AuditError;
use super::settings::SettingError;
use crate::eval::EvalError;
use crate::gateway::members::MembersError;
use crate::gateway::payload::PayloadError;

/// Why a command was not done; the text says what is wrong and what is allowed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// It is not a command.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The token does not allow it.
    #[error("{}", too_little(.0))]
    Role(Command),
    /// It would not be in the audit log.
    #[error("nothing was done: {0}")]
    Audit(#[from] AuditError),
    /// The audit log cannot be read.
    #[error("the audit log cannot be read: {0}")]
    Unread(String),
    /// A shard that does not exist.
    #[error("shard {shard} does not exist: this bot has {}", range(*.total))]
    NoSuchShard {
        /// As it was named.
        shard: u32,
        /// Shards of the bot.
        total: u32,
    },
    /// A sink that does not exist.
    #[error("no sink is called {name}: {}", sinks(.known))]
    NoSuchSink {
        /// As it was named.
        name: String,
        /// The sinks there are.
        known: Vec<String>,
    },
    /// The dead letters cannot be used.
    #[error("the dead letters cannot be used: {0}")]
    Letters(String),
    /// The selector names no shard.
    #[error("no shard matches {0}: nothing was done")]
    Nothing(Selector),
    /// The identify budget does not allow it.
    #[error("this takes {}, but {remaining} of {total} are left: nothing was done", identifies(*.needed))]
    Budget {
        /// Identifies it would spend.
        needed: u32,
        /// Identifies left.
        remaining: u32,
        /// Identifies a day.
        total: u32,
    },
    /// Nobody may identify now.
    #[error("nobody may identify now: {0}; nothing was done")]
    Held(String),
    /// A script that does not exist.
    #[error("no script is called {name}: {}", if .known.is_empty() { "none is configured".to_owned() } else { format!("there is {}", .known.join(", ")) })]
    NoSuchScript {
        /// As it was named.
        name: String,
        /// The scripts there are.
        known: Vec<String>,
    },
    /// A script that failed; nothing was done.
    #[error(transparent)]
    Eval(EvalError),
    /// Too many scripts run.
    #[error("{0} scripts run already: try again in a second")]
    Busy(usize),
    /// Its answer would never end.
    #[error("{0} goes on for ever: the console shows it, `pilothouse {0}` writes it out")]
    Endless(&'static str),
    /// Discord would not take it.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// There are no members to tell of.
    #[error(transparent)]
    Members(#[from] MembersError),
    /// It was not sent.
    #[error("nothing was sent: {0}")]
    NotSent(&'static str),
    /// No plan to apply.
    #[error("there is no plan {0} of yours to apply: it has expired or the agent was restarted, ask for it anew")]
    NoSuchPlan(String),
    /// A key must be something that can be written down.
    #[error("a key is 1 to 64 letters, digits, dashes and underscores")]
    Key,
    /// The key was used before, for something else.
    #[error("the key {0} stood for another change before: take a new one")]
    KeyTaken(String),
    /// Too long ago.
    #[error("no job {0} is known: the last ones are listed by `job`")]
    Forgotten(u64),
    /// It was tried before, and failed.
    #[error("{0}")]
    Before(String),
    /// One of several commands failed.
    #[error("{done} of {of} were done; then {line} failed: {why}")]
    Step {
        /// Commands that were done.
        done: u32,
        /// Commands in all.
        of: u32,
        /// The one that failed.
        line: String,
        /// Why.
        why: Box<Refused>,
    },
    /// A change that could not be written down is not made.
    #[error("nothing was done, as it cannot be stored: {0}")]
    Store(String),
    /// A setting.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// A bug.
    #[error("the agent failed at this; its log says more")]
    Fault,
    /// The workers are ending or hang.
    #[error("{done} of {of} shards were reached: the agent is shutting down or overloaded")]
    Unreachable {
        /// Shards that were told.
        done: usize,
        /// Shards that were to be told.
        of: usize,
    },
}

impl Refused {
    /// It ended a change of several commands.
    pub(super) fn at(self, done: u32, of: u32, command: &Command) -> Self {
        if of == 1 { self } else { Self::Step { done, of, line: command.to_string(), why: Box::new(self) } }
    }
}

fn too_little(command: &Command) -> String {
    match command.role() {
        Role::Admin => format!("`{command}` takes an admin's token"),
        _ => format!("this token may look only: `{command}` takes an operator's"),
    }
}

fn range(total: u32) -> String {
    match total {
        0 => "no shards yet".to_owned(),
        1 => "shard 0 only".to_owned(),
        _ => format!("shards 0 to {}", total - 1),
    }
}

fn sinks(known: &[String]) -> String {
    if known.is_empty() { "none is configured".to_owned() } else { format!("there is {}", known.join(", ")) }
}

/// `1 identify`, `12 identifies`.
pub(super) fn identifies(count: u32) -> String {
    if count == 1 { "1 identify".to_owned() } else { format!("{count} identifies") }
}
