//! What the model looks like. Views read it and change nothing; they draw straight into the buffer.
//!
//! This file draws what every screen has: the band, the banner while the link is down, the hint line.

mod detail;
mod map;
mod overlay;
mod overview;
mod stream;
mod table;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use crate::actions::{ACTIONS, Action, Entry, key_name};
use crate::format;
use crate::model::nav::Screen;
use crate::model::prompt::{Prompt, Purpose};
use crate::model::{Area, Freshness, Input, Link, Model, freshness};
use crate::theme::{Ink, Theme};
use crate::update;
use crate::widget::{frame, text};

/// What every view is given.
#[derive(Clone, Copy)]
struct Scene<'a> {
    model: &'a Model,
    theme: &'a Theme,
    now: u64,
}

impl Scene<'_> {
    fn ink(&self, ink: Ink) -> Style {
        self.theme.ink(ink)
    }

    fn put(&self, buf: &mut Buffer, x: u16, y: u16, room: u16, text: &str, ink: Ink) -> u16 {
        text::put(buf, x, y, room, text, self.ink(ink), self.theme.signs.cut)
    }

    fn put_right(&self, buf: &mut Buffer, right: u16, y: u16, room: u16, text: &str, ink: Ink) -> u16 {
        text::put_right(buf, right, y, room, text, self.ink(ink), self.theme.signs.cut)
    }

    fn pieces(&self, buf: &mut Buffer, x: u16, y: u16, room: u16, pieces: &[(&str, Style)]) -> u16 {
        text::pieces(buf, x, y, room, pieces, self.theme.signs.cut)
    }

    /// How old what came at `received` is, in words; empty while it is fresh.
    fn age(&self, received: u64) -> String {
        let age = format::span(self.now.saturating_sub(received));
        match freshness(received, self.now) {
            Freshness::Fresh => String::new(),
            Freshness::Old => "older than 3 s".into(),
            Freshness::Stale => format!("{} STALE {age}", self.theme.signs.stale),
        }
    }

    /// Dims or hatches an area by the age of what it shows.
    fn weather(&self, buf: &mut Buffer, area: Rect, received: u64) {
        match freshness(received, self.now) {
            Freshness::Fresh => {}
            Freshness::Old => frame::dim(buf, area),
            Freshness::Stale => frame::hatch(buf, self.theme, area),
        }
    }
}

fn rect(area: Area) -> Rect {
    Rect::new(area.x, area.y, area.width, area.height)
}

/// Draws everything.
pub fn draw(model: &Model, theme: &Theme, now: u64, buf: &mut Buffer) {
    let scene = Scene { model, theme, now };
    text::fill(buf, buf.area, theme.ground());
    if buf.area.is_empty() {
        return;
    }
    if model.is_tiny() {
        return tiny(scene, buf);
    }
    band(scene, buf);
    let body = rect(model.body());
    if body.y == 2 {
        banner(scene, buf);
    }
    match model.nav.screen() {
        Screen::Overview => overview::draw(scene, buf, body),
        Screen::Shards if model.shards.table => table::draw(scene, buf, body),
        Screen::Shards => map::draw(scene, buf, body),
        Screen::Shard(id) => detail::draw(scene, buf, body, id),
        Screen::Events => stream::events(scene, buf, body),
        Screen::Logs => stream::logs(scene, buf, body),
    }
    footer(scene, buf);
    overlay::draw(scene, buf, body);
}

/// One line, for terminals too small for a screen.
fn tiny(scene: Scene<'_>, buf: &mut Buffer) {
    let width = buf.area.width;
    let (sign, word, ink) = link_words(scene);
    let totals = scene.model.overview.as_ref().map_or_else(String::new, |(overview, _)| {
        let active = scene.model.active(overview);
        format!(" {active}/{} {}/s", overview.generation.total, format::short(overview.in_per_s.into()))
    });
    let end = scene.put(buf, 0, 0, width, &format!("{sign} {word}"), ink);
    scene.put(buf, end, 0, width.saturating_sub(end), &totals, Ink::Text);
    if buf.area.height > 1 {
        scene.put(buf, 0, 1, width, "60x15 needed, q quits", Ink::Dim);
    }
}

