//! PURE: values as text: scalars as the language shows them, objects as fields, lists as aligned tables, all of it cut.

use std::fmt::Write as _;

use rhai::{Dynamic, Map};

use super::object::{List, Thing};
use super::table::Field;

/// Rows shown of a list.
const ROWS: usize = 50;
/// Bytes of an answer, and of what a script printed.
const LONGEST: usize = 16 * 1024;
/// Letters of one cell.
const CELL: usize = 60;

/// A text that grows to a limit, and says that it was cut.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Capped {
    text: String,
    cut: bool,
}

impl Capped {
    pub(super) fn push(&mut self, text: &str) {
        let room = LONGEST - self.text.len();
        self.cut |= text.len() > room;
        self.text.push_str(&text[..text.floor_char_boundary(room)]);
    }

    pub(super) fn line(&mut self, line: &str) {
        if !self.text.is_empty() {
            self.push("\n");
        }
        self.push(line);
    }

    pub(super) fn finish(&self) -> String {
        let rest = if self.cut { "\n… cut here" } else { "" };
        format!("{}{rest}", self.text)
    }
}

/// A value as an answer; nothing for `()`.
pub(super) fn show(value: &Dynamic) -> String {
    let mut out = Capped::default();
    if let Some(list) = value.read_lock::<List>() {
        things(&mut out, &list.things().take(ROWS).collect::<Vec<_>>(), list.at.len());
    } else if let Some(thing) = value.read_lock::<Thing>() {
        fields(&mut out, &thing);
    } else if let Some(array) = value.read_lock::<rhai::Array>() {
        array_of(&mut out, &array);
    } else if let Some(map) = value.read_lock::<Map>() {
        let rows = map.iter().take(ROWS).map(|(key, value)| vec![cell_of(key), cell(value)]);
        table(&mut out, &[], &rows.collect::<Vec<_>>(), map.len());
    } else if !value.is_unit() {
        out.push(&value.to_string());
    }
    out.finish()
}

fn array_of(out: &mut Capped, array: &rhai::Array) {
    let first = &array[..array.len().min(ROWS)];
    let all_things = first.iter().map(Dynamic::read_lock::<Thing>).collect::<Option<Vec<_>>>();
    match all_things {
        Some(list) if list.windows(2).all(|pair| pair[0].kind == pair[1].kind) && !list.is_empty() => {
            things(out, &list.iter().map(|thing| Thing::clone(thing)).collect::<Vec<_>>(), array.len());
        }
        _ => match columns_of(first) {
            Some(columns) => {
                let row = |map: &Dynamic| {
                    let map = map.read_lock::<Map>();
                    columns
                        .iter()
                        .map(|name| map.as_ref().and_then(|map| map.get(name.as_str())).map_or_else(String::new, cell))
                        .collect()
                };
                let rows: Vec<Vec<String>> = first.iter().map(row).collect();
                table(out, &columns, &rows, array.len());
            }
            None => inline(out, first, array.len()),
        },
    }
}

/// The keys of the first map, where all are maps.
fn columns_of(first: &[Dynamic]) -> Option<Vec<String>> {
    let keys = first.first()?.read_lock::<Map>()?.keys().take(ROWS).map(ToString::to_string).collect();
    first.iter().all(Dynamic::is_map).then_some(keys)
}

fn inline(out: &mut Capped, first: &[Dynamic], count: usize) {
    out.push("[");
    out.push(&first.iter().map(cell).collect::<Vec<_>>().join(", "));
    out.push("]");
    more(out, count);
}

fn fields(out: &mut Capped, thing: &Thing) {
    let fields = thing.class().fields;
    let rows: Vec<_> = fields.iter().map(|field| vec![field.name.to_owned(), cell(&thing.value(field))]).collect();
    table(out, &[], &rows, rows.len());
}

fn things(out: &mut Capped, first: &[Thing], count: usize) {
    let Some(one) = first.first() else { return out.push("none") };
    let columns: Vec<&Field> = one.class().fields.iter().filter(|field| field.column).collect();
    let names: Vec<String> = columns.iter().map(|field| field.name.to_owned()).collect();
    let row = |thing: &Thing| columns.iter().map(|field| cell(&thing.value(field))).collect();
    let rows: Vec<Vec<String>> = first.iter().map(row).collect();
    table(out, &names, &rows, count);
}

/// Aligned columns; numbers stand to the right.
fn table(out: &mut Capped, head: &[String], rows: &[Vec<String>], count: usize) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let heads = (!head.is_empty()).then(|| head.to_vec());
    let width = |column: usize| {
        let cells = heads.iter().chain(rows).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let numeric = |column: usize| rows.iter().filter_map(|row| row.get(column)).all(|cell| is_number(cell));
    let right: Vec<bool> = (0..columns).map(numeric).collect();
    for row in heads.iter().chain(rows) {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            let _ = if right[column] { write!(line, "  {cell:>width$}") } else { write!(line, "  {cell:<width$}") };
        }
        out.line(line.get(2..).unwrap_or_default().trim_end());
    }
    more(out, count);
}

fn more(out: &mut Capped, count: usize) {
    if count > ROWS {
        out.line(&format!("… {} more", thousands(count - ROWS)));
    }
}

fn is_number(text: &str) -> bool {
    text == "-" || text.parse::<f64>().is_ok()
}

/// A value within a table: short, on one line.
fn cell(value: &Dynamic) -> String {
    if value.is_unit() {
        return "-".to_owned();
    }
    if let Some(array) = value.read_lock::<rhai::Array>() {
        return format!("{} elements", array.len());
    }
    if let Some(map) = value.read_lock::<Map>() {
        return format!("{} keys", map.len());
    }
    if let Some(text) = value.read_lock::<rhai::ImmutableString>() {
        return cell_of(&text);
    }
    cell_of(&value.to_string())
}

fn cell_of(text: &str) -> String {
    let shown: String = text.chars().take(CELL).map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    if shown.len() < text.len() { format!("{shown}…") } else { shown }
}

/// `4,950`
fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_thousands_apart() {
        assert_eq!([7, 999, 4_950, 1_234_567].map(thousands), ["7", "999", "4,950", "1,234,567"]);
    }

    #[test]
    fn a_text_is_cut_between_letters_and_says_so() {
        let mut text = Capped::default();
        text.push(&"é".repeat(LONGEST));
        text.push("more");
        let said = text.finish();
        assert!(said.len() < LONGEST + 20 && said.ends_with("… cut here"), "{}", said.len());
    }
}
