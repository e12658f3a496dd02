//! Discord's close codes as data: what each means, what to do next, and what to tell people.

/// What a closed connection asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseAction {
    /// Connect again and resume the session.
    Resume,
    /// The session is gone: connect again and identify.
    Identify,
    /// No reconnect can mend it: stop this shard.
    Fatal,
    /// The token is dead for every shard: stop, and let nobody identify.
    TokenRefused,
}

/// A row of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CloseFact {
    /// The code.
    pub code: u16,
    /// Its meaning in Discord's words.
    pub meaning: &'static str,
    /// What follows.
    pub action: CloseAction,
    /// The next step for people, where there is one.
    pub hint: Option<&'static str>,
}

/// Discord, "Gateway Close Event Codes". 4009 is documented as "start a new one".
pub const CLOSE_CODES: [CloseFact; 16] = [
    fact(1000, "closed normally", CloseAction::Resume, None),
    fact(1001, "going away", CloseAction::Resume, None),
    fact(4000, "unknown error", CloseAction::Resume, None),
    fact(4001, "unknown opcode", CloseAction::Resume, Some("the agent or a raw payload sent an invalid opcode")),
    fact(
        4002,
        "decode error",
        CloseAction::Resume,
        Some("the agent or a raw payload sent invalid JSON or over 4096 bytes"),
    ),
    fact(4003, "not authenticated", CloseAction::Identify, None),
    fact(
        4004,
        "authentication failed",
        CloseAction::TokenRefused,
        Some("the token is wrong or was reset: set TOKEN to the bot's current token and restart"),
    ),
    fact(4005, "already authenticated", CloseAction::Resume, Some("a second identify was sent on one connection")),
    fact(4007, "invalid sequence", CloseAction::Identify, None),
    fact(4008, "rate limited", CloseAction::Resume, Some("more than 120 commands were sent in a minute")),
    fact(4009, "session timed out", CloseAction::Identify, None),
    fact(
        4010,
        "invalid shard",
        CloseAction::Fatal,
        Some("the shard count does not suit this bot: set PILOTHOUSE_SHARDS=auto"),
    ),
    fact(
        4011,
        "sharding required",
        CloseAction::Fatal,
        Some("the bot is in too many guilds for this shard count: set PILOTHOUSE_SHARDS=auto"),
    ),
    fact(
        4012,
        "invalid API version",
        CloseAction::Fatal,
        Some("Discord does not serve this version: set PILOTHOUSE_API_VERSION to a supported one, 10 say"),
    ),
    fact(
        4013,
        "invalid intents",
        CloseAction::Fatal,
        Some("the intents are no valid bit set: correct PILOTHOUSE_INTENTS"),
    ),
    fact(
        4014,
        "disallowed intents",
        CloseAction::Fatal,
        Some(
            "a privileged intent is not enabled for this bot: enable it in Discord's developer portal or remove it from PILOTHOUSE_INTENTS",
        ),
    ),
];

const fn fact(code: u16, meaning: &'static str, action: CloseAction, hint: Option<&'static str>) -> CloseFact {
    CloseFact { code, meaning, action, hint }
}

/// What is known of `code`; none for a code that Discord does not document.
pub fn close_fact(code: u16) -> Option<&'static CloseFact> {
    CLOSE_CODES.iter().find(|fact| fact.code == code)
}

/// What a connection that ended with `code` asks for; a lost connection (none) and unknown codes are resumed.
pub fn close_action(code: Option<u16>) -> CloseAction {
    code.and_then(close_fact).map_or(CloseAction::Resume, |fact| fact.action)
}

/// A close in plain words: `4009 (session timed out)`.
pub fn describe_close(code: Option<u16>) -> String {
    match code.map(|code| (code, close_fact(code))) {
        None => "connection lost".to_owned(),
        Some((code, Some(fact))) => format!("{code} ({})", fact.meaning),
        Some((code, None)) => format!("{code} (not documented)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_asks_for_what_discord_documents() {
        use CloseAction::{Fatal, Identify, Resume, TokenRefused};
        let expected = [
            (None, Resume),
            (Some(1000), Resume),
            (Some(1001), Resume),
            (Some(1006), Resume),
            (Some(4000), Resume),
            (Some(4001), Resume),
            (Some(4002), Resume),
            (Some(4003), Identify),
            (Some(4004), TokenRefused),
            (Some(4005), Resume),
            (Some(4007), Identify),
            (Some(4008), Resume),
            (Some(4009), Identify),
            (Some(4010), Fatal),
            (Some(4011), Fatal),
            (Some(4012), Fatal),
            (Some(4013), Fatal),
            (Some(4014), Fatal),
            (Some(4999), Resume),
        ];
        for (code, action) in expected {
            assert_eq!(close_action(code), action, "{code:?}");
        }
        assert_eq!(describe_close(Some(4009)), "4009 (session timed out)");
    }

    #[test]
    fn whatever_stops_a_shard_tells_the_next_step() {
        for fact in CLOSE_CODES {
            let stops = matches!(fact.action, CloseAction::Fatal | CloseAction::TokenRefused);
            assert!(!stops || fact.hint.is_some(), "{}", fact.code);
        }
    }
}