fn band(scene: Scene<'_>, buf: &mut Buffer) {
    let width = buf.area.width;
    let style = scene.ink(Ink::Band);
    text::fill(buf, Rect::new(0, 0, width, 1), style);
    let left =
        text::put(buf, 1, 0, width - 2, &crumbs(scene), style.add_modifier(Modifier::BOLD), scene.theme.signs.cut);
    let (sign, word, ink) = link_words(scene);
    let link = format!("{sign} {word} ");
    let (who, role) = scene.model.hello.as_ref().map_or_else(Default::default, |hello| {
        let role = format!("{:?}", hello.role).to_lowercase();
        (format!("{} {} {} ", format::clean(&hello.fleet), scene.theme.signs.dot, format::clean(&hello.agent)), role)
    });
    let role = if role.is_empty() { role } else { format!("{} {role} ", scene.theme.signs.dot) };
    let used = text::width(&who) + text::width(&link) + text::width(&role);
    let mut x = width.saturating_sub(used).max(left + 1);
    let link_style =
        if ink == Ink::Good { style } else { scene.ink(ink).patch(ground_of(style)).add_modifier(Modifier::BOLD) };
    for (piece, style) in [(&who, style.add_modifier(Modifier::BOLD)), (&link, link_style), (&role, style)] {
        x = text::put(buf, x, 0, width.saturating_sub(x), piece, style, scene.theme.signs.cut);
    }
}

fn ground_of(style: Style) -> Style {
    Style { fg: None, ..style }
}

/// Where one is.
fn crumbs(scene: Scene<'_>) -> String {
    let into = scene.theme.signs.into;
    match scene.model.nav.screen() {
        Screen::Overview => "Pilothouse".into(),
        Screen::Shards if scene.model.shards.table => format!("Pilothouse {into} Shards {into} table"),
        Screen::Shards => format!("Pilothouse {into} Shards {into} map"),
        Screen::Shard(id) => format!("Pilothouse {into} Shards {into} {id}"),
        Screen::Events => format!("Pilothouse {into} Events"),
        Screen::Logs => format!("Pilothouse {into} Logs"),
    }
}

/// Sign and words of the link, as the band shows them.
fn link_words(scene: Scene<'_>) -> (&'static str, String, Ink) {
    let signs = scene.theme.signs;
    let model = scene.model;
    match &model.link {
        Link::Connecting { .. } => (signs.waiting, "connecting".into(), Ink::Warn),
        Link::Down { .. } => (signs.failed, "down".into(), Ink::Bad),
        Link::Up { rtt, .. } => {
            let silent = model.overview.as_ref().map(|(_, received)| (freshness(*received, scene.now), *received));
            match silent {
                Some((Freshness::Stale, at)) => {
                    (signs.stale, format!("STALE {}", format::span(scene.now - at)), Ink::Bad)
                }
                Some((Freshness::Old, _)) => (signs.waiting, "silent".into(), Ink::Warn),
                _ => (signs.linked, rtt.map_or_else(|| "linked".into(), |ms| format!("linked {ms} ms")), Ink::Good),
            }
        }
    }
}

/// What the link does while it is not up.
fn banner(scene: Scene<'_>, buf: &mut Buffer) {
    let seconds = |at: u64| at.saturating_sub(scene.now).div_ceil(1_000);
    let address = &scene.model.setup.address;
    let (text, ink) = match &scene.model.link {
        Link::Connecting { attempt: 1, until } => {
            (format!("connecting to {address}, gives up in {} s", seconds(*until)), Ink::Warn)
        }
        Link::Connecting { attempt, until } => {
            (format!("connecting to {address}, attempt {attempt}, gives up in {} s", seconds(*until)), Ink::Warn)
        }
        Link::Up { .. } => (format!("connected to {address}, waiting for its hello"), Ink::Warn),
        Link::Down { reason, retry_at: Some(at) } => {
            (format!("{reason}; next attempt in {} s, c connects now", seconds(*at)), Ink::Bad)
        }
        Link::Down { reason, retry_at: None } => (format!("{reason}; c tries again"), Ink::Bad),
    };
    let sign = link_words(scene).0;
    scene.put(buf, 1, 1, buf.area.width - 2, &format!("{sign} {text}"), ink);
}

/// The last line: what is typed, else what was just said, else the keys.
fn footer(scene: Scene<'_>, buf: &mut Buffer) {
    let y = buf.area.height - 1;
    match (&scene.model.input, &scene.model.notice) {
        (Input::Prompt(prompt), _) => typed(scene, buf, y, prompt),
        (_, Some(notice)) => {
            let (sign, ink) =
                if notice.good { (scene.theme.signs.info, Ink::Good) } else { (scene.theme.signs.failed, Ink::Bad) };
            scene.put(buf, 1, y, buf.area.width - 2, &format!("{sign} {}", notice.text), ink);
        }
        (Input::Screen, None) => hints(scene, buf, y),
        _ => {}
    }
}

