//! What keys and mouse do, by what has the keyboard. PURE.

use pilothouse_shared::filter::Filter;
use pilothouse_shared::page::write_order;
use pilothouse_shared::stream::LogLevel;

use super::{line, notify};
use crate::actions::{self, Action, Entry, Risk};
use crate::message::{Effect, Key, Mouse};
use crate::model::columns::{COLUMNS, fitting};
use crate::model::dialog::{Consent, Dialog};
use crate::model::nav::Screen;
use crate::model::prompt::{Prompt, Purpose};
use crate::model::stream::Stream;
use crate::model::{Input, Link, Model};

pub(super) fn key(model: &mut Model, key: Key, now: u64) -> Vec<Effect> {
    if key == Key::Ctrl('c') {
        return vec![Effect::Quit];
    }
    match std::mem::take(&mut model.input) {
        Input::Screen => on_screen(model, key, now),
        Input::Prompt(prompt) => match prompt.purpose {
            Purpose::Command => on_command(model, prompt, key, now),
            Purpose::Filter => on_filter(model, prompt, key),
        },
        Input::Dialog(dialog) => on_dialog(model, dialog, key, now),
        Input::Help(top) => {
            model.input = scrolled(key, top).map_or(Input::Screen, Input::Help);
            quit_key(key)
        }
        Input::Answer(text, top) => {
            model.input = scrolled(key, top).map_or(Input::Screen, |top| Input::Answer(text, top));
            quit_key(key)
        }
    }
}

pub(super) fn paste(model: &mut Model, text: &str) -> Vec<Effect> {
    if let Input::Prompt(prompt) = &mut model.input {
        prompt.insert(text);
        let mut prompt = prompt.clone();
        if prompt.purpose == Purpose::Filter {
            filter(model, &mut prompt);
        }
        model.input = Input::Prompt(prompt);
    }
    Vec::new()
}

pub(super) fn mouse(model: &mut Model, mouse: Mouse, now: u64) -> Vec<Effect> {
    let wheel = |action| actions::ACTIONS.iter().find(|entry| entry.action == action);
    match (&model.input, mouse) {
        (Input::Help(_) | Input::Answer(..), Mouse::WheelUp) => key(model, Key::Up, now),
        (Input::Help(_) | Input::Answer(..), Mouse::WheelDown) => key(model, Key::Down, now),
        (Input::Screen, Mouse::WheelUp) => wheel(Action::MoveUp).map_or_else(Vec::new, |entry| act(model, entry, now)),
        (Input::Screen, Mouse::WheelDown) => {
            wheel(Action::MoveDown).map_or_else(Vec::new, |entry| act(model, entry, now))
        }
        (Input::Screen, Mouse::Press(column, row)) => press(model, column, row),
        _ => Vec::new(),
    }
}

/// Does what an entry of the action table says.
pub(super) fn act(model: &mut Model, entry: &Entry, now: u64) -> Vec<Effect> {
    if entry.risk == Risk::Changes {
        return line::ask_restart(model, now);
    }
    match entry.action {
        Action::Quit => return vec![Effect::Quit],
        Action::Suspend => return vec![Effect::Suspend],
        Action::Redraw => return vec![Effect::Redraw],
        Action::Reconnect if matches!(model.link, Link::Down { .. }) => return vec![Effect::Reconnect],
        Action::Reconnect => notify(model, "the link is not down", true, now),
        Action::Help => model.input = Input::Help(0),
        Action::Overview => model.nav.go(Screen::Overview),
        Action::Shards => model.nav.go(Screen::Shards),
        Action::Events => model.nav.go(Screen::Events),
        Action::Logs => model.nav.go(Screen::Logs),
        Action::Payloads => payloads(model, now),
        Action::MoreLogs => level(model, 1),
        Action::LessLogs => level(model, -1),
        Action::Pause => match model.nav.screen() {
            Screen::Logs => model.logs.stream.toggle(),
            _ => model.events.stream.toggle(),
        },
        Action::Up => up(model),
        Action::Back => model.nav.back(),
        Action::Forward => model.nav.forward(),
        Action::Command => model.input = Input::Prompt(Prompt::new(Purpose::Command, "")),
        Action::Filter => model.input = Input::Prompt(Prompt::new(Purpose::Filter, &model.shards.filter)),
        Action::Theme => {
            model.look = model.look.next();
            notify(model, format!("theme: {}", model.look.name()), true, now);
        }
        Action::Open => open(model),
        Action::NextBad => to_bad(model, false, now),
        Action::PreviousBad => to_bad(model, true, now),
        action => on_shards(model, action),
    }
    Vec::new()
}

