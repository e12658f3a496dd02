//! The overview: totals, budget, rates, agents, sinks and what needs attention.

use pilothouse_shared::snapshot::{AgentRow, Overview, ShardState, SinkRow};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::Scene;
use super::map::seen;
use crate::format;
use crate::model::history::Sample;
use crate::theme::Ink;
use crate::widget::{bar, chart, frame, heat, text};

pub(super) fn draw(scene: Scene<'_>, buf: &mut Buffer, body: Rect) {
    let Some((overview, received)) = &scene.model.overview else { return nothing(scene, buf, body) };
    let rows = Rows::new(scene, overview, body);
    totals(scene, buf, rows.totals, overview);
    middle(scene, buf, rows.middle, overview);
    if rows.map.height > 0 {
        map(scene, buf, rows.map);
    }
    let half = body.width * 11 / 20;
    let (left, right) = split(rows.parts, half);
    agents(scene, buf, left, overview);
    sinks(scene, buf, right, overview);
    findings(scene, buf, rows.findings, overview);
    scene.weather(buf, body, *received);
}

/// How the rows of the screen are shared out.
struct Rows {
    totals: Rect,
    middle: Rect,
    map: Rect,
    parts: Rect,
    findings: Rect,
}

impl Rows {
    fn new(scene: Scene<'_>, overview: &Overview, body: Rect) -> Self {
        let totals = if overview.note.is_some() { 5 } else { 4 };
        let parts = overview.agents.len().max(overview.sinks.len()).clamp(1, usize::from(body.height / 5).max(2));
        let parts = u16::try_from(parts).expect("clamped") + 1;
        let rest = body.height.saturating_sub(totals + parts);
        let wanted = u16::try_from(overview.findings.len().max(1)).unwrap_or(u16::MAX).saturating_add(1);
        let findings = wanted.clamp(rest.min(4), (rest / 3).max(4));
        let map = map_height(scene, body.width, (rest - findings) / 2);
        let mut y = body.y;
        let mut take = |height: u16| {
            let area = Rect { y, height: height.min(body.bottom().saturating_sub(y)), ..body };
            y += area.height;
            area
        };
        Self {
            totals: take(totals),
            middle: take(rest.saturating_sub(findings + map)),
            map: take(map),
            parts: take(parts),
            findings: take(findings),
        }
    }
}

/// Rows for the map in small: what it needs, at most half of what is free.
fn map_height(scene: Scene<'_>, width: u16, most: u16) -> u16 {
    if !scene.model.overview_has_map() || most < 4 {
        return 0;
    }
    let lines = scene.model.overview_grid(width.saturating_sub(2), most - 1).lines();
    u16::try_from(lines).unwrap_or(most).saturating_add(1).min(most)
}

/// Two areas side by side with a blank column between them.
pub(super) fn split(area: Rect, left: u16) -> (Rect, Rect) {
    let left = left.min(area.width);
    let gap = u16::from(left < area.width);
    let first = Rect { width: left, ..area };
    (first, Rect { x: area.x + left + gap, width: area.width - left - gap, ..area })
}

fn nothing(scene: Scene<'_>, buf: &mut Buffer, body: Rect) {
    let address = format!("nothing was received from {} yet", scene.model.setup.address);
    let lines = [
        (address.as_str(), Ink::Strong),
        ("", Ink::Dim),
        ("an agent is started with: pilothouse-agent run", Ink::Dim),
        ("another one is reached with: pilothouse --agent wss://host:port", Ink::Dim),
        ("its token: PILOTHOUSE_CONSOLE_TOKEN, else console.token in its data folder", Ink::Dim),
    ];
    let top = body.y + (body.height / 2).saturating_sub(3);
    for ((line, ink), y) in lines.iter().zip(top..body.bottom()) {
        let x = body.x + body.width.saturating_sub(text::width(line)) / 2;
        scene.put(buf, x.max(1), y, body.width - 2, line, *ink);
    }
}

