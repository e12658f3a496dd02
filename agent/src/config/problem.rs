//! PURE: what is wrong with a configuration, said so that it can be mended.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a value was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Nowhere: the default.
    Default,
    /// In the file, at this line; 0: the file as a whole.
    File(Arc<PathBuf>, usize),
    /// In this environment variable.
    Env(String),
    /// In this flag, without `--`.
    Flag(String),
    /// By this caller's command, while the agent runs.
    Set(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => out.write_str("default"),
            Self::File(path, 0) => write!(out, "{}", path.display()),
            Self::File(path, line) => write!(out, "{}:{line}", path.display()),
            Self::Env(variable) => write!(out, "environment {variable}"),
            Self::Flag(flag) => write!(out, "flag --{flag}"),
            Self::Set(who) => write!(out, "set by {who}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Where it was written.
    pub origin: Origin,
    /// The key, where one is at fault.
    pub key: Option<String>,
    /// The value as written; none for secrets.
    pub value: Option<String>,
    /// What is wrong and what is allowed.
    pub said: String,
}

impl Problem {
    /// Something wrong at `origin` that has no value to show.
    pub fn new(origin: Origin, said: impl Into<String>) -> Self {
        Self { origin, key: None, value: None, said: said.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.origin != Origin::Default {
            write!(out, "{}: ", self.origin)?;
        }
        match (&self.key, &self.value) {
            (Some(key), Some(value)) => write!(out, "{key} = {value}: ")?,
            (Some(key), None) => write!(out, "{key}: ")?,
            (None, _) => {}
        }
        out.write_str(&self.said)
    }
}

/// Everything that is wrong; at least one problem.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Problem::to_string).collect();
        out.write_str(&lines.join("\n"))
    }
}
