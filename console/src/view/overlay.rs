//! Boxes above the screen: the keys, a question, an answer to read.

use pilothouse_shared::command::Command;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::Scene;
use crate::actions::{ACTIONS, Risk, Scope, key_name};
use crate::format;
use crate::model::Input;
use crate::model::dialog::{self, Dialog};
use crate::theme::Ink;
use crate::widget::{frame, text};

pub(super) fn draw(scene: Scene<'_>, buf: &mut Buffer, body: Rect) {
    match &scene.model.input {
        Input::Screen | Input::Prompt(_) => {}
        Input::Help(top) => read(scene, buf, body, "keys", &help(scene), *top),
        Input::Answer(answer, top) => {
            let lines: Vec<Line> = text::wrap(answer, body.width.saturating_sub(8))
                .into_iter()
                .map(|line| vec![(line, Ink::Text)])
                .collect();
            read(scene, buf, body, "answer", &lines, *top);
        }
        Input::Dialog(dialog) => ask(scene, buf, body, dialog),
    }
}

type Line = Vec<(String, Ink)>;

/// A box of lines, scrolled by `top` rows.
fn read(scene: Scene<'_>, buf: &mut Buffer, body: Rect, title: &str, lines: &[Line], top: u16) {
    let width = lines.iter().map(|line| line.iter().map(|(text, _)| text::width(text)).sum()).max().unwrap_or(0);
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX - 3) + 3;
    let width = width.max(40).saturating_add(4);
    let inner = frame::boxed(buf, scene.theme, body, (width, height), title);
    if inner.height < 2 {
        return;
    }
    let shown = usize::from(inner.height - 1);
    let first = usize::from(top).min(lines.len().saturating_sub(shown));
    let ground = scene.ink(Ink::Box);
    for (line, y) in lines[first..].iter().take(shown).zip(inner.y..) {
        let styled: Vec<(&str, Style)> =
            line.iter().map(|(text, ink)| (text.as_str(), ground.patch(scene.ink(*ink)))).collect();
        scene.pieces(buf, inner.x, y, inner.width, &styled);
    }
    let more = lines.len().saturating_sub(first + shown);
    let foot =
        if more > 0 { format!("{more} more below, any other key closes") } else { "any other key closes".into() };
    text::put_right(buf, inner.right(), inner.bottom() - 1, inner.width, &foot, ground.patch(scene.ink(Ink::Dim)), "");
}

/// The action table, by scope, then the commands.
fn help(scene: Scene<'_>) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut section = "";
    let order = [
        Scope::Chosen,
        Scope::Openable,
        Scope::Shards,
        Scope::Map,
        Scope::Table,
        Scope::Streams,
        Scope::Events,
        Scope::Logs,
        Scope::Lists,
        Scope::Sideways,
        Scope::Anywhere,
    ];
    for scope in order {
        for entry in ACTIONS.iter().filter(|entry| entry.scope == scope) {
            if section != scope.name() {
                section = scope.name();
                lines.push(vec![(section.to_owned(), Ink::Title)]);
            }
            let keys = entry.keys.iter().map(|key| key_name(*key)).collect::<Vec<_>>().join(" ");
            let role = if entry.risk == Risk::Changes { " (operator)" } else { "" };
            let here = if entry.available(scene.model) { Ink::Text } else { Ink::Dim };
            lines.push(vec![
                (format!("  {keys:<13}"), Ink::Key),
                (entry.text.to_owned(), here),
                (role.into(), Ink::Warn),
            ]);
        }
    }
    lines.push(vec![("Commands, behind :".to_owned(), Ink::Title)]);
    for (name, about) in Command::summaries() {
        lines.push(vec![(format!("  {name:<13}"), Ink::Key), (about, Ink::Text)]);
    }
    lines
}

fn ask(scene: Scene<'_>, buf: &mut Buffer, body: Rect, dialog: &Dialog) {
    let count = dialog::selector(&dialog.command).and_then(|shards| scene.model.named(shards));
    let room = body.width.saturating_sub(8).min(66);
    let mut lines = text::wrap(&consequence(&dialog.command), room);
    lines.push(String::new());
    let height = u16::try_from(lines.len()).unwrap_or(8) + 5;
    let inner = frame::boxed(buf, scene.theme, body, (room + 4, height), "change shards");
    let ground = scene.ink(Ink::Box);
    let cut = scene.theme.signs.cut;
    text::put(
        buf,
        inner.x,
        inner.y,
        inner.width,
        &format!(":{}", dialog.command),
        ground.patch(scene.ink(Ink::Strong)),
        cut,
    );
    for (line, y) in lines.iter().zip(inner.y + 1..inner.bottom()) {
        text::put(buf, inner.x, y, inner.width, line, ground, cut);
    }
    let y = inner.bottom().saturating_sub(2);
    match &dialog.typed {
        None => buttons(scene, buf, (inner.x, y), dialog.on_ok),
        Some(typed) => number(scene, buf, Rect { y, ..inner }, typed, count, dialog.typed_right(count)),
    }
}

fn buttons(scene: Scene<'_>, buf: &mut Buffer, (x, y): (u16, u16), on_ok: bool) {
    let ground = scene.ink(Ink::Box);
    let chosen = scene.ink(Ink::Chosen).add_modifier(Modifier::BOLD);
    let style = |focus: bool| if focus { chosen } else { ground.patch(scene.ink(Ink::Dim)) };
    let label = |name: &str, focus: bool| if focus { format!("[ {name} ]") } else { format!("  {name}  ") };
    let at = text::put(buf, x, y, 14, &label("Cancel", !on_ok), style(!on_ok), "") + 2;
    text::put(buf, at, y, 14, &label("Restart", on_ok), style(on_ok), "");
    let hint = "Tab changes, Enter chooses, Esc cancels";
    text::put(buf, x, y + 1, 60, hint, ground.patch(scene.ink(Ink::Dim)), "");
}

fn number(scene: Scene<'_>, buf: &mut Buffer, area: Rect, typed: &str, count: Option<u32>, right: bool) {
    let ground = scene.ink(Ink::Box);
    let say = |ink| ground.patch(scene.ink(ink));
    let question = match count {
        None => "counting the shards ".to_owned(),
        Some(count) => format!("this names {}: type the number {count} ", format::shards(count.into())),
    };
    let at = text::put(buf, area.x, area.y, area.width, &question, say(Ink::Warn), scene.theme.signs.cut);
    let field = text::put(buf, at, area.y, area.right().saturating_sub(at), typed, say(Ink::Strong), "");
    text::put(buf, field, area.y, 1, " ", ground.add_modifier(Modifier::REVERSED), "");
    let hint = if right { "Enter does it, Esc cancels" } else { "Esc cancels" };
    text::put(buf, area.x, area.y + 1, area.width, hint, say(Ink::Dim), "");
}

/// What a command would do, in words.
fn consequence(command: &Command) -> String {
    match command {
        Command::Restart { identify: true, .. } => {
            "Closes the connections and starts new sessions. Spends one identify a shard; events of the pause are not replayed.".into()
        }
        Command::Restart { .. } => {
            "Closes the connections and resumes the sessions. Nothing is lost and no identify is spent.".into()
        }
        Command::Close { code, .. } => format!("Closes the connections with {code}. The shards reconnect and resume where Discord allows it."),
        Command::Presence { .. } => "Sets the bot's presence on these shards, now and for their later sessions.".into(),
        other => other.to_string(),
    }
}
