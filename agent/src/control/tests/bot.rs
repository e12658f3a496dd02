//! The bot's own requests, as its code of the guide sends them.

use serde_json::{Value, json};

use super::*;

const KEY: &str = "bot-key";

impl Rig {
    async fn bot_with(&self, key: &str, body: &str) -> (u16, Value) {
        let head = format!("POST / HTTP/1.1\r\nauthorization: {key}\r\ncontent-type: application/json");
        let (status, body) = self.ask(&head, body).await;
        (status, serde_json::from_str(&body).unwrap_or(Value::Null))
    }

    async fn bot(&self, body: Value) -> (u16, Value) {
        self.bot_with(KEY, &body.to_string()).await
    }
}

#[tokio::test]
async fn only_the_key_lets_the_bot_in_and_it_grants_nothing_else() {
    let rig = Rig::new(4).await;
    let body = r#"{"type":"SHARD_INFO","shardId":3}"#;
    for key in ["", "wrong", "Bearer bot-key", "bot-key2", TOKEN] {
        let refused = rig.bot_with(key, body).await;
        assert_eq!(refused, (401, json!({"error": "Invalid authorization key."})), "{key}");
    }
    assert_eq!(rig.bot_with(KEY, body).await.0, 200);
    for path in ["/v1/status", "/v1/shards", "/v1/console"] {
        for key in [KEY.to_owned(), format!("Bearer {KEY}")] {
            let head = format!("GET {path} HTTP/1.1\r\nauthorization: {key}");
            assert_eq!(rig.ask(&head, "").await.0, 401, "{path}");
        }
    }
    let page = format!("POST / HTTP/1.1\r\nauthorization: {KEY}\r\nOrigin: http://localhost");
    assert_eq!(rig.ask(&page, body).await.0, 403);
}

/// People choose it, so it could be guessed.
#[tokio::test]
async fn whoever_guesses_the_key_is_not_even_told_when_it_is_right() {
    let rig = Rig::new(4).await;
    let body = r#"{"type":"SHARD_INFO","shardId":3}"#;
    for guess in 0..failures::OF_ADDRESS {
        assert_eq!(rig.bot_with(&guess.to_string(), body).await.0, 401);
    }
    let head = format!("POST / HTTP/1.1\r\nauthorization: {KEY}");
    assert_eq!(rig.ask(&head, body).await.0, 429);
    assert_eq!(rig.get("/v1/status").await.0, 200, "tokens cannot be guessed: theirs are let in");
}

