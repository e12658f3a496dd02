//! What a driver does with the bytes of one read.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

use super::*;
use crate::config::{Compression, Secret, StagesConfig};
use crate::gateway::Machine;
use crate::gateway::session::{Generation, Session, Timeouts};
use crate::pipeline::{Progress, Stages};
use crate::shard::context::{Outbox, Pace};
use crate::shard::desk::Desk;
use crate::shard::tails::Tails;
use crate::sinks::{Sink, SinkReport};

type Seen = Rc<RefCell<Vec<(String, u64)>>>;

/// Notes the session and sequence of every event, and confirms none.
struct Noting(Seen);

impl Sink for Noting {
    fn push(&self, events: &[Event]) {
        self.0.borrow_mut().extend(events.iter().map(|event| (event.lane.origin.session.to_string(), event.seq)));
    }

    fn report(&self) -> SinkReport {
        SinkReport::default()
    }
}

fn generation() -> Arc<Generation> {
    let limit = Duration::from_secs(10);
    Arc::new(Generation {
        number: 1,
        total: 1,
        token: Secret::new("token"),
        intents: 513,
        version: 10,
        compression: Compression::None,
        gateway_url: "ws://gateway".to_owned(),
        large_threshold: 50,
        presence: None,
        timeouts: Timeouts { connect: limit, hello: limit, ready: limit },
    })
}

fn context(sink: Noting) -> Rc<Context> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let tls = tls.expect("ring has safe versions").with_root_certificates(rustls::RootCertStore::empty());
    Rc::new(Context {
        agent: "test".to_owned(),
        worker: 0,
        read: Context::read_buffer(),
        buffers: RefCell::new(Buffers::default()),
        sinks: vec![Box::new(sink)],
        stages: RefCell::new(Stages::new(&StagesConfig::default())),
        ear: None,
        tails: Tails::default(),
        progress: Progress::new(),
        kinds: RefCell::new(vec![0; EventKind::NAMES.len()]),
        tls: Arc::new(tls.with_no_client_auth()),
        max_unconfirmed: Cell::new(256),
        pace: Pace::new(Instant::now()),
        leaving: Default::default(),
        desk: Desk::new(1),
        permits: Outbox::default(),
        changes: Outbox::default(),
    })
}

/// A driver of shard 0 that reads what it is given, and the clock it is given it by.
struct Bench {
    driver: Driver,
    now: Instant,
    seen: Seen,
}

impl Bench {
    /// With the session `s0`, whose events up to 41 are confirmed.
    fn new() -> Self {
        let seen = Seen::default();
        let context = context(Noting(Rc::clone(&seen)));
        let session = Session { id: "s0".into(), resume_url: "ws://resume".into(), user: 0, received: 41, stored: 41 };
        let lane = Lane::new(1, 0, &session.id, 41, Rc::clone(&context.progress));
        let now = Instant::now();
        let shard = Shard::new(0, Machine::new(0, generation(), Some(session), 1), Some(lane), now);
        Self { driver: Driver::new(shard, context), now, seen }
    }

    fn tell(&mut self, input: Input<'_>) {
        self.driver.handle(input, self.now);
    }

    /// A connection up to HELLO.
    async fn open(&mut self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let stream = TcpStream::connect(listener.local_addr().expect("it is bound")).await.expect("it listens");
        let connection = Connection::new(Socket::Plain(stream), Inflater::new(Compression::None));
        self.driver.link = Link::Open(Box::new(connection));
        self.tell(Input::Opened);
        self.read(&[json!({"op": 10, "d": {"heartbeat_interval": 40_000}, "s": null, "t": null})]);
    }

    /// All payloads in one read.
    fn read(&mut self, payloads: &[serde_json::Value]) {
        let bytes: Vec<u8> = payloads.iter().flat_map(|payload| frame(&payload.to_string())).collect();
        self.driver.digest(&bytes, self.now);
    }
}

/// As a server sends it.
fn frame(text: &str) -> Vec<u8> {
    let size = u16::try_from(text.len()).expect("a short text");
    [&[0x81, 126][..], &size.to_be_bytes(), text.as_bytes()].concat()
}

fn message(seq: u64) -> serde_json::Value {
    json!({"t": "MESSAGE_CREATE", "s": seq, "op": 0, "d": {"id": "7"}})
}

fn session_is_lost() -> serde_json::Value {
    json!({"t": null, "s": null, "op": 9, "d": false})
}

#[tokio::test]
async fn a_session_that_begins_and_ends_within_one_read_has_its_events_in_its_own_lane() {
    let scenario = async {
        let mut bench = Bench::new();
        bench.tell(Input::Start);
        bench.open().await;
        bench.read(&[message(42), session_is_lost()]);
        bench.now += Duration::from_secs(10);
        bench.tell(Input::Timer);
        bench.tell(Input::Dial);
        bench.open().await;
        bench.tell(Input::Permit);
        let ready = json!({"session_id": "s1", "resume_gateway_url": "ws://resume", "guilds": []});
        let ready = json!({"t": "READY", "s": 1, "op": 0, "d": ready});
        bench.read(&[ready, message(2), session_is_lost()]);
        let Bench { driver, seen, .. } = bench;
        let expected = [("s0", 42), ("s1", 1), ("s1", 2)].map(|(session, seq)| (session.to_owned(), seq));
        assert_eq!(*seen.borrow(), expected);
        assert!(driver.shard.lane.borrow().is_none());
        let open: Vec<_> = driver.shard.former.borrow().iter().map(|lane| lane.outstanding()).collect();
        assert_eq!(open, [1, 2]);
    };
    LocalSet::new().run_until(scenario).await;
}
