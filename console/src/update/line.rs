//! Runs what was typed behind `:` and what a dialog agreed to, and shows the answers. PURE.

use pilothouse_shared::command::Command;
use pilothouse_shared::filter::FilterError;
use pilothouse_shared::grammar::{self, Live};
use pilothouse_shared::plan::Plan;
use pilothouse_shared::selector::Selector;
use pilothouse_shared::stream::{LogLevel, Tail};
use pilothouse_shared::wire::ToAgent;

use super::{keys, notify};
use crate::actions::{self, Scope};
use crate::message::Effect;
use crate::model::dialog::Dialog;
use crate::model::nav::Screen;
use crate::model::{Due, EventsView, Input, LogsView, Model};

/// Lines that are remembered.
const PAST: usize = 200;
/// Commands whose answers may be due at once.
const DUE: usize = 16;

/// Lines that `typed` can be the beginning of: commands with what the agent tells there is, then what keys do. Nobody
/// types the arrows.
pub fn completions(model: &Model, typed: &str) -> Vec<String> {
    let (agents, sinks) = match &model.overview {
        Some((overview, _)) => (
            overview.agents.iter().map(|agent| agent.name.clone()).collect(),
            overview.sinks.iter().map(|sink| sink.name.clone()).collect(),
        ),
        None => (Vec::new(), Vec::new()),
    };
    let mut lines = grammar::completions(typed, Live { agents: &agents, sinks: &sinks });
    let keys = actions::ACTIONS.iter().filter(|entry| !matches!(entry.scope, Scope::Lists | Scope::Sideways));
    lines.extend(keys.map(|entry| entry.name.to_owned()));
    lines
}

/// What the command that a line begins with does.
pub fn summary(line: &str) -> Option<String> {
    let name = line.split_whitespace().next()?;
    let command = Command::summaries().into_iter().find(|(command, _)| command == name).map(|(_, about)| about);
    command.or_else(|| actions::by_name(name).map(|entry| entry.text.to_owned()))
}

/// Runs the line of the open prompt.
pub(super) fn run(model: &mut Model, line: &str, now: u64) -> Vec<Effect> {
    let line = line.trim();
    if line.is_empty() {
        model.input = Input::Screen;
        return Vec::new();
    }
    remember(model, line);
    if let Some(entry) = actions::by_name(line).filter(|entry| entry.scope.covers(model)) {
        model.input = Input::Screen;
        return keys::act(model, entry, now);
    }
    match Command::parse(line) {
        Ok(Command::Shards { shards }) => {
            list(model, &shards);
            Vec::new()
        }
        Ok(Command::Tail { which }) => {
            tail(model, Tail::of(&which));
            Vec::new()
        }
        Ok(Command::Logs { level }) => {
            logs(model, level);
            Vec::new()
        }
        Ok(command) => from_prompt(model, &command, line),
        Err(error) => {
            wrong(model, error.to_string());
            Vec::new()
        }
    }
}

/// Asks before the chosen shard is restarted.
pub(super) fn ask_restart(model: &mut Model, now: u64) -> Vec<Effect> {
    let command = Command::Restart { shards: Selector::shard(model.shards.cursor), identify: false };
    if let Some(why) = refusal(model, &command) {
        notify(model, why, false, now);
        return Vec::new();
    }
    vec![number(model, command.to_string()).1]
}

/// Takes a plan in: the question about it, where it was asked for and nothing else is going on.
pub(super) fn planned(model: &mut Model, id: u64, plan: Plan, now: u64) {
    let asked = model.due.iter().any(|due| due.id == id);
    model.due.retain(|due| due.id != id);
    let free = match &model.input {
        Input::Screen => true,
        Input::Prompt(prompt) => prompt.waiting == Some(id),
        _ => false,
    };
    if !asked || !free {
        return notify(model, "a plan came too late to be asked about: nothing was done", false, now);
    }
    let fleet = model.hello.as_ref().map_or("", |hello| hello.fleet.as_str());
    let total = model.overview.as_ref().map_or(0, |(overview, _)| overview.generation.total);
    model.input = Input::Dialog(Dialog::new(plan, fleet, total));
}