/// Writes `name value` pairs with gaps between them.
pub(super) fn pairs(
    scene: Scene<'_>,
    buf: &mut Buffer,
    (x, y, room): (u16, u16, u16),
    pairs: &[(&str, String, Ink)],
) -> u16 {
    let mut at = x;
    for (name, value, ink) in pairs {
        let left = (x + room).saturating_sub(at);
        let need = text::width(name) + 1 + text::width(value);
        if need > left {
            break;
        }
        at = scene.put(buf, at, y, left, name, Ink::Dim);
        at = scene.put(buf, at + 1, y, left, value, *ink) + 3;
    }
    at
}

fn totals(scene: Scene<'_>, buf: &mut Buffer, area: Rect, overview: &Overview) {
    let (x, room) = (area.x + 1, area.width.saturating_sub(2));
    states(scene, buf, (x, area.y, room), overview);
    rates(scene, buf, (x, area.y + 1, room), overview);
    identify(scene, buf, (x, area.y + 2, room), overview);
    generation(scene, buf, (x, area.y + 3, room), overview);
    if let Some(note) = &overview.note
        && area.height > 4
    {
        scene.put(buf, x, area.y + 4, room, &format::clean(note), Ink::Warn);
    }
}

fn states(scene: Scene<'_>, buf: &mut Buffer, (x, y, room): (u16, u16, u16), overview: &Overview) {
    let total = overview.generation.total;
    let active = scene.model.active(overview);
    let ink = if active == total { Ink::Good } else { Ink::Strong };
    let counts = format!("{} of {} active", format::count(active.into()), format::count(total.into()));
    let mut at = pairs(scene, buf, (x, y, room), &[("Shards  ", counts, ink)]);
    for (state, count) in overview.states.iter().filter(|(state, _)| *state != ShardState::Active) {
        let text = format!("{} {} {state}", scene.theme.sign(*state), format::count((*count).into()));
        at = text::put(buf, at, y, (x + room).saturating_sub(at), &text, scene.theme.state(*state), "") + 3;
    }
    let whole = overview.reporting == total;
    let told = format!("{} of {} reporting", format::count(overview.reporting.into()), format::shards(total.into()));
    let left = (x + room).saturating_sub(at);
    if text::width(&told) <= left {
        scene.put_right(buf, x + room, y, left, &told, if whole { Ink::Dim } else { Ink::Warn });
    }
}

fn rates(scene: Scene<'_>, buf: &mut Buffer, at: (u16, u16, u16), overview: &Overview) {
    let per_second = |rate: u32| format!("{}/s", format::short(rate.into()));
    let lost = if overview.lost == 0 { Ink::Good } else { Ink::Bad };
    let lag = if overview.lag_ms < 1_000 { Ink::Text } else { Ink::Warn };
    let away = match overview.unavailable {
        0 => String::new(),
        away => format!(" ({} unavailable)", format::count(away)),
    };
    pairs(
        scene,
        buf,
        at,
        &[
            ("Events   in", per_second(overview.in_per_s), Ink::Strong),
            ("out", per_second(overview.out_per_s), Ink::Strong),
            ("lost", format::count(overview.lost), lost),
            ("p50", format::latency(overview.p50_us.into()), Ink::Text),
            ("p99", format::latency(overview.p99_us.into()), Ink::Text),
            ("lag", format::delay(overview.lag_ms.into()), lag),
            ("guilds", format!("{}{away}", format::count(overview.guilds)), Ink::Text),
            ("received", format::short(overview.received), Ink::Text),
            ("delivered", format::short(overview.delivered), Ink::Text),
        ],
    );
}

