//! PURE: Discord's intents by name (Discord, Gateway, "List of Intents").

use super::nearest::nearest;

/// Messages in guilds.
pub(super) const GUILD_MESSAGES: u64 = 1 << 9;
/// What is in messages that do not mention the bot.
pub(super) const MESSAGE_CONTENT: u64 = 1 << 15;

/// Every intent: its name and its bit.
pub const INTENTS: [(&str, u8); 21] = [
    ("GUILDS", 0),
    ("GUILD_MEMBERS", 1),
    ("GUILD_MODERATION", 2),
    ("GUILD_EXPRESSIONS", 3),
    ("GUILD_INTEGRATIONS", 4),
    ("GUILD_WEBHOOKS", 5),
    ("GUILD_INVITES", 6),
    ("GUILD_VOICE_STATES", 7),
    ("GUILD_PRESENCES", 8),
    ("GUILD_MESSAGES", 9),
    ("GUILD_MESSAGE_REACTIONS", 10),
    ("GUILD_MESSAGE_TYPING", 11),
    ("DIRECT_MESSAGES", 12),
    ("DIRECT_MESSAGE_REACTIONS", 13),
    ("DIRECT_MESSAGE_TYPING", 14),
    ("MESSAGE_CONTENT", 15),
    ("GUILD_SCHEDULED_EVENTS", 16),
    ("AUTO_MODERATION_CONFIGURATION", 20),
    ("AUTO_MODERATION_EXECUTION", 21),
    ("GUILD_MESSAGE_POLLS", 24),
    ("DIRECT_MESSAGE_POLLS", 25),
];

/// The bit set of names or of one number. Case and underscores do not matter: `GuildMessages` is an intent too.
///
/// # Errors
/// The first name that is none, with the nearest one.
pub fn parse(names: &[String]) -> Result<u64, String> {
    if let [number] = names
        && let Ok(bits) = number.parse()
    {
        return Ok(bits);
    }
    names.iter().try_fold(0, |bits, name| Ok(bits | 1 << bit(name)?))
}

fn bit(name: &str) -> Result<u8, String> {
    let plain = |name: &str| name.replace('_', "").to_uppercase();
    let found = INTENTS.iter().find(|(known, _)| plain(known) == plain(name));
    found.map(|(_, bit)| *bit).ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> String {
    let names = INTENTS.map(|(name, _)| name);
    match nearest(&name.to_uppercase(), names) {
        Some(near) => format!("no intent is called {name}, did you mean {near}?"),
        None => format!("no intent is called {name}; the intents are {}", names.join(", ")),
    }
}

/// The names of a bit set, or its number where a bit has no name.
pub fn display(intents: u64) -> String {
    let has = |bit: u8| intents & 1 << bit != 0;
    let named: Vec<(&str, u8)> = INTENTS.into_iter().filter(|(_, bit)| has(*bit)).collect();
    let covered: u64 = named.iter().map(|(_, bit)| 1 << bit).sum();
    if covered == intents && intents != 0 {
        named.into_iter().map(|(name, _)| name).collect::<Vec<_>>().join(", ")
    } else {
        intents.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<u64, String> {
        parse(&text.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn names_and_numbers_become_bits_and_back() {
        assert_eq!(of("GUILDS, GUILD_MESSAGES"), Ok(513));
        assert_eq!(of("guilds,GuildMessages"), Ok(513));
        assert_eq!(of("33281"), Ok(33281));
        assert_eq!(display(513), "GUILDS, GUILD_MESSAGES");
        assert_eq!(display(1 << 40 | 1), (1_u64 << 40 | 1).to_string());
        assert_eq!(display(0), "0");
        assert!(INTENTS.iter().all(|(name, bit)| of(name) == Ok(1 << bit)));
    }

    #[test]
    fn a_misspelt_name_is_answered_with_the_nearest() {
        assert_eq!(
            of("GUILDS,GILD_MESSAGES").unwrap_err(),
            "no intent is called GILD_MESSAGES, did you mean GUILD_MESSAGES?"
        );
        assert!(of("everything").unwrap_err().contains("the intents are GUILDS, GUILD_MEMBERS"));
    }
}
