//! What goes to Discord besides the handshake and heartbeats, checked against what would end a connection: size, JSON,
//! opcode. Texts are shared, so that a presence for every shard is one allocation.

use std::sync::Arc;

use pilothouse_shared::ids::GuildId;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::frame::op;
use super::presence::{Presence, PresenceError};

/// Discord closes with 4002 above it (Gateway, "Sending Events").
pub const MAX_PAYLOAD: usize = 4_096;

/// A payload that Discord takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Payload {
    op: u64,
    text: Arc<str>,
}

/// Why a payload is not sent.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PayloadError {
    /// It is too long.
    #[error("the payload has {0} bytes: Discord takes {MAX_PAYLOAD} and closes the connection above that")]
    Long(usize),
    /// It cannot be read.
    #[error("the payload is not a JSON object with an `op`: {0}")]
    Json(String),
    /// The agent itself sends these.
    #[error("op {0} is the agent's own: it would end the session")]
    Own(u64),
    /// Discord sends these.
    #[error("op {0} is only sent by Discord: it closes the connection of whoever sends it")]
    Received(u64),
    /// Presences are remembered, so a wrong one would end every later connection, too.
    #[error(transparent)]
    Presence(#[from] PresenceError),
}

impl Payload {
    /// Any payload; only what is sure to end the session is refused.
    ///
    /// # Errors
    /// Its size, its JSON, or an opcode that is not for commands.
    pub fn raw(text: &str) -> Result<Self, PayloadError> {
        #[derive(Deserialize)]
        struct Envelope {
            op: u64,
            #[serde(default, rename = "d")]
            _data: Option<IgnoredAny>,
        }
        #[derive(Deserialize)]
        struct Update {
            d: Presence,
        }
        let shape = |error: serde_json::Error| PayloadError::Json(error.to_string());
        let Envelope { op, .. } = serde_json::from_str(text).map_err(shape)?;
        match op {
            1 | 2 | 6 => Err(PayloadError::Own(op)),
            0 | 7 | 9..=11 => Err(PayloadError::Received(op)),
            op::PRESENCE => Self::presence(&serde_json::from_str::<Update>(text).map_err(shape)?.d),
            _ => Self::new(op, text.into()),
        }
    }

