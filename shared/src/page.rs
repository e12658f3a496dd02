//! A list of shards, filtered and ordered, of which a client sees one page: what it asks for, and how order and rows
//! are written so that little is sent. Pure.

use std::fmt::Write;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::fields::{self, Field};
use crate::filter::Filter;
use crate::snapshot::ShardRow;

/// Bytes of a filter at most: an agent applies it to every shard each second.
pub const LONGEST_FILTER: usize = 4_096;

/// What a client asks for: a list of shards and the part of it whose rows it shows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Page {
    /// Which shards, in the words of [`Filter`]; the empty one lets all pass.
    pub filter: String,
    /// The field that orders them: a name of [`fields::FIELDS`].
    pub sort: String,
    /// From the largest to the smallest.
    pub descending: bool,
    /// Shards of the list before the first row.
    pub offset: u32,
    /// Rows at most.
    pub count: u32,
}

impl Default for Page {
    fn default() -> Self {
        Self { filter: String::new(), sort: "id".into(), descending: false, offset: 0, count: 0 }
    }
}

impl Page {
    /// Whether both are parts of the same list.
    pub fn is_of_list(&self, other: &Self) -> bool {
        (&self.filter, &self.sort, self.descending) == (&other.filter, &other.sort, other.descending)
    }

    /// What of `order` is on the page.
    pub fn part<'a>(&self, order: &'a [u32]) -> &'a [u32] {
        let from = (self.offset as usize).min(order.len());
        &order[from..order.len().min(from.saturating_add(self.count as usize))]
    }
}

/// A list whose filter and order are understood.
#[derive(Clone, Debug)]
pub struct List {
    filter: Filter,
    field: &'static Field,
    descending: bool,
}

impl List {
    /// Understands what a page asks for.
    ///
    /// # Errors
    /// What is wrong, and what is allowed.
    pub fn of(page: &Page) -> Result<Self, String> {
        if page.filter.len() > LONGEST_FILTER {
            return Err(format!("a filter has at most {LONGEST_FILTER} bytes, this one {}", page.filter.len()));
        }
        let filter = Filter::parse(&page.filter).map_err(|error| error.text)?;
        let unknown = || format!("no field {:?} to sort by: {}", page.sort, fields::names());
        let field = Field::of(&page.sort).ok_or_else(unknown)?;
        Ok(Self { filter, field, descending: page.descending })
    }

    /// The ids of the shards that pass, in order; equal ones by id.
    pub fn ids(&self, rows: &[ShardRow]) -> Vec<u32> {
        let mut passing: Vec<&ShardRow> = rows.iter().filter(|row| self.filter.matches(row)).collect();
        passing.sort_by_key(|row| self.field.rank(row));
        if self.descending {
            passing.reverse();
        }
        passing.into_iter().map(|row| row.id).collect()
    }
}

/// Ids in their order, neighbours that count up or down as ranges: `3,8-11,40-38`.
pub fn write_order(ids: &[u32]) -> String {
    let mut text = String::new();
    let mut rest = ids;
    while let Some(&first) = rest.first() {
        let run = run(rest);
        let (comma, last) = (if text.is_empty() { "" } else { "," }, rest[run - 1]);
        let written = match run {
            1 => write!(text, "{comma}{first}"),
            _ => write!(text, "{comma}{first}-{last}"),
        };
        written.expect("a string takes everything");
        rest = &rest[run..];
    }
    text
}

/// How many ids from the first on count up, or down, by one.
fn run(ids: &[u32]) -> usize {
    let steps = |step: i64| ids.windows(2).take_while(|pair| i64::from(pair[1]) - i64::from(pair[0]) == step).count();
    1 + steps(1).max(steps(-1))
}

/// What [`write_order`] wrote; none where that is no list of at most `total` shards below `total`.
pub fn read_order(text: &str, total: u32) -> Option<Vec<u32>> {
    let mut ids = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
        if first.max(last) >= total || ids.len() + first.abs_diff(last) as usize >= total as usize {
            return None;
        }
        if first <= last { ids.extend(first..=last) } else { ids.extend((last..=first).rev()) }
    }
    Some(ids)
}

/// Fields of a row by their names on the wire; `id` is always among them.
pub type Fields = Map<String, Value>;

/// All fields of a row.
pub fn whole(row: &ShardRow) -> Fields {
    match serde_json::to_value(row) {
        Ok(Value::Object(fields)) => fields,
        _ => unreachable!("a row is an object with string keys"),
    }
}

