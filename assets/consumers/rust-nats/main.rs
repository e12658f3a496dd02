//! A bot's side of Pilothouse's `nats` sink, to start from: reads events from JetStream and prints them. The place in the
//! stream is a durable consumer's, so that events wait on the server while the bot is away.
//!
//! NATS_URL=nats://127.0.0.1:4222 cargo run --release -p pilothouse-tests --bin consumer-nats
//! Outside of this repository it needs the crates async-nats, futures-util, serde_json and tokio.

use std::time::Duration;

use async_nats::ConnectOptions;
use async_nats::jetstream::consumer::pull::Config;
use async_nats::jetstream::{self, AckKind, Message};
use futures_util::StreamExt;
use serde_json::Value;

/// Before an event comes again after the bot's own code failed on it.
const PAUSE: Duration = Duration::from_secs(1);

type Error = Box<dyn std::error::Error + Send + Sync>;

fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    // async-nats does not read the credentials of a URL.
    let options = match std::env::var("NATS_USER") {
        Ok(user) => ConnectOptions::with_user_and_password(user, setting("NATS_PASSWORD", "")),
        Err(_) => ConnectOptions::new(),
    };
    let client = options.connect(setting("NATS_URL", "nats://127.0.0.1:4222")).await?;
    // The agent makes the stream when it delivers its first event.
    let stream = jetstream::new(client).get_stream(setting("NATS_STREAM", "PILOTHOUSE")).await?;
    let durable = setting("NATS_CONSUMER", "bot");
    let config = Config {
        durable_name: Some(durable.clone()),
        // Only these subjects, e.g. pilothouse.MESSAGE_CREATE.*; the default is all.
        filter_subject: setting("NATS_FILTER", ""),
        // What is not acknowledged within this time comes again.
        ack_wait: Duration::from_secs(30),
        // One at a time keeps the order even when an event comes again. More is faster.
        max_ack_pending: 1,
        ..Config::default()
    };
    let consumer = stream.get_or_create_consumer(&durable, config).await?;
    let mut messages = consumer.messages().await?;
    while let Some(message) = messages.next().await {
        let message = message?;
        let end = match read(&message) {
            Ok(event) => match handle(&event) {
                // Acknowledge when the work is done, not before: a bot that crashes in between gets the event again.
                Ok(()) => AckKind::Ack,
                // The bot's fault, not the event's: it comes again. A consumer's max_deliver can limit how often.
                Err(error) => {
                    eprintln!("{}: {error}", event.id);
                    AckKind::Nak(Some(PAUSE))
                }
            },
            // It will never be readable: do not send it again.
            Err(error) => {
                eprintln!("an event that cannot be read: {error}");
                AckKind::Term
            }
        };
        message.ack_with(end).await?;
    }
    Ok(())
}

/// An event. Its id is the same however often it comes; the server has dropped what the agent repeated.
struct Event {
    id: String,
    kind: String,
    /// `{"payload":{"op":0,"t":"MESSAGE_CREATE","s":1,"d":{…}},"shardId":0}`
    body: Value,
}

fn read(message: &Message) -> Result<Event, Error> {
    let headers = message.headers.as_ref().ok_or("it has no headers")?;
    let id = headers.get("Nats-Msg-Id").ok_or("it has no id")?;
    let body: Value = serde_json::from_slice(&message.payload)?;
    let kind = body["payload"]["t"].as_str().ok_or("it has no type")?.to_owned();
    Ok(Event { id: id.to_string(), kind, body })
}

/// The bot's work.
fn handle(event: &Event) -> Result<(), Error> {
    println!("{} {} shard={}", event.kind, event.id, event.body["shardId"]);
    Ok(())
}
