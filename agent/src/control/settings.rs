//! Settings while the agent runs: told with where each value comes from, changed after a check, read anew from their
//! sources.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pilothouse_shared::stage::StageName;

use super::Control;
use super::dispatch::PATIENCE;
use super::refused::Refused;
use crate::config::keys::KEYS;
use crate::config::live::Difference;
use crate::config::render::values;
use crate::config::{self, Config, Loaded, Origin, Problem, Sources};
use crate::fleet::permits::PermitInput;
use crate::spool::SpoolLimits;
use crate::telemetry::logs;
use tokio::time::timeout;

/// Why a setting is not told or not changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SettingError {
    /// What is wrong, and what is allowed.
    #[error("{0}; nothing was changed")]
    Wrong(String),
    /// No setting to tell of.
    #[error("no setting begins with {0}: `get` lists them")]
    Unknown(String),
    /// Logs that this agent did not set up.
    #[error("this agent shares its process, whose logs it does not steer; nothing was changed")]
    Logs,
}

/// What is in force.
#[derive(Debug)]
pub(super) struct Settings {
    state: Mutex<State>,
    /// One change at a time.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    loaded: Loaded,
    /// As the sources had it when they were read last.
    read: Loaded,
    /// Workers that have not taken the last change.
    behind: Vec<u16>,
}

impl Settings {
    pub(super) fn new(loaded: Loaded) -> Self {
        let state = State { read: loaded.clone(), loaded, behind: Vec::new() };
        Self { state: Mutex::new(state), changing: tokio::sync::Mutex::default() }
    }

    /// Every setting whose name is `key` or begins with it, a line each; one alone is told in full.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn get(&self, key: Option<&str>) -> Result<String, Refused> {
        let state = self.state();
        let wanted = |name: &str| key.is_none_or(|key| name == key || name.starts_with(&format!("{key}.")));
        let found: Vec<_> = values(&state.loaded.config).into_iter().filter(|(name, _)| wanted(name)).collect();
        match &found[..] {
            [] => Err(SettingError::Unknown(key.unwrap_or_default().to_owned()).into()),
            [(name, value)] => Ok(state.in_full(name, value.as_deref())),
            _ => {
                Ok(found.iter().map(|(name, value)| state.line(name, value.as_deref())).collect::<Vec<_>>().join("\n"))
            }
        }
    }

    /// What a change would do, and the command that takes it back.
    ///
    /// # Errors
    /// It would be refused.
    pub(super) fn step(&self, key: &str, value: &str) -> Result<(String, Option<String>), Refused> {
        may_be_logged(key, value)?;
        let state = self.state();
        let changed = state.loaded.with(key, value, Origin::Default).map_err(wrong)?;
        let (before, after) = (state.written(key), written(&changed, key));
        let (was, is) = (shown(&state.loaded, key), shown(&changed, key));
        let undo =
            (before != after).then(|| pilothouse_shared::command::Command::Set { key: key.to_owned(), value: before });
        Ok((format!("{was} becomes {is} until the agent restarts"), undo.map(|undo| undo.to_string())))
    }

    /// `stages.enabled` with this stage on or off.
    pub(super) fn with_stage(&self, stage: StageName, on: bool) -> String {
        let mut enabled = self.state().loaded.config.stages.enabled.clone();
        enabled.retain(|name| *name != stage);
        enabled.extend(on.then_some(stage));
        enabled.iter().map(|name| name.name()).collect::<Vec<_>>().join(",")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn line(&self, key: &str, value: Option<&str>) -> String {
        let origin = self.loaded.origins.get(key).unwrap_or(&Origin::Default);
        let live = if is_live(key) { "" } else { ", changes with the next start only" };
        format!("{key} = {} ({origin}{live})", value.unwrap_or("not set"))
    }

    fn in_full(&self, key: &str, value: Option<&str>) -> String {
        let mut text = self.line(key, value);
        if let Some(known) = KEYS.iter().find(|known| known.name == key) {
            text.push_str(&format!("\n{}\nallowed: {}", known.about, known.allowed));
        }
        if !self.behind.is_empty() {
            text.push_str(&format!(
                "\nnot in force everywhere: workers {:?} have not taken the last change",
                self.behind
            ));
        }
        if let Some(origin @ Origin::Set(_)) = self.loaded.origins.get(key) {
            text.push_str(&format!("\nin force until the agent restarts ({origin}); {}", self.keep(key)));
        }
        text
    }

    /// How a value that was set outlives the agent.
    fn keep(&self, key: &str) -> String {
        let value = shown(&self.loaded, key);
        match self.read.origins.get(key) {
            Some(Origin::Env(variable)) => format!("to keep it, change the environment variable {variable} to {value}"),
            Some(Origin::Flag(flag)) => format!("to keep it, change --{flag} to {value}"),
            Some(origin @ Origin::File(..)) => format!("to keep it, change {origin} to {value}"),
            _ => format!("to keep it, write {key} = {value} into the configuration's file"),
        }
    }

    fn written(&self, key: &str) -> String {
        written(&self.loaded, key)
    }
}

impl Control {
    /// Sets a setting and puts it in force.
    pub(super) async fn set(&self, by: &str, key: &str, value: &str) -> Result<String, Refused> {
        let _one = self.settings.changing.lock().await;
        self.set_alone(by, key, value).await
    }

