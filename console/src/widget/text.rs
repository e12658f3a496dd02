//! Text at a place: cut to fit, to the left or to the right.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use unicode_width::UnicodeWidthStr;

/// Columns that a text takes.
pub fn width(text: &str) -> u16 {
    u16::try_from(text.width()).unwrap_or(u16::MAX)
}

/// Writes `text` into at most `room` columns, `cut` standing for what does not fit; returns the column behind it.
pub fn put(buf: &mut Buffer, x: u16, y: u16, room: u16, text: &str, style: Style, cut: &str) -> u16 {
    let area = buf.area;
    if y < area.y || y >= area.bottom() || x < area.x || x >= area.right() || room == 0 {
        return x;
    }
    let room = room.min(area.right() - x);
    if width(text) <= room {
        return buf.set_stringn(x, y, text, room.into(), style).0;
    }
    let (end, _) = buf.set_stringn(x, y, text, usize::from(room.saturating_sub(width(cut))), style);
    buf.set_stringn(end, y, cut, usize::from(x + room - end), style).0
}

/// Writes pieces one behind the other into at most `room` columns; returns the column behind them.
pub fn pieces(buf: &mut Buffer, x: u16, y: u16, room: u16, pieces: &[(&str, Style)], cut: &str) -> u16 {
    let end = x.saturating_add(room);
    let mut at = x;
    for (text, style) in pieces {
        if at >= end {
            break;
        }
        at = put(buf, at, y, end - at, text, *style, cut);
    }
    at
}

/// Writes `text` so that it ends in front of `right`.
pub fn put_right(buf: &mut Buffer, right: u16, y: u16, room: u16, text: &str, style: Style, cut: &str) -> u16 {
    let x = right.saturating_sub(width(text).min(room));
    put(buf, x, y, room.min(right), text, style, cut);
    x
}

/// The end of `text` that fits into `room` columns.
pub fn tail(text: &str, room: u16) -> &str {
    let start = text.char_indices().map(|(at, _)| at).find(|at| width(&text[*at..]) <= room);
    start.map_or("", |at| &text[at..])
}

/// Lines of at most `room` columns, broken at blanks.
pub fn wrap(text: &str, room: u16) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && width(&line) + 1 + width(word) > room {
                lines.push(std::mem::take(&mut line));
            } else if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    lines
}

/// Paints the ground of an area.
pub fn fill(buf: &mut Buffer, area: Rect, style: Style) {
    for position in area.intersection(buf.area).positions() {
        buf[position].reset();
        buf[position].set_style(style);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(room: u16, text: &str) -> String {
        let mut buf = Buffer::empty(Rect::new(0, 0, 10, 1));
        put(&mut buf, 1, 0, room, text, Style::new(), "…");
        buf.content().iter().map(|cell| cell.symbol()).collect()
    }

    #[test]
    fn what_does_not_fit_is_cut_visibly() {
        assert_eq!(written(8, "abcdef"), " abcdef   ");
        assert_eq!(written(4, "abcdef"), " abc…     ");
        assert_eq!(written(99, "abcdefghijkl"), " abcdefgh…");
        assert_eq!(written(0, "abc"), "          ");
        assert_eq!(written(4, "漢字漢字"), " 漢 …      ");
    }

    #[test]
    fn nothing_is_written_outside() {
        let mut buf = Buffer::empty(Rect::new(0, 0, 4, 1));
        put(&mut buf, 9, 0, 4, "x", Style::new(), "…");
        put(&mut buf, 0, 9, 4, "x", Style::new(), "…");
        put_right(&mut buf, 2, 0, 9, "abc", Style::new(), "…");
        assert_eq!(buf, Buffer::with_lines(["a…  "]));
    }

    #[test]
    fn paragraphs_are_broken_at_blanks() {
        assert_eq!(wrap("one two three\n\nfour", 8), ["one two", "three", "", "four"]);
    }
}
