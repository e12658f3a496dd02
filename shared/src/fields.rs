//! The fields of a shard's row by the names that filters and orders use. Pure.

use crate::snapshot::ShardRow;

/// How a field is read.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A number; what is not known counts as 0.
    Number(fn(&ShardRow) -> u64),
    /// A name.
    Name(fn(&ShardRow) -> &str),
}

/// One field.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// How it is read.
    pub kind: Kind,
}

const fn number(name: &'static str, of: fn(&ShardRow) -> u64) -> Field {
    Field { name, kind: Kind::Number(of) }
}

const fn word(name: &'static str, of: fn(&ShardRow) -> &str) -> Field {
    Field { name, kind: Kind::Name(of) }
}

/// Every field, in the order of the table's columns.
pub static FIELDS: [Field; 26] = [
    number("id", |row| row.id.into()),
    word("state", |row| row.state.name()),
    number("since", |row| row.since),
    word("agent", |row| &row.agent),
    number("worker", |row| row.worker.into()),
    number("gen", |row| row.generation.into()),
    number("v", |row| row.version.into()),
    number("latency", |row| row.latency_ms.unwrap_or_default().into()),
    number("latency_at", |row| row.latency_at.unwrap_or_default()),
    number("rate", |row| row.events_per_s.into()),
    number("last", |row| row.last_dispatch_at.unwrap_or_default()),
    number("lag", |row| row.lag_ms.into()),
    number("open", |row| row.unconfirmed.into()),
    number("guilds", |row| row.guilds.into()),
    number("unavailable", |row| row.unavailable.into()),
    number("seq", |row| row.seq),
    number("confirmed", |row| row.confirmed),
    number("session", |row| row.session_since.unwrap_or_default()),
    number("resumes", |row| row.resumes.into()),
    number("identifies", |row| row.identifies.into()),
    number("sends", |row| row.sends_left.into()),
    number("bytes", |row| row.bytes_in),
    number("raw", |row| row.bytes_raw),
    number("events", |row| row.events),
    number("code", code),
    number("close", code),
];

fn code(row: &ShardRow) -> u64 {
    row.close.as_ref().and_then(|close| close.code).unwrap_or_default().into()
}

impl Field {
    /// The field of that name.
    pub fn of(name: &str) -> Option<&'static Self> {
        FIELDS.iter().find(|field| field.name == name)
    }

    /// What rows are ordered by: states from well to ill, numbers by size, names by letter.
    pub fn rank<'a>(&self, row: &'a ShardRow) -> (u64, &'a str) {
        match self.kind {
            _ if self.name == "state" => (row.state as u64, ""),
            Kind::Number(of) => (of(row), ""),
            Kind::Name(of) => (0, of(row)),
        }
    }
}

/// The names of all fields, for a person.
pub fn names() -> String {
    FIELDS.map(|field| field.name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::ShardState;

    #[test]
    fn rows_are_ranked_by_any_field() {
        let slow = ShardRow { id: 1, latency_ms: Some(90), state: ShardState::Active, ..ShardRow::default() };
        let ill = ShardRow { id: 2, agent: "b".into(), state: ShardState::Fatal, ..ShardRow::default() };
        for (name, above) in [("id", false), ("latency", true), ("state", false), ("agent", false)] {
            let field = Field::of(name).expect(name);
            assert_eq!(field.rank(&slow) > field.rank(&ill), above, "{name}");
        }
        for field in &FIELDS {
            assert!(std::ptr::eq(Field::of(field.name).expect("a field"), field), "{} twice", field.name);
        }
    }
}
