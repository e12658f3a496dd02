//! One shard in depth: why it has its state, rates, session, life, types.

use pilothouse_shared::snapshot::{ShardDetail, ShardRow};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::Scene;
use super::overview::{over_time, share, split};
use crate::format;
use crate::model::Freshness;
use crate::theme::Ink;
use crate::widget::{frame, text};

pub(super) fn draw(scene: Scene<'_>, buf: &mut Buffer, body: Rect, id: u32) {
    let Some((detail, received)) = &scene.model.detail.last else { return nothing(scene, buf, body, id) };
    let used = heading(scene, buf, body, detail, *received);
    let rest = Rect { y: body.y + used, height: body.height.saturating_sub(used), ..body };
    // The session's facts keep their rows; what is left over goes to the charts.
    let charts = rest.height.saturating_sub(18).clamp(rest.height / 3, rest.height / 2).max(4);
    let top = Rect { height: charts.min(rest.height), ..rest };
    let below = Rect { y: top.bottom(), height: rest.height - top.height, ..rest };
    self::charts(scene, buf, top);
    if below.width >= 110 {
        let narrow = below.width < 150;
        let (left, right) = split(below, if narrow { 40 } else { 48 });
        let (middle, right) = split(right, right.width - if narrow { 36 } else { 52 });
        session(scene, buf, left, detail);
        life(scene, buf, middle, detail);
        types(scene, buf, right, detail);
    } else {
        let (left, right) = split(below, 37);
        session(scene, buf, left, detail);
        let steps = (right.height * 3 / 5).max(3);
        life(scene, buf, Rect { height: steps.min(right.height), ..right }, detail);
        let types_height = right.height.saturating_sub(steps);
        types(scene, buf, Rect { y: right.y + steps, height: types_height, ..right }, detail);
    }
    scene.weather(buf, body, *received);
}

fn nothing(scene: Scene<'_>, buf: &mut Buffer, body: Rect, id: u32) {
    let total = scene.model.fleet.total();
    let text = if scene.model.fleet.map_whole && id >= total {
        format!("shard {id} does not exist: this bot has {}", format::shards(total.into()))
    } else {
        format!("waiting for news of shard {id}")
    };
    scene.put(buf, body.x + 1, body.y + 1, body.width - 2, &text, Ink::Dim);
}

/// State and why; returns the rows it took.
fn heading(scene: Scene<'_>, buf: &mut Buffer, body: Rect, detail: &ShardDetail, received: u64) -> u16 {
    let row = &detail.row;
    let now = scene.model.agent_now(scene.now);
    let (x, room) = (body.x + 1, body.width - 2);
    let style = scene.theme.state(row.state);
    let state = format!("{} shard {} {}", scene.theme.sign(row.state), row.id, row.state);
    let since =
        if row.since == 0 { String::new() } else { format!(" for {}", format::span(now.saturating_sub(row.since))) };
    let place = format!(" on {} worker {}", format::clean(&row.agent), row.worker);
    scene.pieces(
        buf,
        x,
        body.y,
        room,
        &[
            (&state, style.add_modifier(ratatui::style::Modifier::BOLD)),
            (&since, scene.ink(Ink::Text)),
            (&place, scene.ink(Ink::Dim)),
        ],
    );
    let age = scene.age(received);
    scene.put_right(buf, x + room, body.y, room / 3, &age, Ink::Bad);
    let why = text::wrap(&format::clean(&detail.explain), room.saturating_sub(4));
    let lines = why.len().min(2);
    for (line, y) in why.iter().take(lines).zip(body.y + 1..) {
        let at = scene.put(buf, x, y, room, if y == body.y + 1 { "why " } else { "    " }, Ink::Dim);
        scene.put(buf, at, y, room - 4, line, Ink::Text);
    }
    1 + u16::try_from(lines).unwrap_or(0)
}

fn charts(scene: Scene<'_>, buf: &mut Buffer, area: Rect) {
    let history = &scene.model.detail.history;
    let (left, right) = split(area, area.width / 2);
    over_time(scene, buf, left, ("events/s", |sample| Some(sample.rate)), format::short, history);
    over_time(
        scene,
        buf,
        right,
        ("heartbeat", |sample| sample.latency),
        |ms| format!("{} ms", format::short(ms)),
        history,
    );
}

/// Session, delivery and what the shard runs as.
fn session(scene: Scene<'_>, buf: &mut Buffer, area: Rect, detail: &ShardDetail) {
    let inner = frame::panel(buf, scene.theme, area, "session", "");
    let facts = facts(scene, detail);
    for ((name, value, ink), y) in facts.into_iter().zip(inner.top()..inner.bottom()) {
        scene.put(buf, inner.x + 1, y, 13, name, Ink::Dim);
        scene.put(buf, inner.x + 14, y, inner.width.saturating_sub(15), &value, ink);
    }
}

