//! What operators order of sinks and dead letters, from the control surface to what the bot gets.

use std::time::Duration;

use pilothouse_agent::config::Config;
use pilothouse_sandbox::{BotMode, Rate, Sandbox};
use pilothouse_shared::snapshot::SinkRow;
use pilothouse_tests::{Agent, Control, eventually, free_address};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::setup::{PATIENCE, config, connected, sandbox, verdict};

const SHARDS: u32 = 4;

/// A sandbox, an agent on it, and a way to command it.
struct Rig {
    sandbox: Sandbox,
    agent: Agent,
    control: Control,
    _data: TempDir,
}

impl Rig {
    async fn new(change: impl FnOnce(&mut Config)) -> Self {
        let sandbox = sandbox(SHARDS, 400.0).await;
        let data = TempDir::new().expect("a temporary folder");
        let mut config = Config { listen: free_address(), ..config(&sandbox, &data, SHARDS) };
        change(&mut config);
        let control = Control::of(&config);
        let agent = connected(&sandbox, config, SHARDS as usize).await;
        Self { sandbox, agent, control, _data: data }
    }

    fn received(&self) -> u64 {
        self.sandbox.verdict().received
    }

    async fn end(self) {
        self.agent.stop().await.expect("a clean end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_sink_spools_and_a_resumed_one_delivers_it() {
    let rig = Rig::new(|_| {}).await;
    sleep(Duration::from_millis(500)).await;
    rig.control.done("sink http pause").await;
    rig.control.sink("http", PATIENCE, |row| row.state == "paused by an operator" && row.spooled > 300).await;
    let before = rig.received();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.received(), before, "nothing is delivered");
    rig.control.done("sink http resume").await;
    rig.control.sink("http", PATIENCE, |row| row.state == "delivering").await;
    let verdict = verdict(&rig.sandbox).await;
    assert!(verdict.clean(), "{verdict:?}");
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_delivers_a_backlog_faster_than_its_pace() {
    let rig = Rig::new(|config| config.spool.drain_rate = 1).await;
    rig.sandbox.bot(BotMode::Down);
    rig.control.sink("http", PATIENCE, |row| row.spooled > 800).await;
    rig.sandbox.stop_traffic();
    rig.sandbox.bot(BotMode::Up);
    sleep(Duration::from_secs(2)).await;
    let slow = rig.sandbox.status().outstanding;
    assert!(slow > 300, "only {slow} are left at one a second");
    rig.control.done("sink http drain").await;
    let verdict = verdict(&rig.sandbox).await;
    assert!(verdict.clean(), "{verdict:?}");
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn purge_throws_the_backlog_away_and_counts_it() {
    let rig = Rig::new(|_| {}).await;
    sleep(Duration::from_millis(500)).await;
    rig.control.done("sink http pause").await;
    rig.control.sink("http", PATIENCE, |row| row.spooled > 400).await;
    rig.sandbox.stop_traffic();
    // All of it is in the spool once nothing is in memory.
    rig.control.sink("http", PATIENCE, |row| row.queued == 0).await;
    rig.control.done("sink http purge").await;
    let row = rig.control.sink("http", PATIENCE, |row| row.purged > 0 && row.spooled == 0).await;
    rig.control.done("sink http resume").await;
    let before = rig.sandbox.verdict();
    rig.sandbox.set_rate(Rate::PerSecond(400.0));
    eventually("later events", PATIENCE, || rig.received() > before.received + 200).await;
    rig.sandbox.stop_traffic();
    eventually("the last events", PATIENCE, || rig.sandbox.status().outstanding == before.lost).await;
    let verdict = rig.sandbox.verdict();
    assert_eq!((verdict.lost, verdict.doubled, verdict.out_of_order), (row.purged, 0, 0), "{verdict:?}");
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_told_and_delivered_again() {
    let rig = Rig::new(|_| {}).await;
    sleep(Duration::from_millis(500)).await;
    rig.sandbox.bot(BotMode::Status { status: 400, retry_after: None });
    rig.control.sink("http", PATIENCE, |row| row.letters > 200).await;
    rig.sandbox.bot(BotMode::Up);
    rig.sandbox.stop_traffic();
    // Nothing but dead letters is missing.
    let settled = |row: &SinkRow| row.queued == 0 && row.letters == rig.sandbox.status().outstanding;
    let row = rig.control.sink("http", PATIENCE, settled).await;
    let overview = rig.control.status().await.expect("it answers");
    let told = overview.findings.iter().any(|finding| finding.text.contains("were refused by http for good"));
    assert!(told, "{:?}", overview.findings);
    let told = rig.control.done("dead http list").await;
    assert!(told.starts_with(&format!("http has {} dead letters", row.letters)), "{told}");
    assert!(told.contains("400"), "{told}");
    let told = rig.control.done("dead http resend").await;
    assert!(told.starts_with(&format!("{} dead letters of http are delivered again", row.letters)), "{told}");
    let verdict = verdict(&rig.sandbox).await;
    assert_eq!((verdict.lost, verdict.doubled, verdict.unknown), (0, 0, 0), "{verdict:?}");
    assert_eq!(rig.control.done("dead http list").await, "http has no dead letters");
    rig.end().await;
}
