//! The event types as data: name, share of the mix, intents, and fields. `%slot%` is filled in; a key that begins
//! with `?` appears in some sessions only; key order is rotated by variant.

use crate::intents::{
    ALWAYS, DIRECT_MESSAGES, GUILD_MEMBERS, GUILD_MESSAGE_REACTIONS, GUILD_MESSAGE_TYPING, GUILD_MESSAGES,
    GUILD_PRESENCES, GUILD_VOICE_STATES, GUILDS,
};

/// Key and JSON value.
pub(crate) type Field = (&'static str, &'static str);

/// How an event picks the message it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// No message, or a new id of its own.
    Nothing,
    /// It is a new message, which later events can be about.
    NewMessage,
    /// The guild's last message, with new text and an edit time.
    Edit,
    /// The guild's last message with its text unchanged: Discord added the embed of a link.
    Embed,
    /// The guild's last message.
    LastMessage,
    /// Not drawn by weight: the generator sends it when an outage begins or ends.
    Outage,
}

/// One event type.
#[derive(Debug)]
pub(crate) struct EventSpec {
    pub(crate) name: &'static str,
    /// Parts in a thousand.
    pub(crate) share: u16,
    /// Any one of these intents; [`ALWAYS`] for none.
    pub(crate) intents: u64,
    /// Without a guild: to shard 0 only.
    pub(crate) direct: bool,
    pub(crate) about: About,
    pub(crate) fields: &'static [Field],
}

const AUTHOR: &str = r#"{"id":"%user%","username":"mariner","avatar":"%hash%","discriminator":"0","public_flags":0,"flags":0,"banner":null,"accent_color":null,"global_name":"Mariner","avatar_decoration_data":null,"clan":null}"#;
const MEMBER: &str = r#"{"roles":["%number%"],"premium_since":null,"pending":false,"nick":null,"mute":false,"joined_at":"2024-05-01T12:00:00.000000+00:00","flags":0,"deaf":false,"communication_disabled_until":null,"banner":null,"avatar":null}"#;
/// As in typing and reaction events, which have no author.
const MEMBER_AND_USER: &str = r#"{"user":{"id":"%user%","username":"mariner","discriminator":"0","avatar":"%hash%","global_name":null,"bot":false},"roles":["%number%"],"premium_since":null,"pending":false,"nick":null,"mute":false,"joined_at":"2024-05-01T12:00:00.000000+00:00","flags":0,"deaf":false,"avatar":null,"guild_id":"1"}"#;
const INTERACTION_MEMBER: &str = r#"{"user":{"id":"%user%","username":"mariner","discriminator":"0","avatar":"%hash%"},"roles":[],"permissions":"2222085186637376","joined_at":"2024-05-01T12:00:00.000000+00:00","flags":0,"mute":false,"deaf":false}"#;
const FULL_MEMBER: &str = r#"{"id":"%other%","username":"mariner","discriminator":"0","avatar":"%hash%","global_name":"Mariner","public_flags":0}"#;
const EMOJI: &str = r#"{"id":null,"name":"%emoji%"}"#;
const EMBEDS: &str = r#"[{"type":"article","url":"https://example.org/tides","title":"Tide tables","description":"High water at the harbour mouth","color":3447003,"provider":{"name":"example.org"}}]"#;

