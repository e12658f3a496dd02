//! `NatsTransport` against nats-server with JetStream.

use std::time::Duration;

use async_nats::jetstream::consumer::pull::OrderedConfig;
use async_nats::jetstream::stream::{Config as StreamConfig, DiscardPolicy};
use async_nats::jetstream::{self, Context};
use async_nats::{ConnectOptions, Message};
use futures_util::StreamExt;
use pilothouse_agent::config::{BrokerUrl, NatsConfig};
use pilothouse_agent::sinks::delivery::{Outcome, Transport};
use pilothouse_agent::sinks::nats::NatsTransport;
use pilothouse_tests::brokers::Nats;
use tokio::sync::OnceCell;
use tokio::task::LocalSet;

use crate::feed::{Got, attempt, body, deliver_all, deliveries, repeated, single};

/// One for all tests that leave it alive; it ends with this process.
pub(crate) async fn nats() -> Option<&'static Nats> {
    static SHARED: OnceCell<Result<Nats, String>> = OnceCell::const_new();
    let nats = SHARED.get_or_init(Nats::start).await;
    nats.as_ref().inspect_err(|why| eprintln!("SKIPPED: the nats sink against nats-server: {why}")).ok()
}

/// The defaults, on a stream of its own.
pub(crate) fn config(url: &str, stream: &str) -> NatsConfig {
    let url = BrokerUrl::parse(url, &["nats"]).expect("a URL");
    NatsConfig { stream: stream.to_owned(), subject: stream.to_owned(), ..NatsConfig::new([url]) }
}

/// A client of its own.
pub(crate) async fn client(url: &str) -> Context {
    // async-nats does not read the credentials of a URL.
    let options = ConnectOptions::with_user_and_password("bot".to_owned(), Nats::PASSWORD.to_owned());
    jetstream::new(options.connect(url).await.expect("NATS takes clients"))
}

/// Everything in the stream, until nothing comes for a while.
async fn read(context: &Context, stream: &str) -> Vec<Message> {
    let stream = context.get_stream(stream).await.expect("the sink made it");
    let consumer = stream.create_consumer(OrderedConfig::default()).await.expect("a consumer");
    let mut messages = consumer.messages().await.expect("messages");
    let mut got = Vec::new();
    while let Ok(Some(message)) = tokio::time::timeout(Duration::from_secs(1), messages.next()).await {
        got.push(message.expect("a message").split().0);
    }
    got
}

fn header(message: &Message, name: &str) -> String {
    let headers = message.headers.as_ref().expect("headers");
    headers.get(name).unwrap_or_else(|| panic!("{name} is missing")).to_string()
}

fn ids(messages: &[Message]) -> Got {
    let body = |message: &Message| String::from_utf8(message.payload.to_vec()).expect("JSON is UTF-8");
    messages.iter().map(|message| (header(message, "Nats-Msg-Id"), body(message))).collect()
}

#[tokio::test]
async fn every_event_arrives_once_in_order_and_says_what_it_is() {
    let Some(nats) = nats().await else { return };
    let (guilds, transport) = (deliveries(50, 20), NatsTransport::new(config(&nats.url(), "whole")));
    // As a worker runs it.
    let failures = LocalSet::new().run_until(deliver_all(&transport, &guilds)).await;
    assert!(failures.is_empty(), "{failures:?}");
    let context = client(&nats.url()).await;
    let messages = read(&context, "whole").await;
    assert_eq!(repeated(&ids(&messages), &guilds), 0);
    let of_none = messages.iter().find(|message| header(message, "Nats-Msg-Id").ends_with("/1")).expect("it arrived");
    assert_eq!(of_none.subject.as_str(), "whole.MESSAGE_CREATE.0");
    assert_eq!(
        (header(of_none, "Pilothouse-Received"), header(of_none, "Pilothouse-Shard")),
        ("1700000000124".to_owned(), "7".to_owned())
    );
    let mut stream = context.get_stream("whole").await.expect("the sink made it");
    assert!(stream.info().await.expect("its state").config.duplicate_window >= Duration::from_secs(3600));
}

#[tokio::test]
async fn killed_and_restarted_in_the_middle_nothing_is_lost_or_doubled() {
    let mut nats = match Nats::start().await {
        Ok(nats) => nats,
        Err(why) => return eprintln!("SKIPPED: the nats sink while nats-server is killed: {why}"),
    };
    let (guilds, transport) = (deliveries(100, 100), NatsTransport::new(config(&nats.url(), "killed")));
    let url = nats.url();
    let kill = async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            nats.kill();
            nats.restart().await;
        }
    };
    let (failures, ()) = tokio::join!(deliver_all(&transport, &guilds), kill);
    assert!(!failures.is_empty(), "it was killed too late to matter");
    println!("failures: {failures:?}");
    assert_eq!(repeated(&ids(&read(&client(&url).await, "killed").await), &guilds), 0);
}