    /// Op 3.
    ///
    /// # Errors
    /// What is wrong with the presence.
    pub fn presence(presence: &Presence) -> Result<Self, PayloadError> {
        Self::new(op::PRESENCE, format!(r#"{{"op":3,"d":{}}}"#, presence.encode()?))
    }

    /// Op 4: leaves whatever voice channel of the guild the bot is in.
    pub fn leave_voice(guild: GuildId) -> Self {
        let data = json!({"guild_id": guild.to_string(), "channel_id": null, "self_mute": false, "self_deaf": false});
        Self::small(op::VOICE_STATE, &data)
    }

    /// Op 4: joins a voice channel, or changes what is said of the bot in it.
    pub fn join_voice(guild: GuildId, channel: u64, mute: bool, deaf: bool) -> Self {
        let (guild, channel) = (guild.to_string(), channel.to_string());
        let data = json!({"guild_id": guild, "channel_id": channel, "self_mute": mute, "self_deaf": deaf});
        Self::small(op::VOICE_STATE, &data)
    }

    /// Op 43: the status of a guild's voice channels and since when they are in use.
    pub fn channel_info(guild: GuildId) -> Self {
        let data = json!({"guild_id": guild.to_string(), "fields": ["status", "voice_start_time"]});
        Self::small(op::CHANNEL_INFO, &data)
    }

    /// Op 31 for guilds of one shard, in as many payloads as the limit of one asks for.
    pub fn soundboard(guilds: &[GuildId]) -> Vec<Self> {
        /// A snowflake has at most 20 digits, with quotes and a comma 23 bytes; the envelope is shorter than 64.
        const GUILDS: usize = (MAX_PAYLOAD - 64) / 23;
        let payload = |guilds: &[GuildId]| {
            let ids: Vec<String> = guilds.iter().map(ToString::to_string).collect();
            Self::small(op::SOUNDBOARD_SOUNDS, &json!({"guild_ids": ids}))
        };
        guilds.chunks(GUILDS).map(payload).collect()
    }

    /// `text` is a payload of opcode `op`.
    pub(super) fn new(op: u64, text: String) -> Result<Self, PayloadError> {
        if text.len() > MAX_PAYLOAD { Err(PayloadError::Long(text.len())) } else { Ok(Self { op, text: text.into() }) }
    }

    fn small(op: u64, data: &serde_json::Value) -> Self {
        Self::new(op, json!({"op": op, "d": data}).to_string()).expect("its parts are bounded")
    }

    /// As it is sent.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it sets the presence.
    pub fn is_presence(&self) -> bool {
        self.op == op::PRESENCE
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn data(payload: &Payload) -> Value {
        let value: Value = serde_json::from_str(payload.text()).expect("JSON");
        assert_eq!(value["op"], payload.op);
        value["d"].clone()
    }

    #[test]
    fn what_would_end_the_connection_is_refused() {
        let refused = |text: &str| Payload::raw(text).expect_err(text);
        for own in [1, 2, 6] {
            assert_eq!(refused(&format!("{{\"d\":{{}},\"op\":{own}}}")), PayloadError::Own(own));
        }
        for received in [0, 7, 9, 10, 11] {
            assert_eq!(refused(&format!("{{\"op\":{received}}}")), PayloadError::Received(received));
        }
        for text in ["", "[]", "{}", "{\"op\":4,\"op\":2}", "{\"op\":-1}", "{\"op\":\"4\"}", "{\"op\":4", "{\"op\":4}x"]
        {
            assert!(matches!(refused(text), PayloadError::Json(_)), "{text}");
        }
        assert_eq!(refused("{\"\\u006fp\":2}"), PayloadError::Own(2));
        assert!(matches!(refused("{\"op\":3,\"d\":{\"status\":\"away\"}}"), PayloadError::Json(_)));
    }

    #[test]
    fn the_limit_is_4096_bytes() {
        let of = |length: usize| format!("{{\"op\":4,\"d\":\"{}\"}}", "x".repeat(length - 15));
        assert_eq!(of(4_096).len(), 4_096);
        assert_eq!(Payload::raw(&of(4_096)).expect("fits").text(), of(4_096));
        assert_eq!(Payload::raw(&of(4_097)), Err(PayloadError::Long(4_097)));
    }

    #[test]
    fn payloads_are_what_discord_documents() {
        let guild = GuildId(7);
        assert_eq!(data(&Payload::leave_voice(guild))["channel_id"], Value::Null);
        let join = json!({"guild_id": "7", "channel_id": "8", "self_mute": false, "self_deaf": true});
        assert_eq!(data(&Payload::join_voice(guild, 8, false, true)), join);
        let info = json!({"guild_id": "7", "fields": ["status", "voice_start_time"]});
        assert_eq!(data(&Payload::channel_info(guild)), info);
        let raw = Payload::raw(r#"{"op":3,"d":{"status":"idle"}}"#).expect("a presence");
        assert!(raw.is_presence());
        assert_eq!(data(&raw)["afk"], false);
    }

    proptest! {
        #[test]
        fn soundboard_requests_are_split_to_fit(count in 0_usize..900) {
            let guilds: Vec<GuildId> = (0..count).map(|nth| GuildId(u64::MAX - nth as u64)).collect();
            let payloads = Payload::soundboard(&guilds);
            let ids = payloads.iter().flat_map(|payload| data(payload)["guild_ids"].as_array().expect("ids").clone());
            let asked: Vec<String> = ids.map(|id| id.as_str().expect("a text").to_owned()).collect();
            prop_assert_eq!(asked, guilds.iter().map(ToString::to_string).collect::<Vec<_>>());
            prop_assert!(payloads.iter().all(|payload| payload.text().len() <= MAX_PAYLOAD));
        }

        #[test]
        fn no_text_panics(text in "[{}\\[\\]\":,opd0-9 ]{0,40}") {
            let _ = Payload::raw(&text);
        }
    }
}
