//! End to end through real brokers: Discord's stand-in, the agent's program, a broker, and a consumer of its own whose
//! messages the sandbox judges. Agent and broker are killed under load.

use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::pull::OrderedConfig;
use futures_util::StreamExt;
use lapin::options::BasicConsumeOptions;
use lapin::types::FieldTable;
use pilothouse_agent::config::{Config, SinkConfig};
use pilothouse_sandbox::{Rate, Sandbox, SandboxConfig, Verdict};
use pilothouse_tests::brokers::{Nats, Rabbit};
use pilothouse_tests::{AgentProcess, full, told};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::amqp::{self, consumer, rabbit};
use crate::nats::{self, client, nats};

const SHARDS: u32 = 8;
const PATIENCE: Duration = Duration::from_secs(60);
/// Nothing comes for so long: there is nothing more.
const SILENCE: Duration = Duration::from_secs(2);

/// A sandbox in strict mode under load, and an agent's configuration with one sink.
struct Rig {
    sandbox: Sandbox,
    config: Config,
    _data: TempDir,
}

impl Rig {
    async fn new(sink: SinkConfig) -> Self {
        let discord = SandboxConfig {
            shards: SHARDS,
            guilds: SHARDS * 10,
            max_concurrency: 16,
            identify_window: Duration::from_millis(100),
            heartbeat_interval: Duration::from_millis(1_500),
            rate: Rate::PerSecond(800.0),
            strict: true,
            ..SandboxConfig::default()
        };
        let sandbox = Sandbox::start(discord).await.expect("the sandbox starts");
        let data = TempDir::new().expect("a temporary folder");
        let mut config = pilothouse_tests::config(&sandbox, &data, SHARDS);
        config.gateway.identify_interval = Duration::from_millis(120);
        config.sinks = vec![sink];
        Self { sandbox, config, _data: data }
    }

    async fn agent(&self) -> AgentProcess {
        let agent = AgentProcess::start_quiet(&self.config);
        assert!(self.sandbox.connected(SHARDS as usize, PATIENCE).await, "{:?}", self.sandbox.status());
        agent
    }

    /// Kills the agent at random moments; the last one stays.
    async fn kill_agents(&self, kills: u32) -> AgentProcess {
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..kills {
            let agent = self.agent().await;
            sleep(Duration::from_millis(random.u64(300..2_500))).await;
            agent.kill();
        }
        let agent = self.agent().await;
        sleep(Duration::from_millis(500)).await;
        self.sandbox.stop_traffic();
        agent
    }

    fn is_over(&self, begun: Instant) -> bool {
        self.sandbox.status().outstanding == 0 || begun.elapsed() > PATIENCE
    }

    /// Judges what the queue `name` holds and gets.
    async fn judge_queue(&self, url: &str, name: &str) -> Verdict {
        self.sandbox.stop_traffic();
        let (_connection, channel) = consumer(url, name, "#", FieldTable::default()).await;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let consumer = channel.basic_consume(name.into(), name.into(), options, FieldTable::default());
        let (mut consumer, begun) = (consumer.await.expect("a consumer"), Instant::now());
        loop {
            match timeout(SILENCE, consumer.next()).await {
                Ok(message) => self.sandbox.received(&message.expect("it goes on").expect("a message").data),
                Err(_) if self.is_over(begun) => return self.sandbox.verdict(),
                Err(_) => {}
            }
        }
    }

    /// Judges what the stream `name` holds and gets.
    async fn judge_stream(&self, url: &str, name: &str) -> Verdict {
        self.sandbox.stop_traffic();
        let stream = client(url).await.get_stream(name).await.expect("the sink made it");
        let consumer = stream.create_consumer(OrderedConfig::default()).await.expect("a consumer");
        let (mut messages, begun) = (consumer.messages().await.expect("messages"), Instant::now());
        loop {
            match timeout(SILENCE, messages.next()).await {
                Ok(message) => self.sandbox.received(&message.expect("it goes on").expect("a message").payload),
                Err(_) if self.is_over(begun) => return self.sandbox.verdict(),
                Err(_) => {}
            }
        }
    }
}

fn kills() -> u32 {
    if full() { 20 } else { 3 }
}

/// For how long a broker is away, each time.
fn outages() -> Vec<Duration> {
    let seconds: &[f64] = if full() { &[0.5, 3.0, 30.0] } else { &[0.5] };
    seconds.iter().copied().map(Duration::from_secs_f64).collect()
}

fn complete(verdict: &Verdict) -> bool {
    let Verdict { lost, out_of_order, unknown, violations, .. } = verdict;
    lost + out_of_order + unknown + violations + verdict.unreplayable.total() == 0 && verdict.received > 0
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_the_agent_loses_nothing_on_the_way_to_rabbitmq() {
    let Some(rabbit) = rabbit().await else { return };
    let (url, name) = (rabbit.url(), "kills");
    drop(consumer(&url, name, "#", FieldTable::default()).await);
    let rig = Rig::new(SinkConfig::Amqp(amqp::config(&url, name))).await;
    let _agent = rig.kill_agents(kills()).await;
    let verdict = rig.judge_queue(&url, name).await;
    println!("{} times kill -9, amqp: {}", kills(), told(&verdict));
    assert!(complete(&verdict), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_the_agent_loses_and_doubles_nothing_on_the_way_to_jetstream() {
    let Some(nats) = nats().await else { return };
    let (url, name) = (nats.url(), "kills");
    let rig = Rig::new(SinkConfig::Nats(nats::config(&url, name))).await;
    let _agent = rig.kill_agents(kills()).await;
    let verdict = rig.judge_stream(&url, name).await;
    println!("{} times kill -9, nats: {}", kills(), told(&verdict));
    assert!(complete(&verdict) && verdict.doubled == 0, "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_rabbitmq_under_load_loses_nothing() {
    let mut rabbit = match Rabbit::start().await {
        Ok(rabbit) => rabbit,
        Err(why) => return eprintln!("SKIPPED: an agent while RabbitMQ is killed: {why}"),
    };
    let (url, name) = (rabbit.url(), "outages");
    drop(consumer(&url, name, "#", FieldTable::default()).await);
    let rig = Rig::new(SinkConfig::Amqp(amqp::config(&url, name))).await;
    let _agent = rig.agent().await;
    for outage in outages() {
        sleep(Duration::from_secs(1)).await;
        rabbit.kill();
        sleep(outage).await;
        rabbit.restart().await;
    }
    sleep(Duration::from_secs(1)).await;
    let verdict = rig.judge_queue(&url, name).await;
    println!("RabbitMQ killed, away {:?}: {}", outages(), told(&verdict));
    assert!(complete(&verdict), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_nats_under_load_loses_and_doubles_nothing() {
    let mut nats = match Nats::start().await {
        Ok(nats) => nats,
        Err(why) => return eprintln!("SKIPPED: an agent while nats-server is killed: {why}"),
    };
    let (url, name) = (nats.url(), "outages");
    let rig = Rig::new(SinkConfig::Nats(nats::config(&url, name))).await;
    let _agent = rig.agent().await;
    for outage in outages() {
        sleep(Duration::from_secs(1)).await;
        nats.kill();
        sleep(outage).await;
        nats.restart().await;
    }
    sleep(Duration::from_secs(1)).await;
    let verdict = rig.judge_stream(&url, name).await;
    println!("nats-server killed, away {:?}: {}", outages(), told(&verdict));
    assert!(complete(&verdict) && verdict.doubled == 0, "{verdict:?}");
}
