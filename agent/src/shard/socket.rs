//! A connection to a gateway up to its first frame: TCP, TLS for wss://, the WebSocket handshake. Bytes that came
//! behind the handshake in the same segment are kept.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::CertificateError;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::{IntoClientRequest, uri_mode};
use tokio_tungstenite::tungstenite::handshake::client::{Request, generate_request};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::stream::Mode;

/// A handshake's answer is longer than this only if the server is no gateway.
const MAX_RESPONSE: usize = 16 << 10;

/// The bytes of a connection.
#[derive(Debug)]
pub enum Socket {
    /// ws://
    Plain(TcpStream),
    /// wss://
    Tls(Box<TlsStream<TcpStream>>),
}

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// TCP or TLS.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The server does not prove to be the gateway.
    #[error("the certificate of {host} is not trusted: {reason}{hint}", hint = if *.unknown { "; if it is your own proxy, name its authority in gateway.ca_file" } else { "" })]
    Certificate {
        /// Who showed it.
        host: String,
        /// What is wrong with it.
        reason: String,
        /// Nobody whom we trust has signed it.
        unknown: bool,
    },
    /// The URL is none of a gateway.
    #[error("{0:?} is no gateway URL: it must begin with ws:// or wss:// and name a host")]
    Url(String),
    /// The server answered the handshake with another status.
    #[error("the gateway answered the WebSocket handshake with status {0}")]
    Status(u16),
    /// What answered does not speak WebSocket.
    #[error("what answered is no WebSocket server: {0}")]
    Handshake(&'static str),
}

/// Connects to `url` up to the end of the handshake. Returns the socket and what came behind the handshake.
///
/// # Errors
/// Whatever kept the connection from coming about.
pub async fn connect(url: &str, tls: Arc<rustls::ClientConfig>) -> Result<(Socket, Vec<u8>), ConnectError> {
    let request = url.into_client_request().map_err(|_| ConnectError::Url(url.to_owned()))?;
    let mut socket = dial(url, &request, tls).await?;
    let (bytes, key) = generate_request(request).map_err(|_| ConnectError::Url(url.to_owned()))?;
    socket.write_all(&bytes).await?;
    // TLS may still hold what it took.
    socket.flush().await?;
    let mut response = Vec::with_capacity(1024);
    loop {
        if socket.read_buf(&mut response).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        if let Some(size) = verify(&response, &key)? {
            return Ok((socket, response.split_off(size)));
        }
    }
}

async fn dial(url: &str, request: &Request, tls: Arc<rustls::ClientConfig>) -> Result<Socket, ConnectError> {
    let refused = || ConnectError::Url(url.to_owned());
    let mode = uri_mode(request.uri()).map_err(|_| refused())?;
    let host = request.uri().host().ok_or_else(refused)?.trim_matches(['[', ']']);
    let port = request.uri().port_u16().unwrap_or(if matches!(mode, Mode::Tls) { 443 } else { 80 });
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    if matches!(mode, Mode::Plain) {
        return Ok(Socket::Plain(stream));
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|_| refused())?;
    let stream = TlsConnector::from(tls).connect(name, stream).await.map_err(|error| tls_error(host, error))?;
    Ok(Socket::Tls(Box::new(stream)))
}

fn tls_error(host: &str, error: io::Error) -> ConnectError {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(why)) => {
            let unknown = matches!(why, CertificateError::UnknownIssuer);
            let reason = if unknown { "its authority is unknown".to_owned() } else { why.to_string() };
            ConnectError::Certificate { host: host.to_owned(), reason, unknown }
        }
        _ => error.into(),
    }
}

/// The size of the handshake's answer once it is complete and right; none while it is not complete.
fn verify(bytes: &[u8], key: &str) -> Result<Option<usize>, ConnectError> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(bytes).map_err(|_| ConnectError::Handshake("its answer is no HTTP"))?;
    let size = match parsed {
        httparse::Status::Complete(size) => size,
        httparse::Status::Partial if bytes.len() > MAX_RESPONSE => {
            return Err(ConnectError::Handshake("its answer does not end"));
        }
        httparse::Status::Partial => return Ok(None),
    };
    match response.code {
        Some(101) => {}
        code => return Err(ConnectError::Status(code.unwrap_or(0))),
    }
    let accept = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("sec-websocket-accept"));
    if accept.is_none_or(|header| header.value != derive_accept_key(key.as_bytes()).as_bytes()) {
        return Err(ConnectError::Handshake("its answer does not fit the request's key"));
    }
    Ok(Some(size))
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const RIGHT: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    #[test]
    fn bytes_behind_the_answer_stay_ours() {
        let segment = [RIGHT.as_bytes(), b"\x81\x02{}"].concat();
        assert_eq!(verify(&segment, KEY).expect("right"), Some(RIGHT.len()));
        for cut in 0..RIGHT.len() {
            assert_eq!(verify(&segment[..cut], KEY).expect("not complete"), None, "{cut}");
        }
    }

    #[test]
    fn other_answers_are_refused_with_what_they_are() {
        let status = verify(b"HTTP/1.1 503 Service Unavailable\r\n\r\n", KEY).expect_err("503");
        assert!(status.to_string().contains("503"));
        assert!(verify(RIGHT.as_bytes(), "another key").is_err());
        assert!(verify(b"SSH-2.0-OpenSSH\r\n\r\n", KEY).is_err());
        assert!(verify(&[b'x'; 20 << 10], KEY).is_err());
    }
}
