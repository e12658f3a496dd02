//! A bar of how much is left, and a bar behind a share.

use ratatui::buffer::Buffer;
use ratatui::style::Style;

use crate::theme::{Ink, Theme};

/// A bar of `width` columns, filled by `part` of `whole`.
pub fn gauge(
    buf: &mut Buffer,
    theme: &Theme,
    x: u16,
    y: u16,
    width: u16,
    (part, whole): (u64, u64),
    style: Style,
) -> u16 {
    let filled = (part.min(whole) * u64::from(width) + whole / 2).checked_div(whole).unwrap_or(0);
    for column in 0..width {
        let full = u64::from(column) < filled;
        if let Some(cell) = buf.cell_mut((x + column, y)) {
            cell.set_symbol(if full { theme.signs.full } else { theme.signs.empty });
            cell.set_style(if full { style } else { theme.ink(Ink::Faint) });
        }
    }
    x + width
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;

    use super::*;
    use crate::model::Look;
    use crate::theme::Depth;

    #[test]
    fn it_fills_by_share() {
        let drawn = |part, whole| {
            let mut buf = Buffer::empty(Rect::new(0, 0, 8, 1));
            let theme = Theme::new(Look::Mono, Depth::None, true);
            gauge(&mut buf, &theme, 0, 0, 8, (part, whole), Style::new());
            buf.content().iter().map(|cell| cell.symbol()).collect::<String>()
        };
        assert_eq!(drawn(1, 2), "####----");
        assert_eq!(drawn(9, 3), "########");
        assert_eq!(drawn(3, 0), "--------");
    }
}
