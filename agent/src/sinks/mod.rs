//! Sinks deliver events to the bot. Each worker runs its own instance of every sink, on its own thread.
//!
//! Contract: [`Sink::push`] never blocks and never drops; events of one guild reach one route in the order in
//! which they were pushed, at most one of them in flight; an event is confirmed once, after the bot has it. How
//! many events can be outstanding is bounded by the lanes, which stop reading their sockets.

use std::sync::Arc;

use crate::config::SinkConfig;
use crate::pipeline::Event;

pub mod amqp;
pub mod delivery;
mod direct;
mod envelope;
pub mod http;
mod link;
pub mod nats;

/// Makes one worker's instances of the sinks, on its thread.
pub type SinkFactory = Arc<dyn Fn() -> anyhow::Result<Vec<Box<dyn Sink>>> + Send + Sync>;

/// A way to the bot.
pub trait Sink {
    /// Takes over events, in order; each is confirmed through [`Event::confirm`] when the bot has it.
    fn push(&self, events: &[Event]);

    /// Its state, for people.
    fn report(&self) -> SinkReport;
}

/// What one instance of a sink tells about itself; the sampler adds the instances up.
#[derive(Clone, Debug, Default)]
pub struct SinkReport {
    /// Name in the configuration.
    pub name: String,
    /// `http`, …
    pub kind: &'static str,
    /// Why it does not deliver, where it does not: `connection refused by http://…, retrying`.
    pub trouble: Option<String>,
    /// Events waiting or in flight.
    pub queued: u32,
    /// Events confirmed since the start.
    pub delivered: u64,
    /// Attempts that failed and were or will be repeated.
    pub retries: u64,
    /// Events that the bot refused for good.
    pub dead: u64,
}

/// Makes every configured sink, once for each worker; must be called inside the worker's `LocalSet`.
pub fn factory(configs: Vec<SinkConfig>) -> SinkFactory {
    Arc::new(move || configs.iter().map(start).collect())
}

fn start(config: &SinkConfig) -> anyhow::Result<Box<dyn Sink>> {
    match config {
        SinkConfig::Http(config) => Ok(Box::new(http::HttpSink::start(config)?)),
        SinkConfig::Amqp(config) => {
            let transport = amqp::AmqpTransport::new(config.clone());
            Ok(Box::new(direct::DirectSink::start(config.name.clone(), "amqp", transport, config.concurrency)))
        }
        SinkConfig::Nats(config) => {
            let transport = nats::NatsTransport::new(config.clone());
            Ok(Box::new(direct::DirectSink::start(config.name.clone(), "nats", transport, config.concurrency)))
        }
    }
}
