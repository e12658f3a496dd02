//! One attached console: its hello, its subscription, its commands. Each frame is made only when the one before
//! it is out, so a slow console gets fewer of them and costs the agent no more.

use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use pilothouse_shared::command::Command;
use pilothouse_shared::wire::{FromAgent, PROTOCOL, Role, ToAgent};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use super::Control;
use super::feed::Feed;
use super::http::Server;
use super::streams::Streams;
use crate::telemetry::snapshot::Snapshots;

/// For the hello, and for each frame to be taken.
const PATIENCE: Duration = Duration::from_secs(10);
const PING: Duration = Duration::from_secs(10);
/// Between frames of what is watched as it happens.
const STREAM: Duration = Duration::from_millis(100);
/// A console that answers none of so many pings is gone.
const UNANSWERED: u32 = 3;
/// For a worker to describe a shard.
const DETAIL: Duration = Duration::from_millis(500);
/// Commands of one console that wait for Discord.
const LONG: usize = 16;
/// For the last words.
const GOODBYE: Duration = Duration::from_secs(1);

/// Why a console is let go.
enum End {
    /// It left, or no longer answers.
    Gone,
    /// It is told why.
    Bye { reason: String, retry: bool },
}

/// What happens next.
enum Turn {
    Heard(Option<Result<Message, axum::Error>>),
    Snapshot(bool),
    Answer(FromAgent),
    Stream,
    Ping,
}

/// Serves a console until it leaves or the agent shuts down.
pub(super) async fn attend(mut socket: WebSocket, server: &Server, role: Role) {
    let mut closing = server.closing.clone();
    let mut console = Console::new(&mut socket, &server.control, role);
    let end = tokio::select! {
        end = console.talk() => end,
        _ = closing.wait_for(|closing| *closing) => bye("the agent is shutting down", true),
    };
    drop(console);
    if let End::Bye { reason, retry } = end {
        let _ = timeout(GOODBYE, farewell(&mut socket, &FromAgent::Bye { reason, retry })).await;
    }
}

async fn farewell(socket: &mut WebSocket, frame: &FromAgent) -> Result<(), axum::Error> {
    socket.send(message(frame)).await?;
    socket.send(Message::Close(None)).await
}

struct Console<'a> {
    socket: &'a mut WebSocket,
    control: &'a Control,
    role: Role,
    snapshots: Snapshots,
    feed: Feed,
    streams: Streams,
    stream: Interval,
    ping: Interval,
    unanswered: u32,
    /// Commands that wait for Discord, while everything else goes on.
    long: FuturesUnordered<BoxFuture<'a, FromAgent>>,
}

impl<'a> Console<'a> {
    fn new(socket: &'a mut WebSocket, control: &'a Control, role: Role) -> Self {
        let (ping, stream) = (every(PING), every(STREAM));
        let snapshots = control.snapshots.clone();
        let (feed, streams, long) = (Feed::default(), Streams::default(), FuturesUnordered::new());
        Self { socket, control, role, snapshots, feed, streams, stream, ping, unanswered: 0, long }
    }

    async fn talk(&mut self) -> End {
        if let Err(end) = self.greet().await {
            return end;
        }
        loop {
            let turn = self.turn().await;
            if let Err(end) = self.handle(turn).await {
                return end;
            }
        }
    }

    async fn turn(&mut self) -> Turn {
        tokio::select! {
            // What it sent while it was being told comes first: its pong may be among it.
            biased;
            message = self.socket.recv() => Turn::Heard(message),
            Some(answer) = self.long.next(), if !self.long.is_empty() => Turn::Answer(answer),
            changed = self.snapshots.changed() => Turn::Snapshot(changed.is_ok()),
            _ = self.ping.tick() => Turn::Ping,
            _ = self.stream.tick(), if self.streams.are_open() => Turn::Stream,
        }
    }

    async fn handle(&mut self, turn: Turn) -> Result<(), End> {
        match turn {
            Turn::Heard(Some(Ok(message))) => self.heard(message).await,
            Turn::Heard(_) => Err(End::Gone),
            Turn::Snapshot(true) => self.tell().await,
            Turn::Snapshot(false) => Err(bye("the agent is shutting down", true)),
            Turn::Answer(answer) => self.send(&answer).await,
            Turn::Stream => self.stream().await,
            Turn::Ping if self.unanswered == UNANSWERED => Err(End::Gone),
            Turn::Ping => {
                self.unanswered += 1;
                self.put(Message::Ping(Bytes::new())).await
            }
        }
    }

