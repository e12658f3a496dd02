//! What is known of every shard: its state from the map, its row from the table. PURE.

use pilothouse_shared::snapshot::{ShardRow, ShardState};

/// All shards, by id.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Fleet {
    states: Vec<Option<ShardState>>,
    rows: Vec<Option<ShardRow>>,
    /// A whole map came over the present connection.
    pub map_whole: bool,
    /// A whole set of rows came over the present connection and is kept up to date.
    pub rows_whole: bool,
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

    /// All rows that were told, by id.
    pub fn rows(&self) -> impl Iterator<Item = &ShardRow> {
        self.rows.iter().flatten()
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

    /// Takes a map frame in.
    pub fn apply_map(&mut self, total: u32, full: bool, states: &[(u32, ShardState)]) {
        self.resize(total);
        if full {
            self.states.fill(None);
            self.map_whole = true;
        }
        for &(id, state) in states {
            self.set_state(id, state);
        }
    }

    /// Takes a frame of rows in.
    pub fn apply_rows(&mut self, total: u32, full: bool, more: bool, rows: Vec<ShardRow>) {
        self.resize(total);
        if full {
            self.rows.fill(None);
            self.rows_whole = false;
        }
        for row in rows {
            self.set_state(row.id, row.state);
            if let Some(slot) = self.rows.get_mut(row.id as usize) {
                *slot = Some(row);
            }
        }
        self.rows_whole |= !more;
    }

    /// Nothing is kept up to date any more; what was told stays, to be shown with its age.
    pub fn link_lost(&mut self) {
        self.map_whole = false;
        self.rows_whole = false;
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

    fn set_state(&mut self, id: u32, state: ShardState) {
        if let Some(slot) = self.states.get_mut(id as usize) {
            *slot = Some(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_and_rows_build_up_in_pieces() {
        let mut fleet = Fleet::default();
        fleet.apply_map(4, true, &[(0, ShardState::Active), (1, ShardState::Fatal), (9, ShardState::Active)]);
        assert_eq!((fleet.total(), fleet.reporting(), fleet.map_whole), (4, 2, true));
        fleet.apply_map(4, false, &[(1, ShardState::Active)]);
        assert_eq!(fleet.state(1), Some(ShardState::Active));
        let row = |id| ShardRow { id, state: ShardState::Held, ..ShardRow::default() };
        fleet.apply_rows(4, true, true, vec![row(0), row(1)]);
        assert!(!fleet.rows_whole);
        fleet.apply_rows(4, false, false, vec![row(2)]);
        assert!(fleet.rows_whole && fleet.rows().count() == 3 && fleet.row(3).is_none());
        assert_eq!(fleet.state(2), Some(ShardState::Held));
        fleet.apply_map(2, true, &[]);
        assert_eq!((fleet.total(), fleet.rows().count()), (2, 2));
    }

    #[test]
    fn bad_shards_are_found_both_ways_and_round_the_end() {
        let mut fleet = Fleet::default();
        assert_eq!(fleet.next_bad(0, false), None);
        let states = (0..8).map(|id| (id, if id % 5 == 2 { ShardState::Fatal } else { ShardState::Active }));
        fleet.apply_map(8, true, &states.collect::<Vec<_>>());
        assert_eq!(
            [fleet.next_bad(2, false), fleet.next_bad(7, false), fleet.next_bad(2, true)],
            [Some(7), Some(2), Some(7)]
        );
    }
}