    /// Switches a stage and leaves the others as they are.
    pub(super) async fn switch(&self, by: &str, stage: StageName, on: bool) -> Result<String, Refused> {
        let _one = self.settings.changing.lock().await;
        self.set_alone(by, "stages.enabled", &self.settings.with_stage(stage, on)).await?;
        let state = if on { "on" } else { "off" };
        Ok(format!(
            "{stage} is {state}; at its next start the agent does what its configuration says of stages.enabled"
        ))
    }

    /// While nothing else is changed.
    async fn set_alone(&self, by: &str, key: &str, value: &str) -> Result<String, Refused> {
        may_be_logged(key, value)?;
        let before = self.settings.state().loaded.clone();
        let changed = before.with(key, value, Origin::Set(by.to_owned())).map_err(wrong)?;
        let everywhere = self.put_in_force(&before.config, changed).await?;
        let state = self.settings.state();
        Ok(format!("{key} is {}{everywhere}; {}", shown(&state.loaded, key), state.keep(key)))
    }

    /// Reads the sources anew and puts in force what can change now; tells everything that is different.
    ///
    /// # Errors
    /// What is wrong with them; nothing was changed.
    pub(crate) async fn reread(&self, sources: &Sources) -> Result<String, Refused> {
        let _one = self.settings.changing.lock().await;
        let read = config::load(sources).map_err(|problems| SettingError::Wrong(problems.to_string()))?;
        let (before, last) = {
            let state = self.settings.state();
            (state.loaded.clone(), state.read.clone())
        };
        let differences = last.differences(&read);
        let mut changed = before.clone();
        let mut said = Vec::new();
        for Difference { key, before, after, live } in &differences {
            let is_secret = after.is_some() && before == after;
            let after_or = if is_secret { "another one" } else { after.as_deref().unwrap_or("not set") };
            if !live {
                said.push(format!("{key} is {after_or}, with the next start only"));
            } else if matches!(changed.origins.get(key), Some(Origin::Set(_))) {
                said.push(format!("{key} stays as it was set, though the sources say {after_or} now"));
            } else {
                let origin = read.origins.get(key).cloned().unwrap_or(Origin::Default);
                changed = changed.placed(key, &written(&read, key), origin).map_err(wrong)?;
                said.push(format!("{key} is {after_or}, was {}", before.as_deref().unwrap_or("not set")));
            }
        }
        changed.check_together().map_err(wrong)?;
        let everywhere = self.put_in_force(&before.config, changed).await?;
        self.settings.state().read = read;
        Ok(if said.is_empty() { "nothing changed".to_owned() } else { said.join("\n") + &everywhere })
    }

    /// Tells everything that runs; what is not in force everywhere is said.
    async fn put_in_force(&self, before: &Config, changed: Loaded) -> Result<String, Refused> {
        let config = &changed.config;
        let steered = logs::control().ok_or(SettingError::Logs);
        let logs = if config.log.level == before.log.level { None } else { Some(steered?) };
        if let Some(spool) = &self.spool {
            spool
                .set_limits(SpoolLimits::of(&config.spool))
                .map_err(|trouble| SettingError::Wrong(trouble.to_string()))?;
        }
        // Its directives were checked with the setting.
        logs.map_or(Ok(()), |logs| logs.set_level(&config.log.level)).map_err(SettingError::Wrong)?;
        // While shutting down nobody needs to know.
        let _ = timeout(PATIENCE, self.permits.send(PermitInput::Reserve(config.gateway.reserve_percent))).await;
        let behind = self.shards.adopt(config.clone(), PATIENCE).await;
        let everywhere = match &behind[..] {
            [] => String::new(),
            behind => format!("; not in force everywhere: workers {behind:?} have not taken it"),
        };
        let mut state = self.settings.state();
        (state.loaded, state.behind) = (changed, behind);
        Ok(everywhere)
    }
}

/// Lines of other crates that may hold tokens are for whoever may change the configuration's file.
fn may_be_logged(key: &str, value: &str) -> Result<(), Refused> {
    let verbose = if key == "log.level" { logs::verbose(value) } else { None };
    let said = |name| format!("{name} may log tokens: its lines can be had by log.level in the configuration only");
    verbose.map_or(Ok(()), |name| Err(SettingError::Wrong(said(name)).into()))
}

fn is_live(key: &str) -> bool {
    KEYS.iter().any(|known| known.name == key && known.live)
}

fn wrong(problem: Problem) -> Refused {
    SettingError::Wrong(problem.to_string()).into()
}

/// A value as TOML.
fn shown(loaded: &Loaded, key: &str) -> String {
    let value = values(&loaded.config).into_iter().find(|(name, _)| name == key).and_then(|(_, value)| value);
    value.unwrap_or_else(|| "not set".to_owned())
}

/// A value as `set` takes it: lists with commas, texts without their quotes.
fn written(loaded: &Loaded, key: &str) -> String {
    let value = shown(loaded, key);
    match toml::from_str::<toml::Table>(&format!("value = {value}")).ok().and_then(|mut table| table.remove("value")) {
        Some(toml::Value::String(text)) => text,
        Some(toml::Value::Array(items)) => items.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>().join(","),
        _ => value,
    }
}
