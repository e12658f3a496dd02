//! Accepts connections: so many at once, each for a few seconds, so that nobody can hold them all by being slow.
//! A connection that became a console's may stay.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

const CONNECTIONS: usize = 256;
/// From connecting to the end of the answer.
const LIFETIME: Duration = Duration::from_secs(10);

/// The listener, with its limits.
pub(super) struct Door {
    listener: TcpListener,
    places: Arc<Semaphore>,
    lifetime: Duration,
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
    stream: TcpStream,
    peer: Peer,
    end: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Door {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(CONNECTIONS)), lifetime: LIFETIME }
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
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let _ = stream.set_nodelay(true);
        let local = stream.local_addr().ok().map(|address| address.ip());
        let peer = Peer { local, from: address.ip().to_canonical(), stays: Arc::default() };
        (Connection { stream, peer, end: Box::pin(sleep(self.lifetime)), _place: place }, address)
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
        let over = !self.peer.stays.load(Ordering::Relaxed) && self.end.as_mut().poll(context).is_ready();
        if over { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.alive(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
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

    use super::*;

    #[tokio::test]
    async fn a_request_that_never_ends_is_cut_off() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let door = Door { lifetime: Duration::from_millis(100), ..Door::new(listener) };
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
