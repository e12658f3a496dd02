//! PURE: who commands the agent by chat, and what has to be so for that.

use pilothouse_shared::ids::GuildId;

use super::intents::{GUILD_MESSAGES, MESSAGE_CONTENT};
use super::value::{Raw, Rejected};

/// Commands by chat; off unless a guild and an owner are named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChatConfig {
    /// The developer guild.
    pub guild: Option<u64>,
    /// Users whose commands are taken.
    pub owners: Vec<u64>,
    /// How a command begins; a mention of the bot does, too.
    pub prefix: String,
}

impl Default for ChatConfig {
    fn default() -> Self {
        Self { guild: None, owners: Vec::new(), prefix: "ph!".to_owned() }
    }
}

impl ChatConfig {
    /// The guild whose owners are listened to.
    pub fn listens_in(&self) -> Option<GuildId> {
        self.guild.filter(|_| !self.owners.is_empty()).map(GuildId)
    }

    /// What keeps it from working with these intents: the key, and what is wrong.
    pub(super) fn problem(&self, bits: u64) -> Option<(&'static str, &'static str)> {
        match (self.guild.is_some(), self.owners.is_empty()) {
            (true, true) => Some(("chat.owners", "chat.guild is set and nobody may command: name the ids of users")),
            (false, false) => {
                Some(("chat.guild", "chat.owners is set and no guild: name the id of your developer guild"))
            }
            (true, false) if bits & GUILD_MESSAGES == 0 => {
                Some(("chat.guild", "commands by chat need the intent GUILD_MESSAGES: add it to intents"))
            }
            _ => None,
        }
    }

    /// What to say at the start.
    pub(super) fn notice(&self, bits: u64) -> Option<String> {
        self.listens_in().filter(|_| bits & MESSAGE_CONTENT == 0)?;
        let why = "without the intent MESSAGE_CONTENT the agent reads only messages that mention the bot";
        Some(format!("commands by chat: {why}; write `@bot eval …`, `{}eval …` does nothing", self.prefix))
    }
}

/// One snowflake.
pub(super) fn id(raw: &Raw) -> Result<Option<u64>, Rejected> {
    match ids(raw)?[..] {
        [id] => Ok(Some(id)),
        _ => Err(Rejected::because("one id is expected")),
    }
}

/// One or several snowflakes.
pub(super) fn ids(raw: &Raw) -> Result<Vec<u64>, Rejected> {
    let id =
        |text: String| text.parse::<GuildId>().map(|id| id.0).map_err(|error| Rejected::because(error.to_string()));
    raw.list().into_iter().map(id).collect()
}

/// How a command begins.
pub(super) fn prefix(raw: &Raw) -> Result<String, Rejected> {
    let text = raw.text()?;
    if text.chars().count() > 32 { Err(Rejected::default()) } else { Ok(text.to_owned()) }
}
