//! What every sink promises, by one body of code over each real other side: a bot over HTTP, a file, RabbitMQ and
//! nats-server. A promise is a function of a [`Place`]; a kind of sink is a row at the end.

mod brokers;
mod local;
mod trial;

use std::time::Duration;

use pilothouse_agent::config::SinkConfig;
use pilothouse_agent::telemetry::clock;

use self::brokers::{Queue, Stream};
use self::local::{Bot, Lines};
use self::trial::Trial;

/// Attempts of a sink at once: as many events can arrive twice when the other side goes away, batches apart.
pub(super) const ATTEMPTS: u32 = 16;
/// Longest wait for an answer of the other side.
const TIMEOUT: Duration = Duration::from_secs(3);
/// An event goes to the spool after this time.
const SOON: Duration = Duration::from_millis(50);
/// It goes there only because the agent ends.
const NEVER: Duration = Duration::from_secs(600);
/// Events that are more than memory may hold.
const THOUSANDS: u64 = 3_000;

/// How the other side is away.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outage {
    /// Killed, its port closed, its folder gone.
    Gone,
    /// It takes what the sockets take, and answers nothing.
    Silent,
}

/// An event that arrived.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Arrived {
    pub(super) shard: u32,
    /// 0: of none.
    pub(super) guild: u64,
    pub(super) seq: u64,
}

impl Arrived {
    /// From the body that every sink gives for an event.
    pub(super) fn read(body: &[u8]) -> Self {
        let body: serde_json::Value = serde_json::from_slice(body).expect("a body is JSON");
        let number = |value: &serde_json::Value| value.as_u64().expect("a number");
        let guild = body["payload"]["d"]["guild_id"].as_str().map_or(0, |id| id.parse().expect("a number"));
        let shard = u32::try_from(number(&body["shardId"])).expect("a small number");
        Self { shard, guild, seq: number(&body["payload"]["s"]) }
    }
}

/// The other side of a sink.
pub(super) trait Place {
    /// In which ways it can be away.
    const OUTAGES: &[Outage];
    /// Events of one attempt.
    const BATCH: u32;

    /// The sink that leads here.
    fn sink(&self) -> SinkConfig;

    /// What a report must name.
    fn shown(&self) -> String;

    /// Goes away, in the middle of whatever comes.
    async fn away(&mut self, outage: Outage);

    /// Is there again, with all that it had taken.
    async fn back(&mut self);

    /// What has arrived since the last question, in order. It must be there.
    async fn arrived(&mut self) -> Vec<Arrived>;
}

async fn delivers_each_event_once_in_the_order_of_its_guild(place: &mut impl Place) {
    let mut trial = Trial::new(place, NEVER);
    trial.send(2_000).await;
    trial.all_are_safe().await;
    trial.has_everything(0).await;
    assert_eq!((trial.report().delivered, trial.report().retries), (2_000, 0));
}

async fn loses_nothing_while_the_other_side_is_away<P: Place>(place: &mut P, outage: Outage) {
    let mut trial = Trial::new(place, SOON);
    trial.send(300).await;
    // Events of these are in flight, in memory and in the spool when it goes.
    trial.place.away(outage).await;
    trial.send(600).await;
    trial.is_in_trouble().await;
    trial.place.back().await;
    trial.send(300).await;
    trial.all_are_safe().await;
    trial.has_everything(ATTEMPTS * P::BATCH).await;
}

/// Beside this, each look at a report in any promise checks the bound of memory.
async fn holds_little_and_tells_how_much_waits<P: Place>(place: &mut P, outage: Outage) {
    let mut trial = Trial::new(place, SOON);
    trial.send(1).await;
    trial.all_are_safe().await;
    trial.has_everything(0).await;
    trial.place.away(outage).await;
    let begun = clock::now_ms();
    trial.send(THOUSANDS).await;
    trial.all_are_safe().await;
    trial.is_in_trouble().await;
    let report = trial.report();
    assert_eq!((report.spooled, report.delivered, report.dropped), (THOUSANDS, 1, 0), "{report:?}");
    let oldest = report.oldest_ms.expect("something waits");
    assert!((begun..=clock::now_ms()).contains(&oldest) && report.retries > 0, "{report:?}");
    trial.place.back().await;
    trial.has_everything(ATTEMPTS * P::BATCH).await;
}

async fn stops_at_once_and_the_next_run_delivers_the_rest<P: Place>(place: &mut P) {
    let mut trial = Trial::new(place, NEVER);
    trial.place.away(Outage::Gone).await;
    trial.send(200).await;
    trial.is_in_trouble().await;
    assert_eq!(trial.report().spooled, 0, "nothing sends them to the spool but the end");
    trial.closes().await;
    trial.starts_again().await;
    assert_eq!(trial.report().spooled, 200);
    trial.place.back().await;
    trial.send(100).await;
    trial.all_are_safe().await;
    trial.has_everything(0).await;
}

async fn keeps_every_promise<P: Place>(mut place: P) {
    delivers_each_event_once_in_the_order_of_its_guild(&mut place).await;
    for outage in P::OUTAGES {
        println!("{outage:?}");
        loses_nothing_while_the_other_side_is_away(&mut place, *outage).await;
        holds_little_and_tells_how_much_waits(&mut place, *outage).await;
    }
    stops_at_once_and_the_next_run_delivers_the_rest(&mut place).await;
}

#[test]
fn http() {
    trial::run(async { keeps_every_promise(Bot::<1>::start().await).await });
}

#[test]
fn http_with_many_events_a_request() {
    trial::run(async { keeps_every_promise(Bot::<100>::start().await).await });
}

#[test]
fn ndjson() {
    trial::run(async { keeps_every_promise(Lines::new()).await });
}

#[test]
fn amqp() {
    trial::run(async {
        match Queue::start().await {
            Ok(queue) => keeps_every_promise(queue).await,
            Err(why) => eprintln!("SKIPPED: the contract of sinks with RabbitMQ: {why}"),
        }
    });
}

#[test]
fn nats() {
    trial::run(async {
        match Stream::start().await {
            Ok(stream) => keeps_every_promise(stream).await,
            Err(why) => eprintln!("SKIPPED: the contract of sinks with nats-server: {why}"),
        }
    });
}
