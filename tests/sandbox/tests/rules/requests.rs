//! Ops 3, 4, 8, 31 and 43.

use std::time::Duration;

use pilothouse_sandbox::{GuildSize, intents};
use serde_json::{Value, json};

use crate::client::{Client, identify, sandbox};

async fn big() -> pilothouse_sandbox::Sandbox {
    sandbox(|config| config.guild_size = GuildSize { members: 2500, ..GuildSize::default() }).await
}

fn members(guild: u64, mut d: Value) -> Value {
    d["guild_id"] = json!(guild.to_string());
    json!({"op": 8, "d": d})
}

#[tokio::test]
async fn all_members_come_in_chunks_once_in_30_seconds() {
    let sandbox = big().await;
    let guild = sandbox.guild_id(2);
    let mut client = Client::ready(&sandbox, 0, 1).await;
    client.send(members(guild, json!({"query": "", "limit": 0, "nonce": "n1"}))).await;
    let mut sizes = Vec::new();
    for nth in 0..3 {
        let chunk = client.until("GUILD_MEMBERS_CHUNK").await;
        assert_eq!((&chunk["d"]["chunk_index"], &chunk["d"]["chunk_count"]), (&json!(nth), &json!(3)));
        assert_eq!(chunk["d"]["nonce"], "n1");
        sizes.push(chunk["d"]["members"].as_array().unwrap().len());
    }
    assert_eq!(sizes, [1000, 1000, 500]);
    client.send(members(guild, json!({"query": "", "limit": 0, "nonce": "n2"}))).await;
    let limited = client.until("RATE_LIMITED").await;
    assert_eq!(limited["d"]["opcode"], 8);
    assert_eq!(limited["d"]["meta"], json!({"guild_id": guild.to_string(), "nonce": "n2"}));
    assert!(limited["d"]["retry_after"].as_f64().unwrap() > 29.0);
}

#[tokio::test]
async fn members_by_id_and_by_name() {
    let sandbox = big().await;
    let guild = sandbox.guild_id(0);
    let mut client = Client::ready(&sandbox, 0, 1).await;
    client.send(members(guild, json!({"query": "user24", "limit": 50, "nonce": "x".repeat(33)}))).await;
    let chunk = client.until("GUILD_MEMBERS_CHUNK").await;
    assert_eq!(chunk["d"]["members"].as_array().unwrap().len(), 50);
    assert!(chunk["d"].get("nonce").is_none(), "a nonce beyond 32 bytes is ignored");
    let member = chunk["d"]["members"][3]["user"]["id"].clone();
    client.send(members(guild, json!({"user_ids": [member, "5"], "presences": true}))).await;
    let chunk = client.until("GUILD_MEMBERS_CHUNK").await;
    assert_eq!(chunk["d"]["members"][0]["user"]["id"], member);
    assert_eq!(chunk["d"]["not_found"], json!(["5"]));
    assert!(chunk["d"]["presences"].is_array());
}

#[tokio::test]
async fn all_members_need_their_intent_and_the_right_shard() {
    let sandbox = big().await;
    let mut client = Client::connect(sandbox.gateway_url(), "v=10&encoding=json").await;
    client.send(identify(0, 2, intents::GUILD_MESSAGES)).await;
    client.until("READY").await;
    for index in [0, 1] {
        client.send(members(sandbox.guild_id(index), json!({"query": "", "limit": 0}))).await;
    }
    assert!(client.is_quiet(Duration::from_millis(100)).await);
    assert_eq!(sandbox.status().violation_count, 2);
}

#[tokio::test]
async fn voice_soundboard_channel_info_and_presence() {
    let sandbox = sandbox(|_| {}).await;
    let guild = sandbox.guild_id(3).to_string();
    let mut client = Client::ready(&sandbox, 0, 1).await;
    let join = json!({"guild_id": guild, "channel_id": "7", "self_mute": false, "self_deaf": true});
    client.send(json!({"op": 4, "d": join})).await;
    let state = client.until("VOICE_STATE_UPDATE").await;
    assert_eq!((&state["d"]["channel_id"], &state["d"]["self_deaf"]), (&json!("7"), &json!(true)));
    client.until("VOICE_SERVER_UPDATE").await;
    client.send(json!({"op": 31, "d": {"guild_ids": [guild]}})).await;
    assert_eq!(client.until("SOUNDBOARD_SOUNDS").await["d"]["guild_id"], guild.as_str());
    client.send(json!({"op": 43, "d": {"guild_id": guild, "fields": ["status"]}})).await;
    assert_eq!(client.until("CHANNEL_INFO").await["d"]["channels"][0]["status"], "at anchor");
    client.send(json!({"op": 3, "d": {"since": null, "activities": [], "status": "idle", "afk": false}})).await;
    client.send(json!({"op": 1, "d": null})).await;
    client.until_op(11).await;
    let status = sandbox.status();
    assert_eq!(status.payloads[&3], 1);
    assert!(status.heard.back().unwrap().payload.contains("idle"));
}
