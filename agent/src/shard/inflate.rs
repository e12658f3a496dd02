//! Transport decompression: one streaming context a connection (Discord, "Transport Compression"). Output is appended
//! to whatever buffer the caller has at hand.

use flate2::{Decompress, FlushDecompress, Status};
use zstd_safe::{DCtx, InBuffer, OutBuffer};

use crate::config::Compression;

/// Ends every complete message of `zlib-stream`: an empty stored block.
const SYNC_FLUSH: [u8; 4] = [0, 0, 0xff, 0xff];
/// Largest payload taken, decompressed.
const MAX_PAYLOAD: usize = 256 << 20;
/// Room made at a time; most payloads fit.
const ROOM: usize = 16 << 10;

/// The context of one connection.
pub enum Inflater {
    /// Bytes pass as they are.
    None,
    /// `zlib-stream`.
    Zlib {
        /// Boxed by flate2.
        context: Decompress,
        /// The last four bytes fed, which tell whether a payload is complete.
        tail: [u8; 4],
    },
    /// `zstd-stream`.
    Zstd(DCtx<'static>),
}

/// The compressed stream is corrupt.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("broken compression: {0}")]
pub struct InflateError(&'static str);

impl Inflater {
    /// A new context.
    pub fn new(compression: Compression) -> Self {
        match compression {
            Compression::None => Self::None,
            Compression::Zlib => Self::Zlib { context: Decompress::new(true), tail: [0; 4] },
            Compression::Zstd => Self::Zstd(DCtx::create()),
        }
    }

    /// Whether bytes pass as they are.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Appends what `input` decompresses to.
    ///
    /// # Errors
    /// The stream is corrupt or a payload is larger than 256 MiB; the context must not be used any more.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), InflateError> {
        match self {
            Self::None => out.extend_from_slice(input),
            Self::Zlib { context, tail } => {
                remember(tail, input);
                inflate(context, input, out)?;
            }
            Self::Zstd(context) => decompress(context, input, out)?,
        }
        if out.len() > MAX_PAYLOAD {
            return Err(InflateError("a payload of more than 256 MiB"));
        }
        Ok(())
    }

    /// Whether a payload is complete at the end of a message.
    pub fn completes(&self) -> bool {
        match self {
            Self::None | Self::Zstd(_) => true,
            Self::Zlib { tail, .. } => *tail == SYNC_FLUSH,
        }
    }
}

fn remember(tail: &mut [u8; 4], input: &[u8]) {
    if let Some(last) = input.last_chunk() {
        *tail = *last;
        return;
    }
    tail.rotate_left(input.len());
    tail[4 - input.len()..].copy_from_slice(input);
}

fn inflate(context: &mut Decompress, input: &[u8], out: &mut Vec<u8>) -> Result<(), InflateError> {
    let mut rest = input;
    loop {
        out.reserve(ROOM);
        let before = context.total_in();
        let status = context.decompress_vec(rest, out, FlushDecompress::Sync).map_err(|_| InflateError("zlib"))?;
        let used = usize::try_from(context.total_in() - before).unwrap_or(usize::MAX);
        rest = &rest[used..];
        if status == Status::StreamEnd {
            return Err(InflateError("the zlib stream ended"));
        }
        let full = out.len() == out.capacity();
        if rest.is_empty() && !full {
            return Ok(());
        }
        if used == 0 && !full {
            return Err(InflateError("zlib makes no progress"));
        }
    }
}

fn decompress(context: &mut DCtx<'static>, input: &[u8], out: &mut Vec<u8>) -> Result<(), InflateError> {
    let mut input = InBuffer::around(input);
    loop {
        out.reserve(ROOM);
        let at = out.len();
        let mut output = OutBuffer::around_pos(out, at);
        context.decompress_stream(&mut output, &mut input).map_err(|_| InflateError("zstd"))?;
        let full = out.len() == out.capacity();
        if input.pos() == input.src.len() && !full {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compress, FlushCompress};
    use proptest::prelude::*;
    use zstd_safe::{CCtx, zstd_sys::ZSTD_EndDirective};

    use super::*;
    use crate::checks::cuts_change_no_payload;

    fn deflate(context: &mut Compress, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() + 128);
        context.compress_vec(text, &mut out, FlushCompress::Sync).expect("deflate");
        out
    }

    fn compress(context: &mut CCtx<'_>, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() + 1024);
        let mut output = OutBuffer::around(&mut out);
        let mut input = InBuffer::around(text);
        context.compress_stream2(&mut output, &mut input, ZSTD_EndDirective::ZSTD_e_flush).expect("zstd");
        out
    }

    proptest! {
        #[test]
        fn payloads_survive_any_cuts(
            texts in prop::collection::vec("[a-c]{0,40000}|.{0,200}", 1..5),
            cut in 1_usize..2_000,
            zstd in any::<bool>(),
        ) {
            let (mut deflater, mut compressor) = (Compress::new(flate2::Compression::new(6), true), CCtx::create());
            let mut inflater = Inflater::new(if zstd { Compression::Zstd } else { Compression::Zlib });
            for text in texts.iter().filter(|text| !text.is_empty()) {
                let text = text.as_bytes();
                let packed = if zstd { compress(&mut compressor, text) } else { deflate(&mut deflater, text) };
                let mut out = Vec::new();
                for part in packed.chunks(cut) {
                    inflater.feed(part, &mut out).expect("valid");
                }
                prop_assert!(inflater.completes());
                prop_assert_eq!(&out, text);
            }
        }

        #[test]
        fn garbled_bytes_are_refused_or_read_the_same_in_any_cuts(
            text in "[a-c]{0,300}",
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
            cuts in prop::collection::vec(1_usize..40, 0..20),
            zstd in any::<bool>(),
        ) {
            let text = text.as_bytes();
            let (compression, mut bytes) = match zstd {
                true => (Compression::Zstd, compress(&mut CCtx::create(), text)),
                false => (Compression::Zlib, deflate(&mut Compress::new(flate2::Compression::new(6), true), text)),
            };
            for (at, byte) in flips.into_iter().filter(|_| !bytes.is_empty()).collect::<Vec<_>>() {
                *at.get_mut(&mut bytes) = byte;
            }
            cuts_change_no_payload(compression, &bytes, &cuts);
        }
    }

    #[test]
    fn a_zlib_payload_in_two_messages_is_complete_after_the_second() {
        let packed = deflate(&mut Compress::new(flate2::Compression::new(6), true), b"{\"op\":11}");
        let mut inflater = Inflater::new(Compression::Zlib);
        let mut out = Vec::new();
        for (part, complete) in [(&packed[..packed.len() - 2], false), (&packed[packed.len() - 2..], true)] {
            inflater.feed(part, &mut out).expect("valid");
            assert_eq!(inflater.completes(), complete);
        }
        assert_eq!(out, b"{\"op\":11}");
    }
}
