//! The bot's own requests, sent by code as the guide has it, answered with what Discord knows.

use std::process::Command;
use std::time::Duration;

use pilothouse_agent::config::{Config, Secret};
use pilothouse_sandbox::Sandbox;
use pilothouse_tests::brokers::tool;
use pilothouse_tests::{Agent, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::setup::{PATIENCE, config, connected, sandbox_config, start, verdict};

const SHARDS: u32 = 4;
/// GUILDS, GUILD_MEMBERS, GUILD_MESSAGES.
const INTENTS: u64 = 1 << 0 | 1 << 1 | 1 << 9;
const MEMBERS: u32 = 1_500;

/// The bot's side of the guide, for Node.
const BOT: &str = r"
const response = await fetch(process.env.GATEWAY_MANAGER_URL, {
  method: 'POST',
  headers: { authorization: process.env.AUTHORIZATION, 'Content-type': 'application/json' },
  body: JSON.stringify({ type: 'REQUEST_MEMBERS', guildId: process.env.GUILD, options: { limit: 0 } }),
})
const members = await response.json()
console.log(response.status, members.length, new Set(members.map(member => member.user.id)).size)
";

struct Rig {
    sandbox: Sandbox,
    agent: Agent,
    /// The port of the bot's own, and that of consoles.
    urls: [String; 2],
    _data: TempDir,
}

impl Rig {
    async fn new() -> Self {
        let mut discord = sandbox_config(SHARDS, 50.0);
        discord.guild_size.members = MEMBERS;
        discord.rest_authorization = Some("key".to_owned());
        let sandbox = start(discord).await;
        let data = TempDir::new().expect("a temporary folder");
        let (listen, bot) = (pilothouse_tests::free_address(), pilothouse_tests::free_address());
        let authorization = Some(Secret::new("key"));
        let bot_port = Some(bot.port());
        let config = Config { intents: INTENTS, listen, bot_port, authorization, ..config(&sandbox, &data, SHARDS) };
        let urls = [format!("http://127.0.0.1:{}/any/path", bot.port()), format!("http://{listen}/")];
        let agent = connected(&sandbox, config, SHARDS as usize).await;
        Self { sandbox, agent, urls, _data: data }
    }

    async fn ask(&self, url: &str, key: &str, body: &Value) -> (u16, Value) {
        let client = reqwest::Client::new();
        let sent = client.post(url).header("authorization", key).body(body.to_string()).send().await;
        let answer = sent.expect("the agent answers");
        (answer.status().as_u16(), serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON"))
    }

    async fn end(self) {
        let verdict = verdict(&self.sandbox).await;
        assert!(verdict.clean(), "{verdict:?}");
        self.agent.stop().await.expect("a clean end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ports_answer_and_presences_reach_every_shard() {
    let rig = Rig::new().await;
    for url in &rig.urls {
        let members = json!({"type": "REQUEST_MEMBERS", "guildId": rig.sandbox.guild_id(5).to_string(),
            "options": {"query": "user1", "limit": 7}});
        let (status, found) = rig.ask(url, "key", &members).await;
        assert_eq!((status, found.as_array().map(Vec::len)), (200, Some(7)), "{url}: {found}");
        let wrong = rig.ask(url, "Bearer key", &members).await;
        assert_eq!(wrong, (401, json!({"error": "Invalid authorization key."})), "{url}");
        let (status, info) = rig.ask(url, "key", &json!({"type": "SHARD_INFO", "shardId": 2})).await;
        assert_eq!((status, &info["row"]["id"], &info["row"]["state"]), (200, &json!(2), &json!("active")), "{info}");
    }
    let status = json!({"type": "EDIT_BOT_STATUS", "payload": {"status": "idle"}});
    let sent = rig.ask(&rig.urls[0], "key", &status).await;
    assert_eq!(sent, (200, json!({"sent": 4, "waiting": 0})));
    let shown = || (0..SHARDS).all(|shard| rig.sandbox.status().presences.contains_key(&shard));
    eventually("every shard has the presence", PATIENCE, shown).await;
    let commands = reqwest::Client::new().post(format!("{}v1/commands", rig.urls[1]));
    let refused = commands.header("authorization", "key").body(r#"{"line":"status"}"#).send().await;
    assert_eq!(refused.expect("it answers").status(), 401, "the bot's key is no token");
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guides_code_gets_every_member() {
    let Ok(node) = tool("node") else {
        return eprintln!("SKIPPED: the guide's bot, as for Discordeno: node is not installed");
    };
    let rig = Rig::new().await;
    let mut command = Command::new(node);
    command.args(["--input-type=module", "-e", BOT]).env("GATEWAY_MANAGER_URL", &rig.urls[0]);
    command.env("AUTHORIZATION", "key").env("GUILD", rig.sandbox.guild_id(5).to_string());
    let run = tokio::task::spawn_blocking(move || command.output().expect("it runs"));
    let output = tokio::time::timeout(Duration::from_secs(60), run).await.expect("in a minute").expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said.trim(), format!("200 {MEMBERS} {MEMBERS}"), "{}", String::from_utf8_lossy(&output.stderr));
    rig.end().await;
}
