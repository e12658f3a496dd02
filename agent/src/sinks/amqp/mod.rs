//! The `amqp` sink's way to RabbitMQ: each event is a persistent message to a topic exchange, confirmed by the broker.
//!
//! A message that no queue takes comes back and counts as not delivered, unless the configuration says that it is not
//! wanted. Its id and receive time go in the message's properties.

mod broker;
mod trouble;

use tokio::time::{Instant, timeout_at};

use self::broker::{Broker, Message, Taken};
use super::delivery::{Delivery, Outcome, Transport};
use super::envelope;
use super::link::Link;
use crate::config::{AmqpConfig, Unroutable};

/// Publishes to one exchange, over one connection that it makes when it is first needed and again after a loss.
pub struct AmqpTransport {
    config: AmqpConfig,
    link: Link<Broker>,
}

impl AmqpTransport {
    /// Not connected yet. To be used within a tokio runtime: the connection lives on it.
    pub fn new(config: AmqpConfig) -> Self {
        Self { config, link: Link::new() }
    }

    async fn publish(&self, delivery: &Delivery) -> Outcome {
        let deadline = Instant::now() + self.config.timeout;
        let broker = match timeout_at(deadline, self.link.get(Broker::connect(&self.config))).await {
            Ok(Ok(broker)) => broker,
            Ok(Err(outcome)) => return outcome,
            Err(_) => return failed("does not answer, connecting again"),
        };
        let message = self.message(delivery);
        let size = message.body.len();
        match timeout_at(deadline, broker.publish(message)).await {
            Ok(Ok(taken)) => self.judge(taken, delivery),
            Ok(Err(error)) => {
                let outcome = trouble::outcome(&error, size);
                if !matches!(outcome, Outcome::Refused(_)) {
                    self.link.lose(&broker);
                }
                outcome
            }
            Err(_) => {
                self.link.lose(&broker);
                failed(&format!("confirms nothing within {:?}, connecting again", self.config.timeout))
            }
        }
    }

    fn message(&self, delivery: &Delivery) -> Message {
        let kind = envelope::type_name(delivery);
        let guild = delivery.guild.map_or(0, |guild| guild.0);
        Message {
            routing_key: self.config.routing_key.of(kind, guild, delivery.origin.shard),
            mandatory: self.config.unroutable == Unroutable::Hold,
            properties: broker::properties(delivery, kind),
            body: envelope::single(delivery),
        }
    }

    fn judge(&self, taken: Taken, delivery: &Delivery) -> Outcome {
        match taken {
            Taken::Confirmed => Outcome::Accepted,
            Taken::Returned(routing_key) => failed(&format!(
                "has no queue bound to exchange {} for {routing_key}: bind one, or set unroutable = \"drop\"",
                self.config.exchange
            )),
            Taken::Refused => failed(&format!(
                "refuses {}: a queue is full (x-overflow = reject-publish) or cannot store it",
                envelope::type_name(delivery)
            )),
            Taken::Blocked => failed("takes no messages now: it has a memory or disk alarm"),
        }
    }
}

impl Transport for AmqpTransport {
    async fn deliver(&self, batch: &[Delivery]) -> Outcome {
        let [delivery] = batch else { unreachable!("a batch of this transport is one event") };
        self.publish(delivery).await
    }

    fn shown(&self) -> &str {
        self.config.url.shown()
    }
}

fn failed(reason: &str) -> Outcome {
    Outcome::Failed { reason: reason.to_owned(), pause: None }
}
