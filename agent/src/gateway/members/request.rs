//! What can be asked about a guild's members, checked against Discord's limits, and why it was not answered.

use std::time::Duration;

use pilothouse_shared::ids::GuildId;
use serde_json::json;

use super::super::frame::op;
use super::super::payload::{Payload, PayloadError};

const GUILD_MEMBERS: u64 = 1 << 1;
const GUILD_PRESENCES: u64 = 1 << 8;
/// User ids in one request, and members that a query finds (Discord, "Request Guild Members").
const MOST: u16 = 100;

/// A request for members of one guild.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MembersRequest {
    /// Whose members.
    pub guild: GuildId,
    /// Which of them.
    pub who: Who,
    /// With their presences.
    pub presences: bool,
}

/// Which members.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Who {
    /// All of them.
    Everyone,
    /// At most so many whose name begins with a text; with an empty text, any.
    Named(String, u16),
    /// These users.
    Users(Vec<u64>),
}

/// Why a request was not answered, with what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum MembersError {
    /// The bot does not have an intent for it.
    #[error("{what} takes the intent {intent}: add it to PILOTHOUSE_INTENTS")]
    Intent {
        /// What was asked.
        what: &'static str,
        /// The intent's name.
        intent: &'static str,
    },
    /// Users and a query exclude each other.
    #[error("either users or a query and a limit can be asked for, not both")]
    Both,
    /// Too many users.
    #[error("{0} users are asked for: {MOST} are allowed at a time")]
    Users(usize),
    /// A limit that Discord does not take.
    #[error("the limit is {0}: with a query 1 to {MOST} are allowed, without one also 0 for all members")]
    Limit(u16),
    /// It does not fit.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// Discord does not take it in time.
    #[error("Discord lists all members of a guild once in 30 s: ask again in {} s", .0.as_secs() + 1)]
    RateLimited(Duration),
    /// It did not leave.
    #[error("the request was not sent: {0}")]
    NotSent(&'static str),
    /// Discord did not answer.
    #[error("Discord did not answer: {0}; is the bot in that guild?")]
    Unanswered(String),
    /// Too many requests are open.
    #[error("too many requests for members are open: ask again later")]
    Busy,
    /// The agent ends.
    #[error("the agent is shutting down")]
    Gone,
}

impl Who {
    /// From what a caller may leave out; nothing at all is everyone.
    ///
    /// # Errors
    /// More than Discord allows.
    pub fn of(query: Option<String>, limit: Option<u16>, users: Vec<u64>) -> Result<Self, MembersError> {
        if !users.is_empty() {
            return match users.len() {
                _ if query.is_some() || limit.is_some() => Err(MembersError::Both),
                count if count > usize::from(MOST) => Err(MembersError::Users(count)),
                _ => Ok(Self::Users(users)),
            };
        }
        let query = query.unwrap_or_default();
        match limit {
            None | Some(0) if query.is_empty() => Ok(Self::Everyone),
            None => Ok(Self::Named(query, MOST)),
            Some(limit) if (1..=MOST).contains(&limit) => Ok(Self::Named(query, limit)),
            Some(limit) => Err(MembersError::Limit(limit)),
        }
    }
}

impl MembersRequest {
    /// Whether a session with these intents may ask.
    ///
    /// # Errors
    /// The intent that is missing.
    pub fn check(&self, intents: u64) -> Result<(), MembersError> {
        let missing = |what, intent| Err(MembersError::Intent { what, intent });
        if self.who == Who::Everyone && intents & GUILD_MEMBERS == 0 {
            return missing("asking for all members", "GUILD_MEMBERS");
        }
        if self.presences && intents & GUILD_PRESENCES == 0 {
            return missing("asking for presences", "GUILD_PRESENCES");
        }
        Ok(())
    }

    /// Op 8; `number` in hexadecimal is the nonce, within Discord's 32 bytes.
    ///
    /// # Errors
    /// A query that is too long.
    pub fn payload(&self, number: u64) -> Result<Payload, PayloadError> {
        let nonce = format!("{number:016x}");
        let mut data = json!({"guild_id": self.guild.to_string(), "presences": self.presences, "nonce": nonce});
        match &self.who {
            Who::Everyone => (data["query"], data["limit"]) = (json!(""), json!(0)),
            Who::Named(query, limit) => (data["query"], data["limit"]) = (json!(query), json!(limit)),
            Who::Users(users) => data["user_ids"] = users.iter().map(u64::to_string).collect(),
        }
        Payload::new(op::REQUEST_MEMBERS, json!({"op": op::REQUEST_MEMBERS, "d": data}).to_string())
    }
}
