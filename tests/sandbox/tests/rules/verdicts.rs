//! The verdict counts what happened, and "lost" is a check that can fail.

use std::time::Duration;

use pilothouse_sandbox::{BotMode, Fault, FaultKind, Rate, Sandbox};

use crate::client::{Client, http, sandbox};

const QUERY: &str = "v=10&encoding=json";
const PATIENCE: Duration = Duration::from_secs(10);

/// Reads `count` events, delivers each but those that `skip` names, and returns how many were skipped.
async fn deliver(sandbox: &Sandbox, client: &mut Client, count: usize, skip: impl Fn(u64) -> bool) -> u64 {
    let (mut seen, mut skipped) = (0, 0);
    while seen < count {
        let event = client.next().await;
        let Some(id) = event["d"]["_pilothouse"]["id"].as_u64() else { continue };
        seen += 1;
        if skip(id) { skipped += 1 } else { sandbox.received(event.to_string().as_bytes()) }
    }
    skipped
}

/// Delivers whatever still comes until everything sent has arrived.
async fn drain(sandbox: &Sandbox, client: &mut Client) {
    while sandbox.status().outstanding > 0 {
        let event = client.next().await;
        sandbox.received(event.to_string().as_bytes());
    }
}

#[tokio::test]
async fn a_faithful_client_has_a_clean_verdict_over_a_reset() {
    let sandbox = sandbox(|config| config.rate = Rate::PerSecond(2000.0)).await;
    let mut client = Client::ready(&sandbox, 0, 1).await;
    deliver(&sandbox, &mut client, 200, |_| false).await;
    sandbox.fault(FaultKind::Reset);
    client.end().await;
    let mut resumed = client.resumed(QUERY, client.seq).await;
    deliver(&sandbox, &mut resumed, 200, |_| false).await;
    sandbox.stop_traffic();
    drain(&sandbox, &mut resumed).await;
    assert!(sandbox.settle(PATIENCE).await);
    let verdict = sandbox.verdict();
    assert!(verdict.clean(), "{verdict:?}");
    assert!(verdict.sent >= 400 && verdict.received == verdict.sent);
    assert_eq!(verdict.unreplayable.total(), 0);
}

#[tokio::test]
async fn events_a_client_drops_are_lost_even_if_its_session_is_invalidated_later() {
    let sandbox = sandbox(|config| config.rate = Rate::PerSecond(2000.0)).await;
    let mut client = Client::ready(&sandbox, 0, 1).await;
    let skipped = deliver(&sandbox, &mut client, 100, |id| id % 10 == 0).await;
    sandbox.stop_traffic();
    while !client.is_quiet(Duration::from_millis(100)).await {}
    let unread = sandbox.verdict().lost - skipped;
    sandbox.fault(FaultKind::InvalidSession { resumable: false });
    client.until_op(9).await;
    let verdict = sandbox.verdict();
    assert_eq!(verdict.lost, skipped + unread, "written before op 9 on a live connection is not excused");
    assert_eq!(verdict.unreplayable.total(), 0);
    assert!(!verdict.clean());
    assert_eq!(sandbox.missing(1), [10]);
}

#[tokio::test]
async fn what_a_refused_resume_lacked_is_unreplayable() {
    let sandbox = sandbox(|config| config.rate = Rate::PerSecond(1000.0)).await;
    let mut client = Client::ready(&sandbox, 0, 1).await;
    deliver(&sandbox, &mut client, 50, |_| false).await;
    sandbox.fault(Fault::next(FaultKind::InvalidSession { resumable: false }));
    sandbox.fault(FaultKind::Reset);
    while tokio::time::timeout(Duration::from_millis(1), client.end()).await.is_err() {}
    assert!(sandbox.sent(150, PATIENCE).await);
    sandbox.stop_traffic();
    let mut refused = client.resumed(QUERY, client.seq).await;
    refused.until_op(9).await;
    let verdict = sandbox.verdict();
    assert_eq!(verdict.lost, 0, "{verdict:?}");
    assert_eq!(verdict.unreplayable.invalidated, verdict.sent - 50);
}

#[tokio::test]
async fn a_session_given_up_excuses_nothing() {
    let sandbox = sandbox(|config| {
        config.rate = Rate::PerSecond(1000.0);
        config.resume_window = Duration::from_millis(300);
    })
    .await;
    let mut client = Client::ready(&sandbox, 0, 1).await;
    deliver(&sandbox, &mut client, 20, |_| false).await;
    sandbox.fault(FaultKind::Drop);
    client.end().await;
    assert!(sandbox.sent(100, PATIENCE).await);
    sandbox.stop_traffic();
    let anew = Client::ready(&sandbox, 0, 1).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let verdict = sandbox.verdict();
    assert_eq!((sandbox.status().given_up, verdict.unreplayable.total()), (1, 0));
    assert_eq!(verdict.lost, verdict.sent - 20);
    drop(anew);
}

#[tokio::test]
async fn overflow_and_expiry_are_told_apart() {
    let sandbox = sandbox(|config| {
        config.rate = Rate::PerSecond(2000.0);
        config.replay_bound = 50;
        config.resume_window = Duration::from_millis(400);
    })
    .await;
    let mut client = Client::ready(&sandbox, 0, 1).await;
    sandbox.fault(FaultKind::Drop);
    client.end().await;
    assert!(sandbox.sent(200, PATIENCE).await);
    let mut refused = client.resumed(QUERY, client.seq).await;
    refused.until_op(9).await;
    let overflowed = sandbox.verdict().unreplayable.overflowed;
    assert!(overflowed >= 200);
    drop(refused);
    let mut second = Client::ready(&sandbox, 0, 1).await;
    sandbox.fault(FaultKind::Drop);
    second.end().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    sandbox.stop_traffic();
    assert!(sandbox.settle(PATIENCE).await, "expiry excuses what is left");
    assert!(sandbox.verdict().unreplayable.expired > 0);
}

#[tokio::test]
async fn the_bot_endpoint_takes_posts_and_misbehaves() {
    let sandbox = sandbox(|config| {
        config.rate = Rate::PerSecond(1000.0);
        config.bot_authorization = Some("secret".to_owned());
    })
    .await;
    let mut client = Client::ready(&sandbox, 0, 1).await;
    let event = loop {
        let event = client.next().await;
        if event["d"]["_pilothouse"].is_object() {
            break event;
        }
    };
    let body = serde_json::json!({"payload": event, "shardId": 0}).to_string();
    let post = async |authorization| http("POST", sandbox.bot_url(), authorization, &body).await;
    assert_eq!(post("wrong").await.unwrap().0, 401);
    sandbox.bot(BotMode::Status { status: 429, retry_after: Some(1) });
    assert_eq!(post("secret").await.unwrap().0, 429);
    assert_eq!(sandbox.verdict().received, 0);
    sandbox.bot(BotMode::Up);
    assert_eq!(post("secret").await.unwrap().0, 204);
    sandbox.bot(BotMode::Down);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(post("secret").await.is_err());
    sandbox.bot(BotMode::TakeAndCut);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(post("secret").await.is_err());
    let verdict = sandbox.verdict();
    assert_eq!((verdict.received, verdict.doubled >= 1), (1, true));
}