#[tokio::test]
async fn an_event_that_is_published_again_is_stored_once() {
    let Some(nats) = nats().await else { return };
    let delivery = single(1, "x");
    for _ in 0..3 {
        // As after a restart of the agent.
        let transport = NatsTransport::new(config(&nats.url(), "again"));
        assert_eq!(attempt(&transport, &delivery).await, None);
    }
    let got = ids(&read(&client(&nats.url()).await, "again").await);
    assert_eq!(got, [(delivery.id().to_string(), body(&delivery))]);
}

#[tokio::test]
async fn a_stream_that_is_deleted_is_created_again() {
    let Some(nats) = nats().await else { return };
    let transport = NatsTransport::new(config(&nats.url(), "deleted"));
    assert_eq!(attempt(&transport, &single(1, "x")).await, None);
    let context = client(&nats.url()).await;
    context.delete_stream("deleted").await.expect("it is deleted");
    let reason = attempt(&transport, &single(2, "x")).await.expect("the stream is gone");
    assert!(reason.contains("has no stream deleted now"), "{reason}");
    assert_eq!(attempt(&transport, &single(2, "x")).await, None);
    assert_eq!(read(&context, "deleted").await.len(), 1);
}

#[tokio::test]
async fn a_full_stream_refuses_and_the_event_is_kept() {
    let Some(nats) = nats().await else { return };
    let context = client(&nats.url()).await;
    let full = StreamConfig {
        name: "full".to_owned(),
        subjects: vec!["full.>".to_owned()],
        discard: DiscardPolicy::New,
        max_messages: 1,
        ..StreamConfig::default()
    };
    context.create_stream(full.clone()).await.expect("a stream of somebody else's");
    let transport = NatsTransport::new(config(&nats.url(), "full"));
    assert_eq!(attempt(&transport, &single(1, "x")).await, None);
    let reason = attempt(&transport, &single(2, "x")).await.expect("it is full");
    assert!(reason.contains("does not store the message, retrying: maximum messages exceeded"), "{reason}");
    context.update_stream(StreamConfig { max_messages: 2, ..full }).await.expect("there is room");
    assert_eq!(attempt(&transport, &single(2, "x")).await, None);
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_alone() {
    let Some(nats) = nats().await else { return };
    let transport = NatsTransport::new(config(&nats.url(), "large"));
    let large = single(1, &"x".repeat(Nats::MAX_MESSAGE));
    let outcome = transport.deliver(std::slice::from_ref(&large)).await;
    assert!(matches!(&outcome, Outcome::Refused(reason) if reason.contains("1048576")), "{outcome:?}");
    assert_eq!(attempt(&transport, &single(2, &"x".repeat(300_000))).await, None);
}

#[tokio::test]
async fn what_is_set_up_wrongly_is_told_without_secrets() {
    let Some(nats) = nats().await else { return };
    let taken = NatsConfig { subject: "elsewhere".to_owned(), ..config(&nats.url(), "here") };
    assert_eq!(attempt(&NatsTransport::new(taken.clone()), &single(1, "x")).await, None);
    for (config, told) in [
        (config(&nats.url_of("bot", "SECRET"), "wrong"), "refuses the credentials"),
        (config(&nats.url().replace("bot:hunter2", "SECRET"), "wrong"), "refuses the credentials"),
        (NatsConfig { stream: "there".to_owned(), ..taken }, "overlap with an existing stream"),
        (config("nats://bot:SECRET@127.0.0.1:1", "wrong"), "refused"),
        (config("nats://bot:SECRET@nowhere.invalid:4222", "wrong"), "fails"),
    ] {
        let transport = NatsTransport::new(config);
        let Outcome::Failed { reason, .. } = transport.deliver(&[single(1, "x")]).await else { panic!("{told}") };
        println!("{} {reason}", transport.shown());
        assert!(reason.contains(told), "{reason} does not say {told}");
        assert!(!format!("{} {reason}", transport.shown()).contains("SECRET"), "{reason}");
    }
}

#[tokio::test]
async fn a_server_that_never_answers_costs_its_time_limit_and_no_more() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("nats://{}", silent.local_addr().expect("it is bound"));
    let transport = NatsTransport::new(NatsConfig { timeout: Duration::from_millis(200), ..config(&url, "silent") });
    let guilds = deliveries(10, 1);
    let reasons = futures_util::future::join_all(guilds.iter().map(|guild| attempt(&transport, &guild[0]))).await;
    assert!(reasons.iter().flatten().all(|reason| reason.contains("does not answer")), "{reasons:?}");
    assert_eq!(reasons.iter().flatten().count(), 10);
}
