//! What cannot work ends with one clear message and the right exit code, and without a storm of retries.

use pilothouse_agent::config::{Config, Secret, ShardCount};
use pilothouse_sandbox::{FaultKind, Sandbox, SandboxConfig};
use pilothouse_tests::AgentProcess;
use tempfile::TempDir;

use crate::setup::{config, connected, sandbox, sandbox_config, start};

async fn run(sandbox: &Sandbox, change: impl FnOnce(&mut Config)) -> (Option<i32>, String) {
    let data = TempDir::new().expect("a temporary folder");
    let mut config = config(sandbox, &data, 4);
    change(&mut config);
    let agent = AgentProcess::start(&config);
    tokio::task::spawn_blocking(move || agent.ended()).await.expect("it ends")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_told_and_tried_once() {
    let sandbox = sandbox(4, 0.0).await;
    let (code, said) = run(&sandbox, |config| config.token = Secret::new("wrong")).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("TOKEN") && said.contains("401") && !said.contains("wrong"), "{said}");
    assert_eq!((sandbox.status().identifies, sandbox.invalid_requests()), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn rest_that_limits_requests_is_told_after_a_few() {
    let sandbox = sandbox(4, 0.0).await;
    sandbox.fault(FaultKind::RestStatus { status: 429, times: 1_000, retry_after: Some(1) });
    let (code, said) = run(&sandbox, |_| {}).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("429"), "{said}");
    assert_eq!(sandbox.invalid_requests(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_total_that_discord_does_not_take_from_a_large_bot_is_told_with_the_right_one() {
    let sandbox = start(SandboxConfig { shards: 32, shard_multiple: 16, ..sandbox_config(16, 0.0) }).await;
    let (code, said) = run(&sandbox, |config| config.shards = ShardCount::Count(4)).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("multiple of 16") && said.contains("PILOTHOUSE_SHARDS to 16"), "{said}");
    let data = TempDir::new().expect("a temporary folder");
    let mut config = config(&sandbox, &data, 1);
    config.shards = ShardCount::Auto;
    let agent = connected(&sandbox, config, 32).await;
    agent.stop().await.expect("it ends well");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_dies_before_the_first_identify_is_told_and_tried_once_by_each_bucket() {
    let sandbox = sandbox(4, 0.0).await;
    sandbox.fault(FaultKind::RevokeToken);
    let (code, said) = run(&sandbox, |_| {}).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("TOKEN"), "{said}");
    assert!(sandbox.status().identifies <= 4, "{:?}", sandbox.status());
}

#[tokio::test(flavor = "multi_thread")]
async fn disallowed_intents_are_named() {
    let sandbox = sandbox(4, 0.0).await;
    sandbox.fault(FaultKind::AllowIntents { mask: 0 });
    let data = TempDir::new().expect("a temporary folder");
    let mut config = config(&sandbox, &data, 4);
    config.intents |= 1 << 1;
    let failure = pilothouse_tests::Agent::start(config).ended().await.expect_err("refused");
    assert!(failure.to_string().contains("4014") && failure.to_string().contains("PILOTHOUSE_INTENTS"), "{failure}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rest_that_cannot_be_reached_is_named() {
    let sandbox = sandbox(4, 0.0).await;
    let nowhere = format!("http://{}", pilothouse_tests::free_address());
    let (code, said) = run(&sandbox, |config| config.rest_url = nowhere.clone()).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("REST_URL") && said.contains(&nowhere), "{said}");
}

#[test]
fn a_wrong_value_is_a_matter_of_configuration() {
    let run = std::process::Command::new(pilothouse_tests::program("pilothouse-agent"))
        .arg("run")
        .env_clear()
        .env("TOKEN", "t")
        .env("PILOTHOUSE_SHARDS", "many")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(2), "{said}");
    assert!(said.contains("PILOTHOUSE_SHARDS") && said.contains("many") && said.contains("auto"), "{said}");
    let run = std::process::Command::new(pilothouse_tests::program("pilothouse-agent")).arg("run").env_clear().output();
    let run = run.expect("it runs");
    assert_eq!(run.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&run.stderr).contains("TOKEN"));
}
