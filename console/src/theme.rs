//! Colours and signs. A state is told by sign, word and colour together; the hues are told apart by the colour-blind.

use pilothouse_shared::snapshot::{Severity, ShardState};
use ratatui::style::{Color, Modifier, Style};

use crate::model::Look;

/// What a piece of the screen is, not how it looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ink {
    /// Plain text.
    Text,
    /// Names of values, units, what matters less.
    Dim,
    /// Rules, axes, hatching.
    Faint,
    /// Headings.
    Title,
    /// Values to look at first.
    Strong,
    /// Keys in the hint line.
    Key,
    /// As it should be.
    Good,
    /// Needs a look.
    Warn,
    /// Needs hands.
    Bad,
    /// The line across the top.
    Band,
    /// The chosen row.
    Chosen,
    /// A chart's area.
    Chart,
    /// Ground of a box above the screen.
    Box,
}

type Rgb = (u8, u8, u8);

/// The colours of a look.
struct Palette {
    ground: Rgb,
    text: Rgb,
    dim: Rgb,
    faint: Rgb,
    title: Rgb,
    strong: Rgb,
    key: Rgb,
    good: Rgb,
    warn: Rgb,
    bad: Rgb,
    band: (Rgb, Rgb),
    chosen: (Rgb, Rgb),
    chart: Rgb,
    raised: Rgb,
    /// From well to ill, as [`ShardState::ALL`].
    states: [Rgb; 9],
}

const DARK: Palette = Palette {
    ground: (0x10, 0x14, 0x1b),
    text: (0xc9, 0xd1, 0xd9),
    dim: (0x84, 0x8f, 0x9c),
    faint: (0x3a, 0x44, 0x50),
    title: (0x8c, 0xb4, 0xe8),
    strong: (0xf2, 0xf5, 0xf8),
    key: (0xf0, 0xc6, 0x74),
    good: (0x3d, 0xb8, 0x93),
    warn: (0xf0, 0xb4, 0x29),
    bad: (0xff, 0x7a, 0x45),
    band: ((0xe6, 0xed, 0xf3), (0x1f, 0x2f, 0x46)),
    chosen: ((0xff, 0xff, 0xff), (0x2a, 0x3d, 0x57)),
    chart: (0x4f, 0x8f, 0xd0),
    raised: (0x1a, 0x21, 0x2b),
    states: [
        (0x2f, 0x9e, 0x80),
        (0x56, 0xb4, 0xe9),
        (0xe9, 0xd8, 0x4a),
        (0xcc, 0x79, 0xc7),
        (0x9a, 0xa7, 0xb8),
        (0x5b, 0x86, 0xe0),
        (0xe6, 0x9f, 0x00),
        (0x6b, 0x74, 0x80),
        (0xff, 0x5a, 0x1f),
    ],
};

const LIGHT: Palette = Palette {
    ground: (0xfb, 0xfb, 0xf8),
    text: (0x2b, 0x31, 0x38),
    dim: (0x62, 0x6b, 0x76),
    faint: (0xc4, 0xca, 0xd0),
    title: (0x1d, 0x55, 0x9c),
    strong: (0x05, 0x0a, 0x10),
    key: (0x8a, 0x4b, 0x00),
    good: (0x0a, 0x74, 0x57),
    warn: (0x96, 0x5a, 0x00),
    bad: (0xb8, 0x30, 0x00),
    band: ((0xff, 0xff, 0xff), (0x2c, 0x4f, 0x7c)),
    chosen: ((0x05, 0x0a, 0x10), (0xcf, 0xdf, 0xf2)),
    chart: (0x3b, 0x76, 0xb8),
    raised: (0xee, 0xf0, 0xf0),
    states: [
        (0x1e, 0x93, 0x72),
        (0x1f, 0x86, 0xc0),
        (0xb8, 0x9b, 0x00),
        (0xa8, 0x45, 0xa0),
        (0x7d, 0x88, 0x96),
        (0x2f, 0x5f, 0xc4),
        (0xc4, 0x7a, 0x00),
        (0xa2, 0xa9, 0xb0),
        (0xd1, 0x3c, 0x00),
    ],
};

