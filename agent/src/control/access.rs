//! Who is let in: no page of a browser, no name that leads here by accident, nobody without a token.

use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Instant;

use axum::Json;
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use pilothouse_shared::wire::Role;

use super::caller::{Caller, LOCAL, Way};
use super::failures::Failures;
use super::token::Token;
use super::tokens::Known;
use crate::config::Config;
use crate::telemetry::clock::wall_ms;

/// Why a request is turned away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// A web page sent it.
    Origin,
    /// It was sent to a name or address that is not ours.
    Host,
    /// The token is wrong or missing.
    Token,
    /// Too many wrong tokens lately.
    TooMany,
}

/// Checks tokens and counts the wrong ones.
#[derive(Debug)]
pub(super) struct Access {
    local: Token,
    known: Known,
    hosts: Vec<String>,
    failures: Mutex<Failures>,
    /// What the bot shows.
    bot: Option<Token>,
}

impl Access {
    /// Lets in whoever shows `local`, as an admin, or one of the tokens in the data folder; sent to us or to one of the
    /// configured hosts.
    pub(super) fn new(local: Token, config: &Config) -> Self {
        Self {
            local,
            known: Known::new(&config.data_dir),
            hosts: config.control.hosts.clone(),
            failures: Mutex::default(),
            bot: config.authorization.as_ref().map(|key| Token::new(key.expose())),
        }
    }

    /// Whether a request with these headers, received on `local`, may be looked at. A browser sends Origin from every
    /// page, and a page can make its own name resolve to this machine: then Host is that name.
    pub(super) fn admit(&self, headers: &HeaderMap, local: Option<IpAddr>) -> Result<(), Refusal> {
        no_page(headers)?;
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
        let ours = |host: &str| is_ours(host, local) || self.hosts.iter().any(|own| host.eq_ignore_ascii_case(own));
        if host.is_some_and(|host| ours(bare(host.host()))) { Ok(()) } else { Err(Refusal::Host) }
    }

    /// Whose token the request shows. A right one is let in however many wrong ones came before, so that nobody can
    /// lock out others who share an address.
    pub(super) fn caller(&self, headers: &HeaderMap, from: IpAddr, now: Instant) -> Result<Caller, Refusal> {
        let caller = bearer(headers).and_then(|shown| self.whose(shown, from));
        caller.ok_or_else(|| self.failed(from, now))
    }

    /// Whether a request shows the bot's key, as the whole header.
    /// Whoever was wrong too often is not even compared: people choose this key, and chosen keys can be guessed.
    pub(super) fn bot(&self, headers: &HeaderMap, from: IpAddr, now: Instant) -> Result<(), Refusal> {
        if self.failures.lock().expect("nothing panics while it holds this").are_many(from, now) {
            return Err(Refusal::TooMany);
        }
        let shown = headers.get(AUTHORIZATION).map_or(&[][..], |value| value.as_bytes());
        let known = self.bot.as_ref().is_some_and(|key| key.matches(shown));
        if known { Ok(()) } else { Err(self.failed(from, now)) }
    }

    fn failed(&self, from: IpAddr, now: Instant) -> Refusal {
        let within = self.failures.lock().expect("nothing panics while it holds this").count(from, now);
        if within { Refusal::Token } else { Refusal::TooMany }
    }

    fn whose(&self, shown: &[u8], from: IpAddr) -> Option<Caller> {
        if self.local.matches(shown) {
            return Some(Caller::new(LOCAL, Role::Admin, Some(from), Way::Http));
        }
        let (entry, digest) = self.known.find(shown, wall_ms())?;
        let caller = Caller::new(&entry.name, entry.role, Some(from), Way::Http);
        Some(Caller { digest: Some(digest), ..caller })
    }

    /// Whether the caller's token is still good.
    pub(super) fn holds(&self, caller: &Caller) -> bool {
        caller.digest.as_ref().is_none_or(|digest| self.known.entry(digest, wall_ms()).is_some())
    }
}

/// Refuses what a browser sends for a page.
pub(super) fn no_page(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.contains_key(ORIGIN) { Err(Refusal::Origin) } else { Ok(()) }
}

/// Without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn is_ours(host: &str, local: Option<IpAddr>) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => {
            address.is_loopback() || local.is_some_and(|local| local.to_canonical() == address.to_canonical())
        }
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Origin => {
                problem(StatusCode::FORBIDDEN, "web pages are not let in: the request has an Origin header")
            }
            Self::Host => problem(
                StatusCode::FORBIDDEN,
                "the Host header must be localhost, the IP address listened on, or one of control.hosts",
            ),
            Self::TooMany => {
                let text = "too many wrong tokens: wait a minute";
                ([(RETRY_AFTER, "60")], problem(StatusCode::TOO_MANY_REQUESTS, text)).into_response()
            }
            Self::Token => {
                let text = "the token is wrong, revoked or missing: send `Authorization: Bearer TOKEN`, \
                            on the agent's machine from console.token in its data folder";
                ([(WWW_AUTHENTICATE, "Bearer")], problem(StatusCode::UNAUTHORIZED, text)).into_response()
            }
        }
    }
}

