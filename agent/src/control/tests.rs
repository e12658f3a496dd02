//! The control surface over real sockets, with workers that only note what they are told.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use pilothouse_shared::grammar::{self, Form};
use pilothouse_shared::ids::GuildId;
use pilothouse_shared::page::Page;
use pilothouse_shared::snapshot::{GenerationRow, IdentifyRow, Overview, ShardDetail, ShardRow, ShardState};
use pilothouse_shared::stream::{LogLevel, Tail, TailEvent};
use pilothouse_shared::wire::{FromAgent, PROTOCOL, Role, Subscription, ToAgent};
use rustls::ServerConfig;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::dispatch::{Answer, Manner};
use super::*;
use crate::config::{Config, Script, Secret};
use crate::fleet::placement::Placement;
use crate::gateway::commands::Standing;
use crate::gateway::kind::EventKind;
use crate::gateway::members::{MembersAnswer, MembersError, RawArray};
use crate::shard::ShardCommand;
use crate::shard::handle::ToWorker;
use crate::store::{Change, Store};

mod access;
mod bot;
mod commands;
mod doors;
mod limits;
mod plans;
mod secure;
mod sources;
use crate::shard::tails::EventTap;

const TOKEN: &str = "c0ffee";

/// The shard that is not active.
const AWAY: u32 = 2;

/// What the worker was told: commands to shards, payloads for Discord, and who watches.
#[derive(Clone, Default)]
struct Told {
    commands: Arc<Mutex<Vec<(u32, ShardCommand)>>>,
    sent: Arc<Mutex<Vec<(u32, String)>>>,
    adopted: Arc<Mutex<Vec<Arc<Config>>>>,
    tails: Arc<Mutex<Vec<EventTap>>>,
}

fn snapshot(total: u32) -> Snapshot {
    let row = |id| ShardRow { id, state: ShardState::Active, agent: "eu-1".into(), seq: 1, ..ShardRow::default() };
    let generation = GenerationRow { total, ..GenerationRow::default() };
    let identify = IdentifyRow { total: 1_000, remaining: 3, ..IdentifyRow::default() };
    let overview = Overview { generation, identify, reporting: total, ..Overview::default() };
    Snapshot { overview, rows: (0..total).map(row).collect() }
}

/// One worker that notes its commands and describes any shard.
fn workers(total: u32) -> (Shards, Told) {
    let (sender, mut inbox) = mpsc::channel(16);
    let told = Told::default();
    let Told { commands: notes, sent, adopted, tails } = told.clone();
    tokio::spawn(async move {
        while let Some(message) = inbox.recv().await {
            match message {
                ToWorker::Tail(tap) => tails.lock().expect("no panic").push(tap),
                ToWorker::Command(shard, command) => notes.lock().expect("no panic").push((shard, command)),
                ToWorker::Detail(id, answer) => {
                    let row = ShardRow { id, ..ShardRow::default() };
                    let _ = answer.send(ShardDetail {
                        row,
                        explain: "active: as it should be".into(),
                        ..Default::default()
                    });
                }
                ToWorker::Adopt(config, done) => {
                    adopted.lock().expect("no panic").push(config);
                    let _ = done.send(());
                }
                ToWorker::Send(shard, payload, caller) => {
                    sent.lock().expect("no panic").push((shard, payload.text().to_owned()));
                    let away = Standing::Waits("the shard is not active");
                    let _ = caller.send(if shard == AWAY { away } else { Standing::Sent });
                }
                ToWorker::Members(shard, request, asker) => {
                    sent.lock().expect("no panic").push((shard, format!("{:?}", request.who)));
                    let unanswered = || MembersError::Unanswered("no chunk came for 10 s".into());
                    let _ = asker.send(members(request.guild.0).ok_or_else(unanswered));
                }
                _ => {}
            }
        }
    });
    (Shards::new(Placement { agents: 1, workers: 1 }, total, Arc::from([sender])), told)
}

