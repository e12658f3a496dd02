//! The `nats` sink's way to NATS JetStream: each event is a message of one stream, acknowledged by the server.
//!
//! The event's id is the message's, so that the server drops what is published again after a failure whose outcome is
//! not known. The stream is created where it is missing.

mod server;
mod trouble;

use tokio::time::{Instant, timeout_at};

use self::server::Server;
use super::delivery::{Delivery, Outcome, Transport};
use super::envelope;
use super::link::Link;
use crate::config::{BrokerUrl, NatsConfig};

/// Publishes to one stream, over one connection that it makes when it is first needed and again after a loss.
pub struct NatsTransport {
    config: NatsConfig,
    shown: String,
    link: Link<Server>,
}

impl NatsTransport {
    /// Not connected yet. To be used within a tokio runtime: the connection lives on it.
    pub fn new(config: NatsConfig) -> Self {
        let shown = config.urls.iter().map(BrokerUrl::shown).collect::<Vec<_>>().join(",");
        Self { config, shown, link: Link::new() }
    }

    async fn publish(&self, delivery: &Delivery) -> Outcome {
        let deadline = Instant::now() + self.config.timeout;
        let server = match timeout_at(deadline, self.link.get(Server::connect(&self.config))).await {
            Ok(Ok(server)) => server,
            Ok(Err(outcome)) => return outcome,
            Err(_) => return trouble::failed("does not answer, connecting again"),
        };
        let attempt = server.publish(self.subject(delivery), delivery, envelope::single(delivery));
        match timeout_at(deadline, attempt).await {
            Ok(Ok(())) => Outcome::Accepted,
            Ok(Err(trouble)) => {
                if trouble.connect_again {
                    self.link.lose(&server);
                }
                trouble.outcome
            }
            Err(_) => {
                self.link.lose(&server);
                trouble::failed(&format!("acknowledges nothing within {:?}, connecting again", self.config.timeout))
            }
        }
    }

    fn subject(&self, delivery: &Delivery) -> String {
        let guild = delivery.guild.map_or(0, |guild| guild.0);
        format!("{}.{}.{guild}", self.config.subject, envelope::type_name(delivery))
    }
}

impl Transport for NatsTransport {
    async fn deliver(&self, batch: &[Delivery]) -> Outcome {
        let [delivery] = batch else { unreachable!("a batch of this transport is one event") };
        self.publish(delivery).await
    }

    fn shown(&self) -> &str {
        &self.shown
    }
}
