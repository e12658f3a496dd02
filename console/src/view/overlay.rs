//! Boxes above the screen: the keys, a question, an answer to read.

use pilothouse_shared::command::Command;
use pilothouse_shared::plan::Step;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

use super::Scene;
use crate::actions::{ACTIONS, Risk, Scope, key_name};
use crate::format;
use crate::model::Input;
use crate::model::dialog::{Consent, Dialog};
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
    let room = body.width.saturating_sub(8).min(66);
    let said = text::wrap(&dialog.plan.said, room).into_iter();
    let mut lines: Vec<Line> = said.map(|line| vec![(format::clean(&line), Ink::Good)]).collect();
    for step in &dialog.plan.steps {
        lines.push(vec![(format!(":{}", format::clean(&step.line)), Ink::Strong)]);
        lines.extend(text::wrap(&cost(step), room).into_iter().map(|line| vec![(line, Ink::Text)]));
    }
    for warning in &dialog.plan.warnings {
        lines.extend(text::wrap(&format::clean(warning), room).into_iter().map(|line| vec![(line, Ink::Warn)]));
    }
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX - 5) + 5;
    let inner = frame::boxed(buf, scene.theme, body, (room + 4, height), "change");
    let ground = scene.ink(Ink::Box);
    let y = inner.bottom().saturating_sub(2);
    let shown = usize::from(y.saturating_sub(inner.y + 1));
    if lines.len() > shown && shown > 0 {
        let more = lines.len() - shown + 1;
        lines.truncate(shown - 1);
        lines.push(vec![(format!("and {more} lines more"), Ink::Dim)]);
    }
    for (line, y) in lines.iter().zip(inner.y..y) {
        let styled: Vec<(&str, Style)> =
            line.iter().map(|(text, ink)| (text.as_str(), ground.patch(scene.ink(*ink)))).collect();
        scene.pieces(buf, inner.x, y, inner.width, &styled);
    }
    let area = Rect { y, ..inner };
    match &dialog.consent {
        Consent::Button => buttons(scene, buf, (inner.x, y), dialog.on_ok),
        Consent::Number(shards) => {
            let question = format!("this is about {}: type the number {shards} ", format::shards((*shards).into()));
            typed(scene, buf, area, &question, dialog);
        }
        Consent::Fleet(name) => typed(scene, buf, area, &format!("all of {name}: type {name} and a reason "), dialog),
    }
}

/// What a step does and costs.
fn cost(step: &Step) -> String {
    let text = step.to_string();
    let text = text.strip_prefix(step.line.as_str()).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&text);
    format::clean(text)
}

fn buttons(scene: Scene<'_>, buf: &mut Buffer, (x, y): (u16, u16), on_ok: bool) {
    let ground = scene.ink(Ink::Box);
    let chosen = scene.ink(Ink::Chosen).add_modifier(Modifier::BOLD);
    let style = |focus: bool| if focus { chosen } else { ground.patch(scene.ink(Ink::Dim)) };
    let label = |name: &str, focus: bool| if focus { format!("[ {name} ]") } else { format!("  {name}  ") };
    let at = text::put(buf, x, y, 14, &label("Cancel", !on_ok), style(!on_ok), "") + 2;
    text::put(buf, at, y, 14, &label("Do it", on_ok), style(on_ok), "");
    let hint = "Tab changes, Enter chooses, Esc cancels";
    text::put(buf, x, y + 1, 60, hint, ground.patch(scene.ink(Ink::Dim)), "");
}

fn typed(scene: Scene<'_>, buf: &mut Buffer, area: Rect, question: &str, dialog: &Dialog) {
    let ground = scene.ink(Ink::Box);
    let say = |ink| ground.patch(scene.ink(ink));
    let at = text::put(buf, area.x, area.y, area.width, question, say(Ink::Warn), scene.theme.signs.cut);
    let room = area.right().saturating_sub(at + 1);
    let field = text::put(buf, at, area.y, room, text::tail(&dialog.typed, room), say(Ink::Strong), "");
    text::put(buf, field, area.y, 1, " ", ground.add_modifier(Modifier::REVERSED), "");
    let hint = if dialog.agreed() { "Enter does it, Esc cancels" } else { "Esc cancels" };
    text::put(buf, area.x, area.y + 1, area.width, hint, say(Ink::Dim), "");
}