/// A guild all of whose members come, and one of which a part comes.
const WHOLE: u64 = 1 << 22;
const PART: u64 = 2 << 22;

fn members(guild: u64) -> Option<Arc<MembersAnswer>> {
    let partial = match guild {
        WHOLE => None,
        PART => Some("no chunk came for 10 s".to_owned()),
        _ => return None,
    };
    Some(Arc::new(MembersAnswer {
        guild: GuildId(guild),
        members: RawArray::read(br#"[{"user":{"id":"5"}}]"#).expect("an array"),
        presences: RawArray::default(),
        not_found: RawArray::default(),
        chunks: (1, if partial.is_some() { 2 } else { 1 }),
        partial,
    }))
}

/// A served control surface.
struct Rig {
    address: SocketAddr,
    data: TempDir,
    shown: watch::Sender<Arc<Snapshot>>,
    told: Told,
    stop: Option<oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<()>,
}

impl Rig {
    async fn new(total: u32) -> Self {
        Self::served(total, None).await
    }

    async fn served(total: u32, tls: Option<Arc<ServerConfig>>) -> Self {
        let (shown, snapshots) = watch::channel(Arc::new(snapshot(total)));
        let (shards, told) = workers(total);
        let (control, data) = made(snapshots, shards);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(serve(Listeners { consoles: listener, tls, bot: None }, control, async move {
            drop(stopped.await)
        }));
        Self { address, data, shown, told, stop: Some(stop), served }
    }

    /// Status and body of the answer to `head` (its lines without Host) with `body`.
    async fn ask(&self, head: &str, body: &str) -> (u16, String) {
        let stream = TcpStream::connect(self.address).await.expect("it listens");
        self.ask_through(stream, head, body).await
    }

    async fn ask_through(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
        head: &str,
        body: &str,
    ) -> (u16, String) {
        let host = if head.contains("Host:") { String::new() } else { format!("Host: {}\r\n", self.address) };
        let length = body.len();
        let request = format!("{head}\r\n{host}Content-Length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers and closes");
        let status = answer.split(' ').nth(1).expect("a status line").parse().expect("a status");
        (status, answer.split_once("\r\n\r\n").expect("a head").1.to_owned())
    }

    async fn get(&self, path: &str) -> (u16, String) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nAuthorization: Bearer {TOKEN}"), "").await
    }

    async fn command(&self, body: &str) -> (u16, serde_json::Value) {
        let head = format!("POST /v1/commands HTTP/1.1\r\nAuthorization: Bearer {TOKEN}");
        let (status, body) = self.ask(&head, body).await;
        (status, serde_json::from_str(&body).expect("JSON"))
    }

    async fn connect(&self) -> Result<WebSocketStream<TcpStream>, Error> {
        self.connect_with(TOKEN).await
    }

    async fn connect_with(&self, token: &str) -> Result<WebSocketStream<TcpStream>, Error> {
        let mut request = format!("ws://{}/v1/console", self.address).into_client_request()?;
        let token = format!("Bearer {token}").parse().expect("a header");
        request.headers_mut().insert("authorization", token);
        let stream = TcpStream::connect(self.address).await.expect("it listens");
        Ok(tokio_tungstenite::client_async(request, stream).await?.0)
    }

    /// A console that has said hello.
    async fn console(&self) -> Console {
        self.console_of(TOKEN, Role::Admin).await
    }

    async fn console_of(&self, token: &str, expected: Role) -> Console {
        let mut console = Console(self.connect_with(token).await.expect("it is let in"));
        console.send(&ToAgent::Hello { protocol: PROTOCOL, client: "test".into() }).await;
        match console.next().await {
            FromAgent::Hello { protocol: PROTOCOL, agent, fleet, role, .. } => {
                assert_eq!((&*agent, &*fleet, role), ("eu-1", "prod", expected));
            }
            other => panic!("not a hello: {other:?}"),
        }
        console
    }

    fn show(&self, change: impl FnOnce(&mut Snapshot)) {
        let mut next = Snapshot::clone(&self.shown.borrow());
        change(&mut next);
        self.shown.send_replace(Arc::new(next));
    }
}