fn identify(scene: Scene<'_>, buf: &mut Buffer, (x, y, room): (u16, u16, u16), overview: &Overview) {
    let budget = &overview.identify;
    let now = scene.model.agent_now(scene.now);
    let low = budget.remaining <= budget.reserve;
    let ink = if low { Ink::Bad } else { Ink::Good };
    let at = scene.put(buf, x, y, room, "Identify ", Ink::Dim);
    let share = (budget.remaining.into(), budget.total.into());
    let at = bar::gauge(buf, scene.theme, at, y, 12, share, scene.ink(ink)) + 1;
    let left = format!("{} of {} left", format::count(budget.remaining.into()), format::count(budget.total.into()));
    let at = scene.put(buf, at, y, room, &left, if low { Ink::Bad } else { Ink::Text }) + 2;
    let right = x + room;
    if let Some(held) = &budget.held {
        scene.put(buf, at, y, right.saturating_sub(at), &format!("held: {}", format::clean(held)), Ink::Bad);
        return;
    }
    let done = budget.done_at.filter(|_| budget.waiting > 0);
    let queue = match done {
        Some(done) => format!("{} waiting, done in {}", budget.waiting, format::span(done.saturating_sub(now))),
        None => format!("{} waiting", budget.waiting),
    };
    let queue_ink = if budget.waiting > 0 { Ink::Warn } else { Ink::Text };
    pairs(
        scene,
        buf,
        (at, y, right.saturating_sub(at)),
        &[
            ("queue", queue, queue_ink),
            ("whole in", format::span(budget.resets_at.saturating_sub(now)), Ink::Text),
            ("at once", budget.max_concurrency.to_string(), Ink::Text),
            ("reserve", budget.reserve.to_string(), Ink::Text),
        ],
    );
}

fn generation(scene: Scene<'_>, buf: &mut Buffer, at: (u16, u16, u16), overview: &Overview) {
    let generation = &overview.generation;
    pairs(
        scene,
        buf,
        at,
        &[
            ("Runs as  generation", generation.number.to_string(), Ink::Text),
            ("API", format!("v{}", generation.version), Ink::Text),
            ("compression", compression(&generation.compression), Ink::Text),
            ("intents", format!("{} (0x{:x})", generation.intents.count_ones(), generation.intents), Ink::Text),
        ],
    );
}

/// With what it costs, where that is much.
fn compression(name: &str) -> String {
    match name {
        "zstd" => "zstd (250 to 750 KiB a shard)".to_owned(),
        name => format::clean(name),
    }
}

/// Charts and the busiest types.
fn middle(scene: Scene<'_>, buf: &mut Buffer, area: Rect, overview: &Overview) {
    let types_width = if area.width < 100 { 33 } else { 44 };
    let (charts, types) = split(area, area.width.saturating_sub(types_width + 1));
    if charts.width >= 100 {
        let (rate, latency) = split(charts, charts.width / 2);
        rate_chart(scene, buf, rate);
        latency_chart(scene, buf, latency);
    } else {
        rate_chart(scene, buf, charts);
    }
    self::types(scene, buf, types, overview);
}

fn rate_chart(scene: Scene<'_>, buf: &mut Buffer, area: Rect) {
    over_time(scene, buf, area, ("events/s", |sample| Some(sample.rate)), format::short, &scene.model.history);
}

fn latency_chart(scene: Scene<'_>, buf: &mut Buffer, area: Rect) {
    let title = ("latency p99", (|sample| sample.latency) as fn(&Sample) -> Option<u32>);
    over_time(scene, buf, area, title, format::latency, &scene.model.history);
}

/// A chart of the last minutes that fills its panel.
pub(super) fn over_time(
    scene: Scene<'_>,
    buf: &mut Buffer,
    area: Rect,
    (title, of): (&str, fn(&Sample) -> Option<u32>),
    label: fn(u64) -> String,
    history: &crate::model::history::History,
) {
    let columns = u64::from(area.width.saturating_sub(chart::AXIS + 1)).max(1);
    let step = 300_u64.div_ceil(columns);
    let until = history.last().map_or(scene.now / 1_000, |last| last.second.max(scene.now / 1_000 - 1));
    let note = format!("last {}", format::span(columns * step / 60 * 60_000));
    let inner = frame::panel(buf, scene.theme, area, title, &note);
    let values = history.columns(until, usize::try_from(columns).unwrap_or(1), step, of);
    chart::chart(buf, scene.theme, Rect { width: inner.width.saturating_sub(1), ..inner }, &values, label);
}

