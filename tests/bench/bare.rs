//! The floor beneath the sinks: what a bare client of the same library does, from the call that publishes to the other
//! side's answer. It keeps no order, no queue and no copy.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
    QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use pilothouse_tests::brokers::Nats;

/// As long as the sandbox's usual event.
const BODY: [u8; 600] = [b'x'; 600];
/// The sandbox's pace: what is due is sent once in this time.
const TICK: Duration = Duration::from_millis(1);
/// Messages without an answer while saturated: as many as a sink of the brokers' kinds has.
const AT_ONCE: usize = 256;

/// A client that only publishes.
pub(crate) enum Publisher {
    /// POSTs to a URL.
    Http(reqwest::Client, String),
    /// On one channel with confirmations, to the exchange and the durable queue of a name.
    Amqp { channel: Channel, name: String, _connection: Connection },
    /// With acknowledgements of JetStream, to a subject that a stream takes.
    Nats(async_nats::jetstream::Context, String),
}

/// How long answers took, microseconds.
#[derive(Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) p50: u32,
    pub(crate) p99: u32,
}

impl Publisher {
    pub(crate) fn http(url: &str) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build()?;
        Ok(Self::Http(client, url.to_owned()))
    }

    /// Declares the exchange `name`, durable, and a durable queue of the same name that takes all of it.
    pub(crate) async fn amqp(url: &str, name: &str) -> anyhow::Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(name.into(), ExchangeKind::Topic, options, FieldTable::default()).await?;
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(name.into(), options, FieldTable::default()).await?;
        let options = QueueBindOptions::default();
        channel.queue_bind(name.into(), name.into(), "#".into(), options, FieldTable::default()).await?;
        Ok(Self::Amqp { channel, name: name.to_owned(), _connection: connection })
    }

    pub(crate) async fn nats(nats: &Nats, subject: &str) -> anyhow::Result<Self> {
        let options = async_nats::ConnectOptions::with_user_and_password("bot".to_owned(), Nats::PASSWORD.to_owned());
        let client = options.connect(nats.bare_url()).await?;
        Ok(Self::Nats(async_nats::jetstream::new(client), subject.to_owned()))
    }

    /// Throws away what a queue that nobody reads holds by now.
    pub(crate) async fn clear(&self) -> anyhow::Result<()> {
        if let Self::Amqp { channel, name, .. } = self {
            channel.queue_purge(name.as_str().into(), QueuePurgeOptions::default()).await?;
        }
        Ok(())
    }

    async fn publish(&self) -> anyhow::Result<()> {
        match self {
            Self::Http(client, url) => {
                let request = client.post(url).header("content-type", "application/json").body(BODY.as_slice());
                request.send().await?.error_for_status()?.bytes().await?;
            }
            Self::Amqp { channel, name, .. } => {
                let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
                let (persistent, key) = (BasicProperties::default().with_delivery_mode(2), "MESSAGE_CREATE.1".into());
                channel.basic_publish(name.as_str().into(), key, options, &BODY, persistent).await?.await?;
            }
            Self::Nats(context, subject) => {
                context.publish(subject.clone(), BODY.as_slice().into()).await?.await?;
            }
        }
        Ok(())
    }

    /// Answers a second with as many messages under way as it may have: the other side's own knee.
    pub(crate) async fn saturated(&self, round: Duration) -> anyhow::Result<f64> {
        let mut under_way: FuturesUnordered<_> = (0..AT_ONCE).map(|_| self.publish()).collect();
        let (begin, mut answered) = (Instant::now(), 0);
        while let Some(answer) = under_way.next().await {
            answer?;
            answered += 1;
            if begin.elapsed() < round {
                under_way.push(self.publish());
            }
        }
        Ok(f64::from(answered) / begin.elapsed().as_secs_f64())
    }

    /// Publishes `rate` messages a second.
    pub(crate) async fn paced(&self, rate: f64, round: Duration) -> anyhow::Result<Latency> {
        let (mut took, mut under_way, mut sent) = (Vec::new(), FuturesUnordered::new(), 0);
        let (mut tick, begin) = (tokio::time::interval(TICK), Instant::now());
        let one = async || -> anyhow::Result<Duration> {
            let begin = Instant::now();
            self.publish().await?;
            Ok(begin.elapsed())
        };
        while begin.elapsed() < round || !under_way.is_empty() {
            tokio::select! {
                Some(answered) = under_way.next() => took.push(u32::try_from(Duration::as_micros(&answered?))?),
                _ = tick.tick() => {
                    let due = (rate * begin.elapsed().min(round).as_secs_f64()) as usize;
                    (sent..due).for_each(|_| under_way.push(one()));
                    sent = sent.max(due);
                }
            }
        }
        took.sort_unstable();
        let at = |share: f64| took.get((took.len() as f64 * share) as usize).copied().context("nothing was sent");
        Ok(Latency { p50: at(0.5)?, p99: at(0.99)? })
    }
}
