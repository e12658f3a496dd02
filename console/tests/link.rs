//! The link and the programs for scripts against an agent on a real socket.

mod fake;

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use pilothouse_console::address::{Address, Token};
use pilothouse_console::link::{self, Order, Peer};
use pilothouse_console::message::LinkEvent;
use pilothouse_shared::wire::{FromAgent, Role, Subscription, ToAgent};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn open(address: SocketAddr, token: &str) -> (Sender<Order>, Receiver<LinkEvent>) {
    let address = Address::parse(&address.to_string(), false).expect("an address");
    let token = Token::new(Some(token.into()), &address, Path::new("/"));
    let (orders, from_console) = channel(link::ROOM);
    let (to_console, events) = channel(link::ROOM);
    tokio::spawn(link::run(Peer { address, token, trust: None }, from_console, to_console));
    (orders, events)
}

/// The first event that `wanted` makes something of.
async fn until<T>(events: &mut Receiver<LinkEvent>, wanted: impl Fn(LinkEvent) -> Option<T>) -> T {
    let search = async {
        loop {
            let event = events.recv().await.expect("the link runs");
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    };
    timeout(Duration::from_secs(20), search).await.expect("it comes within 20 s")
}

fn frame(event: LinkEvent) -> Option<FromAgent> {
    if let LinkEvent::Frame(frame) = event { Some(*frame) } else { None }
}

fn reason(event: LinkEvent) -> Option<(String, Option<u64>)> {
    if let LinkEvent::Down { reason, wait_ms } = event { Some((reason, wait_ms)) } else { None }
}

#[tokio::test]
async fn an_agent_that_dies_and_comes_back_is_found_again() {
    let (address, agent) = fake::serve(any_port(), 64, Role::Admin).await;
    let (orders, mut events) = open(address, fake::TOKEN);
    let hello = until(&mut events, frame).await;
    assert!(matches!(hello, FromAgent::Hello { role: Role::Admin, .. }));
    let subscription = Subscription { overview: true, map: true, ..Subscription::default() };
    orders.send(Order::Send(ToAgent::Subscribe(subscription))).await.expect("the link runs");
    until(&mut events, |event| matches!(frame(event)?, FromAgent::Map { total: 64, full: true, .. }).then_some(()))
        .await;
    agent.abort();
    let (why, wait) = until(&mut events, reason).await;
    assert!(wait.is_some() && !why.is_empty());
    let (_, _agent) = fake::serve(address, 64, Role::Viewer).await;
    orders.send(Order::Reconnect).await.expect("the link runs");
    let hello = until(&mut events, frame).await;
    assert!(matches!(hello, FromAgent::Hello { role: Role::Viewer, .. }));
}

#[tokio::test]
async fn a_wrong_token_and_no_agent_are_told_apart() {
    let (address, agent) = fake::serve(any_port(), 8, Role::Admin).await;
    let (_orders, mut events) = open(address, "wrong");
    let (why, wait) = until(&mut events, reason).await;
    assert!(why.contains("401") && wait.is_some(), "{why}");
    agent.abort();
    let closed = agent.await;
    assert!(closed.is_err());
    let (_orders, mut events) = open(address, fake::TOKEN);
    let (why, wait) = until(&mut events, reason).await;
    assert!(why.contains("no agent listens") && wait.is_some(), "{why}");
}

#[tokio::test]
async fn it_ends_with_the_console() {
    let (address, _agent) = fake::serve(any_port(), 8, Role::Admin).await;
    let (orders, mut events) = open(address, fake::TOKEN);
    until(&mut events, frame).await;
    drop(orders);
    let ended = async { while events.recv().await.is_some() {} };
    timeout(Duration::from_secs(5), ended).await.expect("the task ends");
}

async fn pilothouse(address: SocketAddr, token: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilothouse"));
    command.args(["--agent", &address.to_string()]).args(arguments);
    command.env("PILOTHOUSE_CONSOLE_TOKEN", token).env_remove("PILOTHOUSE_AGENT");
    let run = move || command.output().expect("the program runs");
    tokio::task::spawn_blocking(run).await.expect("the program ends")
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_get_answers_and_exit_codes() {
    let (address, agent) = fake::serve(any_port(), 300, Role::Admin).await;
    let status = pilothouse(address, fake::TOKEN, &["status"]).await;
    assert!(status.status.success() && words(&status.stdout).contains("shards              300"));
    assert!(
        words(&status.stdout).contains("stage drop          on, 84,213 dropped, 0 renamed"),
        "{}",
        words(&status.stdout)
    );
    let shards = pilothouse(address, fake::TOKEN, &["shards", "3,290-299", "--output", "csv"]).await;
    assert_eq!(words(&shards.stdout).lines().count(), 12, "{}", words(&shards.stdout));
    let done = pilothouse(address, fake::TOKEN, &["exec", "restart 3", "--yes"]).await;
    assert!(done.status.success() && words(&done.stdout).starts_with("restarting"));
    let shown = pilothouse(address, fake::TOKEN, &["exec", "restart 3"]).await;
    assert_eq!(shown.status.code(), Some(5), "{}", words(&shown.stderr));
    assert!(words(&shown.stdout).starts_with("restart 3: does something"), "{}", words(&shown.stdout));
    assert!(words(&shown.stderr).contains("pilothouse apply restart 3"), "{}", words(&shown.stderr));
    let planned = pilothouse(address, fake::TOKEN, &["plan", "restart 3", "-o", "json"]).await;
    assert!(planned.status.success() && words(&planned.stdout).contains("\"identifies\":1"));
    let applied = pilothouse(address, fake::TOKEN, &["apply", "restart 3"]).await;
    assert!(applied.status.success() && words(&applied.stdout).starts_with("restarting"));
    let tail = pilothouse(address, fake::TOKEN, &["tail", "typing_start", "--limit", "45", "-o", "csv"]).await;
    let lines = words(&tail.stdout);
    assert!(tail.status.success() && lines.starts_with("at,shard,type,guild,size,seq,payload\n"), "{lines}");
    assert_eq!(lines.lines().filter(|line| line.contains("TYPING_START")).count(), 45, "{lines}");
    let tail = pilothouse(address, fake::TOKEN, &["tail", "--payloads", "--limit", "1"]).await;
    assert!(words(&tail.stdout).contains("aye aye") && words(&tail.stderr).contains("(1,044 more, not shown)"));
    let logs = pilothouse(address, fake::TOKEN, &["logs", "error", "--limit", "2", "-o", "ndjson"]).await;
    assert_eq!(words(&logs.stdout).matches("\"level\":\"error\"").count(), 2, "{}", words(&logs.stdout));
    let codes = [
        (fake::TOKEN, vec!["exec", "restart 999"], 1, "shards 0 to 299"),
        (fake::TOKEN, vec!["exec", "restrat 3"], 2, "restart"),
        (fake::TOKEN, vec!["shards", "9-2"], 2, "2-9"),
        ("wrong", vec!["status"], 4, "401"),
        (fake::TOKEN, vec![], 2, "pilothouse status"),
    ];
    for (token, arguments, code, text) in codes {
        let output = pilothouse(address, token, &arguments).await;
        assert_eq!(output.status.code(), Some(code), "{arguments:?} {}", words(&output.stderr));
        assert!(words(&output.stderr).contains(text), "{arguments:?} {}", words(&output.stderr));
    }
    agent.abort();
    assert!(agent.await.is_err());
    assert_eq!(pilothouse(address, fake::TOKEN, &["status"]).await.status.code(), Some(3));
}