/// `{"error":…}`.
pub(super) fn problem(status: StatusCode, text: &str) -> Response {
    (status, Json(serde_json::json!({ "error": text }))).into_response()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::failures::OF_ADDRESS;
    use super::super::tokens::Tokens;
    use super::*;

    fn config(data_dir: &Path, hosts: &[String]) -> Config {
        let mut config = Config { data_dir: data_dir.to_owned(), ..Config::new("bot-token") };
        config.control.hosts = hosts.to_vec();
        config
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value"))).collect()
    }

    #[test]
    fn only_our_own_names_are_let_in_and_no_web_page() {
        let folder = tempfile::tempdir().expect("a folder");
        let hosts = ["eu-1.example".to_owned(), "2001:db8::1".to_owned()];
        let access = Access::new(Token::new("right"), &config(folder.path(), &hosts));
        let local = Some(IpAddr::from([10, 0, 0, 5]));
        let admit = |headers: &HeaderMap| access.admit(headers, local);
        for host in [
            "localhost:7600",
            "LOCALHOST",
            "127.0.0.1:7600",
            "127.8.9.1",
            "[::1]:7600",
            "10.0.0.5:7600",
            "EU-1.example:7600",
            "[2001:db8::1]",
        ] {
            assert_eq!(admit(&headers(&[("host", host)])), Ok(()), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example:7600",
            "10.0.0.6",
            "127.0.0.1.evil.example",
            "",
            "[::2]",
            "eu-1.example.evil",
            "eu-1",
        ] {
            assert_eq!(admit(&headers(&[("host", host)])), Err(Refusal::Host), "{host}");
        }
        assert_eq!(admit(&headers(&[])), Err(Refusal::Host));
        let page = headers(&[("host", "localhost"), ("origin", "http://localhost:7600")]);
        assert_eq!(admit(&page), Err(Refusal::Origin));
    }

    #[test]
    fn wrong_tokens_are_limited_by_address_and_the_right_one_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let access = Access::new(Token::new("right"), &config(folder.path(), &[]));
        let (stranger, other) = (IpAddr::from([203, 0, 113, 7]), IpAddr::from([203, 0, 113, 8]));
        let shown = |token: &str| headers(&[("authorization", token)]);
        let now = Instant::now();
        for _ in 0..OF_ADDRESS {
            assert_eq!(access.caller(&shown("Bearer wrong"), stranger, now), Err(Refusal::Token));
        }
        assert_eq!(access.caller(&headers(&[]), stranger, now), Err(Refusal::TooMany));
        assert_eq!(access.caller(&shown("Bearer wrong"), other, now), Err(Refusal::Token));
        assert_eq!(access.caller(&shown("right"), other, now), Err(Refusal::Token), "the scheme is missing");
        let caller = access.caller(&shown("bearer right"), stranger, now).expect("let in");
        assert_eq!((&*caller.name, caller.role, caller.from), ("local", Role::Admin, Some(stranger)));
    }

    #[test]
    fn a_caller_has_the_name_and_role_of_its_token_until_that_is_revoked() {
        let folder = tempfile::tempdir().expect("a folder");
        let (access, tokens) =
            (Access::new(Token::new("right"), &config(folder.path(), &[])), Tokens::of(folder.path()));
        let (from, now) = (IpAddr::from([127, 0, 0, 1]), Instant::now());
        let caller = |token: &str| access.caller(&headers(&[("authorization", &format!("Bearer {token}"))]), from, now);
        let token = tokens.add("ann", Role::Operator, wall_ms(), Some(wall_ms() + 60_000)).expect("added");
        let ann = caller(&token).expect("let in");
        assert_eq!((&*ann.name, ann.role, access.holds(&ann)), ("ann", Role::Operator, true));
        tokens.revoke("ann").expect("revoked");
        tokens.add("ann", Role::Admin, wall_ms(), None).expect("added");
        assert!(!access.holds(&ann), "another token has the name");
        assert_eq!(caller(&token), Err(Refusal::Token));
        let ended = tokens.add("eve", Role::Admin, 0, Some(wall_ms())).expect("added");
        assert_eq!(caller(&ended), Err(Refusal::Token));
    }
}
