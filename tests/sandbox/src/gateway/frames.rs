//! WebSocket frames of the server's side, pure: unmasked out, masked and perhaps fragmented in (RFC 6455).

/// The payloads a client may send are at most 4096 bytes; what is larger is skipped, not stored.
const MAX_STORED: usize = 16 * 1024;

/// Opcodes of frames that the server writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Pong = 0xA,
}

/// Appends the header of an unfragmented frame of `len` bytes.
pub(crate) fn header(out: &mut Vec<u8>, kind: Kind, len: usize) {
    out.push(0x80 | kind as u8);
    match len {
        0..=125 => out.push(len as u8),
        126..=0xFFFF => {
            out.push(126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

/// Appends a whole frame.
pub(crate) fn frame(out: &mut Vec<u8>, kind: Kind, payload: &[u8]) {
    header(out, kind, payload.len());
    out.extend_from_slice(payload);
}

/// Appends a close frame; reasons are short constants or cut to what a control frame holds.
pub(crate) fn close(out: &mut Vec<u8>, code: u16, reason: &str) {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend(reason.bytes().take(123));
    frame(out, Kind::Close, &payload);
}

/// What a client said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Incoming {
    /// A whole text or binary message.
    Message(Vec<u8>),
    /// A message over the stored maximum; its length only.
    Oversized(usize),
    Ping(Vec<u8>),
    Pong,
    /// A close frame; no code is 1005.
    Close(u16),
}

/// Not WebSocket: an unmasked frame, a reserved bit or opcode, a continuation of nothing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client broke the WebSocket protocol")]
pub(crate) struct BadFrame;

/// Cuts frames out of the bytes read so far and joins fragments.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    buffer: Vec<u8>,
    message: Vec<u8>,
    message_len: usize,
    in_message: bool,
}

struct Head {
    fin: bool,
    opcode: u8,
    mask: [u8; 4],
    start: usize,
    len: usize,
}

impl FrameReader {
    /// Adds bytes from the socket.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete message or control frame, if there is one.
    pub(crate) fn next(&mut self) -> Result<Option<Incoming>, BadFrame> {
        loop {
            let Some(head) = parse_head(&self.buffer)? else { return Ok(None) };
            if self.buffer.len() < head.start + head.len {
                return Ok(None);
            }
            let payload = self.take(&head);
            if let Some(incoming) = self.accept(&head, payload)? {
                return Ok(Some(incoming));
            }
        }
    }

    fn take(&mut self, head: &Head) -> Vec<u8> {
        let mut payload = self.buffer[head.start..head.start + head.len].to_vec();
        self.buffer.drain(..head.start + head.len);
        payload.iter_mut().zip(head.mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
        payload
    }

    fn accept(&mut self, head: &Head, payload: Vec<u8>) -> Result<Option<Incoming>, BadFrame> {
        match head.opcode {
            0x0 if self.in_message => Ok(self.join(head.fin, &payload)),
            0x1 | 0x2 if !self.in_message => Ok(self.join(head.fin, &payload)),
            0x8 => Ok(Some(Incoming::Close(payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code))))),
            0x9 => Ok(Some(Incoming::Ping(payload))),
            0xA => Ok(Some(Incoming::Pong)),
            _ => Err(BadFrame),
        }
    }

    fn join(&mut self, fin: bool, payload: &[u8]) -> Option<Incoming> {
        self.message_len += payload.len();
        if self.message_len <= MAX_STORED {
            self.message.extend_from_slice(payload);
        }
        self.in_message = !fin;
        if !fin {
            return None;
        }
        let (message, len) = (std::mem::take(&mut self.message), std::mem::take(&mut self.message_len));
        Some(if len <= MAX_STORED { Incoming::Message(message) } else { Incoming::Oversized(len) })
    }
}

fn parse_head(bytes: &[u8]) -> Result<Option<Head>, BadFrame> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    let (reserved, masked) = (first & 0x70 != 0, second & 0x80 != 0);
    if reserved || !masked {
        return Err(BadFrame);
    }
    let (len, extra) = match (second & 0x7F, rest) {
        (126, [a, b, ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 2),
        (127, [a, b, c, d, e, f, g, h, ..]) => (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 8),
        (126 | 127, _) => return Ok(None),
        (short, _) => (u64::from(short), 0),
    };
    let Some(mask) = rest.get(extra..).and_then(|rest| rest.first_chunk()) else { return Ok(None) };
    let len = usize::try_from(len).ok().filter(|len| *len <= 1 << 24).ok_or(BadFrame)?;
    Ok(Some(Head { fin: first & 0x80 != 0, opcode: first & 0x0F, mask: *mask, start: 2 + extra + 4, len }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        header(&mut bytes, Kind::Text, payload.len());
        bytes[0] = first;
        bytes[1] |= 0x80;
        bytes.extend([1, 2, 3, 4]);
        bytes.extend(payload.iter().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    #[test]
    fn joins_fragments_around_a_ping_byte_by_byte() {
        let mut reader = FrameReader::default();
        let mut seen = Vec::new();
        for byte in [masked(0x01, b"he"), masked(0x89, b"p"), masked(0x80, b"llo")].concat() {
            reader.push(&[byte]);
            seen.extend(reader.next().unwrap());
        }
        assert_eq!(seen, [Incoming::Ping(b"p".to_vec()), Incoming::Message(b"hello".to_vec())]);
    }

    #[test]
    fn long_messages_are_measured_and_closes_decoded() {
        let mut reader = FrameReader::default();
        reader.push(&masked(0x81, &[b'x'; 70_000]));
        reader.push(&masked(0x88, &4000_u16.to_be_bytes()));
        reader.push(&masked(0x88, b""));
        assert_eq!(reader.next(), Ok(Some(Incoming::Oversized(70_000))));
        assert_eq!(reader.next(), Ok(Some(Incoming::Close(4000))));
        assert_eq!(reader.next(), Ok(Some(Incoming::Close(1005))));
        assert_eq!(reader.next(), Ok(None));
    }

    #[test]
    fn refuses_unmasked_and_stray_frames() {
        for bytes in [vec![0x81, 0x01, b'x'], masked(0x80, b"x"), masked(0xF1, b"x"), masked(0x83, b"x")] {
            let mut reader = FrameReader::default();
            reader.push(&bytes);
            assert_eq!(reader.next(), Err(BadFrame));
        }
    }
}
