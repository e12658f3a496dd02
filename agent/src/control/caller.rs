//! Who asks for something: by which token, from where, by what way.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use pilothouse_shared::wire::Role;
use serde::{Deserialize, Serialize};

use super::tokens::Digest;

/// The name of whoever shows the token in `console.token`.
pub(super) const LOCAL: &str = "local";

/// How a request came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// A console's link.
    Console,
    /// A console without a terminal.
    Exec,
    /// `POST /v1/commands`.
    Http,
    /// A message in the developers' guild.
    Chat,
    /// `POST /`, by whoever shows the bot's key.
    Bot,
}

/// Somebody who was let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    /// Of the token.
    pub name: Arc<str>,
    /// What the token allows.
    pub role: Role,
    /// The address it is used from; none: from within the agent.
    pub from: Option<IpAddr>,
    /// How the request came.
    pub way: Way,
    /// Of the token, unless it is the local one.
    pub(super) digest: Option<Digest>,
}

impl Caller {
    /// One that no token can be taken from.
    pub fn new(name: &str, role: Role, from: Option<IpAddr>, way: Way) -> Self {
        Self { name: name.into(), role, from, way, digest: None }
    }
}

impl Way {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Console => "console",
            Self::Exec => "exec",
            Self::Http => "http",
            Self::Chat => "chat",
            Self::Bot => "bot",
        }
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.name, self.role)?;
        self.from.map_or(Ok(()), |from| write!(out, " from {from}"))?;
        write!(out, " by {}", self.way.name())
    }
}
