//! The two ports: the one `/gateway/bot` names and the one READY names for resuming. A fault closes them for a while.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

use super::connection;
use crate::hub::Hub;

/// One port of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Main,
    Resume,
}

/// Binds a local port and lets it be bound again at once after a restart.
pub(crate) fn open_door(port: u16) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    socket.listen(4096)
}

/// Accepts connections for ever; `closed` carries the time (microseconds) until which the port is closed.
pub(crate) async fn serve(hub: Arc<Hub>, door: Door, listener: TcpListener, mut closed: watch::Receiver<u64>) {
    let port = listener.local_addr().map_or(0, |address| address.port());
    let mut listener = Some(listener);
    loop {
        let until = *closed.borrow_and_update();
        if hub.clock.now_us() < until {
            listener = None;
            tokio::select! {
                () = tokio::time::sleep_until(hub.clock.instant(until).into()) => {}
                _ = closed.changed() => {}
            }
            continue;
        }
        let Some(open) = reopen(&mut listener, port).await else { continue };
        tokio::select! {
            accepted = open.accept() => if let Ok((stream, _)) = accepted { welcome(&hub, door, stream) },
            _ = closed.changed() => {}
        }
    }
}

async fn reopen(listener: &mut Option<TcpListener>, port: u16) -> Option<&TcpListener> {
    if listener.is_none() {
        *listener = open_door(port).ok();
    }
    if listener.is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    listener.as_ref()
}

fn welcome(hub: &Arc<Hub>, door: Door, stream: TcpStream) {
    hub.state().accepted();
    // One write is one batch of frames already: waiting for more only adds latency.
    if stream.set_nodelay(true).is_ok() {
        tokio::spawn(connection::run(Arc::clone(hub), door, stream));
    }
}