const CONTRAST: Palette = Palette {
    ground: (0, 0, 0),
    text: (0xff, 0xff, 0xff),
    dim: (0xd0, 0xd0, 0xd0),
    faint: (0x90, 0x90, 0x90),
    title: (0x8c, 0xc8, 0xff),
    strong: (0xff, 0xff, 0xff),
    key: (0xff, 0xff, 0x00),
    good: (0x00, 0xff, 0xb0),
    warn: (0xff, 0xd0, 0x00),
    bad: (0xff, 0x80, 0x60),
    band: ((0, 0, 0), (0xff, 0xff, 0xff)),
    chosen: ((0, 0, 0), (0xff, 0xff, 0x00)),
    chart: (0x60, 0xb0, 0xff),
    raised: (0x18, 0x18, 0x18),
    states: [
        (0x00, 0xb0, 0x80),
        (0x40, 0xc0, 0xff),
        (0xff, 0xff, 0x00),
        (0xff, 0x80, 0xff),
        (0xd0, 0xd0, 0xd0),
        (0x70, 0x90, 0xff),
        (0xff, 0xa0, 0x00),
        (0x90, 0x90, 0x90),
        (0xff, 0x40, 0x20),
    ],
};

/// What the terminal can paint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Depth {
    /// 16.7 million colours.
    True,
    /// The palette of 256.
    Indexed,
    /// None: bold, dim, reverse and underlined have to do.
    None,
}