fn on_screen(model: &mut Model, key: Key, now: u64) -> Vec<Effect> {
    let Some(entry) = actions::by_key(key, model) else { return Vec::new() };
    act(model, entry, now)
}

fn on_shards(model: &mut Model, action: Action) {
    let view = &mut model.shards;
    match action {
        Action::ToggleTable => view.table = !view.table,
        Action::OnlyBad => view.only_bad = !view.only_bad,
        Action::ZoomIn => view.zoom = view.zoom.saturating_add(1),
        Action::ZoomOut => view.zoom = view.zoom.saturating_sub(1),
        Action::SortNext => view.sort = (view.sort + 1) % COLUMNS.len(),
        Action::SortPrevious => view.sort = (view.sort + COLUMNS.len() - 1) % COLUMNS.len(),
        Action::SortReverse => view.descending = !view.descending,
        movement => return move_by(model, movement),
    }
    model.shards.zoom = model.shards.zoom.min(model.grid().deepest);
    model.follow_cursor();
}

/// Payloads hold what people write: they are shown when asked for, and where the role allows it.
fn payloads(model: &mut Model, now: u64) {
    if model.may_change() {
        model.events.wanted.payloads = !model.events.wanted.payloads;
    } else {
        notify(model, "payloads need the role operator", false, now);
    }
}

fn level(model: &mut Model, step: isize) {
    let at = (model.logs.level as usize).saturating_add_signed(step).min(LogLevel::ALL.len() - 1);
    if LogLevel::ALL[at] != model.logs.level {
        line::logs(model, LogLevel::ALL[at]);
    }
}

fn move_by(model: &mut Model, action: Action) {
    let page = model.stream_rows();
    match model.nav.screen() {
        Screen::Overview => move_finding(model, action),
        Screen::Shards if model.shards.table => move_row(model, action),
        Screen::Shards => move_cell(model, action),
        Screen::Shard(id) => move_shard(model, id, action),
        Screen::Events => scroll(&mut model.events.stream, page, action),
        Screen::Logs => scroll(&mut model.logs.stream, page, action),
    }
}

fn scroll<T>(stream: &mut Stream<T>, page: usize, action: Action) {
    match action {
        Action::MoveUp => stream.older(1),
        Action::MoveDown => stream.newer(1),
        Action::PageUp => stream.older(page),
        Action::PageDown => stream.newer(page),
        Action::First => stream.older(usize::MAX),
        Action::Last => stream.newer(usize::MAX),
        _ => {}
    }
}

fn move_finding(model: &mut Model, action: Action) {
    let count = model.overview.as_ref().map_or(0, |(overview, _)| overview.findings.len());
    model.finding = moved(model.finding, count, 5, action);
}

fn move_row(model: &mut Model, action: Action) {
    let row = moved(model.cursor_row(), model.shards.order.len(), model.table_rows(), action);
    if let Some(&id) = model.shards.order.get(row) {
        model.shards.cursor = id;
    }
    model.follow_cursor();
}

/// The index that a movement leads to in a list of `count`.
fn moved(index: usize, count: usize, page: usize, action: Action) -> usize {
    let wanted = match action {
        Action::MoveUp => index.saturating_sub(1),
        Action::MoveDown => index + 1,
        Action::PageUp => index.saturating_sub(page),
        Action::PageDown => index + page,
        Action::First => 0,
        Action::Last => count,
        _ => index,
    };
    wanted.min(count.saturating_sub(1))
}

fn move_cell(model: &mut Model, action: Action) {
    let grid = model.grid();
    let page = i64::from(model.map_area().height) * i64::from(grid.rows_a_line());
    let cursor = model.shards.cursor;
    model.shards.cursor = match action {
        Action::MoveLeft => grid.step(cursor, -1, 0),
        Action::MoveRight => grid.step(cursor, 1, 0),
        Action::MoveUp => grid.step(cursor, 0, -1),
        Action::MoveDown => grid.step(cursor, 0, 1),
        Action::PageUp => grid.step(cursor, 0, -page),
        Action::PageDown => grid.step(cursor, 0, page),
        Action::First => 0,
        Action::Last => grid.total.saturating_sub(1),
        _ => cursor,
    };
}

