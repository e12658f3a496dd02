//! An agent that only talks: it speaks the console protocol over a made-up fleet.

pub(crate) mod fleet;

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{SinkExt, StreamExt};
use pilothouse_shared::command::Command;
use pilothouse_shared::snapshot::{CloseRow, ShardState};
use pilothouse_shared::wire::{FromAgent, Role, Subscription, ToAgent};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::interval;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::StatusCode;

use self::fleet::{Fleet, hello, plan};

/// The token it lets in.
pub(crate) const TOKEN: &str = "fake-token";

/// Listens at `address` and serves consoles until it is dropped.
pub(crate) async fn serve(address: SocketAddr, total: u32, role: Role) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind(address).await.expect("the address is free");
    let address = listener.local_addr().expect("it is bound");
    let accept = async move {
        // Consoles go down with the agent.
        let mut consoles = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            consoles.spawn(console(stream, Fleet::new(total, 7, now()), role));
        }
    };
    (address, tokio::spawn(accept))
}

#[expect(clippy::result_large_err, reason = "the callback's type is the library's")]
fn let_in(request: &Request, response: Response) -> Result<Response, ErrorResponse> {
    let bearer = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    if bearer == Some(&format!("Bearer {TOKEN}")) {
        return Ok(response);
    }
    let mut refusal = ErrorResponse::new(None);
    *refusal.status_mut() = StatusCode::UNAUTHORIZED;
    Err(refusal)
}

async fn console(stream: TcpStream, mut fleet: Fleet, role: Role) {
    let Ok(mut socket) = tokio_tungstenite::accept_hdr_async(stream, let_in).await else { return };
    let mut random = fastrand::Rng::with_seed(7);
    let mut wanted = Subscription::default();
    let mut ticks = interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            message = socket.next() => {
                let Some(Ok(message)) = message else { return };
                let Message::Text(text) = message else { continue };
                match serde_json::from_str(text.as_str()).expect("the console speaks the protocol") {
                    ToAgent::Hello { .. } => send(&mut socket, &hello(role)).await,
                    ToAgent::Subscribe(subscription) => {
                        wanted = subscription;
                        tell(&mut socket, &fleet, &wanted).await;
                    }
                    ToAgent::Command { id, line, yes, .. } => {
                        let (ok, text) = answer(&fleet, &line);
                        let asks = ok && !yes && Command::parse(&line).is_ok_and(|command| command.changes());
                        let frame = if asks {
                            FromAgent::Plan { id, plan: plan(&fleet, &line) }
                        } else {
                            FromAgent::Result { id, ok, text }
                        };
                        send(&mut socket, &frame).await;
                    }
                    ToAgent::Apply { id, plan, .. } => {
                        let (ok, text) = answer(&fleet, &plan);
                        send(&mut socket, &FromAgent::Result { id, ok, text }).await;
                    }
                }
            }
            _ = ticks.tick() => {
                step(&mut fleet, &mut random, now());
                tell(&mut socket, &fleet, &wanted).await;
            }
        }
    }
}

async fn tell(socket: &mut WebSocketStream<TcpStream>, fleet: &Fleet, wanted: &Subscription) {
    for frame in fleet::answer(fleet, wanted, now()) {
        send(socket, &frame).await;
    }
}

async fn send(socket: &mut WebSocketStream<TcpStream>, frame: &FromAgent) {
    let text = serde_json::to_string(frame).expect("frames serialise");
    // A console that left is noticed by the next read.
    let _left = socket.send(Message::text(text)).await;
}

/// A second goes by: rates move, some shards change.
fn step(fleet: &mut Fleet, random: &mut fastrand::Rng, now: u64) {
    for row in &mut fleet.rows {
        if row.state != ShardState::Active && random.u8(..) < 60 {
            row.state = ShardState::Active;
            row.resumes += 1;
            row.since = now;
        } else if row.state == ShardState::Active && random.u32(..4_000) == 0 {
            row.state = ShardState::Resuming;
            row.since = now;
            row.close = Some(CloseRow { code: Some(4000), reason: "unknown error, resuming".into(), at: now });
        }
        if row.state == ShardState::Active {
            row.events_per_s = random.u32(40..90);
            row.seq += u64::from(row.events_per_s);
            row.confirmed = row.seq - u64::from(random.u32(0..4));
            row.events = row.seq;
            row.last_dispatch_at = Some(now);
            row.latency_ms = Some(random.u32(35..60));
            row.latency_at = Some(now - random.u64(0..41_000));
            row.lag_ms = random.u32(0..3);
            row.unconfirmed = random.u32(0..5);
        }
    }
}

fn answer(fleet: &Fleet, line: &str) -> (bool, String) {
    let total = u32::try_from(fleet.rows.len()).expect("a u32 of shards");
    match Command::parse(line) {
        Ok(Command::Restart { shards, .. } | Command::Close { shards, .. })
            if shards.highest_named().is_some_and(|id| id >= total) =>
        {
            (
                false,
                format!(
                    "shard {} does not exist: this bot has shards 0 to {}",
                    shards.highest_named().unwrap_or(0),
                    total - 1
                ),
            )
        }
        Ok(Command::Restart { shards, .. }) => {
            (true, format!("restarting shards {shards}: they resume their sessions"))
        }
        Ok(Command::Explain { shard }) => {
            (true, format!("shard {shard} is active\n08:01:12 identified, 1,002 guilds\n08:02:40 resumed"))
        }
        Ok(command) => (true, format!("done: {command}")),
        Err(error) => (false, error.to_string()),
    }
}

/// Unix milliseconds.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("before the year 500,000,000")
}
