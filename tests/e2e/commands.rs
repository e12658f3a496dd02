//! Commands to shards, from the control surface to what Discord hears, and members from Discord to whoever asked.

use std::time::{Duration, Instant};

use pilothouse_agent::config::Config;
use pilothouse_sandbox::{Fault, FaultKind, Sandbox, SandboxConfig};
use pilothouse_tests::{Agent, eventually, full};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::setup::{PATIENCE, config, connected, sandbox_config, start, verdict};

const SHARDS: u32 = 4;
/// GUILDS, GUILD_MEMBERS, GUILD_MESSAGES.
const INTENTS: u64 = 1 << 0 | 1 << 1 | 1 << 9;

/// A sandbox, an agent, and a way to command it.
struct Rig {
    sandbox: Sandbox,
    agent: Agent,
    url: String,
    token: String,
    _data: TempDir,
}

impl Rig {
    async fn new(change: impl FnOnce(&mut SandboxConfig), intents: u64) -> Self {
        let mut discord = sandbox_config(SHARDS, 50.0);
        change(&mut discord);
        let sandbox = start(discord).await;
        let data = TempDir::new().expect("a temporary folder");
        let listen = pilothouse_tests::free_address();
        let config = Config { intents, listen, ..config(&sandbox, &data, SHARDS) };
        let url = format!("http://{}/v1/commands", config.listen);
        let agent = connected(&sandbox, config, SHARDS as usize).await;
        let rig = Self { sandbox, agent, url, token: String::new(), _data: data };
        let token = std::fs::read_to_string(rig._data.path().join("console.token")).expect("the agent wrote its token");
        let rig = Self { token: token.trim().to_owned(), ..rig };
        // The first rows come after a moment.
        let until = Instant::now() + PATIENCE;
        while !rig.run("shards state=active").await.1.contains(&format!("\n{:>5}  active", SHARDS - 1)) {
            assert!(Instant::now() < until, "the shards do not show as active");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        rig
    }

    async fn run(&self, line: &str) -> (bool, String) {
        let answer = reqwest::Client::new()
            .post(&self.url)
            .bearer_auth(&self.token)
            .body(json!({"line": line, "yes": true}).to_string())
            .send()
            .await
            .expect("the agent answers");
        let answer: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
        (answer["ok"] == true, answer["text"].as_str().expect("a text").to_owned())
    }

    async fn done(&self, line: &str) -> String {
        let (ok, text) = self.run(line).await;
        assert!(ok, "{line}: {text}");
        text
    }

    /// Payloads of this opcode that Discord has got.
    fn got(&self, op: u64) -> u64 {
        self.sandbox.status().payloads.get(&op).copied().unwrap_or(0)
    }

    async fn gets(&self, op: u64, count: u64) {
        eventually(&format!("{count} payloads of op {op}"), PATIENCE, || self.got(op) >= count).await;
        assert_eq!(self.got(op), count);
    }

    /// Nothing lost and no rule broken.
    async fn end(self) {
        let verdict = verdict(&self.sandbox).await;
        assert!(verdict.clean(), "{verdict:?}");
        self.agent.stop().await.expect("a clean end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_presence_reaches_every_shard_and_the_next_identify() {
    let rig = Rig::new(|_| {}, INTENTS).await;
    assert_eq!(rig.done("presence * --status dnd --activity chess").await, "presence set on 4 shards");
    rig.gets(3, 4).await;
    let expected = json!({"since": null, "afk": false, "status": "dnd", "activities": [{"name": "chess", "type": 0}]});
    let shown = |shard| rig.sandbox.status().presences.get(&shard).cloned();
    assert!((0..SHARDS).all(|shard| shown(shard) == Some(expected.clone())), "{:?}", rig.sandbox.status().presences);
    let identifies = rig.sandbox.status().identifies;
    rig.done("restart 1 --identify").await;
    eventually("a new session", PATIENCE, || rig.sandbox.status().readies == u64::from(SHARDS) + 1).await;
    assert!(rig.sandbox.connected(SHARDS as usize, PATIENCE).await);
    assert_eq!(rig.sandbox.status().identifies, identifies + 1);
    assert_eq!(shown(1), Some(expected));
    assert_eq!(rig.got(3), 4, "the identify told it");
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_presences_in_a_row_are_never_too_many() {
    let rig = Rig::new(|_| {}, INTENTS).await;
    for number in 0..200 {
        rig.done(&format!("presence 2 --status idle --activity {number}")).await;
    }
    let sent = rig.got(3);
    // With heartbeats every 1.5 s 43 of the 120 are kept for them.
    assert!((70..=77).contains(&sent), "{sent}");
    assert!(rig.sandbox.connected(SHARDS as usize, Duration::ZERO).await);
    if full() {
        let newest =
            || rig.sandbox.status().presences.get(&2).is_some_and(|shown| shown["activities"][0]["name"] == "199");
        eventually("the newest presence", Duration::from_secs(70), newest).await;
    }
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_waits_while_its_shard_reconnects() {
    let rig = Rig::new(|_| {}, INTENTS).await;
    let guild = (0..).map(|index| rig.sandbox.guild_id(index)).find(|id| (id >> 22) % u64::from(SHARDS) == 1);
    let guild = guild.expect("shard 1 has guilds");
    let identifies = rig.sandbox.status().identifies;
    rig.sandbox.fault(FaultKind::Refuse { ms: 1_500, resume_only: false });
    rig.sandbox.fault(Fault::now(FaultKind::Reset).on([1]));
    let until = Instant::now() + PATIENCE;
    while rig.run("shards state=active").await.1.contains("\n    1  active") {
        assert!(Instant::now() < until, "shard 1 stays active");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let answer = rig.done(&format!("voice leave {guild}")).await;
    assert_eq!(answer, "waits a minute at most to be sent on shard 1: the shard is not active");
    assert_eq!(rig.got(4), 0);
    rig.gets(4, 1).await;
    let status = rig.sandbox.status();
    assert_eq!((status.resumes, status.identifies), (1, identifies), "{status:?}");
    let heard = status.heard.back().expect("it was heard");
    let payload: Value = serde_json::from_str(&heard.payload).expect("JSON");
    assert_eq!((heard.shard, &payload["d"]["channel_id"]), (1, &Value::Null));
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_reach_the_shards_of_their_guilds_and_what_discord_would_refuse_does_not() {
    let rig = Rig::new(|_| {}, INTENTS).await;
    let guilds: Vec<String> = (0..40).map(|index| rig.sandbox.guild_id(index).to_string()).collect();
    let asked = rig.done(&format!("soundboard {}", guilds.join(" "))).await;
    assert_eq!(asked, "asked about 40 guilds by 4 payloads");
    rig.gets(31, 4).await;
    rig.done(&format!("channel-info {}", guilds[3])).await;
    rig.gets(43, 1).await;
    let raw = json!({"op": 43, "d": {"guild_id": guilds[0], "fields": ["status"]}});
    let shard = rig.sandbox.guild_id(0) >> 22;
    rig.done(&format!("send {} {raw}", shard % u64::from(SHARDS))).await;
    rig.gets(43, 2).await;
    let long = json!({"op": 4, "d": "x".repeat(4_096)});
    for (line, part) in [
        (format!("send 1 {long}"), "4096"),
        ("send 1 {\"op\":2,\"d\":{}}".into(), "op 2"),
        ("send 1 {\"op\":3,\"d\":{\"status\":\"gone\"}}".into(), "not"),
        (format!("members {} --presences", guilds[0]), "GUILD_PRESENCES"),
        (format!("presence 1 --status dnd --activity {}", "x".repeat(200)), "128"),
    ] {
        let (ok, text) = rig.run(&line).await;
        assert!(!ok && text.contains(part), "{text}");
    }
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_put_together_and_equal_requests_share_an_answer() {
    let slow = |discord: &mut SandboxConfig| {
        discord.guild_size.members = 2_500;
        discord.latency = Duration::from_millis(300);
    };
    let rig = Rig::new(slow, INTENTS).await;
    let guild = rig.sandbox.guild_id(5);
    let line = format!("members {guild}");
    let (one, other) = tokio::join!(rig.done(&line), rig.done(&line));
    assert!(one.starts_with(&format!("2500 members of guild {guild}: ")), "{one}");
    // Asked at once they share one request; a moment apart the second would wait for half a minute.
    assert_eq!(one, other);
    rig.gets(8, 1).await;
    let found = rig.done(&format!("members {guild} --query user1 --limit 7")).await;
    assert!(found.starts_with(&format!("7 members of guild {guild}: ")), "{found}");
    let nobody = rig.done(&format!("members {guild} --user 99")).await;
    assert_eq!(nobody, format!("0 members of guild {guild}; 1 not members"));
    if full() {
        let start = Instant::now();
        assert_eq!(rig.done(&line).await, one, "the second within half a minute waits for its turn");
        assert!(start.elapsed() > Duration::from_secs(20), "{:?}", start.elapsed());
        rig.gets(8, 4).await;
    }
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_intent_all_members_are_not_asked_for() {
    let rig = Rig::new(|_| {}, 1).await;
    let (ok, text) = rig.run(&format!("members {}", rig.sandbox.guild_id(0))).await;
    assert!(!ok && text.contains("GUILD_MEMBERS") && text.contains("PILOTHOUSE_INTENTS"), "{text}");
    assert_eq!(rig.got(8), 0);
    rig.agent.stop().await.expect("a clean end");
}

/// The sandbox remembers across agents what Discord would remember: the guild was asked about a moment ago.
#[tokio::test(flavor = "multi_thread")]
async fn discord_that_puts_a_request_off_is_asked_again() {
    if !full() {
        return;
    }
    let rig = Rig::new(|discord| discord.guild_size.members = 1_500, INTENTS).await;
    let guild = rig.sandbox.guild_id(5);
    let shard = (guild >> 22) % u64::from(SHARDS);
    let foreign = json!({"op": 8, "d": {"guild_id": guild.to_string(), "query": "", "limit": 0, "nonce": "another's"}});
    rig.done(&format!("send {shard} {foreign}")).await;
    rig.gets(8, 1).await;
    let members = rig.done(&format!("members {guild}")).await;
    assert!(members.starts_with("1500 members"), "{members}");
    rig.gets(8, 3).await;
    rig.end().await;
}
