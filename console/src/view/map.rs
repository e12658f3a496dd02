//! All shards as a map, with what the cursor stands on and a legend with counts.

use pilothouse_shared::snapshot::ShardState;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{Scene, rect};
use crate::format;
use crate::model::grid::{Cell, Grid};
use crate::theme::Ink;
use crate::widget::heat::{self, Seen};
use crate::widget::text;

pub(super) fn draw(scene: Scene<'_>, buf: &mut Buffer, body: Rect) {
    let model = scene.model;
    let grid = model.grid();
    heading(scene, buf, body, &scale(&grid));
    if model.fleet.total() == 0 {
        scene.put(buf, body.x + 1, body.y + 2, body.width - 2, "no map was received yet", Ink::Dim);
        return;
    }
    let area = rect(model.map_area());
    heat::heat(buf, scene.theme, area, &grid, Some(model.shards.cursor), |id| {
        if model.shows(id) { seen(model.fleet.state(id)) } else { Seen::Hidden }
    });
    under_cursor(scene, buf, body, &grid);
    legend(scene, buf, body);
    if let Some(at) = model.fleet_seen() {
        scene.weather(buf, area, at);
    }
}

pub(super) fn seen(state: Option<ShardState>) -> Seen {
    state.map_or(Seen::Unknown, Seen::State)
}

/// How many shards share a cell.
fn scale(grid: &Grid) -> String {
    match (grid.cell, grid.per) {
        (Cell::Half, 1) => "half a cell a shard".into(),
        (_, 1) => "1 cell a shard".into(),
        (_, per) => format!("{per} shards a cell, worst shown"),
    }
}

/// The first line among all shards: coverage, what is left out, how it is drawn, how old it is.
pub(super) fn heading(scene: Scene<'_>, buf: &mut Buffer, body: Rect, how: &str) {
    let model = scene.model;
    let seen = if model.shards.table { model.rows_seen() } else { model.fleet_seen() };
    let (total, told) = (model.fleet.total(), model.fleet.reporting());
    let ink = if told == total { Ink::Dim } else { Ink::Warn };
    let coverage = format!("{} of {} reporting", format::count(told.into()), format::shards(total.into()));
    let dot = format!(" {} ", scene.theme.signs.dot);
    let mut at = scene.put(buf, body.x + 1, body.y, body.width - 2, &coverage, ink);
    let mut say = |buf: &mut Buffer, text: &str, ink| {
        at = scene.put(buf, at, body.y, body.width.saturating_sub(at + 1), &dot, Ink::Faint);
        at = scene.put(buf, at, body.y, body.width.saturating_sub(at + 1), text, ink);
    };
    if let Some(age) = seen.map(|at| scene.age(at)).filter(|age| !age.is_empty()) {
        say(buf, &age, Ink::Bad);
    }
    if model.shards.only_bad {
        say(buf, "only what is not active", Ink::Warn);
    }
    if !model.shards.filter.is_empty() {
        let passing = if model.is_listed() { format::count(model.shards.order.len() as u64) } else { "?".into() };
        say(buf, &format!("filter {} ({passing})", model.shards.filter), Ink::Warn);
    }
    say(buf, how, Ink::Dim);
}

/// The shards under the cursor, in words.
fn under_cursor(scene: Scene<'_>, buf: &mut Buffer, body: Rect, grid: &Grid) {
    let model = scene.model;
    let y = body.bottom() - 2;
    let (column, row) = grid.place(model.shards.cursor);
    let shards = grid.shards(column, row);
    let at = if grid.per == 1 {
        scene.put(buf, body.x + 1, y, body.width, &format!("shard {} ", model.shards.cursor), Ink::Strong)
    } else {
        let range = format!("shards {}-{} ", shards.start, shards.end.saturating_sub(1));
        scene.put(buf, body.x + 1, y, body.width, &range, Ink::Strong)
    };
    let bad: Vec<u32> = shards.clone().filter(|&id| model.fleet.state(id) != Some(ShardState::Active)).collect();
    let worst = shards.filter_map(|id| model.fleet.state(id)).max();
    let Some(worst) = worst else {
        scene.put(buf, at, y, body.width.saturating_sub(at), "not told yet", Ink::Dim);
        return;
    };
    let word = format!("{} {worst}", scene.theme.sign(worst));
    let at = text::put(buf, at, y, body.width.saturating_sub(at), &word, scene.theme.state(worst), "");
    let rest = if grid.per > 1 && !bad.is_empty() {
        format!("  worst of {}: not active {}", grid.per, format::ids(&bad, 4))
    } else {
        row_words(scene)
    };
    scene.put(buf, at, y, body.width.saturating_sub(at + 1), &rest, Ink::Dim);
}

fn row_words(scene: Scene<'_>) -> String {
    let Some(row) = scene.model.fleet.row(scene.model.shards.cursor) else { return String::new() };
    let since = format::span(scene.model.agent_now(scene.now).saturating_sub(row.since));
    format!(
        " for {since} on {} worker {}, {}/s",
        format::clean(&row.agent),
        row.worker,
        format::short(row.events_per_s.into())
    )
}

/// Every state with sign, word and count; those without shards are dim.
fn legend(scene: Scene<'_>, buf: &mut Buffer, body: Rect) {
    let y = body.bottom() - 1;
    let counts = scene.model.fleet.counts();
    let mut x = body.x + 1;
    let some = ShardState::ALL.into_iter().filter(|state| counts[*state as usize] > 0);
    let none = ShardState::ALL.into_iter().filter(|state| counts[*state as usize] == 0);
    for state in some.chain(none) {
        let count = counts[state as usize];
        let text = format!("{} {state} {}", scene.theme.sign(state), format::count(count.into()));
        if x + text::width(&text) > body.right() {
            break;
        }
        let style = if count > 0 { scene.theme.state(state) } else { scene.ink(Ink::Faint) };
        x = text::put(buf, x, y, body.width, &text, style, "") + 2;
    }
}
