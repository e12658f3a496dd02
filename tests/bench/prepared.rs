//! What the feed sends, made before anyone connects: frames of one streaming context from HELLO to the last event.

use std::ops::Range;

use flate2::{Compress, FlushCompress};
use zstd_safe::zstd_sys::ZSTD_EndDirective::ZSTD_e_flush;
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};

use crate::events::World;
use crate::row::{Packing, Row};

/// Longer than any row takes: no heartbeat disturbs it.
const HEARTBEAT_MS: u32 = 40_000_000;
/// Discord's zstd window is 256 KiB.
const ZSTD_WINDOW_LOG: u32 = 18;

/// The bytes of one connection.
pub(crate) struct Prepared {
    bytes: Vec<u8>,
    /// Where each frame ends: HELLO, READY, events.
    ends: Vec<usize>,
    /// Bytes of the events before compression.
    raw: u64,
}

impl Prepared {
    /// All that a connection of `row` gets; `port` is where READY says to resume.
    pub(crate) fn new(row: &Row, seed: u64, port: u16) -> Self {
        let (mut packer, mut world) = (Packer::new(row.packing), World::new(seed));
        let mut prepared = Self { bytes: Vec::new(), ends: Vec::new(), raw: 0 };
        prepared.frame(&mut packer, &hello());
        prepared.frame(&mut packer, &ready(seed, port));
        let mut event = String::new();
        for seq in 2..row.each + 2 {
            world.next(seq, &mut event);
            prepared.raw += event.len() as u64;
            prepared.frame(&mut packer, &event);
        }
        prepared
    }

    /// The frame of HELLO.
    pub(crate) fn hello(&self) -> &[u8] {
        &self.bytes[..self.ends[0]]
    }

    /// The frame of READY.
    pub(crate) fn ready(&self) -> &[u8] {
        &self.bytes[self.ends[0]..self.ends[1]]
    }

    /// The frames of all events.
    pub(crate) fn events(&self) -> Range<usize> {
        self.ends[1]..self.bytes.len()
    }

    /// The frame of one event.
    pub(crate) fn event(&self, at: usize) -> &[u8] {
        &self.bytes[self.ends[at + 1]..self.ends[at + 2]]
    }

    /// These bytes.
    pub(crate) fn slice(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }

    /// Average size of an event, raw and on the wire.
    pub(crate) fn sizes(&self) -> (u64, u64) {
        let events = (self.ends.len() - 2) as u64;
        (self.raw / events, self.events().len() as u64 / events)
    }

    fn frame(&mut self, packer: &mut Packer, payload: &str) {
        let opcode = if matches!(packer, Packer::None(_)) { 1 } else { 2 };
        let packed = packer.pack(payload.as_bytes());
        self.bytes.push(0x80 | opcode);
        match packed.len() {
            length @ 0..=125 => self.bytes.push(length as u8),
            length @ 126..=0xffff => {
                self.bytes.push(126);
                self.bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                self.bytes.push(127);
                self.bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        self.bytes.extend_from_slice(packed);
        self.ends.push(self.bytes.len());
    }
}

fn hello() -> String {
    format!(r#"{{"t":null,"s":null,"op":10,"d":{{"heartbeat_interval":{HEARTBEAT_MS},"_trace":["bench"]}}}}"#)
}

fn ready(seed: u64, port: u16) -> String {
    format!(
        r#"{{"t":"READY","s":1,"op":0,"d":{{"v":10,"user":{{"verified":true,"username":"bench","id":"1","bot":true}},"session_type":"normal","session_id":"{seed:032x}","resume_gateway_url":"ws://127.0.0.1:{port}","guilds":[],"application":{{"id":"1","flags":0}}}}}}"#
    )
}

/// A connection's compression.
enum Packer {
    None(Vec<u8>),
    Zlib(Box<Compress>, Vec<u8>),
    Zstd(CCtx<'static>, Vec<u8>),
}

impl Packer {
    fn new(packing: Packing) -> Self {
        match packing {
            Packing::None => Self::None(Vec::new()),
            Packing::Zlib => Self::Zlib(Box::new(Compress::new(flate2::Compression::new(6), true)), Vec::new()),
            Packing::Zstd => {
                let mut context = CCtx::create();
                let window = CParameter::WindowLog(ZSTD_WINDOW_LOG);
                context.set_parameter(window).expect("the window is within zstd's bounds");
                Self::Zstd(context, Vec::new())
            }
        }
    }

    fn pack(&mut self, payload: &[u8]) -> &[u8] {
        match self {
            Self::None(out) => {
                out.clear();
                out.extend_from_slice(payload);
                out
            }
            Self::Zlib(context, out) => {
                out.clear();
                out.reserve(payload.len() * 2 + 1_024);
                context.compress_vec(payload, out, FlushCompress::Sync).expect("deflate takes any bytes");
                out
            }
            Self::Zstd(context, out) => {
                out.clear();
                out.reserve(payload.len() * 2 + 1_024);
                let (mut input, mut output) = (InBuffer::around(payload), OutBuffer::around(out));
                let left = context.compress_stream2(&mut output, &mut input, ZSTD_e_flush);
                assert_eq!(left, Ok(0), "the room is enough for a whole flush");
                out
            }
        }
    }
}
