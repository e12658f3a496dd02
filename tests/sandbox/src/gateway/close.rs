//! Discord's close codes as data, pure: what each says, and what it does to the session.

/// A close code with its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CloseRule {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    /// Whether the session can be resumed afterwards.
    pub(crate) resumable: bool,
}

const fn rule(code: u16, reason: &'static str, resumable: bool) -> CloseRule {
    CloseRule { code, reason, resumable }
}

pub(crate) const UNKNOWN: CloseRule = rule(4000, "Unknown error.", true);
pub(crate) const UNKNOWN_OPCODE: CloseRule = rule(4001, "Unknown opcode.", true);
pub(crate) const DECODE_ERROR: CloseRule = rule(4002, "Error while decoding payload.", true);
pub(crate) const NOT_AUTHENTICATED: CloseRule = rule(4003, "Not authenticated.", false);
pub(crate) const AUTHENTICATION_FAILED: CloseRule = rule(4004, "Authentication failed.", false);
pub(crate) const ALREADY_AUTHENTICATED: CloseRule = rule(4005, "Already authenticated.", true);
pub(crate) const INVALID_SEQ: CloseRule = rule(4007, "Invalid seq.", false);
pub(crate) const RATE_LIMITED: CloseRule = rule(4008, "Rate limited.", true);
pub(crate) const SESSION_TIMED_OUT: CloseRule = rule(4009, "Session timed out.", false);
pub(crate) const INVALID_SHARD: CloseRule = rule(4010, "Invalid shard.", false);
pub(crate) const SHARDING_REQUIRED: CloseRule = rule(4011, "Sharding required.", false);
pub(crate) const INVALID_VERSION: CloseRule = rule(4012, "Invalid API version.", false);
pub(crate) const INVALID_INTENTS: CloseRule = rule(4013, "Invalid intent(s).", false);
pub(crate) const DISALLOWED_INTENTS: CloseRule = rule(4014, "Disallowed intent(s).", false);

const RULES: [CloseRule; 14] = [
    UNKNOWN,
    UNKNOWN_OPCODE,
    DECODE_ERROR,
    NOT_AUTHENTICATED,
    AUTHENTICATION_FAILED,
    ALREADY_AUTHENTICATED,
    INVALID_SEQ,
    RATE_LIMITED,
    SESSION_TIMED_OUT,
    INVALID_SHARD,
    SHARDING_REQUIRED,
    INVALID_VERSION,
    INVALID_INTENTS,
    DISALLOWED_INTENTS,
];

/// The rule of a code; one that Discord does not list leaves the session resumable.
pub(crate) fn of(code: u16) -> CloseRule {
    RULES.into_iter().find(|rule| rule.code == code).unwrap_or(rule(code, "", true))
}

/// Whether a code sent by the client ends its session at once (the bot goes offline).
pub(crate) fn ends_session(code: u16) -> bool {
    matches!(code, 1000 | 1001)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_unlisted_ones_keep_the_session() {
        let codes: std::collections::BTreeSet<u16> = RULES.iter().map(|rule| rule.code).collect();
        assert_eq!(codes.len(), RULES.len());
        assert!(of(4999).resumable && of(1000).resumable && !of(4009).resumable);
        assert!(ends_session(1000) && !ends_session(4000));
    }
}
