//! The grammar as data: every command with its arguments, for programs, and what can follow what was typed. PURE.

use std::any::TypeId;

use clap::CommandFactory;
use serde::{Deserialize, Serialize};

use crate::command::{CommandError, Line};
use crate::event_types;
use crate::ids::GuildId;
use crate::selector::Selector;
use crate::snapshot::ShardState;
use crate::span::Span;
use crate::stage::StageName;
use crate::stream::{LogLevel, TailTerm};

/// A command, or one of its kinds: `restart`, `voice join`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Form {
    /// What a line begins with.
    pub name: String,
    /// What it does, in a sentence.
    pub about: String,
    /// In the order of a line; flags last.
    pub arguments: Vec<Argument>,
}

/// What follows the name of a command.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Argument {
    /// `--identify` of a flag, `shards` of what has its place.
    pub name: String,
    /// What it means, in a sentence.
    pub about: String,
    /// What stands there.
    pub kind: Kind,
    /// Whether a line needs it.
    pub required: bool,
    /// Whether several may stand there.
    pub many: bool,
    /// All that may stand there, where that is a fixed set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// What it is without being written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

/// What an argument takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Nothing: a flag that is there or not.
    Flag,
    /// One of its `values`.
    Choice,
    /// A whole number.
    Number,
    /// A span of time: `90s`.
    Time,
    /// An id of Discord's.
    Id,
    /// Shards: `3`, `0-15`, `state=resuming`, `agent=eu-1`, `lag>250ms`, `*`.
    Selector,
    /// A type of event, `guild=ID`, `shards=SELECTOR`.
    Events,
    /// The name of a sink.
    Sink,
    /// The name of a setting.
    Setting,
    /// The name of a command.
    Command,
    /// A JSON object, to the end of the line.
    Json,
    /// Any text.
    Text,
}

/// What only an agent knows of what can be typed.
#[derive(Clone, Copy, Default, Debug)]
pub struct Live<'a> {
    /// Names of agents.
    pub agents: &'a [String],
    /// Names of sinks.
    pub sinks: &'a [String],
}

/// Every command.
pub fn forms() -> Vec<Form> {
    Line::command().get_subcommands().flat_map(|command| forms_of(command, "")).collect()
}

/// Every command with what it does, or one in full.
///
/// # Errors
/// There is no such command.
pub fn help(name: Option<&str>) -> Result<String, CommandError> {
    let mut line = Line::command();
    let Some(name) = name else {
        let width = line.get_subcommands().map(|command| command.get_name().len()).max().unwrap_or(0);
        let about = line.get_subcommands().map(|command| format!("{:width$}  {}", command.get_name(), about(command)));
        return Ok(about.collect::<Vec<_>>().join("\n"));
    };
    let known: Vec<&str> = line.get_subcommands().map(clap::Command::get_name).collect();
    let unknown = CommandError(format!("no command is called {name}: {}", known.join(", ")));
    let command = line.find_subcommand_mut(name).ok_or(unknown)?;
    let mut command = std::mem::take(command).disable_help_flag(true).disable_help_subcommand(true);
    Ok(command.render_help().to_string().trim_end().to_owned())
}

/// The lines that `typed` can be the beginning of, up to the end of the word that is being typed.
pub fn completions(typed: &str, live: Live<'_>) -> Vec<String> {
    let start = typed.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    let (before, word) = typed.split_at(start);
    let words: Vec<&str> = before.split_whitespace().collect();
    let found = candidates(&words, word, live).into_iter().filter(|candidate| candidate.starts_with(word));
    found.map(|candidate| format!("{before}{candidate}")).collect()
}

/// What may stand behind `words`; `word` was begun.
fn candidates(words: &[&str], word: &str, live: Live<'_>) -> Vec<String> {
    let forms = forms();
    let begins = |form: &&Form| {
        let mut name = form.name.split(' ');
        words.iter().zip(&mut name).all(|(typed, name)| *typed == name)
    };
    let possible: Vec<&Form> = forms.iter().filter(begins).collect();
    let is_whole = |form: &&&Form| form.name.split(' ').count() <= words.len();
    let Some(form) = possible.iter().find(is_whole) else {
        let mut next: Vec<String> =
            possible.iter().filter_map(|form| form.name.split(' ').nth(words.len())).map(str::to_owned).collect();
        next.dedup();
        return next;
    };
    arguments(form, &words[form.name.split(' ').count()..], word, live)
}

