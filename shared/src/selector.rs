//! Selectors name sets of shards: `3`, `0-15`, `3,8,40-63`, `state=resuming`, `agent=eu-1`, `lag>250ms`, `*`.

use std::fmt;
use std::str::FromStr;

use crate::snapshot::{ShardRow, ShardState};

/// A set of shards, as an operator writes it: terms joined by commas; a shard is named when any term names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selector {
    terms: Vec<Term>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Term {
    All,
    Range(u32, u32),
    State(ShardState),
    Agent(String),
    LagAbove(u32),
}

/// Why a selector was refused; the text names the part and what is allowed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SelectorError {
    /// Nothing between two commas, or nothing at all.
    #[error("a selector is missing: write a shard (3), a range (0-15), state=NAME, agent=NAME, lag>250ms or *")]
    Empty,
    /// A range that runs backwards.
    #[error("range {0}-{1} runs backwards: write {1}-{0}")]
    Backwards(u32, u32),
    /// `state=` with an unknown name.
    #[error("no state is called {0:?}: {names}", names = ShardState::NAMES.join(", "))]
    State(String),
    /// Anything else.
    #[error("{0:?} names no shards: write a shard (3), a range (0-15), state=NAME, agent=NAME, lag>250ms or *")]
    Term(String),
}

impl Selector {
    /// Every shard.
    pub fn all() -> Self {
        Self { terms: vec![Term::All] }
    }

    /// One shard.
    pub fn shard(id: u32) -> Self {
        Self { terms: vec![Term::Range(id, id)] }
    }

    /// These shards, by their numbers; `ids` is ascending.
    pub fn of(ids: &[u32]) -> Self {
        let ranges = ids.chunk_by(|one, next| one + 1 == *next);
        Self { terms: ranges.map(|range| Term::Range(range[0], range[range.len() - 1])).collect() }
    }

    /// Whether the shard of `row` is named.
    pub fn matches(&self, row: &ShardRow) -> bool {
        self.terms.iter().any(|term| term.matches(row))
    }

    /// The largest shard id that is named outright; a bound check against the total reads it.
    pub fn highest_named(&self) -> Option<u32> {
        self.terms
            .iter()
            .filter_map(|term| match term {
                Term::Range(_, last) => Some(*last),
                _ => None,
            })
            .max()
    }
}

impl Term {
    fn matches(&self, row: &ShardRow) -> bool {
        match self {
            Self::All => true,
            Self::Range(first, last) => (*first..=*last).contains(&row.id),
            Self::State(state) => row.state == *state,
            Self::Agent(name) => row.agent == *name,
            Self::LagAbove(ms) => row.lag_ms > *ms,
        }
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let terms = text.split(',').map(|term| term.trim().parse()).collect::<Result<_, _>>()?;
        Ok(Self { terms })
    }
}

impl FromStr for Term {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let unknown = || SelectorError::Term(text.to_owned());
        if text.is_empty() {
            return Err(SelectorError::Empty);
        }
        if text == "*" {
            return Ok(Self::All);
        }
        if let Some(name) = text.strip_prefix("state=") {
            return name.parse().map(Self::State).map_err(|_| SelectorError::State(name.to_owned()));
        }
        if let Some(name) = text.strip_prefix("agent=").filter(|name| !name.is_empty()) {
            return Ok(Self::Agent(name.to_owned()));
        }
        if let Some(bound) = text.strip_prefix("lag>") {
            let digits = bound.strip_suffix("ms").unwrap_or(bound);
            return number(digits).map(Self::LagAbove).ok_or_else(unknown);
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = number(first).zip(number(last)).ok_or_else(unknown)?;
        if first > last {
            return Err(SelectorError::Backwards(first, last));
        }
        Ok(Self::Range(first, last))
    }
}

/// Digits only: `str::parse` would also take a plus sign.
fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl fmt::Display for Selector {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.terms.iter().enumerate() {
            if index > 0 {
                out.write_str(",")?;
            }
            term.fmt(out)?;
        }
        Ok(())
    }
}

impl fmt::Display for Term {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => out.write_str("*"),
            Self::Range(first, last) if first == last => first.fmt(out),
            Self::Range(first, last) => write!(out, "{first}-{last}"),
            Self::State(state) => write!(out, "state={state}"),
            Self::Agent(name) => write!(out, "agent={name}"),
            Self::LagAbove(ms) => write!(out, "lag>{ms}ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(id: u32, state: ShardState) -> ShardRow {
        ShardRow { id, state, agent: "eu-1".into(), lag_ms: 300, ..ShardRow::default() }
    }

    #[test]
    fn terms_name_what_they_say() {
        let active = row(3, ShardState::Active);
        for text in ["3", "0-15", "*", "state=active", "agent=eu-1", "lag>250ms", "lag>250", "9, 3"] {
            assert!(text.parse::<Selector>().expect(text).matches(&active), "{text}");
        }
        for text in ["4", "4-9", "state=fatal", "agent=eu-2", "lag>300ms", "9,10"] {
            assert!(!text.parse::<Selector>().expect(text).matches(&active), "{text}");
        }
    }

    #[test]
    fn shards_by_their_numbers_are_ranges() {
        assert_eq!(Selector::of(&[3]), Selector::shard(3));
        assert_eq!(Selector::of(&[0, 1, 2, 5, 7, 8]).to_string(), "0-2,5,7-8");
    }

    #[test]
    fn a_refusal_names_the_part_and_what_is_allowed() {
        assert_eq!("".parse::<Selector>(), Err(SelectorError::Empty));
        assert_eq!("3,".parse::<Selector>(), Err(SelectorError::Empty));
        assert_eq!("9-2".parse::<Selector>(), Err(SelectorError::Backwards(9, 2)));
        let error = "state=happy".parse::<Selector>().expect_err("no such state").to_string();
        assert!(error.contains("happy") && error.contains("resuming"), "{error}");
        assert!("+3".parse::<Selector>().is_err());
        assert!("99999999999".parse::<Selector>().is_err());
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused_and_what_parses_round_trips(text in "[-0-9a-z=>*, ]{0,20}") {
            if let Ok(selector) = text.parse::<Selector>() {
                prop_assert_eq!(selector.to_string().parse::<Selector>(), Ok(selector));
            }
        }
    }
}
