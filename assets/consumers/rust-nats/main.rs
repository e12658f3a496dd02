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
        match handle(&message) {
            // Acknowledge when the work is done, not before: a bot that crashes in between gets the event again.
            Ok(line) => {
                println!("{line}");
                message.ack().await?;
            }
            // It will never be readable: do not send it again.
            Err(error) => {
                eprintln!("an event that cannot be read: {error}");
                message.ack_with(AckKind::Term).await?;
            }
        }
    }
    Ok(())
}

/// The bot's work. The id is the same however often the event comes; the server has dropped what the agent repeated.
fn handle(message: &Message) -> Result<String, Error> {
    let headers = message.headers.as_ref().ok_or("it has no headers")?;
    let id = headers.get("Nats-Msg-Id").ok_or("it has no id")?;
    // {"payload":{"op":0,"t":"MESSAGE_CREATE","s":1,"d":{…}},"shardId":0}
    let event: Value = serde_json::from_slice(&message.payload)?;
    let payload = &event["payload"];
    Ok(format!("{} {id} shard={}", payload["t"].as_str().ok_or("it has no type")?, event["shardId"]))
}
