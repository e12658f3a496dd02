//! Transport compression: one streaming context for the life of a connection, one flush for each message.

use flate2::{Compress, Compression as Level, FlushCompress};
use serde::Serialize;
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, zstd_sys::ZSTD_EndDirective};

/// Discord's zstd window: 256 KiB.
const ZSTD_WINDOW_LOG: u32 = 18;

/// The `compress` parameter of the gateway URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// Text frames of plain JSON.
    None,
    /// `zlib-stream`: every message ends with `00 00 ff ff`.
    ZlibStream,
    /// `zstd-stream`: every message is a flushed part of one endless frame.
    ZstdStream,
}

impl Compression {
    /// Reads the query parameter; an unknown scheme is none, as Discord does it.
    pub(crate) fn from_query(value: Option<&str>) -> Self {
        match value {
            Some("zlib-stream") => Self::ZlibStream,
            Some("zstd-stream") => Self::ZstdStream,
            _ => Self::None,
        }
    }
}

/// A connection's compressor.
pub(crate) enum Compressor {
    None,
    Zlib(Box<Compress>),
    Zstd(Box<CCtx<'static>>),
}

impl Compressor {
    pub(crate) fn new(compression: Compression, zlib_level: u32, zstd_level: i32) -> Self {
        match compression {
            Compression::None => Self::None,
            Compression::ZlibStream => Self::Zlib(Box::new(Compress::new(Level::new(zlib_level), true))),
            Compression::ZstdStream => {
                let mut context = CCtx::create();
                for parameter in [CParameter::CompressionLevel(zstd_level), CParameter::WindowLog(ZSTD_WINDOW_LOG)] {
                    context.set_parameter(parameter).expect("level and window are within zstd's bounds");
                }
                Self::Zstd(Box::new(context))
            }
        }
    }

    pub(crate) fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Appends `message`, compressed and flushed, to `out`.
    pub(crate) fn compress(&mut self, message: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::None => out.extend_from_slice(message),
            Self::Zlib(context) => deflate(context, message, out),
            Self::Zstd(context) => squeeze(context, message, out),
        }
    }
}

fn deflate(context: &mut Compress, message: &[u8], out: &mut Vec<u8>) {
    let start = context.total_in();
    loop {
        out.reserve(message.len() / 2 + 64);
        let done = (context.total_in() - start) as usize;
        context
            .compress_vec(&message[done..], out, FlushCompress::Sync)
            .expect("a stream that is never finished accepts input");
        // Spare room means that the flush is complete: deflate fills the buffer otherwise.
        if out.len() < out.capacity() && (context.total_in() - start) as usize == message.len() {
            return;
        }
    }
}

fn squeeze(context: &mut CCtx<'static>, message: &[u8], out: &mut Vec<u8>) {
    let mut input = InBuffer::around(message);
    loop {
        out.reserve(zstd_safe::compress_bound(message.len()) + 64);
        let end = out.len();
        let mut output = OutBuffer::around_pos(out, end);
        let left = context
            .compress_stream2(&mut output, &mut input, ZSTD_EndDirective::ZSTD_e_flush)
            .expect("a context with valid parameters accepts input");
        if left == 0 {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Decompress, FlushDecompress};
    use zstd_safe::DCtx;

    use super::*;

    fn messages() -> Vec<Vec<u8>> {
        (1..20_usize).map(|n| (0..n * n * 300).map(|i| (i * i / n % 251) as u8).collect()).collect()
    }

    #[test]
    fn zlib_messages_inflate_one_by_one_in_one_context() {
        let mut compressor = Compressor::new(Compression::ZlibStream, 6, 3);
        let mut inflate = Decompress::new(true);
        for message in messages() {
            let mut packed = Vec::new();
            compressor.compress(&message, &mut packed);
            assert_eq!(packed[packed.len() - 4..], [0, 0, 0xFF, 0xFF]);
            let mut plain = Vec::with_capacity(message.len() + 64);
            inflate.decompress_vec(&packed, &mut plain, FlushDecompress::Sync).unwrap();
            assert_eq!(plain, message);
        }
    }

    #[test]
    fn zstd_messages_decode_one_by_one_in_one_context() {
        let mut compressor = Compressor::new(Compression::ZstdStream, 6, 3);
        let mut context = DCtx::create();
        for message in messages() {
            let mut packed = Vec::new();
            compressor.compress(&message, &mut packed);
            let mut plain = Vec::with_capacity(message.len() + 64);
            let mut input = InBuffer::around(&packed);
            context.decompress_stream(&mut OutBuffer::around(&mut plain), &mut input).unwrap();
            assert_eq!(plain, message);
        }
    }
}