struct Console(WebSocketStream<TcpStream>);

impl Console {
    async fn send(&mut self, frame: &ToAgent) {
        let text = serde_json::to_string(frame).expect("a frame");
        self.0.send(Message::text(text)).await.expect("the agent is there");
    }

    async fn next(&mut self) -> FromAgent {
        loop {
            let message = tokio::time::timeout(Duration::from_secs(5), self.0.next()).await.expect("within 5 s");
            if let Message::Text(text) = message.expect("the agent is there").expect("a frame") {
                return serde_json::from_str(&text).expect("a frame of the protocol");
            }
        }
    }

    async fn subscribe(&mut self, wants: Subscription) {
        self.send(&ToAgent::Subscribe(wants)).await;
    }
}

/// With a data folder of its own.
fn made(snapshots: Snapshots, shards: Shards) -> (Arc<Control>, TempDir) {
    let data = TempDir::new().expect("a folder");
    (stored(snapshots, shards, data.path()), data)
}

fn stored(snapshots: Snapshots, shards: Shards, folder: &Path) -> Arc<Control> {
    let store = Store::open(folder).expect("a store");
    let jobs = store.jobs().to_vec();
    let store = store.into_writer().expect("a thread");
    let (name, fleet, data_dir) = ("eu-1".to_owned(), "prod".to_owned(), folder.to_owned());
    let mut config = Config { name, fleet, data_dir, ..Config::new("bot-token") };
    config.authorization = Some(Secret::new("bot-key"));
    let script = |name: &str, text: &str| Script { name: name.into(), text: text.into() };
    config.scripts = vec![script("one", "shards[1].restart()"), script("raw", "command(`send 0 {\"op\":4}`)")];
    config.stages.drop = [EventKind::of(b"TYPING_START")].into_iter().collect();
    let loaded = Loaded { config, origins: Default::default() };
    let reach = Reach { snapshots, shards, permits: permits(), dead_letters: Vec::new(), spool: None, store, jobs };
    Arc::new(Control::new(loaded, Token::new(TOKEN), reach))
}

/// With a store in this folder.
fn over(folder: &Path) -> (Arc<Control>, Told) {
    let (_, snapshots) = watch::channel(Arc::new(snapshot(64)));
    let (shards, told) = workers(64);
    (stored(snapshots, shards, folder), told)
}

fn caller(role: Role) -> Caller {
    Caller::new("ann", role, None, Way::Http)
}

/// What a line is answered that is done at once.
async fn run(control: &Arc<Control>, role: Role, line: &str) -> Result<String, Refused> {
    let manner = Manner { yes: true, ..Manner::default() };
    match control.ask(&caller(role), line, &manner, None).await? {
        Answer::Said(text) => Ok(text),
        Answer::Plan(plan) => panic!("{line} was only planned: {plan}"),
    }
}

fn control(total: u32) -> (Arc<Control>, Told, TempDir) {
    let (_, snapshots) = watch::channel(Arc::new(snapshot(total)));
    let (shards, told) = workers(total);
    let (control, data) = made(snapshots, shards);
    (control, told, data)
}

/// What the worker was told: it has read all of it once it answers a question.
async fn noted(control: &Arc<Control>, told: &Told) -> Vec<(u32, ShardCommand)> {
    run(control, Role::Admin, "explain 0").await.expect("the worker answers");
    told.commands.lock().expect("no panic").clone()
}

