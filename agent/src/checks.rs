//! PURE: what holds of the parsers of foreign bytes, whatever the bytes: one body for the property tests beside the
//! parsers and for the fuzz targets in `fuzz/`.

use serde_json::{Map, Value};

use crate::config::Compression;
use crate::gateway::frame::{self, Header};
use crate::gateway::kind::EventKind;
use crate::gateway::scan;
use crate::shard::codec::{Decoder, FrameError, Piece};
use crate::shard::inflate::Inflater;

/// What a [`Decoder`] finds, with the pieces of a message put together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Whole {
    /// A message.
    Message(Vec<u8>),
    /// A ping.
    Ping(Vec<u8>),
    /// A close frame.
    Close(Option<u16>),
}

/// Decodes frames out of `bytes`, cut into reads of the given sizes, and then of any.
///
/// # Errors
/// The framing is broken.
///
/// # Panics
/// If the decoder leaves input unread.
pub fn decode(bytes: &[u8], cuts: &[usize]) -> Result<Vec<Whole>, FrameError> {
    let (mut decoder, mut found, mut message) = (Decoder::default(), Vec::new(), Vec::new());
    for mut input in pieces(bytes, cuts) {
        loop {
            if let Some(message) = decoder.whole(&mut input) {
                found.push(Whole::Message(message.to_vec()));
            }
            let Some(piece) = decoder.next(&mut input)? else { break };
            match piece {
                Piece::Data(data) => message.extend_from_slice(data),
                Piece::End => found.push(Whole::Message(std::mem::take(&mut message))),
                Piece::Ping(payload) => found.push(Whole::Ping(payload)),
                Piece::Close(code) => found.push(Whole::Close(code)),
            }
        }
        assert!(input.is_empty(), "the decoder stops only when its input is used up");
    }
    Ok(found)
}

/// Frames are the same however their bytes are cut into reads.
///
/// # Panics
/// If they are not.
pub fn cuts_change_no_frame(bytes: &[u8], cuts: &[usize]) {
    assert_eq!(decode(bytes, cuts), decode(bytes, &[]));
}

/// A compressed stream decompresses to the same, however its bytes are cut, or is refused; a payload is complete at the same end.
///
/// # Panics
/// If it does not.
pub fn cuts_change_no_payload(compression: Compression, bytes: &[u8], cuts: &[usize]) {
    let inflate = |cuts: &[usize]| {
        let (mut inflater, mut out) = (Inflater::new(compression), Vec::new());
        let all = pieces(bytes, cuts).try_for_each(|piece| inflater.feed(piece, &mut out));
        all.map(|()| (inflater.completes(), out))
    };
    assert_eq!(inflate(cuts), inflate(&[]));
}

/// The header and the guild of a payload are what a JSON parser finds in it; what is no JSON makes nothing panic.
///
/// # Panics
/// If they are not.
pub fn sniffing_agrees_with_a_parser(payload: &[u8]) {
    let header = frame::sniff(payload);
    let kind = header.map_or(EventKind::OTHER, |header| header.kind);
    let guild = scan::guild_id(kind, payload);
    // Discord escapes no key or type, and repeats no key.
    if payload.contains(&b'\\') {
        return;
    }
    let Some(object) = object(payload) else { return };
    assert_eq!(header, parsed_header(&object));
    let Some(data) = scan::field(payload, "d").and_then(self::object) else { return };
    let id = data.get(if kind.is_about_guild() { "id" } else { "guild_id" });
    let id = id.and_then(|id| id.as_u64().or_else(|| scan::number(id.as_str()?.as_bytes())));
    assert_eq!(guild.map(|guild| guild.0), id);
}

fn parsed_header(object: &Map<String, Value>) -> Option<Header> {
    let kind = object.get("t").and_then(Value::as_str).map_or(EventKind::OTHER, |name| EventKind::of(name.as_bytes()));
    let op = u8::try_from(object.get("op")?.as_u64()?).ok()?;
    Some(Header { op, seq: object.get("s").and_then(Value::as_u64), kind })
}

/// A JSON object in which no key occurs twice.
fn object(bytes: &[u8]) -> Option<Map<String, Value>> {
    let Value::Object(object) = serde_json::from_slice(bytes).ok()? else { return None };
    (scan::fields(bytes).count() == object.len()).then_some(object)
}

/// `bytes` in pieces of these sizes, at least 1 each; the rest is one.
fn pieces<'a>(bytes: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let (mut rest, mut cuts) = (bytes, cuts.iter());
    std::iter::from_fn(move || {
        let cut = cuts.next().map_or(rest.len(), |cut| (*cut).clamp(1, rest.len().max(1)));
        let (piece, left) = rest.split_at_checked(cut)?;
        rest = left;
        (!piece.is_empty()).then_some(piece)
    })
}
