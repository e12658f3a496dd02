//! The one table of what keys do. Keys, help, hint line and command line all read it. PURE.

use crate::message::Key;
use crate::model::nav::Screen;
use crate::model::{Link, Model};

/// Something a key does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the table below says what each does")]
pub enum Action {
    Quit,
    Help,
    Overview,
    Shards,
    Events,
    Logs,
    Up,
    Back,
    Forward,
    Command,
    Theme,
    Redraw,
    Suspend,
    Reconnect,
    MoveUp,
    MoveDown,
    MoveLeft,
    MoveRight,
    PageUp,
    PageDown,
    First,
    Last,
    Open,
    ToggleTable,
    NextBad,
    PreviousBad,
    OnlyBad,
    Filter,
    ZoomIn,
    ZoomOut,
    SortNext,
    SortPrevious,
    SortReverse,
    Restart,
    Pause,
    Payloads,
    MoreLogs,
    LessLogs,
}

/// Where an action exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// On every screen.
    Anywhere,
    /// Where something can be chosen: everywhere but in words.
    Lists,
    /// On the overview and among all shards.
    Openable,
    /// Among all shards, as map or table.
    Shards,
    /// On the map.
    Map,
    /// On the table.
    Table,
    /// On events and logs.
    Streams,
    /// On events.
    Events,
    /// On logs.
    Logs,
    /// Where a shard is chosen.
    Chosen,
    /// Where left and right mean something.
    Sideways,
}

/// What an action can do to the fleet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Risk {
    /// It only looks.
    Looks,
    /// It changes shards; it is asked about first and needs the role operator.
    Changes,
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// What is done.
    pub action: Action,
    /// The keys; the first one is shown in the hint line.
    pub keys: &'static [Key],
    /// One word, also for the command line.
    pub name: &'static str,
    /// What it does.
    pub text: &'static str,
    /// Where.
    pub scope: Scope,
    /// What it can do.
    pub risk: Risk,
    /// Place in the hint line; 0 is not there.
    pub hint: u8,
}

const fn look(
    action: Action,
    keys: &'static [Key],
    scope: Scope,
    hint: u8,
    name: &'static str,
    text: &'static str,
) -> Entry {
    Entry { action, keys, name, text, scope, risk: Risk::Looks, hint }
}

use Key::{Char, Ctrl};

/// Every action.
pub const ACTIONS: &[Entry] = &[
    look(Action::Overview, &[Char('1')], Scope::Anywhere, 1, "overview", "totals, rates, budget, sinks, findings"),
    look(Action::Shards, &[Char('2')], Scope::Anywhere, 2, "shards", "all shards, as map or table"),
    look(Action::Events, &[Char('4')], Scope::Anywhere, 11, "events", "events as they come; :tail chooses which"),
    look(Action::Logs, &[Char('8')], Scope::Anywhere, 11, "logs", "the agent's log as it is written"),
    look(Action::Open, &[Key::Enter], Scope::Openable, 3, "open", "show what is chosen in depth"),
    look(Action::ToggleTable, &[Char('v')], Scope::Shards, 4, "table", "change between map and table"),
    look(Action::NextBad, &[Char('n')], Scope::Chosen, 5, "next", "next shard that is not active"),
    look(Action::PreviousBad, &[Char('N')], Scope::Chosen, 0, "previous", "previous shard that is not active"),
    look(Action::OnlyBad, &[Char('b')], Scope::Shards, 6, "bad", "show only shards that are not active"),
    look(
        Action::Filter,
        &[Char('/')],
        Scope::Shards,
        7,
        "filter",
        "filter shards: state=resuming agent=eu-* lag>250ms id=3-9 !id=5",
    ),
    look(Action::SortNext, &[Char('s')], Scope::Table, 8, "sort", "order by the next column"),
    look(Action::SortPrevious, &[Char('S')], Scope::Table, 0, "sort-back", "order by the previous column"),
    look(Action::SortReverse, &[Char('o')], Scope::Table, 9, "reverse", "turn the order round"),
    look(Action::ZoomIn, &[Char('+'), Char('=')], Scope::Map, 8, "zoom", "draw shards larger"),
    look(Action::ZoomOut, &[Char('-')], Scope::Map, 0, "wide", "draw shards smaller"),
    Entry {
        action: Action::Restart,
        keys: &[Char('r')],
        name: "restart",
        text: "reconnect the chosen shard: it resumes its session",
        scope: Scope::Chosen,
        risk: Risk::Changes,
        hint: 10,
    },
    look(
        Action::Pause,
        &[Char(' ')],
        Scope::Streams,
        3,
        "pause",
        "hold the lines where they are, or follow the newest",
    ),
    look(
        Action::Payloads,
        &[Char('p')],
        Scope::Events,
        4,
        "payloads",
        "show what is in the events, or hide it (operator)",
    ),
    look(
        Action::MoreLogs,
        &[Char('+'), Char('=')],
        Scope::Logs,
        4,
        "more",
        "lines of one level more, as far as log.level",
    ),
    look(Action::LessLogs, &[Char('-')], Scope::Logs, 5, "less", "lines of one level less"),
    look(Action::MoveUp, &[Key::Up, Char('k')], Scope::Lists, 0, "up", "up"),
    look(Action::MoveDown, &[Key::Down, Char('j')], Scope::Lists, 0, "down", "down"),
    look(Action::MoveLeft, &[Key::Left, Char('h')], Scope::Sideways, 0, "left", "left on the map; the shard before"),
    look(Action::MoveRight, &[Key::Right, Char('l')], Scope::Sideways, 0, "right", "right on the map; the next shard"),
    look(Action::PageUp, &[Key::PageUp, Ctrl('b')], Scope::Lists, 0, "page-up", "a screen up"),
    look(Action::PageDown, &[Key::PageDown, Ctrl('f')], Scope::Lists, 0, "page-down", "a screen down"),
    look(Action::First, &[Key::Home, Char('g')], Scope::Lists, 0, "first", "to the first"),
    look(Action::Last, &[Key::End, Char('G')], Scope::Lists, 0, "last", "to the last"),
    look(Action::Up, &[Key::Esc], Scope::Anywhere, 0, "leave", "to the screen above; takes the filter away first"),
    look(Action::Back, &[Char('[')], Scope::Anywhere, 0, "back", "to the screen before"),
    look(Action::Forward, &[Char(']')], Scope::Anywhere, 0, "forward", "forward again"),
    look(Action::Reconnect, &[Char('c')], Scope::Anywhere, 11, "connect", "try to connect now"),
    look(
        Action::Command,
        &[Char(':')],
        Scope::Anywhere,
        12,
        "command",
        "type a command: restart 3, close 3 --code 4000, explain 3",
    ),
    look(Action::Theme, &[Char('T')], Scope::Anywhere, 0, "theme", "next theme: dark, light, contrast, mono"),
    look(Action::Redraw, &[Ctrl('l')], Scope::Anywhere, 0, "redraw", "paint everything anew"),
    look(Action::Suspend, &[Ctrl('z')], Scope::Anywhere, 0, "suspend", "to the shell; fg comes back"),
    look(Action::Help, &[Char('?')], Scope::Anywhere, 13, "help", "these keys"),
    look(Action::Quit, &[Char('q'), Ctrl('c')], Scope::Anywhere, 14, "quit", "leave; agents go on"),
];