/// Signs that differ between Unicode and ASCII.
#[derive(Debug)]
#[expect(missing_docs, reason = "the tables below show them")]
pub struct Signs {
    pub states: [&'static str; 9],
    pub rule: &'static str,
    pub into: &'static str,
    pub dot: &'static str,
    pub cut: &'static str,
    pub up: &'static str,
    pub down: &'static str,
    pub linked: &'static str,
    pub waiting: &'static str,
    pub stale: &'static str,
    pub failed: &'static str,
    pub warning: &'static str,
    pub info: &'static str,
    pub hatch: &'static str,
    pub hidden: &'static str,
    pub choice: &'static str,
    pub full: &'static str,
    pub empty: &'static str,
    pub eighths: [&'static str; 9],
    pub axis: &'static str,
    pub tick: &'static str,
    pub corner: &'static str,
    pub frame: [&'static str; 6],
}

static UNICODE: Signs = Signs {
    states: ["■", "◧", "↻", "◆", "…", "→", "◌", "□", "✗"],
    rule: "─",
    into: "▸",
    dot: "·",
    cut: "…",
    up: "▲",
    down: "▼",
    linked: "●",
    waiting: "◌",
    stale: "▨",
    failed: "✗",
    warning: "▲",
    info: "•",
    hatch: "╱",
    hidden: "·",
    choice: "▌",
    full: "█",
    empty: "░",
    eighths: [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"],
    axis: "│",
    tick: "┤",
    corner: "└",
    frame: ["╭", "╮", "╰", "╯", "─", "│"],
};

static ASCII: Signs = Signs {
    states: [".", "H", "R", "I", "Q", "C", "B", "S", "X"],
    rule: "-",
    into: ">",
    dot: "-",
    cut: "~",
    up: "^",
    down: "v",
    linked: "*",
    waiting: "o",
    stale: "%",
    failed: "x",
    warning: "!",
    info: "-",
    hatch: "/",
    hidden: " ",
    choice: ">",
    full: "#",
    empty: "-",
    eighths: [" ", "_", ".", ".", ":", ":", "|", "|", "#"],
    axis: "|",
    tick: "+",
    corner: "+",
    frame: ["+", "+", "+", "+", "-", "|"],
};

/// Colours and signs for one terminal.
#[derive(Clone, Copy, Debug)]
pub struct Theme {
    look: Look,
    depth: Depth,
    /// The signs.
    pub signs: &'static Signs,
    /// Whether only ASCII may be written.
    pub ascii: bool,
}

impl Theme {
    /// A look, as far as the terminal can show it.
    pub fn new(look: Look, depth: Depth, ascii: bool) -> Self {
        Self { look, depth, signs: if ascii { &ASCII } else { &UNICODE }, ascii }
    }

    /// Whether there is no colour.
    pub fn is_mono(&self) -> bool {
        self.look == Look::Mono || self.depth == Depth::None
    }

    /// How a piece of the screen looks.
    pub fn ink(&self, ink: Ink) -> Style {
        if self.is_mono() { mono(ink) } else { self.coloured(ink) }
    }

    /// How text about a state looks.
    pub fn state(&self, state: ShardState) -> Style {
        if !self.is_mono() {
            let style = Style::new().fg(self.state_colour(state));
            return if state == ShardState::Fatal { style.add_modifier(Modifier::BOLD) } else { style };
        }
        match state {
            ShardState::Active => Style::new(),
            ShardState::Fatal => Style::new().add_modifier(Modifier::BOLD | Modifier::REVERSED),
            _ => Style::new().add_modifier(Modifier::BOLD),
        }
    }

    /// A state's colour.
    pub fn state_colour(&self, state: ShardState) -> Color {
        self.colour(self.palette().states[state as usize])
    }

    /// A state's sign.
    pub fn sign(&self, state: ShardState) -> &'static str {
        self.signs.states[state as usize]
    }

    /// Sign, word and style of a finding.
    pub fn severity(&self, severity: Severity) -> (&'static str, &'static str, Style) {
        match severity {
            Severity::Critical => (self.signs.failed, "critical", self.ink(Ink::Bad).add_modifier(Modifier::BOLD)),
            Severity::Warning => (self.signs.warning, "warning", self.ink(Ink::Warn)),
            Severity::Info => (self.signs.info, "info", self.ink(Ink::Dim)),
        }
    }

    /// The ground of the screen.
    pub fn ground(&self) -> Style {
        if self.is_mono() { Style::reset() } else { self.ink(Ink::Text).bg(self.colour(self.palette().ground)) }
    }

    fn palette(&self) -> &'static Palette {
        match self.look {
            Look::Dark | Look::Mono => &DARK,
            Look::Light => &LIGHT,
            Look::Contrast => &CONTRAST,
        }
    }

    fn coloured(&self, ink: Ink) -> Style {
        let palette = self.palette();
        let fg = |rgb| Style::new().fg(self.colour(rgb));
        let on = |(fore, back): (Rgb, Rgb)| fg(fore).bg(self.colour(back));
        match ink {
            Ink::Text => fg(palette.text),
            Ink::Dim => fg(palette.dim),
            Ink::Faint => fg(palette.faint),
            Ink::Title => fg(palette.title).add_modifier(Modifier::BOLD),
            Ink::Strong => fg(palette.strong).add_modifier(Modifier::BOLD),
            Ink::Key => fg(palette.key),
            Ink::Good => fg(palette.good),
            Ink::Warn => fg(palette.warn),
            Ink::Bad => fg(palette.bad),
            Ink::Band => on(palette.band),
            Ink::Chosen => on(palette.chosen),
            Ink::Chart => fg(palette.chart),
            Ink::Box => on((palette.text, palette.raised)),
        }
    }

    fn colour(&self, (red, green, blue): Rgb) -> Color {
        match self.depth {
            Depth::True => Color::Rgb(red, green, blue),
            Depth::Indexed => Color::Indexed(nearest(red, green, blue)),
            Depth::None => Color::Reset,
        }
    }
}

fn mono(ink: Ink) -> Style {
    let with = |modifier| Style::new().add_modifier(modifier);
    match ink {
        Ink::Text | Ink::Good | Ink::Chart | Ink::Box => Style::new(),
        Ink::Dim | Ink::Faint => with(Modifier::DIM),
        Ink::Title | Ink::Strong | Ink::Key => with(Modifier::BOLD),
        Ink::Warn => with(Modifier::BOLD | Modifier::UNDERLINED),
        Ink::Bad => with(Modifier::BOLD | Modifier::REVERSED),
        Ink::Band | Ink::Chosen => with(Modifier::REVERSED),
    }
}

/// The nearest colour of the 6 × 6 × 6 cube or the grey ramp of 256-colour terminals.
fn nearest(red: u8, green: u8, blue: u8) -> u8 {
    const STEPS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    let distance = |one: [u8; 3]| -> u32 {
        one.iter().zip([red, green, blue]).map(|(one, other)| u32::from(one.abs_diff(other)).pow(2)).sum()
    };
    let step = |value: u8| (0..6_u8).min_by_key(|&at| STEPS[usize::from(at)].abs_diff(value)).expect("six steps");
    let cube = [step(red), step(green), step(blue)];
    let grey = (0..24_u8).min_by_key(|&at| distance([8 + at * 10; 3])).expect("24 greys");
    if distance(cube.map(|at| STEPS[usize::from(at)])) <= distance([8 + grey * 10; 3]) {
        16 + cube[0] * 36 + cube[1] * 6 + cube[2]
    } else {
        232 + grey
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const LOOKS: [Look; 4] = [Look::Dark, Look::Light, Look::Contrast, Look::Mono];

    #[test]
    fn every_state_has_a_sign_of_its_own_and_a_colour_of_its_own() {
        for signs in [&UNICODE, &ASCII] {
            assert_eq!(signs.states.iter().collect::<HashSet<_>>().len(), 9);
        }
        for depth in [Depth::True, Depth::Indexed] {
            for look in [Look::Dark, Look::Light, Look::Contrast] {
                let theme = Theme::new(look, depth, false);
                let colours: HashSet<_> = ShardState::ALL.iter().map(|state| theme.state_colour(*state)).collect();
                assert_eq!(colours.len(), 9, "{look:?} {depth:?}");
            }
        }
    }

    #[test]
    fn ascii_writes_ascii() {
        let signs = format!("{ASCII:?}");
        assert!(signs.is_ascii(), "{signs}");
    }

    #[test]
    fn without_colour_there_is_none() {
        for look in LOOKS {
            let theme = Theme::new(look, Depth::None, false);
            for ink in [Ink::Text, Ink::Bad, Ink::Band, Ink::Chosen, Ink::Box] {
                assert!(theme.ink(ink).fg.is_none() && theme.ink(ink).bg.is_none(), "{look:?} {ink:?}");
            }
        }
    }

    #[test]
    fn text_can_be_read_on_its_ground() {
        for palette in [&DARK, &LIGHT, &CONTRAST] {
            for text in [palette.text, palette.dim, palette.title, palette.key, palette.good, palette.warn, palette.bad]
            {
                let ratio = contrast(text, palette.ground);
                assert!(ratio >= 4.5, "{text:?} on {:?}: {ratio:.1}", palette.ground);
            }
            assert!(
                contrast(palette.band.0, palette.band.1) >= 4.5 && contrast(palette.chosen.0, palette.chosen.1) >= 4.5
            );
        }
    }

    /// WCAG 2.1, "contrast ratio".
    fn contrast(one: Rgb, other: Rgb) -> f64 {
        let linear = |value: u8| {
            let value = f64::from(value) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        let light = |(red, green, blue): Rgb| 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
        let (one, other) = (light(one) + 0.05, light(other) + 0.05);
        one.max(other) / one.min(other)
    }

    #[test]
    fn the_nearest_of_256_is_near() {
        assert_eq!(
            [nearest(0, 0, 0), nearest(255, 255, 255), nearest(255, 0, 0), nearest(128, 128, 128)],
            [16, 231, 196, 244]
        );
    }
}
