//! Gateway payloads: the header of what comes in, read without parsing `d`, and the bytes of what goes out.

use serde_json::json;

use super::kind::EventKind;
use super::scan;

/// Opcodes (Discord, "Gateway Opcodes").
pub mod op {
    /// An event.
    pub const DISPATCH: u8 = 0;
    /// A heartbeat, or Discord's wish for one.
    pub const HEARTBEAT: u8 = 1;
    /// Starts a session.
    pub const IDENTIFY: u8 = 2;
    /// Sets the presence.
    pub const PRESENCE: u64 = 3;
    /// Joins, moves in or leaves a voice channel.
    pub const VOICE_STATE: u64 = 4;
    /// Continues a session.
    pub const RESUME: u8 = 6;
    /// Discord asks to reconnect and resume.
    pub const RECONNECT: u8 = 7;
    /// Asks for members of a guild.
    pub const REQUEST_MEMBERS: u64 = 8;
    /// The session is not valid; `d` tells whether it may be resumed.
    pub const INVALID_SESSION: u8 = 9;
    /// First payload of a connection.
    pub const HELLO: u8 = 10;
    /// Acknowledges a heartbeat.
    pub const HEARTBEAT_ACK: u8 = 11;
    /// Asks for soundboard sounds.
    pub const SOUNDBOARD_SOUNDS: u64 = 31;
    /// Asks for what is going on in voice channels.
    pub const CHANNEL_INFO: u64 = 43;
}

/// What is known of a payload without parsing `d`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Opcode.
    pub op: u8,
    /// Sequence, of dispatches only.
    pub seq: Option<u64>,
    /// Type, of dispatches only.
    pub kind: EventKind,
}

/// Reads the header of a payload; none if it is not an object with an `op`.
pub fn sniff(payload: &[u8]) -> Option<Header> {
    if let Some((name, seq)) = scan::dispatch_prefix(payload) {
        return Some(Header { op: op::DISPATCH, seq: Some(seq), kind: EventKind::of(name) });
    }
    let (mut op, mut seq, mut kind) = (None, None, EventKind::OTHER);
    for (key, value) in scan::fields(payload) {
        match key {
            b"op" => op = scan::number(value).and_then(|op| u8::try_from(op).ok()),
            b"s" => seq = scan::number(value),
            b"t" => kind = EventKind::of(scan::unquoted(value)),
            _ => {}
        }
    }
    Some(Header { op: op?, seq, kind })
}

/// The interval of a HELLO, milliseconds.
pub fn hello_interval(payload: &[u8]) -> Option<u64> {
    scan::number(scan::field(scan::field(payload, "d")?, "heartbeat_interval")?)
}

/// What READY tells about the new session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ready {
    /// Session id.
    pub session_id: String,
    /// Where to resume.
    pub resume_url: String,
    /// The bot's user; 0 where it is not named.
    pub user: u64,
    /// Ids of the bot's guilds on this shard.
    pub guilds: Vec<u64>,
}

/// Reads a READY; none if it names no session.
pub fn ready(payload: &[u8]) -> Option<Ready> {
    #[derive(serde::Deserialize)]
    struct Payload {
        d: Data,
    }
    #[derive(serde::Deserialize)]
    struct Data {
        session_id: String,
        resume_gateway_url: String,
        user: Option<Named>,
        #[serde(default)]
        guilds: Vec<Named>,
    }
    #[derive(serde::Deserialize)]
    struct Named {
        id: String,
    }
    let data = serde_json::from_slice::<Payload>(payload).ok()?.d;
    let guilds = data.guilds.iter().filter_map(|guild| guild.id.parse().ok()).collect();
    let user = data.user.and_then(|user| user.id.parse().ok()).unwrap_or(0);
    Some(Ready { session_id: data.session_id, resume_url: data.resume_gateway_url, user, guilds })
}

/// Op 1; `seq` is the last sequence that may be forgotten.
pub fn heartbeat(seq: Option<u64>) -> String {
    match seq {
        Some(seq) => format!(r#"{{"op":1,"d":{seq}}}"#),
        None => r#"{"op":1,"d":null}"#.to_owned(),
    }
}

/// Op 6: replay everything of `session_id` after `seq`.
pub fn resume(token: &str, session_id: &str, seq: u64) -> String {
    json!({"op": op::RESUME, "d": {"token": token, "session_id": session_id, "seq": seq}}).to_string()
}

/// What op 2 says.
#[derive(Clone, Copy, Debug)]
pub struct Identify<'a> {
    /// The bot's token, without `Bot `.
    pub token: &'a str,
    /// Bit set of intents.
    pub intents: u64,
    /// Shard and total.
    pub shard: (u32, u32),
    /// Members above which a guild counts as large, 50 to 250.
    pub large_threshold: u8,
    /// A presence object as JSON.
    pub presence: Option<&'a str>,
}

