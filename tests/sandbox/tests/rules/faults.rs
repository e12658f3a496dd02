//! Each scripted fault does what it says.

use std::time::Duration;

use pilothouse_sandbox::{Fault, FaultKind, Rate};
use serde_json::json;
use tokio_tungstenite::connect_async;

use crate::client::{Client, Ended, identify, sandbox};

const QUERY: &str = "v=10&encoding=json";
const SHORT: Duration = Duration::from_millis(150);

#[tokio::test]
async fn op_7_and_op_9_now_and_on_the_next_connection() {
    let sandbox = sandbox(|_| {}).await;
    let mut client = Client::ready(&sandbox, 0, 1).await;
    sandbox.fault(FaultKind::Beat);
    client.until_op(1).await;
    sandbox.fault(FaultKind::Reconnect);
    client.until_op(7).await;
    sandbox.fault(FaultKind::InvalidSession { resumable: true });
    assert_eq!(client.until_op(9).await["d"], true);
    sandbox.fault(Fault::next(FaultKind::InvalidSession { resumable: false }).on([0]));
    let mut resumed = client.resumed(QUERY, client.seq).await;
    assert_eq!(resumed.next().await, json!({"t": null, "s": null, "op": 9, "d": false}));
    let mut again = client.resumed(QUERY, client.seq).await;
    assert_eq!(again.next().await["d"], false, "the session is gone for good");
}

#[tokio::test]
async fn only_the_selected_shards_are_struck() {
    let sandbox = sandbox(|_| {}).await;
    let mut first = Client::ready(&sandbox, 0, 2).await;
    let mut second = Client::ready(&sandbox, 1, 2).await;
    sandbox.fault(Fault::now(FaultKind::Close { code: 4000 }).on([1]));
    assert_eq!(second.end().await, Ended::Code(4000));
    first.send(json!({"op": 1, "d": null})).await;
    first.until_op(11).await;
}

#[tokio::test]
async fn silence_no_ack_half_open_and_recovery() {
    let sandbox = sandbox(|_| {}).await;
    let mut client = Client::ready(&sandbox, 0, 1).await;
    while client.seq < 9 {
        client.next().await;
    }
    for kind in [FaultKind::Silence, FaultKind::NoAck, FaultKind::HalfOpen] {
        sandbox.fault(kind.clone());
        client.send(json!({"op": 1, "d": null})).await;
        assert!(client.is_quiet(SHORT).await, "{kind:?}");
        sandbox.fault(FaultKind::Recover);
        client.send(json!({"op": 1, "d": null})).await;
        client.until_op(11).await;
        while !client.is_quiet(SHORT).await {}
    }
    sandbox.fault(FaultKind::NoAck);
    sandbox.set_rate(Rate::PerSecond(500.0));
    assert_eq!(client.next().await["op"], 0, "dispatches flow without acknowledgements");
}

#[tokio::test]
async fn corrupt_and_truncated_messages_are_made_good_by_a_resume() {
    for kind in [FaultKind::Corrupt, FaultKind::Truncate] {
        let sandbox = sandbox(|_| {}).await;
        let mut client = Client::ready(&sandbox, 0, 1).await;
        while client.seq < 9 {
            client.next().await;
        }
        sandbox.fault(kind);
        sandbox.set_rate(Rate::PerSecond(200.0));
        tokio::time::sleep(SHORT).await;
        let mut resumed = client.resumed(QUERY, client.seq).await;
        assert_eq!(resumed.next().await["s"], 10);
    }
}

#[tokio::test]
async fn a_drip_still_arrives() {
    let sandbox = sandbox(|_| {}).await;
    let mut client = Client::ready(&sandbox, 0, 1).await;
    while client.seq < 9 {
        client.next().await;
    }
    sandbox.fault(FaultKind::Drip { interval_us: 100 });
    client.send(json!({"op": 1, "d": null})).await;
    client.until_op(11).await;
}

#[tokio::test]
async fn lag_holds_one_total_back() {
    let sandbox = sandbox(|_| {}).await;
    let mut old = Client::ready(&sandbox, 0, 1).await;
    let mut new = Client::ready(&sandbox, 0, 2).await;
    while old.seq < 9 || new.seq < 5 {
        if old.seq < 9 {
            old.next().await
        } else {
            new.next().await
        };
    }
    sandbox.fault(FaultKind::Lag { ms: 400, total: Some(2) });
    sandbox.set_rate(Rate::PerSecond(200.0));
    old.next().await;
    assert!(new.is_quiet(SHORT).await);
    new.next().await;
}

#[tokio::test]
async fn ports_close_and_open_again() {
    let sandbox = sandbox(|_| {}).await;
    sandbox.fault(FaultKind::Refuse { ms: 300, resume_only: false });
    tokio::time::sleep(SHORT).await;
    assert!(connect_async(sandbox.gateway_url()).await.is_err());
    tokio::time::sleep(Duration::from_millis(250)).await;
    Client::ready(&sandbox, 0, 1).await;
}

#[tokio::test]
async fn upgrades_fail_and_hello_fails_to_come() {
    let sandbox = sandbox(|_| {}).await;
    sandbox.fault(FaultKind::UpgradeStatus { status: 503, times: 1 });
    assert!(connect_async(sandbox.gateway_url()).await.unwrap_err().to_string().contains("503"));
    sandbox.fault(FaultKind::NoHello { times: 1 });
    let mut mute = Client::connect_without_hello(sandbox.gateway_url(), QUERY).await;
    assert!(mute.is_quiet(SHORT).await);
    sandbox.fault(FaultKind::ReconnectForHello { times: 1 });
    let mut turned_away = Client::connect_without_hello(sandbox.gateway_url(), QUERY).await;
    assert_eq!(turned_away.next().await["op"], 7);
}

#[tokio::test]
async fn a_revoked_token_and_withdrawn_intents() {
    let sandbox = sandbox(|_| {}).await;
    let mut client = Client::ready(&sandbox, 0, 1).await;
    sandbox.fault(FaultKind::AllowIntents { mask: 0 });
    let mut refused = Client::connect(sandbox.gateway_url(), QUERY).await;
    refused.send(identify(0, 1, pilothouse_sandbox::intents::ALL)).await;
    assert_eq!(refused.end().await, Ended::Code(4014));
    sandbox.fault(FaultKind::RevokeToken);
    assert_eq!(client.end().await, Ended::Code(4004));
}
