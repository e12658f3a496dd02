//! Pre-encoded event bodies, pure: literals with slots, compiled once for each variant of key order and minor fields.

use super::catalog::{CATALOG, Field};
use super::values::Values;
use crate::ledger::MARK;

/// Different layouts of one event: two sessions do not get equal bytes.
pub(crate) const VARIANTS: usize = 4;

/// A value that differs by event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Id,
    Guild,
    Channel,
    User,
    OtherUser,
    Message,
    Now,
    Edited,
    Unix,
    Text,
    Status,
    Emoji,
    Number,
    Hash,
}

const SLOTS: [(&str, Slot); 14] = [
    ("id", Slot::Id),
    ("guild", Slot::Guild),
    ("channel", Slot::Channel),
    ("user", Slot::User),
    ("other", Slot::OtherUser),
    ("message", Slot::Message),
    ("now", Slot::Now),
    ("edited", Slot::Edited),
    ("unix", Slot::Unix),
    ("text", Slot::Text),
    ("status", Slot::Status),
    ("emoji", Slot::Emoji),
    ("number", Slot::Number),
    ("hash", Slot::Hash),
];

#[derive(Debug)]
enum Part {
    Literal(Box<[u8]>),
    Slot(Slot),
}

/// The catalogue, compiled.
#[derive(Debug)]
pub(crate) struct Templates {
    bodies: Vec<[Vec<Part>; VARIANTS]>,
}

impl Templates {
    pub(crate) fn compile() -> Self {
        let body = |fields| std::array::from_fn(|variant| compile(fields, variant));
        Self { bodies: CATALOG.iter().map(|spec| body(spec.fields)).collect() }
    }

    /// Appends the `d` of one event; without MESSAGE_CONTENT its text is empty.
    pub(crate) fn render(&self, kind: u8, variant: usize, with_text: bool, values: &Values<'_>, out: &mut Vec<u8>) {
        for part in &self.bodies[kind as usize][variant] {
            match part {
                Part::Literal(bytes) => out.extend_from_slice(bytes),
                Part::Slot(slot) => fill(*slot, with_text, values, out),
            }
        }
        mark(out, values.event, values.sent_us);
        out.push(b'}');
    }
}

/// Appends the sandbox's own field, which comes last in `d`.
pub(crate) fn mark(out: &mut Vec<u8>, event: u64, sent_us: u64) {
    out.push(b',');
    out.extend_from_slice(MARK);
    out.extend_from_slice(b"{\"id\":");
    push_number(out, event);
    out.extend_from_slice(b",\"sent_us\":");
    push_number(out, sent_us);
    out.push(b'}');
}

/// Appends a decimal number: a dozen an event, where `write!` would be a third of the cost.
pub(crate) fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0_u8; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

fn fill(slot: Slot, with_text: bool, values: &Values<'_>, out: &mut Vec<u8>) {
    match slot {
        Slot::Id => push_number(out, values.id),
        Slot::Guild => push_number(out, values.guild),
        Slot::Channel => push_number(out, values.channel),
        Slot::User => push_number(out, values.user),
        Slot::OtherUser => push_number(out, values.other),
        Slot::Message => push_number(out, values.message),
        Slot::Unix => push_number(out, values.sent_us / 1_000_000),
        Slot::Number => push_number(out, values.number),
        Slot::Hash => push_hash(out, values.hash),
        Slot::Now => out.extend_from_slice(values.now.as_bytes()),
        Slot::Edited => push_edited(out, values),
        Slot::Text if with_text => out.extend_from_slice(values.text.as_bytes()),
        Slot::Text => {}
        Slot::Status => out.extend_from_slice(values.status.as_bytes()),
        Slot::Emoji => out.extend_from_slice(values.emoji.as_bytes()),
    }
}

/// 32 hexadecimal digits, as in avatars: what no compressor can shorten.
fn push_hash(out: &mut Vec<u8>, hash: u128) {
    let nibble = |shift: u32| b"0123456789abcdef"[(hash >> (4 * shift)) as usize & 0xF];
    out.extend((0..32).map(nibble));
}

fn push_edited(out: &mut Vec<u8>, values: &Values<'_>) {
    if values.edited {
        out.push(b'"');
        out.extend_from_slice(values.now.as_bytes());
        out.push(b'"');
    } else {
        out.extend_from_slice(b"null");
    }
}

/// Fields are rotated by variant; those marked `?` appear in odd variants only.
fn compile(fields: &[Field], variant: usize) -> Vec<Part> {
    let mut fields: Vec<&Field> =
        fields.iter().filter(|(name, _)| variant % 2 == 1 || !name.starts_with('?')).collect();
    let turn = variant * 3 % fields.len().max(1);
    fields.rotate_left(turn);
    let text: Vec<String> =
        fields.iter().map(|(name, value)| format!("\"{}\":{value}", name.trim_start_matches('?'))).collect();
    split(&format!("{{{}", text.join(",")))
}

/// `%name%` is a slot; everything between slots is literal.
fn split(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    for (position, piece) in text.split('%').enumerate() {
        if position % 2 == 0 {
            parts.push(Part::Literal(piece.as_bytes().into()));
        } else {
            let (_, slot) = SLOTS.iter().find(|(name, _)| *name == piece).expect("the catalogue names known slots");
            parts.push(Part::Slot(*slot));
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn values() -> Values<'static> {
        Values {
            event: 12,
            sent_us: 1_795_508_613_123_000,
            id: 1,
            guild: 2,
            channel: 3,
            user: 4,
            other: 5,
            message: 6,
            number: 7,
            hash: 8,
            now: "2026-11-24T08:23:33.123000+00:00",
            text: r#"a \"quoted\" word"#,
            status: "idle",
            emoji: "🎉",
            edited: true,
        }
    }

    #[test]
    fn every_type_renders_as_json_in_every_variant() {
        let templates = Templates::compile();
        for (kind, spec) in CATALOG.iter().enumerate() {
            for variant in 0..VARIANTS {
                let mut out = Vec::new();
                templates.render(kind as u8, variant, true, &values(), &mut out);
                let body: Value = serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{}: {error}", spec.name));
                assert_eq!(body["_pilothouse"]["id"], 12);
                assert!(out.ends_with(b"}}"));
            }
        }
    }

    #[test]
    fn variants_differ_in_bytes_and_messages_have_their_size() {
        let templates = Templates::compile();
        let kind = CATALOG.iter().position(|spec| spec.name == "MESSAGE_CREATE").unwrap() as u8;
        let bodies = [0, 1].map(|variant| {
            let mut out = Vec::new();
            templates.render(kind, variant, true, &values(), &mut out);
            out
        });
        assert_ne!(bodies[0], bodies[1]);
        assert!((900..1400).contains(&bodies[0].len()), "{}", bodies[0].len());
    }

    #[test]
    fn numbers_are_decimal() {
        for number in [0, 9, 10, 12_345, u64::MAX] {
            let mut out = Vec::new();
            push_number(&mut out, number);
            assert_eq!(out, number.to_string().into_bytes());
        }
    }
}
