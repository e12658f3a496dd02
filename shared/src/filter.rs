//! What filters shards, in the console behind `/`. Blanks join words that must all hold, `!` turns one round; a word is a
//! selector (`3,8-15`, `state=fatal,lag>1s`), a comparison (`guilds>=500`, `agent=eu-*`) or a piece of text. Pure.

use crate::fields::{self, Field, Kind};
use crate::selector::Selector;
use crate::snapshot::{ShardRow, ShardState};

/// A parsed filter; the empty one lets every shard pass.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    words: Vec<Word>,
}

/// Which bytes of the text are wrong, and what is allowed there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FilterError {
    /// First wrong byte.
    pub from: usize,
    /// Behind the last wrong byte.
    pub to: usize,
    /// What is wrong and what is allowed.
    pub text: String,
}

#[derive(Clone, Debug)]
struct Word {
    not: bool,
    test: Test,
}

#[derive(Clone, Debug)]
enum Test {
    Selector(Selector),
    Number(NumberOf, Op, Vec<(u64, u64)>),
    /// With whether a match is wanted.
    Name(NameOf, bool, Vec<String>),
    Text(String),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Op {
    Equal,
    Unequal,
    Above,
    Below,
    AtLeast,
    AtMost,
}

/// Longer operators first, so that `>=` is not read as `>`.
const OPS: [(&str, Op); 6] = [
    (">=", Op::AtLeast),
    ("<=", Op::AtMost),
    ("!=", Op::Unequal),
    ("=", Op::Equal),
    (">", Op::Above),
    ("<", Op::Below),
];

type NumberOf = fn(&ShardRow) -> u64;
type NameOf = fn(&ShardRow) -> &str;

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// The first word that is wrong.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let words = spans(text).map(|(from, word)| {
            Word::parse(word).map_err(|why| FilterError { from, to: from + word.len(), text: why })
        });
        Ok(Self { words: words.collect::<Result<_, _>>()? })
    }

    /// Whether it lets everything pass.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether the shard passes.
    pub fn matches(&self, row: &ShardRow) -> bool {
        self.words.iter().all(|word| word.not != word.test.matches(row))
    }
}

/// The words of `text` with the byte where each begins.
fn spans(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_whitespace().map(move |word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
}

impl Word {
    fn parse(word: &str) -> Result<Self, String> {
        let (not, rest) = word.strip_prefix('!').map_or((false, word), |rest| (true, rest));
        if rest.is_empty() {
            return Err("after ! comes what must not hold: !id=12, !state=active".into());
        }
        Ok(Self { not, test: Test::parse(rest)? })
    }
}

impl Test {
    fn parse(word: &str) -> Result<Self, String> {
        if let Ok(selector) = word.parse::<Selector>()
            && (!word.starts_with("agent=") || (word.contains(',') && !word.contains('*')))
        {
            return Ok(Self::Selector(selector));
        }
        let Some((at, sign, op)) = operator(word) else { return Ok(Self::Text(word.to_lowercase())) };
        let (name, values) = (&word[..at], &word[at + sign.len()..]);
        match Field::of(name).map(|field| field.kind) {
            Some(Kind::Number(of)) => Ok(Self::Number(of, op, numbers(values)?)),
            Some(Kind::Name(of)) if matches!(op, Op::Equal | Op::Unequal) => {
                names(name, values).map(|globs| Self::Name(of, op == Op::Equal, globs))
            }
            Some(Kind::Name(_)) => Err(format!("{name} is a name: write {name}= or {name}!=")),
            None => Err(format!("no field {name:?}: {}", fields::names())),
        }
    }

    fn matches(&self, row: &ShardRow) -> bool {
        match self {
            Self::Selector(selector) => selector.matches(row),
            Self::Number(of, op, ranges) => compare(of(row), *op, ranges),
            Self::Name(of, wanted, globs) => globs.iter().any(|pattern| glob(pattern, of(row))) == *wanted,
            Self::Text(text) => {
                let reason = row.close.as_ref().map_or("", |close| &close.reason);
                [row.state.name(), &row.agent, reason].iter().any(|found| found.to_lowercase().contains(text))
            }
        }
    }
}

fn operator(word: &str) -> Option<(usize, &'static str, Op)> {
    let at = word.find(['=', '<', '>', '!'])?;
    OPS.iter().find(|(sign, _)| word[at..].starts_with(sign)).map(|(sign, op)| (at, *sign, *op))
}

fn numbers(values: &str) -> Result<Vec<(u64, u64)>, String> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        number(first).zip(number(last)).filter(|(first, last)| first <= last)
    };
    let wrong = || format!("{values:?} is no number: write 3, 8-15 or 250ms");
    values.split(',').map(|part| range(part).ok_or_else(wrong)).collect()
}

