//! PURE: the routing key of an event: a text in which `{type}`, `{guild}` and `{shard}` stand for what the event has.

use std::fmt;

/// A template, such as `{type}.{guild}`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoutingKey(String);

const WORDS: [&str; 3] = ["{type}", "{guild}", "{shard}"];
/// AMQP 0-9-1: a short string has at most 255 bytes; what the words become has less than 128.
const LONGEST: usize = 127;

impl RoutingKey {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rest = WORDS.iter().fold(text.to_owned(), |rest, word| rest.replacen(word, "", 1));
        if rest.contains(['{', '}']) {
            return Err(format!("only {} can stand in braces, each once", WORDS.join(", ")));
        }
        if text.is_empty() || rest.len() > LONGEST || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!("1 to {LONGEST} printable ASCII characters beside the words in braces, no spaces"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The key of an event; guild 0 stands for none.
    pub fn of(&self, kind: &str, guild: u64, shard: u32) -> String {
        self.0.replace(WORDS[0], kind).replace(WORDS[1], &guild.to_string()).replace(WORDS[2], &shard.to_string())
    }
}

impl Default for RoutingKey {
    fn default() -> Self {
        Self("{type}.{guild}".to_owned())
    }
}

impl fmt::Display for RoutingKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_what_the_event_has() {
        assert_eq!(RoutingKey::default().of("MESSAGE_CREATE", 0, 7), "MESSAGE_CREATE.0");
        let key = RoutingKey::parse("bot.{shard}.{guild}.{type}").unwrap();
        assert_eq!(key.of("TYPING_START", 5, 7), "bot.7.5.TYPING_START");
    }

    #[test]
    fn unknown_words_and_long_keys_are_refused() {
        for text in ["", "{kind}", "{type", "a b", "{type}.{type}", "é"] {
            assert!(RoutingKey::parse(text).is_err(), "{text}");
        }
        assert!(RoutingKey::parse(&"x".repeat(LONGEST + 1)).is_err());
        assert!(RoutingKey::parse(&"x".repeat(LONGEST)).is_ok());
    }
}
