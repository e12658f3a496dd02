//! Gives a payload another type.

use crate::gateway::kind::EventKind;
use crate::gateway::scan;

/// The payload with another `t`, otherwise byte for byte as it was; unchanged where it has no `t`.
pub fn renamed(payload: &[u8], kind: EventKind) -> Vec<u8> {
    let Some(place) = scan::place(payload, "t") else { return payload.to_vec() };
    let (before, after) = (&payload[..place.start], &payload[place.end..]);
    [before, b"\"", kind.name().as_bytes(), b"\"", after].concat()
}