fn number(text: &str) -> Option<u64> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let factor = match &text[end..] {
        "" | "ms" => 1,
        "s" | "k" => 1_000,
        _ => return None,
    };
    text[..end].parse::<u64>().ok()?.checked_mul(factor)
}

fn names(field: &str, values: &str) -> Result<Vec<String>, String> {
    let globs: Vec<String> = values.split(',').map(str::to_owned).collect();
    let known = |pattern: &String| field != "state" || ShardState::NAMES.iter().any(|name| glob(pattern, name));
    match globs.iter().find(|pattern| pattern.is_empty() || !known(pattern)) {
        Some(_) if field == "state" => Err(format!("no such state: {}", ShardState::NAMES.join(", "))),
        Some(_) => Err(format!("{field}= needs a name, * stands for any letters")),
        None => Ok(globs),
    }
}

fn compare(value: u64, op: Op, ranges: &[(u64, u64)]) -> bool {
    let within = |&(first, last): &(u64, u64)| (first..=last).contains(&value);
    match op {
        Op::Equal => ranges.iter().any(within),
        Op::Unequal => !ranges.iter().any(within),
        Op::Above => ranges.iter().all(|&(_, bound)| value > bound),
        Op::Below => ranges.iter().all(|&(bound, _)| value < bound),
        Op::AtLeast => ranges.iter().all(|&(bound, _)| value >= bound),
        Op::AtMost => ranges.iter().all(|&(_, bound)| value <= bound),
    }
}

/// Whether `text` is what `pattern` says, `*` standing for any letters; capitals do not matter.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_lowercase(), text.to_lowercase());
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::snapshot::CloseRow;

    fn row() -> ShardRow {
        ShardRow {
            id: 3,
            state: ShardState::Resuming,
            agent: "eu-1".into(),
            lag_ms: 300,
            guilds: 40,
            close: Some(CloseRow { code: Some(4000), reason: "Unknown error".into(), at: 0 }),
            ..ShardRow::default()
        }
    }

    #[test]
    fn words_hold_together_and_commas_part_them() {
        for text in [
            "",
            "3",
            "0-15 state=resuming",
            "state=resuming agent=eu-* lag>250ms id=3 !id=12",
            "state=res*,fatal guilds>=40 guilds<=40 guilds<41",
            "state=fatal,lag>250",
            "EU- unknown !state=active",
            "close=4000-4009 lag<1s state!=active",
            "agent=us-1,3",
        ] {
            assert!(Filter::parse(text).expect(text).matches(&row()), "{text}");
        }
        for text in ["4", "!3", "lag>1s", "agent=us-*", "agent!=eu-*", "happy", "close!=4000", "id=3 id=4"] {
            assert!(!Filter::parse(text).expect(text).matches(&row()), "{text}");
        }
    }

    #[test]
    fn the_wrong_word_is_named_by_its_place() {
        let wrong = |text: &str| Filter::parse(text).expect_err(text);
        let error = wrong("agent=eu-1  state=happy id=3");
        assert_eq!((error.from, error.to), (12, 23));
        assert!(error.text.contains("resuming"));
        assert!(wrong("colour=red").text.contains("guilds"));
        assert!(wrong("lag>fast").text.contains("250ms"));
        assert!(wrong("agent>eu").text.contains("name"));
        assert!(wrong("3 !").text.contains("!id=12"));
    }

    #[test]
    fn stars_stand_for_any_letters() {
        for (pattern, text) in [("*", ""), ("eu-*", "eu-1"), ("*-1", "eu-1"), ("e*-*1", "eu-1"), ("EU-1", "eu-1")] {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("eu", "eu-1"), ("us*", "eu-1"), ("*2", "eu-1"), ("", "eu-1")] {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_parses_or_names_a_piece_of_itself(text in "[ a-z0-9=<>!*,ä-]{0,30}") {
            match Filter::parse(&text) {
                Ok(filter) => { filter.matches(&row()); }
                Err(error) => prop_assert!(!text[error.from..error.to].is_empty()),
            }
        }
    }
}
