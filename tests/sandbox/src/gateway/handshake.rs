//! The WebSocket upgrade: reads the request, checks it by tungstenite, and takes the gateway's query parameters.

use std::io;

use tokio_tungstenite::tungstenite::handshake::machine::TryParse;
use tokio_tungstenite::tungstenite::handshake::server::{Request, create_response, write_response};

use super::Compression;
use super::wire::Wire;

const MAX_REQUEST: usize = 16 * 1024;

/// What the URL asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    /// `v`; 0 if it is not a number.
    pub(crate) version: u8,
    pub(crate) compression: Compression,
    /// `encoding` is something else than JSON.
    pub(crate) foreign_encoding: bool,
}

/// Upgrades the connection; `refuse` is an HTTP status to answer instead. Returns the query and bytes read too many.
pub(crate) async fn upgrade(wire: &mut Wire, refuse: Option<u16>) -> io::Result<(Query, Vec<u8>)> {
    let (request, rest) = read_request(wire).await?;
    let mut answer = Vec::new();
    if let Some(status) = refuse {
        let answer = format!("HTTP/1.1 {status} Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        wire.write_all(answer.as_bytes()).await?;
        return Err(io::Error::other("refused by a fault"));
    }
    let response = create_response(&request).map_err(io::Error::other)?;
    write_response(&mut answer, &response).map_err(io::Error::other)?;
    wire.write_all(&answer).await?;
    Ok((parse_query(request.uri().query().unwrap_or("")), rest))
}

async fn read_request(wire: &mut Wire) -> io::Result<(Request, Vec<u8>)> {
    let mut buffer = Vec::with_capacity(1024);
    let mut bytes = [0_u8; 1024];
    while buffer.len() < MAX_REQUEST {
        match wire.read(&mut bytes).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => buffer.extend_from_slice(&bytes[..read]),
        }
        if let Some((size, request)) = Request::try_parse(&buffer).map_err(io::Error::other)? {
            return Ok((request, buffer.split_off(size)));
        }
    }
    Err(io::Error::other("the upgrade request is too long"))
}

/// Version 6 is still Discord's default.
fn parse_query(query: &str) -> Query {
    let value = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    Query {
        version: value("v").map_or(6, |version| version.parse().unwrap_or(0)),
        compression: Compression::from_query(value("compress")),
        foreign_encoding: value("encoding").is_some_and(|encoding| encoding != "json"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_query_in_any_order() {
        let query = parse_query("compress=zlib-stream&encoding=json&v=10");
        assert_eq!((query.version, query.compression), (10, Compression::ZlibStream));
        assert!(!query.foreign_encoding);
        assert_eq!(parse_query("").version, 6);
        assert_eq!(parse_query("v=x").version, 0);
        assert!(parse_query("encoding=etf").foreign_encoding);
    }
}
