//! Where the agent is and how one is let in: its URL, the token, and the rules that keep both safe.

use std::path::{Path, PathBuf};

use pilothouse_shared::wire;
use tokio_tungstenite::tungstenite::http::Uri;

/// An agent's link, checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// The whole URL.
    pub url: String,
    /// Without the path, as shown.
    pub shown: String,
    /// Whether it is on this machine.
    pub local: bool,
}

/// Where the token comes from; a file is read anew at each attempt, as an agent that starts later writes it then.
#[derive(Clone, PartialEq, Eq)]
pub enum Token {
    /// Given.
    Given(String),
    /// In the data folder of an agent on this machine.
    File(PathBuf),
    /// None was given, and a local one is not sent elsewhere.
    Missing,
}

impl Address {
    /// Reads `ws://host:port`, `wss://host:port` or `host:port`; `http` and `https` mean the same.
    ///
    /// # Errors
    /// What is wrong and what is allowed.
    pub fn parse(text: &str, insecure: bool) -> Result<Self, String> {
        let whole = if text.contains("://") { text.to_owned() } else { format!("ws://{text}") };
        let uri: Uri = whole.parse().map_err(|error| format!("{text:?} is no address: {error}"))?;
        let scheme = match uri.scheme_str().unwrap_or_default() {
            "http" => "ws",
            "https" => "wss",
            other => other,
        };
        let authority = uri.authority().ok_or_else(|| format!("{text:?} names no host: write ws://host:port"))?;
        if !matches!(scheme, "ws" | "wss") {
            return Err(format!("{scheme}:// is not spoken: write ws:// (this machine) or wss:// (elsewhere)"));
        }
        if authority.as_str().contains('@') {
            return Err("a token does not belong into the address: use PILOTHOUSE_CONSOLE_TOKEN".into());
        }
        let local = is_loopback(authority.host());
        if scheme == "ws" && !local && !insecure {
            return Err(format!(
                "ws://{authority} would send the token unencrypted: use wss://, an SSH tunnel, or --insecure"
            ));
        }
        let path = if matches!(uri.path(), "" | "/") { wire::PATH } else { uri.path() };
        let shown = format!("{scheme}://{authority}");
        Ok(Self { url: format!("{shown}{path}"), shown, local })
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl Token {
    /// The token given, else the file of an agent on this machine; that one is never sent elsewhere.
    pub fn new(given: Option<String>, address: &Address, data_dir: &Path) -> Self {
        match given.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()) {
            Some(token) => Self::Given(token),
            None if address.local => Self::File(data_dir.join(wire::TOKEN_FILE)),
            None => Self::Missing,
        }
    }

    /// The token itself.
    ///
    /// # Errors
    /// Why there is none, and what to do.
    pub fn read(&self) -> Result<String, String> {
        match self {
            Self::Given(token) => Ok(token.clone()),
            Self::File(path) => match std::fs::read_to_string(path) {
                Ok(token) => Ok(token.trim().to_owned()),
                Err(error) => Err(format!("no token: {} cannot be read ({error})", path.display())),
            },
            Self::Missing => Err("no token for an agent elsewhere: set PILOTHOUSE_CONSOLE_TOKEN".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_completed_and_checked() {
        let parsed = |text| Address::parse(text, false).expect(text);
        assert_eq!(parsed("127.0.0.1:7600"), parsed("ws://127.0.0.1:7600"));
        assert_eq!(parsed("ws://localhost:7600").url, "ws://localhost:7600/v1/console");
        assert_eq!(parsed("https://eu-1.example:7600"), parsed("wss://eu-1.example:7600"));
        assert_eq!(parsed("http://localhost:7600"), parsed("localhost:7600"));
        assert!(parsed("ws://[::1]:7600").local);
        assert!(!parsed("wss://eu-1.example:7600").local);
        assert_eq!(parsed("wss://eu-1.example/elsewhere").url, "wss://eu-1.example/elsewhere");
    }

    #[test]
    fn a_token_does_not_leave_the_machine_unencrypted() {
        let refused = |text| Address::parse(text, false).expect_err(text);
        assert!(refused("ws://10.0.0.1:7600").contains("--insecure"));
        assert!(Address::parse("ws://10.0.0.1:7600", true).is_ok());
        assert!(refused("http://10.0.0.1:7600").contains("--insecure"));
        assert!(refused("ftp://localhost").contains("wss://"));
        assert!(refused("ws://me:secret@localhost").contains("PILOTHOUSE_CONSOLE_TOKEN"));
        assert!(refused("ws://127.0.0.1.example:7600").contains("--insecure"));
        assert!(refused("").contains("no address"));
    }

    #[test]
    fn the_local_token_is_only_for_local_agents() {
        let elsewhere = Address::parse("wss://eu-1.example", false).expect("valid");
        let here = Address::parse("localhost:7600", false).expect("valid");
        let token = |given: Option<&str>, address| Token::new(given.map(str::to_owned), address, Path::new("/none"));
        assert!(token(None, &elsewhere).read().expect_err("none").contains("PILOTHOUSE_CONSOLE_TOKEN"));
        assert!(token(None, &here).read().expect_err("none").contains("/none/console.token"));
        assert_eq!(token(Some(" secret\n"), &elsewhere).read(), Ok("secret".to_owned()));
    }
}
