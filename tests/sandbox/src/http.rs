//! HTTP/1.1 requests of the bot endpoint, pure: a full framework costs more an event than everything else here.

use std::ops::Range;

/// One complete request at the start of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) authorization: Option<String>,
    /// The body is newline-delimited JSON, one delivery a line.
    pub(crate) lines: bool,
    pub(crate) close: bool,
    pub(crate) body: Body,
    /// Bytes of the buffer that the request took.
    pub(crate) len: usize,
}

/// A body in place, or put together from chunks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Body {
    Range(Range<usize>),
    Joined(Vec<u8>),
}

/// Not an HTTP request that this endpoint understands.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed HTTP request")]
pub(crate) struct BadRequest;

const MAX_HEAD: usize = 64 * 1024;

impl Body {
    pub(crate) fn bytes<'a>(&'a self, buffer: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Range(range) => &buffer[range.clone()],
            Self::Joined(bytes) => bytes,
        }
    }
}

/// Parses the first request, if it is complete.
pub(crate) fn parse(buffer: &[u8]) -> Result<Option<Request>, BadRequest> {
    let Some(head_len) = find(buffer, b"\r\n\r\n").map(|at| at + 4) else {
        return if buffer.len() > MAX_HEAD { Err(BadRequest) } else { Ok(None) };
    };
    let head = std::str::from_utf8(&buffer[..head_len]).map_err(|_| BadRequest)?;
    let header = |name: &str| {
        let pairs = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        pairs.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    let found = if header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        join_chunks(buffer, head_len)?
    } else {
        let len: usize = header("content-length").map_or(Ok(0), str::parse).map_err(|_| BadRequest)?;
        let end = head_len.checked_add(len).ok_or(BadRequest)?;
        (end <= buffer.len()).then_some((Body::Range(head_len..end), end))
    };
    Ok(found.map(|(body, len)| Request {
        authorization: header("authorization").map(str::to_owned),
        lines: header("content-type").is_some_and(|kind| kind.contains("ndjson")),
        close: header("connection").is_some_and(|connection| connection.eq_ignore_ascii_case("close")),
        body,
        len,
    }))
}

fn join_chunks(buffer: &[u8], mut at: usize) -> Result<Option<(Body, usize)>, BadRequest> {
    let mut joined = Vec::new();
    loop {
        let Some(line) = find(&buffer[at..], b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&buffer[at..at + line]).map_err(|_| BadRequest)?;
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| BadRequest)?;
        let (start, end) = (at + line + 2, at.saturating_add(line + 2).saturating_add(size));
        if buffer.len() < end.saturating_add(2) {
            return Ok(None);
        }
        joined.extend_from_slice(&buffer[start..end]);
        at = end + 2;
        if size == 0 {
            return Ok(Some((Body::Joined(joined), at)));
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_one_request_at_a_time() {
        let two = b"POST / HTTP/1.1\r\nAuthorization: s3cret\r\ncontent-length: 5\r\n\r\nhelloPOST / HTTP/1.1\r\n\r\n";
        let first = parse(two).unwrap().unwrap();
        assert_eq!(first.body.bytes(two), b"hello");
        assert_eq!(first.authorization.as_deref(), Some("s3cret"));
        let second = parse(&two[first.len..]).unwrap().unwrap();
        assert_eq!(second.body.bytes(two), b"");
        assert_eq!(parse(&two[..60]), Ok(None));
    }

    #[test]
    fn joins_chunks() {
        let chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        let request = parse(chunked).unwrap().unwrap();
        assert_eq!(request.body.bytes(chunked), b"abcde");
        assert_eq!(request.len, chunked.len());
        assert_eq!(parse(&chunked[..chunked.len() - 3]), Ok(None));
    }

    #[test]
    fn refuses_nonsense() {
        assert_eq!(parse(b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n"), Err(BadRequest));
    }
}