fn arguments(form: &Form, words: &[&str], word: &str, live: Live<'_>) -> Vec<String> {
    let flag = |name: &str| form.arguments.iter().find(|argument| argument.name == name);
    let (mut places, mut open) = (form.arguments.iter().filter(|argument| !argument.is_flag()), None::<&Argument>);
    let mut place = places.next();
    for word in words {
        match (flag(word), open) {
            (Some(flag), _) => open = (flag.kind != Kind::Flag).then_some(flag),
            (None, Some(flag)) if flag.many => {}
            (None, Some(_)) => open = None,
            (None, None) => place = place.filter(|place| place.many).or_else(|| places.next()),
        }
    }
    if word.starts_with('-') {
        let unused = |argument: &&Argument| argument.is_flag() && !words.contains(&argument.name.as_str());
        return form.arguments.iter().filter(unused).map(|argument| argument.name.clone()).collect();
    }
    open.or(place).map_or_else(Vec::new, |argument| argument.candidates(word, live))
}

impl Argument {
    fn is_flag(&self) -> bool {
        self.name.starts_with('-')
    }

    fn candidates(&self, word: &str, live: Live<'_>) -> Vec<String> {
        match self.kind {
            Kind::Selector => selectors(word, live),
            Kind::Events => {
                let types = event_types::NAMES.into_iter().map(str::to_owned);
                ["guild=".to_owned(), "shards=".to_owned()].into_iter().chain(types).collect()
            }
            Kind::Sink => live.sinks.to_vec(),
            _ => self.values.clone(),
        }
    }
}

/// The last of the terms that commas join.
fn selectors(word: &str, live: Live<'_>) -> Vec<String> {
    let before = word.rfind(',').map_or("", |at| &word[..=at]);
    let states = ShardState::NAMES.iter().map(|state| format!("state={state}"));
    let agents = live.agents.iter().map(|agent| format!("agent={agent}"));
    let terms = ["*".to_owned()].into_iter().chain(states).chain(agents).chain(["lag>".to_owned()]);
    terms.map(|term| format!("{before}{term}")).collect()
}

fn forms_of(command: &clap::Command, within: &str) -> Vec<Form> {
    let name = format!("{within}{}", command.get_name());
    if command.has_subcommands() {
        let within = format!("{name} ");
        return command.get_subcommands().flat_map(|kind| forms_of(kind, &within)).collect();
    }
    let (places, flags): (Vec<_>, Vec<_>) = command.get_arguments().partition(|argument| argument.is_positional());
    let arguments = places.into_iter().chain(flags).map(|found| argument(&name, found)).collect();
    vec![Form { about: about(command), name, arguments }]
}

