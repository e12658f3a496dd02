//! The bytes of one accepted socket: TCP, or TLS over it. Reads and writes do what is possible at once; nothing waits
//! except the two of the handshake.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection};
use tokio::io::{Interest, Ready};
use tokio::net::TcpStream;

use super::arrival;

/// An accepted socket.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    tls: Option<Box<ServerConnection>>,
    shut: bool,
    /// How long the bytes read last had been waiting.
    waited: Duration,
}

impl Wire {
    /// Speaks TLS if there is a configuration for it; the TLS handshake is part of the first reads.
    pub(super) fn new(stream: TcpStream, tls: Option<&Arc<ServerConfig>>) -> io::Result<Self> {
        arrival::note(&stream);
        let tls = tls.map(|config| ServerConnection::new(Arc::clone(config)).map(Box::new));
        Ok(Self { stream, tls: tls.transpose().map_err(io::Error::other)?, shut: false, waited: Duration::ZERO })
    }

    pub(super) async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        self.stream.ready(interest).await
    }

    /// Whether bytes that [`Self::try_write`] took are not written yet.
    pub(super) fn owes(&self) -> bool {
        !self.shut && self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Whether a read may have taken more from the socket than it returned: read until it would block.
    pub(super) fn reads_ahead(&self) -> bool {
        self.tls.is_some()
    }

    /// Takes some of `bytes`, once nothing is owed, and lets at most `most` bytes out to the socket.
    pub(super) fn try_write(&mut self, bytes: &[u8], most: usize) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.stream.try_write(&bytes[..bytes.len().min(most)]);
        };
        let mut socket = Socket { stream: &self.stream, most };
        flush(tls, &mut socket)?;
        let taken = tls.writer().write(bytes)?;
        match flush(tls, &mut socket) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(taken),
        }
    }

    /// How long the bytes that were read last had been waiting; over TLS that is not known, and zero.
    pub(super) fn waited(&self) -> Duration {
        self.waited
    }

    /// 0 is the end.
    pub(super) fn try_read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            let (read, waited) = arrival::read(&self.stream, buffer)?;
            self.waited = waited;
            return Ok(read);
        };
        let mut socket = Socket { stream: &self.stream, most: usize::MAX };
        loop {
            match tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Most clients go without TLS's farewell.
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            if tls.read_tls(&mut socket)? == 0 {
                return Ok(0);
            }
            if let Err(error) = tls.process_new_packets() {
                // The client hears why, if it still listens.
                let _ = flush(tls, &mut socket);
                return Err(io::Error::new(ErrorKind::InvalidData, error));
            }
        }
    }

    /// Waits for bytes; 0 is the end.
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.try_read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read,
            }
            // What TLS answers in its handshake.
            self.write_all(&[]).await?;
            self.stream.readable().await?;
        }
    }

    /// Waits until everything is written.
    pub(super) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() || self.owes() {
            match self.try_write(bytes, usize::MAX) {
                Ok(taken) => bytes = &bytes[taken..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.stream.writable().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The end of our stream; what the client still sends can be read.
    pub(super) fn shut_down_writes(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            // A client that reads no more hears the end of the stream at least.
            let _ = flush(tls, &mut Socket { stream: &self.stream, most: usize::MAX });
        }
        self.shut = true;
        let _ = socket_of(&self.stream).shutdown(Shutdown::Write);
    }

    /// Makes the kernel end the connection with RST instead of FIN when this is dropped.
    pub(super) fn reset_on_drop(&self) {
        let _ = self.stream.set_zero_linger();
    }
}

/// The socket as TLS wants it, with a limit on what is written.
struct Socket<'a> {
    stream: &'a TcpStream,
    most: usize,
}

impl Read for Socket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.try_read(buffer)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.most == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let written = self.stream.try_write(&bytes[..bytes.len().min(self.most)])?;
        self.most -= written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn flush(tls: &mut ServerConnection, socket: &mut Socket<'_>) -> io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(socket)?;
    }
    Ok(())
}

/// A borrowed handle for the one call that tokio does not offer without `&mut` and `async`.
fn socket_of(stream: &TcpStream) -> std::net::TcpStream {
    use std::os::fd::AsFd;
    let owned = stream.as_fd().try_clone_to_owned().expect("a live socket can be duplicated");
    owned.into()
}
