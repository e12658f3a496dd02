//! PURE: the client's side of WebSocket frames (RFC 6455). Payload bytes are handed on as they arrive, so that a
//! message of any size needs no buffer here.

/// Largest message taken, compressed. READY and GUILD_CREATE can have megabytes.
const MAX_MESSAGE: u64 = 64 << 20;
/// RFC 6455, 5.5: control frames carry at most this.
const MAX_CONTROL: u64 = 125;

/// Frame opcodes.
mod opcode {
    pub(super) const CONTINUATION: u8 = 0;
    pub(super) const TEXT: u8 = 1;
    pub(super) const BINARY: u8 = 2;
    pub(super) const CLOSE: u8 = 8;
    pub(super) const PING: u8 = 9;
    pub(super) const PONG: u8 = 10;
}

/// What the decoder found next.
#[derive(PartialEq, Eq, Debug)]
pub enum Piece<'a> {
    /// The next bytes of a message.
    Data(&'a [u8]),
    /// The message is complete.
    End,
    /// Answer with a pong of the same bytes.
    Ping(Vec<u8>),
    /// The peer closes, with this code if it gave one.
    Close(Option<u16>),
}

/// The peer broke the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("broken WebSocket framing: {0}")]
pub struct FrameError(&'static str);

/// Decodes what a server sends. Keeps at most one header or control frame between calls.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Header bytes of the frame that begins, or the payload of a control frame.
    held: Vec<u8>,
    frame: Option<Frame>,
    /// Bytes of the message so far; none between messages.
    message: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: u8,
    last: bool,
    left: u64,
}

impl Decoder {
    /// The short way of almost every message: the next one, where nothing is under way and `input`, which moves on
    /// behind it, has all of it in one frame. What is not so is for [`Self::next`].
    pub fn whole<'a>(&mut self, input: &mut &'a [u8]) -> Option<&'a [u8]> {
        if self.frame.is_some() || self.message.is_some() || !self.held.is_empty() {
            return None;
        }
        let [0x81 | 0x82, length, rest @ ..] = *input else { return None };
        let (length, rest) = match length {
            0..=125 => (usize::from(*length), rest),
            126 => rest.split_first_chunk().map(|(length, rest)| (usize::from(u16::from_be_bytes(*length)), rest))?,
            _ => return None,
        };
        let (message, rest) = rest.split_at_checked(length)?;
        *input = rest;
        Some(message)
    }

    /// The next piece of `input`, which moves on behind it; none when `input` is used up.
    ///
    /// # Errors
    /// The framing is broken; the decoder must not be used any more.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, FrameError> {
        loop {
            let Some(frame) = self.frame else {
                match self.header(input)? {
                    Some(frame) => self.begin(frame)?,
                    None => return Ok(None),
                }
                continue;
            };
            if frame.opcode >= opcode::CLOSE {
                match self.control(frame, input) {
                    Some(Piece::End) => continue,
                    piece => return Ok(piece),
                }
            }
            if frame.left > 0 {
                return Ok(self.data(frame, input));
            }
            self.frame = None;
            if frame.last {
                self.message = None;
                return Ok(Some(Piece::End));
            }
        }
    }

    fn begin(&mut self, frame: Frame) -> Result<(), FrameError> {
        match (frame.opcode, self.message) {
            (opcode::CLOSE..=opcode::PONG, _) if frame.last && frame.left <= MAX_CONTROL => {}
            (opcode::CLOSE..=opcode::PONG, _) => return Err(FrameError("a control frame is too long or fragmented")),
            (opcode::TEXT | opcode::BINARY, None) => self.message = Some(0),
            (opcode::CONTINUATION, Some(_)) => {}
            (opcode::TEXT | opcode::BINARY, Some(_)) => return Err(FrameError("a message begins inside another")),
            (opcode::CONTINUATION, None) => return Err(FrameError("a continuation without a message")),
            _ => return Err(FrameError("an unknown opcode")),
        }
        if let Some(size) = &mut self.message {
            *size = size.saturating_add(frame.left);
            if *size > MAX_MESSAGE {
                return Err(FrameError("a message of more than 64 MiB"));
            }
        }
        self.frame = Some(frame);
        Ok(())
    }

    fn data<'a>(&mut self, frame: Frame, input: &mut &'a [u8]) -> Option<Piece<'a>> {
        if input.is_empty() {
            return None;
        }
        let taken = usize::try_from(frame.left).unwrap_or(usize::MAX).min(input.len());
        let (data, rest) = input.split_at(taken);
        *input = rest;
        self.frame = Some(Frame { left: frame.left - taken as u64, ..frame });
        Some(Piece::Data(data))
    }

    /// A control frame once it is whole; `End` stands for one that asks for nothing.
    fn control<'a>(&mut self, frame: Frame, input: &mut &'a [u8]) -> Option<Piece<'a>> {
        let wanted = usize::try_from(frame.left).unwrap_or(usize::MAX) - self.held.len();
        let (taken, rest) = input.split_at(wanted.min(input.len()));
        self.held.extend_from_slice(taken);
        *input = rest;
        if taken.len() < wanted {
            return None;
        }
        self.frame = None;
        let payload = std::mem::take(&mut self.held);
        Some(match frame.opcode {
            opcode::PING => Piece::Ping(payload),
            opcode::CLOSE => Piece::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code))),
            _ => Piece::End,
        })
    }

    fn header(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, FrameError> {
        if self.held.is_empty()
            && let Some((frame, size)) = parse_header(input)?
        {
            *input = &input[size..];
            return Ok(Some(frame));
        }
        while let [first, rest @ ..] = *input {
            self.held.push(*first);
            *input = rest;
            if let Some((frame, _)) = parse_header(&self.held)? {
                self.held = Vec::new();
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }
}

/// A frame's header and its size in bytes; none while it is not complete.
fn parse_header(bytes: &[u8]) -> Result<Option<(Frame, usize)>, FrameError> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err(FrameError("reserved bits are set"));
    }
    if second & 0x80 != 0 {
        return Err(FrameError("the server masks its frames"));
    }
    let (left, size) = match second {
        126 => match rest.first_chunk() {
            Some(length) => (u64::from(u16::from_be_bytes(*length)), 4),
            None => return Ok(None),
        },
        127 => match rest.first_chunk() {
            Some(length) => (u64::from_be_bytes(*length), 10),
            None => return Ok(None),
        },
        length => (u64::from(*length), 2),
    };
    Ok(Some((Frame { opcode: first & 0x0f, last: first & 0x80 != 0, left }, size)))
}

