//! PURE: how records and streams lie in the database. What this version writes, every later version reads.

use bytes::Bytes;

use super::ledger::Stream;
use super::{Mark, NewRecord, Record, StreamKey, Tag};
use crate::gateway::frame;
use crate::gateway::kind::EventKind;
use crate::pipeline::Origin;

/// First byte of every value.
const VERSION: u8 = 1;
/// First byte of a record whose session is of another shard than its stream, which it names.
const MOVED: u8 = 2;

const STREAM: u8 = b's';
const RECORD: u8 = b'r';
const STREAM_KEY: usize = 21;
const RECORD_KEY: usize = 29;
/// Version, bytes before, generation, sequence, part, time, length of the session.
const RECORD_HEAD: usize = 1 + 8 + 4 + 8 + 4 + 8 + 4;

/// Why a value cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Undecodable {
    /// A later version of this program wrote it.
    Newer(u8),
    /// Nobody wrote it like this.
    Damaged,
}

/// Keys of streams begin with it.
pub(super) const STREAMS: [u8; 1] = [STREAM];

/// Where a stream's row lies.
pub(super) fn stream_key(key: &StreamKey) -> [u8; STREAM_KEY] {
    let mut bytes = [0; STREAM_KEY];
    bytes[0] = STREAM;
    bytes[1..9].copy_from_slice(&key.sink.0.to_be_bytes());
    bytes[9..17].copy_from_slice(&key.route.0.to_be_bytes());
    bytes[17..].copy_from_slice(&key.shard.to_be_bytes());
    bytes
}

/// The stream of a row.
pub(super) fn read_stream_key(bytes: &[u8]) -> Result<StreamKey, Undecodable> {
    let bytes: &[u8; STREAM_KEY] = bytes.try_into().map_err(|_| Undecodable::Damaged)?;
    let mut fields = Fields(&bytes[1..]);
    let sink = Tag(u64::from_be_bytes(fields.take()?));
    let route = Tag(u64::from_be_bytes(fields.take()?));
    Ok(StreamKey { sink, route, shard: u32::from_be_bytes(fields.take()?) })
}

/// Where a record lies: beside its stream's others, in order.
pub(super) fn record_key(key: &StreamKey, index: u64) -> [u8; RECORD_KEY] {
    let mut bytes = [0; RECORD_KEY];
    bytes[..STREAM_KEY].copy_from_slice(&stream_key(key));
    bytes[0] = RECORD;
    bytes[STREAM_KEY..].copy_from_slice(&index.to_be_bytes());
    bytes
}

/// Bytes that a record is counted with: its key, its head and its payload.
pub(super) fn record_size(record: &NewRecord) -> u64 {
    let shard = if record.shard == record.origin.shard { 0 } else { size_of::<u32>() };
    (RECORD_KEY + RECORD_HEAD + shard + record.origin.session.len() + record.payload.len()) as u64
}

/// Replaces what is in `out` by the record; `before` are the bytes of all records that its stream ever had before it.
pub(super) fn write_record(out: &mut Vec<u8>, record: &NewRecord, before: u64) {
    let NewRecord { shard, origin, seq, part, received_ms, payload, .. } = record;
    let is_moved = *shard != origin.shard;
    let session = u32::try_from(origin.session.len()).expect("a session id is a part of a READY, which has less");
    out.clear();
    out.push(if is_moved { MOVED } else { VERSION });
    out.extend_from_slice(&before.to_le_bytes());
    out.extend_from_slice(&origin.generation.to_le_bytes());
    out.extend_from_slice(&seq.to_le_bytes());
    out.extend_from_slice(&part.to_le_bytes());
    out.extend_from_slice(&received_ms.to_le_bytes());
    out.extend_from_slice(&session.to_le_bytes());
    if is_moved {
        out.extend_from_slice(&origin.shard.to_le_bytes());
    }
    out.extend_from_slice(origin.session.as_bytes());
    out.extend_from_slice(payload);
}