fn move_shard(model: &mut Model, id: u32, action: Action) {
    let total = model.fleet.total();
    let scroll = model.detail.scroll;
    match action {
        Action::MoveLeft => model.nav.replace(Screen::Shard(id.saturating_sub(1))),
        Action::MoveRight if id + 1 < total => model.nav.replace(Screen::Shard(id + 1)),
        Action::MoveUp => model.detail.scroll = scroll.saturating_add(1),
        Action::MoveDown => model.detail.scroll = scroll.saturating_sub(1),
        Action::PageUp => model.detail.scroll = scroll.saturating_add(10),
        Action::PageDown => model.detail.scroll = scroll.saturating_sub(10),
        Action::First => model.detail.scroll = u16::MAX,
        Action::Last => model.detail.scroll = 0,
        _ => {}
    }
    let most = model.detail.last.as_ref().map_or(0, |(detail, _)| detail.life.len().saturating_sub(1));
    model.detail.scroll = model.detail.scroll.min(u16::try_from(most).unwrap_or(u16::MAX));
}

fn up(model: &mut Model) {
    let filtered = !model.shards.filter.is_empty() || model.shards.only_bad;
    if model.nav.screen() == Screen::Shards && filtered {
        set_filter(model, "");
        model.shards.only_bad = false;
    } else {
        model.nav.up();
    }
}

/// Opens the chosen shard, or the shards of the chosen finding.
fn open(model: &mut Model) {
    if model.nav.screen() == Screen::Shards {
        return open_shard(model);
    }
    let Some((overview, _)) = &model.overview else { return };
    let Some(finding) = overview.findings.get(model.finding) else { return };
    match finding.shards.as_slice() {
        [] => model.nav.go(Screen::Shards),
        [id] => model.nav.go(Screen::Shard(*id)),
        several => {
            set_filter(model, &write_order(several));
            model.shards.table = true;
            model.nav.go(Screen::Shards);
        }
    }
}

fn open_shard(model: &mut Model) {
    let known = model.shards.cursor < model.fleet.total();
    let listed = !model.shards.table || model.shards.order.contains(&model.shards.cursor);
    if known && listed {
        model.nav.go(Screen::Shard(model.shards.cursor));
    }
}

fn to_bad(model: &mut Model, back: bool, now: u64) {
    let Some(id) = model.fleet.next_bad(model.shards.cursor, back) else {
        let all = model.fleet.total();
        let told = model.fleet.reporting();
        return notify(model, format!("no shard is ill: {told} of {all} told, all active"), true, now);
    };
    model.shards.cursor = id;
    match model.nav.screen() {
        Screen::Shard(_) => model.nav.replace(Screen::Shard(id)),
        _ => model.follow_cursor(),
    }
}

/// Puts a filter in force that is one.
fn set_filter(model: &mut Model, text: &str) {
    if Filter::parse(text).is_ok() {
        text.clone_into(&mut model.shards.filter);
    }
}

fn on_command(model: &mut Model, mut prompt: Prompt, key: Key, now: u64) -> Vec<Effect> {
    match key {
        Key::Esc => return Vec::new(),
        Key::Backspace if prompt.text.is_empty() => return Vec::new(),
        Key::Enter => {
            let line = prompt.text.clone();
            model.input = Input::Prompt(prompt);
            return line::run(model, &line, now);
        }
        Key::Tab => complete(model, &mut prompt),
        Key::Right | Key::End if prompt.cursor == prompt.text.len() => complete(model, &mut prompt),
        Key::Up => recall(&model.past, &mut prompt, 1),
        Key::Down => recall(&model.past, &mut prompt, -1),
        key => {
            if prompt.edit(key) {
                prompt.error = None;
                prompt.waiting = None;
            }
        }
    }
    model.input = Input::Prompt(prompt);
    Vec::new()
}

fn complete(model: &Model, prompt: &mut Prompt) {
    let lines = line::completions(model, &prompt.text);
    if let Some(rest) = prompt.ghost(&lines) {
        // A term such as `agent=` goes on.
        let end = if rest.ends_with(['=', '>']) { "" } else { " " };
        let whole = format!("{}{rest}{end}", prompt.text);
        prompt.set(&whole);
    }
}

