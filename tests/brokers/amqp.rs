//! `AmqpTransport` against RabbitMQ.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions};
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use pilothouse_agent::config::{AmqpConfig, BrokerUrl, RoutingKey, Unroutable};
use pilothouse_agent::sinks::amqp::AmqpTransport;
use pilothouse_agent::sinks::delivery::{Outcome, Transport};
use pilothouse_tests::brokers::Rabbit;
use tokio::sync::OnceCell;
use tokio::task::LocalSet;

use crate::feed::{Got, SHARD, attempt, body, deliver_all, deliveries, repeated, single};

/// One for all tests that leave it alive; it ends with this process.
pub(crate) async fn rabbit() -> Option<&'static Rabbit> {
    static SHARED: OnceCell<Result<Rabbit, String>> = OnceCell::const_new();
    let rabbit = SHARED.get_or_init(Rabbit::start).await;
    rabbit.as_ref().inspect_err(|why| eprintln!("SKIPPED: the amqp sink against RabbitMQ: {why}")).ok()
}

/// The defaults, on an exchange of its own.
pub(crate) fn config(url: &str, exchange: &str) -> AmqpConfig {
    let url = BrokerUrl::parse(url, &["amqp"]).expect("a URL");
    AmqpConfig { exchange: exchange.to_owned(), ..AmqpConfig::new(url) }
}

/// A client of its own, with the exchange and a durable queue bound to it by `key`, both called `name`.
pub(crate) async fn consumer(url: &str, name: &str, key: &str, arguments: FieldTable) -> (Connection, Channel) {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.expect("RabbitMQ takes clients");
    let channel = connection.create_channel().await.expect("a channel");
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let exchange = channel.exchange_declare(name.into(), ExchangeKind::Topic, durable, FieldTable::default());
    exchange.await.expect("the exchange is the sink's");
    bind(&channel, name, key, arguments).await;
    (connection, channel)
}

async fn bind(channel: &Channel, name: &str, key: &str, arguments: FieldTable) {
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(name.into(), durable, arguments).await.expect("a queue");
    let bound =
        channel.queue_bind(name.into(), name.into(), key.into(), QueueBindOptions::default(), FieldTable::default());
    bound.await.expect("it is bound");
}

/// Everything in the queue, until nothing comes for a while.
pub(crate) async fn drain(channel: &Channel, name: &str) -> Vec<lapin::message::Delivery> {
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut consumer =
        channel.basic_consume(name.into(), name.into(), options, FieldTable::default()).await.expect("a consumer");
    let mut got = Vec::new();
    while let Ok(Some(message)) = tokio::time::timeout(Duration::from_secs(1), consumer.next()).await {
        got.push(message.expect("a message"));
    }
    got
}

fn ids(messages: &[lapin::message::Delivery]) -> Got {
    let id = |message: &lapin::message::Delivery| message.properties.message_id().as_ref().map(ToString::to_string);
    let body = |message: &lapin::message::Delivery| String::from_utf8(message.data.clone()).expect("JSON is UTF-8");
    messages.iter().map(|message| (id(message).expect("an id"), body(message))).collect()
}

#[tokio::test]
async fn every_event_arrives_once_in_order_and_says_what_it_is() {
    let Some(rabbit) = rabbit().await else { return };
    let (_connection, channel) = consumer(&rabbit.url(), "whole", "MESSAGE_CREATE.*", FieldTable::default()).await;
    let (guilds, transport) = (deliveries(50, 20), AmqpTransport::new(config(&rabbit.url(), "whole")));
    // As a worker runs it.
    let failures = LocalSet::new().run_until(deliver_all(&transport, &guilds)).await;
    assert!(failures.is_empty(), "{failures:?}");
    let messages = drain(&channel, "whole").await;
    assert_eq!(repeated(&ids(&messages), &guilds), 0);

    let delivery = &guilds[3][0];
    let id = delivery.id().to_string();
    let message = &messages[ids(&messages).iter().position(|(got, _)| *got == id).expect("it arrived")];
    let (properties, text) = (&message.properties, |text: &str| Some(AMQPValue::LongString(text.into())));
    assert_eq!(message.routing_key.as_str(), "MESSAGE_CREATE.3");
    assert_eq!((properties.delivery_mode(), properties.timestamp()), (&Some(2), &Some(1_700_000_000)));
    assert_eq!(properties.kind().as_ref().map(ToString::to_string).as_deref(), Some("MESSAGE_CREATE"));
    let headers = properties.headers().as_ref().expect("headers").inner();
    assert_eq!(headers.get("guild").cloned(), text("3"));
    assert_eq!(headers.get("kind").cloned(), text("MESSAGE_CREATE"));
    assert_eq!(headers.get("shard"), Some(&AMQPValue::LongLongInt(i64::from(SHARD))));
    assert_eq!(headers.get("received_ms"), Some(&AMQPValue::LongLongInt(1_700_000_000_127)));
}

