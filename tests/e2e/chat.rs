//! Commands by chat: an owner's message in the developer guild is answered through REST, and nobody else's.

use std::time::{Duration, Instant};

use pilothouse_agent::config::{ChatConfig, Config};
use pilothouse_sandbox::{Fault, FaultKind, Sandbox};
use pilothouse_tests::{Agent, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::setup::{PATIENCE, config, connected, sandbox, verdict};

const SHARDS: u32 = 2;
const OWNER: u64 = 77;
/// GUILDS, GUILD_MESSAGES, MESSAGE_CONTENT.
const INTENTS: u64 = 1 << 0 | 1 << 9 | 1 << 15;
const GUILD: u32 = 3;

struct Rig {
    sandbox: Sandbox,
    agent: Agent,
    messages: u64,
    _data: TempDir,
}

impl Rig {
    async fn new() -> Self {
        let sandbox = sandbox(SHARDS, 100.0).await;
        let data = TempDir::new().expect("a temporary folder");
        let chat = ChatConfig { guild: Some(sandbox.guild_id(GUILD)), owners: vec![OWNER], prefix: "ph!".into() };
        // A secret that shows up where it should not: in what the agent tells of itself.
        let name = "sandbox-token".to_owned();
        let config = Config { intents: INTENTS, chat, name, ..config(&sandbox, &data, SHARDS) };
        let agent = connected(&sandbox, config, SHARDS as usize).await;
        Self { sandbox, agent, messages: 0, _data: data }
    }

    /// Somebody writes; only `change` tells it from an owner's message in the developer guild.
    fn write(&mut self, guild: u32, content: &str, change: impl FnOnce(&mut Value)) {
        self.messages += 1;
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("it is later").as_millis() as u64;
        let id = ((now - 1_420_070_400_000) << 22) + self.messages;
        let mut data = json!({
            "id": id.to_string(), "channel_id": "55", "guild_id": self.sandbox.guild_id(guild).to_string(),
            "content": content, "author": {"id": OWNER.to_string(), "username": "helm"}, "mentions": [],
        });
        change(&mut data);
        self.sandbox.dispatch(guild, "MESSAGE_CREATE", data.to_string());
    }

    fn posted(&self) -> Vec<Value> {
        let messages = self.sandbox.status().messages;
        messages.iter().map(|message| serde_json::from_str(message).expect("JSON")).collect()
    }

    /// What the next answer says.
    async fn ask(&mut self, line: &str) -> String {
        let before = self.posted().len();
        self.write(GUILD, &format!("ph!{line}"), |_| {});
        eventually(line, PATIENCE, || self.posted().len() > before).await;
        let posted = self.posted();
        assert_eq!(posted.len(), before + 1);
        assert_eq!(posted[before]["channel_id"], "55");
        assert_eq!(posted[before]["allowed_mentions"]["parse"], json!([]));
        posted[before]["content"].as_str().expect("a text").to_owned()
    }

    /// Waits for the first snapshot with every shard.
    async fn sampled(&mut self) {
        let start = Instant::now();
        while !self.ask("eval shards.len()").await.contains("\n2\n") {
            assert!(start.elapsed() < PATIENCE, "the shards are not seen");
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn end(self) {
        let verdict = verdict(&self.sandbox).await;
        assert!(verdict.clean(), "{verdict:?}");
        self.agent.stop().await.expect("a clean end");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_is_answered_and_nobody_else() {
    let mut rig = Rig::new().await;
    assert_eq!(rig.ask("eval 6 * 7").await, "```\n42\n```");
    rig.write(GUILD, "ph!eval 1", |message| message["author"]["id"] = json!("78"));
    rig.write(GUILD, "ph!eval 1", |message| message["author"]["bot"] = json!(true));
    rig.write(GUILD, "ph!eval 1", |message| message["webhook_id"] = json!("9"));
    rig.write(GUILD + 1, "ph!eval 1", |_| {});
    rig.write(GUILD, "eval 1", |_| {});
    assert!(rig.ask("eval `${`").await.contains("line 1"));
    sleep(Duration::from_millis(300)).await;
    assert_eq!(rig.posted().len(), 2, "{:?}", rig.posted());
    assert_eq!(rig.ask("eval ```rhai\n40 + 2\n```").await, "```\n42\n```");
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_masked_cut_and_posted_again() {
    let mut rig = Rig::new().await;
    rig.sampled().await;
    let agents = rig.ask("eval shards[0].agent").await;
    assert_eq!(agents, "```\n[secret]\n```");
    let long = rig.ask("eval let s = \"\"; s.pad(9000, \"y\"); s").await;
    assert!(long.chars().count() <= 2_000 && long.contains("… cut here, 9000 letters in all"), "{long}");
    // More than the channel takes at once.
    for number in 0..6 {
        assert_eq!(rig.ask(&format!("eval {number}")).await, format!("```\n{number}\n```"));
    }
    rig.sandbox.fault(Fault::from(FaultKind::RestStatus { status: 429, times: 2, retry_after: Some(0) }));
    let plan = rig.ask("eval shards[1].restart()").await;
    assert!(plan.contains("restart 1: closes the connections and resumes"), "{plan}");
    let (_, apply) = plan.split_once("`apply ").or_else(|| plan.split_once("apply ")).expect("it says how to go on");
    let id: String = apply.chars().take_while(char::is_ascii_hexdigit).collect();
    assert!(rig.ask(&format!("apply {id}")).await.contains("restarting shard 1"));
    assert!(rig.ask("apply 0123").await.contains("no plan"));
    rig.end().await;
}