#[tokio::test]
async fn every_endpoint_turns_away_pages_foreign_names_and_the_unknown() {
    let rig = Rig::new(4).await;
    let token = format!("\r\nAuthorization: Bearer {TOKEN}");
    let open = ["GET /healthz", "GET /readyz", "GET /nowhere"];
    let guarded = ["GET /v1/status", "GET /v1/shards", "POST /v1/commands", "GET /v1/grammar", "GET /v1/console"];
    for endpoint in open.into_iter().chain(guarded) {
        let origin = format!("{endpoint} HTTP/1.1{token}\r\nOrigin: http://localhost");
        assert_eq!(rig.ask(&origin, "").await.0, 403, "{endpoint}");
        let host = format!("{endpoint} HTTP/1.1{token}\r\nHost: evil.example");
        assert_eq!(rig.ask(&host, "").await.0, 403, "{endpoint}");
    }
    for endpoint in guarded {
        for shown in ["", "\r\nAuthorization: Bearer wrong", "\r\nAuthorization: c0ffee"] {
            let (status, body) = rig.ask(&format!("{endpoint} HTTP/1.1{shown}"), "").await;
            assert!(status == 401 && body.starts_with("{\"error\":"), "{endpoint} {status} {body}");
        }
    }
    assert_eq!(rig.get("/nowhere").await.0, 404);
    assert_eq!(rig.get("/v1/console").await.0, 400, "not an upgrade");
}

