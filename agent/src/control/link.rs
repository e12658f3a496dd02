//! One attached console: its hello, its subscription, its commands. Each frame is made only when the one before
//! it is out, so a slow console gets fewer of them and costs the agent no more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use pilothouse_shared::command::Command;
use pilothouse_shared::wire::{EXEC, FromAgent, PROTOCOL, ToAgent};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep, timeout};

use super::Control;
use super::caller::{Caller, Way};
use super::dispatch::{Answer, Manner, Progress};
use super::feed::Feed;
use super::http::Server;
use super::refused::Refused;
use super::streams::Streams;
use crate::config::Secrets;
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
/// Between two looks at whether a console's token is still good.
const RECHECK: Duration = Duration::from_secs(2);
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

/// Serves a console until it leaves, its token ends or the agent shuts down.
pub(super) async fn attend(mut socket: WebSocket, server: &Server, caller: Caller) {
    let mut closing = server.closing.clone();
    let control = &server.control;
    let mut console = Console::new(&mut socket, control, caller.clone());
    let end = tokio::select! {
        end = console.talk() => end,
        () = revoked(control, &caller) => without_token(),
        _ = closing.wait_for(|closing| *closing) => bye("the agent is shutting down", true),
    };
    drop(console);
    if let End::Bye { reason, retry } = end {
        let _ = timeout(GOODBYE, farewell(&mut socket, &FromAgent::Bye { reason, retry })).await;
    }
}

/// Ends when the caller's token is no longer good.
async fn revoked(control: &Control, caller: &Caller) {
    while control.access.holds(caller) {
        sleep(RECHECK).await;
    }
}

async fn farewell(socket: &mut WebSocket, frame: &FromAgent) -> Result<(), axum::Error> {
    socket.send(message(frame)).await?;
    socket.send(Message::Close(None)).await
}

struct Console<'a> {
    socket: &'a mut WebSocket,
    control: &'a Arc<Control>,
    caller: Caller,
    snapshots: Snapshots,
    feed: Feed,
    streams: Streams,
    stream: Interval,
    ping: Interval,
    unanswered: u32,
    /// Commands that wait for Discord, while everything else goes on.
    long: FuturesUnordered<BoxFuture<'a, FromAgent>>,
    /// How far changes of several steps have come.
    progress: (mpsc::Sender<FromAgent>, mpsc::Receiver<FromAgent>),
}

impl<'a> Console<'a> {
    fn new(socket: &'a mut WebSocket, control: &'a Arc<Control>, caller: Caller) -> Self {
        let (ping, stream) = (every(PING), every(STREAM));
        let snapshots = control.snapshots.clone();
        let (feed, streams, long) = (Feed::default(), Streams::default(), FuturesUnordered::new());
        let progress = mpsc::channel(LONG);
        Self { socket, control, caller, snapshots, feed, streams, stream, ping, unanswered: 0, long, progress }
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
            Some(progress) = self.progress.1.recv() => Turn::Answer(progress),
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
        if client.starts_with(EXEC) {
            self.caller.way = Way::Exec;
        }
        tracing::info!(caller = %self.caller, client = client.escape_debug().take(80).collect::<String>(), "a console is attached");
        self.send(&self.control.hello(self.caller.role)).await
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
                let understood = self.streams.subscribe(&wants, self.control, self.caller.role).await;
                let understood = understood.and_then(|()| self.feed.subscribe(wants));
                understood.map_err(|wrong| bye(&format!("a subscription cannot be read: {wrong}"), false))?;
                self.tell().await
            }
            ToAgent::Command { .. } | ToAgent::Apply { .. } if !self.control.access.holds(&self.caller) => {
                Err(without_token())
            }
            ToAgent::Command { id, line, yes, key, reason } => {
                let waits = Command::parse(&line).is_ok_and(|command| command.takes_long() || command.changes() && yes);
                let (control, caller) = (Arc::clone(self.control), self.caller.clone());
                let progress = self.progress.0.clone();
                let answer = async move {
                    let manner = Manner { yes, key, reason };
                    let answered = control.ask(&caller, &line, &manner, Some(numbered(id, progress))).await;
                    answer(id, answered, &control.secrets)
                };
                self.answer(waits, Box::pin(answer)).await
            }
            ToAgent::Apply { id, plan, reason } => {
                let (control, caller) = (Arc::clone(self.control), self.caller.clone());
                let progress = self.progress.0.clone();
                let answer = async move {
                    let applied = control.apply(&caller, &plan, reason, Some(numbered(id, progress))).await;
                    answer(id, applied.map(Answer::Said), &control.secrets)
                };
                self.answer(true, Box::pin(answer)).await
            }
        }
    }

    /// Sends an answer when it is there; one that has to be waited for, beside everything else.
    async fn answer(&mut self, waits: bool, answer: BoxFuture<'static, FromAgent>) -> Result<(), End> {
        if waits && self.long.len() < LONG {
            self.long.push(answer);
            return Ok(());
        }
        let answer = answer.await;
        self.send(&answer).await
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
        if let Some(frame) = self.streams.logs(&self.control.secrets, now) {
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

fn answer(id: u64, answered: Result<Answer, Refused>, secrets: &Secrets) -> FromAgent {
    match answered {
        Ok(Answer::Said(text)) => FromAgent::Result { id, ok: true, text: secrets.mask(&text) },
        Ok(Answer::Plan(plan)) => FromAgent::Plan { id, plan },
        Err(refused) => FromAgent::Result { id, ok: false, text: secrets.mask(&refused.to_string()) },
    }
}

/// Frames of how far the answer to `id` has come.
fn numbered(id: u64, frames: mpsc::Sender<FromAgent>) -> Progress {
    Box::new(move |done, of| {
        // Whoever is slow learns of a later step.
        let _ = frames.try_send(FromAgent::Progress { id, done, of });
    })
}

fn without_token() -> End {
    bye("the token was revoked or has ended: ask for another", false)
}

fn bye(reason: &str, retry: bool) -> End {
    End::Bye { reason: reason.to_owned(), retry }
}

fn message(frame: &FromAgent) -> Message {
    Message::Text(serde_json::to_string(frame).expect("a frame has string keys only").into())
}
