//! What a client sends, pure: JSON to a closed enum, or the close code that the mistake earns.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::close::{self, CloseRule};

/// Discord's limit on one payload from a client.
pub(crate) const MAX_PAYLOAD: usize = 4096;

/// A decoded payload.
#[derive(Debug)]
pub(crate) enum ClientMessage {
    Heartbeat(Option<u64>),
    Identify(Identify),
    Presence(serde_json::Map<String, serde_json::Value>),
    VoiceState(VoiceState),
    Resume(Resume),
    Members(MembersRequest),
    Soundboard(SoundboardRequest),
    ChannelInfo(ChannelInfoRequest),
}

#[derive(Debug, Deserialize)]
struct Envelope<'a> {
    op: u64,
    #[serde(borrow, default)]
    d: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Identify {
    pub(crate) token: String,
    pub(crate) intents: Option<u64>,
    #[serde(default = "whole_bot")]
    pub(crate) shard: (u32, u32),
    #[expect(dead_code, reason = "required by Discord, so decoding must fail without it")]
    properties: serde_json::Map<String, serde_json::Value>,
    pub(crate) presence: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Resume {
    pub(crate) token: String,
    pub(crate) session_id: String,
    pub(crate) seq: u64,
}

#[derive(Debug, Deserialize)]
pub(crate) struct VoiceState {
    pub(crate) guild_id: String,
    pub(crate) channel_id: Option<String>,
    #[serde(default)]
    pub(crate) self_mute: bool,
    #[serde(default)]
    pub(crate) self_deaf: bool,
}

#[derive(Debug, Deserialize)]
pub(crate) struct MembersRequest {
    pub(crate) guild_id: String,
    pub(crate) query: Option<String>,
    pub(crate) limit: Option<u32>,
    #[serde(default)]
    pub(crate) presences: bool,
    #[serde(default)]
    pub(crate) user_ids: OneOrMany,
    pub(crate) nonce: Option<String>,
}

/// `user_ids` may be one snowflake or a list.
#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    #[default]
    None,
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Deserialize)]
pub(crate) struct SoundboardRequest {
    pub(crate) guild_ids: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ChannelInfoRequest {
    pub(crate) guild_id: String,
    #[serde(default)]
    pub(crate) fields: Vec<String>,
}

fn whole_bot() -> (u32, u32) {
    (0, 1)
}

impl ClientMessage {
    pub(crate) fn opcode(&self) -> u64 {
        match self {
            Self::Heartbeat(_) => 1,
            Self::Identify(_) => 2,
            Self::Presence(_) => 3,
            Self::VoiceState(_) => 4,
            Self::Resume(_) => 6,
            Self::Members(_) => 8,
            Self::Soundboard(_) => 31,
            Self::ChannelInfo(_) => 43,
        }
    }
}

/// Decodes one payload.
pub(crate) fn decode(text: &[u8]) -> Result<ClientMessage, CloseRule> {
    if text.len() > MAX_PAYLOAD {
        return Err(close::DECODE_ERROR);
    }
    let Envelope { op, d } = serde_json::from_slice(text).map_err(|_| close::DECODE_ERROR)?;
    let d = d.map_or("null", RawValue::get);
    match op {
        1 => body(d).map(ClientMessage::Heartbeat),
        2 => body(d).map(ClientMessage::Identify),
        3 => body(d).map(ClientMessage::Presence),
        4 => body(d).map(ClientMessage::VoiceState),
        6 => body(d).map(ClientMessage::Resume),
        8 => body(d).map(ClientMessage::Members),
        31 => body(d).map(ClientMessage::Soundboard),
        43 => body(d).map(ClientMessage::ChannelInfo),
        _ => Err(close::UNKNOWN_OPCODE),
    }
}

fn body<'a, T: Deserialize<'a>>(d: &'a str) -> Result<T, CloseRule> {
    serde_json::from_str(d).map_err(|_| close::DECODE_ERROR)
}

impl OneOrMany {
    /// The ids, however they were written.
    pub(crate) fn list(&self) -> &[String] {
        match self {
            Self::None => &[],
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_clients_send() {
        assert!(matches!(decode(br#"{"op":1,"d":null}"#), Ok(ClientMessage::Heartbeat(None))));
        assert!(matches!(decode(br#"{"op":1,"d":7}"#), Ok(ClientMessage::Heartbeat(Some(7)))));
        let identify = br#"{"op":2,"d":{"token":"Bot x","intents":513,"properties":{},"shard":[1,2]}}"#;
        let Ok(ClientMessage::Identify(identify)) = decode(identify) else { panic!("not an identify") };
        assert_eq!((identify.shard, identify.intents), ((1, 2), Some(513)));
        let one = br#"{"op":8,"d":{"guild_id":"1","user_ids":"5","limit":0}}"#;
        let Ok(ClientMessage::Members(request)) = decode(one) else { panic!("not a request") };
        assert_eq!(request.user_ids.list(), ["5"]);
    }

    #[test]
    fn mistakes_earn_their_close_codes() {
        assert_eq!(decode(br#"{"op":99,"d":null}"#).unwrap_err().code, 4001);
        assert_eq!(decode(b"{").unwrap_err().code, 4002);
        assert_eq!(decode(br#"{"op":6,"d":{"token":1}}"#).unwrap_err().code, 4002);
        assert_eq!(decode(&[b' '; MAX_PAYLOAD + 1]).unwrap_err().code, 4002);
    }
}
