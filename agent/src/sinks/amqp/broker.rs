//! One connection to RabbitMQ and its channels. A channel carries one message at a time, so that whatever the broker says
//! on it (a confirmation, a returned message, a closed channel) is about that message.

use std::cell::RefCell;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::Mutex;

use bytes::Bytes;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::tcp::{AsyncTcpStream, OwnedTLSConfig};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Error, ExchangeKind, runtime};

use super::trouble;
use crate::config::AmqpConfig;
use crate::sinks::delivery::{Delivery, Outcome};

/// Seconds between heartbeats unless the URL says otherwise; a silent broker is given up after two of them.
const HEARTBEAT: u16 = 10;
/// Bytes of a frame at most, unless the URL says otherwise. lapin keeps two buffers of 32 frames a connection; the
/// broker's own 128 KiB would be 8 MiB for each worker.
const FRAME: u32 = 32 * 1024;
const PERSISTENT: u8 = 2;

/// A connection.
pub(super) struct Broker {
    connection: Connection,
    exchange: ShortString,
    /// Channels that carry nothing now; as many are open as events were once in flight.
    free: RefCell<Vec<Channel>>,
}

/// A message on its way.
pub(super) struct Message {
    pub(super) routing_key: String,
    /// To come back where no queue takes it.
    pub(super) mandatory: bool,
    pub(super) properties: BasicProperties,
    pub(super) body: Bytes,
}

/// What the broker did with a message.
pub(super) enum Taken {
    /// It has it.
    Confirmed,
    /// No queue took it, by this routing key.
    Returned(String),
    /// A queue refused it.
    Refused,
    /// It was not sent: the broker takes none now.
    Blocked,
}

impl Broker {
    /// Connects and declares the exchange.
    pub(super) async fn connect(config: &AmqpConfig) -> Result<Self, Outcome> {
        Self::open(config).await.map_err(|error| trouble::outcome(&error, 0))
    }

    async fn open(config: &AmqpConfig) -> Result<Self, Error> {
        let (uri, runtime) = (uri(config)?, runtime::default_runtime()?);
        let plain = AsyncTcpStream::connect(
            &runtime,
            runtime.to_socket_addrs((uri.authority.host.clone(), uri.authority.port)),
        )
        .await?;
        let hangup = match &plain {
            AsyncTcpStream::Plain(socket) => Hangup::of(socket.get_ref())?,
            _ => Hangup(None),
        };
        let stream = match uri.scheme {
            AMQPScheme::AMQP => plain,
            AMQPScheme::AMQPS => plain.into_tls(&uri.authority.host, tls(config).as_ref()).await?,
        };
        let stream = Mutex::new(Some(stream));
        let connect = async move |_, _| {
            let stream = stream.lock().ok().and_then(|mut stream| stream.take());
            // lapin asks again when the broker hangs up during the handshake.
            Ok(stream.ok_or(io::Error::from(io::ErrorKind::ConnectionAborted))?)
        };
        let name = format!("pilothouse {}", config.name);
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let connection = Connection::connector(uri, runtime, connect, properties).await?;
        let broker = Self { connection, exchange: config.exchange.as_str().into(), free: RefCell::default() };
        broker.declare().await?;
        hangup.disarm();
        Ok(broker)
    }

    async fn declare(&self) -> Result<(), Error> {
        let channel = self.open_channel().await?;
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(self.exchange.clone(), ExchangeKind::Topic, options, FieldTable::default()).await?;
        self.free.borrow_mut().push(channel);
        Ok(())
    }

    /// Sends a message and waits for what the broker says of it. A channel on which something went wrong, or whose
    /// message was given up, is not used again.
    pub(super) async fn publish(&self, message: Message) -> Result<Taken, Error> {
        if self.connection.status().blocked() {
            return Ok(Taken::Blocked);
        }
        let channel = self.channel().await?;
        let options = BasicPublishOptions { mandatory: message.mandatory, ..BasicPublishOptions::default() };
        let key = message.routing_key.as_str().into();
        let sent = channel.basic_publish(self.exchange.clone(), key, options, &message.body, message.properties);
        let confirmation = sent.await?.await?;
        self.free.borrow_mut().push(channel);
        Ok(match confirmation {
            Confirmation::Ack(Some(_)) => Taken::Returned(message.routing_key),
            Confirmation::Nack(_) => Taken::Refused,
            Confirmation::Ack(None) | Confirmation::NotRequested => Taken::Confirmed,
        })
    }

    async fn channel(&self) -> Result<Channel, Error> {
        loop {
            let free = self.free.borrow_mut().pop();
            match free {
                Some(channel) if channel.status().connected() => return Ok(channel),
                Some(_) => {}
                None => return self.open_channel().await,
            }
        }
    }

    async fn open_channel(&self) -> Result<Channel, Error> {
        let channel = self.connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(channel)
    }
}

/// What goes beside the body: id, receive time, type, and what consumers choose by.
pub(super) fn properties(delivery: &Delivery, kind: &str) -> BasicProperties {
    let mut headers = FieldTable::default();
    let guild = delivery.guild.map(|guild| guild.0.to_string());
    headers.insert("shard".into(), AMQPValue::LongLongInt(i64::from(delivery.origin.shard)));
    headers.insert("guild".into(), guild.map_or(AMQPValue::Void, |guild| AMQPValue::LongString(guild.into())));
    headers.insert("kind".into(), AMQPValue::LongString(kind.into()));
    let received = i64::try_from(delivery.received_ms).unwrap_or(i64::MAX);
    headers.insert("received_ms".into(), AMQPValue::LongLongInt(received));
    BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_message_id(short(delivery.id().to_string()))
        .with_timestamp(delivery.received_ms / 1_000)
        .with_type(short(kind.to_owned()))
        .with_content_type("application/json".into())
        .with_app_id("pilothouse".into())
        .with_headers(headers)
}

/// Ids are far below AMQP's limit of 255 bytes, unless Discord's session ids should grow eightfold.
fn short(mut text: String) -> ShortString {
    text.truncate(text.floor_char_boundary(255));
    text.into()
}

fn uri(config: &AmqpConfig) -> Result<AMQPUri, Error> {
    let mut uri: AMQPUri = config.url.expose().as_str().parse().map_err(io::Error::other)?;
    uri.query.heartbeat.get_or_insert(HEARTBEAT);
    uri.query.frame_max.get_or_insert(FRAME);
    Ok(uri)
}

fn tls(config: &AmqpConfig) -> OwnedTLSConfig {
    OwnedTLSConfig { identity: None, cert_chain: config.ca_file.as_ref().map(|ca| ca.pem().to_owned()) }
}

/// Ends the socket of a handshake that is given up: lapin drives it on a thread, which would wait for the broker for ever.
struct Hangup(Option<TcpStream>);

impl Hangup {
    fn of<S: AsFd>(stream: S) -> io::Result<Self> {
        Ok(Self(Some(stream.as_fd().try_clone_to_owned()?.into())))
    }

    /// The handshake is done with.
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Hangup {
    fn drop(&mut self) {
        if let Some(socket) = self.0.take() {
            // It may be closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}
