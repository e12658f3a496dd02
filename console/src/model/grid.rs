//! The geometry of the shard map: how large a shard is drawn, or how many share a cell. PURE.

/// How a shard is drawn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cell {
    /// Id, sign and word of the state.
    Card,
    /// Id and sign.
    Tile,
    /// A sign and a gap.
    Wide,
    /// One sign.
    Sign,
    /// Half a cell: two shards, or groups of them, one above the other.
    Half,
}

/// The map's geometry in an area.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grid {
    /// How a shard is drawn.
    pub cell: Cell,
    /// Shards that share a cell; the worst is shown.
    pub per: u32,
    /// Cells side by side.
    pub columns: u32,
    /// Rows of cells in all; two to a row of the terminal with [`Cell::Half`].
    pub rows: u32,
    /// Shards in all.
    pub total: u32,
    /// Columns that the row's first id takes at the left.
    pub gutter: u16,
    /// Columns of the terminal a cell takes.
    pub width: u16,
    /// The largest zoom that changes something.
    pub deepest: u8,
}

impl Grid {
    /// The largest drawing of `total` shards that fits `width` × `height`, then `zoom` steps larger.
    /// `half` tells whether half cells can be drawn: they need colour and Unicode.
    pub fn fit(total: u32, width: u16, height: u16, zoom: u8, half: bool) -> Self {
        let levels = Self::levels(total.max(1), width, half);
        let fits = |grid: &Self| grid.lines() <= u32::from(height.max(1));
        let at = levels.iter().position(fits).unwrap_or(levels.len() - 1);
        let at_zoom = at.saturating_sub(zoom.into());
        Self { deepest: u8::try_from(at).unwrap_or(u8::MAX), ..levels[at_zoom] }
    }

    fn levels(total: u32, width: u16, half: bool) -> Vec<Self> {
        let one = [Cell::Card, Cell::Tile, Cell::Wide, Cell::Sign].map(|cell| (cell, 1));
        let least = if half { Cell::Half } else { Cell::Sign };
        let shared = steps(total).map(|per| (least, per)).skip(usize::from(!half));
        one.into_iter().chain(shared).map(|(cell, per)| Self::new(total, width, cell, per)).collect()
    }

    fn new(total: u32, width: u16, cell: Cell, per: u32) -> Self {
        let digits = u16::try_from((total - 1).max(1).ilog10() + 1).expect("a u32 has at most 10 digits");
        let (cell_width, gutter) = match cell {
            Cell::Card => (digits + 17, 0),
            Cell::Tile => (digits + 4, 0),
            Cell::Wide => (2, digits + 2),
            Cell::Sign | Cell::Half => (1, digits + 2),
        };
        let room = u32::from(width.saturating_sub(gutter) / cell_width);
        // Rows that begin at round ids are read more easily than full ones.
        let columns = if room >= 20 && gutter > 0 { room / 10 * 10 } else { room.max(1) };
        let columns = columns.min(total.div_ceil(per));
        Self {
            cell,
            per,
            columns,
            rows: total.div_ceil(per).div_ceil(columns),
            total,
            gutter,
            width: cell_width,
            deepest: 0,
        }
    }

    /// Rows of the terminal that the whole map takes.
    pub fn lines(&self) -> u32 {
        match self.cell {
            Cell::Half => self.rows.div_ceil(2),
            _ => self.rows,
        }
    }

    /// Rows of cells in one row of the terminal.
    pub fn rows_a_line(&self) -> u32 {
        if self.cell == Cell::Half { 2 } else { 1 }
    }

    /// The shards of a cell.
    pub fn shards(&self, column: u32, row: u32) -> std::ops::Range<u32> {
        if column >= self.columns {
            return 0..0;
        }
        let first = (row * self.columns + column).saturating_mul(self.per).min(self.total);
        first..first.saturating_add(self.per).min(self.total)
    }

    /// Column and row of a shard.
    pub fn place(&self, id: u32) -> (u32, u32) {
        let index = id / self.per;
        (index % self.columns, index / self.columns)
    }

    /// The first line to draw so that `id` can be seen in `height` lines.
    pub fn top(&self, id: u32, height: u16) -> u32 {
        let (_, row) = self.place(id);
        let line = row / self.rows_a_line();
        line.saturating_sub(u32::from(height) / 2).min(self.lines().saturating_sub(height.into()))
    }

    /// The shard `right` columns and `down` rows away from `id`; at the edge it stays.
    pub fn step(&self, id: u32, right: i64, down: i64) -> u32 {
        let moved = i64::from(id) + (right + down * i64::from(self.columns)) * i64::from(self.per);
        if (0..i64::from(self.total)).contains(&moved) {
            u32::try_from(moved).expect("within the total, a u32")
        } else {
            id
        }
    }
}

/// 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, … up to the first that is not below `total`.
fn steps(total: u32) -> impl Iterator<Item = u32> {
    let all = (0..9).flat_map(|power| [1, 2, 3, 4, 5, 6, 8].map(|step| step * 10_u32.pow(power)));
    let mut before = 0;
    all.take_while(move |&step| std::mem::replace(&mut before, step) < total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_more_room_the_more_is_said() {
        let cell = |total, width, height| {
            let grid = Grid::fit(total, width, height, 0, true);
            (grid.cell, grid.per)
        };
        assert_eq!(cell(16, 78, 18), (Cell::Card, 1));
        assert_eq!(cell(128, 78, 18), (Cell::Tile, 1));
        assert_eq!(cell(500, 78, 18), (Cell::Wide, 1));
        assert_eq!(cell(1_200, 78, 18), (Cell::Sign, 1));
        assert_eq!(cell(2_400, 78, 18), (Cell::Half, 1));
        assert_eq!(cell(5_000, 78, 18), (Cell::Half, 2));
        assert_eq!(cell(5_000, 298, 70), (Cell::Wide, 1));
    }

    #[test]
    fn without_half_cells_more_shards_share_one() {
        let grid = Grid::fit(5_000, 78, 18, 0, false);
        assert_eq!((grid.cell, grid.per), (Cell::Sign, 4));
        let nearer = Grid::fit(5_000, 78, 18, 3, false);
        assert_eq!((nearer.cell, nearer.per), (Cell::Sign, 1));
        assert_eq!(Grid::fit(5_000, 78, 18, 200, false).cell, Cell::Card);
    }

    proptest! {
        #[test]
        fn every_shard_has_one_place(total in 1_u32..6_000, width in 0_u16..320, height in 0_u16..90, zoom in 0_u8..9, half: bool) {
            let grid = Grid::fit(total, width, height, zoom, half);
            for id in (0..total).step_by(7) {
                let (column, row) = grid.place(id);
                prop_assert!(grid.shards(column, row).contains(&id));
                prop_assert!(row < grid.rows);
                let line = row / grid.rows_a_line();
                let top = grid.top(id, height.max(1));
                prop_assert!((top..top + u32::from(height.max(1))).contains(&line));
                prop_assert!(grid.step(id, 1, 1) < total);
            }
        }
    }
}
