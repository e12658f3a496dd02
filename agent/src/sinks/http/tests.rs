//! The sink against servers that misbehave in every way the contract names.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::*;
use crate::config::{RouteBy, Secret, SinkConfig, SpoolConfig};
use crate::sinks::SinkOrder;
use crate::sinks::testing::{Feed, SHARD, TOTAL, TestSink, guild, run, until};

mod held_up;

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

fn config(addresses: &[SocketAddr]) -> HttpConfig {
    let mut config = HttpConfig::new(addresses.iter().map(|address| format!("http://{address}/")));
    config.authorization = Some(Secret::new("open sesame"));
    config.timeout = Duration::from_millis(300);
    config
}

fn sink(config: HttpConfig) -> TestSink {
    TestSink::start(SinkConfig::Http(config)).expect("it starts")
}

/// Where nobody listens yet.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind(anywhere()).await.expect("an address is free");
    listener.local_addr().expect("it is bound")
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Every guild's events, in their order, each once.
fn assert_exact(accepted: &[(u64, u64)], feed: &Feed) {
    let mut last = HashMap::new();
    for (guild, seq) in accepted {
        assert!(last.insert(guild, seq).is_none_or(|before| before < seq), "guild {guild} is out of order at {seq}");
    }
    assert_eq!(accepted.len() as u64, feed.sent(), "lost or doubled");
    assert_eq!((feed.lane.outstanding(), feed.lane.confirmed()), (0, feed.sent()));
}

#[test]
fn a_request_is_the_guides_contract() {
    run(async {
        let bot = Bot::new(|_, _, _| 200);
        let (address, _server) = bot.listen(anywhere()).await;
        let (sink, feed) = (sink(config(&[address])), Feed::new());
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
        assert_eq!(received, clock::unix_ms(event.received).to_string());
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
        let (sink, feed) = (sink(config(&[address])), Feed::new());
        feed.push(&*sink, (0..200).map(|n| [0, guild(1), guild(2), guild(3), guild(n)][n as usize % 5]));
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
        let (sink, feed) = (sink(config(&[address])), Feed::new());
        feed.push(&*sink, (0..700).map(|n| guild(n % 7)));
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
        let (sink, feed) = (sink(config(&[address])), Feed::new());
        feed.push(&*sink, [guild(1), guild(1), guild(2)]);
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
        let (sink, feed) = (sink(config(&[address])), Feed::new());
        let started = std::time::Instant::now();
        feed.push(&*sink, [guild(1)]);
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
        let (sink, feed) = (sink(config(&[address])), Feed::new());
        feed.push(&*sink, (0..100).map(|n| guild(n % 3)));
        until("all are confirmed", || feed.lane.outstanding() == 0).await;
        let report = sink.report();
        assert_eq!((report.delivered, report.dead, report.retries), (90, 10, 0));
        assert_eq!(bot.requests(), 100);
        let letters = sink.letters();
        assert_eq!(letters.len(), 10);
        assert!(letters.iter().all(|letter| letter.seq % 10 == 4 && letter.reason == "answers 400"));
    });
}

#[test]
fn a_backlog_of_urls_that_are_gone_goes_to_those_there_are() {
    run(async {
        let folder = Rc::new(tempfile::tempdir().expect("a folder"));
        let settings = SpoolConfig { after: Duration::from_millis(20), ..SpoolConfig::default() };
        // Nobody listens there.
        let gone = SinkConfig::Http(HttpConfig::new(["http://127.0.0.1:9/a", "http://127.0.0.1:9/b"]));
        let (sink, feed) = (TestSink::with_spool(&folder, gone, settings.clone()), Feed::new());
        feed.push(&*sink, (0..60).map(|n| guild(n % 6)));
        until("all are spooled", || feed.lane.outstanding() == 0).await;
        sink.stop().await;
        let bot = Bot::new(|_, _, _| 200);
        let (address, _server) = bot.listen(anywhere()).await;
        let config = SinkConfig::Http(config(&[address]));
        assert_eq!(TestSink::adopt(&folder, &config, TOTAL).await, 60);
        let sink = TestSink::with_spool(&folder, config, settings);
        until("all are delivered", || sink.report().spooled == 0 && sink.report().queued == 0).await;
        assert_exact(&bot.accepted(), &feed);
    });
}

