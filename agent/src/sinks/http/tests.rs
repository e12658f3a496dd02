//! The sink against servers that misbehave in every way the contract names.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::LocalSet;

use super::*;
use crate::config::Secret;
use crate::gateway::kind::EventKind;
use crate::pipeline::{Lane, Progress};

const SHARD: u32 = 5;

/// One request as the server saw it.
#[derive(Clone, Debug)]
struct Seen {
    guild: u64,
    seq: u64,
    status: u16,
    body: String,
    headers: HeaderMap,
}

/// What the server does with the request number `n` (from 0) for `(guild, seq)`: a status, or 0 to hang.
type Script = Box<dyn Fn(usize, u64, u64) -> u16 + Send + Sync>;

struct Bot {
    script: Script,
    seen: Mutex<Vec<Seen>>,
    busy: Mutex<HashMap<u64, bool>>,
    /// Requests that came while another of their guild was in flight.
    overlaps: AtomicUsize,
    pace: Duration,
}

impl Bot {
    fn new(script: impl Fn(usize, u64, u64) -> u16 + Send + Sync + 'static) -> Arc<Self> {
        let pace = Duration::from_millis(1);
        Arc::new(Self {
            script: Box::new(script),
            seen: Mutex::default(),
            busy: Mutex::default(),
            overlaps: AtomicUsize::new(0),
            pace,
        })
    }

    async fn listen(self: &Arc<Self>, address: SocketAddr) -> (SocketAddr, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind(address).await.expect("the address is free");
        let address = listener.local_addr().expect("it is bound");
        let router = Router::new().fallback(answer).with_state(Arc::clone(self));
        (address, tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") }))
    }

    fn accepted(&self) -> Vec<(u64, u64)> {
        assert_eq!(self.overlaps.load(Ordering::Relaxed), 0, "two events of a guild were in flight");
        let seen = self.seen.lock().expect("no panic");
        seen.iter().filter(|seen| seen.status == 200).map(|seen| (seen.guild, seen.seq)).collect()
    }

    fn requests(&self) -> usize {
        self.seen.lock().expect("no panic").len()
    }
}

/// The bot as a process of its own: its connections end with it.
fn process(bot: &Arc<Bot>, address: SocketAddr) -> (SocketAddr, Runtime) {
    let builder = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let (runtime, bot) = (builder().expect("a runtime"), Arc::clone(bot));
    let (tell, told) = std::sync::mpsc::sync_channel(1);
    runtime.spawn(async move {
        let (address, server) = bot.listen(address).await;
        tell.send(address).expect("it waits");
        server.await
    });
    (told.recv().expect("it listens"), runtime)
}

async fn answer(State(bot): State<Arc<Bot>>, request: Request) -> Response {
    let headers = request.headers().clone();
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.expect("a body");
    let value: serde_json::Value = serde_json::from_slice(&body).expect("the body is JSON");
    let guild = value["payload"]["d"]["guild_id"].as_str().map_or(0, |id| id.parse().expect("a snowflake"));
    let seq = value["payload"]["s"].as_u64().expect("a sequence");
    if bot.busy.lock().expect("no panic").insert(guild, true) == Some(true) {
        bot.overlaps.fetch_add(1, Ordering::Relaxed);
    }
    let status = (bot.script)(bot.requests(), guild, seq);
    let body = String::from_utf8(body.to_vec()).expect("JSON is UTF-8");
    bot.seen.lock().expect("no panic").push(Seen { guild, seq, status, body, headers });
    tokio::time::sleep(bot.pace).await;
    bot.busy.lock().expect("no panic").insert(guild, false);
    match status {
        0 => std::future::pending().await,
        429 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "1")]).into_response(),
        status => (StatusCode::from_u16(status).expect("a status"), "{\"ok\":true}").into_response(),
    }
}

/// A lane and the events of it.
struct Feed {
    lane: Rc<Lane>,
    seq: std::cell::Cell<u64>,
}

impl Feed {
    fn new() -> Self {
        Self { lane: Lane::new(1, SHARD, "5e551017", 0, Progress::new()), seq: std::cell::Cell::new(0) }
    }

    /// The next event, of `guild`; 0: of none.
    fn event(&self, guild: u64) -> Event {
        let seq = self.seq.get() + 1;
        self.seq.set(seq);
        let of = if guild == 0 { String::new() } else { format!("\"guild_id\":\"{guild}\",") };
        let payload = format!("{{\"t\":\"TYPING_START\",\"s\":{seq},\"op\":0,\"d\":{{{of}\"user_id\":\"7\"}}}}");
        let received = std::time::Instant::now();
        self.lane.open(seq, received, 1);
        Event {
            lane: Rc::clone(&self.lane),
            seq,
            kind: EventKind::of(b"TYPING_START"),
            part: 0,
            payload: payload.into(),
            received,
        }
    }

    fn push(&self, sink: &HttpSink, guilds: impl IntoIterator<Item = u64>) {
        let events: Vec<Event> = guilds.into_iter().map(|guild| self.event(guild)).collect();
        sink.push(&events);
    }
}