/// The keys that do something here, by rank; those that help and leave are there at any width.
fn hints(scene: Scene<'_>, buf: &mut Buffer, y: u16) {
    let mut entries: Vec<_> = ACTIONS.iter().filter(|entry| entry.hint > 0 && entry.available(scene.model)).collect();
    entries.sort_by_key(|entry| entry.hint);
    let need = |entry: &Entry| text::width(&key_name(entry.keys[0])) + text::width(hint_name(scene.model, entry)) + 3;
    let always = |entry: &Entry| matches!(entry.action, Action::Command | Action::Help | Action::Quit);
    let mut room = buf.area.width.saturating_sub(1);
    room = room.saturating_sub(entries.iter().filter(|entry| always(entry)).map(|entry| need(entry)).sum());
    let mut x = 1;
    for entry in entries {
        if !always(entry) {
            let Some(rest) = room.checked_sub(need(entry)) else { continue };
            room = rest;
        }
        x = scene.put(buf, x, y, buf.area.width, &key_name(entry.keys[0]), Ink::Key);
        x = scene.put(buf, x + 1, y, buf.area.width, hint_name(scene.model, entry), Ink::Dim) + 2;
    }
}

/// The word in the hint line: where a key changes between two things, the one it would bring.
fn hint_name(model: &Model, entry: &Entry) -> &'static str {
    match entry.action {
        Action::ToggleTable if model.shards.table => "map",
        Action::OnlyBad if model.shards.only_bad => "all",
        Action::Pause if model.events.stream.is_held() && model.nav.screen() == Screen::Events => "follow",
        Action::Pause if model.logs.stream.is_held() && model.nav.screen() == Screen::Logs => "follow",
        _ => entry.name,
    }
}

/// The line being typed, its ghost and, above it, what is wrong or what it found.
fn typed(scene: Scene<'_>, buf: &mut Buffer, y: u16, prompt: &Prompt) {
    let width = buf.area.width;
    let sign = if prompt.purpose == Purpose::Command { ":" } else { "/" };
    let start = scene.put(buf, 1, y, 2, sign, Ink::Key);
    // The end of a long line is what one types at.
    let room = usize::from(width.saturating_sub(start + 2));
    let skip = prompt.text[..prompt.cursor].chars().count().saturating_sub(room);
    let mut x = start;
    for (at, letter) in prompt.text.char_indices().skip(skip) {
        let wrong = prompt.error.as_ref().is_some_and(|error| (error.from..error.to).contains(&at));
        let mut style = scene.ink(if wrong { Ink::Bad } else { Ink::Text });
        if wrong {
            style = style.add_modifier(Modifier::UNDERLINED);
        }
        if at == prompt.cursor {
            style = style.add_modifier(Modifier::REVERSED);
        }
        x = text::put(buf, x, y, width.saturating_sub(x), letter.encode_utf8(&mut [0; 4]), style, "");
    }
    let lines = match prompt.purpose {
        Purpose::Command => update::completions(scene.model, &prompt.text),
        Purpose::Filter => Vec::new(),
    };
    let ghost = prompt.ghost(&lines).unwrap_or("");
    scene.put(buf, x, y, width.saturating_sub(x), ghost, Ink::Dim);
    if prompt.cursor == prompt.text.len()
        && let Some(cell) = buf.cell_mut((x, y))
    {
        cell.modifier.insert(Modifier::REVERSED);
    }
    remark(scene, buf, y, prompt);
}

fn remark(scene: Scene<'_>, buf: &mut Buffer, y: u16, prompt: &Prompt) {
    let found = || match prompt.purpose {
        Purpose::Filter => found(scene.model),
        Purpose::Command if prompt.waiting.is_some() => "waiting for the answer".into(),
        Purpose::Command => update::summary(&prompt.text).unwrap_or_default(),
    };
    let (text, ink) = match &prompt.error {
        Some(error) => (format!("{} {}", scene.theme.signs.failed, error.text), Ink::Bad),
        None => (found(), Ink::Dim),
    };
    if text.is_empty() {
        return;
    }
    let lines = text::wrap(&text, buf.area.width - 2);
    let count = u16::try_from(lines.len()).unwrap_or(1).min(4);
    let ground = scene.ink(Ink::Box);
    text::fill(buf, Rect::new(0, y - count, buf.area.width, count), ground);
    for (line, row) in lines.iter().zip(y - count..y) {
        text::put(buf, 1, row, buf.area.width - 2, line, ground.patch(scene.ink(ink)), scene.theme.signs.cut);
    }
}

fn found(model: &Model) -> String {
    if !model.is_listed() {
        return "waiting for the list".into();
    }
    let (passing, total) = (model.shards.order.len() as u64, model.fleet.total());
    format!("{} of {} match", format::count(passing), format::count(total.into()))
}