/// Applies the plan that was agreed to.
pub(super) fn apply(model: &mut Model, dialog: Dialog, now: u64) -> Vec<Effect> {
    if !model.is_up() {
        notify(model, "not connected: nothing was sent", false, now);
        return Vec::new();
    }
    let reason = dialog.reason().map(str::to_owned);
    let line = dialog.plan.steps.iter().map(|step| step.line.as_str()).collect::<Vec<_>>().join("; ");
    let id = model.next_command;
    model.next_command += 1;
    let apply = ToAgent::Apply { id, plan: dialog.plan.id, reason };
    model.due.push(Due { id, line, apply: Some(apply.clone()) });
    vec![Effect::Send(apply)]
}

/// Takes an answer in: into the line it was typed in, else as a notice, a longer one as a text to read.
pub(super) fn answer(model: &mut Model, id: u64, ok: bool, text: &str, now: u64) {
    model.due.retain(|due| due.id != id);
    let text: String = text.chars().filter(|letter| *letter == '\n' || !letter.is_control()).collect();
    let at_prompt = matches!(&model.input, Input::Prompt(prompt) if prompt.waiting == Some(id));
    if at_prompt && !ok {
        return wrong(model, text.replace('\n', " "));
    }
    if at_prompt {
        model.input = Input::Screen;
    }
    let long = text.trim_end().contains('\n') || text.chars().count() + 4 > usize::from(model.size.0);
    if long && model.input == Input::Screen {
        model.input = Input::Answer(text, 0);
    } else {
        notify(model, text.replace('\n', " "), ok, now);
    }
}

fn remember(model: &mut Model, line: &str) {
    if model.past.last().is_none_or(|last| last != line) {
        model.past.push(line.to_owned());
    }
    let surplus = model.past.len().saturating_sub(PAST);
    model.past.drain(..surplus);
}

/// `:shards SELECTOR` is the table, filtered.
fn list(model: &mut Model, shards: &Selector) {
    // A selector is a filter, too.
    model.shards.filter = if *shards == Selector::all() { String::new() } else { shards.to_string() };
    model.shards.table = true;
    model.input = Input::Screen;
    model.nav.go(Screen::Shards);
}

/// Watches other events; payloads stay as they were.
fn tail(model: &mut Model, wanted: Tail) {
    let payloads = model.events.wanted.payloads;
    model.events = EventsView { wanted: Tail { payloads, ..wanted }, ..EventsView::default() };
    model.input = Input::Screen;
    model.nav.go(Screen::Events);
}

/// Watches the log from another level on.
pub(super) fn logs(model: &mut Model, level: LogLevel) {
    model.logs = LogsView { level, ..LogsView::default() };
    model.input = Input::Screen;
    model.nav.go(Screen::Logs);
}

fn from_prompt(model: &mut Model, command: &Command, line: &str) -> Vec<Effect> {
    if let Some(why) = refusal(model, command) {
        wrong(model, why);
        return Vec::new();
    }
    let (id, effect) = number(model, line.to_owned());
    if let Input::Prompt(prompt) = &mut model.input {
        prompt.waiting = Some(id);
        prompt.error = None;
    }
    vec![effect]
}

/// Why a command cannot be sent now.
fn refusal(model: &Model, command: &Command) -> Option<String> {
    if !model.is_up() || model.hello.is_none() {
        return Some("not connected: nothing was sent".into());
    }
    if model.due.len() >= DUE {
        return Some(format!("{DUE} commands are not answered yet: nothing was sent"));
    }
    (command.changes() && !model.may_change())
        .then(|| "this console's token is a viewer's: changing shards needs the role operator".into())
}

fn number(model: &mut Model, line: String) -> (u64, Effect) {
    let id = model.next_command;
    model.next_command += 1;
    model.due.push(Due { id, line: line.clone(), apply: None });
    (id, Effect::Send(ToAgent::command(id, line)))
}

/// Shows what is wrong where it was typed.
fn wrong(model: &mut Model, text: String) {
    if let Input::Prompt(prompt) = &mut model.input {
        prompt.waiting = None;
        prompt.error = Some(FilterError { from: 0, to: 0, text });
    }
}