fn config(addresses: &[SocketAddr]) -> HttpConfig {
    let mut config = HttpConfig::new(addresses.iter().map(|address| format!("http://{address}/")));
    config.authorization = Some(Secret::new("open sesame"));
    config.timeout = Duration::from_millis(300);
    config
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn guild(number: u64) -> u64 {
    (number << 22) | 1
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(std::time::Instant::now() < deadline, "not within 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn run(test: impl Future<Output = ()> + 'static) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, test);
}

/// Every guild's events, in their order, each once.
fn assert_exact(accepted: &[(u64, u64)], feed: &Feed) {
    let mut last = HashMap::new();
    for (guild, seq) in accepted {
        assert!(last.insert(guild, seq).is_none_or(|before| before < seq), "guild {guild} is out of order at {seq}");
    }
    assert_eq!(accepted.len() as u64, feed.seq.get(), "lost or doubled");
    assert_eq!((feed.lane.outstanding(), feed.lane.confirmed()), (0, feed.seq.get()));
}

#[test]
fn a_request_is_the_guides_contract() {
    run(async {
        let bot = Bot::new(|_, _, _| 200);
        let (address, _server) = bot.listen(anywhere()).await;
        let (sink, feed) = (HttpSink::start(&config(&[address])).expect("it starts"), Feed::new());
        let event = feed.event(guild(3));
        sink.push(std::slice::from_ref(&event));
        until("it is confirmed", || feed.lane.outstanding() == 0).await;
        let seen = bot.seen.lock().expect("no panic")[0].clone();
        let payload = std::str::from_utf8(&event.payload).expect("JSON");
        assert_eq!(seen.body, format!("{{\"payload\":{payload},\"shardId\":{SHARD}}}"));
        assert_eq!(seen.headers["authorization"], "open sesame");
        assert_eq!(seen.headers["content-type"], "application/json");
        assert_eq!(seen.headers["x-pilothouse-id"], "1/5/5e551017/1");
        let received = seen.headers["x-pilothouse-received"].to_str().expect("digits");
        assert_eq!(received, crate::telemetry::clock::unix_ms(event.received).to_string());
    });
}

#[test]
fn order_holds_per_guild_through_errors_limits_and_hangs() {
    run(async {
        let bot = Bot::new(|n, _, _| match n % 10 {
            3 => 500,
            6 => 503,
            8 if n % 40 == 8 => 0,
            9 if n < 20 => 429,
            _ => 200,
        });
        let (address, _server) = bot.listen(anywhere()).await;
        let (sink, feed) = (HttpSink::start(&config(&[address])).expect("it starts"), Feed::new());
        feed.push(&sink, (0..200).map(|n| [0, guild(1), guild(2), guild(3), guild(n)][n as usize % 5]));
        until("all are confirmed", || feed.lane.outstanding() == 0).await;
        assert_exact(&bot.accepted(), &feed);
        let report = sink.report();
        assert_eq!((report.queued, report.delivered, report.dead), (0, 200, 0));
        assert_eq!(report.retries as usize, bot.requests() - 200);
        assert_eq!(report.trouble, None);
    });
}

#[test]
fn nothing_is_lost_while_the_bot_is_away_and_only_unanswered_requests_come_twice() {
    run(async {
        let bot = Bot::new(|_, _, _| 200);
        let (address, process) = process(&bot, anywhere());
        let (sink, feed) = (HttpSink::start(&config(&[address])).expect("it starts"), Feed::new());
        feed.push(&sink, (0..700).map(|n| guild(n % 7)));
        until("it is at work", || sink.report().delivered > 100).await;
        process.shutdown_background();
        until("the trouble shows", || sink.report().trouble.is_some_and(|trouble| trouble.contains("refused"))).await;
        let report = sink.report();
        assert!(report.trouble.expect("it was there").contains(&address.to_string()));
        assert_eq!((report.queued, report.dead), (700 - u32::try_from(report.delivered).expect("few"), 0));
        bot.busy.lock().expect("no panic").clear();
        let (_, process) = self::process(&bot, address);
        until("all are confirmed", || feed.lane.outstanding() == 0).await;
        assert_eq!((sink.report().trouble, sink.report().delivered), (None, 700));
        let mut accepted = bot.accepted();
        assert!(accepted.len() <= 700 + 7, "{} for 700 events, 7 in flight at most", accepted.len());
        accepted.sort_by_key(|(guild, _)| *guild);
        accepted.dedup();
        assert_exact(&accepted, &feed);
        process.shutdown_background();
    });
}

#[test]
fn a_route_that_refuses_everything_holds_the_events() {
    run(async {
        let bot = Bot::new(|_, _, _| 401);
        let (address, _server) = bot.listen(anywhere()).await;
        let (sink, feed) = (HttpSink::start(&config(&[address])).expect("it starts"), Feed::new());
        feed.push(&sink, [guild(1), guild(1), guild(2)]);
        until("the trouble shows", || sink.report().retries == 2).await;
        let report = sink.report();
        assert_eq!(report.trouble.as_deref(), Some(&*format!("http://{address}/ answers 401: check AUTHORIZATION")));
        assert_eq!((report.queued, report.dead, feed.lane.outstanding()), (3, 0, 3));
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(bot.requests(), 2, "asked again before the 5 s are over");
    });
}

#[test]
fn a_bot_that_asks_for_a_pause_gets_it() {
    run(async {
        let bot = Bot::new(|n, _, _| if n == 0 { 429 } else { 200 });
        let (address, _server) = bot.listen(anywhere()).await;
        let (sink, feed) = (HttpSink::start(&config(&[address])).expect("it starts"), Feed::new());
        let started = std::time::Instant::now();
        feed.push(&sink, [guild(1)]);
        until("it is confirmed", || feed.lane.outstanding() == 0).await;
        assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
        assert_eq!((bot.requests(), sink.report().retries), (2, 1));
    });
}

#[test]
fn an_event_that_is_refused_is_counted_and_does_not_hold_the_others() {
    run(async {
        let bot = Bot::new(|_, _, seq| if seq % 10 == 4 { 400 } else { 200 });
        let (address, _server) = bot.listen(anywhere()).await;
        let (sink, feed) = (HttpSink::start(&config(&[address])).expect("it starts"), Feed::new());
        feed.push(&sink, (0..100).map(|n| guild(n % 3)));
        until("all are confirmed", || feed.lane.outstanding() == 0).await;
        let report = sink.report();
        assert_eq!((report.delivered, report.dead, report.retries), (90, 10, 0));
        assert_eq!(bot.requests(), 100);
    });
}

#[test]
fn each_url_is_a_route_of_its_own() {
    run(async {
        let (up, down) = (Bot::new(|_, _, _| 200), Bot::new(|_, _, _| 500));
        let ((first, _), (second, _)) = (up.listen(anywhere()).await, down.listen(anywhere()).await);
        let (sink, feed) = (HttpSink::start(&config(&[first, second])).expect("it starts"), Feed::new());
        feed.push(&sink, (0..20).map(guild).chain([0]));
        until("the even guilds are through", || sink.report().delivered == 10).await;
        until("the other route's trouble shows", || sink.report().trouble.is_some()).await;
        assert!(up.accepted().iter().all(|(guild, _)| (guild >> 22) % 2 == 0));
        let odd = |seen: &Seen| if seen.guild == 0 { SHARD % 2 == 1 } else { (seen.guild >> 22) % 2 == 1 };
        assert!(down.seen.lock().expect("no panic").iter().all(odd));
        assert_eq!(sink.report().queued, 11);
        assert!(sink.report().trouble.expect("one is down").contains("answers 500, retrying"));
    });
}

#[test]
fn routes_can_go_by_shard() {
    run(async {
        let (even, odd) = (Bot::new(|_, _, _| 200), Bot::new(|_, _, _| 200));
        let ((first, _), (second, _)) = (even.listen(anywhere()).await, odd.listen(anywhere()).await);
        let config = HttpConfig { route_by: RouteBy::Shard, ..config(&[first, second]) };
        let (sink, feed) = (HttpSink::start(&config).expect("it starts"), Feed::new());
        feed.push(&sink, (0..20).map(guild));
        until("all are confirmed", || feed.lane.outstanding() == 0).await;
        assert_eq!((even.requests(), odd.requests()), (0, 20), "shard {SHARD} is odd");
    });
}

#[test]
fn requests_in_flight_are_bounded_and_end_with_the_sink() {
    run(async {
        let bot = Bot::new(|_, _, _| 0);
        let (address, _server) = bot.listen(anywhere()).await;
        let slow = HttpConfig { concurrency: 4, timeout: Duration::from_secs(60), ..config(&[address]) };
        let (sink, feed) = (HttpSink::start(&slow).expect("it starts"), Feed::new());
        feed.push(&sink, (0..20).map(guild));
        until("four are in flight", || bot.requests() == 4).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(bot.requests(), 4);
        drop(sink);
        until("the events are let go", || Rc::strong_count(&feed.lane) == 1).await;
        assert_eq!(feed.lane.outstanding(), 20, "nothing was confirmed");
    });
}

#[test]
fn what_cannot_work_is_said_at_the_start_without_secrets() {
    run(async {
        let refused = |config: HttpConfig| HttpSink::start(&config).err().expect("it cannot start").to_string();
        assert!(refused(HttpConfig::new(["ftp://user:hunter2@bot/"])).contains("ftp://bot/"));
        assert!(refused(HttpConfig::new(["no url"])).contains("URL"));
        assert!(refused(HttpConfig::new(Vec::<String>::new())).contains("no URL"));
        let secret = Secret::new("line\nbreak");
        let error = refused(HttpConfig { authorization: Some(secret), ..HttpConfig::new(["http://bot/"]) });
        assert!(error.contains("AUTHORIZATION") && !error.contains("break"), "{error}");
    });
}
