//! Each close code is earned by its mistake.

use std::time::Duration;

use pilothouse_sandbox::{FaultKind, SessionStarts, intents};
use serde_json::json;

use crate::client::{Client, Ended, identify, sandbox, until};

const QUERY: &str = "v=10&encoding=json";

#[tokio::test]
async fn codes_4001_and_4002_answer_what_cannot_be_understood() {
    let sandbox = sandbox(|_| {}).await;
    for (text, code) in [
        (r#"{"op":99,"d":{}}"#.to_owned(), 4001),
        ("{".to_owned(), 4002),
        (json!({"op": 3, "d": {"padding": "x".repeat(5000)}}).to_string(), 4002),
        (json!({"op": 3, "d": {"padding": "x".repeat(50_000)}}).to_string(), 4002),
    ] {
        let mut client = Client::ready(&sandbox, 0, 1).await;
        client.send_text(text).await;
        assert_eq!(client.end().await, Ended::Code(code));
    }
    assert_eq!(sandbox.status().violation_count, 4);
    until(&sandbox, |status| status.resumable == 4).await;
}

#[tokio::test]
async fn code_4003_answers_a_request_before_identify() {
    let sandbox = sandbox(|_| {}).await;
    let mut client = Client::connect(sandbox.gateway_url(), QUERY).await;
    client.send(json!({"op": 1, "d": null})).await;
    assert_eq!(client.next().await["op"], 11, "heartbeats are welcome before identify");
    client.send(json!({"op": 3, "d": {"since": null, "activities": [], "status": "online", "afk": false}})).await;
    assert_eq!(client.end().await, Ended::Code(4003));
}

#[tokio::test]
async fn code_4004_answers_a_wrong_token() {
    let sandbox = sandbox(|_| {}).await;
    for op in [2, 6] {
        let mut client = Client::connect(sandbox.gateway_url(), QUERY).await;
        let d = json!({"token": "Bot wrong", "intents": 0, "properties": {}, "session_id": "x", "seq": 1});
        client.send(json!({"op": op, "d": d})).await;
        assert_eq!(client.end().await, Ended::Code(4004));
    }
}

#[tokio::test]
async fn code_4005_answers_a_second_identify() {
    let sandbox = sandbox(|_| {}).await;
    let mut client = Client::ready(&sandbox, 0, 1).await;
    client.send(identify(0, 1, 0)).await;
    assert_eq!(client.end().await, Ended::Code(4005));
}

#[tokio::test]
async fn code_4007_answers_a_sequence_from_the_future() {
    let sandbox = sandbox(|_| {}).await;
    let client = Client::ready(&sandbox, 0, 1).await;
    let mut resumed = client.resumed(QUERY, 10_000).await;
    assert_eq!(resumed.end().await, Ended::Code(4007));
    let mut again = client.resumed(QUERY, 1).await;
    assert_eq!(again.next().await["op"], 9, "the session is gone");
}

#[tokio::test]
async fn code_4008_answers_the_121st_payload_of_a_minute() {
    let sandbox = sandbox(|_| {}).await;
    let mut client = Client::ready(&sandbox, 0, 1).await;
    for _ in 0..119 {
        client.send(json!({"op": 1, "d": null})).await;
    }
    for _ in 0..119 {
        client.until_op(11).await;
    }
    client.send(json!({"op": 1, "d": null})).await;
    assert_eq!(client.end().await, Ended::Code(4008));
}

#[tokio::test]
async fn code_4009_by_fault_ends_the_session() {
    let sandbox = sandbox(|_| {}).await;
    let mut client = Client::ready(&sandbox, 0, 1).await;
    sandbox.fault(FaultKind::Close { code: 4009 });
    assert_eq!(client.end().await, Ended::Code(4009));
    let mut resumed = client.resumed(QUERY, client.seq).await;
    assert_eq!(resumed.next().await, json!({"t": null, "s": null, "op": 9, "d": false}));
}

#[tokio::test]
async fn codes_4010_and_4011_answer_wrong_shards() {
    let sandbox = sandbox(|config| {
        config.guilds_per_shard = 5;
        config.shard_multiple = 4;
    })
    .await;
    for (shard, total, code) in [(4, 4, 4010), (0, 0, 4010), (0, 6, 4010), (0, 1, 4011)] {
        let mut client = Client::connect(sandbox.gateway_url(), QUERY).await;
        client.send(identify(shard, total, 0)).await;
        assert_eq!(client.end().await, Ended::Code(code), "[{shard}, {total}]");
    }
    Client::ready(&sandbox, 3, 4).await;
}

#[tokio::test]
async fn code_4012_answers_versions_that_do_not_exist() {
    let sandbox = sandbox(|config| config.versions.push(11)).await;
    for query in ["v=5&encoding=json", "v=12&encoding=json", "v=x"] {
        let mut client = Client::connect_without_hello(sandbox.gateway_url(), query).await;
        assert_eq!(client.end().await, Ended::Code(4012), "{query}");
    }
    for query in ["v=9&encoding=json", "v=11&encoding=json", "encoding=json"] {
        Client::connect(sandbox.gateway_url(), query).await;
    }
}

#[tokio::test]
async fn codes_4013_and_4014_answer_intents() {
    let sandbox = sandbox(|config| config.privileged_intents = intents::GUILD_MEMBERS).await;
    for (intents, code) in [(1 << 40, 4013), (1 << 17, 4013), (intents::MESSAGE_CONTENT, 4014)] {
        let mut client = Client::connect(sandbox.gateway_url(), QUERY).await;
        client.send(identify(0, 1, intents)).await;
        assert_eq!(client.end().await, Ended::Code(code));
    }
    let mut client = Client::connect(sandbox.gateway_url(), QUERY).await;
    client.send(identify(0, 1, intents::GUILD_MEMBERS | intents::GUILDS)).await;
    client.until("READY").await;
}

#[tokio::test]
async fn a_missing_heartbeat_closes_and_is_a_violation() {
    let sandbox = sandbox(|config| config.heartbeat_interval = Duration::from_millis(100)).await;
    let mut client = Client::ready(&sandbox, 0, 1).await;
    assert_eq!(client.end().await, Ended::Code(4000));
    assert_eq!(sandbox.status().violation_count, 1);
    let mut resumed = client.resumed(QUERY, client.seq).await;
    resumed.until("RESUMED").await;
}

#[tokio::test]
async fn the_identify_after_the_last_kills_the_token() {
    let sandbox =
        sandbox(|config| config.session_starts = SessionStarts { remaining: 1, ..config.session_starts }).await;
    let mut first = Client::ready(&sandbox, 0, 2).await;
    let mut second = Client::connect(sandbox.gateway_url(), QUERY).await;
    second.send(identify(1, 2, 0)).await;
    assert_eq!(first.end().await, Ended::Code(4004));
    assert_eq!(second.end().await, Ended::Code(4004));
    let mut third = Client::connect(sandbox.gateway_url(), QUERY).await;
    third.send(identify(0, 2, 0)).await;
    assert_eq!(third.end().await, Ended::Code(4004));
    assert_eq!(sandbox.status().violation_count, 1);
}
