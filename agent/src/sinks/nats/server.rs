//! One connection to a NATS server, and the stream on it.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config as StreamConfig, DiscardPolicy, Info};
use async_nats::jetstream::{Context, ErrorCode, context::GetStreamErrorKind};
use async_nats::{ConnectOptions, Event, ServerAddr};
use bytes::Bytes;
use tokio::sync::watch;

use super::trouble::{self, Trouble};
use crate::config::NatsConfig;
use crate::sinks::delivery::{Delivery, Outcome};

/// How long the server remembers ids: an agent that comes back within it repeats nothing.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(3_600);
/// A server that is silent for two of them is given up.
const PING: Duration = Duration::from_secs(10);

/// A connection. It is never mended: when it is lost, its attempts end at once and the next one makes another, so that
/// none waits for an answer that was lost with it.
pub(super) struct Server {
    context: Context,
    stream: String,
    lost: watch::Receiver<bool>,
}

impl Server {
    /// Connects, and creates the stream where it is missing.
    pub(super) async fn connect(config: &NatsConfig) -> Result<Self, Outcome> {
        let (tell, lost) = watch::channel(false);
        let options = options(config, tell).await?;
        let client = options.connect(addresses(config)).await.map_err(|error| trouble::connecting(&error))?;
        let mut context = ContextBuilder::new().timeout(config.timeout);
        context = context.max_ack_inflight(config.concurrency as usize);
        let server = Self { context: context.build(client), stream: config.stream.clone(), lost };
        server.ensure_stream(config).await?;
        Ok(server)
    }

    /// Publishes and waits for the acknowledgement.
    pub(super) async fn publish(&self, subject: String, delivery: &Delivery, body: Bytes) -> Result<(), Trouble> {
        let message = PublishMessage::build()
            .message_id(delivery.id().to_string())
            .header("Pilothouse-Received", delivery.received_ms.to_string())
            .header("Pilothouse-Shard", delivery.origin.shard.to_string())
            .expected_stream(&self.stream)
            .payload(body);
        let acknowledged = async { self.context.send_publish(subject, message).await?.await };
        let mut lost = self.lost.clone();
        tokio::select! {
            result = acknowledged => result.map(|_| ()).map_err(|error| trouble::publishing(&error, &self.stream)),
            _ = lost.wait_for(|lost| *lost) => Err(Trouble::lost()),
        }
    }

    async fn ensure_stream(&self, config: &NatsConfig) -> Result<(), Outcome> {
        match self.context.get_stream(&config.stream).await {
            Ok(mut stream) => match stream.info().await {
                Ok(info) => {
                    warn_of_window(info);
                    Ok(())
                }
                Err(error) => Err(trouble::stream(&config.stream, &error)),
            },
            Err(error) if is_missing(error.kind()) => {
                let created = self.context.create_stream(stream_config(config)).await;
                created.map(|_| ()).map_err(|error| trouble::stream(&config.stream, &error))
            }
            Err(error) => Err(trouble::stream(&config.stream, &error)),
        }
    }
}

async fn options(config: &NatsConfig, lost: watch::Sender<bool>) -> Result<ConnectOptions, Outcome> {
    let lost = Arc::new(lost);
    let mut options = ConnectOptions::new()
        .name(format!("pilothouse {}", config.name))
        .connection_timeout(config.timeout)
        .request_timeout(Some(config.timeout))
        .ping_interval(PING)
        .ignore_discovered_servers()
        .max_reconnects(config.urls.len())
        .event_callback(move |event| {
            let lost = Arc::clone(&lost);
            async move {
                if matches!(event, Event::Disconnected | Event::Closed) {
                    lost.send_replace(true);
                }
            }
        });
    if let Some(ca) = &config.ca_file {
        options = options.add_root_certificates(ca.path().to_owned());
    }
    if let Some(path) = &config.credentials_file {
        let read = options.credentials_file(path).await;
        options = read.map_err(|error| trouble::credentials(path, &error))?;
    }
    Ok(with_credentials(options, config))
}

/// Credentials leave the URLs, which async-nats logs.
fn with_credentials(options: ConnectOptions, config: &NatsConfig) -> ConnectOptions {
    let decoded = |text: &str| percent_decoded(text);
    let Some(url) = config.urls.first().map(|url| url.expose()) else { return options };
    match (url.username(), url.password()) {
        ("", None) => options,
        (token, None) => options.token(decoded(token)),
        (user, Some(password)) => options.user_and_password(decoded(user), decoded(password)),
    }
}

fn addresses(config: &NatsConfig) -> Vec<ServerAddr> {
    let addresses = config.urls.iter().map(|url| {
        let mut url = url.expose().clone();
        let cleared = url.set_username("").and_then(|()| url.set_password(None));
        cleared.expect("a URL with a host takes credentials, or none");
        ServerAddr::from_url(url).expect("the configuration allows only schemes of NATS")
    });
    addresses.collect()
}

fn stream_config(config: &NatsConfig) -> StreamConfig {
    StreamConfig {
        name: config.stream.clone(),
        subjects: vec![format!("{}.>", config.subject)],
        discard: DiscardPolicy::New,
        max_bytes: i64::try_from(config.max_bytes).ok().filter(|bytes| *bytes > 0).unwrap_or(-1),
        max_age: config.max_age.unwrap_or_default(),
        num_replicas: usize::from(config.replicas),
        duplicate_window: DUPLICATE_WINDOW,
        description: Some("Discord's events, published by Pilothouse".to_owned()),
        ..StreamConfig::default()
    }
}

fn is_missing(error: GetStreamErrorKind) -> bool {
    matches!(error, GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

fn warn_of_window(info: &Info) {
    let window = info.config.duplicate_window;
    if window < DUPLICATE_WINDOW {
        tracing::warn!(
            "stream {} remembers ids for {window:?} only: after a longer failure events can come twice; \
             set its duplicate window to {DUPLICATE_WINDOW:?} or more",
            info.config.name
        );
    }
}

/// As browsers and brokers read a URL's user and password.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = (*first == b'%').then(|| after.get(..2)).flatten();
        let code = code.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_read_as_urls_write_them() {
        for (written, meant) in [("p%40ss", "p@ss"), ("100%", "100%"), ("%zz%2", "%zz%2"), ("%C3%A9", "é")] {
            assert_eq!(percent_decoded(written), meant);
        }
    }

    #[test]
    fn addresses_hold_no_credentials() {
        let url = crate::config::BrokerUrl::parse("nats://bot:SECRET@mq:4222", &["nats"]).unwrap();
        assert_eq!(addresses(&NatsConfig::new([url]))[0].as_url_str(), "nats://mq:4222");
    }
}
