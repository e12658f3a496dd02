//! PURE: variables that are set and do nothing, said at the start instead of ignored.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::keys::KEYS;
use super::load::{FILE_VARIABLE, SINK_VARIABLES};
use super::nearest::nearest;

/// Variables of features that come later, and how those are called.
pub(super) const LATER: [(&str, &[&str]); 1] =
    [("metrics for InfluxDB", &["INFLUX_URL", "INFLUX_ORG", "INFLUX_BUCKET", "INFLUX_TOKEN"])];

/// Variables of the guide that an agent has no use for, beside `SERVER_URL_` with a number.
pub(super) const NEEDLESS: [&str; 3] = ["GATEWAY_MANAGER_URL", "SERVER_URL", "SHARD_SERVER_PORT"];

/// One line for each thing worth saying.
pub(super) fn about(env: &BTreeMap<String, OsString>) -> Vec<String> {
    let set: Vec<&str> = env.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| name.as_str()).collect();
    let mut notices = Vec::new();
    if set.contains(&"EVENT_HANDLER_URLS") && set.contains(&"EVENT_LISTENER_URL") {
        notices.push("EVENT_LISTENER_URL is not used: EVENT_HANDLER_URLS is set".to_owned());
    }
    let needless: Vec<&str> = set.iter().copied().filter(|name| is_needless(name)).collect();
    if !needless.is_empty() {
        notices.push(format!("not needed, the agent does it all in one process: {}", needless.join(", ")));
    }
    for (feature, variables) in LATER {
        let found: Vec<&str> = variables.iter().copied().filter(|name| set.contains(name)).collect();
        if !found.is_empty() {
            notices.push(format!("this version does not act on {} yet: {feature}", found.join(", ")));
        }
    }
    notices.extend(set.into_iter().filter_map(misspelt));
    notices
}

fn is_needless(name: &str) -> bool {
    let numbered = name.strip_prefix("SERVER_URL_").is_some_and(|n| n.parse::<u32>().is_ok());
    numbered || NEEDLESS.contains(&name)
}

fn misspelt(name: &str) -> Option<String> {
    let of_sinks = SINK_VARIABLES.map(|(variable, ..)| variable);
    let ours = || KEYS.iter().filter_map(|key| key.env).chain([FILE_VARIABLE]).chain(of_sinks);
    if !name.starts_with("PILOTHOUSE_") || ours().any(|known| known == name) {
        return None;
    }
    let near = nearest(name, ours()).filter(|near| near.len().abs_diff(name.len()) <= 2)?;
    Some(format!("{name} is no setting and does nothing, did you mean {near}?"))
}