#[tokio::test]
async fn every_type_does_what_it_says() {
    let rig = Rig::new(4).await;
    let status = json!({"status": "idle", "activities": [{"name": "chess", "type": 0}]});
    let sent = json!({"sent": 1, "waiting": 0});
    for (body, answer) in [
        (json!({"type": "EDIT_BOT_STATUS", "payload": status}), json!({"sent": 3, "waiting": 1})),
        (json!({"type": "EDIT_SHARD_STATUS", "shardId": 1, "payload": status}), sent.clone()),
        (json!({"type": "JOIN_VOICE", "guildId": "7", "channelId": "8", "options": {"selfMute": true}}), sent.clone()),
        (json!({"type": "LEAVE_VOICE", "guildId": 7}), sent.clone()),
        (json!({"type": "SOUNDBOARD", "guildIds": ["7", "8"]}), sent.clone()),
        (json!({"type": "CHANNEL_INFO", "guildId": "7"}), sent.clone()),
        (json!({"type": "SHARD_PAYLOAD", "shardId": "3", "payload": {"op": 31, "d": {}}}), sent.clone()),
    ] {
        assert_eq!(rig.bot(body.clone()).await, (200, answer), "{body}");
    }
    let (status, info) = rig.bot(json!({"type": "SHARD_INFO", "shardId": 2})).await;
    assert_eq!((status, &info["row"]["id"]), (200, &json!(2)));
    let sent = rig.told.sent.lock().expect("no panic").clone();
    let shards: Vec<u32> = sent.iter().map(|(shard, _)| *shard).collect();
    assert_eq!(shards, [0, 1, 2, 3, 1, 0, 0, 0, 0, 3]);
    assert!(sent[5].1.contains(r#""self_mute":true"#) && sent[5].1.contains(r#""channel_id":"8""#), "{}", sent[5].1);
    assert_eq!(sent[9].1, r#"{"d":{},"op":31}"#);
}

#[tokio::test]
async fn what_the_bot_changes_is_in_the_audit_log_and_what_it_asks_for_is_not() {
    let rig = Rig::new(4).await;
    let voice = json!({"type": "JOIN_VOICE", "guildId": "7", "channelId": "8"});
    rig.bot(voice.clone()).await;
    rig.bot(json!({"type": "SHARD_PAYLOAD", "shardId": 3, "payload": {"op": 31, "d": KEY}})).await;
    rig.bot(json!({"type": "SOUNDBOARD", "guildIds": ["7"]})).await;
    rig.bot(json!({"type": "SHARD_INFO", "shardId": 2})).await;
    let (status, told) = rig.command(r#"{"line":"audit --who bot"}"#).await;
    assert_eq!(status, 200);
    let lines: Vec<&str> = told["text"].as_str().expect("words").lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    let said = r#"-> {"sent":1,"waiting":0}"#;
    assert!(lines[0].contains("bot (operator) from 127.0.0.1 by bot") && lines[0].ends_with(said), "{lines:?}");
    assert!(lines[0].contains(&voice.to_string()), "{lines:?}");
    assert!(lines[1].contains("SHARD_PAYLOAD") && !lines[1].contains(KEY), "{lines:?}");
}

#[tokio::test]
async fn nothing_is_changed_that_cannot_be_written_down() {
    let rig = Rig::new(4).await;
    std::fs::write(rig.data.path().join("audit"), "").expect("a file where the folder should be");
    let (status, said) = rig.bot(json!({"type": "LEAVE_VOICE", "guildId": 7})).await;
    let said = said["error"].as_str().expect("words").to_owned();
    assert!(status == 503 && said.starts_with("nothing was sent: ") && said.contains("audit"), "{status} {said}");
    assert_eq!(*rig.told.sent.lock().expect("no panic"), []);
}

#[tokio::test]
async fn members_are_answered_assembled_and_a_part_is_said_to_be_one() {
    let rig = Rig::new(4).await;
    let ask = |guild: u64| json!({"type": "REQUEST_MEMBERS", "guildId": guild.to_string(), "options": {"limit": 0}});
    let (status, members) = rig.bot(ask(WHOLE)).await;
    assert_eq!((status, members), (200, json!([{"user": {"id": "5"}}])));
    let head = format!("POST / HTTP/1.1\r\nauthorization: {KEY}");
    let body = ask(PART).to_string();
    let length = body.len();
    let mut stream = TcpStream::connect(rig.address).await.expect("it listens");
    let request = format!("{head}\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 206"), "{answer}");
    assert!(answer.contains("x-pilothouse-partial: 1 of 2 chunks came: no chunk came for 10 s"), "{answer}");
    let (status, said) = rig.bot(ask(7)).await;
    assert_eq!(status, 504);
    assert!(said["error"].as_str().expect("words").contains("is the bot in that guild?"), "{said}");
    let users =
        json!({"type": "REQUEST_MEMBERS", "guildId": "7", "options": {"userIds": ["1", 2], "limit": 0, "query": ""}});
    assert_eq!(rig.bot(users).await.0, 504);
    let asked = rig.told.sent.lock().expect("no panic").last().cloned().expect("it was asked");
    assert_eq!(asked.1, "Users([1, 2])");
}

#[tokio::test]
async fn a_bad_body_is_told_by_its_field() {
    let rig = Rig::new(4).await;
    let unknown = json!({"message": "Unknown request received.", "status": 404});
    for body in [json!({}), json!({"type": "IDENTIFY_SHARD", "shardId": 1}), json!({"type": 7})] {
        assert_eq!(rig.bot(body).await, (404, unknown.clone()));
    }
    for (body, part) in [
        (json!({"type": "REQUEST_MEMBERS"}), "guildId: is missing"),
        (json!({"type": "REQUEST_MEMBERS", "guildId": "x"}), "guildId: must be an id"),
        (json!({"type": "REQUEST_MEMBERS", "guildId": "7", "options": []}), "options: must be an object"),
        (json!({"type": "REQUEST_MEMBERS", "guildId": "7", "options": {"limit": "5"}}), "limit: must be a whole"),
        (json!({"type": "REQUEST_MEMBERS", "guildId": "7", "options": {"limit": 101}}), "options: "),
        (json!({"type": "REQUEST_MEMBERS", "guildId": "7", "options": {"userIds": [true]}}), "userIds: must be a list"),
        (json!({"type": "JOIN_VOICE", "guildId": "7"}), "channelId: is missing"),
        (json!({"type": "SHARD_INFO", "shardId": 4}), "shardId: there is no shard 4"),
        (json!({"type": "SHARD_PAYLOAD", "shardId": 3, "payload": {"op": 2}}), "payload: op 2 is the agent's own"),
        (json!({"type": "EDIT_BOT_STATUS", "payload": {"status": "away"}}), "payload: "),
        (json!({"type": "SOUNDBOARD", "guildIds": []}), "guildIds: names no guild"),
    ] {
        let (status, said) = rig.bot(body.clone()).await;
        let said = said["error"].as_str().expect("words").to_owned();
        assert!(status == 400 && said.starts_with(part), "{body}: {status} {said}");
    }
    assert_eq!(rig.bot_with(KEY, "{").await.0, 400);
    assert_eq!(rig.bot_with(KEY, &"[".repeat(200)).await.0, 400);
    assert_eq!(rig.bot_with(KEY, &format!("\"{}\"", "x".repeat(70_000))).await.0, 413);
    assert_eq!(*rig.told.sent.lock().expect("no panic"), []);
}
