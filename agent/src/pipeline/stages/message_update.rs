//! `message_update`: an update goes nowhere if all that it says of the message was seen within the last 10 s, as
//! when Discord adds the embed of a link.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::mem::swap;
use std::time::{Duration, Instant};

use super::Seen;
use crate::gateway::kind::{EventKind, KindSet};
use crate::gateway::scan;

pub(super) const KINDS: KindSet = KindSet::of(&[EventKind::MESSAGE_CREATE, EventKind::MESSAGE_UPDATE]);

/// How long a message is remembered.
const SPAN: Duration = Duration::from_secs(10);
/// Messages in one map. Two of them take 2.4 MB at most: 16,384 slots of 73 bytes each.
pub(super) const MOST: usize = 14_336;

/// What a user can change of a message. Embeds are not among it.
const FIELDS: [&[u8]; 6] = [b"content", b"edited_timestamp", b"pinned", b"flags", b"attachments", b"components"];

#[derive(Clone, Copy, Debug)]
struct Remembered {
    at: Instant,
    /// Of each of [`FIELDS`] as written; 0 where it was never seen.
    hashes: [u64; FIELDS.len()],
}

/// Messages seen last, in two maps: the older one is dropped when the newer one is full or 10 s old.
#[derive(Debug, Default)]
pub(super) struct MessageUpdate {
    newer: HashMap<u64, Remembered>,
    older: HashMap<u64, Remembered>,
    begun: Option<Instant>,
}

impl MessageUpdate {
    /// Whether the event is an update that tells nothing of its own; remembers what it tells.
    pub(super) fn is_repeated(&mut self, event: &Seen<'_>) -> bool {
        if !KINDS.contains(event.kind) {
            return false;
        }
        let Some((id, said)) = read(event.payload) else { return false };
        self.rotate(event.now);
        let before = self.newer.get(&id).or_else(|| self.older.get(&id));
        let before = before.filter(|before| event.now.saturating_duration_since(before.at) <= SPAN);
        let before = before.map_or([0; FIELDS.len()], |before| before.hashes);
        // What an update leaves out did not change.
        let hashes = std::array::from_fn(|field| if said[field] == 0 { before[field] } else { said[field] });
        self.newer.insert(id, Remembered { at: event.now, hashes });
        event.kind == EventKind::MESSAGE_UPDATE && hashes == before && before != [0; FIELDS.len()]
    }

    fn rotate(&mut self, now: Instant) {
        let begun = *self.begun.get_or_insert(now);
        let is_over = now.saturating_duration_since(begun) > SPAN;
        if is_over || self.newer.len() >= MOST {
            swap(&mut self.newer, &mut self.older);
            self.newer.clear();
            self.begun = Some(now);
        }
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.newer.len() + self.older.len()
    }
}

/// The message's id and the hash of each field that is there.
fn read(payload: &[u8]) -> Option<(u64, [u64; FIELDS.len()])> {
    let mut id = None;
    let mut hashes = [0; FIELDS.len()];
    for (key, value) in scan::fields(scan::field(payload, "d")?) {
        if key == b"id" {
            id = scan::snowflake(value);
        } else if let Some(field) = FIELDS.iter().position(|field| *field == key) {
            hashes[field] = hash(value);
        }
    }
    Some((id?, hashes))
}

fn hash(value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish() | 1
}
