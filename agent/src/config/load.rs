//! Lays the sources of a configuration over each other and finds every problem, not only the first.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, slice};

use pilothouse_shared::paths;
use pilothouse_shared::stage::StageName;

use super::file::{self, Document, Setting};
use super::keys::{KEYS, Key, SINK_KEYS, last};
use super::nearest::nearest;
use super::notices;
use super::problem::{Origin, Problem, Problems};
use super::value::{Raw, Rejected, without_credentials};
use super::{Config, HttpConfig, SinkConfig};

/// The variable that names the file.
pub const FILE_VARIABLE: &str = "PILOTHOUSE_CONFIG";
const SINK_VARIABLES: [&str; 2] = ["EVENT_LISTENER_URL", "EVENT_HANDLER_URLS"];

/// Where settings come from; later ones win: file, environment, flags.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The TOML file, unless `PILOTHOUSE_CONFIG` names it.
    pub file: Option<PathBuf>,
    /// The environment.
    pub env: BTreeMap<String, OsString>,
    /// Flags, by their name without `--`.
    pub flags: Vec<(String, String)>,
}

/// A configuration and where each of its values was written.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Key to origin, of all that is not the default; a sink's key is `sinks.NAME.KEY`.
    pub origins: BTreeMap<String, Origin>,
}

/// Lays the sources over the defaults.
///
/// # Errors
/// Everything that is wrong in any of them.
pub fn load(sources: &Sources) -> Result<Loaded, Problems> {
    let mut loader = Loader { config: defaults(&sources.env), origins: BTreeMap::new(), problems: Vec::new() };
    let mut document = read_file(sources);
    loader.problems.append(&mut document.problems);
    loader.settings(document.settings);
    for (origin, settings) in document.sinks {
        loader.sink(&origin, settings);
    }
    let (settings, sink) = loader.environment(&sources.env);
    loader.settings(settings);
    loader.sink_of_variables(sink);
    loader.settings(flags(&sources.flags));
    loader.check_sinks();
    loader.check_together();
    loader.config.notices.extend(notices::about(&sources.env));
    loader.finish()
}

fn defaults(env: &BTreeMap<String, OsString>) -> Config {
    let mut config = Config::new("");
    config.data_dir = paths::data_dir(|name| env.get(name).cloned());
    if let Ok(host) = fs::read_to_string("/proc/sys/kernel/hostname")
        && let Ok(name) = Raw::One(host).name()
    {
        config.name = name;
    }
    config
}

