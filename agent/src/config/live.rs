//! PURE: settings that change while the agent runs, and what another reading of the sources would change.

use std::collections::BTreeMap;

use super::keys::KEYS;
use super::load::{apply, together};
use super::nearest::nearest;
use super::render::values;
use super::value::Raw;
use super::{BrokerUrl, Config, Loaded, Origin, Problem, Secret, SinkConfig};

/// A setting that another reading gives another value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// Its name.
    pub key: String,
    /// Its value here, in TOML; none where nothing is set. A secret's is hidden.
    pub before: Option<String>,
    /// Its value there.
    pub after: Option<String>,
    /// It can change while the agent runs.
    pub live: bool,
}

impl Loaded {
    /// With `key` at `value`, as a variable would hold it.
    ///
    /// # Errors
    /// What is wrong with it, or that it takes a restart.
    pub fn with(&self, key: &str, value: &str, origin: Origin) -> Result<Self, Problem> {
        let changed = self.placed(key, value, origin)?;
        changed.check_together()?;
        Ok(changed)
    }

    /// The same, without a look at what the other settings make of it.
    ///
    /// # Errors
    /// What is wrong with it alone, or that it takes a restart.
    pub fn placed(&self, key: &str, value: &str, origin: Origin) -> Result<Self, Problem> {
        let refused = |said: String| Problem { key: Some(key.to_owned()), ..Problem::new(Origin::Default, said) };
        let Some(known) = KEYS.iter().find(|known| known.name == key) else {
            return Err(refused(unknown(key, &self.config.sinks)));
        };
        if !known.live {
            return Err(refused(
                "it changes with the next start only: change it in the file or environment".to_owned(),
            ));
        }
        let raw = Raw::One(value.to_owned());
        if raw.is_empty() && !matches!(key, "stages.enabled" | "stages.prefixes" | "stages.drop" | "spool.expiry") {
            return Err(refused(format!("a value is missing; allowed is {}", known.allowed)));
        }
        let raw = if raw.is_empty() { Raw::Many(Vec::new()) } else { raw };
        let mut changed = self.clone();
        let setting = super::file::Setting { key: key.to_owned(), raw, origin };
        apply(KEYS, &mut changed.config, &setting).map_err(|problem| Problem { origin: Origin::Default, ..problem })?;
        if key == "spool.max_size" && self.config.spool.max_bytes.min(changed.config.spool.max_bytes) == 0 {
            return Err(refused("a spool is begun or forgone with the next start only".to_owned()));
        }
        changed.origins.insert(key.to_owned(), setting.origin);
        Ok(changed)
    }

    /// Whether the settings can work beside each other.
    ///
    /// # Errors
    /// The first that cannot.
    pub fn check_together(&self) -> Result<(), Problem> {
        together(&self.config).into_iter().next().map_or(Ok(()), |(key, value, said)| {
            Err(Problem { key: Some(key.to_owned()), value: Some(value), ..Problem::new(Origin::Default, said) })
        })
    }

    /// What has another value in `other`.
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let (mut before, mut after): (BTreeMap<_, _>, BTreeMap<_, _>) =
            (values(&self.config).into_iter().collect(), values(&other.config).into_iter().collect());
        let mut names: Vec<String> = before.keys().chain(after.keys()).cloned().collect();
        names.sort_unstable();
        names.dedup();
        let differences = names.into_iter().filter_map(|key| {
            let (before, after) = (before.remove(&key).flatten(), after.remove(&key).flatten());
            let live = KEYS.iter().any(|known| known.name == key && known.live);
            let is_other = before != after || secret_of(&self.config, &key) != secret_of(&other.config, &key);
            is_other.then_some(Difference { key, before, after, live })
        });
        differences.collect()
    }
}

/// What stands behind a value that is not shown as it is.
fn secret_of(config: &Config, key: &str) -> Vec<Secret> {
    let of_sink = || {
        let (name, key) = key.strip_prefix("sinks.")?.rsplit_once('.')?;
        let whole = |url: &BrokerUrl| Secret::new(url.expose().as_str());
        Some(match (key, config.sinks.iter().find(|sink| sink.name() == name)?) {
            ("authorization", SinkConfig::Http(http)) => http.authorization.iter().cloned().collect(),
            ("urls", SinkConfig::Http(http)) => http.urls.iter().map(Secret::new).collect(),
            ("url", SinkConfig::Amqp(amqp)) => vec![whole(&amqp.url)],
            ("urls", SinkConfig::Nats(nats)) => nats.urls.iter().map(whole).collect(),
            _ => Vec::new(),
        })
    };
    match key {
        "token" => vec![config.token.clone()],
        "authorization" => config.authorization.iter().cloned().collect(),
        _ => of_sink().unwrap_or_default(),
    }
}

fn unknown(key: &str, sinks: &[SinkConfig]) -> String {
    if sinks.iter().any(|sink| key.starts_with(&format!("sinks.{}.", sink.name()))) {
        return "a sink's settings change with the next start only".to_owned();
    }
    match nearest(key, KEYS.iter().map(|key| key.name)) {
        Some(near) => format!("no setting has this name, did you mean {near}?"),
        None => "no setting has this name: `get` lists them".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HttpConfig;

    #[test]
    fn another_secret_is_a_difference_and_not_shown() {
        let loaded = |token: &str| Loaded { config: Config::new(token), origins: BTreeMap::new() };
        let differences = loaded("old-token").differences(&loaded("new-token"));
        assert_eq!(differences.iter().map(|one| (&*one.key, one.live)).collect::<Vec<_>>(), [("token", false)]);
        assert!(!format!("{differences:?}").contains("-token"), "{differences:?}");
        assert_eq!(loaded("old-token").differences(&loaded("old-token")), []);
        let sink = |query: &str, key: &str| {
            let http = HttpConfig {
                authorization: Some(Secret::new(key)),
                ..HttpConfig::new([format!("http://bot/?{query}")])
            };
            let mut loaded = loaded("token");
            loaded.config.sinks = vec![SinkConfig::Http(http)];
            loaded
        };
        for (query, key, changed) in [("a=1", "new", "authorization"), ("a=2", "old", "urls")] {
            let differences = sink("a=1", "old").differences(&sink(query, key));
            assert_eq!(differences.iter().map(|one| &*one.key).collect::<Vec<_>>(), [format!("sinks.http.{changed}")]);
        }
    }

    /// A stage and what it needs can go in either order, as long as the whole can work.
    #[test]
    fn several_settings_are_checked_as_a_whole() {
        let bare = Loaded { config: Config::new("token"), origins: BTreeMap::new() };
        let set = |loaded: &Loaded, key: &str, value: &str| loaded.placed(key, value, Origin::Default).expect("valid");
        assert!(bare.with("stages.enabled", "drop", Origin::Default).is_err(), "it names no type");
        let half = set(&bare, "stages.enabled", "drop");
        assert!(half.check_together().is_err());
        let whole = set(&half, "stages.drop", "TYPING_START");
        assert_eq!(whole.check_together(), Ok(()));
        let emptied = set(&set(&whole, "stages.drop", ""), "stages.enabled", "");
        assert_eq!(emptied.check_together(), Ok(()));
        assert_eq!(whole.differences(&emptied).len(), 2);
    }
}
