//! PURE: hides secrets in texts that others wrote: an answer of a script, a post in a channel.

use super::{Config, Secret, SinkConfig};

/// Shorter ones would be found everywhere.
const SHORTEST: usize = 4;

/// Knows every secret of a configuration.
#[derive(Clone, Debug, Default)]
pub struct Mask(Vec<Secret>);

impl Mask {
    /// Of this configuration's secrets, and these.
    pub fn new(config: &Config, more: impl IntoIterator<Item = Secret>) -> Self {
        let sinks = config.sinks.iter().flat_map(of_sink);
        let own = [Some(config.token.clone()), config.authorization.clone()].into_iter().flatten();
        let mut secrets: Vec<_> =
            own.chain(sinks).chain(more).filter(|secret| secret.expose().len() >= SHORTEST).collect();
        // One may be a part of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        Self(secrets)
    }

    /// `text` with `[secret]` where a secret stands.
    pub fn hide(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| match text.contains(secret.expose()) {
            true => text.replace(secret.expose(), &secret.to_string()),
            false => text,
        })
    }
}

fn of_sink(sink: &SinkConfig) -> Vec<Secret> {
    let password = |url: &super::BrokerUrl| url.expose().password().map(Secret::new);
    match sink {
        SinkConfig::Http(http) => http.authorization.iter().cloned().collect(),
        SinkConfig::Amqp(amqp) => password(&amqp.url).into_iter().collect(),
        SinkConfig::Nats(nats) => nats.urls.iter().filter_map(password).collect(),
        SinkConfig::Ndjson(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HttpConfig;

    #[test]
    fn every_secret_is_hidden_wherever_it_stands() {
        let mut config = Config::new("abcd.token");
        config.authorization = Some(Secret::new("abcd"));
        let http = HttpConfig { authorization: Some(Secret::new("of the sink")), ..HttpConfig::new(["http://x"]) };
        config.sinks = vec![SinkConfig::Http(http)];
        let mask = Mask::new(&config, [Secret::new("console"), Secret::new("")]);
        let text = "abcd.token abcdabcd of the sink, console";
        assert_eq!(mask.hide(text), "[secret] [secret][secret] [secret], [secret]");
        assert_eq!(mask.hide("nothing"), "nothing");
    }
}