#[tokio::test]
async fn health_state_and_commands_are_served() {
    let rig = Rig::new(4).await;
    assert_eq!(rig.ask("GET /healthz HTTP/1.1", "").await, (200, "ok\n".to_owned()));
    let ready = rig.ask("GET /readyz HTTP/1.1", "").await;
    assert_eq!(ready, (200, "{\"ready\":true,\"active\":4,\"shards\":4}".to_owned()));
    rig.show(|shown| shown.rows[2].state = ShardState::Resuming);
    let ready = rig.ask("GET /readyz HTTP/1.1", "").await;
    assert_eq!(ready, (503, "{\"ready\":false,\"active\":3,\"shards\":4}".to_owned()));
    let (_, overview) = rig.get("/v1/status").await;
    assert_eq!(serde_json::from_str::<Overview>(&overview).expect("an overview").generation.total, 4);
    let (_, forms) = rig.get("/v1/grammar").await;
    assert_eq!(serde_json::from_str::<Vec<Form>>(&forms).expect("forms"), grammar::forms());
    let (_, rows) = rig.get("/v1/shards").await;
    assert_eq!(serde_json::from_str::<Vec<ShardRow>>(&rows).expect("rows").len(), 4);

    let (status, answer) = rig.command(r#"{"line":"restart 3","yes":true}"#).await;
    assert_eq!((status, &answer["ok"]), (200, &true.into()));
    assert_eq!(*rig.told.commands.lock().expect("no panic"), [(3, ShardCommand::Restart { identify: false })]);
    for (body, part) in [(r#"{"line":"restart 9"}"#, "shards 0 to 3"), (r#"{"line":"fly"}"#, "fly"), ("{}", "line")] {
        let (status, answer) = rig.command(body).await;
        let text = answer["text"].as_str().expect("a text");
        assert!(status == 400 && text.contains(part), "{body}: {status} {text}");
    }
    assert_eq!(rig.command(&" ".repeat(70_000)).await.0, 413);
}

#[tokio::test]
async fn a_console_of_another_version_is_told_both_numbers() {
    let rig = Rig::new(1).await;
    let mut console = Console(rig.connect().await.expect("it is let in"));
    console.send(&ToAgent::Hello { protocol: PROTOCOL + 1, client: "test".into() }).await;
    let reason = "this agent speaks protocol 2, the console 3: use the console of the same version".to_owned();
    assert_eq!(console.next().await, FromAgent::Bye { reason, retry: false });
}

#[tokio::test]
async fn a_console_is_told_what_it_subscribed_to_and_answered() {
    let rig = Rig::new(8).await;
    let mut console = rig.console().await;
    console.subscribe(Subscription { map: true, detail: Some(3), ..Subscription::default() }).await;
    assert!(
        matches!(console.next().await, FromAgent::Map { total: 8, full: true, states } if states[0].1 == "aaaaaaaa")
    );
    assert!(matches!(console.next().await, FromAgent::Detail(detail) if detail.row.id == 3));
    tokio::time::sleep(Duration::from_millis(450)).await;
    rig.show(|shown| shown.rows[5].state = ShardState::Fatal);
    let states = vec![(5, "f".to_owned())];
    assert_eq!(console.next().await, FromAgent::Map { total: 8, full: false, states });
    console.send(&ToAgent::command(7, "restart 99")).await;
    let text = "shard 99 does not exist: this bot has shards 0 to 7".to_owned();
    assert_eq!(console.next().await, FromAgent::Result { id: 7, ok: false, text });
}

#[tokio::test]
async fn five_thousand_rows_come_in_chunks_that_are_counted() {
    let rig = Rig::new(5_000).await;
    let mut console = rig.console().await;
    console.subscribe(Subscription { page: Some(every_row()), ..Subscription::default() }).await;
    let (mut ids, mut due) = (Vec::new(), 19);
    loop {
        let FromAgent::Page { total, order, follow, rows, .. } = console.next().await else { panic!("not a page") };
        assert_eq!((total, order.as_deref(), follow), (5_000, ids.is_empty().then_some("0-4999"), due));
        ids.extend(rows.iter().map(|row| row["id"].as_u64().expect("an id")));
        match due.checked_sub(1) {
            Some(less) => due = less,
            None => break,
        }
    }
    assert!(ids.into_iter().eq(0..5_000));
}

#[tokio::test]
async fn a_subscription_that_cannot_be_read_ends_the_link_and_says_why() {
    let rig = Rig::new(4).await;
    let page = |page: Page| Subscription { page: Some(page), ..Subscription::default() };
    let tail = |tail: Tail| Subscription { tail: Some(tail), ..Subscription::default() };
    for (wants, part) in [
        (page(Page { filter: "state=happy".into(), ..Page::default() }), "resuming"),
        (page(Page { sort: "colour".into(), ..Page::default() }), "colour"),
        (tail(Tail { types: vec!["MESSAGES".into()], ..Tail::default() }), "MESSAGES"),
        (tail(Tail { shards: Some("9-2".into()), ..Tail::default() }), "2-9"),
    ] {
        let mut console = rig.console().await;
        console.subscribe(wants).await;
        match console.next().await {
            FromAgent::Bye { reason, retry: false } => assert!(reason.contains(part), "{reason}"),
            other => panic!("not a bye: {other:?}"),
        }
    }
}

fn every_row() -> Page {
    Page { count: u32::MAX, ..Page::default() }
}

/// An event that every tap gets.
fn happen(told: &Told, seq: u64) {
    for tap in told.tails.lock().expect("no panic").iter() {
        let payload = tap.payloads.then(|| "x".repeat(1_024));
        tap.tap.offer(|| TailEvent { seq, name: "MESSAGE_CREATE".into(), payload, ..TailEvent::default() });
    }
}

#[tokio::test]
async fn events_are_watched_as_far_as_the_role_allows_and_what_is_left_out_is_counted() {
    let rig = Rig::new(4).await;
    let mut console = rig.console().await;
    let tail = Tail { types: vec!["MESSAGE_CREATE".into()], shards: Some("1,3".into()), payloads: true, guild: None };
    console.subscribe(Subscription { tail: Some(tail.clone()), ..Subscription::default() }).await;
    until(|| !rig.told.tails.lock().expect("no panic").is_empty()).await;
    (0..1_000).for_each(|seq| happen(&rig.told, seq));
    let (mut all, mut shown) = (0, 0);
    while all < 1_000 {
        let FromAgent::Tail { matched, events } = console.next().await else { panic!("not a tail") };
        (all, shown) = (all + matched, shown + events.len());
        assert!(events.iter().all(|event| event.payload.as_ref().is_some_and(|payload| payload.len() == 1_024)));
    }
    assert_eq!((all, shown), (1_000, 20));
    let told = rig.told.tails.lock().expect("no panic")[0].clone();
    assert_eq!(told.shards.as_deref(), Some(&[1, 3][..]));
    console.subscribe(Subscription::default()).await;
    until(|| !told.tap.is_watched()).await;
    let (control, _, _data) = control(4);
    let (tap, _watch) = crate::telemetry::tap::tap(Instant::now());
    assert!(!control.events(&tail, Role::Viewer, tap).expect("valid").payloads, "a viewer sees no payloads");
}

async fn until(reached: impl Fn() -> bool) {
    let wait = async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), wait).await.expect("within 5 s");
}

