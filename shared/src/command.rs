//! The one grammar of everything that can be asked: the console's `:` line, `pilothouse exec`, the
//! HTTP body. A command joins it with the work that gives it effect.

use std::fmt;

use clap::{CommandFactory, Parser, Subcommand};

use crate::selector::Selector;

/// A command, parsed and valid in itself; whether its shards exist is the agent's to say.
#[derive(Clone, PartialEq, Eq, Debug, Subcommand)]
pub enum Command {
    /// Tell the totals: shards by state, rates, budget, sinks
    Status,
    /// List shards
    Shards {
        /// Which shards: 3, 0-15, state=resuming, agent=eu-1, lag>250ms, *
        #[arg(default_value = "*")]
        shards: Selector,
    },
    /// Say why a shard has its state, with its last steps
    Explain {
        /// Which shard
        shard: u32,
    },
    /// Reconnect shards; they resume their sessions, so nothing is lost and no identify is spent
    Restart {
        /// Which shards: 3, 0-15, state=resuming, agent=eu-1, lag>250ms, *
        shards: Selector,
        /// Start new sessions instead of resuming: spends one identify a shard
        #[arg(long)]
        identify: bool,
    },
    /// Close the connections of shards with a code of yours; they reconnect
    Close {
        /// Which shards: 3, 0-15, state=resuming, agent=eu-1, lag>250ms, *
        shards: Selector,
        /// Close code, 3000 to 4999 (1000 and 1001 would end the session)
        #[arg(long, value_parser = clap::value_parser!(u16).range(3000..=4999))]
        code: u16,
    },
}

/// Why a line was refused, in the words to show: what is wrong and what is allowed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct CommandError(String);

#[derive(Parser)]
#[command(name = "", no_binary_name = true, disable_help_flag = true, disable_version_flag = true)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

impl Command {
    /// Reads one line: words parted by blanks, quotes around a word that holds blanks.
    ///
    /// # Errors
    /// The first thing that is wrong, and what is allowed there.
    pub fn parse(line: &str) -> Result<Self, CommandError> {
        let words = words(line)?;
        if words.is_empty() {
            return Err(CommandError(format!("a command is missing: {}", Self::names().join(", "))));
        }
        match Line::try_parse_from(words) {
            Ok(line) => Ok(line.command),
            Err(error) => Err(CommandError(plain(&error))),
        }
    }

    /// Whether it changes anything.
    pub fn changes(&self) -> bool {
        matches!(self, Self::Restart { .. } | Self::Close { .. })
    }

    /// The name of every command.
    pub fn names() -> Vec<String> {
        Line::command().get_subcommands().map(|command| command.get_name().to_owned()).collect()
    }

    /// The name and the one-line description of every command.
    pub fn summaries() -> Vec<(String, String)> {
        let about = |command: &clap::Command| command.get_about().map(ToString::to_string).unwrap_or_default();
        Line::command().get_subcommands().map(|command| (command.get_name().to_owned(), about(command))).collect()
    }
}

impl fmt::Display for Command {
    /// The line that parses to this command.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status => out.write_str("status"),
            Self::Shards { shards } => write!(out, "shards {shards}"),
            Self::Explain { shard } => write!(out, "explain {shard}"),
            Self::Restart { shards, identify: false } => write!(out, "restart {shards}"),
            Self::Restart { shards, identify: true } => write!(out, "restart {shards} --identify"),
            Self::Close { shards, code } => write!(out, "close {shards} --code {code}"),
        }
    }
}

/// Clap's report without its heading, usage block and hints: one or two lines for a status line.
fn plain(error: &clap::Error) -> String {
    let report = error.render().to_string();
    let kept = report
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    kept.strip_prefix("error: ").unwrap_or(&kept).to_owned()
}

fn words(line: &str) -> Result<Vec<String>, CommandError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in line.chars() {
        match quote {
            Some(open) if letter == open => quote = None,
            None if letter == '"' || letter == '\'' => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            None if letter.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(letter),
        }
    }
    if let Some(open) = quote {
        return Err(CommandError(format!("the quote {open} is not closed")));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_command_round_trips() {
        for line in [
            "status",
            "shards *",
            "shards 0-15,state=fatal",
            "explain 3",
            "restart 3",
            "restart * --identify",
            "close 3 --code 4000",
        ] {
            assert_eq!(Command::parse(line).expect(line).to_string(), line);
        }
        assert_eq!(Command::parse("restart \"3, 4\"").expect("quoted").to_string(), "restart 3,4");
    }

    #[test]
    fn a_refusal_names_the_word_and_what_is_allowed() {
        let refused = |line| Command::parse(line).expect_err(line).to_string();
        assert!(refused("").contains("restart"));
        assert!(refused("restrat 3").contains("restart"), "{}", refused("restrat 3"));
        assert!(refused("close 3 --code 1000").contains("3000"));
        assert!(refused("restart 9-2").contains("2-9"));
        assert!(refused("restart '3").contains("quote"));
    }

    proptest! {
        #[test]
        fn no_line_panics(line in ".{0,60}") {
            if let Ok(command) = Command::parse(&line) {
                prop_assert_eq!(Command::parse(&command.to_string()), Ok(command));
            }
        }
    }
}
