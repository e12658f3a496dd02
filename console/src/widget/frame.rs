//! Rules with headings, boxes above the screen, and the hatching of what is stale.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Modifier;

use super::text;
use crate::theme::{Ink, Theme};

/// A rule with a heading at the left and a note at the right; returns what is below it.
pub fn panel(buf: &mut Buffer, theme: &Theme, area: Rect, title: &str, note: &str) -> Rect {
    if area.height == 0 || area.width < 4 {
        return Rect { height: 0, ..area };
    }
    let cut = theme.signs.cut;
    text::put(buf, area.x, area.y, area.width, &theme.signs.rule.repeat(area.width.into()), theme.ink(Ink::Faint), cut);
    let room = area.width - 2;
    let end = text::put(buf, area.x + 1, area.y, room, &format!(" {title} "), theme.ink(Ink::Title), cut);
    let left = area.right().saturating_sub(end + 1);
    if !note.is_empty() && left > 6 {
        text::put_right(buf, area.right() - 1, area.y, left, &format!(" {note} "), theme.ink(Ink::Dim), cut);
    }
    Rect { y: area.y + 1, height: area.height - 1, ..area }
}

/// A box in the middle of `area`, at most `width` × `height`; returns its inside.
pub fn boxed(buf: &mut Buffer, theme: &Theme, area: Rect, (width, height): (u16, u16), title: &str) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    let outer = Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    if width < 4 || height < 3 {
        return Rect { width: 0, height: 0, ..outer };
    }
    let style = theme.ink(Ink::Box);
    text::fill(buf, outer, style);
    outline(buf, theme, outer);
    text::put(
        buf,
        outer.x + 2,
        outer.y,
        width - 4,
        &format!(" {title} "),
        style.patch(theme.ink(Ink::Title)),
        theme.signs.cut,
    );
    Rect { x: outer.x + 2, y: outer.y + 1, width: width - 4, height: height - 2 }
}

fn outline(buf: &mut Buffer, theme: &Theme, area: Rect) {
    let style = theme.ink(Ink::Box).patch(theme.ink(Ink::Dim));
    let [top_left, top_right, bottom_left, bottom_right, across, down] = theme.signs.frame;
    let (right, bottom) = (area.right() - 1, area.bottom() - 1);
    for x in area.x..=right {
        buf[(x, area.y)].set_symbol(across).set_style(style);
        buf[(x, bottom)].set_symbol(across).set_style(style);
    }
    for y in area.y..=bottom {
        buf[(area.x, y)].set_symbol(down).set_style(style);
        buf[(right, y)].set_symbol(down).set_style(style);
    }
    for (x, y, corner) in [
        (area.x, area.y, top_left),
        (right, area.y, top_right),
        (area.x, bottom, bottom_left),
        (right, bottom, bottom_right),
    ] {
        buf[(x, y)].set_symbol(corner);
    }
}

/// Dims what is old.
pub fn dim(buf: &mut Buffer, area: Rect) {
    for position in area.intersection(buf.area).positions() {
        buf[position].modifier.insert(Modifier::DIM);
    }
}

/// Hatches what is stale: strokes through the blanks, so that no figure becomes unreadable.
pub fn hatch(buf: &mut Buffer, theme: &Theme, area: Rect) {
    dim(buf, area);
    for position in area.intersection(buf.area).positions() {
        let blank = |x: u16| buf.cell((x, position.y)).is_none_or(|cell| cell.symbol() == " ");
        let free = blank(position.x) && blank(position.x.saturating_sub(1)) && blank(position.x + 1);
        if free && (position.x + 2 * position.y).is_multiple_of(6) {
            buf[position].set_symbol(theme.signs.hatch).set_style(theme.ink(Ink::Faint));
        }
    }
}