/// Reads a record of the stream of `shard`, whose payload shares `value`.
pub(super) fn read_record(shard: u32, index: u64, value: &Bytes) -> Result<Record, Undecodable> {
    let (version, mut fields) = versioned(value, MOVED)?;
    let _before: [u8; 8] = fields.take()?;
    let generation = u32::from_le_bytes(fields.take()?);
    let seq = u64::from_le_bytes(fields.take()?);
    let part = u32::from_le_bytes(fields.take()?);
    let received_ms = u64::from_le_bytes(fields.take()?);
    let length = u32::from_le_bytes(fields.take()?) as usize;
    let shard = if version == MOVED { u32::from_le_bytes(fields.take()?) } else { shard };
    let payload = value.len() - fields.0.len() + length;
    let session = fields.0.get(..length).ok_or(Undecodable::Damaged)?;
    let session = str::from_utf8(session).map_err(|_| Undecodable::Damaged)?.into();
    let payload = value.slice(payload..);
    let kind = frame::sniff(&payload).map_or(EventKind::OTHER, |header| header.kind);
    let origin = Origin { generation, shard, session };
    Ok(Record { index, origin, seq, part, kind, received_ms, payload })
}

/// Bytes of all records that the stream ever had before this one.
pub(super) fn read_before(value: &[u8]) -> Result<u64, Undecodable> {
    Ok(u64::from_le_bytes(versioned(value, MOVED)?.1.take()?))
}

/// A stream's row.
pub(super) fn write_stream(stream: &Stream) -> Vec<u8> {
    let Stream { head, tail, head_bytes, tail_bytes, mark } = stream;
    let mut out = vec![VERSION];
    for number in [head, tail, head_bytes, tail_bytes, &mark.session.0, &mark.seq] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&mark.part.to_le_bytes());
    out
}

/// Reads a stream's row.
pub(super) fn read_stream(value: &[u8]) -> Result<Stream, Undecodable> {
    let (_, mut fields) = versioned(value, VERSION)?;
    let [head, tail, head_bytes, tail_bytes, session, seq] = {
        let mut numbers = [0; 6];
        for number in &mut numbers {
            *number = u64::from_le_bytes(fields.take()?);
        }
        numbers
    };
    let mark = Mark { session: Tag(session), seq, part: u32::from_le_bytes(fields.take()?) };
    let stream = Stream { head, tail, head_bytes, tail_bytes, mark };
    if head <= tail && head_bytes <= tail_bytes { Ok(stream) } else { Err(Undecodable::Damaged) }
}

/// The version, at most `newest`, and what follows it.
fn versioned(value: &[u8], newest: u8) -> Result<(u8, Fields<'_>), Undecodable> {
    match value.split_first() {
        Some((&version, _)) if version > newest => Err(Undecodable::Newer(version)),
        Some((&version, rest)) if version >= VERSION => Ok((version, Fields(rest))),
        _ => Err(Undecodable::Damaged),
    }
}

