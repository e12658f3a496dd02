//! Gateway intents as data, pure: the bits, which are privileged, and what each event type needs.

/// `GUILDS`: guild, channel, role and thread events.
pub const GUILDS: u64 = 1;
/// `GUILD_MEMBERS`, privileged.
pub const GUILD_MEMBERS: u64 = 1 << 1;
/// `GUILD_MODERATION`: bans and the audit log.
pub const GUILD_MODERATION: u64 = 1 << 2;
/// `GUILD_EXPRESSIONS`: emoji, stickers and soundboard sounds.
pub const GUILD_EXPRESSIONS: u64 = 1 << 3;
/// `GUILD_VOICE_STATES`.
pub const GUILD_VOICE_STATES: u64 = 1 << 7;
/// `GUILD_PRESENCES`, privileged.
pub const GUILD_PRESENCES: u64 = 1 << 8;
/// `GUILD_MESSAGES`.
pub const GUILD_MESSAGES: u64 = 1 << 9;
/// `GUILD_MESSAGE_REACTIONS`.
pub const GUILD_MESSAGE_REACTIONS: u64 = 1 << 10;
/// `GUILD_MESSAGE_TYPING`.
pub const GUILD_MESSAGE_TYPING: u64 = 1 << 11;
/// `DIRECT_MESSAGES`.
pub const DIRECT_MESSAGES: u64 = 1 << 12;
/// `MESSAGE_CONTENT`, privileged: without it `content` is empty.
pub const MESSAGE_CONTENT: u64 = 1 << 15;

/// The three that an application must be granted.
pub const PRIVILEGED: u64 = GUILD_MEMBERS | GUILD_PRESENCES | MESSAGE_CONTENT;
/// Every bit that exists: 0 to 16, 20, 21 (AutoMod), 24, 25 (polls).
pub const ALL: u64 = 0x1_FFFF | (0b11 << 20) | (0b11 << 24);

/// No intent is needed: the event reaches every session of its shard.
pub(crate) const ALWAYS: u64 = 0;

/// Whether a session with `held` intents is sent an event that needs any one of `needed`.
pub(crate) fn wants(held: u64, needed: u64) -> bool {
    needed == ALWAYS || held & needed != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_one_bit_is_enough() {
        assert!(wants(GUILDS | GUILD_MESSAGES, GUILD_MESSAGES | DIRECT_MESSAGES));
        assert!(!wants(GUILDS, GUILD_PRESENCES));
        assert!(wants(0, ALWAYS));
        assert_eq!(ALL & PRIVILEGED, PRIVILEGED);
    }
}
