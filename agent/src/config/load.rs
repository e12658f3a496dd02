//! Lays the sources of a configuration over each other and finds every problem, not only the first.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::{fs, slice};

use pilothouse_shared::paths;
use pilothouse_shared::stage::StageName;

use super::broker_keys::{AMQP_KEYS, NATS_KEYS, amqp_defaults, nats_defaults};
use super::file::{self, Document, Setting};
use super::keys::{KEYS, Key, last};
use super::nearest::nearest;
use super::notices;
use super::problem::{Origin, Problem, Problems};
use super::sink_keys::{HTTP_KEYS, NDJSON_KEYS};
use super::value::{Raw, Rejected, without_credentials};
use super::{Config, HttpConfig, NdjsonConfig, SinkConfig, certificate, scripts};

/// The variable that names the file.
pub const FILE_VARIABLE: &str = "PILOTHOUSE_CONFIG";
/// Variables that make or change a sink: the variable, the sink's name, which is also its kind, and its key. The
/// last one set of a sink wins.
pub(super) const SINK_VARIABLES: [(&str, &str, &str); 4] = [
    ("EVENT_LISTENER_URL", "http", "urls"),
    ("EVENT_HANDLER_URLS", "http", "urls"),
    ("PILOTHOUSE_AMQP_URL", "amqp", "url"),
    ("PILOTHOUSE_NATS_URLS", "nats", "urls"),
];

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
    laid_over(sources).finish()
}

/// The data folder, for what needs nothing else of the configuration, such as the bot's token.
///
/// # Errors
/// What is wrong with it, or with a source as a whole.
pub fn data_dir(sources: &Sources) -> Result<PathBuf, Problems> {
    let Loader { config, problems, .. } = laid_over(sources);
    let about_it = |problem: &Problem| problem.key.as_deref().is_none_or(|key| key == "data_dir");
    let problems: Vec<Problem> = problems.into_iter().filter(about_it).collect();
    if problems.is_empty() { Ok(config.data_dir) } else { Err(Problems(problems)) }
}

fn laid_over(sources: &Sources) -> Loader {
    let mut loader = Loader { config: defaults(&sources.env), origins: BTreeMap::new(), problems: Vec::new() };
    let mut document = read_file(sources);
    loader.problems.append(&mut document.problems);
    loader.settings(document.settings);
    document.scripts.iter().for_each(|setting| loader.script(setting));
    for (origin, settings) in document.sinks {
        loader.sink(&origin, settings);
    }
    let (settings, sinks) = loader.environment(&sources.env);
    loader.settings(settings);
    for (name, setting) in sinks {
        loader.sink_of_variable(name, setting);
    }
    loader.settings(flags(&sources.flags));
    loader.check_sinks();
    loader.check_together();
    loader.config.notices.extend(notices::about(&sources.env));
    loader.config.notices.extend(loader.config.chat.notice(loader.config.intents));
    loader
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

    fn script(&mut self, setting: &Setting) {
        let key = format!("scripts.{}", setting.key);
        match scripts::script(setting) {
            Ok(script) => {
                self.origins.insert(key, setting.origin.clone());
                self.config.scripts.push(script);
            }
            Err(said) => self.problem(setting.origin.clone(), &key, &said),
        }
    }

    fn say_empty(&mut self, origin: &Origin) {
        self.config.notices.push(format!("{origin} is empty: it counts as not set"));
    }

    fn sink(&mut self, origin: &Origin, settings: Vec<Setting>) {
        let mut sink = defaults_of(&settings);
        let refused: Vec<Problem> =
            settings.iter().filter_map(|setting| apply_to_sink(&mut sink, setting).err()).collect();
        let name = sink.name().to_owned();
        if self.config.sinks.iter().any(|sink| sink.name() == name) {
            self.problem(origin.clone(), "name", &format!("another sink is called {name} already"));
        }
        self.problems.extend(refused);
        self.origins.insert(format!("sinks.{name}"), origin.clone());
        for setting in settings.into_iter().filter(|setting| !setting.raw.is_empty()) {
            self.origins.insert(format!("sinks.{name}.{}", setting.key), setting.origin);
        }
        self.config.sinks.push(sink);
    }

    fn problem(&mut self, origin: Origin, key: &str, said: &str) {
        self.problems.push(Problem { key: Some(key.to_owned()), ..Problem::new(origin, said) });
    }

    /// What the environment sets: the agent's settings, and one each of the sinks that it names.
    fn environment(&mut self, env: &BTreeMap<String, OsString>) -> (Vec<Setting>, BTreeMap<&'static str, Setting>) {
        let mut settings = Vec::new();
        for key in KEYS {
            settings.extend(key.env.and_then(|variable| self.variable(env, variable, key.name)));
        }
        let mut sinks = BTreeMap::new();
        for (variable, sink, key) in SINK_VARIABLES {
            sinks.extend(self.variable(env, variable, key).map(|setting| (sink, setting)));
        }
        (settings, sinks)
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

    /// A variable makes, or changes, the sink that is called like its kind.
    fn sink_of_variable(&mut self, name: &str, setting: Setting) {
        let known = self.config.sinks.iter_mut().find(|sink| sink.name() == name && sink.kind() == name);
        let Some(sink) = known else {
            let origin = setting.origin.clone();
            let kind = Setting { key: "kind".to_owned(), raw: Raw::One(name.to_owned()), origin: origin.clone() };
            return self.sink(&origin, vec![kind, setting]);
        };
        match apply_to_sink(sink, &setting) {
            Ok(()) => drop(self.origins.insert(format!("sinks.{name}.{}", setting.key), setting.origin)),
            Err(problem) => self.problems.push(problem),
        }
    }

    /// What no single value shows.
    fn check_together(&mut self) {
        if self.config.token.expose().is_empty() && !self.has_problem("token") {
            self.problem(Origin::Default, "token", "not set: put the bot's token into the environment variable TOKEN");
        }
        self.check_control();
        if let Some((key, said)) = self.config.chat.problem(self.config.intents) {
            let origin = self.origins.get(key).cloned().unwrap_or(Origin::Default);
            self.problem(origin, key, said);
        }
        for (key, value, said) in together(&self.config) {
            self.problem_with_value(key, value, said);
        }
    }

    fn check_control(&mut self) {
        let control = self.config.control.clone();
        let wrong = ["control.tls_cert", "control.tls_key"].iter().any(|key| self.has_problem(key));
        match (&control.tls_cert, &control.tls_key) {
            _ if wrong => {}
            (Some(cert), Some(key)) => {
                if let Err(said) = certificate::pair(cert, key) {
                    self.problem_with_value("control.tls_key", key.display().to_string(), &said);
                }
            }
            (Some(_), None) => self.problem(Origin::Default, "control.tls_key", "not set, but control.tls_cert is"),
            (None, Some(_)) => self.problem(Origin::Default, "control.tls_cert", "not set, but control.tls_key is"),
            (None, None) if !self.config.listen.ip().is_loopback() && !self.config.insecure => {
                let said = "beyond loopback everybody on the network could read tokens: set control.tls_cert and \
                            control.tls_key, or listen on 127.0.0.1, or accept it with --insecure (insecure = true)";
                self.problem_with_value("listen", self.config.listen.to_string(), said);
            }
            (None, None) => {}
        }
    }

    /// The URLs of a sink may stand in the file or in the environment, so it is complete only after both.
    fn check_sinks(&mut self) {
        if self.has_problem("urls") {
            return;
        }
        let without =
            self.config.sinks.iter().filter(|sink| matches!(sink, SinkConfig::Http(http) if http.urls.is_empty()));
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
            if let SinkConfig::Http(http) = sink {
                http.authorization = http.authorization.take().or_else(|| self.config.authorization.clone());
            }
        }
        if self.problems.is_empty() {
            Ok(Loaded { config: self.config, origins: self.origins })
        } else {
            Err(Problems(self.problems))
        }
    }
}