/// Every event type that the generator sends.
pub(crate) const CATALOG: [EventSpec; 18] = [
    EventSpec {
        name: "PRESENCE_UPDATE",
        share: 330,
        intents: GUILD_PRESENCES,
        direct: false,
        about: About::Nothing,
        fields: &[
            ("user", r#"{"id":"%user%"}"#),
            ("status", r#""%status%""#),
            ("guild_id", r#""%guild%""#),
            ("client_status", r#"{"desktop":"%status%"}"#),
            ("?broadcast", "null"),
            (
                "activities",
                r#"[{"type":2,"timestamps":{"start":1795508613000,"end":1795508813000},"sync_id":"%hash%","state":"The Dubliners","session_id":"h:%hash%","party":{"id":"spotify:%user%"},"name":"Spotify","id":"spotify:1","flags":48,"details":"The Leaving of Liverpool","created_at":1795508613123,"assets":{"large_text":"Seven Drunken Nights","large_image":"spotify:ab67616d0000b273"}}]"#,
            ),
        ],
    },
    EventSpec {
        name: "MESSAGE_CREATE",
        share: 240,
        intents: GUILD_MESSAGES,
        direct: false,
        about: About::NewMessage,
        fields: &[
            ("type", "0"),
            ("tts", "false"),
            ("timestamp", r#""%now%""#),
            ("?position", "0"),
            ("pinned", "false"),
            ("nonce", r#""%id%""#),
            ("mentions", "[]"),
            ("mention_roles", "[]"),
            ("mention_everyone", "false"),
            ("member", MEMBER),
            ("id", r#""%id%""#),
            ("flags", "0"),
            ("embeds", "[]"),
            ("edited_timestamp", "null"),
            ("content", r#""%text%""#),
            ("components", "[]"),
            ("channel_type", "0"),
            ("channel_id", r#""%channel%""#),
            ("author", AUTHOR),
            ("attachments", "[]"),
            ("message_reference", r#"{"type":0,"message_id":"%message%","guild_id":"1","channel_id":"%channel%"}"#),
            ("guild_id", r#""%guild%""#),
        ],
    },
    EventSpec {
        name: "MESSAGE_UPDATE",
        share: 50,
        intents: GUILD_MESSAGES,
        direct: false,
        about: About::Edit,
        fields: &[
            ("type", "0"),
            ("timestamp", r#""%now%""#),
            ("tts", "false"),
            ("mention_roles", "[]"),
            ("mention_everyone", "false"),
            ("pinned", "false"),
            ("mentions", "[]"),
            ("member", MEMBER),
            ("id", r#""%message%""#),
            ("flags", "0"),
            ("embeds", "[]"),
            ("edited_timestamp", "%edited%"),
            ("content", r#""%text%""#),
            ("?channel_type", "0"),
            ("channel_id", r#""%channel%""#),
            ("author", AUTHOR),
            ("attachments", "[]"),
            ("components", "[]"),
            ("guild_id", r#""%guild%""#),
        ],
    },
    EventSpec {
        name: "MESSAGE_UPDATE",
        share: 30,
        intents: GUILD_MESSAGES,
        direct: false,
        about: About::Embed,
        fields: &[
            ("type", "0"),
            ("timestamp", r#""%now%""#),
            ("tts", "false"),
            ("mention_roles", "[]"),
            ("mention_everyone", "false"),
            ("mentions", "[]"),
            ("pinned", "false"),
            ("id", r#""%message%""#),
            ("guild_id", r#""%guild%""#),
            ("flags", "0"),
            ("embeds", EMBEDS),
            ("edited_timestamp", "%edited%"),
            ("content", r#""%text%""#),
            ("channel_id", r#""%channel%""#),
            ("author", AUTHOR),
            ("attachments", "[]"),
            ("components", "[]"),
        ],
    },
    EventSpec {
        name: "MESSAGE_DELETE",
        share: 10,
        intents: GUILD_MESSAGES,
        direct: false,
        about: About::LastMessage,
        fields: &[("id", r#""%message%""#), ("channel_id", r#""%channel%""#), ("guild_id", r#""%guild%""#)],
    },
    EventSpec {
        name: "MESSAGE_CREATE",
        share: 10,
        intents: DIRECT_MESSAGES,
        direct: true,
        about: About::Nothing,
        fields: &[
            ("type", "0"),
            ("tts", "false"),
            ("mention_roles", "[]"),
            ("mention_everyone", "false"),
            ("mentions", "[]"),
            ("pinned", "false"),
            ("timestamp", r#""%now%""#),
            ("id", r#""%id%""#),
            ("edited_timestamp", "null"),
            ("content", r#""%text%""#),
            ("channel_type", "1"),
            ("channel_id", r#""%number%""#),
            ("author", AUTHOR),
            ("attachments", "[]"),
            ("embeds", "[]"),
        ],
    },
    EventSpec {
        name: "TYPING_START",
        share: 120,
        intents: GUILD_MESSAGE_TYPING,
        direct: false,
        about: About::Nothing,
        fields: &[
            ("user_id", r#""%user%""#),
            ("timestamp", "%unix%"),
            ("member", MEMBER_AND_USER),
            ("channel_id", r#""%channel%""#),
            ("guild_id", r#""%guild%""#),
        ],
    },
    EventSpec {
        name: "MESSAGE_REACTION_ADD",
        share: 50,
        intents: GUILD_MESSAGE_REACTIONS,
        direct: false,
        about: About::LastMessage,
        fields: &[
            ("user_id", r#""%user%""#),
            ("type", "0"),
            ("message_id", r#""%message%""#),
            ("message_author_id", r#""%other%""#),
            ("member", MEMBER_AND_USER),
            ("emoji", EMOJI),
            ("channel_id", r#""%channel%""#),
            ("burst", "false"),
            ("guild_id", r#""%guild%""#),
        ],
    },
    EventSpec {
        name: "MESSAGE_REACTION_REMOVE",
        share: 10,
        intents: GUILD_MESSAGE_REACTIONS,
        direct: false,
        about: About::LastMessage,
        fields: &[
            ("user_id", r#""%user%""#),
            ("type", "0"),
            ("message_id", r#""%message%""#),
            ("emoji", EMOJI),
            ("burst", "false"),
            ("channel_id", r#""%channel%""#),
            ("guild_id", r#""%guild%""#),
        ],
    },
    EventSpec {
        name: "VOICE_STATE_UPDATE",
        share: 50,
        intents: GUILD_VOICE_STATES,
        direct: false,
        about: About::Nothing,
        fields: &[
            ("member", MEMBER_AND_USER),
            ("user_id", r#""%user%""#),
            ("suppress", "false"),
            ("session_id", r#""%id%""#),
            ("self_video", "false"),
            ("self_mute", "false"),
            ("self_deaf", "false"),
            ("mute", "false"),
            ("guild_id", r#""%guild%""#),
            ("deaf", "false"),
            ("channel_id", r#""%channel%""#),
        ],
    },
    EventSpec {
        name: "GUILD_MEMBER_ADD",
        share: 12,
        intents: GUILD_MEMBERS,
        direct: false,
        about: About::Nothing,
        fields: &[
            ("user", FULL_MEMBER),
            ("roles", "[]"),
            ("nick", "null"),
            ("joined_at", r#""%now%""#),
            ("flags", "0"),
            ("mute", "false"),
            ("deaf", "false"),
            ("?unusual_dm_activity_until", "null"),
            ("guild_id", r#""%guild%""#),
        ],
    },
    EventSpec {
        name: "GUILD_MEMBER_REMOVE",
        share: 10,
        intents: GUILD_MEMBERS,
        direct: false,
        about: About::Nothing,
        fields: &[("user", FULL_MEMBER), ("guild_id", r#""%guild%""#)],
    },
    EventSpec {
        name: "GUILD_MEMBER_UPDATE",
        share: 30,
        intents: GUILD_MEMBERS,
        direct: false,
        about: About::Nothing,
        fields: &[
            ("user", FULL_MEMBER),
            ("roles", r#"["%number%"]"#),
            ("premium_since", "null"),
            ("nick", r#""mate %number%""#),
            ("joined_at", r#""2024-05-01T12:00:00.000000+00:00""#),
            ("flags", "0"),
            ("mute", "false"),
            ("deaf", "false"),
            ("guild_id", r#""%guild%""#),
        ],
    },
    EventSpec {
        name: "INTERACTION_CREATE",
        share: 28,
        intents: ALWAYS,
        direct: false,
        about: About::Nothing,
        fields: &[
            ("version", "1"),
            ("type", "2"),
            ("token", r#""aW50ZXJhY3Rpb246%hash%""#),
            ("member", INTERACTION_MEMBER),
            ("locale", r#""en-US""#),
            ("id", r#""%id%""#),
            ("guild", r#"{"locale":"en-US","id":"%guild%","features":[]}"#),
            ("data", r#"{"type":1,"name":"ping","id":"%number%","guild_id":"1"}"#),
            ("channel_id", r#""%channel%""#),
            ("application_id", r#""1000000000000000001""#),
            ("attachment_size_limit", "10485760"),
            ("entitlements", "[]"),
            ("authorizing_integration_owners", r#"{"0":"%guild%"}"#),
            ("guild_id", r#""%guild%""#),
        ],
    },
    EventSpec {
        name: "CHANNEL_UPDATE",
        share: 15,
        intents: GUILDS,
        direct: false,
        about: About::Nothing,
        fields: &[
            ("type", "0"),
            ("topic", r#""%text%""#),
            ("position", "%number%"),
            ("name", r#""bridge""#),
            ("id", r#""%channel%""#),
            ("?version", "1"),
            ("guild_id", r#""%guild%""#),
        ],
    },
    EventSpec {
        name: "GUILD_UPDATE",
        share: 5,
        intents: GUILDS,
        direct: false,
        about: About::Nothing,
        fields: &[
            ("name", r#""Guild %number%""#),
            ("owner_id", r#""%other%""#),
            ("id", r#""%guild%""#),
            ("features", "[]"),
            ("description", "null"),
            ("afk_timeout", "300"),
            ("default_message_notifications", "0"),
            ("emojis", "[]"),
            ("explicit_content_filter", "0"),
            ("mfa_level", "0"),
            ("nsfw_level", "0"),
            ("preferred_locale", r#""en-US""#),
            ("premium_progress_bar_enabled", "false"),
            ("premium_tier", "0"),
            ("roles", "[]"),
            ("system_channel_flags", "0"),
            ("verification_level", "1"),
        ],
    },
    EventSpec {
        name: "GUILD_DELETE",
        share: 0,
        intents: GUILDS,
        direct: false,
        about: About::Outage,
        fields: &[("id", r#""%guild%""#), ("unavailable", "true")],
    },
    EventSpec {
        name: "GUILD_CREATE",
        share: 0,
        intents: GUILDS,
        direct: false,
        about: About::Outage,
        fields: &[("id", r#""%guild%""#), ("unavailable", "false")],
    },
];

/// Catalogue index of the outage event.
pub(crate) const GUILD_DELETE: u8 = 16;
/// Catalogue index of the event that ends an outage; its body is the whole guild.
pub(crate) const GUILD_CREATE: u8 = 17;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_named_indices_are_right() {
        assert_eq!(CATALOG.iter().map(|spec| spec.share).sum::<u16>(), 1000);
        assert_eq!(CATALOG[GUILD_DELETE as usize].name, "GUILD_DELETE");
        assert_eq!(CATALOG[GUILD_CREATE as usize].name, "GUILD_CREATE");
    }
}
