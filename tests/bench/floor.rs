//! The least that a client can do, with none of the agent's code: frames from the bare socket into one shared buffer,
//! inflate, op, s and t by a checked prefix, count. On tokio's single-threaded runtime, as the others: its epoll is
//! part of the floor.

use std::cell::RefCell;
use std::future::poll_fn;
use std::hint::black_box;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use anyhow::{Context as _, bail};
use flate2::{Decompress, FlushDecompress};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use zstd_safe::{DCtx, InBuffer, OutBuffer};

use crate::meter::Meter;
use crate::row::{Packing, Row};

/// What a read can bring.
const READ: usize = 64 << 10;
/// Room for one event, and for the part of a frame that a read before left over.
const ROOM: usize = 64 << 10;
const REQUEST: &str = "GET /?v=10&encoding=json HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Shared by all connections.
struct Shared {
    read: Vec<u8>,
    scratch: Vec<u8>,
    meter: Meter,
}

/// Connects every shard and reads for as long as the process lives.
pub(crate) fn start(row: Row, port: u16, meter: Meter) {
    let shared = Shared { read: vec![0; ROOM + READ], scratch: vec![0; ROOM], meter };
    let shared = Rc::new(RefCell::new(shared));
    for _ in 0..row.shards {
        let shared = Rc::clone(&shared);
        spawn_local(async move {
            if let Err(error) = shard(row.packing, port, shared).await {
                eprintln!("floor: {error:#}");
            }
        });
    }
}

async fn shard(packing: Packing, port: u16, shared: Rc<RefCell<Shared>>) -> anyhow::Result<()> {
    let mut connection = open(packing, port).await?;
    loop {
        poll_fn(|cx| connection.poll(cx, &mut shared.borrow_mut())).await?;
    }
}

/// Past HELLO and IDENTIFY; the context has seen HELLO.
async fn open(packing: Packing, port: u16) -> anyhow::Result<Connection> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    stream.write_all(REQUEST.as_bytes()).await?;
    let mut answer = Vec::new();
    let hello = loop {
        stream.read_buf(&mut answer).await?;
        if let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n")
            && let Some((payload, size)) = frame(&answer[end + 4..])
        {
            break answer[end + 4..][..size][payload..].to_vec();
        }
    };
    let mut inflater = Inflater::new(packing);
    inflater.run(&hello, &mut vec![0; ROOM])?;
    let identify = br#"{"op":2,"d":{"token":"x","intents":1,"properties":{},"shard":[0,1]}}"#;
    let header = [0x81, 0x80 | identify.len() as u8, 0, 0, 0, 0];
    stream.write_all(&[&header, identify.as_slice()].concat()).await?;
    Ok(Connection { stream, inflater, left: Vec::new() })
}

struct Connection {
    stream: TcpStream,
    inflater: Inflater,
    /// The beginning of a frame.
    left: Vec<u8>,
}

impl Connection {
    /// Reads once.
    fn poll(&mut self, cx: &mut Context<'_>, shared: &mut Shared) -> Poll<anyhow::Result<()>> {
        let Shared { read, scratch, meter } = shared;
        let held = self.left.len();
        let mut buffer = ReadBuf::new(&mut read[held..held + READ]);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        let count = buffer.filled().len();
        if count == 0 {
            return Poll::Ready(Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()));
        }
        read[..held].copy_from_slice(&self.left);
        Poll::Ready(self.digest(&read[..held + count], scratch, meter))
    }

    fn digest(&mut self, mut bytes: &[u8], scratch: &mut [u8], meter: &mut Meter) -> anyhow::Result<()> {
        let mut events = 0;
        while let Some((payload, size)) = frame(bytes) {
            let text = self.inflater.run(&bytes[payload..size], scratch)?;
            let (kind, seq) = header(text).context("a payload that is no dispatch")?;
            black_box(kind);
            events += u64::from(seq > 1);
            bytes = &bytes[size..];
        }
        self.left.clear();
        self.left.extend_from_slice(bytes);
        meter.add(events);
        Ok(())
    }
}

/// Where the payload of the first frame begins and ends, if it is whole.
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let (begin, length) = match bytes.get(1)? {
        126 => (4, u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize),
        127 => (10, u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize),
        length => (2, usize::from(*length)),
    };
    (bytes.len() >= begin + length).then_some((begin, begin + length))
}

/// Type and sequence of a dispatch.
fn header(text: &[u8]) -> Option<(&[u8], u64)> {
    let rest = text.strip_prefix(br#"{"t":""#)?;
    let end = memchr::memchr(b'"', rest)?;
    let (kind, rest) = rest.split_at(end);
    let rest = rest.strip_prefix(br#"","s":"#)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    rest[digits..].strip_prefix(br#","op":0,"#)?;
    let seq = rest[..digits].iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0'));
    Some((kind, seq))
}

enum Inflater {
    None,
    Zlib(Decompress),
    Zstd(DCtx<'static>),
}

impl Inflater {
    fn new(packing: Packing) -> Self {
        match packing {
            Packing::None => Self::None,
            Packing::Zlib => Self::Zlib(Decompress::new(true)),
            Packing::Zstd => Self::Zstd(DCtx::create()),
        }
    }

    /// The text of one frame: in `scratch`, or where it is.
    fn run<'a>(&mut self, packed: &'a [u8], scratch: &'a mut [u8]) -> anyhow::Result<&'a [u8]> {
        match self {
            Self::None => Ok(packed),
            Self::Zlib(context) => {
                let before = context.total_out();
                context.decompress(packed, scratch, FlushDecompress::Sync)?;
                Ok(&scratch[..(context.total_out() - before) as usize])
            }
            Self::Zstd(context) => {
                let (mut input, mut output) = (InBuffer::around(packed), OutBuffer::around(scratch));
                if context.decompress_stream(&mut output, &mut input).is_err() {
                    bail!("broken zstd");
                }
                let size = output.pos();
                Ok(&scratch[..size])
            }
        }
    }
}
