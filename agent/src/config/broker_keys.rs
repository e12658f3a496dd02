//! The settings of the sinks that publish to a message broker, as data: the part of the table in [`super::keys`] that is theirs.

use std::time::Duration;

use super::keys::{DURATION, Key, SIZE, duration, named, put};
use super::sink_keys::KINDS;
use super::value::{Raw, Rejected, quoted, quoted_bytes, quoted_duration};
use super::{AmqpConfig, Authorities, BrokerUrl, NatsConfig, RoutingKey, Unroutable};

type Amqp = Key<AmqpConfig>;
type Nats = Key<NatsConfig>;

const AMQP_SCHEMES: [&str; 2] = ["amqp", "amqps"];
const NATS_SCHEMES: [&str; 2] = ["nats", "tls"];
const UNROUTABLE: [(&str, Unroutable); 2] = [("hold", Unroutable::Hold), ("drop", Unroutable::Drop)];
const NAME: &str = "up to 64 letters, digits, dots, dashes and underscores";
const SUBJECT: &str = "letters, digits, dashes and underscores; dots between words";
const HOUR: Duration = Duration::from_secs(3_600);

/// The settings of an `amqp` sink.
pub(super) static AMQP_KEYS: &[Amqp] = &[
    Amqp::new(
        "kind",
        "`amqp`: published to a RabbitMQ topic exchange, persistent, confirmed by the broker.",
        KINDS,
        |_, _| Ok(()),
        |_| Some(quoted("amqp")),
    ),
    Amqp::new(
        "name",
        "Its name, on consoles and in metrics.",
        NAME,
        |sink, raw| put(&mut sink.name, raw.name()),
        |sink| Some(quoted(&sink.name)),
    ),
    Amqp::new(
        "url",
        "The broker with virtual host and credentials: `amqp://USER:PASSWORD@HOST:5672/VHOST`, in which the virtual host `/` is written `%2f`. The variable makes or changes the sink named `amqp`.",
        "a URL that begins with amqp:// or amqps://",
        |sink, raw| put(&mut sink.url, broker(raw.text()?, &AMQP_SCHEMES)),
        |sink| Some(quoted(sink.url.shown())),
    )
    .env("PILOTHOUSE_AMQP_URL")
    .secret(),
    Amqp::new(
        "ca_file",
        "Certificate authorities that an amqps:// broker may have its certificate from, beside the public ones.",
        CA,
        |sink, raw| authorities(&mut sink.ca_file, raw),
        |sink| shown_path(sink.ca_file.as_ref()),
    )
    .otherwise("none, the public authorities alone", CA_EXAMPLE),
    Amqp::new(
        "exchange",
        "The topic exchange. It is declared, durable.",
        NAME,
        |sink, raw| put(&mut sink.exchange, raw.name()),
        |sink| Some(quoted(&sink.exchange)),
    ),
    Amqp::new(
        "routing_key",
        "The routing key of an event, what queues are bound by: `MESSAGE_CREATE.*`, `*.GUILD`, `#`. The guild is 0 where there is none.",
        "a text with {type}, {guild} and {shard}, each at most once",
        |sink, raw| put(&mut sink.routing_key, RoutingKey::parse(raw.text()?).map_err(Rejected::because)),
        |sink| Some(quoted(&sink.routing_key.to_string())),
    ),
    Amqp::new(
        "unroutable",
        "An event that no queue takes. `hold`: it waits until one does, so that nothing is lost before queues are bound. `drop`: it is not wanted; for bots that bind only some types.",
        "hold or drop",
        |sink, raw| put(&mut sink.unroutable, raw.choice(&UNROUTABLE)),
        |sink| named(&UNROUTABLE, sink.unroutable),
    ),
    Amqp::new(
        "concurrency",
        "Messages of a worker that the broker has not confirmed yet; each takes a channel.",
        "a whole number from 1 to 2000",
        |sink, raw| put(&mut sink.concurrency, raw.whole(1..=2_000)),
        |sink| Some(sink.concurrency.to_string()),
    ),
    Amqp::new(
        "timeout",
        "Longest wait for a confirmation; then the event is published again, with the same message id.",
        DURATION,
        |sink, raw| put(&mut sink.timeout, duration(raw)),
        |sink| Some(quoted_duration(sink.timeout)),
    ),
];