fn types(scene: Scene<'_>, buf: &mut Buffer, area: Rect, overview: &Overview) {
    let inner = frame::panel(buf, scene.theme, area, "types", "events/s");
    let all: u64 = overview.types.iter().map(|(_, rate)| u64::from(*rate)).sum();
    for ((name, rate), y) in overview.types.iter().zip(inner.top()..inner.bottom()) {
        share(scene, buf, inner, y, (&format::clean(name), (*rate).into(), all));
    }
}

/// Name, figure and share of a whole, with a bar where there is room.
pub(super) fn share(scene: Scene<'_>, buf: &mut Buffer, area: Rect, y: u16, (name, figure, all): (&str, u64, u64)) {
    let right = area.right().saturating_sub(1);
    let bar = if area.width >= 40 { 8 } else { 0 };
    let figures = 14 + bar;
    scene.put(buf, area.x + 1, y, area.width.saturating_sub(figures + 3), name, Ink::Text);
    scene.put_right(buf, right - bar - 6, y, 8, &format::short(figure), Ink::Strong);
    scene.put_right(buf, right - bar, y, 6, &format::percent(figure, all), Ink::Dim);
    if bar > 0 {
        bar::gauge(buf, scene.theme, right - bar + 1, y, bar - 1, (figure, all), scene.ink(Ink::Chart));
    }
}

/// The map in small, where there is room for it.
fn map(scene: Scene<'_>, buf: &mut Buffer, area: Rect) {
    let grid = scene.model.overview_grid(area.width.saturating_sub(2), area.height.saturating_sub(1));
    let note = if grid.per > 1 { format!("{} shards a cell, worst shown", grid.per) } else { "2 opens".into() };
    let inner = frame::panel(buf, scene.theme, area, "shards", &note);
    let inner = Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner };
    heat::heat(buf, scene.theme, inner, &grid, None, |id| seen(scene.model.fleet.state(id)));
}

fn agents(scene: Scene<'_>, buf: &mut Buffer, area: Rect, overview: &Overview) {
    let inner = frame::panel(buf, scene.theme, area, "agents", "");
    for (agent, y) in overview.agents.iter().zip(inner.top()..inner.bottom()) {
        self::agent(scene, buf, inner, y, agent);
    }
}

fn agent(scene: Scene<'_>, buf: &mut Buffer, area: Rect, y: u16, agent: &AgentRow) {
    let state = if agent.active == agent.shards { ShardState::Active } else { ShardState::Resuming };
    let shards = format!("{}/{}", format::count(agent.active.into()), format::count(agent.shards.into()));
    let memory = agent.resident.saturating_sub(agent.base).checked_div(agent.shards.into());
    let memory = memory.filter(|_| agent.base > 0).map_or_else(|| "-".to_owned(), format::bytes);
    let at = text::put(buf, area.x + 1, y, 2, scene.theme.sign(state), scene.theme.state(state), "") + 1;
    scene.put(buf, at, y, 10, &format::clean(&agent.name), Ink::Strong);
    let room = area.width.saturating_sub(14);
    pairs(
        scene,
        buf,
        (at + 11, y, room),
        &[
            ("active", shards, Ink::Text),
            ("cpu", format::percent(agent.cpu_permille.into(), 1_000), Ink::Text),
            ("a shard", memory, Ink::Text),
            ("in", format!("{}/s", format::short(agent.in_per_s.into())), Ink::Text),
            ("up", format::span(scene.model.agent_now(scene.now).saturating_sub(agent.started_at)), Ink::Text),
            ("memory", format::bytes(agent.resident), Ink::Text),
            ("workers", agent.workers.to_string(), Ink::Text),
            ("version", format::clean(&agent.version), Ink::Text),
        ],
    );
}

