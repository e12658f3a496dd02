//! The clients of `assets/clients/`, written from the protocol's document alone, against a real agent.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use pilothouse_agent::config::Config;
use pilothouse_agent::gateway::kind::{EventKind, KindSet};
use pilothouse_tests::brokers::tool;
use pilothouse_tests::{Control, free_address};
use tempfile::TempDir;

use crate::setup::{PATIENCE, config, connected, sandbox_config, start};

const SHARDS: u32 = 4;

/// Python, where it has the package that the client needs.
fn python() -> Option<PathBuf> {
    let has_websockets = |python: &PathBuf| {
        let mut command = Command::new(python);
        let status = command.args(["-c", "import websockets.sync.client"]).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    tool("python3").ok().filter(has_websockets)
}

/// The types of the events that it has shown.
fn kinds(said: &str) -> BTreeSet<String> {
    said.lines().filter_map(|line| line.strip_prefix("event: ")?.split(' ').next()).map(str::to_owned).collect()
}

async fn output(mut command: Command) -> Output {
    let run = move || command.output().expect("it runs");
    tokio::task::spawn_blocking(run).await.expect("it ends")
}

#[tokio::test(flavor = "multi_thread")]
async fn pythons_console_follows_an_agent() {
    let Some(python) = python() else {
        return eprintln!(
            "SKIPPED: the console client for Python: websockets is not installed: tests/run says how it is"
        );
    };
    let sandbox = start(sandbox_config(SHARDS, 200.0)).await;
    let data = TempDir::new().expect("a temporary folder");
    let listen = free_address();
    let intents = pilothouse_sandbox::intents::ALL;
    let mut config = Config { listen, intents, ..config(&sandbox, &data, SHARDS) };
    config.stages.drop = KindSet::of(&[EventKind::of(b"TYPING_START")]);
    let control = Control::of(&config);
    let agent = connected(&sandbox, config, SHARDS as usize).await;
    control.shows(PATIENCE, |seen| seen.agents.iter().any(|agent| agent.active == SHARDS)).await;
    let token = std::fs::read_to_string(data.path().join("console.token")).expect("the agent wrote its token");
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/clients/python/console.py");
    let run = |token: &str, url: String| {
        let mut command = Command::new(&python);
        command.arg(&client).arg(url).args(["MESSAGE_CREATE", "TYPING_START"]);
        command.env("PILOTHOUSE_CONSOLE_TOKEN", token).env("SECONDS", "4").env("DO", "restart 0-1");
        output(command)
    };

    let told = run(token.trim(), format!("ws://{listen}")).await;
    let (said, wrong) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert!(told.status.success() && wrong.is_empty(), "{said}{wrong}");
    for line in [
        "hello: ",
        "done: 4 shards",
        "map: 4 active",
        "overview: ",
        "busiest: shard ",
        "event: MESSAGE_CREATE shard ",
        "plan: restart 0-1: closes the connections and resumes the sessions; nothing is lost; 2 shards, 0 identifies",
        "done: restarting 2 shards",
    ] {
        assert!(said.lines().any(|found| found.starts_with(line)), "{line:?} is missing: {said}");
    }
    assert!(said.contains("protocol 2, role admin") && !said.contains("away: "), "{said}");
    assert_eq!(kinds(&said), ["MESSAGE_CREATE", "TYPING_START"].map(str::to_owned).into());
    let sampled = said.lines().rev().find_map(|line| line.strip_prefix("tail: ")).expect("a count").to_owned();
    println!("Python's console: {sampled}");

    control.done("stage drop on").await;
    let told = run(token.trim(), format!("ws://{listen}")).await;
    let said = String::from_utf8_lossy(&told.stdout);
    assert_eq!(kinds(&said), ["MESSAGE_CREATE".to_owned()].into(), "events are seen behind the stages: {said}");

    let refused = run("wrong", format!("ws://{listen}")).await;
    assert!(!refused.status.success());
    assert_eq!(String::from_utf8_lossy(&refused.stderr), "refused: the agent answered 401\n");

    assert_eq!(sandbox.verdict().violations, 0, "{:?}", sandbox.status().violations);
    agent.stop().await.expect("a clean end");
}