/// Guild 3 waits in the spool up to sequence 102; guild 4 has sequence 101, in flight, when the agent is killed.
#[test]
fn a_replay_over_changed_urls_loses_nothing() {
    run(async {
        for urls in [[1, 0].as_slice(), &[0, 1, 2], &[0]] {
            let folder = Rc::new(tempfile::tempdir().expect("a folder"));
            let settings = SpoolConfig { after: Duration::from_millis(500), ..SpoolConfig::default() };
            let up = Arc::new(AtomicUsize::new(0));
            let state = Arc::clone(&up);
            let bot = Bot::new(move |_, _, _| if state.load(Ordering::Relaxed) == 0 { 0 } else { 200 });
            let addresses = [bot.listen(anywhere()).await.0, nobody().await, nobody().await];
            let before = SinkConfig::Http(config(&addresses[..2]));
            let sink = TestSink::of_total(&folder, before, settings.clone(), 1);
            let feed = Feed::of_shard(0);
            feed.push(&*sink, [guild(3); 100]);
            until("they are spooled", || feed.lane.outstanding() == 0).await;
            feed.push(&*sink, [guild(4), guild(3)]);
            until("the last one is, too", || sink.on_disk() == 101).await;
            assert_eq!(feed.lane.confirmed(), 100);
            sink.stop().await;
            let after: Vec<_> = urls.iter().map(|url| addresses[*url]).collect();
            let after = SinkConfig::Http(config(&after));
            assert_eq!(TestSink::adopt(&folder, &after, 1).await, 101);
            let (sink, replay) = (TestSink::of_total(&folder, after, settings, 1), Feed::of_shard(0));
            up.store(1, Ordering::Relaxed);
            bot.listen(addresses[1]).await;
            bot.listen(addresses[2]).await;
            replay.push(&*sink, [guild(3); 100].into_iter().chain([guild(4), guild(3)]));
            until("all are confirmed", || replay.lane.outstanding() == 0 && sink.report().spooled == 0).await;
            let mut first = Vec::new();
            bot.accepted().into_iter().for_each(|told| first.extend((!first.contains(&told)).then_some(told)));
            let of = |number| first.iter().filter(move |(of, _)| *of == guild(number)).map(|(_, seq)| *seq);
            assert_eq!(of(3).collect::<Vec<_>>(), (1..=100).chain([102]).collect::<Vec<_>>(), "{urls:?}");
            assert_eq!(of(4).collect::<Vec<_>>(), [101], "{urls:?}");
        }
    });
}

#[test]
fn another_number_of_shards_keeps_each_guilds_order() {
    run(async {
        for (from, to) in [(4, 8), (8, 4), (4, 6)] {
            let folder = Rc::new(tempfile::tempdir().expect("a folder"));
            let settings = SpoolConfig { after: Duration::from_millis(20), ..SpoolConfig::default() };
            let (bot, address) = (Bot::new(|_, _, _| 200), nobody().await);
            let config = SinkConfig::Http(config(&[address]));
            let feeds = [7 % from, 7 % to].map(Feed::of_shard);
            let sink = TestSink::of_total(&folder, config.clone(), settings.clone(), from);
            feeds[0].push(&*sink, [guild(7); 40]);
            until("all are spooled", || feeds[0].lane.outstanding() == 0).await;
            sink.stop().await;
            assert_eq!(TestSink::adopt(&folder, &config, to).await, 40);
            let sink = TestSink::of_total(&folder, config, settings, to);
            feeds[1].push(&*sink, [guild(7); 40]);
            bot.listen(address).await;
            until("all are delivered", || bot.accepted().len() >= 80).await;
            let seen = bot.seen.lock().expect("no panic");
            let delivered = seen.iter().filter(|seen| seen.status == 200);
            let ids: Vec<_> = delivered.map(|seen| seen.headers["x-pilothouse-id"].to_str().expect("text")).collect();
            let shards = [7 % from, 7 % to].into_iter();
            let expected = shards.flat_map(|shard| (1..=40).map(move |seq| format!("1/{shard}/5e551017/{seq}")));
            assert_eq!(ids, expected.collect::<Vec<_>>(), "{from} to {to}");
        }
    });
}

#[test]
fn dead_letters_can_be_sent_again() {
    run(async {
        let mended = Arc::new(AtomicUsize::new(0));
        let state = Arc::clone(&mended);
        let bot = Bot::new(move |_, _, seq| if seq == 4 && state.load(Ordering::Relaxed) == 0 { 422 } else { 200 });
        let (address, _server) = bot.listen(anywhere()).await;
        let (sink, feed) = (sink(config(&[address])), Feed::new());
        feed.push(&*sink, (0..8).map(guild));
        until("all are confirmed", || feed.lane.outstanding() == 0).await;
        mended.store(1, Ordering::Relaxed);
        sink.resend().await;
        assert_eq!(sink.letters().len(), 0);
        let again = bot.seen.lock().expect("no panic").last().cloned().expect("it came");
        assert_eq!((again.seq, again.status), (4, 200));
        assert_eq!(again.headers["x-pilothouse-id"], "1/5/5e551017/4");
        assert_eq!(bot.accepted().len(), 8);
    });
}

