//! All shards as a table: only the rows that can be seen are built.

use pilothouse_shared::snapshot::ShardRow;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::{Scene, map};
use crate::format;
use crate::model::columns::{COLUMNS, fitting};
use crate::theme::Ink;
use crate::widget::text;

pub(super) fn draw(scene: Scene<'_>, buf: &mut Buffer, body: Rect) {
    let model = scene.model;
    let columns = fitting(body.width.saturating_sub(2));
    let direction = if model.shards.descending { "falling" } else { "rising" };
    let shown = (model.shards.top + model.table_rows()).min(model.shards.order.len());
    let first = (model.shards.top + 1).min(shown);
    let part = format!(
        "{}-{} of {}",
        format::count(first as u64),
        format::count(shown as u64),
        format::count(model.shards.order.len() as u64)
    );
    map::heading(scene, buf, body, &format!("rows {part} by {} {direction}", COLUMNS[model.shards.sort].key));
    titles(scene, buf, body, &columns);
    let rows = Rect { y: body.y + 2, height: body.height.saturating_sub(2), ..body };
    if !model.is_listed() && model.shards.order.is_empty() {
        scene.put(buf, rows.x + 1, rows.y, rows.width, "waiting for the list", Ink::Dim);
    } else if model.shards.order.is_empty() {
        scene.put(buf, rows.x + 1, rows.y, rows.width, "no shard passes, Esc takes the filter away", Ink::Dim);
    }
    for (&id, y) in model.shards.order.iter().skip(model.shards.top).zip(rows.top()..rows.bottom()) {
        let area = Rect { y, height: 1, ..rows };
        match model.fleet.row(id) {
            Some(row) => self::row(scene, buf, area, row, &columns),
            None => awaited(scene, buf, area, id),
        }
    }
    if let Some(at) = model.rows_seen() {
        scene.weather(buf, rows, at);
    }
}

fn titles(scene: Scene<'_>, buf: &mut Buffer, body: Rect, columns: &[usize]) {
    let y = body.y + 1;
    let mut x = body.x + 1;
    for &index in columns {
        let column = &COLUMNS[index];
        let sorted = index == scene.model.shards.sort;
        let arrow = if scene.model.shards.descending { scene.theme.signs.down } else { scene.theme.signs.up };
        let title = if sorted { format!("{arrow}{}", column.title) } else { column.title.to_owned() };
        let mut style = scene.ink(if sorted { Ink::Key } else { Ink::Title });
        style = style.add_modifier(Modifier::UNDERLINED);
        cell(buf, (x, y), column.width, &title, column.right, style, scene.theme.signs.cut);
        x += column.width + 1;
    }
}

fn cell(buf: &mut Buffer, (x, y): (u16, u16), width: u16, text: &str, right: bool, style: Style, cut: &str) {
    if right {
        text::put_right(buf, x + width, y, width, text, style, cut);
    } else {
        text::put(buf, x, y, width, text, style, cut);
    }
}

/// A row that is on its way: what the map tells of its shard.
fn awaited(scene: Scene<'_>, buf: &mut Buffer, area: Rect, id: u32) {
    let [number, state] = [&COLUMNS[0], &COLUMNS[1]];
    let ink = if id == scene.model.shards.cursor { Ink::Strong } else { Ink::Text };
    scene.put_right(buf, area.x + 1 + number.width, area.y, number.width, &id.to_string(), ink);
    if let Some(known) = scene.model.fleet.state(id) {
        let text = format!("{} {known}", scene.theme.sign(known));
        let x = area.x + number.width + 2;
        text::put(buf, x, area.y, state.width, &text, scene.theme.state(known), scene.theme.signs.cut);
    }
}

fn row(scene: Scene<'_>, buf: &mut Buffer, area: Rect, row: &ShardRow, columns: &[usize]) {
    let chosen = row.id == scene.model.shards.cursor;
    if chosen {
        text::fill(buf, area, scene.ink(Ink::Chosen));
        scene.put(buf, area.x, area.y, 1, scene.theme.signs.choice, Ink::Key);
    }
    let now = scene.model.agent_now(scene.now);
    let mut x = area.x + 1;
    for &index in columns {
        let column = &COLUMNS[index];
        let text = (column.text)(row, now);
        let style = if chosen { Style::new() } else { style(scene, row, column.key, &text) };
        let text = if column.key == "state" { format!("{} {text}", scene.theme.sign(row.state)) } else { text };
        // The last column takes what is left over.
        let last = Some(&index) == columns.last() && !column.right;
        let width = if last { area.right().saturating_sub(x + 1) } else { column.width };
        cell(buf, (x, area.y), width, &text, column.right, style, scene.theme.signs.cut);
        x += column.width + 1;
    }
}

/// Figures out of the usual stand out; dashes and what seldom matters step back.
fn style(scene: Scene<'_>, row: &ShardRow, key: &str, text: &str) -> Style {
    let alert = match key {
        "state" => return scene.theme.state(row.state),
        "lag" => row.lag_ms >= 1_000,
        "latency" => row.latency_ms.is_some_and(|ms| ms >= 500),
        "unavailable" => row.unavailable > 0,
        "sends" => row.sends_left < 20,
        _ => false,
    };
    let quiet = text == "-" || text == "0" || matches!(key, "agent" | "worker" | "gen" | "v" | "close");
    scene.ink(if alert {
        Ink::Warn
    } else if quiet {
        Ink::Dim
    } else {
        Ink::Text
    })
}
