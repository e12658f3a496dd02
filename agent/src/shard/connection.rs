//! One open connection: reads turn into payloads, texts into frames. Holds no buffer while nothing is unfinished.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::codec::{Decoder, Piece, encode_close, encode_pong, encode_text};
use super::inflate::Inflater;
use super::socket::Socket;
use crate::gateway::guilds::GuildNote;
use crate::gateway::kind::EventKind;
use crate::pipeline::Event;

/// Bytes asked of a socket at a time.
pub const READ_SIZE: usize = 64 << 10;
/// Room for the payloads of a compressed turn: what [`READ_SIZE`] bytes usually decompress to. Above 512 KiB mimalloc keeps
/// a block apart; below, it would hold on to 4 MiB in which copies of large turns had been.
const TURN_CAPACITY: usize = 576 << 10;
/// A buffer that grew beyond this for one large payload is not kept.
const KEPT_CAPACITY: usize = 64 << 10;
/// Buffers kept for unfinished payloads.
const KEPT_BUFFERS: usize = 4;
/// How long a connection that we left may take to answer our close frame.
const LINGER: Duration = Duration::from_secs(2);

/// Buffers that the connections of one worker share.
#[derive(Default, Debug)]
pub struct Buffers {
    /// The payloads of a turn, one behind the other.
    pub payloads: Vec<u8>,
    /// The dispatches among them that go to the bot.
    pub dispatches: Vec<Dispatch>,
    /// The same as the sinks get them.
    pub events: Vec<Event>,
    spare: Vec<Vec<u8>>,
}

/// A dispatch of the present turn.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dispatch {
    /// Its type.
    pub kind: EventKind,
    /// Its sequence.
    pub seq: u64,
    /// Its payload in [`Buffers::payloads`].
    pub payload: Range<usize>,
    /// What it means for its guild.
    pub note: GuildNote,
}

impl Buffers {
    /// Forgets the payloads of the turn before, and makes `room` for the next. What an unusually large one took is not kept.
    fn begin_turn(&mut self, room: usize) {
        self.payloads.clear();
        if self.payloads.capacity() > room.max(2 * READ_SIZE) {
            self.payloads = Vec::new();
        }
        self.payloads.reserve_exact(room);
    }

    /// The first `size` bytes of the turn's payloads, to share: the buffer itself where it fits and is not the usual one, else a copy.
    pub fn share(&mut self, size: usize) -> Bytes {
        let capacity = self.payloads.capacity();
        if capacity != TURN_CAPACITY && size >= capacity / 4 * 3 {
            return Bytes::from(std::mem::take(&mut self.payloads));
        }
        Bytes::copy_from_slice(&self.payloads[..size])
    }

    fn take(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    fn put_back(&mut self, mut buffer: Vec<u8>) {
        if self.spare.len() < KEPT_BUFFERS && buffer.capacity() <= KEPT_CAPACITY {
            buffer.clear();
            self.spare.push(buffer);
        }
    }
}

/// What a read brought.
#[derive(PartialEq, Eq, Debug)]
pub enum Item {
    /// A payload: this range of [`Buffers::payloads`].
    Payload(Range<usize>),
    /// The peer closed, with this code if it gave one.
    Closed(Option<u16>),
    /// The bytes cannot be read.
    Broken(String),
}

/// An open connection.
pub struct Connection {
    socket: Socket,
    decoder: Decoder,
    inflater: Inflater,
    /// A payload that a former turn left unfinished.
    unfinished: Option<Vec<u8>>,
    /// Where the present payload begins in this turn's [`Buffers::payloads`].
    begins: usize,
    /// The present payload did not end with its first message.
    spans_messages: bool,
    outgoing: Vec<u8>,
    /// The socket took bytes that it may still hold, as TLS does.
    unflushed: bool,
    random: fastrand::Rng,
}

impl Connection {
    /// Over a socket that is past its handshake.
    pub fn new(socket: Socket, inflater: Inflater) -> Self {
        let random = fastrand::Rng::new();
        Self {
            socket,
            decoder: Decoder::default(),
            inflater,
            unfinished: None,
            begins: 0,
            spans_messages: false,
            outgoing: Vec::new(),
            unflushed: false,
            random,
        }
    }

    /// Makes room for what `size` bytes bring: exactly that, where it is known.
    pub fn begin_turn(&self, size: usize, buffers: &mut Buffers) {
        let unfinished = self.unfinished.as_ref().map_or(0, Vec::len);
        buffers.begin_turn(if self.inflater.is_none() { unfinished + size } else { TURN_CAPACITY });
    }