    /// The hello of both sides.
    async fn greet(&mut self) -> Result<(), End> {
        let first = timeout(PATIENCE, self.socket.recv()).await;
        let Ok(Some(Ok(Message::Text(text)))) = first else { return Err(End::Gone) };
        let Ok(ToAgent::Hello { protocol, client }) = serde_json::from_str(&text) else {
            return Err(bye("the first frame of a console is a hello", false));
        };
        if protocol != PROTOCOL {
            let reason = format!(
                "this agent speaks protocol {PROTOCOL}, the console {protocol}: use the console of the same version"
            );
            return Err(bye(&reason, false));
        }
        tracing::info!(client = client.escape_debug().take(80).collect::<String>(), "a console is attached");
        self.send(&self.control.hello(self.role)).await
    }

    async fn heard(&mut self, message: Message) -> Result<(), End> {
        self.unanswered = 0;
        match message {
            Message::Text(text) => match serde_json::from_str(&text) {
                Ok(frame) => self.obey(frame).await,
                Err(error) => Err(bye(&format!("a frame cannot be read: {error}"), false)),
            },
            Message::Binary(_) => Err(bye("frames are JSON text", false)),
            Message::Close(_) => Err(End::Gone),
            Message::Ping(_) | Message::Pong(_) => Ok(()),
        }
    }

    async fn obey(&mut self, frame: ToAgent) -> Result<(), End> {
        match frame {
            ToAgent::Hello { .. } => Ok(()),
            ToAgent::Subscribe(wants) => {
                let understood = self.streams.subscribe(&wants, self.control, self.role).await;
                let understood = understood.and_then(|()| self.feed.subscribe(wants));
                understood.map_err(|wrong| bye(&format!("a subscription cannot be read: {wrong}"), false))?;
                self.tell().await
            }
            ToAgent::Command { id, line } => {
                let takes_long = Command::parse(&line).is_ok_and(|command| command.takes_long());
                let answer = answer(self.control, self.role, id, line);
                if takes_long && self.long.len() < LONG {
                    self.long.push(Box::pin(answer));
                    return Ok(());
                }
                let answer = answer.await;
                self.send(&answer).await
            }
        }
    }

    /// Tells what is due of the newest snapshot.
    async fn tell(&mut self) -> Result<(), End> {
        let snapshot = self.snapshots.borrow_and_update().clone();
        let now = Instant::now();
        if let Some(frame) = self.feed.overview(&snapshot, now) {
            self.send(&frame).await?;
        }
        if let Some(frame) = self.feed.map(&snapshot, now) {
            self.send(&frame).await?;
        }
        if let Some(frame) = self.feed.count(&snapshot, now) {
            self.send(&frame).await?;
        }
        if let Some(shard) = self.feed.detail(now) {
            self.describe(shard).await?;
        }
        for frame in self.feed.page(&snapshot, now) {
            self.send(&frame).await?;
        }
        Ok(())
    }

    /// Tells what was watched since the last time.
    async fn stream(&mut self) -> Result<(), End> {
        let now = Instant::now();
        if let Some(frame) = self.streams.tail(now) {
            self.send(&frame).await?;
        }
        if let Some(frame) = self.streams.logs(now) {
            self.send(&frame).await?;
        }
        Ok(())
    }

    async fn describe(&mut self, shard: u32) -> Result<(), End> {
        if shard >= self.control.shards.total() {
            return Ok(());
        }
        match timeout(DETAIL, self.control.shards.detail(shard)).await {
            Ok(Some(detail)) => self.send(&FromAgent::Detail(Box::new(detail))).await,
            _ => Ok(()),
        }
    }

    async fn send(&mut self, frame: &FromAgent) -> Result<(), End> {
        self.put(message(frame)).await
    }

    async fn put(&mut self, message: Message) -> Result<(), End> {
        match timeout(PATIENCE, self.socket.send(message)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(End::Gone),
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn answer(control: &Control, role: Role, id: u64, line: String) -> FromAgent {
    let (ok, text) = match control.run(role, &line).await {
        Ok(text) => (true, text),
        Err(refused) => (false, refused.to_string()),
    };
    FromAgent::Result { id, ok, text }
}

fn bye(reason: &str, retry: bool) -> End {
    End::Bye { reason: reason.to_owned(), retry }
}

fn message(frame: &FromAgent) -> Message {
    Message::Text(serde_json::to_string(frame).expect("a frame has string keys only").into())
}
