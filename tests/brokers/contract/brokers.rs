//! The other sides that are real brokers, each for one test alone, which kills and stops it.

use std::time::Duration;

use async_nats::jetstream::Context;
use lapin::options::BasicGetOptions;
use lapin::types::FieldTable;
use pilothouse_agent::config::{AmqpConfig, NatsConfig, SinkConfig};
use pilothouse_tests::brokers::{Nats, Rabbit};

use super::{ATTEMPTS, Arrived, Outage, Place, TIMEOUT};
use crate::{amqp, nats};

const NAME: &str = "contract";

/// A durable queue of RabbitMQ, bound to the sink's exchange.
pub(super) struct Queue {
    rabbit: Rabbit,
    outage: Option<Outage>,
}

impl Queue {
    pub(super) async fn start() -> Result<Self, String> {
        let rabbit = Rabbit::start().await?;
        drop(amqp::consumer(&rabbit.url(), NAME, "#", FieldTable::default()).await);
        // Mnesia writes definitions later: killed before that, RabbitMQ forgets the queue and what it has confirmed in it.
        tokio::time::sleep(Duration::from_secs(3)).await;
        Ok(Self { rabbit, outage: None })
    }
}

impl Place for Queue {
    const OUTAGES: &[Outage] = &[Outage::Gone, Outage::Silent];
    const BATCH: u32 = 1;

    fn sink(&self) -> SinkConfig {
        let config = amqp::config(&self.rabbit.url(), NAME);
        SinkConfig::Amqp(AmqpConfig { concurrency: ATTEMPTS, timeout: TIMEOUT, ..config })
    }

    fn shown(&self) -> String {
        amqp::config(&self.rabbit.url(), NAME).url.shown().to_owned()
    }

    async fn away(&mut self, outage: Outage) {
        self.outage = Some(outage);
        match outage {
            Outage::Gone => self.rabbit.kill(),
            Outage::Silent => self.rabbit.freeze(),
        }
    }

    async fn back(&mut self) {
        match self.outage.take().expect("it is away") {
            Outage::Gone => self.rabbit.restart().await,
            Outage::Silent => self.rabbit.thaw(),
        }
    }

    async fn arrived(&mut self) -> Vec<Arrived> {
        let (_connection, channel) = amqp::consumer(&self.rabbit.url(), NAME, "#", FieldTable::default()).await;
        let mut arrived = Vec::new();
        while let Some(message) =
            channel.basic_get(NAME.into(), BasicGetOptions { no_ack: true }).await.expect("the queue is there")
        {
            arrived.push(Arrived::read(&message.delivery.data));
        }
        arrived
    }
}

/// A stream of a NATS server.
pub(super) struct Stream {
    nats: Nats,
    outage: Option<Outage>,
    /// The last message that was read.
    read: u64,
}

impl Stream {
    pub(super) async fn start() -> Result<Self, String> {
        Ok(Self { nats: Nats::start().await?, outage: None, read: 0 })
    }
}

impl Place for Stream {
    const OUTAGES: &[Outage] = &[Outage::Gone, Outage::Silent];
    const BATCH: u32 = 1;

    fn sink(&self) -> SinkConfig {
        let config = nats::config(&self.nats.url(), NAME);
        SinkConfig::Nats(NatsConfig { concurrency: ATTEMPTS, timeout: TIMEOUT, ..config })
    }

    fn shown(&self) -> String {
        nats::config(&self.nats.url(), NAME).urls[0].shown().to_owned()
    }

    async fn away(&mut self, outage: Outage) {
        self.outage = Some(outage);
        match outage {
            Outage::Gone => self.nats.kill(),
            Outage::Silent => self.nats.freeze(),
        }
    }

    async fn back(&mut self) {
        match self.outage.take().expect("it is away") {
            Outage::Gone => self.nats.restart().await,
            Outage::Silent => self.nats.thaw(),
        }
    }

    async fn arrived(&mut self) -> Vec<Arrived> {
        let context: Context = nats::client(&self.nats.url()).await;
        let mut stream = context.get_stream(NAME).await.expect("the sink made it");
        let last = stream.info().await.expect("its state").state.last_sequence;
        let mut arrived = Vec::new();
        for at in self.read + 1..=last {
            arrived.push(Arrived::read(&stream.get_raw_message(at).await.expect("it is kept").payload));
        }
        self.read = last;
        arrived
    }
}
