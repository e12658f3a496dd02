//! wss:// with an authority of the sandbox's own: as sound as without TLS, and refused in words where it is not trusted.

use std::path::PathBuf;
use std::time::Duration;

use pilothouse_agent::config::{Authorities, Config};
use pilothouse_sandbox::{Fault, FaultKind, Sandbox, SandboxConfig};
use pilothouse_tests::AgentProcess;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::setup::{PATIENCE, config, connected, sandbox_config, start, verdict};

const SHARDS: u32 = 8;

/// A sandbox that speaks TLS, and a data folder with its authority's certificate.
async fn sandbox(change: impl FnOnce(&mut SandboxConfig)) -> (Sandbox, TempDir) {
    let mut config = SandboxConfig { tls: true, ..sandbox_config(SHARDS, 800.0) };
    change(&mut config);
    let sandbox = start(config).await;
    assert!(sandbox.gateway_url().starts_with("wss://") && sandbox.resume_url().starts_with("wss://"));
    let data = TempDir::new().expect("a temporary folder");
    std::fs::write(ca_file(&data), sandbox.ca_pem().expect("it speaks TLS")).expect("the folder is there");
    (sandbox, data)
}

fn ca_file(data: &TempDir) -> PathBuf {
    data.path().join("ca.pem")
}

fn trusting(sandbox: &Sandbox, data: &TempDir) -> Config {
    let mut config = config(sandbox, data, SHARDS);
    config.gateway.ca_file = Some(Authorities::read(ca_file(data)).expect("a certificate"));
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn resets_and_planned_restarts_cost_no_event_and_no_identify() {
    let (sandbox, data) = sandbox(|config| config.strict = true).await;
    let config = trusting(&sandbox, &data);
    let mut agent = connected(&sandbox, config.clone(), SHARDS as usize).await;
    for _ in 0..2 {
        sleep(Duration::from_millis(700)).await;
        sandbox.fault(Fault::now(FaultKind::Reset).on([1, 2, 5]));
        sleep(Duration::from_millis(700)).await;
        assert!(sandbox.connected(SHARDS as usize, PATIENCE).await, "{:?}", sandbox.status());
        agent.stop().await.expect("a clean end");
        agent = connected(&sandbox, config.clone(), SHARDS as usize).await;
    }
    sleep(Duration::from_millis(500)).await;
    let verdict = verdict(&sandbox).await;
    assert!(verdict.clean() && verdict.received > 1_000, "{verdict:?}");
    assert_eq!(verdict.unreplayable.total(), 0);
    let status = sandbox.status();
    assert_eq!(status.identifies, u64::from(SHARDS), "a session was given up");
    assert!(status.resumes >= u64::from(2 * (3 + SHARDS)), "{status:?}");
    agent.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_below_and_above_tls_lose_nothing() {
    let (sandbox, data) = sandbox(|_| {}).await;
    let agent = connected(&sandbox, trusting(&sandbox, &data), SHARDS as usize).await;
    let kinds = [
        FaultKind::Drop,
        FaultKind::HalfOpen,
        FaultKind::Silence,
        FaultKind::Corrupt,
        FaultKind::Truncate,
        FaultKind::Reconnect,
        FaultKind::Close { code: 4000 },
        // 1,000 bytes a second of the ciphertext: every record arrives in pieces.
        FaultKind::Drip { interval_us: 1_000 },
        FaultKind::Recover,
    ];
    for (index, kind) in kinds.into_iter().enumerate() {
        let struck = index as u32 % SHARDS;
        let shards = if kind == FaultKind::Recover { vec![7, 2] } else { vec![struck, (struck + 3) % SHARDS] };
        sandbox.fault(Fault::now(kind.clone()).on(shards));
        // A half-open or silent connection shows at the second heartbeat.
        let slow = matches!(kind, FaultKind::HalfOpen | FaultKind::Silence);
        sleep(Duration::from_millis(if slow { 4_000 } else { 600 })).await;
        assert!(sandbox.connected(SHARDS as usize, PATIENCE).await, "{kind:?}: {:?}", sandbox.status());
    }
    let verdict = verdict(&sandbox).await;
    assert!(verdict.clean() && verdict.unreplayable.total() == 0, "{verdict:?}");
    assert_eq!(sandbox.status().identifies, u64::from(SHARDS), "a session was given up");
    agent.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_resumes_over_tls_after_kill_9() {
    let (sandbox, data) = sandbox(|config| config.strict = true).await;
    let config = trusting(&sandbox, &data);
    for _ in 0..3 {
        let agent = AgentProcess::start(&config);
        assert!(sandbox.connected(SHARDS as usize, PATIENCE).await, "{:?}", sandbox.status());
        sleep(Duration::from_millis(1_200)).await;
        agent.kill();
    }
    let agent = AgentProcess::start(&config);
    assert!(sandbox.connected(SHARDS as usize, PATIENCE).await, "{:?}", sandbox.status());
    let verdict = verdict(&sandbox).await;
    assert_eq!((verdict.lost, verdict.unreplayable.total(), verdict.unknown), (0, 0, 0), "{verdict:?}");
    assert_eq!(sandbox.status().identifies, u64::from(SHARDS), "a session was given up");
    agent.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_trusted_is_named_and_tried_ever_more_rarely() {
    let (sandbox, data) = sandbox(|_| {}).await;
    let listen = pilothouse_tests::free_address();
    let config = Config { listen, ..config(&sandbox, &data, SHARDS) };
    let agent = AgentProcess::start(&config);
    sleep(Duration::from_secs(4)).await;
    let files = agent.open_files();
    sleep(Duration::from_secs(6)).await;
    let explained = explain(&config).await;
    let reason = "no connection: the certificate of 127.0.0.1 is not trusted: its authority is unknown; \
                  if it is your own proxy, name its authority in gateway.ca_file";
    assert!(explained.contains(reason), "{explained}");
    let status = sandbox.status();
    assert_eq!((status.connections, status.connected, status.identifies), (0, 0, 0), "{status:?}");
    // Waits of 1, 2, 4, 8 seconds at most, half of that in the middle: five attempts are usual.
    let attempts = status.accepted;
    assert!((u64::from(SHARDS) * 2..u64::from(SHARDS) * 9).contains(&attempts), "{attempts} attempts");
    let later = agent.open_files();
    assert!(later <= files + SHARDS as usize, "{files} files were open, now {later}");
    agent.kill();
}

/// What the agent tells about shard 0.
async fn explain(config: &Config) -> String {
    let token = std::fs::read_to_string(config.data_dir.join("console.token")).expect("the agent wrote its token");
    let request = reqwest::Client::new()
        .post(format!("http://{}/v1/commands", config.listen))
        .bearer_auth(token.trim())
        .body(json!({"line": "explain 0"}).to_string());
    let answer = request.send().await.expect("the agent answers").text().await.expect("a body");
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    answer["text"].as_str().expect("a text").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_certificates_is_a_matter_of_configuration() {
    let (sandbox, data) = sandbox(|_| {}).await;
    let config = trusting(&sandbox, &data);
    for (content, reason) in [(Some(""), "holds no certificate"), (None, "No such file")] {
        match content {
            Some(content) => std::fs::write(ca_file(&data), content).expect("the folder is there"),
            None => std::fs::remove_file(ca_file(&data)).expect("the file is there"),
        }
        let agent = AgentProcess::start(&config);
        let (code, said) = tokio::task::spawn_blocking(move || agent.ended()).await.expect("it ends");
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("ca.pem") && said.contains("gateway.ca_file") && said.contains(reason), "{said}");
    }
    assert_eq!(sandbox.status().accepted, 0);
}