/// The fields in which `new` differs from `old`, and its id.
pub fn changed(old: &ShardRow, new: &ShardRow) -> Fields {
    let old = whole(old);
    whole(new).into_iter().filter(|(name, value)| name == "id" || old.get(name) != Some(value)).collect()
}

/// The row that `known` becomes by `fields`; none where they are no fields of a row.
pub fn applied(known: Option<&ShardRow>, fields: Fields) -> Option<ShardRow> {
    let mut row = known.map(whole).unwrap_or_default();
    row.extend(fields);
    serde_json::from_value(Value::Object(row)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::snapshot::{CloseRow, ShardState};

    fn rows() -> Vec<ShardRow> {
        let state = |id| if id % 2 == 0 { ShardState::Active } else { ShardState::Fatal };
        (0..6).map(|id| ShardRow { id, state: state(id), events_per_s: 10 - id / 2, ..ShardRow::default() }).collect()
    }

    #[test]
    fn a_list_is_filtered_and_ordered() {
        let ids = |filter: &str, sort: &str, descending| {
            let page = Page { filter: filter.into(), sort: sort.into(), descending, ..Page::default() };
            List::of(&page).expect("valid").ids(&rows())
        };
        assert_eq!(ids("", "id", false), [0, 1, 2, 3, 4, 5]);
        assert_eq!(ids("", "rate", false), [4, 5, 2, 3, 0, 1]);
        assert_eq!(ids("", "rate", true), [1, 0, 3, 2, 5, 4]);
        assert_eq!(ids("!state=active id<5", "id", true), [3, 1]);
    }

    #[test]
    fn what_is_no_list_is_said() {
        let wrong = |page: Page| List::of(&page).expect_err("wrong");
        assert!(wrong(Page { sort: "colour".into(), ..Page::default() }).contains("latency"));
        assert!(wrong(Page { filter: "state=happy".into(), ..Page::default() }).contains("resuming"));
        assert!(wrong(Page { filter: "3 ".repeat(3_000), ..Page::default() }).contains("4096"));
    }

    #[test]
    fn orders_are_short_where_ids_are_neighbours() {
        assert_eq!(write_order(&[0, 1, 2, 9, 7, 6, 3, 3]), "0-2,9,7-6,3,3");
        assert_eq!(write_order(&[]), "");
        assert_eq!(write_order(&(0..5_000).rev().collect::<Vec<_>>()), "4999-0");
        for wrong in ["4", "0-4", "x", "1-", "0-3,0", "0-4294967295"] {
            assert_eq!(read_order(wrong, 4), None, "{wrong}");
        }
    }

    #[test]
    fn a_row_is_told_in_what_changed() {
        let old = ShardRow { id: 3, seq: 7, latency_ms: Some(40), agent: "eu-1".into(), ..ShardRow::default() };
        let close = Some(CloseRow { code: Some(4000), ..CloseRow::default() });
        let new = ShardRow { seq: 8, latency_ms: None, close, ..old.clone() };
        let fields = changed(&old, &new);
        assert_eq!(fields.keys().collect::<Vec<_>>(), ["close", "id", "latency_ms", "seq"]);
        assert_eq!(applied(Some(&old), fields), Some(new.clone()));
        assert_eq!(applied(None, whole(&new)), Some(new));
        assert_eq!(applied(None, Fields::from_iter([("id".to_owned(), "x".into())])), None);
    }

    proptest! {
        #[test]
        fn orders_round_trip(ids in Just((0_u32..60).collect::<Vec<_>>()).prop_shuffle(), count in 0_usize..60) {
            let text = write_order(&ids[..count]);
            prop_assert_eq!(read_order(&text, 60), Some(ids[..count].to_vec()));
        }

        #[test]
        fn any_text_is_an_order_of_the_shards_or_none(text in "[0-9,-]{0,12}") {
            prop_assert!(read_order(&text, 9).is_none_or(|ids| ids.len() <= 9 && ids.iter().all(|id| *id < 9)));
        }

        #[test]
        fn a_page_is_a_part_of_its_list(offset: u32, count: u32) {
            let order: Vec<u32> = (0..9).collect();
            let page = Page { offset, count, ..Page::default() };
            prop_assert!(page.part(&order).len() <= count as usize);
        }
    }
}