#[tokio::test]
async fn killed_and_restarted_in_the_middle_nothing_is_lost() {
    let mut rabbit = match Rabbit::start().await {
        Ok(rabbit) => rabbit,
        Err(why) => return eprintln!("SKIPPED: the amqp sink while RabbitMQ is killed: {why}"),
    };
    drop(consumer(&rabbit.url(), "killed", "#", FieldTable::default()).await);
    // Mnesia writes definitions later: killed before that, RabbitMQ forgets the queue and what it has confirmed in it.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (guilds, transport) = (deliveries(50, 60), AmqpTransport::new(config(&rabbit.url(), "killed")));
    let url = rabbit.url();
    let kill = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        rabbit.kill();
        rabbit.restart().await;
    };
    let (failures, ()) = tokio::join!(deliver_all(&transport, &guilds), kill);
    assert!(!failures.is_empty(), "it was killed too late to matter");
    let (_connection, channel) = consumer(&url, "killed", "#", FieldTable::default()).await;
    let repeated = repeated(&ids(&drain(&channel, "killed").await), &guilds);
    println!("{repeated} of 3000 came twice; failures: {failures:?}");
}

#[tokio::test]
async fn what_no_queue_takes_waits_until_one_is_bound_unless_it_is_not_wanted() {
    let Some(rabbit) = rabbit().await else { return };
    let held = config(&rabbit.url(), "unbound");
    let transport = AmqpTransport::new(held.clone());
    let guilds = deliveries(20, 5);
    // Half of the guilds have a queue, and none of the other half's events is taken for one that was delivered.
    let (_connection, channel) = consumer(&rabbit.url(), "unbound", "MESSAGE_CREATE.1", FieldTable::default()).await;
    let (two, one) = (single(1, "x"), &guilds[1][0]);
    let reason = attempt(&transport, &guilds[2][0]).await.expect("no queue is bound for guild 2");
    assert!(reason.contains("no queue bound to exchange unbound for MESSAGE_CREATE.2: bind one"), "{reason}");
    assert_eq!((attempt(&transport, one).await, attempt(&transport, &two).await), (None, None));
    let bound = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        bind(&channel, "unbound", "#", FieldTable::default()).await;
    };
    let (failures, ()) = tokio::join!(deliver_all(&transport, &guilds), bound);
    assert!(!failures.is_empty(), "they waited for the queue");
    let got = ids(&drain(&channel, "unbound").await);
    let of_these: Got = got.into_iter().filter(|(id, _)| *id != two.id().to_string()).collect();
    assert_eq!(repeated(&of_these, &guilds), 1, "only the one that was delivered before");

    let transport =
        AmqpTransport::new(AmqpConfig { unroutable: Unroutable::Drop, exchange: "nobody".to_owned(), ..held });
    assert_eq!(attempt(&transport, one).await, None);
}