#[test]
fn what_is_refused_while_the_dead_letters_take_nothing_is_attempted_again() {
    run(async {
        let mended = Arc::new(AtomicUsize::new(0));
        let state = Arc::clone(&mended);
        let bot = Bot::new(move |_, _, _| if state.load(Ordering::Relaxed) == 0 { 400 } else { 200 });
        let (address, _server) = bot.listen(anywhere()).await;
        let folder = Rc::new(tempfile::tempdir().expect("a folder"));
        let settings = SpoolConfig { after: Duration::from_millis(20), reserve_bytes: 0, ..SpoolConfig::default() };
        let sink = TestSink::with_spool(&folder, SinkConfig::Http(config(&[address])), settings);
        // A file where their folder should be.
        std::fs::write(folder.path().join("dead"), "").expect("it is written");
        let feed = Feed::new();
        feed.push(&*sink, (0..20).map(|n| guild(n % 4)));
        until("all are in the spool", || feed.lane.outstanding() == 0).await;
        let trouble = sink.report().trouble.expect("it is said");
        assert!(trouble.contains("dead letters"), "{trouble}");
        mended.store(1, Ordering::Relaxed);
        until("all are delivered", || sink.report().spooled == 0 && sink.report().queued == 0).await;
        assert_eq!(sink.report().dead, 0);
        assert_exact(&bot.accepted(), &feed);
    });
}

#[test]
fn a_batch_holds_a_line_for_each_event_and_a_refused_one_is_found() {
    run(async {
        let bot = Lines::default();
        let address = bot.listen().await;
        let patient = Duration::from_secs(10);
        let batched = HttpConfig { batch: 50, concurrency: 2, timeout: patient, ..config(&[address]) };
        let (sink, feed) = (sink(batched), Feed::new());
        feed.push(&*sink, (0..300).map(|n| guild(n % 5)));
        until("all are confirmed", || feed.lane.outstanding() == 0).await;
        let lines = bot.0.lock().expect("no panic").clone();
        let mut seqs: Vec<u64> = lines.iter().map(|line| line["payload"]["s"].as_u64().expect("a sequence")).collect();
        assert!(lines.iter().all(|line| line["id"] == format!("1/{SHARD}/5e551017/{}", line["payload"]["s"])));
        for guild in 0..5 {
            assert!(seqs.iter().filter(|seq| *seq % 5 == guild).is_sorted());
        }
        seqs.sort_unstable();
        assert_eq!(seqs, (1..=300).filter(|seq| *seq != POISON).collect::<Vec<_>>());
        assert_eq!(sink.letters().iter().map(|letter| letter.seq).collect::<Vec<_>>(), [POISON]);
        assert!(sink.report().retries == 0);
    });
}

/// The event that the bot of the batches refuses, and every batch with it.
const POISON: u64 = 123;

/// A bot that takes batches, and what it took.
#[derive(Clone)]
struct Lines(Arc<Mutex<Vec<serde_json::Value>>>, StatusCode);

impl Default for Lines {
    fn default() -> Self {
        Self(Arc::default(), StatusCode::BAD_REQUEST)
    }
}

impl Lines {
    async fn listen(&self) -> SocketAddr {
        let listener = TcpListener::bind(anywhere()).await.expect("the address is free");
        let address = listener.local_addr().expect("it is bound");
        let (taken, refusal) = (Arc::clone(&self.0), self.1);
        let router = Router::new().fallback(move |headers: HeaderMap, body: String| async move {
            assert_eq!(headers["content-type"], "application/x-ndjson");
            let lines: Vec<serde_json::Value> =
                body.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
            if lines.iter().any(|line| line["payload"]["s"] == POISON) {
                return refusal;
            }
            taken.lock().expect("no panic").extend(lines);
            StatusCode::OK
        });
        tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        address
    }
}

#[test]
fn each_url_is_a_route_of_its_own() {
    run(async {
        let (up, down) = (Bot::new(|_, _, _| 200), Bot::new(|_, _, _| 500));
        let ((first, _), (second, _)) = (up.listen(anywhere()).await, down.listen(anywhere()).await);
        let (sink, feed) = (sink(config(&[first, second])), Feed::new());
        feed.push(&*sink, (0..20).map(guild).chain([0]));
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
        let (sink, feed) = (sink(config), Feed::new());
        feed.push(&*sink, (0..20).map(guild));
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
        let (sink, feed) = (sink(slow), Feed::new());
        feed.push(&*sink, (0..20).map(guild));
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
        let refused = |config: HttpConfig| TestSink::start(SinkConfig::Http(config)).err().expect("it cannot start");
        assert!(refused(HttpConfig::new(["ftp://user:hunter2@bot/"])).contains("ftp://bot/"));
        assert!(refused(HttpConfig::new(["no url"])).contains("URL"));
        assert!(refused(HttpConfig::new(Vec::<String>::new())).contains("no URL"));
        let secret = Secret::new("line\nbreak");
        let error = refused(HttpConfig { authorization: Some(secret), ..HttpConfig::new(["http://bot/"]) });
        assert!(error.contains("AUTHORIZATION") && !error.contains("break"), "{error}");
    });
}
