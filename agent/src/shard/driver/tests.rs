//! What a driver does with the bytes of one read.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::io::AsyncReadExt;
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

/// Session, sequence and payload of every event.
type Seen = Rc<RefCell<Vec<(String, u64, Bytes)>>>;

/// Notes every event, and confirms none.
struct Noting(Seen);

impl Sink for Noting {
    fn push(&self, events: &[Event]) {
        let seen = events.iter().map(|event| (event.lane.origin.session.to_string(), event.seq, event.payload.clone()));
        self.0.borrow_mut().extend(seen);
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
    /// The other end of the connection.
    peer: Option<TcpStream>,
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
        Self { driver: Driver::new(shard, context), now, seen, peer: None }
    }

    fn tell(&mut self, input: Input<'_>) {
        self.driver.handle(input, self.now);
    }

    /// A connection up to HELLO.
    async fn open(&mut self) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let stream = TcpStream::connect(listener.local_addr().expect("it is bound")).await.expect("it listens");
        self.peer = Some(listener.accept().await.expect("it is connected").0);
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
    let size = text.len() as u64;
    [&[0x81, 127][..], &size.to_be_bytes(), text.as_bytes()].concat()
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
        let seen = seen.take();
        let seen: Vec<_> = seen.iter().map(|(session, seq, _)| (session.as_str(), *seq)).collect();
        assert_eq!(seen, [("s0", 42), ("s1", 1), ("s1", 2)]);
        assert!(driver.shard.lane.borrow().is_none());
        let open: Vec<_> = driver.shard.former.borrow().iter().map(|lane| lane.outstanding()).collect();
        assert_eq!(open, [1, 2]);
    };
    LocalSet::new().run_until(scenario).await;
}

/// Session after session would otherwise bring as much into memory as one may have.
#[tokio::test]
async fn what_former_sessions_owe_holds_the_socket_of_the_next() {
    let scenario = async {
        let mut bench = Bench::new();
        bench.driver.context.max_unconfirmed.set(3);
        bench.tell(Input::Start);
        bench.open().await;
        bench.read(&[message(42), message(43), session_is_lost()]);
        bench.now += Duration::from_secs(10);
        bench.tell(Input::Timer);
        bench.tell(Input::Dial);
        bench.open().await;
        bench.tell(Input::Permit);
        let mut cx = task::Context::from_waker(task::Waker::noop());
        assert!(!bench.driver.is_held(&mut cx), "two of three");
        let ready = json!({"session_id": "s1", "resume_gateway_url": "ws://resume", "guilds": []});
        bench.read(&[json!({"t": "READY", "s": 1, "op": 0, "d": ready})]);
        assert!(bench.driver.is_held(&mut cx), "with the first of the new session");
        let former = Rc::clone(&bench.driver.shard.former.borrow()[0]);
        former.confirm(42, bench.now);
        assert!(bench.driver.is_held(&mut cx), "more than half");
        former.confirm(43, bench.now);
        assert!(!bench.driver.is_held(&mut cx));
    };
    LocalSet::new().run_until(scenario).await;
}

#[tokio::test]
async fn payloads_of_any_size_come_whole_over_many_reads() {
    let scenario = async {
        let mut bench = Bench::new();
        bench.tell(Input::Start);
        bench.open().await;
        let sizes = [3_000_000, 10, 70_000, 0, 900, 1_200_000, 500];
        let texts: Vec<String> = (42..)
            .zip(sizes)
            .map(|(seq, size)| {
                json!({"t": "GUILD_CREATE", "s": seq, "op": 0, "d": {"name": "x".repeat(size)}}).to_string()
            })
            .collect();
        let bytes: Vec<u8> = texts.iter().flat_map(|text| frame(text)).collect();
        for read in bytes.chunks(60_000) {
            bench.driver.digest(read, bench.now);
        }
        let seen = bench.seen.take();
        assert_eq!(seen.len(), texts.len());
        assert!(seen.iter().zip(&texts).all(|((_, _, payload), text)| payload == text.as_bytes()));
        let shared = bench.driver.context.buffers.borrow().payloads.capacity();
        assert!(shared <= 576 << 10, "{shared} bytes are kept");
    };
    LocalSet::new().run_until(scenario).await;
}

#[tokio::test]
async fn however_discord_closes_it_is_not_answered_with_what_ends_the_session() {
    let scenario = async {
        for (code, expected) in [(None, 4900_u16), (Some(1000_u16), 4900), (Some(1001), 4900), (Some(4000), 4000)] {
            let mut bench = Bench::new();
            bench.tell(Input::Start);
            bench.open().await;
            let body = code.map_or(Vec::new(), |code| code.to_be_bytes().to_vec());
            let size = u8::try_from(body.len()).expect("two at most");
            bench.driver.digest(&[&[0x88, size][..], &body].concat(), bench.now);
            let mut said = Vec::new();
            let peer = bench.peer.as_mut().expect("it is connected");
            peer.read_to_end(&mut said).await.expect("it ends");
            let answer = said.last_chunk::<8>().expect("a close frame");
            // A masked close frame with two bytes.
            assert_eq!(answer[..2], [0x88, 0x82]);
            assert_eq!(u16::from_be_bytes([answer[6] ^ answer[2], answer[7] ^ answer[3]]), expected, "{code:?}");
        }
    };
    LocalSet::new().run_until(scenario).await;
}
