//! Events and log lines as they come: the newest at the bottom, how many of how many are shown, one line whole.

use pilothouse_shared::stream::{LogLevel, LogLine, TailEvent};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::Scene;
use crate::format;
use crate::model::stream::Stream;
use crate::theme::Ink;
use crate::widget::{frame, text};

/// What a column tells of a line, and how.
struct Column<T> {
    title: &'static str,
    width: u16,
    right: bool,
    text: fn(&T) -> (String, Ink),
}

/// Columns of terminal from which on there is room for more of them.
const WIDE: u16 = 100;
/// Columns of terminal that a payload or a text takes at least.
const LEAST: u16 = 12;

const EVENTS: [Column<TailEvent>; 6] = [
    Column { title: "time", width: 8, right: false, text: |event| (format::clock(event.at), Ink::Dim) },
    Column { title: "shard", width: 6, right: true, text: |event| (event.shard.to_string(), Ink::Text) },
    Column { title: "type", width: 28, right: false, text: |event| (format::clean(&event.name), Ink::Title) },
    Column { title: "guild", width: 19, right: false, text: guild },
    Column { title: "size", width: 8, right: true, text: |event| (format::bytes(event.size.into()), Ink::Text) },
    Column { title: "seq", width: 13, right: true, text: |event| (format::count(event.seq), Ink::Dim) },
];

const LINES: [Column<LogLine>; 3] = [
    Column { title: "time", width: 8, right: false, text: |line| (format::clock(line.at), Ink::Dim) },
    Column { title: "level", width: 5, right: false, text: |line| (line.level.to_string(), ink(line.level)) },
    Column { title: "part of the agent", width: 28, right: false, text: |line| (part(&line.target), Ink::Dim) },
];

/// Every module is the agent's, mostly.
fn part(target: &str) -> String {
    format::clean(target.strip_prefix("pilothouse_agent::").unwrap_or(target))
}

fn guild(event: &TailEvent) -> (String, Ink) {
    event.guild.map_or_else(|| ("-".into(), Ink::Dim), |guild| (guild.to_string(), Ink::Text))
}

fn ink(level: LogLevel) -> Ink {
    match level {
        LogLevel::Error => Ink::Bad,
        LogLevel::Warn => Ink::Warn,
        LogLevel::Info => Ink::Good,
        LogLevel::Debug | LogLevel::Trace => Ink::Dim,
    }
}

pub(super) fn events(scene: Scene<'_>, buf: &mut Buffer, body: Rect) {
    let view = &scene.model.events;
    let what = view.wanted.to_string();
    heading(scene, buf, body, if what.is_empty() { "every event" } else { &what }, &view.stream);
    let columns = &EVENTS[..if body.width < WIDE { 5 } else { 6 }];
    let whole = |event: &TailEvent| event.payload.as_deref().unwrap_or("its payload was not asked for").to_owned();
    let title = if view.wanted.payloads { "payload" } else { "" };
    lines(scene, buf, body, columns, (title, data), &view.stream);
    if scene.model.line_rows() > 0 {
        line(scene, buf, body, "payload of the last", &view.stream.last().map(whole).unwrap_or_default());
    }
}

/// What the columns before it do not tell already.
fn data(event: &TailEvent) -> &str {
    let payload = event.payload.as_deref().unwrap_or_default();
    payload.split_once("\"d\":").map_or(payload, |(_, data)| data)
}

pub(super) fn logs(scene: Scene<'_>, buf: &mut Buffer, body: Rect) {
    let view = &scene.model.logs;
    let what = format!("{} and graver", view.level);
    heading(scene, buf, body, if view.level == LogLevel::Error { "error" } else { &what }, &view.stream);
    let columns = &LINES[..if body.width < WIDE { 2 } else { 3 }];
    lines(scene, buf, body, columns, ("text", |line| &line.text), &view.stream);
    if scene.model.line_rows() > 0 {
        let whole = |last: &LogLine| format!("{}: {}", last.target, last.text);
        line(scene, buf, body, "the last, whole", &view.stream.last().map(whole).unwrap_or_default());
    }
}