#[tokio::test]
async fn consoles_are_bounded_and_told_of_the_end() {
    let mut rig = Rig::new(1).await;
    let mut consoles = Vec::new();
    for _ in 0..CONSOLES {
        consoles.push(rig.console().await);
    }
    match rig.connect().await {
        Err(Error::Http(answer)) => assert_eq!(answer.status().as_u16(), 503),
        other => panic!("let in: {other:?}"),
    }
    drop(consoles.pop());
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(rig.console().await);
    drop(rig.stop.take());
    for console in &mut consoles {
        assert!(matches!(console.next().await, FromAgent::Bye { retry: true, .. }));
    }
    drop(consoles);
    tokio::time::timeout(Duration::from_secs(1), rig.served).await.expect("it ends").expect("no panic");
}

/// A fleet that takes whatever it is told.
fn permits() -> mpsc::Sender<PermitInput> {
    let (sender, mut inbox) = mpsc::channel(8);
    tokio::spawn(async move { while inbox.recv().await.is_some() {} });
    sender
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    status.split(' ').nth(1).expect("resident pages").parse::<u64>().expect("a number") * 4_096
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consoles_that_never_read_cost_bounded_memory_and_delay_nobody() {
    let rig = Rig::new(5_000).await;
    let all = Subscription {
        overview: true,
        map: true,
        page: Some(every_row()),
        detail: Some(0),
        tail: Some(Tail { payloads: true, ..Tail::default() }),
        logs: Some(LogLevel::Trace),
    };
    let mut stuck = Vec::new();
    for _ in 0..16 {
        let mut console = rig.console().await;
        console.subscribe(all.clone()).await;
        stuck.push(console);
    }
    let mut reader = rig.console().await;
    reader.subscribe(all).await;
    until(|| rig.told.tails.lock().expect("no panic").len() == 17).await;
    let (before, mut seen) = (resident(), [0; 3]);
    for round in 2..8_u64 {
        rig.show(|shown| {
            shown.rows.iter_mut().for_each(|row| row.seq = round);
            shown.overview.at = round;
        });
        // Never waits: it is what a worker does between two reads of a socket.
        (0..10_000).for_each(|seq| happen(&rig.told, seq));
        let until = tokio::time::Instant::now() + Duration::from_millis(500);
        while let Ok(frame) = tokio::time::timeout_at(until, reader.next()).await {
            match frame {
                FromAgent::Overview(_) => seen[0] += 1,
                FromAgent::Page { .. } => seen[1] += 1,
                FromAgent::Tail { matched, .. } => seen[2] += matched,
                _ => {}
            }
        }
    }
    let grown = resident().saturating_sub(before) / 1024 / 1024;
    println!("16 stuck consoles: {grown} MiB more; overviews, page frames and events seen: {seen:?}");
    assert!(grown < 128, "{grown} MiB");
    assert!(seen[0] >= 2 && seen[1] >= 40 && seen[2] >= 30_000, "{seen:?}");
}