fn read_file(sources: &Sources) -> Document {
    let variable = sources.env.get(FILE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let Some(path) = sources.file.clone().or(variable) else { return Document::default() };
    let path = Arc::new(path);
    match fs::read_to_string(&*path) {
        Ok(text) => file::parse(&path, &text),
        Err(err) => {
            let problem = Problem::new(Origin::File(path, 0), format!("cannot read the configuration: {err}"));
            Document { problems: vec![problem], ..Document::default() }
        }
    }
}

fn flags(flags: &[(String, String)]) -> Vec<Setting> {
    let keys = |flag: &str| KEYS.iter().find(|key| key.flag == Some(flag));
    let settings = flags.iter().filter_map(|(flag, value)| {
        let key = keys(flag)?.name.to_owned();
        Some(Setting { key, raw: Raw::One(value.clone()), origin: Origin::Flag(flag.clone()) })
    });
    settings.collect()
}

struct Loader {
    config: Config,
    origins: BTreeMap<String, Origin>,
    problems: Vec<Problem>,
}

impl Loader {
    fn settings(&mut self, settings: Vec<Setting>) {
        for setting in settings {
            match apply(KEYS, &mut self.config, &setting) {
                Ok(()) if setting.raw.is_empty() => self.say_empty(&setting.origin),
                Ok(()) => drop(self.origins.insert(setting.key, setting.origin)),
                Err(problem) => self.problems.push(problem),
            }
        }
    }

    fn say_empty(&mut self, origin: &Origin) {
        self.config.notices.push(format!("{origin} is empty: it counts as not set"));
    }

    fn sink(&mut self, origin: &Origin, settings: Vec<Setting>) {
        let mut http = HttpConfig::new([""; 0]);
        let refused: Vec<Problem> =
            settings.iter().filter_map(|setting| apply(SINK_KEYS, &mut http, setting).err()).collect();
        if self.config.sinks.iter().any(|sink| sink.name() == http.name) {
            self.problem(origin.clone(), "name", &format!("another sink is called {} already", http.name));
        }
        self.problems.extend(refused);
        self.origins.insert(format!("sinks.{}", http.name), origin.clone());
        for setting in settings.into_iter().filter(|setting| !setting.raw.is_empty()) {
            self.origins.insert(format!("sinks.{}.{}", http.name, setting.key), setting.origin);
        }
        self.config.sinks.push(SinkConfig::Http(http));
    }

    fn problem(&mut self, origin: Origin, key: &str, said: &str) {
        self.problems.push(Problem { key: Some(key.to_owned()), ..Problem::new(origin, said) });
    }

    /// What the environment sets: the agent's settings, and the URLs of its sink.
    fn environment(&mut self, env: &BTreeMap<String, OsString>) -> (Vec<Setting>, Option<Setting>) {
        let mut settings = Vec::new();
        for key in KEYS {
            settings.extend(key.env.and_then(|variable| self.variable(env, variable, key.name)));
        }
        let mut sink = None;
        for variable in SINK_VARIABLES {
            sink = self.variable(env, variable, "urls").or(sink);
        }
        (settings, sink)
    }

    fn variable(&mut self, env: &BTreeMap<String, OsString>, variable: &str, key: &str) -> Option<Setting> {
        let origin = Origin::Env(variable.to_owned());
        match env.get(variable)?.to_str().map(|text| Raw::One(text.to_owned())) {
            None => self.problem(origin, key, "this is not UTF-8"),
            Some(raw) if raw.is_empty() => self.say_empty(&origin),
            Some(raw) => return Some(Setting { key: key.to_owned(), raw, origin }),
        }
        None
    }

    /// The variables make, or change, the sink called `http`.
    fn sink_of_variables(&mut self, setting: Option<Setting>) {
        let Some(setting) = setting else { return };
        let known = self.config.sinks.iter_mut().find(|sink| sink.name() == "http");
        let Some(SinkConfig::Http(http)) = known else {
            return self.sink(&setting.origin.clone(), vec![setting]);
        };
        match apply(SINK_KEYS, http, &setting) {
            Ok(()) => drop(self.origins.insert("sinks.http.urls".to_owned(), setting.origin)),
            Err(problem) => self.problems.push(problem),
        }
    }

    /// What no single value shows.
    fn check_together(&mut self) {
        if self.config.token.expose().is_empty() && !self.has_problem("token") {
            self.problem(Origin::Default, "token", "not set: put the bot's token into the environment variable TOKEN");
        }
        if !self.config.listen.ip().is_loopback() && !self.config.insecure {
            let said = "beyond loopback everybody on the network could read the console's token, as there is no TLS yet: \
                        listen on 127.0.0.1, or accept it with --insecure (insecure = true)";
            self.problem_with_value("listen", self.config.listen.to_string(), said);
        }
        if self.config.stages.enabled.contains(&StageName::Drop) && self.config.stages.drop.is_empty() {
            let said =
                "the stage `drop` is enabled and stages.drop names no event type: name some, or leave `drop` out";
            self.problem_with_value("stages.enabled", "drop".to_owned(), said);
        }
        let interval = self.config.gateway.identify_interval;
        if interval < Duration::from_secs(5) && self.config.rest_url.contains("discord.com") {
            let said = "Discord demands 5s: fewer are only for a stand-in that rest_url names";
            self.problem_with_value("gateway.identify_interval", format!("{interval:?}"), said);
        }
    }

    /// The URLs of a sink may stand in the file or in the environment, so it is complete only after both.
    fn check_sinks(&mut self) {
        if self.has_problem("urls") {
            return;
        }
        let without = self.config.sinks.iter().filter(|SinkConfig::Http(http)| http.urls.is_empty());
        let problems = without.map(|sink| {
            let origin = self.origins.get(&format!("sinks.{}", sink.name())).cloned().unwrap_or(Origin::Default);
            let said = format!("the sink {} has none: name at least one URL", sink.name());
            Problem { key: Some("urls".to_owned()), ..Problem::new(origin, said) }
        });
        self.problems.extend(problems.collect::<Vec<_>>());
    }

    fn has_problem(&self, key: &str) -> bool {
        self.problems.iter().any(|problem| problem.key.as_deref() == Some(key))
    }

    fn problem_with_value(&mut self, key: &str, value: String, said: &str) {
        let origin = self.origins.get(key).cloned().unwrap_or(Origin::Default);
        self.problems.push(Problem { key: Some(key.to_owned()), value: Some(value), ..Problem::new(origin, said) });
    }

    fn finish(mut self) -> Result<Loaded, Problems> {
        for sink in &mut self.config.sinks {
            let SinkConfig::Http(http) = sink;
            http.authorization = http.authorization.take().or_else(|| self.config.authorization.clone());
        }
        if self.problems.is_empty() {
            Ok(Loaded { config: self.config, origins: self.origins })
        } else {
            Err(Problems(self.problems))
        }
    }
}

/// Sets what the setting says, or tells what is wrong with it. An empty value sets nothing.
fn apply<T>(keys: &[Key<T>], target: &mut T, setting: &Setting) -> Result<(), Problem> {
    let Setting { key: name, raw, origin } = setting;
    let Some(key) = keys.iter().find(|key| key.name == name) else {
        return Err(unknown(keys, setting));
    };
    if raw.is_empty() {
        return Ok(());
    }
    (key.set)(target, raw).map_err(|Rejected(detail)| Problem {
        origin: origin.clone(),
        key: Some(name.clone()),
        value: (!key.secret).then(|| shown(raw)),
        said: detail.into_iter().chain([format!("allowed is {}", key.allowed)]).collect::<Vec<_>>().join("; "),
    })
}

/// The value is left out: nobody knows whether it is a secret.
fn unknown<T>(keys: &[Key<T>], setting: &Setting) -> Problem {
    let elsewhere = keys.iter().map(|key| key.name).find(|name| last(name) == last(&setting.key));
    let said = match elsewhere.or_else(|| nearest(&setting.key, keys.iter().map(|key| key.name))) {
        Some(near) => format!("no setting has this name, did you mean {near}?"),
        None => "no setting has this name: `pilothouse-agent config example` lists them".to_owned(),
    };
    Problem { key: Some(setting.key.clone()), ..Problem::new(setting.origin.clone(), said) }
}

fn shown(raw: &Raw) -> String {
    let items = match raw {
        Raw::One(text) => slice::from_ref(text),
        Raw::Many(items) => items,
    };
    items.iter().map(|text| format!("\"{}\"", without_credentials(text))).collect::<Vec<_>>().join(", ")
}