/// Appends a text frame as a client sends it.
pub fn encode_text(text: &str, mask: [u8; 4], out: &mut Vec<u8>) {
    encode(opcode::TEXT, text.as_bytes(), mask, out);
}

/// Appends the answer to a ping.
pub fn encode_pong(payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
    encode(opcode::PONG, payload, mask, out);
}

/// Appends a close frame.
pub fn encode_close(code: u16, mask: [u8; 4], out: &mut Vec<u8>) {
    encode(opcode::CLOSE, &code.to_be_bytes(), mask, out);
}

fn encode(opcode: u8, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
    out.push(0x80 | opcode);
    match payload.len() {
        length @ 0..=125 => out.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::checks::{Whole, cuts_change_no_frame, decode};

    /// A server's frame.
    fn frame(opcode: u8, last: bool, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![u8::from(last) << 7 | opcode];
        match payload.len() {
            length @ 0..=125 => bytes.push(length as u8),
            length @ 126..=0xffff => {
                bytes.push(126);
                bytes.extend((length as u16).to_be_bytes());
            }
            length => {
                bytes.push(127);
                bytes.extend((length as u64).to_be_bytes());
            }
        }
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn control_frames_may_come_between_fragments() {
        let bytes = [
            frame(1, false, b"ab"),
            frame(9, true, b"!"),
            frame(0, true, b"c"),
            frame(8, true, &4000_u16.to_be_bytes()),
        ];
        let expected = [Whole::Message(b"abc".into()), Whole::Ping(b"!".into()), Whole::Close(Some(4000))];
        for size in 1..4 {
            // Data arrives before the ping, so the ping is told first.
            let mut found = decode(&bytes.concat(), &vec![size; 64]).expect("valid");
            found.sort_by_key(|whole| !matches!(whole, Whole::Message(_)));
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn broken_framing_is_refused() {
        for bytes in [
            frame(0, true, b"x"),
            [frame(1, false, b"x"), frame(1, true, b"x")].concat(),
            frame(3, true, b"x"),
            frame(9, false, b"x"),
            frame(9, true, &[0; 126]),
            vec![0xc1, 0],
            vec![0x81, 0x80, 0, 0, 0, 0],
            [vec![0x82, 127], u64::MAX.to_be_bytes().to_vec()].concat(),
        ] {
            assert!(decode(&bytes, &[]).is_err(), "{bytes:?}");
            assert!(decode(&bytes, &vec![1; bytes.len()]).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn what_a_client_sends_is_masked() {
        for length in [0, 5, 125, 126, 65_535, 65_536] {
            let text = "x".repeat(length);
            let mut out = Vec::new();
            encode_text(&text, [1, 2, 3, 4], &mut out);
            let header = out.len() - length;
            assert_eq!(out[0], 0x81);
            assert_eq!(out[1] & 0x80, 0x80);
            assert_eq!(out[header - 4..header], [1, 2, 3, 4]);
            let plain: Vec<u8> =
                out[header..].iter().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, key)| byte ^ key).collect();
            assert_eq!(plain, text.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn messages_survive_any_fragments_and_any_reads(
            messages in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..4), 1..6),
            cuts in prop::collection::vec(1_usize..50, 0..200),
        ) {
            let mut bytes = Vec::new();
            for parts in &messages {
                for (index, part) in parts.iter().enumerate() {
                    let opcode = if index == 0 { opcode::BINARY } else { opcode::CONTINUATION };
                    bytes.extend(frame(opcode, index + 1 == parts.len(), part));
                }
            }
            let expected: Vec<Whole> = messages.iter().map(|parts| Whole::Message(parts.concat())).collect();
            prop_assert_eq!(decode(&bytes, &cuts), Ok(expected));
        }

        #[test]
        fn cuts_change_nothing_whatever_the_bytes(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0x81), Just(0x02), Just(0)], 0..200),
            cuts in prop::collection::vec(1_usize..20, 0..20),
        ) {
            cuts_change_no_frame(&bytes, &cuts);
        }
    }
}
