//! The JSON that the gateway says, pure.

use std::io::Write;

use serde_json::json;

use super::session::Session;
use crate::traffic::APPLICATION_ID;

pub(crate) const ACK: &[u8] = br#"{"t":null,"s":null,"op":11,"d":null}"#;
pub(crate) const RECONNECT: &[u8] = br#"{"t":null,"s":null,"op":7,"d":null}"#;
pub(crate) const BEAT: &[u8] = br#"{"t":null,"s":null,"op":1,"d":null}"#;

pub(crate) fn hello(interval_ms: u64) -> Vec<u8> {
    format!(
        r#"{{"t":null,"s":null,"op":10,"d":{{"heartbeat_interval":{interval_ms},"_trace":["[\"gateway-sandbox\"]"]}}}}"#
    )
    .into_bytes()
}

pub(crate) fn invalid_session(resumable: bool) -> Vec<u8> {
    format!(r#"{{"t":null,"s":null,"op":9,"d":{resumable}}}"#).into_bytes()
}

/// The part of a dispatch before `d`.
pub(crate) fn write_dispatch_head(kind: &str, seq: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"t\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"s\":");
    crate::traffic::push_number(out, seq);
    out.extend_from_slice(b",\"op\":0,\"d\":");
}

/// The bot's own user object.
pub(crate) fn user() -> serde_json::Value {
    json!({
        "id": APPLICATION_ID.to_string(), "username": "sandbox", "discriminator": "0000", "avatar": null, "bot": true,
        "global_name": null, "email": null, "mfa_enabled": true, "verified": true, "flags": 0,
    })
}

/// The `d` of READY; every guild is unavailable in it.
pub(crate) fn ready(session: &Session, resume_url: &str, guilds: impl Iterator<Item = u64>) -> Vec<u8> {
    let terms = &session.terms;
    let mut out = json!({
        "v": terms.version, "user_settings": {}, "user": user(), "session_type": "normal", "session_id": session.id,
        "shard": [terms.shard, terms.total], "resume_gateway_url": resume_url, "relationships": [],
        "private_channels": [], "presences": [], "geo_ordered_rtc_regions": [], "auth": {},
        "application": {"id": APPLICATION_ID.to_string(), "flags": 8_953_856},
    })
    .to_string()
    .into_bytes();
    out.pop();
    out.extend_from_slice(b",\"guilds\":[");
    for (nth, id) in guilds.enumerate() {
        let comma = if nth > 0 { "," } else { "" };
        write!(out, "{comma}{{\"unavailable\":true,\"id\":\"{id}\"}}").expect("a Vec accepts every write");
    }
    out.extend_from_slice(b"]}");
    out
}