impl Identify<'_> {
    /// Op 2.
    pub fn encode(&self) -> String {
        let mut data = json!({
            "token": self.token,
            "intents": self.intents,
            "shard": [self.shard.0, self.shard.1],
            "large_threshold": self.large_threshold,
            "properties": {"os": std::env::consts::OS, "browser": "pilothouse", "device": "pilothouse"},
        });
        if let Some(presence) = self.presence.and_then(|text| serde_json::from_str(text).ok()) {
            let presence: serde_json::Value = presence;
            data["presence"] = presence;
        }
        json!({"op": op::IDENTIFY, "d": data}).to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::checks::sniffing_agrees_with_a_parser;

    #[test]
    fn headers_are_read_in_any_key_order() {
        let dispatch = Header { op: 0, seq: Some(5), kind: EventKind::GUILD_CREATE };
        for payload in [
            r#"{"t":"GUILD_CREATE","s":5,"op":0,"d":{"op":3}}"#,
            r#"{"op":0,"d":{"t":"X","s":9},"s":5,"t":"GUILD_CREATE"}"#,
            r#"{ "d" : {}, "op" : 0, "t" : "GUILD_CREATE", "s" : 5 }"#,
        ] {
            assert_eq!(sniff(payload.as_bytes()), Some(dispatch), "{payload}");
        }
        let hello = br#"{"t":null,"s":null,"op":10,"d":{"heartbeat_interval":41250}}"#;
        assert_eq!(sniff(hello), Some(Header { op: 10, seq: None, kind: EventKind::OTHER }));
        assert_eq!(hello_interval(hello), Some(41_250));
        assert_eq!(sniff(b"[]"), None);
        assert_eq!(sniff(br#"{"t":"X"}"#), None);
    }

    #[test]
    fn ready_gives_the_session() {
        let payload = br#"{"t":"READY","s":1,"op":0,"d":{"v":10,"user":{"id":"9"},"session_id":"abc","resume_gateway_url":"wss://r","guilds":[{"id":"7","unavailable":true}]}}"#;
        let expected = Ready { session_id: "abc".into(), resume_url: "wss://r".into(), user: 9, guilds: vec![7] };
        assert_eq!(ready(payload), Some(expected));
        assert_eq!(ready(br#"{"op":0,"d":{}}"#), None);
    }

    #[test]
    fn what_goes_out_is_what_discord_documents() {
        let identify = Identify {
            token: "t",
            intents: 513,
            shard: (3, 16),
            large_threshold: 50,
            presence: Some(r#"{"status":"dnd"}"#),
        };
        let value: Value = serde_json::from_str(&identify.encode()).expect("valid JSON");
        assert_eq!(value["op"], 2);
        assert_eq!(value["d"]["shard"], serde_json::json!([3, 16]));
        assert_eq!(value["d"]["presence"]["status"], "dnd");
        let value: Value = serde_json::from_str(&resume("t", "s", 9)).expect("valid JSON");
        assert_eq!(value, serde_json::json!({"op": 6, "d": {"token": "t", "session_id": "s", "seq": 9}}));
        assert_eq!(heartbeat(None), r#"{"op":1,"d":null}"#);
        assert_eq!(heartbeat(Some(4)), r#"{"op":1,"d":4}"#);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            sniffing_agrees_with_a_parser(&bytes);
            let _ = ready(&bytes);
            let _ = hello_interval(&bytes);
        }

        #[test]
        fn a_payload_of_any_order_and_writing_is_read_as_a_parser_reads_it(
            op in prop_oneof![Just("0"), Just("10"), Just("300"), Just("null"), Just("\"0\"")],
            s in prop_oneof![Just("7"), Just("null"), Just("1.5")],
            t in prop_oneof![Just("\"GUILD_CREATE\""), Just("\"NEW_TYPE\""), Just("null"), Just("[]")],
            d in prop_oneof![Just("{\"id\":\"5\",\"guild_id\":\"6\"}"), Just("{\"x\":{\"guild_id\":\"6\"}}"), Just("null")],
            order in Just([0, 1, 2, 3]).prop_shuffle(),
            left_out in 0..8_usize,
            blank in prop_oneof![Just(""), Just(" ")],
        ) {
            let fields = [("op", op), ("s", s), ("t", t), ("d", d)].map(|(key, value)| format!("\"{key}\"{blank}:{blank}{value}"));
            let chosen = order.iter().filter(|at| **at != left_out).map(|at| fields[*at].as_str());
            let payload = format!("{{{}}}", chosen.collect::<Vec<_>>().join(&format!("{blank},")));
            sniffing_agrees_with_a_parser(payload.as_bytes());
        }
    }
}
