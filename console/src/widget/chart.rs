//! A filled chart over time, in eighths of a cell, with an axis; what was not received stays empty and is marked.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::text;
use crate::theme::{Ink, Theme};

/// Columns the axis takes.
pub const AXIS: u16 = 7;

/// Draws `values`, oldest first, one a column, right-aligned; `label` writes the axis.
pub fn chart(buf: &mut Buffer, theme: &Theme, area: Rect, values: &[Option<u64>], label: fn(u64) -> String) {
    if area.width <= AXIS || area.height == 0 {
        return;
    }
    let top = ceiling(values.iter().flatten().copied().max().unwrap_or(0));
    axis(buf, theme, area, top, label);
    let plot = Rect { x: area.x + AXIS, width: area.width - AXIS, ..area };
    let shown = values.len().min(plot.width.into());
    let first = plot.right() - u16::try_from(shown).expect("at most the width");
    for (x, value) in (first..).zip(&values[values.len() - shown..]) {
        match value {
            Some(0) => {
                text::put(buf, x, plot.bottom() - 1, 1, theme.signs.eighths[1], theme.ink(Ink::Dim), "");
            }
            Some(value) => column(buf, theme, plot, x, *value, top),
            None => {
                text::put(buf, x, plot.bottom() - 1, 1, theme.signs.dot, theme.ink(Ink::Faint), "");
            }
        }
    }
}

fn axis(buf: &mut Buffer, theme: &Theme, area: Rect, top: u64, label: fn(u64) -> String) {
    let faint = theme.ink(Ink::Faint);
    let right = area.x + AXIS - 1;
    for y in area.top()..area.bottom() {
        let from_bottom = u64::from(area.bottom() - 1 - y);
        let half = top > 1 && area.height >= 5 && from_bottom == u64::from(area.height) / 2;
        let value = match y {
            _ if y == area.y => Some(top),
            _ if half => Some(top / 2),
            _ => None,
        };
        if let Some(value) = value {
            text::put_right(buf, right, y, AXIS - 1, &label(value), theme.ink(Ink::Dim), "");
        }
        let sign = if value.is_some() { theme.signs.tick } else { theme.signs.axis };
        text::put(buf, right, y, 1, sign, faint, "");
    }
}

fn column(buf: &mut Buffer, theme: &Theme, plot: Rect, x: u16, value: u64, top: u64) {
    let eighths = (value * u64::from(plot.height) * 8).div_ceil(top.max(1));
    for y in plot.top()..plot.bottom() {
        let below = u64::from(plot.bottom() - 1 - y) * 8;
        let here = eighths.saturating_sub(below).min(8);
        if here > 0 {
            let sign = theme.signs.eighths[usize::try_from(here).expect("at most 8")];
            text::put(buf, x, y, 1, sign, theme.ink(Ink::Chart), "");
        }
    }
}

/// The next of 1, 2, 5, 10, 20, … that is not below `value`: a scale that does not jitter.
pub fn ceiling(value: u64) -> u64 {
    let mut unit = 1_u64;
    loop {
        for factor in [1, 2, 5] {
            if unit.saturating_mul(factor) >= value {
                return unit.saturating_mul(factor);
            }
        }
        unit = unit.saturating_mul(10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format;
    use crate::model::Look;
    use crate::theme::Depth;

    #[test]
    fn it_draws_eighths_gaps_and_an_axis() {
        let mut buf = Buffer::empty(Rect::new(0, 0, 12, 2));
        let area = buf.area;
        let theme = Theme::new(Look::Mono, Depth::None, false);
        chart(&mut buf, &theme, area, &[Some(100), None, Some(50), Some(1), Some(0)], format::short);
        let rows: Vec<String> =
            buf.content().chunks(12).map(|row| row.iter().map(|cell| cell.symbol()).collect()).collect();
        assert_eq!(rows, ["   100┤█    ", "      │█·█▁▁"]);
    }

    #[test]
    fn scales_are_round() {
        assert_eq!([0, 1, 3, 7, 84_200, u64::MAX].map(ceiling), [1, 1, 5, 10, 100_000, u64::MAX]);
    }
}
