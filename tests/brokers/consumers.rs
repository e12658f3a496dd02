//! The consumers of `assets/consumers/`, each as its users start it, fed by the sink that it is for.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pilothouse_agent::config::{HttpConfig, Secret, SinkConfig};
use pilothouse_agent::sinks::amqp::AmqpTransport;
use pilothouse_agent::sinks::delivery::{Delivery, Transport};
use pilothouse_agent::sinks::nats::NatsTransport;
use pilothouse_sandbox::{Rate, Sandbox, SandboxConfig};
use pilothouse_tests::brokers::{Nats, tool};
use pilothouse_tests::{Agent, eventually, free_address, program};
use tempfile::TempDir;

use crate::amqp::{self, rabbit};
use crate::feed::{attempt, deliver_all, deliveries};
use crate::nats::{self, nats};

const PATIENCE: Duration = Duration::from_secs(30);

/// A consumer that runs, and what it has printed; killed when dropped.
struct Consumer {
    process: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Consumer {
    fn start(command: &mut Command) -> Self {
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("it starts");
        let output = BufReader::new(process.stdout.take().expect("its output is piped"));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&lines);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                told.lock().expect("no panic").push(line);
            }
        });
        Self { process, lines }
    }

    async fn says(&self, word: &str) {
        eventually(word, PATIENCE, || self.lines().iter().any(|line| line.starts_with(word))).await;
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no panic").clone()
    }

    /// The lines about events of type `kind`.
    fn events(&self, kind: &str) -> Vec<String> {
        self.lines().into_iter().filter(|line| line.starts_with(kind)).collect()
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // It may have ended before.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The sequences at the end of the ids that Node's bot printed, in order.
fn sequences(bot: &Consumer) -> Vec<u64> {
    let lines = bot.lines();
    let ids = lines.iter().filter_map(|line| line.split(' ').nth(1)?.rsplit_once('/')?.1.parse().ok());
    let mut sequences: Vec<u64> = ids.collect();
    sequences.sort_unstable();
    sequences
}

fn assets(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/consumers").join(path)
}

/// What a consumer prints of these, sorted.
fn expected(guilds: &[Vec<Delivery>]) -> BTreeSet<String> {
    guilds.iter().flatten().map(|delivery| format!("MESSAGE_CREATE {} shard=7", delivery.id())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_bot_gets_every_event_over_http() {
    let Ok(node) = tool("node") else {
        return eprintln!("SKIPPED: the consumer for Node, as for Discordeno: node is not installed");
    };
    let address = free_address();
    let mut command = Command::new(node);
    command.arg(assets("node/bot.mjs")).env("AUTHORIZATION", "key").env("PORT", address.port().to_string());
    let bot = Consumer::start(&mut command);
    bot.says("listening").await;

    let sandbox =
        Sandbox::start(SandboxConfig { guilds: 20, rate: Rate::PerSecond(400.0), ..SandboxConfig::default() });
    let sandbox = sandbox.await.expect("the sandbox starts");
    let data = TempDir::new().expect("a temporary folder");
    let mut config = pilothouse_tests::config(&sandbox, &data, 1);
    config.gateway.identify_interval = Duration::from_millis(120);
    let sink = HttpConfig::new([format!("http://{address}/")]);
    config.sinks = vec![SinkConfig::Http(HttpConfig { authorization: Some(Secret::new("key")), ..sink })];
    let agent = Agent::start(config);
    eventually("a thousand events", PATIENCE, || bot.lines().len() > 1_000).await;
    sandbox.stop_traffic();
    // The verdict does not count READY and the GUILD_CREATE of its 20 guilds.
    let sent = || usize::try_from(sandbox.verdict().sent).expect("a small number") + 21;
    eventually("all that was sent", PATIENCE, || sequences(&bot).len() >= sent()).await;
    agent.stop().await.expect("a clean end");
    let sequences = sequences(&bot);
    assert_eq!(sequences, (1..=sent() as u64).collect::<Vec<_>>(), "each is printed once");
    let lines = bot.lines();
    assert!(bot.events("MESSAGE_CREATE").iter().all(|line| line.ends_with(" shard=0")), "{lines:?}");

    let client = reqwest::Client::new();
    let post = |key: &'static str, id: &'static str, body: &'static str| {
        let request =
            client.post(format!("http://{address}/")).header("authorization", key).header("x-pilothouse-id", id);
        async move { request.body(body).send().await.expect("it answers").status().as_u16() }
    };
    let body = "{\"payload\":{\"op\":0,\"t\":\"AGAIN\",\"s\":1,\"d\":{}},\"shardId\":0}";
    assert_eq!(post("wrong", "a", body).await, 401);
    assert_eq!((post("key", "a", body).await, post("key", "a", body).await), (204, 204));
    assert_eq!(post("key", "b", "no JSON").await, 400);
    assert_eq!(bot.events("AGAIN"), ["AGAIN a shard=0"]);
}

/// The consumer for Python with work that fails once for each event, as a bot's own code can.
const FAILING_ONCE: &str = "
import consumer
work, failed = consumer.handle, set()
def handle(event, properties):
    if properties.message_id not in failed:
        failed.add(properties.message_id)
        raise KeyError('of the bot, not of the event')
    work(event, properties)
consumer.handle, consumer.PAUSE = handle, 0
consumer.main()
";

#[tokio::test]
async fn pythons_consumer_gets_every_event_from_rabbitmq() {
    let Some(rabbit) = rabbit().await else { return };
    let has_pika =
        |python: &PathBuf| Command::new(python).args(["-c", "import pika"]).status().is_ok_and(|s| s.success());
    let Some(python) = tool("python3").ok().filter(has_pika) else {
        return eprintln!("SKIPPED: the consumer for Python: pika is not installed: tests/run says how it is");
    };
    let mut command = Command::new(python);
    command.args(["-c", FAILING_ONCE]).env("PYTHONPATH", assets("python-amqp")).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("AMQP_URL", rabbit.url()).env("AMQP_EXCHANGE", "python").stderr(Stdio::null());
    let consumer = Consumer::start(&mut command);
    consumer.says("consuming").await;
    let (guilds, transport) = (deliveries(20, 10), AmqpTransport::new(amqp::config(&rabbit.url(), "python")));
    assert!(deliver_all(&transport, &guilds).await.is_empty());
    for guild in &guilds {
        assert_eq!(attempt(&transport, &guild[0]).await, None, "an event that the broker confirmed too late");
    }
    gets(&consumer, &transport, &guilds).await;
}

#[tokio::test]
async fn rusts_consumer_gets_every_event_from_nats() {
    let Some(nats) = nats().await else { return };
    let (guilds, transport) = (deliveries(20, 10), NatsTransport::new(nats::config(&nats.url(), "rust")));
    assert_eq!(attempt(&transport, &guilds[0][0]).await, None);
    let mut command = Command::new(program("consumer-nats"));
    command.env("NATS_URL", nats.url()).env("NATS_USER", "bot").env("NATS_PASSWORD", Nats::PASSWORD);
    command.env("NATS_STREAM", "rust").env("NATS_FILTER", "rust.MESSAGE_CREATE.*");
    let consumer = Consumer::start(&mut command);
    assert!(deliver_all(&transport, &guilds).await.is_empty());
    gets(&consumer, &transport, &guilds).await;
}

/// Waits until it has printed each once; a last event tells that nothing else comes.
async fn gets(consumer: &Consumer, transport: &impl Transport, guilds: &[Vec<Delivery>]) {
    let last = crate::feed::single(1, "the last");
    assert_eq!(attempt(transport, &last).await, None);
    consumer.says(&format!("MESSAGE_CREATE {}", last.id())).await;
    let mut events = consumer.events("MESSAGE_CREATE");
    events.pop();
    assert_eq!(events.len(), guilds.iter().map(Vec::len).sum::<usize>(), "each is printed once");
    assert_eq!(events.into_iter().collect::<BTreeSet<_>>(), expected(guilds));
}
