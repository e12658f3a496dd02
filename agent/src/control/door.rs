//! Accepts connections: so many at once, half of them from one address at most, each for a few seconds and kilobytes. When
//! all places are taken, whoever has been about its request for longest goes: nobody can hold them all by being slow. A
//! connection that became a console's may stay.

use std::collections::{HashMap, VecDeque};
use std::future::Future as _;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::failures::network;
use super::http::{LONGEST_BODY, LONGEST_HEAD};
use super::stream::Stream;

const CONNECTIONS: usize = 256;
/// Of them, from one address.
const OF_ADDRESS: usize = CONNECTIONS / 2;
/// From connecting to the end of the answer.
const LIFETIME: Duration = Duration::from_secs(10);
/// The same where the answer is Discord's, or takes many steps.
const LONG_LIFETIME: Duration = Duration::from_secs(90);
/// Within which one that is to go has gone.
const GOING: Duration = Duration::from_millis(200);

/// What a connection may send before it may stay: a head and a body, chunked perhaps.
const LONGEST_REQUEST: usize = LONGEST_HEAD + 2 * LONGEST_BODY;

/// The listener, with its limits.
pub(super) struct Door {
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    places: Arc<Semaphore>,
    crowd: Crowd,
    guests: Guests,
    lifetime: Duration,
}

/// Connections that are about a request, oldest first, and how each is told to go.
#[derive(Default)]
struct Guests(VecDeque<(Peer, oneshot::Sender<()>)>);

/// How many connections each address has.
type Crowd = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// One connection among those of its address.
struct Seat {
    crowd: Crowd,
    of: IpAddr,
}

/// What a request knows of its connection.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// The address it came to.
    pub local: Option<IpAddr>,
    /// The address it came from.
    pub from: IpAddr,
    leave: Arc<AtomicU8>,
}

/// How long a connection may live: shortly, long, without an end.
const SHORT: u8 = 0;
const LONG: u8 = 1;
const ENDLESS: u8 = 2;

/// One accepted connection.
pub(super) struct Connection {
    stream: Stream,
    peer: Peer,
    end: Pin<Box<Sleep>>,
    /// Its end was put off.
    is_long: bool,
    /// Ready when it is to go; none once it is.
    going: Option<oneshot::Receiver<()>>,
    /// Bytes that it may still send.
    left: usize,
    _place: OwnedSemaphorePermit,
    _seat: Seat,
}

impl Door {
    pub(super) fn new(listener: TcpListener, tls: Option<Arc<ServerConfig>>) -> Self {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        Self { listener, tls, places, crowd: Crowd::default(), guests: Guests::default(), lifetime: LIFETIME }
    }

    /// None where everybody may stay.
    async fn place(&mut self) -> Option<OwnedSemaphorePermit> {
        let places = Arc::clone(&self.places);
        if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
            return Some(place);
        }
        if !self.guests.send_off() {
            return None;
        }
        timeout(GOING, places.acquire_owned()).await.ok()?.ok()
    }
}

impl Guests {
    fn welcome(&mut self, peer: Peer) -> oneshot::Receiver<()> {
        if self.0.len() >= 2 * CONNECTIONS {
            self.0.retain(|(peer, go)| !go.is_closed() && peer.leave() == SHORT);
        }
        let (go, going) = oneshot::channel();
        self.0.push_back((peer, go));
        going
    }

    /// Tells the oldest to go.
    fn send_off(&mut self) -> bool {
        std::iter::from_fn(|| self.0.pop_front()).any(|(peer, go)| peer.leave() == SHORT && go.send(()).is_ok())
    }
}

impl Seat {
    /// None when the address has all it may have.
    fn take(crowd: &Crowd, address: IpAddr) -> Option<Self> {
        let of = network(address);
        let mut taken = crowd.lock().expect("nothing panics while it holds this");
        let count = taken.entry(of).or_default();
        (*count < OF_ADDRESS).then(|| {
            *count += 1;
            Self { crowd: Arc::clone(crowd), of }
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.crowd.lock().expect("nothing panics while it holds this");
        if let Some(count) = taken.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.of);
            }
        }
    }
}

impl Peer {
    /// The answer may take its time.
    pub(super) fn wait(&self) {
        self.leave.fetch_max(LONG, Ordering::Relaxed);
    }

    /// Lifts the limit of the connection's lifetime.
    pub(super) fn stay(&self) {
        self.leave.store(ENDLESS, Ordering::Relaxed);
    }

    fn leave(&self) -> u8 {
        self.leave.load(Ordering::Relaxed)
    }
}

impl Listener for Door {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.listener).await;
            let Some(seat) = Seat::take(&self.crowd, address.ip()) else {
                tracing::debug!("{} has {OF_ADDRESS} connections already: one more is closed", address.ip());
                continue;
            };
            let Some(place) = self.place().await else {
                tracing::debug!("all {CONNECTIONS} connections are taken: the one of {} is closed", address.ip());
                continue;
            };
            let _ = stream.set_nodelay(true);
            let local = stream.local_addr().ok().map(|address| address.ip());
            let peer = Peer { local, from: address.ip().to_canonical(), leave: Arc::default() };
            let connection = Connection {
                stream: Stream::new(stream, self.tls.as_ref()),
                going: Some(self.guests.welcome(peer.clone())),
                peer,
                end: Box::pin(sleep(self.lifetime)),
                is_long: false,
                left: LONGEST_REQUEST,
                _place: place,
                _seat: seat,
            };
            return (connection, address);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connected<IncomingStream<'_, Door>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.io().peer.clone()
    }
}

impl Connection {
    /// An error once its time is over.
    fn alive(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.peer.leave() {
            ENDLESS => return Ok(()),
            LONG if !self.is_long => {
                self.is_long = true;
                self.end.as_mut().reset(Instant::now() + LONG_LIFETIME);
            }
            _ => {}
        }
        if self.going.as_mut().is_some_and(|going| Pin::new(going).poll(context).is_ready()) {
            self.going = None;
        }
        let over = self.going.is_none() || self.end.as_mut().poll(context).is_ready();
        if over { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }

    /// An error once it has sent more than a request has.
    fn count(&mut self, bytes: usize) -> io::Result<()> {
        self.left = self.left.saturating_sub(bytes);
        if self.left == 0 && self.peer.leave() != ENDLESS { Err(io::ErrorKind::QuotaExceeded.into()) } else { Ok(()) }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.alive(context)?;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        Poll::Ready(self.count(buffer.filled().len() - before))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.alive(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.alive(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn a_request_that_never_ends_is_cut_off() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let door = Door { lifetime: Duration::from_millis(100), ..Door::new(listener, None) };
        let router = Router::new().route("/", get(|| async {}));
        let _server = tokio::spawn(axum::serve(door, router).into_future());
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        for _ in 0..100 {
            if stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nx: ").await.is_err() {
                return;
            }
            sleep(Duration::from_millis(20)).await;
            let mut byte = [0];
            if matches!(stream.try_read(&mut byte), Ok(0)) {
                return;
            }
        }
        let rest = stream.read_u8().await;
        panic!("still open after 2 s: {rest:?}");
    }
}