    /// Reads once, into `buffer`: how much. 0 is the end.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// The next item in `input`, which moves on behind it; none when it is used up.
    pub fn next_item(&mut self, input: &mut &[u8], buffers: &mut Buffers) -> Option<Item> {
        loop {
            if let Some(message) = self.decoder.whole(input) {
                match self.feed(message, buffers).or_else(|| self.end_message(buffers)) {
                    None => continue,
                    item => return item,
                }
            }
            match self.decoder.next(input) {
                Ok(None) => return None,
                Ok(Some(Piece::Data(data))) => {
                    if let Some(broken) = self.feed(data, buffers) {
                        return Some(broken);
                    }
                }
                Ok(Some(Piece::End)) => {
                    if let Some(item) = self.end_message(buffers) {
                        return Some(item);
                    }
                }
                Ok(Some(Piece::Ping(payload))) => {
                    encode_pong(&payload, self.random.u32(..).to_ne_bytes(), &mut self.outgoing)
                }
                Ok(Some(Piece::Close(code))) => return Some(Item::Closed(code)),
                Err(error) => return Some(Item::Broken(error.to_string())),
            }
        }
    }

    fn feed(&mut self, data: &[u8], buffers: &mut Buffers) -> Option<Item> {
        let out = self.unfinished.as_mut().unwrap_or(&mut buffers.payloads);
        self.inflater.feed(data, out).err().map(|error| Item::Broken(error.to_string()))
    }

    /// A payload may go on in the next message.
    fn end_message(&mut self, buffers: &mut Buffers) -> Option<Item> {
        if self.inflater.completes() {
            return Some(self.complete(buffers));
        }
        self.spans_messages = true;
        None
    }

    fn complete(&mut self, buffers: &mut Buffers) -> Item {
        if let Some(unfinished) = self.unfinished.take() {
            buffers.payloads.extend_from_slice(&unfinished);
            buffers.put_back(unfinished);
        }
        let begins = std::mem::replace(&mut self.begins, buffers.payloads.len());
        let range = begins..buffers.payloads.len();
        let spans_messages = std::mem::take(&mut self.spans_messages);
        if is_whole(&buffers.payloads[range.clone()], spans_messages) {
            Item::Payload(range)
        } else {
            Item::Broken("a payload is cut or garbled".to_owned())
        }
    }

    /// The turn is over: what is unfinished moves out of the shared buffer.
    pub fn end_turn(&mut self, buffers: &mut Buffers) {
        if buffers.payloads.len() > self.begins {
            let mut unfinished = buffers.take();
            unfinished.extend_from_slice(&buffers.payloads[self.begins..]);
            self.unfinished = Some(unfinished);
        }
        self.begins = 0;
    }

    /// Queues a text; [`Self::poll_write`] sends it.
    pub fn send(&mut self, text: &str) {
        encode_text(text, self.random.u32(..).to_ne_bytes(), &mut self.outgoing);
    }

    /// Writes what is queued, as far as the socket takes it. Ready when nothing is left; after an error nothing is.
    pub fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = self.try_write(cx);
        if let Poll::Ready(Err(_)) = result {
            self.outgoing.clear();
        }
        result
    }

    fn try_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut written = 0;
        while written < self.outgoing.len() {
            match Pin::new(&mut self.socket).poll_write(cx, &self.outgoing[written..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => written += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.outgoing.drain(..written);
                    return Poll::Pending;
                }
            }
        }
        if written > 0 {
            self.outgoing = Vec::new();
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Leaves the connection: sends a close frame and gives the peer a moment to read it, then drops the socket.
    pub async fn leave(mut self, code: u16) {
        encode_close(code, self.random.u32(..).to_ne_bytes(), &mut self.outgoing);
        let farewell = async {
            self.socket.write_all(&self.outgoing).await?;
            self.socket.shutdown().await?;
            // Unread bytes would turn our close into a reset.
            let mut unread = vec![0; 4 << 10];
            while self.socket.read(&mut unread).await? > 0 {}
            io::Result::Ok(())
        };
        // Whatever goes wrong here, the connection is gone.
        let _ = tokio::time::timeout(LINGER, farewell).await;
    }
}

/// Compressed streams carry no checksum: a cut message goes unseen by the inflater and runs into the next. What came in
/// one message is believed if it has an end; what seems to span several, which Discord allows, is parsed.
fn is_whole(payload: &[u8], spans_messages: bool) -> bool {
    if spans_messages {
        return serde_json::from_slice::<serde::de::IgnoredAny>(payload).is_ok();
    }
    payload.ends_with(b"}")
}
