//! The link to an agent: one task that connects, reconnects and moves frames between two bounded channels.
//! A full channel makes it stop reading; the agent then sends fewer frames.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use pilothouse_shared::wire::{FromAgent, PROTOCOL, ToAgent};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::time::{interval, sleep, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};

use crate::address::{Address, Token};
use crate::message::LinkEvent;
use crate::trust;

/// Room of the channels to and from the link.
pub const ROOM: usize = 64;

/// How long an attempt may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// The agent tells totals once a second; this long a silence means the link is dead.
const SILENCE_LIMIT: Duration = Duration::from_secs(15);
const PING_EVERY: Duration = Duration::from_secs(5);

/// Which agent, and how it lets one in.
#[derive(Clone)]
pub struct Peer {
    /// Where it is.
    pub address: Address,
    /// How one is let in.
    pub token: Token,
    /// Whose certificates are believed; none: those of the public authorities.
    pub trust: Option<Arc<ClientConfig>>,
}

/// What the console asks of the link.
#[derive(Clone, PartialEq, Debug)]
pub enum Order {
    /// Send a frame; it is dropped while the link is down.
    Send(ToAgent),
    /// Connect without waiting for the countdown.
    Reconnect,
}

/// Why there is no connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Down {
    /// In plain words.
    pub reason: String,
    /// The agent was reached and refused: 401, 403, another version.
    pub refused: bool,
    /// Whether trying again can help.
    pub retry: bool,
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

impl Down {
    fn again(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), refused: false, retry: true }
    }
}

/// Runs until the console hangs up.
pub async fn run(peer: Peer, mut orders: Receiver<Order>, events: Sender<LinkEvent>) {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let limit_ms = u64::try_from(CONNECT_LIMIT.as_millis()).expect("ten seconds");
        if events.send(LinkEvent::Connecting { attempt, limit_ms }).await.is_err() {
            return;
        }
        let down = match open(&peer, &mut orders).await {
            Some(Ok(socket)) => {
                let (down, lasted) = talk(socket, &mut orders, &events).await;
                attempt = if lasted { 0 } else { attempt };
                down
            }
            Some(Err(down)) => Some(down),
            None => None,
        };
        let Some(down) = down else { return };
        let wait = down.retry.then(|| backoff(attempt, fastrand::f64()));
        let wait_ms = wait.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        if events.send(LinkEvent::Down { reason: down.reason, wait_ms }).await.is_err() {
            return;
        }
        if !pause(wait, &mut orders).await {
            return;
        }
    }
}

/// Exponential with full jitter: from 1 s to 30 s at most; `random` is within 0..1. Never below a
/// quarter of a second, so that a countdown can be read and an agent is not hammered.
pub fn backoff(attempt: u32, random: f64) -> Duration {
    let most = 1_000.0 * 2_f64.powi(i32::try_from(attempt.min(6)).expect("at most 6"));
    Duration::from_millis(250)
        + Duration::from_secs_f64(most.min(30_000.0) * random / 1_000.0).min(Duration::from_millis(29_750))
}

/// Waits; tells whether the console is still there. What it asks to send meanwhile is dropped: it was told that the
/// link is down.
async fn pause(wait: Option<Duration>, orders: &mut Receiver<Order>) -> bool {
    let over = async {
        match wait {
            Some(wait) => sleep(wait).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(over);
    loop {
        tokio::select! {
            () = &mut over => return true,
            order = orders.recv() => match order {
                Some(Order::Reconnect) => return true,
                Some(Order::Send(_)) => {}
                None => return false,
            },
        }
    }
}

/// Connects; none when the console hangs up meanwhile.
async fn open(peer: &Peer, orders: &mut Receiver<Order>) -> Option<Result<Socket, Down>> {
    let attempt = connect(peer, "pilothouse");
    tokio::pin!(attempt);
    loop {
        tokio::select! {
            socket = &mut attempt => return Some(socket),
            order = orders.recv() => { order?; }
        }
    }
}

/// Opens the WebSocket and says hello as `client`, a program's name.
///
/// # Errors
/// Why not, in words to show.
pub async fn connect(peer: &Peer, client: &str) -> Result<Socket, Down> {
    let token = peer.token.read().map_err(Down::again)?;
    let mut request =
        peer.address.url.as_str().into_client_request().map_err(|error| Down::again(error.to_string()))?;
    let bearer = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| Down {
        reason: "the token holds letters that no token holds".into(),
        refused: true,
        retry: true,
    })?;
    request.headers_mut().insert(header::AUTHORIZATION, bearer);
    let shown = &peer.address.shown;
    let trust = peer.trust.clone().map(Connector::Rustls);
    let attempt = connect_async_tls_with_config(request, None, true, trust);
    let mut socket = match timeout(CONNECT_LIMIT, Box::pin(attempt)).await {
        Err(_) => return Err(Down::again(format!("{shown} did not answer within {} s", CONNECT_LIMIT.as_secs()))),
        Ok(Err(error)) => return Err(explain(&error, shown)),
        Ok(Ok((socket, _))) => socket,
    };
    let hello = ToAgent::Hello { protocol: PROTOCOL, client: format!("{client} {}", env!("CARGO_PKG_VERSION")) };
    socket.send(text(&hello)).await.map_err(|error| explain(&error, shown))?;
    Ok(socket)
}

/// A frame as it is sent.
pub fn text(frame: &ToAgent) -> Message {
    Message::text(serde_json::to_string(frame).expect("frames have string keys only"))
}

fn explain(error: &Error, shown: &str) -> Down {
    match error {
        Error::Http(response) => match response.status() {
            StatusCode::UNAUTHORIZED => refused("the agent refused the token (401): it is wrong or was replaced"),
            StatusCode::FORBIDDEN => refused(
                "the agent refused this address (403): reach it by an address it listens on, by localhost, or by one of its control.hosts",
            ),
            StatusCode::TOO_MANY_REQUESTS => refused("the agent saw too many wrong tokens (429)"),
            status => Down::again(format!("{shown} is no agent's console link: it answered {status}")),
        },
        Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(error) => refused(&trust::explain(error, shown)),
            None => Down::again(format!("{shown}: {}", plain(error))),
        },
        Error::Protocol(_) | Error::HttpFormat(_) if shown.starts_with("ws://") => Down::again(format!(
            "{shown} does not answer as an agent without TLS does: write wss:// if it has a certificate ({error})"
        )),
        error => Down::again(format!("{shown}: {error}")),
    }
}

fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused, no agent listens there".into(),
        std::io::ErrorKind::TimedOut => "no answer".into(),
        _ => error.to_string(),
    }
}

fn refused(reason: &str) -> Down {
    Down { reason: reason.into(), refused: true, retry: true }
}

/// Moves frames until the link ends; tells why (none: the console hung up) and whether the agent had said hello.
async fn talk(socket: Socket, orders: &mut Receiver<Order>, events: &Sender<LinkEvent>) -> (Option<Down>, bool) {
    let (mut out, mut frames) = socket.split();
    let mut ping = interval(PING_EVERY);
    let (started, mut heard, mut lasted) = (Instant::now(), Instant::now(), false);
    if events.send(LinkEvent::Open).await.is_err() {
        return (None, lasted);
    }
    loop {
        let outgoing = tokio::select! {
            frame = frames.next() => {
                heard = Instant::now();
                let event = match incoming(frame, started) {
                    Ok(Some(event)) => event,
                    Ok(None) => continue,
                    Err(down) => return (Some(down), lasted),
                };
                lasted |= matches!(&event, LinkEvent::Frame(frame) if matches!(**frame, FromAgent::Hello { .. }));
                if events.send(event).await.is_err() {
                    return (None, lasted);
                }
                continue;
            }
            order = orders.recv() => match order {
                Some(Order::Send(frame)) => text(&frame),
                Some(Order::Reconnect) => continue,
                None => return (None, lasted),
            },
            _ = ping.tick() => {
                if heard.elapsed() > SILENCE_LIMIT {
                    let silence = format!("the agent was silent for {} s", SILENCE_LIMIT.as_secs());
                    return (Some(Down::again(silence)), lasted);
                }
                Message::Ping(started.elapsed().as_micros().to_string().into())
            }
        };
        match timeout(CONNECT_LIMIT, out.send(outgoing)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return (Some(Down::again(format!("the link broke: {error}"))), lasted),
            Err(_) => return (Some(Down::again("the link is stuck")), lasted),
        }
    }
}

/// What a WebSocket message means to the console.
fn incoming(frame: Option<Result<Message, Error>>, started: Instant) -> Result<Option<LinkEvent>, Down> {
    match frame {
        Some(Ok(Message::Text(text))) => match read(text.as_str())? {
            FromAgent::Bye { reason, retry } => Err(Down { reason, refused: !retry, retry }),
            frame => Ok(Some(LinkEvent::Frame(Box::new(frame)))),
        },
        Some(Ok(Message::Pong(sent))) => Ok(round_trip(&sent, started)),
        Some(Ok(Message::Close(_))) | None => Err(Down::again("the agent closed the link")),
        Some(Ok(_)) => Ok(None),
        Some(Err(error)) => Err(Down::again(format!("the link broke: {error}"))),
    }
}

/// Reads a frame and refuses an agent of another protocol.
///
/// # Errors
/// A frame that cannot be read means another version; connecting again cannot mend that.
pub fn read(text: &str) -> Result<FromAgent, Down> {
    let other = |reason: String| Down { reason, refused: true, retry: false };
    match serde_json::from_str(text) {
        Ok(FromAgent::Hello { protocol, version, .. }) if protocol != PROTOCOL => Err(other(format!(
            "the agent ({version}) speaks protocol {protocol}, this console {PROTOCOL}: use the console of its version"
        ))),
        Ok(frame) => Ok(frame),
        Err(error) => Err(other(format!("the agent sent a frame that this console cannot read: {error}"))),
    }
}

fn round_trip(sent: &[u8], started: Instant) -> Option<LinkEvent> {
    let sent: u128 = std::str::from_utf8(sent).ok()?.parse().ok()?;
    let micros = started.elapsed().as_micros().checked_sub(sent)?;
    Some(LinkEvent::Rtt(u32::try_from(micros.div_ceil(1_000)).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_half_a_minute_and_are_spread() {
        assert_eq!(backoff(1, 0.0), Duration::from_millis(250));
        assert_eq!(backoff(1, 1.0), Duration::from_millis(2_250));
        assert_eq!(backoff(4, 0.5), Duration::from_millis(8_250));
        assert_eq!(backoff(400, 1.0), Duration::from_secs(30));
    }

    #[test]
    fn another_version_is_told_and_not_tried_again() {
        let hello = r#"{"type":"hello","protocol":9,"agent":"a","fleet":"f","version":"9.9.9","role":"admin"}"#;
        let down = read(hello).expect_err("another protocol");
        assert!(!down.retry && down.reason.contains("protocol 9") && down.reason.contains("9.9.9"));
        assert!(read(r#"{"type":"surprise"}"#).is_err_and(|down| !down.retry));
    }
}
