//! PURE: what the stages are told, and how it is read and shown.

use pilothouse_shared::stage::{StageName, UnknownStage};

use super::nearest::nearest;
use super::value::{Raw, Rejected, quoted};
use crate::gateway::kind::{EventKind, KindSet};

/// What is done to events before they are delivered.
#[derive(Clone, Default, Debug)]
pub struct StagesConfig {
    /// Stages that are on at the start.
    pub enabled: Vec<StageName>,
    /// For `message_prefix`: messages that begin with one of them go on.
    pub prefixes: Vec<String>,
    /// For `drop`: types that go nowhere.
    pub drop: KindSet,
}

/// Names of stages, each once.
pub(super) fn enabled(raw: &Raw) -> Result<Vec<StageName>, Rejected> {
    let mut names = Vec::new();
    for text in raw.list() {
        let name = text.parse().map_err(|err: UnknownStage| {
            let near =
                nearest(&text, StageName::NAMES).map(|near| format!("no stage is called {text}, did you mean {near}?"));
            Rejected::because(near.unwrap_or_else(|| err.to_string()))
        })?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Prefixes; of a list each is taken with its blanks.
pub(super) fn prefixes(raw: &Raw) -> Result<Vec<String>, Rejected> {
    let prefixes = match raw {
        Raw::One(_) => raw.list(),
        Raw::Many(items) => items.clone(),
    };
    if prefixes.iter().any(String::is_empty) {
        return Err(Rejected::because("an empty prefix is that of every message"));
    }
    Ok(prefixes)
}

/// Types of events by name.
pub(super) fn kinds(raw: &Raw) -> Result<KindSet, Rejected> {
    raw.list().iter().map(|name| kind(name)).collect()
}

fn kind(name: &str) -> Result<EventKind, Rejected> {
    let found = EventKind::of(name.to_uppercase().as_bytes());
    if found != EventKind::OTHER {
        return Ok(found);
    }
    let near = nearest(&name.to_uppercase(), EventKind::NAMES);
    let meant = near.map_or_else(String::new, |near| format!(", did you mean {near}?"));
    Err(Rejected::because(format!("no event type is called {name}{meant}")))
}

/// A list, in TOML.
pub(super) fn shown<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    let items: Vec<String> = items.into_iter().map(quoted).collect();
    format!("[{}]", items.join(", "))
}