/// Settings that cannot work beside the others: key, value, what is wrong.
pub(super) fn together(config: &Config) -> Vec<(&'static str, String, &'static str)> {
    let mut wrong = Vec::new();
    if config.bot_port.is_some() && config.authorization.is_none() {
        let said = "everybody on the network could command the bot there: set `authorization` (AUTHORIZATION)";
        wrong.push(("bot_port", config.bot_port.unwrap_or_default().to_string(), said));
    }
    if config.stages.enabled.contains(&StageName::Drop) && config.stages.drop.is_empty() {
        let said = "the stage `drop` is enabled and stages.drop names no event type: name some, or leave `drop` out";
        wrong.push(("stages.enabled", "drop".to_owned(), said));
    }
    let interval = config.gateway.identify_interval;
    if interval < Duration::from_secs(5) && config.rest_url.contains("discord.com") {
        let said = "Discord demands 5s: fewer are only for a stand-in that rest_url names";
        wrong.push(("gateway.identify_interval", format!("{interval:?}"), said));
    }
    wrong
}

/// A sink of the kind that its settings say; one that is not known is refused when it is applied.
fn defaults_of(settings: &[Setting]) -> SinkConfig {
    let kind = settings.iter().find(|setting| setting.key == "kind").and_then(|setting| setting.raw.text().ok());
    match kind.map(str::to_lowercase).as_deref() {
        Some("amqp") => SinkConfig::Amqp(amqp_defaults()),
        Some("nats") => SinkConfig::Nats(nats_defaults()),
        Some("ndjson") => SinkConfig::Ndjson(NdjsonConfig::default()),
        _ => SinkConfig::Http(HttpConfig::new([""; 0])),
    }
}

fn apply_to_sink(sink: &mut SinkConfig, setting: &Setting) -> Result<(), Problem> {
    let kind = sink.kind();
    match sink {
        SinkConfig::Http(http) => apply_of_kind(kind, HTTP_KEYS, http, setting),
        SinkConfig::Amqp(amqp) => apply_of_kind(kind, AMQP_KEYS, amqp, setting),
        SinkConfig::Nats(nats) => apply_of_kind(kind, NATS_KEYS, nats, setting),
        SinkConfig::Ndjson(ndjson) => apply_of_kind(kind, NDJSON_KEYS, ndjson, setting),
    }
}

/// As [`apply`]; a key that is too far from any of this kind's is told with those that there are.
fn apply_of_kind<T>(kind: &str, keys: &[Key<T>], sink: &mut T, setting: &Setting) -> Result<(), Problem> {
    let names = || keys.iter().map(|key| key.name);
    if names().any(|name| name == setting.key) || nearest(&setting.key, names()).is_some() {
        return apply(keys, sink, setting);
    }
    let names = names().collect::<Vec<_>>().join(", ");
    let said = format!("a sink of kind {kind} has no such setting: it has {names}");
    Err(Problem { key: Some(setting.key.clone()), ..Problem::new(setting.origin.clone(), said) })
}

/// Sets what the setting says, or tells what is wrong with it. An empty value sets nothing.
pub(super) fn apply<T>(keys: &[Key<T>], target: &mut T, setting: &Setting) -> Result<(), Problem> {
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