#[tokio::test]
async fn a_full_queue_refuses_and_the_event_is_kept() {
    let Some(rabbit) = rabbit().await else { return };
    let mut limit = FieldTable::default();
    limit.insert("x-max-length".into(), AMQPValue::LongInt(1));
    limit.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    let (_connection, channel) = consumer(&rabbit.url(), "full", "#", limit).await;
    let transport = AmqpTransport::new(config(&rabbit.url(), "full"));
    assert_eq!(attempt(&transport, &single(1, "first")).await, None);
    let second = single(2, "second");
    let reason = attempt(&transport, &second).await.expect("the queue is full");
    assert!(reason.contains("a queue is full"), "{reason}");
    assert_eq!(drain(&channel, "full").await.len(), 1);
    assert_eq!(attempt(&transport, &second).await, None);
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_alone() {
    let Some(rabbit) = rabbit().await else { return };
    let (_connection, channel) = consumer(&rabbit.url(), "large", "#", FieldTable::default()).await;
    let transport = AmqpTransport::new(config(&rabbit.url(), "large"));
    let (large, small) = (single(1, &"x".repeat(Rabbit::MAX_MESSAGE)), single(2, &"x".repeat(300_000)));
    let outcomes =
        tokio::join!(transport.deliver(std::slice::from_ref(&large)), transport.deliver(std::slice::from_ref(&small)));
    assert!(matches!(&outcomes.0, Outcome::Refused(reason) if reason.contains("larger than")), "{outcomes:?}");
    assert_eq!(outcomes.1, Outcome::Accepted);
    assert_eq!(ids(&drain(&channel, "large").await), [(small.id().to_string(), body(&small))]);
}

#[tokio::test]
async fn an_exchange_that_is_deleted_is_declared_again() {
    let Some(rabbit) = rabbit().await else { return };
    let (_connection, channel) = consumer(&rabbit.url(), "deleted", "#", FieldTable::default()).await;
    let transport = AmqpTransport::new(config(&rabbit.url(), "deleted"));
    assert_eq!(attempt(&transport, &single(1, "x")).await, None);
    channel.exchange_delete("deleted".into(), ExchangeDeleteOptions::default()).await.expect("it is deleted");
    let reason = attempt(&transport, &single(2, "x")).await.expect("there is no exchange");
    assert!(reason.contains("404"), "{reason}");
    let reason = attempt(&transport, &single(2, "x")).await.expect("there is no binding");
    assert!(reason.contains("no queue bound"), "{reason}");
    channel.queue_delete("deleted".into(), QueueDeleteOptions::default()).await.expect("it is deleted");
}

#[tokio::test]
async fn what_is_set_up_wrongly_is_told_without_secrets() {
    let Some(rabbit) = rabbit().await else { return };
    let (_connection, channel) = consumer(&rabbit.url(), "other", "#", FieldTable::default()).await;
    let direct = ExchangeDeclareOptions::default();
    let exchange = channel.exchange_declare("direct".into(), ExchangeKind::Direct, direct, FieldTable::default());
    exchange.await.expect("an exchange");
    let vhost = rabbit.url().replace("%2f", "nowhere");
    for (config, told) in [
        (config(&rabbit.url_of("guest", "SECRET"), "other"), "check the URL's user and password"),
        (config(&vhost, "other"), "check the URL's virtual host"),
        (config(&rabbit.url(), "direct"), "durable topic exchange"),
        (config("amqp://guest:SECRET@127.0.0.1:1/%2f", "other"), "refused"),
        (config("amqp://guest:SECRET@nowhere.invalid/%2f", "other"), "fails"),
    ] {
        let transport = AmqpTransport::new(config);
        let Outcome::Failed { reason, pause } = transport.deliver(&[single(1, "x")]).await else { panic!("{told}") };
        println!("{} {reason}", transport.shown());
        assert!(reason.contains(told), "{reason} does not say {told}");
        assert!(!format!("{} {reason}", transport.shown()).contains("SECRET"), "{reason}");
        assert_eq!(pause.is_some(), told.contains(' '), "{reason}");
    }
}

#[tokio::test]
async fn a_broker_that_never_answers_costs_its_time_limit_and_no_more() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("amqp://guest:guest@{}/%2f", silent.local_addr().expect("it is bound"));
    let transport = AmqpTransport::new(AmqpConfig { timeout: Duration::from_millis(200), ..config(&url, "silent") });
    let guilds = deliveries(10, 1);
    let reasons = futures_util::future::join_all(guilds.iter().map(|guild| attempt(&transport, &guild[0]))).await;
    assert!(reasons.iter().flatten().all(|reason| reason.contains("does not answer")), "{reasons:?}");
    assert_eq!(reasons.iter().flatten().count(), 10);
}

/// What lapin runs beside a worker: one thread for each connection, and none once the worker is gone.
#[test]
fn a_connection_costs_a_thread_which_ends_with_its_worker() {
    const ALONE: &str = "PILOTHOUSE_TEST_ALONE";
    const NAME: &str = "amqp::a_connection_costs_a_thread_which_ends_with_its_worker";
    if let Ok(url) = std::env::var(ALONE) {
        return count_threads(&url);
    }
    let runtime = runtime();
    let Some(rabbit) = runtime.block_on(rabbit()) else { return };
    // The threads of the tests beside this one cannot be told from its own.
    let mut alone = std::process::Command::new(std::env::current_exe().expect("a test knows its path"));
    let status = alone.args(["--exact", NAME, "--nocapture"]).env(ALONE, rabbit.url()).status();
    assert!(status.expect("it runs").success());
}

fn count_threads(url: &str) {
    let outer = runtime();
    let _consumer = outer.block_on(consumer(url, "threads", "#", FieldTable::default()));
    let routing_key = RoutingKey::parse("threads.{shard}").expect("a key");
    let config = AmqpConfig { routing_key, ..config(url, "threads") };
    assert_eq!(io_threads(), 1, "the consumer's");
    let worker = std::thread::spawn(move || {
        let (runtime, local, transport) = (runtime(), LocalSet::new(), AmqpTransport::new(config));
        assert!(runtime.block_on(local.run_until(deliver_all(&transport, &deliveries(100, 3)))).is_empty());
        assert_eq!(io_threads(), 2, "one for 100 events in flight");
    });
    worker.join().expect("the worker does not panic");
    outer.block_on(async {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("amqp://guest:guest@{}/%2f", silent.local_addr().expect("it is bound"));
        let timeout = Duration::from_millis(50);
        let transport = AmqpTransport::new(AmqpConfig { timeout, ..self::config(&url, "silent") });
        for seq in 0..5 {
            assert!(attempt(&transport, &single(seq, "x")).await.is_some(), "nobody answers");
        }
    });
    let ended = pilothouse_tests::eventually("lapin's threads end", Duration::from_secs(10), || io_threads() == 1);
    outer.block_on(ended);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Threads of lapin in this process.
fn io_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux tells the threads").flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with("lapin-io-loop")).count()
}
