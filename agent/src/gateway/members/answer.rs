//! Answers to requests for members: what a chunk says, read without parsing its members, and the whole put together.

use std::collections::BTreeMap;
use std::time::Duration;

use pilothouse_shared::ids::GuildId;
use serde_json::value::RawValue;

use super::super::scan;

/// Largest answer. A member takes about 400 bytes.
const LARGEST: usize = 256 << 20;
/// Discord says when to come again; longer than this is a mistake.
const LONGEST_RETRY: Duration = Duration::from_secs(3_600);

/// A JSON array whose elements stay as Discord wrote them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RawArray {
    /// The elements, parted by commas.
    elements: String,
    length: usize,
}

/// The members that were asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MembersAnswer {
    /// Whose members.
    pub guild: GuildId,
    /// Member objects.
    pub members: RawArray,
    /// Presences, where they were asked for.
    pub presences: RawArray,
    /// Ids of users who are not members.
    pub not_found: RawArray,
    /// Chunks that came, and chunks that there are.
    pub chunks: (usize, usize),
    /// Why it is not complete, if it is not.
    pub partial: Option<String>,
}

/// One GUILD_MEMBERS_CHUNK.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) number: u64,
    index: usize,
    count: usize,
    part: Part,
}

/// A RATE_LIMITED for op 8.
#[derive(Debug)]
pub(super) struct Limited {
    pub(super) guild: GuildId,
    pub(super) number: Option<u64>,
    pub(super) retry_after: Duration,
}

#[derive(Clone, Debug, Default)]
struct Part {
    members: RawArray,
    presences: RawArray,
    not_found: RawArray,
}

/// The chunks of one answer so far.
#[derive(Debug, Default)]
pub(super) struct Parts {
    parts: BTreeMap<usize, Part>,
    count: usize,
    bytes: usize,
}

impl RawArray {
    /// Of a JSON array; none if it is not one.
    pub(crate) fn read(array: &[u8]) -> Option<Self> {
        let length = serde_json::from_slice::<Vec<&RawValue>>(array).ok()?.len();
        let elements = std::str::from_utf8(array).ok()?.trim().strip_prefix('[')?.strip_suffix(']')?.trim();
        Some(Self { elements: elements.to_owned(), length })
    }

    fn append(&mut self, other: &Self) {
        if self.length > 0 && other.length > 0 {
            self.elements.push(',');
        }
        self.elements.push_str(&other.elements);
        self.length += other.length;
    }

    /// Elements.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The array as JSON.
    pub fn json(&self) -> String {
        format!("[{}]", self.elements)
    }

    /// The ids of the first `count` users among member objects.
    pub fn first_users(&self, count: usize) -> Vec<u64> {
        let array = self.json();
        let members: Vec<&RawValue> = serde_json::from_str(&array).unwrap_or_default();
        let id =
            |member: &&RawValue| scan::snowflake(scan::field(scan::field(member.get().as_bytes(), "user")?, "id")?);
        members.iter().filter_map(id).take(count).collect()
    }
}

impl Chunk {
    /// Reads the payload; none if it is not for a nonce of ours, or not a chunk.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let data = scan::field(payload, "d")?;
        let (mut nonce, mut index, mut count) = (None, None, None);
        let mut part = Part::default();
        for (key, value) in scan::fields(data) {
            match key {
                b"nonce" => nonce = number(value),
                b"chunk_index" => index = scan::number(value),
                b"chunk_count" => count = scan::number(value),
                b"members" => part.members = RawArray::read(value)?,
                b"presences" => part.presences = RawArray::read(value)?,
                b"not_found" => part.not_found = RawArray::read(value)?,
                _ => {}
            }
        }
        let (index, count) = (usize::try_from(index?).ok()?, usize::try_from(count?).ok()?);
        (index < count).then_some(Self { number: nonce?, index, count, part })
    }
}

impl Limited {
    /// Reads the payload; none if it is not about a request for members.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let data = scan::field(payload, "d")?;
        if scan::field(data, "opcode") != Some(b"8") {
            return None;
        }
        let seconds: f64 = std::str::from_utf8(scan::field(data, "retry_after")?).ok()?.parse().ok()?;
        let retry_after = Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_RETRY).min(LONGEST_RETRY);
        let meta = scan::field(data, "meta")?;
        let guild = GuildId(scan::field(meta, "guild_id").and_then(scan::snowflake)?);
        Some(Self { guild, number: scan::field(meta, "nonce").and_then(number), retry_after })
    }
}

/// The number that a nonce of ours is written from.
fn number(nonce: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(scan::unquoted(nonce)).ok().filter(|text| text.len() == 16)?;
    u64::from_str_radix(text, 16).ok()
}

impl Parts {
    /// Adds a chunk, unless it is there already.
    ///
    /// # Errors
    /// Why no more can be taken in.
    pub(super) fn take(&mut self, chunk: Chunk) -> Result<(), String> {
        let Part { members, presences, not_found } = &chunk.part;
        let bytes = [members, presences, not_found].iter().map(|array| array.elements.len()).sum::<usize>();
        if self.bytes + bytes > LARGEST {
            return Err(format!("it is larger than {} MiB", LARGEST >> 20));
        }
        if self.count != chunk.count {
            // Asked twice and answered anew: two answers do not mix.
            *self = Self { count: chunk.count, ..Self::default() };
        }
        if self.parts.insert(chunk.index, chunk.part).is_none() {
            self.bytes += bytes;
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(super) fn is_complete(&self) -> bool {
        self.parts.len() >= self.count
    }

    /// The answer in the order of the chunks; `why` it is not complete, if it is not.
    pub(super) fn assemble(self, guild: GuildId, why: &str) -> MembersAnswer {
        let partial = (!self.is_complete()).then(|| why.to_owned());
        let chunks = (self.parts.len(), self.count);
        let mut whole = Part::default();
        for part in self.parts.into_values() {
            whole.members.append(&part.members);
            whole.presences.append(&part.presences);
            whole.not_found.append(&part.not_found);
        }
        let Part { members, presences, not_found } = whole;
        MembersAnswer { guild, members, presences, not_found, chunks, partial }
    }
}