fn facts(scene: Scene<'_>, detail: &ShardDetail) -> Vec<(&'static str, String, Ink)> {
    let row = &detail.row;
    let now = scene.model.agent_now(scene.now);
    let ago = |at: Option<u64>| {
        at.map_or_else(|| "never".into(), |at| format!("{} ago", format::span(now.saturating_sub(at))))
    };
    let behind = row.seq.saturating_sub(row.confirmed);
    let lag = if row.lag_ms >= 1_000 { Ink::Warn } else { Ink::Text };
    let latency =
        row.latency_ms.map_or_else(|| "not measured".into(), |ms| format!("{ms} ms, {}", ago(row.latency_at)));
    let mut facts = vec![
        ("latency", latency, Ink::Text),
        ("last event", ago(row.last_dispatch_at), Ink::Text),
        ("lag", format!("{}, {} open", format::delay(row.lag_ms.into()), format::count(row.unconfirmed.into())), lag),
        (
            "session",
            row.session_since.map_or_else(|| "none".into(), |at| format::span(now.saturating_sub(at))),
            Ink::Text,
        ),
        ("sequence", format!("{} ({} unconfirmed)", format::count(row.seq), format::count(behind)), Ink::Text),
        ("guilds", guilds(row), if row.unavailable > 0 { Ink::Warn } else { Ink::Text }),
        ("resumed", times(row.resumes), Ink::Text),
        ("identified", times(row.identifies), Ink::Text),
        (
            "sends left",
            format!("{} of 120 this minute", row.sends_left),
            if row.sends_left < 20 { Ink::Warn } else { Ink::Text },
        ),
    ];
    facts.push(("last close", close(row, now), Ink::Text));
    facts.push((
        "resumes at",
        detail.resume_host.as_deref().map_or_else(|| "no session".into(), format::clean),
        Ink::Text,
    ));
    facts.push(("runs as", format!("v{}, generation {}", row.version, row.generation), Ink::Text));
    if let Some((overview, received)) = &scene.model.overview
        && crate::model::freshness(*received, scene.now) != Freshness::Stale
    {
        let generation = &overview.generation;
        facts.push(("compression", compression(row, &generation.compression), Ink::Text));
        facts.push(("intents", format!("0x{:x}", generation.intents), Ink::Text));
        let same = row.generation == generation.number && row.version == generation.version;
        let words = if same {
            "as configured".into()
        } else {
            format!("wanted: v{}, generation {}", generation.version, generation.number)
        };
        facts.push(("config", words, if same { Ink::Good } else { Ink::Warn }));
    }
    facts.push(("read", format!("{}, {} events", format::bytes(row.bytes_in), format::short(row.events)), Ink::Text));
    facts
}

fn guilds(row: &ShardRow) -> String {
    match row.unavailable {
        0 => format::count(row.guilds.into()),
        away => format!("{} ({} unavailable)", format::count(row.guilds.into()), format::count(away.into())),
    }
}

fn times(number: u32) -> String {
    if number == 1 { "once".into() } else { format!("{} times", format::count(number.into())) }
}

fn close(row: &ShardRow, now: u64) -> String {
    let Some(close) = &row.close else { return "never".into() };
    let code = close.code.map_or_else(|| "connection lost".into(), |code| code.to_string());
    format!("{code} {} ago: {}", format::span(now.saturating_sub(close.at)), format::clean(&close.reason))
}

fn compression(row: &ShardRow, name: &str) -> String {
    let name = format::clean(name);
    if row.bytes_in == 0 || row.bytes_raw <= row.bytes_in {
        return name;
    }
    let tenths = row.bytes_raw * 10 / row.bytes_in;
    format!("{name}, {}.{} to 1", tenths / 10, tenths % 10)
}

/// The last steps, newest at the bottom.
fn life(scene: Scene<'_>, buf: &mut Buffer, area: Rect, detail: &ShardDetail) {
    let inner = frame::panel(
        buf,
        scene.theme,
        area,
        "life",
        if scene.model.detail.scroll > 0 { "scrolled, End follows" } else { "UTC" },
    );
    let end = detail.life.len().saturating_sub(scene.model.detail.scroll.into());
    let first = end.saturating_sub(inner.height.into());
    if detail.life.is_empty() {
        scene.put(buf, inner.x + 1, inner.y, inner.width, "nothing happened yet", Ink::Dim);
    }
    for (event, y) in detail.life[first..end].iter().zip(inner.top()..inner.bottom()) {
        let at = scene.put(buf, inner.x + 1, y, 9, &format::clock(event.at), Ink::Dim) + 1;
        scene.put(buf, at, y, inner.right().saturating_sub(at), &format::clean(&event.text), Ink::Text);
    }
}

fn types(scene: Scene<'_>, buf: &mut Buffer, area: Rect, detail: &ShardDetail) {
    let inner = frame::panel(buf, scene.theme, area, "types", "since the start");
    let all: u64 = detail.types.iter().map(|(_, count)| count).sum();
    if all == 0 {
        scene.put(buf, inner.x + 1, inner.y, inner.width, "no event came yet", Ink::Dim);
    }
    for ((name, count), y) in detail.types.iter().zip(inner.top()..inner.bottom()) {
        share(scene, buf, inner, y, (&format::clean(name), *count, all));
    }
}
