//! Settings of a running agent: set, told, read anew.

use pilothouse_agent::config::Config;
use pilothouse_agent::gateway::kind::{EventKind, KindSet};
use pilothouse_tests::{AgentProcess, Control, free_address};
use tempfile::TempDir;

use crate::setup::{PATIENCE, config, sandbox_config, start, verdict};

const SHARDS: u32 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_is_in_force_at_once_and_the_file_is_read_anew_on_sighup() {
    let sandbox = start(sandbox_config(SHARDS, 100.0)).await;
    let data = TempDir::new().expect("a temporary folder");
    let mut config = Config { listen: free_address(), ..config(&sandbox, &data, SHARDS) };
    config.stages.drop = KindSet::of(&[EventKind::of(b"TYPING_START")]);
    let control = Control::of(&config);
    let agent = AgentProcess::start_quiet(&config);
    assert!(sandbox.connected(SHARDS as usize, PATIENCE).await, "{:?}", sandbox.status());
    control.shows(PATIENCE, |status| status.reporting == SHARDS).await;
    let file = data.path().join("pilothouse.toml");
    let told = control.done("get spool.drain_rate").await;
    assert!(told.starts_with("spool.drain_rate = 2000 (") && told.contains("pilothouse.toml:"), "{told}");
    let said = control.done("set spool.drain_rate 5000").await;
    assert!(said.starts_with("spool.drain_rate is 5000; to keep it, change") && said.contains(".toml:"), "{said}");
    assert!(control.done("get spool.drain_rate").await.contains("(set by local)"));
    control.done("log debug").await;
    control.done("stage drop on").await;
    let dropped =
        |status: &pilothouse_shared::snapshot::Overview| status.stages.iter().any(|row| row.name == "drop" && row.on);
    control.shows(PATIENCE, dropped).await;

    let text = std::fs::read_to_string(&file).expect("the agent was started with it");
    let text = text
        .replace("drain_rate = 2000", "drain_rate = 3000")
        .replace("[gateway]", "[gateway]\nmax_unconfirmed = 99\nlarge_threshold = 77");
    std::fs::write(&file, &text).expect("it is written");
    let hangup = || {
        let sent = std::process::Command::new("sh").args(["-c", "kill -HUP \"$0\"", &agent.id().to_string()]).status();
        assert!(sent.is_ok_and(|sent| sent.success()), "a running process takes signals");
    };
    hangup();
    let mut now = String::new();
    for _ in 0..200 {
        now = control.done("get gateway.max_unconfirmed").await;
        if now.contains("= 99") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(now.starts_with("gateway.max_unconfirmed = 99 (") && now.contains("pilothouse.toml:"), "{now}");
    assert!(control.done("get spool.drain_rate").await.contains("= 5000 (set by local)"), "what was set stays");
    assert!(control.done("get gateway.large_threshold").await.contains("= 50 "), "it takes a restart");

    std::fs::write(&file, text.replace("[gateway]", "[gateway]\nmax_unconfirmd = 1")).expect("it is written");
    hangup();
    assert!(control.done("get gateway.max_unconfirmed").await.contains("= 99"));
    let verdict = verdict(&sandbox).await;
    assert!(verdict.clean(), "{verdict:?}");
    assert!(agent.terminate());
}
