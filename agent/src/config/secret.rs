//! Texts that appear in no log, error, frame or dump; and the mask over those that others may have written somewhere.

use std::fmt;

use pilothouse_shared::command;

/// What tokens of the agent's own begin with.
pub const TOKEN_PREFIX: &str = "pilothouse_";
/// Hexadecimal digits behind it.
pub const TOKEN_DIGITS: usize = 64;

const MASK: &str = "[secret]";
/// Shorter ones are not looked for: they would be found in every other word.
const SHORTEST: usize = 4;

/// A token or key. Only [`Secret::expose`] gives it away; every other way of showing it prints `[secret]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Guards `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that has to send it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(MASK)
    }
}

/// The secrets that this agent knows, to be covered wherever a text of others holds one.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    known: Vec<Secret>,
}

impl Secrets {
    /// Of all these; each is looked for as it is, as it stands in JSON, and as it stands in a command.
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let forms = secrets.into_iter().flat_map(|Secret(text)| {
            let json = serde_json::Value::from(text.as_str()).to_string();
            [json[1..json.len() - 1].to_owned(), command::quoted(&text), text]
        });
        let mut known: Vec<Secret> = forms.filter(|text| text.len() >= SHORTEST).map(Secret).collect();
        // One that holds another goes first.
        known.sort_by_key(|Secret(text)| std::cmp::Reverse(text.len()));
        known.dedup();
        Self { known }
    }

    /// The text with `[secret]` in place of every secret, and of every token as the agent makes them.
    pub fn mask(&self, text: &str) -> String {
        let covered = self.known.iter().fold(text.to_owned(), |text, Secret(known)| text.replace(known, MASK));
        let mut parts = covered.split(TOKEN_PREFIX);
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let digits = part.bytes().take(TOKEN_DIGITS).take_while(u8::is_ascii_hexdigit).count();
            let (start, rest) = if digits == TOKEN_DIGITS { (MASK, &part[digits..]) } else { (TOKEN_PREFIX, part) };
            out.push_str(start);
            out.push_str(rest);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_secrets_and_tokens_of_the_agent_are_covered_wherever_they_stand() {
        let secrets = ["bot-token", "bot-token-and-more", "quote\"d", "abc"].map(Secret::new);
        let secrets = Secrets::new(secrets);
        let token = format!("{TOKEN_PREFIX}{}", "0f".repeat(TOKEN_DIGITS / 2));
        for (text, expected) in [
            ("send 3 {\"d\":\"bot-token\"}".to_owned(), "send 3 {\"d\":\"[secret]\"}"),
            ("bot-token-and-more".to_owned(), "[secret]"),
            ("quote\"d quote\\\"d".to_owned(), "[secret] [secret]"),
            (format!("set x {}", command::word("a quote\"d")), "set x \"a [secret]\""),
            (format!("a {token}, {token}x"), "a [secret], [secret]x"),
            (format!("{} pilothouse_x", &token[..20]), "pilothouse_0f0f0f0f0 pilothouse_x"),
            ("abc".to_owned(), "abc"),
        ] {
            assert_eq!(secrets.mask(&text), expected, "{text}");
        }
    }
}