impl Scope {
    /// Whether it covers what is shown.
    pub fn covers(self, model: &Model) -> bool {
        let screen = model.nav.screen();
        let (shards, table) = (screen == Screen::Shards, model.shards.table);
        match self {
            Self::Anywhere | Self::Lists => true,
            Self::Openable => matches!(screen, Screen::Overview | Screen::Shards),
            Self::Shards => shards,
            Self::Map => shards && !table,
            Self::Table => shards && table,
            Self::Streams => matches!(screen, Screen::Events | Screen::Logs),
            Self::Events => screen == Screen::Events,
            Self::Logs => screen == Screen::Logs,
            Self::Chosen => matches!(screen, Screen::Shards | Screen::Shard(_)),
            Self::Sideways => matches!(screen, Screen::Shard(_)) || (shards && !table),
        }
    }

    /// In words, for the help.
    pub fn name(self) -> &'static str {
        match self {
            Self::Anywhere => "Anywhere",
            Self::Lists | Self::Sideways => "Moving",
            Self::Openable | Self::Shards => "Overview and shards",
            Self::Map => "Map",
            Self::Table => "Table",
            Self::Streams | Self::Events | Self::Logs => "Events and logs",
            Self::Chosen => "With a shard chosen",
        }
    }
}

impl Entry {
    /// Whether it would do something now.
    pub fn available(&self, model: &Model) -> bool {
        let possible = match self.action {
            Action::Reconnect => matches!(model.link, Link::Down { .. }),
            Action::Payloads => model.may_change(),
            Action::Open if model.nav.screen() == Screen::Overview => !findings_are_empty(model),
            _ => self.risk == Risk::Looks || model.may_change(),
        };
        possible && self.scope.covers(model)
    }
}

fn findings_are_empty(model: &Model) -> bool {
    model.overview.as_ref().is_none_or(|(overview, _)| overview.findings.is_empty())
}

/// What a key does where the model is.
pub fn by_key(key: Key, model: &Model) -> Option<&'static Entry> {
    ACTIONS.iter().find(|entry| entry.keys.contains(&key) && entry.scope.covers(model))
}

/// The action of a name, for the command line.
pub fn by_name(name: &str) -> Option<&'static Entry> {
    ACTIONS.iter().find(|entry| entry.name == name)
}

/// A key in words.
pub fn key_name(key: Key) -> String {
    match key {
        Char(' ') => "Space".into(),
        Char(letter) => letter.to_string(),
        Ctrl(letter) => format!("Ctrl-{}", letter.to_ascii_uppercase()),
        Key::PageUp => "PgUp".into(),
        Key::PageDown => "PgDn".into(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Look, Setup};

    fn places() -> Vec<Model> {
        let model = Model::new(Setup::default(), (80, 24), Look::Dark);
        let mut places = vec![model.clone(); 6];
        places[1].nav.go(Screen::Shards);
        places[2].nav.go(Screen::Shards);
        places[2].shards.table = true;
        places[3].nav.go(Screen::Shard(3));
        places[4].nav.go(Screen::Events);
        places[5].nav.go(Screen::Logs);
        places
    }

    #[test]
    fn every_action_has_text_and_a_key_that_reaches_it() {
        for entry in ACTIONS {
            assert!(!entry.text.is_empty() && !entry.name.is_empty(), "{:?}", entry.action);
            let reached = |model: &Model| {
                entry.scope.covers(model)
                    && entry
                        .keys
                        .iter()
                        .any(|&key| by_key(key, model).is_some_and(|found| found.action == entry.action))
            };
            assert!(places().iter().any(reached), "no key reaches {:?}", entry.action);
        }
    }

    #[test]
    fn no_key_means_two_things_in_one_place() {
        for model in places() {
            for entry in ACTIONS.iter().filter(|entry| entry.scope.covers(&model)) {
                for &key in entry.keys {
                    assert_eq!(by_key(key, &model).map(|found| found.action), Some(entry.action), "{key:?}");
                }
            }
        }
    }

    #[test]
    fn names_are_unique() {
        for entry in ACTIONS {
            assert_eq!(by_name(entry.name).map(|found| found.action), Some(entry.action));
        }
    }
}
