//! The stages, from what Discord sends to what the bot gets: guilds that come and go at any time, also while the agent
//! is away or dies, and messages of every sort.

use std::time::{Duration, Instant};

use pilothouse_agent::config::{Config, StagesConfig};
use pilothouse_agent::gateway::kind::{EventKind, KindSet};
use pilothouse_sandbox::{BotMode, Fault, FaultKind, Sandbox, SandboxConfig};
use pilothouse_shared::stage::StageName;
use pilothouse_tests::{Agent, AgentProcess, free_address};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::setup::{PATIENCE, config, connected, sandbox_config, start};

const SHARDS: u32 = 2;
const GUILDS: u32 = SHARDS * 10;
/// Long enough for a confirmed sequence to be stored, on a busy machine too.
const STORED: Duration = Duration::from_millis(1_500);
/// Long enough for every worker to have heard of a switch.
const SWITCHED: Duration = Duration::from_millis(300);
/// The bot's user in the sandbox.
const BOT: &str = "1000000000000000001";

/// A quiet sandbox in strict mode, a configuration with stages, and what the bot took so far.
struct Rig {
    sandbox: Sandbox,
    config: Config,
    taken: Vec<Value>,
    data: TempDir,
}

impl Rig {
    async fn new(stages: StagesConfig) -> Self {
        let sandbox = start(SandboxConfig { strict: true, ..sandbox_config(SHARDS, 0.0) }).await;
        let data = TempDir::new().expect("a temporary folder");
        let config = Config { stages, listen: free_address(), ..config(&sandbox, &data, SHARDS) };
        sandbox.taken();
        Self { sandbox, config, taken: Vec::new(), data }
    }

    async fn lifecycle() -> Self {
        Self::new(StagesConfig { enabled: vec![StageName::GuildLifecycle], ..StagesConfig::default() }).await
    }

    async fn agent(&self) -> Agent {
        connected(&self.sandbox, self.config.clone(), SHARDS as usize).await
    }

    async fn process(&self) -> AgentProcess {
        let agent = AgentProcess::start_quiet(&self.config);
        assert!(self.sandbox.connected(SHARDS as usize, PATIENCE).await, "{:?}", self.sandbox.status());
        agent
    }

    /// What the bot took since the last call, as type and id of the guild or message: `count` events but READY and RESUMED.
    async fn takes(&mut self, count: usize) -> Vec<(String, u64)> {
        let until = Instant::now() + PATIENCE;
        let mut told = Vec::new();
        while told.len() < count {
            assert!(Instant::now() < until, "{count} events are due: {told:?}");
            sleep(Duration::from_millis(20)).await;
            told.extend(self.look());
        }
        // What must not come would come soon after.
        sleep(Duration::from_millis(150)).await;
        told.extend(self.look());
        assert_eq!(told.len(), count, "{told:?}");
        told
    }

    fn look(&mut self) -> Vec<(String, u64)> {
        let bodies = self.sandbox.taken();
        let payloads =
            bodies.iter().map(|body| serde_json::from_slice::<Value>(body).expect("JSON")["payload"].clone());
        let payloads: Vec<Value> =
            payloads.filter(|payload| payload["t"] != "READY" && payload["t"] != "RESUMED").collect();
        let told = payloads.iter().map(|payload| {
            let id = payload["d"]["id"].as_str().and_then(|id| id.parse().ok());
            (payload["t"].as_str().expect("a type").to_owned(), id.expect("a snowflake"))
        });
        let told = told.collect();
        self.taken.extend(payloads);
        told
    }

    fn guild(&self, index: u32) -> u64 {
        self.sandbox.guild_id(index)
    }

    /// The burst of every guild after READY, with this type.
    async fn takes_burst(&mut self, count: usize) {
        let told = self.takes(count).await;
        assert!(told.iter().all(|(kind, _)| kind == "GUILD_LOADED_DD"), "{told:?}");
    }

    async fn tells(&mut self, kind: &str, index: u32) {
        let guild = self.guild(index);
        assert_eq!(self.takes(1).await, [(kind.to_owned(), guild)]);
    }

    fn violations(&self) {
        assert_eq!(self.sandbox.verdict().violations, 0, "{:?}", self.sandbox.status().violations);
    }

    async fn run(&self, line: &str) -> String {
        let token = std::fs::read_to_string(self.data.path().join("console.token")).expect("the agent wrote its token");
        let request = reqwest::Client::new().post(format!("http://{}/v1/commands", self.config.listen));
        let request = request.bearer_auth(token.trim()).body(json!({"line": line, "yes": true}).to_string());
        let answer = request.send().await.expect("the agent answers").text().await.expect("a body");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!(answer["ok"], true, "{answer}");
        answer["text"].as_str().expect("a text").to_owned()
    }

