//! The map of shards, written cell by cell into the buffer.

use pilothouse_shared::snapshot::ShardState;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::text;
use crate::model::grid::{Cell, Grid};
use crate::theme::{Ink, Theme};

/// What the map needs to know of a shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// Its state.
    State(ShardState),
    /// Filtered away.
    Hidden,
    /// Nothing was told.
    Unknown,
}

/// Draws a map; `seen` tells of a shard, `cursor` is marked where there is one.
pub fn heat(buf: &mut Buffer, theme: &Theme, area: Rect, grid: &Grid, cursor: Option<u32>, seen: impl Fn(u32) -> Seen) {
    let top = cursor.map_or(0, |id| grid.top(id, area.height));
    for line in 0..area.height {
        let row = (top + u32::from(line)) * grid.rows_a_line();
        if row >= grid.rows {
            break;
        }
        let y = area.y + line;
        ruler(buf, theme, grid, area.x, y, row);
        for column in 0..grid.columns {
            let offset = u16::try_from(column).unwrap_or(u16::MAX).saturating_mul(grid.width);
            let x = area.x + grid.gutter + offset;
            if x + grid.width > area.right() {
                break;
            }
            if grid.cell == Cell::Half {
                half(buf, theme, grid, (x, y), (column, row), &seen);
            } else {
                whole(buf, theme, grid, (x, y), (column, row), &seen);
            }
        }
    }
    if let Some(cursor) = cursor {
        mark(buf, theme, area, grid, cursor, top);
    }
}

/// The id of the row's first shard.
fn ruler(buf: &mut Buffer, theme: &Theme, grid: &Grid, x: u16, y: u16, row: u32) {
    if grid.gutter > 0 {
        let id = grid.shards(0, row).start.to_string();
        text::put_right(buf, x + grid.gutter - 1, y, grid.gutter, &id, theme.ink(Ink::Dim), "");
    }
}

/// The worst of what is shown; unknown is worse than well.
fn worst(grid: &Grid, column: u32, row: u32, seen: &impl Fn(u32) -> Seen) -> Option<Seen> {
    let mut all = Seen::Hidden;
    let shards = grid.shards(column, row);
    if shards.is_empty() {
        return None;
    }
    for id in shards {
        all = match (all, seen(id)) {
            (Seen::State(one), Seen::State(other)) => Seen::State(one.max(other)),
            (Seen::State(ShardState::Active) | Seen::Hidden, next) if next != Seen::Hidden => next,
            (Seen::Unknown, Seen::State(state)) if state != ShardState::Active => Seen::State(state),
            (before, _) => before,
        };
    }
    Some(all)
}

fn sign(theme: &Theme, seen: Seen) -> (&'static str, Style) {
    match seen {
        Seen::State(state) => (theme.sign(state), theme.state(state)),
        Seen::Hidden => (theme.signs.hidden, theme.ink(Ink::Faint)),
        Seen::Unknown => ("?", theme.ink(Ink::Dim)),
    }
}

fn whole(
    buf: &mut Buffer,
    theme: &Theme,
    grid: &Grid,
    (x, y): (u16, u16),
    (column, row): (u32, u32),
    seen: &impl Fn(u32) -> Seen,
) {
    let Some(worst) = worst(grid, column, row, seen) else { return };
    let (sign, style) = sign(theme, worst);
    let at = match grid.cell {
        Cell::Card | Cell::Tile => {
            let digits = grid.width - if grid.cell == Cell::Card { 17 } else { 4 };
            let id = grid.shards(column, row).start.to_string();
            let ink = if worst == Seen::Hidden { Ink::Faint } else { Ink::Dim };
            text::put_right(buf, x + digits, y, digits, &id, theme.ink(ink), "");
            x + digits + 1
        }
        _ => x,
    };
    text::put(buf, at, y, 1, sign, style, "");
    if let (Cell::Card, Seen::State(state)) = (grid.cell, worst) {
        text::put(buf, at + 2, y, 12, state.name(), style, "");
    }
}

/// Two groups one above the other: the upper one is the letter's colour, the lower one the ground's.
fn half(
    buf: &mut Buffer,
    theme: &Theme,
    grid: &Grid,
    (x, y): (u16, u16),
    (column, row): (u32, u32),
    seen: &impl Fn(u32) -> Seen,
) {
    let colour = |seen| match seen {
        Seen::State(state) => Some(theme.state_colour(state)),
        Seen::Hidden => theme.ink(Ink::Box).bg,
        Seen::Unknown => theme.ink(Ink::Faint).fg,
    };
    let upper = worst(grid, column, row, seen).and_then(colour);
    let lower = worst(grid, column, row + 1, seen).and_then(colour);
    let Some(cell) = buf.cell_mut((x, y)) else { return };
    match (upper, lower) {
        (Some(upper), Some(lower)) if upper == lower => cell.set_symbol("█").set_fg(upper),
        (Some(upper), Some(lower)) => cell.set_symbol("▀").set_fg(upper).set_bg(lower),
        (Some(upper), None) => cell.set_symbol("▀").set_fg(upper),
        _ => cell,
    };
}

fn mark(buf: &mut Buffer, theme: &Theme, area: Rect, grid: &Grid, cursor: u32, top: u32) {
    let (column, row) = grid.place(cursor);
    let Some(line) = (row / grid.rows_a_line()).checked_sub(top) else { return };
    let x = area.x + grid.gutter + u16::try_from(column).unwrap_or(u16::MAX).saturating_mul(grid.width);
    let y = area.y.saturating_add(u16::try_from(line).unwrap_or(u16::MAX));
    if y >= area.bottom() || x >= area.right() {
        return;
    }
    let columns = if grid.cell == Cell::Wide { 1 } else { grid.width };
    for x in x..(x + columns).min(area.right()) {
        let cell = &mut buf[(x, y)];
        match grid.cell {
            Cell::Half => {
                let sign = if row % 2 == 0 { "▀" } else { "▄" };
                let rest = if row % 2 == 1 || cell.symbol() == "█" { cell.fg } else { cell.bg };
                cell.set_symbol(sign)
                    .set_style(Style::new().fg(theme.ink(Ink::Strong).fg.unwrap_or_default()).bg(rest));
            }
            Cell::Sign | Cell::Wide => {
                cell.modifier.insert(Modifier::REVERSED | Modifier::BOLD);
            }
            Cell::Card | Cell::Tile => {
                let ground = theme.ink(Ink::Chosen);
                cell.set_style(Style { fg: None, ..ground });
                cell.modifier.insert(Modifier::BOLD);
            }
        }
    }
}
