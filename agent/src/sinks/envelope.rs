//! PURE: what the other side is given of an event: the guide's body, several of them as lines, and the type for routing.

use std::io::Write as _;

use bytes::Bytes;

use super::delivery::Delivery;
use crate::gateway::kind::EventKind;
use crate::gateway::scan;

const OPEN: &[u8] = b"{\"payload\":";
/// Longest end of a line: shard, id with a session of 64 bytes, time.
const CLOSE: usize = 192;
/// Longer than any type that Discord has; a routing key holds 255 bytes in all.
const LONGEST_TYPE: usize = 64;

/// `{"payload":{op,t,s,d},"shardId":n}`.
pub(super) fn single(delivery: &Delivery) -> Bytes {
    let mut body = Vec::with_capacity(OPEN.len() + delivery.payload.len() + CLOSE);
    open(&mut body, delivery);
    body.push(b'}');
    body.into()
}

/// The same with `"id"` and `"received"`, one event a line.
pub(super) fn lines(batch: &[Delivery]) -> Bytes {
    let length: usize = batch.iter().map(|delivery| OPEN.len() + delivery.payload.len() + CLOSE).sum();
    let mut body = Vec::with_capacity(length);
    for delivery in batch {
        open(&mut body, delivery);
        let (id, received) = (delivery.id(), delivery.received_ms);
        // A session id is letters, digits and dashes: it needs no escapes.
        writeln!(body, ",\"id\":\"{id}\",\"received\":{received}}}").expect("a Vec takes every write");
    }
    body.into()
}

fn open(body: &mut Vec<u8>, delivery: &Delivery) {
    body.extend_from_slice(OPEN);
    body.extend_from_slice(&delivery.payload);
    write!(body, ",\"shardId\":{}", delivery.origin.shard).expect("a Vec takes every write");
}

/// The type as Discord calls it, also one that this version does not know.
pub(super) fn type_name(delivery: &Delivery) -> &str {
    if delivery.kind != EventKind::OTHER {
        return delivery.kind.name();
    }
    let found = scan::fields(&delivery.payload).find(|(key, _)| *key == b"t");
    let name = found.and_then(|(_, value)| std::str::from_utf8(scan::unquoted(value)).ok());
    let routable = |name: &&str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        (1..=LONGEST_TYPE).contains(&name.len()) && name.bytes().all(fits)
    };
    name.filter(routable).unwrap_or(EventKind::OTHER.name())
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::pipeline::Origin;

    fn delivery(payload: &'static str) -> Delivery {
        Delivery {
            origin: Rc::new(Origin { generation: 1, shard: 7, session: "s".into() }),
            stream: 7,
            seq: 1,
            part: 0,
            kind: crate::gateway::frame::sniff(payload.as_bytes()).expect("a payload").kind,
            guild: None,
            received_ms: 1,
            payload: payload.into(),
        }
    }

    #[test]
    fn the_body_is_the_guides() {
        let payload = "{\"op\":0,\"t\":\"READY\",\"s\":1,\"d\":{}}";
        assert_eq!(single(&delivery(payload)), format!("{{\"payload\":{payload},\"shardId\":7}}"));
    }

    #[test]
    fn a_line_says_also_which_event_it_is() {
        let payload = "{\"op\":0,\"t\":\"READY\",\"s\":1,\"d\":{}}";
        let line = format!("{{\"payload\":{payload},\"shardId\":7,\"id\":\"1/7/s/1\",\"received\":1}}\n");
        assert_eq!(lines(&[delivery(payload), delivery(payload)]), line.repeat(2));
    }

    #[test]
    fn a_type_that_is_not_known_keeps_its_name_where_it_can_be_routed() {
        for (payload, expected) in [
            ("{\"t\":\"MESSAGE_CREATE\",\"s\":1,\"op\":0,\"d\":{}}", "MESSAGE_CREATE"),
            ("{\"t\":\"BRAND_NEW\",\"s\":1,\"op\":0,\"d\":{\"t\":\"x\"}}", "BRAND_NEW"),
            ("{\"op\":0,\"d\":{},\"t\":\"A.B *\",\"s\":1}", "other"),
        ] {
            assert_eq!(type_name(&delivery(payload)), expected, "{payload}");
        }
    }
}