/// What is watched, how much of it is shown, and whether it moves.
fn heading<T>(scene: Scene<'_>, buf: &mut Buffer, body: Rect, what: &str, stream: &Stream<T>) {
    let dot = format!(" {} ", scene.theme.signs.dot);
    let (matched, shown) = (stream.matched, stream.shown);
    let sampled = match matched.checked_div(shown) {
        None | Some(1) if matched == shown => format!("all {} shown", format::count(shown)),
        None => format!("none of {} shown", format::count(matched)),
        Some(_) => {
            let tenths = matched.saturating_mul(10) / shown;
            let one_in = format!("1 in {}.{}", tenths / 10, tenths % 10);
            format!("{} of {} shown, {one_in}", format::count(shown), format::count(matched))
        }
    };
    let (state, ink) = match (stream.is_held(), stream.below()) {
        (false, _) => ("following".to_owned(), Ink::Good),
        (true, below) => (format!("held, {} new below", format::count(below as u64)), Ink::Warn),
    };
    let sampled_ink = if matched == shown { Ink::Dim } else { Ink::Warn };
    let pieces = [
        (what, scene.ink(Ink::Strong)),
        (&dot, scene.ink(Ink::Faint)),
        (&sampled, scene.ink(sampled_ink)),
        (&dot, scene.ink(Ink::Faint)),
        (&state, scene.ink(ink)),
    ];
    scene.pieces(buf, body.x + 1, body.y, body.width - 2, &pieces);
}

/// Columns of the lines, the last of which takes what is left over.
fn lines<T>(
    scene: Scene<'_>,
    buf: &mut Buffer,
    body: Rect,
    columns: &[Column<T>],
    (title, rest): (&str, fn(&T) -> &str),
    stream: &Stream<T>,
) {
    let right = body.right() - 1;
    let cell = |buf: &mut Buffer, x: u16, y: u16, column: &Column<T>, text: &str, ink: Ink| {
        if column.right {
            scene.put_right(buf, x + column.width, y, column.width, text, ink);
        } else {
            scene.put(buf, x, y, column.width, text, ink);
        }
        x + column.width + 1
    };
    let end = columns.iter().fold(body.x + 1, |x, column| cell(buf, x, body.y + 1, column, column.title, Ink::Title));
    // Less says nothing.
    let room = right.checked_sub(end).filter(|room| *room >= LEAST).unwrap_or(0);
    scene.put(buf, end, body.y + 1, room, title, Ink::Title);
    let rows = Rect { y: body.y + 2, height: u16::try_from(scene.model.stream_rows()).unwrap_or(0), ..body };
    if stream.last().is_none() {
        scene.put(buf, rows.x + 1, rows.y, rows.width - 2, "nothing came yet", Ink::Dim);
    }
    for (line, y) in stream.window(rows.height.into()).zip(rows.top()..rows.bottom()) {
        let end = columns.iter().fold(body.x + 1, |x, column| {
            let (text, ink) = (column.text)(line);
            cell(buf, x, y, column, &text, ink)
        });
        scene.put(buf, end, y, room, &format::clean(rest(line)), Ink::Text);
    }
    if scene.model.line_rows() > 0 {
        let last = stream.window(rows.height.into()).count();
        let y = rows.y + u16::try_from(last).unwrap_or(0).saturating_sub(1);
        scene.put(buf, rows.x, y, 1, scene.theme.signs.choice, Ink::Key);
    }
    if let Some(at) = scene.model.heard_at {
        scene.weather(buf, rows, at);
    }
}

/// One line in as many rows as it takes.
fn line(scene: Scene<'_>, buf: &mut Buffer, body: Rect, title: &str, whole: &str) {
    let height = scene.model.line_rows();
    let area = Rect { y: body.bottom() - height, height, ..body };
    let inner = frame::panel(buf, scene.theme, area, title, "");
    let letters: Vec<char> = format::clean(whole).chars().collect();
    let room = inner.width.saturating_sub(2);
    for (part, y) in letters.chunks(room.max(1).into()).zip(inner.top()..inner.bottom()) {
        let part: String = part.iter().collect();
        text::put(buf, inner.x + 1, y, room, &part, scene.ink(Ink::Text), scene.theme.signs.cut);
    }
}
