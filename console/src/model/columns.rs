//! The columns of the shard table: one entry says title, width, words, value for scripts and order. PURE.

use pilothouse_shared::snapshot::ShardRow;
use serde_json::{Value, json};

use crate::format;

/// One column.
pub struct Column {
    /// Name in scripts and of the field that rows are ordered by.
    pub key: &'static str,
    /// Heading.
    pub title: &'static str,
    /// Columns of the terminal it takes.
    pub width: u16,
    /// Whether figures stand to the right.
    pub right: bool,
    /// The last to go where the terminal is narrow has 0.
    pub rank: u8,
    /// Words for a person; the second argument is the agent's time.
    pub text: fn(&ShardRow, u64) -> String,
    /// Value for a script.
    pub value: fn(&ShardRow) -> Value,
}

impl Column {
    /// Its place in [`COLUMNS`].
    pub fn index(key: &str) -> Option<usize> {
        COLUMNS.iter().position(|column| column.key == key)
    }
}

macro_rules! column {
    ($key:literal, $title:literal, $width:literal, $side:ident, $rank:literal, $row:ident, $now:pat => $text:expr, $value:expr) => {
        Column {
            key: $key,
            title: $title,
            width: $width,
            right: matches!(Side::$side, Side::Right),
            rank: $rank,
            text: |$row, $now| $text,
            value: |$row| json!($value),
        }
    };
}

#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

/// Every column, in the order of the screen.
pub const COLUMNS: &[Column] = &[
    column!("id", "shard", 6, Right, 0, row, _ => row.id.to_string(), row.id),
    column!("state", "state", 13, Left, 0, row, _ => row.state.name().into(), row.state),
    column!("since", "for", 5, Right, 1, row, now => ago(Some(row.since), now), row.since),
    column!("agent", "agent", 10, Left, 9, row, _ => format::clean(&row.agent), row.agent),
    column!("worker", "wkr", 4, Right, 12, row, _ => row.worker.to_string(), row.worker),
    column!("gen", "gen", 4, Right, 14, row, _ => row.generation.to_string(), row.generation),
    column!("v", "api", 4, Right, 13, row, _ => format!("v{}", row.version), row.version),
    column!("latency", "latency", 8, Right, 2, row, _ => ms(row.latency_ms), row.latency_ms),
    column!("latency_at", "ack", 5, Right, 8, row, now => ago(row.latency_at, now), row.latency_at),
    column!("rate", "ev/s", 6, Right, 1, row, _ => format::short(row.events_per_s.into()), row.events_per_s),
    column!("last", "last", 5, Right, 3, row, now => ago(row.last_dispatch_at, now), row.last_dispatch_at),
    column!("lag", "lag", 8, Right, 4, row, _ => format::delay(row.lag_ms.into()), row.lag_ms),
    column!("open", "open", 5, Right, 10, row, _ => format::short(row.unconfirmed.into()), row.unconfirmed),
    column!("guilds", "guilds", 7, Right, 5, row, _ => format::count(row.guilds.into()), row.guilds),
    column!("unavailable", "away", 5, Right, 11, row, _ => zero(row.unavailable), row.unavailable),
    column!("seq", "seq", 11, Right, 15, row, _ => format::count(row.seq), row.seq),
    column!("confirmed", "confirmed", 11, Right, 17, row, _ => format::count(row.confirmed), row.confirmed),
    column!("session", "session", 8, Right, 12, row, now => ago(row.session_since, now), row.session_since),
    column!("resumes", "res", 4, Right, 6, row, _ => zero(row.resumes), row.resumes),
    column!("identifies", "ident", 6, Right, 7, row, _ => zero(row.identifies), row.identifies),
    column!("sends", "sends", 6, Right, 16, row, _ => row.sends_left.to_string(), row.sends_left),
    column!("bytes", "bytes in", 9, Right, 18, row, _ => format::bytes(row.bytes_in), row.bytes_in),
    column!("raw", "inflated", 9, Right, 19, row, _ => format::bytes(row.bytes_raw), row.bytes_raw),
    column!("events", "events", 8, Right, 18, row, _ => format::short(row.events), row.events),
    column!("code", "close", 6, Right, 5, row, _ => code(row), row.close.as_ref().and_then(|close| close.code)),
    column!("close", "last close", 26, Left, 6, row, now => close(row, now), row.close.as_ref().map(|close| &close.reason)),
];

fn ago(at: Option<u64>, now: u64) -> String {
    at.filter(|at| *at > 0).map_or_else(|| "-".into(), |at| format::age(now.saturating_sub(at)))
}

fn ms(value: Option<u32>) -> String {
    value.map_or_else(|| "-".into(), |ms| format!("{} ms", format::count(ms.into())))
}

fn zero(number: u32) -> String {
    if number == 0 { "-".into() } else { format::count(number.into()) }
}

/// `lost` is a connection that ended without a close code.
fn code(row: &ShardRow) -> String {
    let Some(close) = &row.close else { return "-".into() };
    close.code.map_or_else(|| "lost".into(), |code| code.to_string())
}

fn close(row: &ShardRow, now: u64) -> String {
    let Some(close) = &row.close else { return "-".into() };
    format!("{} ago, {}", format::age(now.saturating_sub(close.at)), format::clean(&close.reason))
}

/// The columns that fit `width`, by rank; the last one that stands to the left takes what is left over.
pub fn fitting(width: u16) -> Vec<usize> {
    let mut ranked: Vec<usize> = (0..COLUMNS.len()).collect();
    ranked.sort_by_key(|&index| COLUMNS[index].rank);
    let mut left = width;
    let mut chosen = Vec::new();
    for index in ranked {
        let need = COLUMNS[index].width + 1;
        if need <= left {
            left -= need;
            chosen.push(index);
        }
    }
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use pilothouse_shared::fields::FIELDS;

    use super::*;

    #[test]
    fn narrow_terminals_keep_what_matters() {
        let keys = |width| fitting(width).into_iter().map(|index| COLUMNS[index].key).collect::<Vec<_>>();
        assert!(keys(20).starts_with(&["id"]) && keys(24).contains(&"state"));
        for key in ["id", "state", "since", "latency", "rate", "last", "lag", "guilds"] {
            assert!(keys(80).contains(&key), "{key} at 80");
        }
        assert_eq!(keys(300).len(), COLUMNS.len());
        assert!(fitting(0).is_empty());
    }

    #[test]
    fn an_agent_can_order_by_every_column() {
        assert_eq!(COLUMNS.len(), FIELDS.len());
        for (index, (column, field)) in COLUMNS.iter().zip(FIELDS).enumerate() {
            assert_eq!((Column::index(column.key), column.key), (Some(index), field.name));
        }
    }
}
