//! What is wrong with a script, in words of this agent, and where.

use std::fmt;

use rhai::{EvalAltResult, ParseError, Position};

use super::engine;
use super::show::show;

/// Letters of an error's text.
const LONGEST: usize = 2_000;

/// Why a script gave no value.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}{said}", Place(*.line, *.column))]
pub struct EvalError {
    line: Option<usize>,
    column: Option<usize>,
    said: String,
}

struct Place(Option<usize>, Option<usize>);

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(Some(line), Some(column)) => write!(out, "line {line}, column {column}: "),
            Self(Some(line), None) => write!(out, "line {line}: "),
            Self(None, _) => Ok(()),
        }
    }
}

impl EvalError {
    pub(super) fn new(said: String) -> Self {
        Self { line: None, column: None, said }
    }

    fn at(position: Position, said: &str) -> Self {
        let said = said.chars().take(LONGEST).collect();
        Self { line: position.line(), column: position.position(), said }
    }

    /// With `change` made to what it says.
    pub fn map(self, change: impl FnOnce(&str) -> String) -> Self {
        Self { said: change(&self.said), ..self }
    }
}

impl From<tokio::task::JoinError> for EvalError {
    fn from(fault: tokio::task::JoinError) -> Self {
        Self::new(format!("the script was not run: {fault}"))
    }
}

impl From<ParseError> for EvalError {
    fn from(error: ParseError) -> Self {
        Self::at(error.1, &error.0.to_string())
    }
}

impl From<Box<EvalAltResult>> for EvalError {
    fn from(mut error: Box<EvalAltResult>) -> Self {
        // The place within a function tells more than that of its call, but limits are told where they were met.
        while let EvalAltResult::ErrorInFunctionCall(.., inner, _) = *error {
            error = inner;
        }
        let position = error.take_position();
        Self::at(position, &said(&error))
    }
}

fn said(error: &EvalAltResult) -> String {
    match error {
        EvalAltResult::ErrorTerminated(why, _) | EvalAltResult::ErrorRuntime(why, _) => show(why),
        EvalAltResult::ErrorStackOverflow(_) => {
            format!("functions call each other more than {} deep", engine::CALLS)
        }
        EvalAltResult::ErrorTooManyVariables(_) => format!("more than {} variables", engine::VARIABLES),
        EvalAltResult::ErrorDataTooLarge(what, _) => format!(
            "{} is too large: a text may have {} KiB, an array {} elements, a map {} keys",
            what.to_lowercase(),
            engine::TEXT / 1024,
            engine::ARRAY,
            engine::MAP
        ),
        EvalAltResult::ErrorFunctionNotFound(call, _) => format!("there is no function {call}: see help()"),
        EvalAltResult::ErrorVariableNotFound(name, _) => format!(
            "nothing is called {name} here: a function sees only its arguments, as in filter(|s, most| s.lag > most, 300); \
             for what there is see help()"
        ),
        other => other.to_string(),
    }
}