fn about(command: &clap::Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn argument(command: &str, found: &clap::Arg) -> Argument {
    let id = found.get_id().as_str();
    let possible = if found.get_action().takes_values() { found.get_possible_values() } else { Vec::new() };
    let mut values: Vec<String> = possible.iter().map(|value| value.get_name().to_owned()).collect();
    let kind = kind(command, found, &values);
    if found.get_value_parser().type_id() == TypeId::of::<StageName>() {
        values = StageName::NAMES.map(str::to_owned).to_vec();
    }
    if found.get_value_parser().type_id() == TypeId::of::<LogLevel>() {
        values = LogLevel::ALL.map(|level| level.to_string()).to_vec();
    }
    Argument {
        name: found.get_long().map_or_else(|| id.to_owned(), |long| format!("--{long}")),
        about: found.get_help().map(ToString::to_string).unwrap_or_default(),
        kind,
        required: found.is_required_set(),
        many: found.get_num_args().is_some_and(|count| count.max_values() > 1),
        values,
        default: found.get_default_values().first().map(|value| value.to_string_lossy().into_owned()),
    }
}

fn kind(command: &str, found: &clap::Arg, values: &[String]) -> Kind {
    let parsed = found.get_value_parser().type_id();
    let is = |one: TypeId| parsed == one;
    if !found.get_action().takes_values() {
        return Kind::Flag;
    }
    if !values.is_empty() || is(TypeId::of::<StageName>()) || is(TypeId::of::<LogLevel>()) {
        return Kind::Choice;
    }
    match (command, found.get_id().as_str()) {
        ("voice join", "channel") => Kind::Id,
        ("sink", "name") | ("dead", "sink") => Kind::Sink,
        ("get" | "set", "key") => Kind::Setting,
        ("help", "command") => Kind::Command,
        ("send", "json") => Kind::Json,
        _ if is(TypeId::of::<Selector>()) => Kind::Selector,
        _ if is(TypeId::of::<GuildId>()) => Kind::Id,
        _ if is(TypeId::of::<Span>()) => Kind::Time,
        _ if is(TypeId::of::<TailTerm>()) => Kind::Events,
        _ if is(TypeId::of::<String>()) => Kind::Text,
        _ => Kind::Number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(name: &str) -> Form {
        forms().into_iter().find(|form| form.name == name).expect("a command")
    }

    #[test]
    fn every_argument_says_what_it_takes() {
        for form in forms() {
            assert!(!form.about.is_empty(), "{}", form.name);
            for argument in &form.arguments {
                assert!(!argument.about.is_empty(), "{} {}", form.name, argument.name);
                let choice = argument.kind == Kind::Choice;
                assert_eq!(choice, !argument.values.is_empty(), "{} {}", form.name, argument.name);
            }
        }
        let kinds = |name: &str| form(name).arguments.iter().map(|argument| argument.kind).collect::<Vec<_>>();
        assert_eq!(kinds("restart"), [Kind::Selector, Kind::Flag]);
        assert_eq!(kinds("voice join"), [Kind::Id, Kind::Id, Kind::Flag, Kind::Flag]);
        assert_eq!(kinds("sink"), [Kind::Sink, Kind::Choice]);
        assert_eq!(kinds("send"), [Kind::Number, Kind::Json]);
        assert_eq!(kinds("audit"), [Kind::Text, Kind::Time, Kind::Number]);
        assert_eq!(kinds("tail"), [Kind::Events]);
        let limit = form("audit").arguments.pop().expect("the last one");
        assert_eq!((&*limit.name, limit.default.as_deref(), limit.required), ("--limit", Some("20"), false));
        assert!(form("soundboard").arguments[0].many && form("soundboard").arguments[0].required);
    }

    #[test]
    fn it_comes_back_from_json() {
        let text = serde_json::to_string(&forms()).expect("strings only");
        assert_eq!(serde_json::from_str::<Vec<Form>>(&text).expect("forms"), forms());
    }

    #[test]
    fn what_was_begun_is_completed() {
        let (agents, sinks) = (["eu-1".to_owned()], ["bot".to_owned(), "audit".to_owned()]);
        let live = Live { agents: &agents, sinks: &sinks };
        for (typed, first) in [
            ("res", "restart"),
            ("voice ", "voice join"),
            ("voice l", "voice leave"),
            ("restart state=res", "restart state=resuming"),
            ("restart 3,agent=", "restart 3,agent=eu-1"),
            ("restart * --i", "restart * --identify"),
            ("presence * --status ", "presence * --status online"),
            ("presence * --status idle --k", "presence * --status idle --kind"),
            ("sink a", "sink audit"),
            ("sink bot p", "sink bot pause"),
            ("stage me", "stage message_update"),
            ("stage drop ", "stage drop on"),
            ("tail MESSAGE_CREATE g", "tail MESSAGE_CREATE guild="),
            ("logs w", "logs warn"),
            ("dead bot r", "dead bot resend"),
        ] {
            assert_eq!(completions(typed, live).first().map(String::as_str), Some(first), "{typed}");
        }
        for typed in ["nothing ", "restart * x", "status ", "explain 3 ", "restart * --identify --identify"] {
            assert_eq!(completions(typed, live), [] as [String; 0], "{typed}");
        }
    }

    #[test]
    fn help_tells_all_or_one() {
        let all = help(None).expect("all");
        assert_eq!(all.lines().count(), crate::command::Command::names().len());
        let one = help(Some("restart")).expect("one");
        assert!(one.contains("Usage: restart [OPTIONS] <SHARDS>") && one.contains("--identify"), "{one}");
        assert!(!one.contains("--help") && !help(Some("voice")).expect("one").contains("help"), "{one}");
        assert!(
            help(Some("reboot")).expect_err("none").to_string().contains("no command is called reboot: help, status")
        );
    }
}
