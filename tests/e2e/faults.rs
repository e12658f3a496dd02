//! Faults of the connection and of Discord, each under load: what can be replayed is not lost, and no rule is broken.

use std::time::Duration;

use pilothouse_sandbox::{Fault, FaultKind};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::setup::{PATIENCE, config, connected, sandbox, verdict};

const SHARDS: u32 = 8;

/// Faults after which the session goes on.
const RESUMABLE: [FaultKind; 19] = [
    FaultKind::Reconnect,
    FaultKind::InvalidSession { resumable: true },
    FaultKind::Drop,
    FaultKind::Reset,
    FaultKind::Beat,
    FaultKind::Silence,
    FaultKind::NoAck,
    FaultKind::HalfOpen,
    FaultKind::Corrupt,
    FaultKind::Truncate,
    FaultKind::Close { code: 1000 },
    FaultKind::Close { code: 1001 },
    FaultKind::Close { code: 4000 },
    FaultKind::Close { code: 4001 },
    FaultKind::Close { code: 4002 },
    FaultKind::Close { code: 4005 },
    FaultKind::Close { code: 4008 },
    FaultKind::Close { code: 4900 },
    FaultKind::Lag { ms: 300, total: None },
];

/// Faults after which only a new session helps.
const FINAL: [FaultKind; 5] = [
    FaultKind::InvalidSession { resumable: false },
    FaultKind::Close { code: 4003 },
    FaultKind::Close { code: 4007 },
    FaultKind::Close { code: 4009 },
    FaultKind::Forget,
];

#[tokio::test(flavor = "multi_thread")]
async fn after_a_resumable_fault_everything_is_replayed_and_no_identify_is_spent() {
    let sandbox = sandbox(SHARDS, 800.0).await;
    let data = TempDir::new().expect("a temporary folder");
    let agent = connected(&sandbox, config(&sandbox, &data, SHARDS), SHARDS as usize).await;
    let identifies = sandbox.status().identifies;
    for (index, kind) in RESUMABLE.into_iter().enumerate() {
        let struck = index as u32 % SHARDS;
        sandbox.fault(Fault::now(kind.clone()).on([struck, (struck + 3) % SHARDS]));
        // Missing acknowledgements show at the second heartbeat.
        sleep(Duration::from_millis(if matches!(kind, FaultKind::Silence | FaultKind::NoAck | FaultKind::HalfOpen) {
            4_000
        } else {
            400
        }))
        .await;
        assert!(sandbox.connected(SHARDS as usize, PATIENCE).await, "{kind:?}: {:?}", sandbox.status());
    }
    let verdict = verdict(&sandbox).await;
    assert!(verdict.clean(), "{verdict:?}");
    assert_eq!(verdict.unreplayable.total(), 0, "{verdict:?}");
    assert_eq!(sandbox.status().identifies, identifies, "a resumable session was given up");
    agent.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_away_costs_no_session() {
    for kind in [
        FaultKind::Refuse { ms: 3_000, resume_only: false },
        FaultKind::Refuse { ms: 6_000, resume_only: true },
        FaultKind::UpgradeStatus { status: 503, times: 16 },
        FaultKind::ReconnectForHello { times: 8 },
    ] {
        let sandbox = sandbox(SHARDS, 400.0).await;
        let data = TempDir::new().expect("a temporary folder");
        let agent = connected(&sandbox, config(&sandbox, &data, SHARDS), SHARDS as usize).await;
        let identifies = sandbox.status().identifies;
        sandbox.fault(kind.clone());
        sandbox.fault(FaultKind::Reset);
        sleep(Duration::from_millis(500)).await;
        assert!(sandbox.connected(SHARDS as usize, PATIENCE).await, "{kind:?}: {:?}", sandbox.status());
        let verdict = verdict(&sandbox).await;
        assert!(verdict.clean() && verdict.unreplayable.total() == 0, "{kind:?}: {verdict:?}");
        assert_eq!(sandbox.status().identifies, identifies, "{kind:?}");
        agent.stop().await.expect("a clean end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_final_fault_shards_identify_anew_within_the_rules() {
    let sandbox = sandbox(SHARDS, 400.0).await;
    let data = TempDir::new().expect("a temporary folder");
    let agent = connected(&sandbox, config(&sandbox, &data, SHARDS), SHARDS as usize).await;
    for kind in FINAL {
        sandbox.fault(kind.clone());
        sleep(Duration::from_millis(300)).await;
        assert!(sandbox.connected(SHARDS as usize, PATIENCE).await, "{kind:?}: {:?}", sandbox.status());
    }
    let verdict = verdict(&sandbox).await;
    assert!(verdict.clean(), "{verdict:?}");
    agent.stop().await.expect("a clean end");
}