/// The settings of a `nats` sink.
pub(super) static NATS_KEYS: &[Nats] = &[
    Nats::new(
        "kind",
        "`nats`: published to a NATS JetStream stream, acknowledged; repetitions are dropped by the server.",
        KINDS,
        |_, _| Ok(()),
        |_| Some(quoted("nats")),
    ),
    Nats::new(
        "name",
        "Its name, on consoles and in metrics.",
        NAME,
        |sink, raw| put(&mut sink.name, raw.name()),
        |sink| Some(quoted(&sink.name)),
    ),
    Nats::new(
        "urls",
        "Servers of one cluster, with credentials: `nats://USER:PASSWORD@HOST:4222` or `nats://TOKEN@HOST:4222`. The variable makes or changes the sink named `nats`.",
        "URLs that begin with nats:// or tls://, with commas between them or as a list, all with the same credentials",
        servers,
        |sink| Some(format!("[{}]", sink.urls.iter().map(|url| quoted(url.shown())).collect::<Vec<_>>().join(", "))),
    )
    .env("PILOTHOUSE_NATS_URLS")
    .secret(),
    Nats::new(
        "credentials_file",
        "A file with the user's JWT and key, as `nsc` writes it.",
        "a path",
        |sink, raw| {
            sink.credentials_file = Some(raw.text()?.into());
            Ok(())
        },
        |sink| sink.credentials_file.as_ref().map(|path| quoted(&path.to_string_lossy())),
    )
    .otherwise("none", "\"/etc/pilothouse/bot.creds\""),
    Nats::new(
        "ca_file",
        "Certificate authorities that a tls:// server may have its certificate from, instead of the system's.",
        CA,
        |sink, raw| authorities(&mut sink.ca_file, raw),
        |sink| shown_path(sink.ca_file.as_ref()),
    )
    .otherwise("none, the system's authorities", CA_EXAMPLE),
    Nats::new(
        "stream",
        "The stream. Where it is missing it is created with what the next settings say; one that exists is left as it is.",
        "up to 64 letters, digits, dashes and underscores",
        |sink, raw| put(&mut sink.stream, stream(raw)),
        |sink| Some(quoted(&sink.stream)),
    ),
    Nats::new(
        "subject",
        "What subjects begin with. An event's is `SUBJECT.TYPE.GUILD`, such as `pilothouse.MESSAGE_CREATE.0`; the guild is 0 where there is none.",
        SUBJECT,
        |sink, raw| put(&mut sink.subject, subject(raw)),
        |sink| Some(quoted(&sink.subject)),
    ),
    Nats::new(
        "replicas",
        "Servers of the cluster that keep a copy of the created stream.",
        "a whole number from 1 to 5",
        |sink, raw| put(&mut sink.replicas, raw.whole(1..=5)),
        |sink| Some(sink.replicas.to_string()),
    ),
    Nats::new(
        "max_size",
        "What the created stream holds at most; when it is full, events wait in the agent. 0: no limit but the server's.",
        SIZE,
        |sink, raw| put(&mut sink.max_bytes, raw.bytes()),
        |sink| Some(quoted_bytes(sink.max_bytes)),
    ),
    Nats::new(
        "max_age",
        "How long the created stream keeps an event, also one that nobody has read.",
        "a time from 1h to 8760h, or never",
        |sink, raw| put(&mut sink.max_age, age(raw)),
        |sink| Some(sink.max_age.map_or_else(|| quoted("never"), quoted_duration)),
    ),
    Nats::new(
        "concurrency",
        "Messages of a worker that the server has not acknowledged yet.",
        "a whole number from 1 to 2000",
        |sink, raw| put(&mut sink.concurrency, raw.whole(1..=2_000)),
        |sink| Some(sink.concurrency.to_string()),
    ),
    Nats::new(
        "timeout",
        "Longest wait for an acknowledgement; then the event is published again, with the same message id.",
        DURATION,
        |sink, raw| put(&mut sink.timeout, duration(raw)),
        |sink| Some(quoted_duration(sink.timeout)),
    ),
];

const CA: &str = "a path of a PEM file with at least one certificate";
const CA_EXAMPLE: &str = "\"/etc/pilothouse/ca.pem\"";

/// A RabbitMQ on this machine as it is after installing.
pub(super) fn amqp_defaults() -> AmqpConfig {
    AmqpConfig::new(BrokerUrl::parse("amqp://127.0.0.1:5672/%2f", &AMQP_SCHEMES).expect("a valid URL"))
}

/// A NATS server on this machine as it is after installing.
pub(super) fn nats_defaults() -> NatsConfig {
    NatsConfig::new(BrokerUrl::parse("nats://127.0.0.1:4222", &NATS_SCHEMES))
}

fn broker(text: &str, schemes: &[&str]) -> Result<BrokerUrl, Rejected> {
    BrokerUrl::parse(text, schemes).map_err(Rejected::because)
}

fn servers(sink: &mut NatsConfig, raw: &Raw) -> Result<(), Rejected> {
    let urls: Vec<BrokerUrl> = raw.list().iter().map(|text| broker(text, &NATS_SCHEMES)).collect::<Result<_, _>>()?;
    let credentials =
        |url: &BrokerUrl| (url.expose().username().to_owned(), url.expose().password().map(str::to_owned));
    let first = urls.first().map(credentials).ok_or_else(Rejected::default)?;
    if urls.iter().any(|url| credentials(url) != first) {
        return Err(Rejected::because("the URLs differ in their credentials"));
    }
    sink.urls = urls;
    Ok(())
}

fn authorities(place: &mut Option<Authorities>, raw: &Raw) -> Result<(), Rejected> {
    *place = Some(Authorities::read(raw.text()?).map_err(Rejected::because)?);
    Ok(())
}

fn shown_path(authorities: Option<&Authorities>) -> Option<String> {
    authorities.map(|ca| quoted(&ca.path().to_string_lossy()))
}

fn stream(raw: &Raw) -> Result<String, Rejected> {
    raw.name().and_then(|name| if name.contains('.') { Err(Rejected::default()) } else { Ok(name) })
}

fn subject(raw: &Raw) -> Result<String, Rejected> {
    raw.name().and_then(|name| if name.split('.').any(str::is_empty) { Err(Rejected::default()) } else { Ok(name) })
}

fn age(raw: &Raw) -> Result<Option<Duration>, Rejected> {
    if raw.text()? == "never" { Ok(None) } else { raw.duration(HOUR..=HOUR * 8_760).map(Some) }
}