/// What has not been read yet.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Undecodable> {
        let (field, rest) = self.0.split_first_chunk().ok_or(Undecodable::Damaged)?;
        self.0 = rest;
        Ok(*field)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::spool::Entry;

    /// Written by version 1. Later versions must read them, so they are never to be changed.
    const GOLDEN_RECORD: &[u8] = b"\x01\x10\x27\0\0\0\0\0\0\x03\0\0\0\x2a\0\0\0\0\0\0\0\x01\0\0\0\0\x6c\x50\xc4\xa0\x01\0\0\x04\0\0\0abcd{\"t\":\"MESSAGE_CREATE\",\"s\":42,\"op\":0,\"d\":{}}";
    const GOLDEN_STREAM: &[u8] = b"\x01\x05\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x40\0\0\0\0\0\0\0\x80\0\0\0\0\0\0\0\x25\x23\x22\x84\xe4\x9c\xf2\xcb\x2a\0\0\0\0\0\0\0\x01\0\0\0";

    /// The same, moved to another shard's stream.
    const GOLDEN_MOVED: &[u8] = b"\x02\x10\x27\0\0\0\0\0\0\x03\0\0\0\x2a\0\0\0\0\0\0\0\x01\0\0\0\0\x6c\x50\xc4\xa0\x01\0\0\x04\0\0\0\x07\0\0\0abcd{\"t\":\"MESSAGE_CREATE\",\"s\":42,\"op\":0,\"d\":{}}";

    fn record() -> NewRecord {
        NewRecord {
            route: Tag(2),
            shard: 7,
            origin: Origin { generation: 3, shard: 7, session: "abcd".into() },
            seq: 42,
            part: 1,
            kind: EventKind::of(b"MESSAGE_CREATE"),
            received_ms: 1_790_000_000_000,
            payload: Bytes::from_static(br#"{"t":"MESSAGE_CREATE","s":42,"op":0,"d":{}}"#),
            entry: Entry::Fresh,
        }
    }

    #[test]
    fn what_version_1_wrote_is_read() {
        let read = read_record(7, 5, &Bytes::from_static(GOLDEN_RECORD)).unwrap();
        assert_eq!(read, Record::of(&record(), 5));
        assert_eq!(read_before(GOLDEN_RECORD), Ok(10_000));
        let mark = Mark { session: Tag(0xcbf2_9ce4_8422_2325), seq: 42, part: 1 };
        let stream = Stream { head: 5, tail: 9, head_bytes: 64, tail_bytes: 128, mark };
        assert_eq!(read_stream(GOLDEN_STREAM), Ok(stream));
    }

    #[test]
    fn this_version_writes_as_version_1() {
        let mut out = vec![9];
        write_record(&mut out, &record(), 10_000);
        assert_eq!(out, GOLDEN_RECORD);
        assert_eq!(out.len() + RECORD_KEY, usize::try_from(record_size(&record())).unwrap());
        assert_eq!(write_stream(&read_stream(GOLDEN_STREAM).unwrap()), GOLDEN_STREAM);
    }

    #[test]
    fn a_record_in_another_shards_stream_keeps_its_own() {
        let (moved, mut out) = (NewRecord { shard: 3, ..record() }, Vec::new());
        write_record(&mut out, &moved, 10_000);
        assert_eq!(out, GOLDEN_MOVED);
        assert_eq!(out.len() + RECORD_KEY, usize::try_from(record_size(&moved)).unwrap());
        let read = read_record(3, 5, &Bytes::from_static(GOLDEN_MOVED)).unwrap();
        assert_eq!((read.origin.shard, &read), (7, &Record::of(&moved, 5)));
        assert_eq!(read_before(GOLDEN_MOVED), Ok(10_000));
        for length in 0..RECORD_HEAD + 8 {
            let cut = Bytes::from_static(&GOLDEN_MOVED[..length]);
            assert_eq!(read_record(3, 5, &cut), Err(Undecodable::Damaged), "{length}");
        }
    }

    #[test]
    fn a_newer_version_is_named_and_damage_found() {
        let newer = [&[7], &GOLDEN_RECORD[1..]].concat();
        assert_eq!(read_record(7, 5, &Bytes::from(newer)), Err(Undecodable::Newer(7)));
        for length in 0..RECORD_HEAD + 4 {
            let cut = Bytes::from_static(&GOLDEN_RECORD[..length]);
            assert_eq!(read_record(7, 5, &cut), Err(Undecodable::Damaged), "{length}");
        }
        assert_eq!(read_stream(&GOLDEN_STREAM[..40]), Err(Undecodable::Damaged));
    }

    #[test]
    fn keys_are_in_the_order_of_streams_and_indices() {
        let key = |sink, route, shard| StreamKey { sink: Tag(sink), route: Tag(route), shard };
        let keys = [(key(1, 2, 3), 0), (key(1, 2, 3), 256), (key(1, 2, 4), 1), (key(1, 3, 0), 0), (key(256, 0, 0), 0)];
        assert!(keys.map(|(key, index)| record_key(&key, index)).is_sorted());
        for (key, _) in keys {
            assert_eq!(read_stream_key(&stream_key(&key)), Ok(key));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..90), versioned in any::<bool>()) {
            let mut bytes = bytes;
            if versioned && let Some(first) = bytes.first_mut() {
                *first = if *first % 2 == 0 { VERSION } else { MOVED };
            }
            let _ = read_stream(&bytes);
            let _ = read_stream_key(&bytes);
            let _ = read_before(&bytes);
            let _ = read_record(0, 0, &Bytes::from(bytes));
        }

        #[test]
        fn records_come_back(session in ".{0,40}", payload in prop::collection::vec(any::<u8>(), 0..90), seq in any::<u64>(), shard in 1_u32..4) {
            let origin = Origin { generation: 1, shard, session: session.into() };
            let record = NewRecord { shard: 2, origin, seq, payload: payload.into(), ..record() };
            let mut out = Vec::new();
            write_record(&mut out, &record, seq);
            let read = read_record(2, 9, &out.into()).unwrap();
            let kind = read.kind;
            prop_assert_eq!(read, Record { kind, ..Record::of(&record, 9) });
        }
    }
}