fn sinks(scene: Scene<'_>, buf: &mut Buffer, area: Rect, overview: &Overview) {
    let inner = frame::panel(buf, scene.theme, area, "sinks", "");
    if overview.sinks.is_empty() {
        scene.put(buf, inner.x + 1, inner.y, inner.width, "none: what is received counts as confirmed", Ink::Warn);
    }
    for (sink, y) in overview.sinks.iter().zip(inner.top()..inner.bottom()) {
        self::sink(scene, buf, inner, y, sink);
    }
}

fn sink(scene: Scene<'_>, buf: &mut Buffer, area: Rect, y: u16, sink: &SinkRow) {
    let (sign, ink) =
        if sink.healthy { (scene.theme.signs.linked, Ink::Good) } else { (scene.theme.signs.warning, Ink::Warn) };
    let at = scene.put(buf, area.x + 1, y, 2, sign, ink) + 1;
    let name = if sink.name == sink.kind { sink.name.clone() } else { format!("{} {}", sink.name, sink.kind) };
    let at = scene.put(buf, at, y, 14, &format::clean(&name), Ink::Strong) + 1;
    let room = area.right().saturating_sub(at);
    let at = scene.put(buf, at, y, room, &format::clean(&sink.state), ink) + 2;
    let dead = if sink.letters == 0 { Ink::Dim } else { Ink::Bad };
    let spool = if sink.spooled == 0 { Ink::Dim } else { Ink::Warn };
    pairs(
        scene,
        buf,
        (at, y, area.right().saturating_sub(at)),
        &[
            ("queue", format::count(sink.queued.into()), Ink::Text),
            ("out", format!("{}/s", format::short(sink.out_per_s.into())), Ink::Text),
            ("spool", format::short(sink.spooled), spool),
            ("dead", format::count(sink.letters), dead),
            ("retries", format::count(sink.retries), Ink::Text),
            ("delivered", format::short(sink.delivered), Ink::Text),
        ],
    );
}

fn findings(scene: Scene<'_>, buf: &mut Buffer, area: Rect, overview: &Overview) {
    let count = overview.findings.len();
    let note = if count > 0 { format!("{count}, worst first") } else { String::new() };
    let inner = frame::panel(buf, scene.theme, area, "findings", &note);
    if count == 0 {
        scene.put(buf, inner.x + 1, inner.y, inner.width, "nothing needs attention", Ink::Good);
        return;
    }
    let height = usize::from(inner.height).max(1);
    let first = (scene.model.finding + 1).saturating_sub(height);
    for (index, y) in (first..count).zip(inner.top()..inner.bottom()) {
        finding(scene, buf, Rect { y, height: 1, ..inner }, overview, index);
    }
}

fn finding(scene: Scene<'_>, buf: &mut Buffer, row: Rect, overview: &Overview, index: usize) {
    let finding = &overview.findings[index];
    let chosen = index == scene.model.finding;
    if chosen {
        text::fill(buf, row, scene.ink(Ink::Chosen));
    }
    let ground = if chosen { Style { fg: None, ..scene.ink(Ink::Chosen) } } else { Style::new() };
    let (sign, word, style) = scene.theme.severity(finding.severity);
    let room = row.width.saturating_sub(2);
    let hint = finding
        .hint
        .as_ref()
        .map_or_else(String::new, |hint| format!("  {} {}", scene.theme.signs.into, format::clean(hint)));
    scene.pieces(
        buf,
        row.x + 1,
        row.y,
        room,
        &[
            (&format!("{sign} {word:<8} "), style.patch(ground)),
            (&format::clean(&finding.text), scene.ink(Ink::Text).patch(ground)),
            (&hint, scene.ink(Ink::Dim).patch(ground)),
        ],
    );
}
