//! Accepts connections: so many at once, half of them from one address at most, each for a few seconds and kilobytes, so
//! that nobody can hold them all by being slow. A connection that became a console's may stay.

use std::collections::HashMap;
use std::future::Future as _;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

use super::failures::network;
use super::http::{LONGEST_BODY, LONGEST_HEAD};
use super::stream::Stream;

const CONNECTIONS: usize = 256;
/// Of them, from one address.
const OF_ADDRESS: usize = CONNECTIONS / 2;
/// From connecting to the end of the answer.
const LIFETIME: Duration = Duration::from_secs(10);

/// What a connection may send before it may stay: a head and a body, chunked perhaps.
const LONGEST_REQUEST: usize = LONGEST_HEAD + 2 * LONGEST_BODY;

/// The listener, with its limits.
pub(super) struct Door {
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    places: Arc<Semaphore>,
    crowd: Crowd,
    lifetime: Duration,
}

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
    stays: Arc<AtomicBool>,
}

/// One accepted connection.
pub(super) struct Connection {
    stream: Stream,
    peer: Peer,
    end: Pin<Box<Sleep>>,
    /// Bytes that it may still send.
    left: usize,
    _place: OwnedSemaphorePermit,
    _seat: Seat,
}

impl Door {
    pub(super) fn new(listener: TcpListener, tls: Option<Arc<ServerConfig>>) -> Self {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        Self { listener, tls, places, crowd: Crowd::default(), lifetime: LIFETIME }
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
    /// Lifts the limit of the connection's lifetime.
    pub(super) fn stay(&self) {
        self.stays.store(true, Ordering::Relaxed);
    }
}

impl Listener for Door {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let place = Arc::clone(&self.places).acquire_owned().await.expect("the semaphore is never closed");
        loop {
            let (stream, address) = Listener::accept(&mut self.listener).await;
            let Some(seat) = Seat::take(&self.crowd, address.ip()) else {
                tracing::debug!("{} has {OF_ADDRESS} connections already: one more is closed", address.ip());
                continue;
            };
            let _ = stream.set_nodelay(true);
            let local = stream.local_addr().ok().map(|address| address.ip());
            let peer = Peer { local, from: address.ip().to_canonical(), stays: Arc::default() };
            let (stream, end) = (Stream::new(stream, self.tls.as_ref()), Box::pin(sleep(self.lifetime)));
            return (Connection { stream, peer, end, left: LONGEST_REQUEST, _place: place, _seat: seat }, address);
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
        let over = !self.stays() && self.end.as_mut().poll(context).is_ready();
        if over { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }

    fn stays(&self) -> bool {
        self.peer.stays.load(Ordering::Relaxed)
    }

    /// An error once it has sent more than a request has.
    fn count(&mut self, bytes: usize) -> io::Result<()> {
        self.left = self.left.saturating_sub(bytes);
        if self.left == 0 && !self.stays() { Err(io::ErrorKind::QuotaExceeded.into()) } else { Ok(()) }
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
