//! Discord's REST and the sandbox's own controls, by HTTP.

use pilothouse_sandbox::FaultKind;
use serde_json::{Value, json};

use crate::client::{Client, http, sandbox};

async fn get(url: String, authorization: &str) -> (u16, Value) {
    let (status, body) = http("GET", &url, authorization, "").await.expect("REST answers");
    (status, serde_json::from_str(&body).unwrap_or_default())
}

async fn post(url: String, body: Value) -> u16 {
    http("POST", &url, "Bot sandbox-token", &body.to_string()).await.expect("REST answers").0
}

#[tokio::test]
async fn gateway_bot_tells_the_truth_about_the_allowance() {
    let sandbox = sandbox(|config| {
        config.shards = 3;
        config.rest_authorization = Some("proxy secret".to_owned());
    })
    .await;
    Client::ready(&sandbox, 0, 3).await;
    for (path, authorization) in [("/v10", "Bot sandbox-token"), ("/api/v9", "proxy secret"), ("", "proxy secret")] {
        let (status, body) = get(format!("{}{path}/gateway/bot", sandbox.rest_url()), authorization).await;
        assert_eq!((status, &body["shards"]), (200, &json!(3)));
        assert_eq!(body["url"], sandbox.gateway_url());
        let limit = &body["session_start_limit"];
        assert_eq!(
            (&limit["total"], &limit["remaining"], &limit["max_concurrency"]),
            (&json!(1000), &json!(999), &json!(16))
        );
    }
}

#[tokio::test]
async fn wrong_tokens_versions_and_scripted_failures() {
    let sandbox = sandbox(|_| {}).await;
    let url = format!("{}/v10/gateway/bot", sandbox.rest_url());
    assert_eq!(get(url.clone(), "Bot wrong").await.0, 401);
    let old = format!("{}/v5/gateway/bot", sandbox.rest_url());
    assert_eq!(get(old, "Bot sandbox-token").await.0, 400);
    sandbox.fault(FaultKind::RestStatus { status: 503, times: 1, retry_after: Some(1) });
    assert_eq!(get(url.clone(), "Bot sandbox-token").await.0, 503);
    assert_eq!(get(url, "Bot sandbox-token").await.0, 200);
    let me = format!("{}/v10/users/@me", sandbox.rest_url());
    assert_eq!(get(me, "Bot sandbox-token").await.1["bot"], true);
}

#[tokio::test]
async fn messages_are_kept_and_controls_work_by_http() {
    let sandbox = sandbox(|_| {}).await;
    let rest = sandbox.rest_url();
    assert_eq!(post(format!("{rest}/api/v10/channels/5/messages"), json!({"content": "hi"})).await, 200);
    assert!(sandbox.status().messages[0].contains("\"hi\""));
    let channel = |id: u32| format!("{rest}/v10/channels/{id}/messages");
    assert_eq!(post(channel(6), json!({"content": "x".repeat(2_001)})).await, 400);
    for (of, status) in [(6, 200), (6, 200), (6, 200), (6, 200), (6, 200), (6, 429), (7, 200)] {
        assert_eq!(post(channel(of), json!({"content": "again"})).await, status);
    }
    assert_eq!(sandbox.status().messages.len(), 7);
    let mut gateway = Client::ready(&sandbox, 0, 1).await;
    assert_eq!(post(format!("{rest}/sandbox/fault"), json!({"kind": "reconnect", "shards": [0]})).await, 204);
    gateway.until_op(7).await;
    assert_eq!(get(format!("{rest}/sandbox/status"), "").await.1["connected"], 1);
    assert_eq!(post(format!("{rest}/sandbox/traffic"), json!({"per_second": 100})).await, 204);
    assert!(sandbox.sent(1, std::time::Duration::from_secs(5)).await);
    assert!(get(format!("{rest}/sandbox/verdict"), "").await.1["sent"].as_u64().unwrap() > 0);
}
