//! PURE: the URL of a message broker. It holds the credentials that brokers' tools write into URLs, and shows itself without.

use std::fmt;

use reqwest::Url;

/// A URL that only [`BrokerUrl::expose`] gives away whole: every other way of showing it leaves its credentials out.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerUrl {
    whole: Url,
    shown: String,
}

impl BrokerUrl {
    /// Reads `text`, whose scheme must be one of `schemes`.
    ///
    /// # Errors
    /// Why it cannot be used, in words, without its credentials.
    pub fn parse(text: &str, schemes: &[&str]) -> Result<Self, String> {
        let expected = || format!("it must begin with {}://", schemes.join(":// or "));
        let whole: Url = text.parse().map_err(|err| format!("{err}; {}", expected()))?;
        if !schemes.contains(&whole.scheme()) {
            return Err(expected());
        }
        let host = whole.host_str().filter(|host| !host.is_empty()).ok_or("it names no host")?;
        let port = whole.port().map(|port| format!(":{port}")).unwrap_or_default();
        let path = whole.path().trim_end_matches('/');
        let shown = format!("{}://{host}{port}{path}", whole.scheme());
        Ok(Self { whole, shown })
    }

    /// The whole URL, for the one place that has to connect.
    pub fn expose(&self) -> &Url {
        &self.whole
    }

    /// The URL without credentials and parameters.
    pub fn shown(&self) -> &str {
        &self.shown
    }
}

impl fmt::Debug for BrokerUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.shown)
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_never_shown() {
        let url = BrokerUrl::parse("amqps://bot:SECRET@mq:5671/%2f?heartbeat=5", &["amqp", "amqps"]).unwrap();
        assert_eq!(format!("{url} {url:?} {}", url.shown()), ["amqps://mq:5671/%2f"; 3].join(" "));
        assert_eq!(url.expose().password(), Some("SECRET"));
    }

    #[test]
    fn what_cannot_be_used_says_why_without_credentials() {
        for (text, why) in [
            ("http://bot:SECRET@mq/", "it must begin with nats:// or tls://"),
            ("bot:SECRET@mq", "it must begin with nats:// or tls://"),
            ("nats://bot:SECRET@mq:port", "invalid port number; it must begin with nats:// or tls://"),
            ("nats://bot:SECRET@/", "empty host; it must begin with nats:// or tls://"),
        ] {
            assert_eq!(BrokerUrl::parse(text, &["nats", "tls"]).unwrap_err(), why, "{text}");
        }
    }
}