fn recall(past: &[String], prompt: &mut Prompt, step: isize) {
    if prompt.recalled == 0 {
        prompt.before = prompt.text.clone();
    }
    let wanted = prompt.recalled.saturating_add_signed(step).min(past.len());
    let text = match wanted {
        0 => prompt.before.clone(),
        back => past[past.len() - back].clone(),
    };
    prompt.set(&text);
    prompt.recalled = wanted;
}

fn on_filter(model: &mut Model, mut prompt: Prompt, key: Key) -> Vec<Effect> {
    match key {
        Key::Esc => {
            set_filter(model, &prompt.before.clone());
            return Vec::new();
        }
        Key::Enter if prompt.error.is_none() => return Vec::new(),
        Key::Enter => {}
        Key::Up | Key::Down => on_shards(model, if key == Key::Up { Action::MoveUp } else { Action::MoveDown }),
        key => {
            if prompt.edit(key) {
                filter(model, &mut prompt);
            }
        }
    }
    model.input = Input::Prompt(prompt);
    Vec::new()
}

/// Puts what was typed in force; where it is wrong, what was in force stays.
fn filter(model: &mut Model, prompt: &mut Prompt) {
    prompt.error = Filter::parse(&prompt.text).err();
    if prompt.error.is_none() {
        set_filter(model, &prompt.text);
    }
}

fn on_dialog(model: &mut Model, mut dialog: Dialog, key: Key, now: u64) -> Vec<Effect> {
    let button = dialog.consent == Consent::Button;
    match key {
        Key::Esc => return Vec::new(),
        Key::Char('q') if !matches!(dialog.consent, Consent::Fleet(_)) => return vec![Effect::Quit],
        Key::Enter if dialog.agreed() => return line::apply(model, dialog, now),
        Key::Enter if button => return Vec::new(),
        Key::Tab | Key::BackTab | Key::Left | Key::Right if button => dialog.on_ok = !dialog.on_ok,
        Key::Char(letter) => dialog.type_in(letter),
        Key::Backspace => drop(dialog.typed.pop()),
        _ => {}
    }
    model.input = Input::Dialog(dialog);
    Vec::new()
}

/// Where a text that is read stands after a key; none when the key ends the reading.
fn scrolled(key: Key, top: u16) -> Option<u16> {
    match key {
        Key::Up | Key::Char('k') => Some(top.saturating_sub(1)),
        Key::Down | Key::Char('j') => Some(top.saturating_add(1)),
        Key::PageUp => Some(top.saturating_sub(10)),
        Key::PageDown | Key::Char(' ') => Some(top.saturating_add(10)),
        Key::Home => Some(0),
        _ => None,
    }
}

fn quit_key(key: Key) -> Vec<Effect> {
    if key == Key::Char('q') { vec![Effect::Quit] } else { Vec::new() }
}

fn press(model: &mut Model, column: u16, row: u16) -> Vec<Effect> {
    if model.nav.screen() != Screen::Shards {
        return Vec::new();
    }
    let before = model.shards.cursor;
    let hit = if model.shards.table { press_table(model, column, row) } else { press_map(model, column, row) };
    if hit && before == model.shards.cursor {
        open_shard(model);
    }
    Vec::new()
}

fn press_map(model: &mut Model, column: u16, row: u16) -> bool {
    let (area, grid) = (model.map_area(), model.grid());
    let left = area.x + grid.gutter;
    if column < left || row < area.y || row >= area.y + area.height {
        return false;
    }
    let line = grid.top(model.shards.cursor, area.height) + u32::from(row - area.y);
    let shards = grid.shards(u32::from((column - left) / grid.width), line * grid.rows_a_line());
    if !shards.is_empty() && !shards.contains(&model.shards.cursor) {
        model.shards.cursor = shards.start;
    }
    !shards.is_empty()
}

fn press_table(model: &mut Model, column: u16, row: u16) -> bool {
    let body = model.body();
    if row == body.y + 1 {
        press_heading(model, column);
        return false;
    }
    let Some(line) = row.checked_sub(body.y + 2) else { return false };
    let Some(&id) = model.shards.order.get(model.shards.top + usize::from(line)) else { return false };
    model.shards.cursor = id;
    true
}

fn press_heading(model: &mut Model, column: u16) {
    let mut left = 1;
    for index in fitting(model.body().width.saturating_sub(2)) {
        let right = left + COLUMNS[index].width + 1;
        if (left..right).contains(&column) {
            model.shards.descending = model.shards.sort == index && !model.shards.descending;
            model.shards.sort = index;
            return;
        }
        left = right;
    }
}
