//! Every door understands alike, and bytes of any kind hurt nobody else.

use super::*;

/// What tells of times or of what was done before.
const CHANGING: [&str; 3] = ["job", "audit", "get"];

/// A frame or body, broken at random.
fn broken(random: &mut fastrand::Rng, text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..random.usize(1..4) {
        let at = random.usize(..bytes.len().max(1));
        match random.u8(..5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.u8(32..127)),
            2 if !bytes.is_empty() => bytes[at] = random.u8(..),
            3 => bytes.extend_from_within(at..),
            _ => bytes.splice(at..at, *b"[{\"\\u0000").for_each(drop),
        }
    }
    bytes
}

#[tokio::test]
async fn a_command_is_answered_alike_over_http_and_over_the_link() {
    let rig = Rig::new(4).await;
    let mut console = rig.console().await;
    let lines = access::LINES.iter().map(|(line, _)| *line);
    for (id, line) in (1..).zip(lines.filter(|line| !CHANGING.contains(&line.split(' ').next().unwrap_or_default()))) {
        let (_, http) = rig.command(&serde_json::json!({"line": line, "yes": true}).to_string()).await;
        console.send(&ToAgent::Command { id, line: line.into(), yes: true, key: None, reason: None }).await;
        let FromAgent::Result { id: answered, ok, text } = console.next().await else { panic!("{line}: no answer") };
        assert_eq!((answered, &http["ok"], &http["text"]), (id, &ok.into(), &text.into()), "{line}");
    }
}

#[tokio::test]
async fn every_command_takes_its_role_over_the_link() {
    let rig = Rig::new(4).await;
    for role in [Role::Viewer, Role::Operator, Role::Admin] {
        let token = rig.token(role);
        let mut console = rig.console_of(&token, role).await;
        for (id, (line, needed)) in (1..).zip(access::LINES) {
            console.send(&ToAgent::Command { id, line: line.into(), yes: true, key: None, reason: None }).await;
            let FromAgent::Result { id: answered, ok, text } = console.next().await else {
                panic!("{line}: no answer")
            };
            let refused = !ok && (text.contains("takes an operator's") || text.contains("takes an admin's"));
            assert_eq!((answered, refused), (id, role < needed), "{role} {line}: {text}");
        }
    }
}

#[tokio::test]
async fn frames_of_any_kind_end_their_own_link_at_most() {
    let rig = Rig::new(4).await;
    let mut other = rig.console().await;
    let mut random = fastrand::Rng::with_seed(7);
    let subscription = r#"{"type":"subscribe","overview":true,"map":true,"page":{"filter":"agent=eu-*","sort":"rate","offset":0,"count":9},"tail":{"types":["READY"],"shards":"0-3"},"logs":"info"}"#;
    let frames = [
        subscription,
        r#"{"type":"command","id":7,"line":"restart state=active,3 --identify","yes":true,"key":"a"}"#,
        r#"{"type":"apply","id":8,"plan":"0123456789abcdef","reason":"x"}"#,
    ];
    for round in 0..150 {
        let mut console = rig.console().await;
        for _ in 0..3 {
            let whole = frames[random.usize(..frames.len())];
            let frame = broken(&mut random, whole);
            let text = String::from_utf8_lossy(&frame).into_owned();
            // The agent may have let it go.
            let _ = console.0.send(Message::text(text)).await;
        }
        if round % 30 == 0 {
            other.send(&ToAgent::command(round, "explain 3")).await;
            let FromAgent::Result { id, ok: true, .. } = other.next().await else { panic!("no answer") };
            assert_eq!(id, round);
        }
    }
}

#[tokio::test]
async fn bodies_of_any_kind_are_answered() {
    let rig = Rig::new(4).await;
    let mut random = fastrand::Rng::with_seed(8);
    let bodies = [
        ("/v1/commands", format!("Bearer {TOKEN}"), r#"{"line":"presence 0-3 --status dnd","yes":true,"key":"k"}"#),
        ("/v1/commands", format!("Bearer {TOKEN}"), r#"{"apply":"0123456789abcdef","reason":"why"}"#),
        (
            "/",
            "bot-key".to_owned(),
            r#"{"type":"REQUEST_MEMBERS","guildId":"7","options":{"limit":0,"userIds":["1"]}}"#,
        ),
        ("/", "bot-key".to_owned(), r#"{"type":"EDIT_BOT_STATUS","payload":{"status":"idle","activities":[]}}"#),
    ];
    for _ in 0..200 {
        let (path, key, body) = &bodies[random.usize(..bodies.len())];
        let body = String::from_utf8_lossy(&broken(&mut random, body)).into_owned();
        let (status, answer) = rig.ask(&format!("POST {path} HTTP/1.1\r\nauthorization: {key}"), &body).await;
        let json: serde_json::Value = serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{body}: {error}"));
        assert!((200..500).contains(&status) || [503, 504].contains(&status), "{body}: {status} {json}");
    }
    assert_eq!(rig.ask("GET /healthz HTTP/1.1", "").await.0, 200);
}
