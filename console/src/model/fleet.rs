//! What is known of every shard: its state from the map, its row while a page shows it. PURE.

use pilothouse_shared::page::{Fields, applied};
use pilothouse_shared::snapshot::{ShardRow, ShardState};

/// All shards, by id.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Fleet {
    states: Vec<Option<ShardState>>,
    rows: Vec<Option<ShardRow>>,
    /// A whole map came over the present connection and is kept up to date.
    pub map_whole: bool,
}

impl Fleet {
    /// Shards in all.
    pub fn total(&self) -> u32 {
        u32::try_from(self.states.len()).expect("a fleet is built from a u32 total")
    }

    /// A shard's state, where it was told.
    pub fn state(&self, id: u32) -> Option<ShardState> {
        self.states.get(id as usize).copied().flatten()
    }

    /// A shard's row, where it was told.
    pub fn row(&self, id: u32) -> Option<&ShardRow> {
        self.rows.get(id as usize).and_then(Option::as_ref)
    }

    /// Shards in each state, from well to ill.
    pub fn counts(&self) -> [u32; ShardState::ALL.len()] {
        let mut counts = [0; ShardState::ALL.len()];
        for state in self.states.iter().flatten() {
            counts[*state as usize] += 1;
        }
        counts
    }

    /// Shards that reported a state.
    pub fn reporting(&self) -> u32 {
        self.counts().iter().sum()
    }

    /// Takes a map frame in: letters of states, from a shard on.
    pub fn apply_map(&mut self, total: u32, full: bool, states: &[(u32, String)]) {
        self.resize(total);
        if full {
            self.states.fill(None);
            self.map_whole = true;
        }
        for (first, letters) in states {
            let slots = self.states.iter_mut().skip(*first as usize);
            slots.zip(letters.chars()).for_each(|(slot, letter)| *slot = ShardState::of_letter(letter));
        }
    }

    /// Takes rows of a page in.
    pub fn apply_rows(&mut self, total: u32, rows: Vec<Fields>) {
        self.resize(total);
        for fields in rows {
            let id = fields.get("id").and_then(serde_json::Value::as_u64).and_then(|id| usize::try_from(id).ok());
            let Some((id, slot)) = id.and_then(|id| Some((id, self.rows.get_mut(id)?))) else { continue };
            *slot = applied(slot.as_ref(), fields);
            if let Some(row) = slot {
                self.states[id] = Some(row.state);
            }
        }
    }

    /// Forgets the rows of all other shards: they are not kept up to date.
    pub fn keep_rows(&mut self, ids: &[u32]) {
        let mut known = std::mem::take(&mut self.rows);
        self.rows.resize(known.len(), None);
        for id in ids.iter().map(|id| *id as usize) {
            if let Some(row) = known.get_mut(id) {
                self.rows[id] = row.take();
            }
        }
    }

    /// The nearest shard after `from` (before it, with `back`) that is not well, going round the end.
    pub fn next_bad(&self, from: u32, back: bool) -> Option<u32> {
        let total = self.total();
        let step = |distance| if back { (from + total - distance) % total } else { (from + distance) % total };
        (1..=total).map(step).find(|&id| self.state(id).is_some_and(|state| state != ShardState::Active))
    }

    fn resize(&mut self, total: u32) {
        if self.states.len() != total as usize {
            self.states.resize(total as usize, None);
            self.rows.resize(total as usize, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(id: u32, fields: &str) -> Fields {
        let mut fields: Fields = serde_json::from_str(fields).expect("an object");
        fields.insert("id".into(), id.into());
        fields
    }

    #[test]
    fn maps_and_rows_build_up_in_pieces() {
        let mut fleet = Fleet::default();
        fleet.apply_map(4, true, &[(0, "af??aa".into())]);
        assert_eq!((fleet.total(), fleet.reporting(), fleet.map_whole), (4, 2, true));
        fleet.apply_map(4, false, &[(1, "a".into()), (9, "a".into())]);
        assert_eq!(fleet.state(1), Some(ShardState::Active));
        fleet.apply_rows(4, vec![fields(0, r#"{"state":"held","seq":7}"#), fields(9, "{}"), fields(2, r#"{"seq":1}"#)]);
        fleet.apply_rows(4, vec![fields(0, r#"{"seq":8}"#), fields(2, r#"{"seq":"x"}"#)]);
        let row = fleet.row(0).expect("told");
        assert_eq!((row.state, row.seq, fleet.state(0)), (ShardState::Held, 8, Some(ShardState::Held)));
        assert_eq!((fleet.row(2), fleet.row(3)), (None, None));
        fleet.apply_rows(4, vec![fields(3, r#"{"seq":8}"#)]);
        fleet.keep_rows(&[3, 9]);
        assert!(fleet.row(0).is_none() && fleet.row(3).is_some());
        fleet.apply_map(2, true, &[]);
        assert_eq!((fleet.total(), fleet.reporting()), (2, 0));
    }

    #[test]
    fn bad_shards_are_found_both_ways_and_round_the_end() {
        let mut fleet = Fleet::default();
        assert_eq!(fleet.next_bad(0, false), None);
        fleet.apply_map(8, true, &[(0, "aafaaaaf".into())]);
        assert_eq!(
            [fleet.next_bad(2, false), fleet.next_bad(7, false), fleet.next_bad(2, true)],
            [Some(7), Some(2), Some(7)]
        );
    }
}