    /// Waits until `status` has this line.
    async fn shows(&self, line: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.run("status").await.lines().any(|shown| shown == line) {
            assert!(Instant::now() < until, "{line}\n{}", self.run("status").await);
            sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn guilds_that_load_come_back_and_go_are_told_apart() {
    let mut rig = Rig::lifecycle().await;
    rig.sandbox.leave(3);
    let agent = rig.agent().await;
    rig.takes_burst(GUILDS as usize - 1).await;
    rig.sandbox.join(3);
    rig.tells("GUILD_CREATE", 3).await;
    rig.sandbox.outage(4, true);
    rig.tells("GUILD_UNAVAILABLE", 4).await;
    rig.sandbox.outage(4, false);
    rig.tells("GUILD_CREATE_AVAILABLE", 4).await;
    for _ in 0..2 {
        rig.sandbox.leave(4);
        rig.tells("GUILD_DELETE", 4).await;
        rig.sandbox.join(4);
        rig.tells("GUILD_CREATE", 4).await;
    }
    // A new session loads everything and adds nothing.
    rig.sandbox.fault(Fault::now(FaultKind::InvalidSession { resumable: false }).on([0]));
    rig.takes_burst(GUILDS as usize / 2).await;
    rig.shows("stage guild_lifecycle: on; 0 dropped, 31 renamed").await;
    rig.violations();
    agent.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_while_the_agent_is_away_is_told_by_the_replay_or_by_ready() {
    for resumes in [true, false] {
        let mut rig = Rig::lifecycle().await;
        rig.sandbox.leave(3);
        let agent = rig.agent().await;
        rig.takes_burst(GUILDS as usize - 1).await;
        agent.stop().await.expect("a clean end");
        rig.sandbox.join(3);
        rig.sandbox.leave(5);
        if !resumes {
            rig.sandbox.fault(FaultKind::Forget);
        }
        let agent = rig.agent().await;
        let told = rig.takes(if resumes { 2 } else { GUILDS as usize }).await;
        let other = told.iter().filter(|(kind, _)| kind != "GUILD_LOADED_DD").cloned();
        let mut other: Vec<_> = other.collect();
        other.sort();
        assert_eq!(other, [("GUILD_CREATE".to_owned(), rig.guild(3)), ("GUILD_DELETE".to_owned(), rig.guild(5))]);
        let gone = rig.taken.iter().find(|payload| payload["t"] == "GUILD_DELETE").expect("told");
        assert_eq!(gone["d"]["synthesized"] == true, !resumes, "{gone}");
        rig.violations();
        agent.stop().await.expect("a clean end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_addition_and_a_removal_just_before_kill_9_are_told_afterwards() {
    for resumes in [true, false] {
        let mut rig = Rig::lifecycle().await;
        rig.sandbox.leave(3);
        let agent = rig.process().await;
        rig.takes_burst(GUILDS as usize - 1).await;
        // The sequence is stored, then nothing is confirmed any more.
        sleep(STORED).await;
        rig.sandbox.bot(BotMode::Hang);
        rig.sandbox.join(3);
        rig.sandbox.leave(5);
        sleep(Duration::from_millis(600)).await;
        agent.kill();
        rig.sandbox.bot(BotMode::Up);
        if !resumes {
            rig.sandbox.fault(FaultKind::Forget);
        }
        let agent = rig.process().await;
        let told = rig.takes(if resumes { 2 } else { GUILDS as usize }).await;
        let other = told.iter().filter(|(kind, _)| kind != "GUILD_LOADED_DD").cloned();
        let mut other: Vec<_> = other.collect();
        other.sort();
        assert_eq!(other, [("GUILD_CREATE".to_owned(), rig.guild(3)), ("GUILD_DELETE".to_owned(), rig.guild(5))]);
        rig.violations();
        agent.kill();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guild_listed_by_ready_but_not_delivered_before_kill_9_is_still_an_addition() {
    let mut rig = Rig::lifecycle().await;
    rig.sandbox.leave(3);
    let agent = rig.process().await;
    rig.takes_burst(GUILDS as usize - 1).await;
    sleep(STORED).await;
    agent.kill();
    rig.sandbox.join(3);
    rig.sandbox.fault(FaultKind::Forget);
    rig.sandbox.bot(BotMode::Hang);
    let agent = rig.process().await;
    sleep(Duration::from_millis(600)).await;
    agent.kill();
    rig.sandbox.bot(BotMode::Up);
    let agent = rig.process().await;
    let told = rig.takes(GUILDS as usize).await;
    let other: Vec<_> = told.into_iter().filter(|(kind, _)| kind != "GUILD_LOADED_DD").collect();
    assert_eq!(other, [("GUILD_CREATE".to_owned(), rig.guild(3))]);
    assert_eq!(rig.sandbox.status().identifies, u64::from(SHARDS) * 2, "the second session was resumed");
    rig.violations();
    agent.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_number_of_shards_makes_no_guild_new() {
    let mut rig = Rig::lifecycle().await;
    rig.sandbox.leave(3);
    let agent = rig.agent().await;
    rig.takes_burst(GUILDS as usize - 1).await;
    agent.stop().await.expect("a clean end");
    rig.sandbox.join(3);
    let config = Config { shards: pilothouse_agent::config::ShardCount::Count(3), ..rig.config.clone() };
    let agent = Agent::start(config);
    let told = rig.takes(GUILDS as usize).await;
    let other: Vec<_> = told.into_iter().filter(|(kind, _)| kind != "GUILD_LOADED_DD").collect();
    assert_eq!(other, [("GUILD_CREATE".to_owned(), rig.guild(3))]);
    agent.stop().await.expect("a clean end");
}

fn message(id: u64, content: &str) -> Value {
    json!({
        "id": id.to_string(), "channel_id": "1", "author": {"id": "5"}, "content": content, "edited_timestamp": null,
        "pinned": false, "flags": 0, "attachments": [], "components": [], "embeds": [], "mentions": [],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn of_updates_only_those_of_embeds_go() {
    let mut rig = Rig::new(StagesConfig { enabled: vec![StageName::MessageUpdate], ..StagesConfig::default() }).await;
    let agent = rig.agent().await;
    let burst = rig.takes(GUILDS as usize).await;
    assert!(burst.iter().all(|(kind, _)| kind == "GUILD_CREATE"), "the other stage is off");
    let say = |kind, change: &dyn Fn(&mut Value)| {
        let mut message = message(7, "see https://example.org");
        change(&mut message);
        rig.sandbox.dispatch(1, kind, message.to_string());
    };
    say("MESSAGE_CREATE", &|_| {});
    say("MESSAGE_UPDATE", &|message| message["embeds"] = json!([{"type": "link"}]));
    say("MESSAGE_UPDATE", &|message| message["pinned"] = json!(true));
    say("MESSAGE_UPDATE", &|message| message["content"] = json!("edited"));
    say("MESSAGE_UPDATE", &|message| {
        (message["content"], message["embeds"]) = (json!("edited"), json!([{"type": "link"}]));
    });
    say("MESSAGE_UPDATE", &|message| message["components"] = json!([{"type": 1}]));
    let told = rig.takes(4).await;
    assert_eq!(told.iter().filter(|(kind, _)| kind == "MESSAGE_UPDATE").count(), 3, "{told:?}");
    rig.shows("stage message_update: on; 2 dropped, 0 renamed").await;
    rig.violations();
    agent.stop().await.expect("a clean end");
}

#[tokio::test(flavor = "multi_thread")]
async fn prefixes_mentions_and_types_are_kept_and_dropped_live_and_after_a_restart() {
    let stages = StagesConfig {
        enabled: vec![StageName::MessagePrefix, StageName::Drop],
        prefixes: vec!["!".to_owned()],
        drop: KindSet::of(&[EventKind::of(b"TYPING_START")]),
    };
    let mut rig = Rig::new(stages).await;
    let mut agent = rig.agent().await;
    rig.takes(GUILDS as usize).await;
    let mut mention = message(9, "hello");
    mention["mentions"] = json!([{"id": BOT}]);
    let all = [
        ("MESSAGE_CREATE", message(7, "!ping")),
        ("MESSAGE_CREATE", message(8, "ping")),
        ("MESSAGE_CREATE", mention),
        ("TYPING_START", json!({"id": "10"})),
    ];
    for _ in 0..2 {
        all.iter().for_each(|(kind, data)| rig.sandbox.dispatch(1, kind, data.to_string()));
        let ids: Vec<u64> = rig.takes(2).await.into_iter().map(|(_, id)| id).collect();
        assert_eq!(ids, [7, 9]);
        // A resumed session has no READY that names the bot's user.
        agent.stop().await.expect("a clean end");
        agent = rig.agent().await;
    }
    let said = rig.run("stage message_prefix off").await;
    assert!(said.starts_with("message_prefix is off"), "{said}");
    rig.run("stage drop off").await;
    sleep(SWITCHED).await;
    all.iter().for_each(|(kind, data)| rig.sandbox.dispatch(1, kind, data.to_string()));
    assert_eq!(rig.takes(4).await.len(), 4);
    rig.run("stage drop on").await;
    sleep(SWITCHED).await;
    rig.sandbox.dispatch(1, "TYPING_START", json!({"id": "10"}).to_string());
    rig.shows("stage drop: on; 1 dropped, 0 renamed").await;
    rig.takes(0).await;
    assert_eq!(rig.sandbox.status().identifies, u64::from(SHARDS));
    rig.violations();
    agent.stop().await.expect("a clean end");
}
