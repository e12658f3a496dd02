//! Identify, READY, intents, resume, strictness, and what ends a session.

use std::time::Duration;

use pilothouse_sandbox::{FaultKind, Rate, intents};
use serde_json::json;

use crate::client::{Client, Ended, identify, sandbox};

const QUERY: &str = "v=10&encoding=json";

#[tokio::test]
async fn ready_names_the_shards_guilds_and_each_is_created() {
    let sandbox = sandbox(|_| {}).await;
    let mut client = Client::connect(sandbox.gateway_url(), QUERY).await;
    client.send(identify(1, 4, intents::GUILDS)).await;
    let ready = client.until("READY").await;
    assert_eq!(ready["s"], 1);
    assert_eq!(ready["d"]["v"], 10);
    let guilds = ready["d"]["guilds"].as_array().unwrap().clone();
    assert_eq!(guilds.len(), 2);
    for guild in guilds {
        assert_eq!(guild["unavailable"], true);
        let id: u64 = guild["id"].as_str().unwrap().parse().unwrap();
        assert_eq!((id >> 22) % 4, 1);
        let create = client.until("GUILD_CREATE").await;
        assert_eq!(create["d"]["id"], guild["id"]);
        assert!(create["d"].get("_pilothouse").is_none(), "the burst is not counted");
    }
    assert!(client.is_quiet(Duration::from_millis(50)).await);
}

#[tokio::test]
async fn identifying_too_soon_in_a_bucket_gets_op_9() {
    let sandbox = sandbox(|config| {
        config.max_concurrency = 2;
        config.identify_window = Duration::from_millis(300);
    })
    .await;
    Client::ready(&sandbox, 0, 4).await;
    Client::ready(&sandbox, 1, 4).await;
    let mut refused = Client::connect(sandbox.gateway_url(), QUERY).await;
    refused.send(identify(2, 4, 0)).await;
    assert_eq!(refused.next().await, json!({"t": null, "s": null, "op": 9, "d": false}));
    assert_eq!(sandbox.status().violations[0].shard, Some(2));
    tokio::time::sleep(Duration::from_millis(310)).await;
    Client::ready(&sandbox, 2, 4).await;
    assert_eq!(sandbox.status().identifies, 4);
}

#[tokio::test]
async fn only_events_of_the_intents_come() {
    let sandbox = sandbox(|config| config.rate = Rate::PerSecond(2000.0)).await;
    let mut client = Client::connect(sandbox.gateway_url(), QUERY).await;
    client.send(identify(0, 1, intents::GUILD_MESSAGES)).await;
    client.until("READY").await;
    for _ in 0..100 {
        let event = client.next().await;
        let kind = event["t"].as_str().unwrap();
        assert!(kind.starts_with("MESSAGE_") || kind == "INTERACTION_CREATE", "{kind}");
        if kind == "MESSAGE_CREATE" {
            assert_eq!(event["d"]["content"], "", "no MESSAGE_CONTENT, no text");
        }
    }
}

#[tokio::test]
async fn a_resume_replays_in_order_and_ends_with_resumed() {
    let sandbox = sandbox(|config| config.rate = Rate::PerSecond(1000.0)).await;
    let mut client = Client::ready(&sandbox, 0, 1).await;
    for _ in 0..50 {
        client.next().await;
    }
    sandbox.fault(FaultKind::Reset);
    client.end().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let from = client.seq - 20;
    let mut resumed = client.resumed(QUERY, from).await;
    assert_eq!(resumed.next().await["s"], from + 1);
    resumed.until("RESUMED").await;
    let status = sandbox.status();
    assert_eq!((status.resumes, status.resumes_elsewhere, status.connected), (1, 0, 1));
}

#[tokio::test]
async fn strict_mode_forgets_what_a_heartbeat_carried() {
    let sandbox = sandbox(|config| config.strict = true).await;
    let mut client = Client::ready(&sandbox, 0, 1).await;
    while client.seq < 9 {
        client.next().await;
    }
    client.send(json!({"op": 1, "d": 6})).await;
    client.until_op(11).await;
    let mut at_six = client.resumed(QUERY, 6).await;
    assert_eq!(at_six.next().await["s"], 7);
    at_six.until("RESUMED").await;
    let mut at_five = client.resumed(QUERY, 5).await;
    assert_eq!(at_five.next().await["op"], 9);
}

#[tokio::test]
async fn a_resume_takes_the_session_from_its_old_connection() {
    let sandbox = sandbox(|_| {}).await;
    let mut client = Client::ready(&sandbox, 0, 1).await;
    let mut resumed = client.resumed(QUERY, 1).await;
    resumed.until("RESUMED").await;
    assert_eq!(client.end().await, Ended::Lost);
    assert_eq!(sandbox.status().connected, 1);
}

#[tokio::test]
async fn a_resume_must_repeat_version_and_compression() {
    let sandbox = sandbox(|_| {}).await;
    let client = Client::ready(&sandbox, 0, 1).await;
    let mut other = client.resumed("v=9&encoding=json", client.seq).await;
    assert_eq!(other.next().await["d"], false);
    let mut same = client.resumed(QUERY, client.seq).await;
    same.until("RESUMED").await;
    assert_eq!(sandbox.status().violation_count, 1);
}

#[tokio::test]
async fn closing_with_1000_ends_the_session_and_4000_does_not() {
    let sandbox = sandbox(|_| {}).await;
    for (code, op) in [(1000, 9), (1001, 9), (4000, 0)] {
        let client = Client::ready(&sandbox, 0, 1).await;
        let (session_id, resume_url, seq) = (client.session_id.clone(), client.resume_url.clone(), client.seq);
        client.close(code).await;
        let mut resumed = Client::connect(&resume_url, QUERY).await;
        resumed.send(crate::client::resume(&session_id, seq)).await;
        assert_eq!(resumed.next().await["op"], op, "{code}");
    }
}

#[tokio::test]
async fn a_session_nobody_resumes_expires() {
    let sandbox = sandbox(|config| config.resume_window = Duration::from_millis(50)).await;
    let mut client = Client::ready(&sandbox, 0, 1).await;
    sandbox.fault(FaultKind::Drop);
    assert_eq!(client.end().await, Ended::Lost);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(sandbox.status().resumable, 0);
    let mut resumed = client.resumed(QUERY, client.seq).await;
    assert_eq!(resumed.next().await["op"], 9);
}

#[tokio::test]
async fn two_totals_and_two_sessions_of_a_shard_all_get_the_event() {
    let sandbox = sandbox(|_| {}).await;
    let mut clients = Vec::new();
    for (shard, total) in [(0, 1), (0, 1), (0, 2), (1, 2)] {
        clients.push(Client::ready(&sandbox, shard, total).await);
    }
    sandbox.set_rate(Rate::PerSecond(500.0));
    let mut ids: Vec<u64> = Vec::new();
    let mut bodies: Vec<String> = Vec::new();
    for client in &mut clients {
        let event = loop {
            let event = client.next().await;
            if event["d"]["_pilothouse"]["id"].is_u64() {
                break event;
            }
        };
        ids.push(event["d"]["_pilothouse"]["id"].as_u64().unwrap());
        bodies.push(event["d"].to_string());
    }
    assert_eq!(ids[0], 1);
    assert_eq!(ids[1], 1, "both sessions of the shard");
    assert_eq!(ids[2].min(ids[3]), 1, "and the shard of the other total");
}
