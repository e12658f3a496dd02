//! The rules for Rust files, each a function from sources to what breaks it.

use super::source::{Source, is_word_start};

/// Modules that are pure whether or not they say so; more say `PURE` in the comment that opens them.
const PURE: [&str; 8] = [
    "agent/src/gateway/",
    "agent/src/fleet/permits.rs",
    "agent/src/fleet/placement.rs",
    "agent/src/shard/codec.rs",
    "agent/src/telemetry/findings.rs",
    "console/src/model/",
    "console/src/update/",
    "shared/src/",
];

/// What a pure module must not contain, and what it would be.
const IMPURE: [(&str, &str); 9] = [
    ("tokio", "a runtime"),
    ("async ", "a runtime"),
    ("Instant::now", "a clock"),
    ("SystemTime", "a clock"),
    ("std::fs", "I/O"),
    ("std::net", "I/O"),
    ("std::thread", "a thread"),
    ("fastrand::Rng::new(", "unseeded randomness"),
    ("rand::", "unseeded randomness"),
];

fn is_among(source: &Source, places: &[String]) -> bool {
    places.iter().any(|place| source.path == *place || (place.ends_with('/') && source.path.starts_with(place)))
}

fn broken(source: &Source, line: usize, rule: &str) -> String {
    format!("{}:{line}: {rule}", source.path)
}

/// Where `word` stands in `line` and no identifier goes on before it.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| is_word_start(line, at))
}

pub(crate) fn opens_with_its_purpose(source: &Source) -> Vec<String> {
    let opens = source.text.lines().take(3).any(|line| line.starts_with("//! "));
    let missing = (!opens).then(|| broken(source, 1, "a file opens with `//!` and what it owns"));
    missing.into_iter().collect()
}

/// A `mod.rs` that says `PURE` speaks for its folder.
pub(crate) fn impure(sources: &[Source]) -> Vec<String> {
    let say_so = sources.iter().filter(|source| source.purpose().any(|line| has_word(line, "PURE")));
    let places = say_so.map(|source| match source.path.strip_suffix("mod.rs") {
        Some(folder) => folder.to_owned(),
        None => source.path.clone(),
    });
    let places: Vec<String> = PURE.iter().map(|place| (*place).to_owned()).chain(places).collect();
    let pure = sources.iter().filter(|source| is_among(source, &places) && !source.is_test());
    pure.flat_map(impurities).collect()
}

fn impurities(source: &Source) -> Vec<String> {
    let found = source.product_lines().flat_map(|(line, code)| {
        let words = IMPURE.iter().filter(move |(word, _)| has_word(code, word));
        words.map(move |(word, what)| (line, format!("a pure module has no {what}: `{word}`")))
    });
    found.map(|(line, rule)| broken(source, line, &rule)).collect()
}

pub(crate) fn shortcuts(source: &Source) -> Vec<String> {
    if source.is_test() {
        return Vec::new();
    }
    let unwraps = source.product_lines().filter(|(_, code)| code.contains(".unwrap()"));
    let rule = "no `unwrap()`: handle it, or `expect` the invariant";
    unwraps.map(|(line, _)| broken(source, line, rule)).collect()
}

pub(crate) fn left_for_later(source: &Source) -> Vec<String> {
    let macros = ["todo!", "unimplemented!"];
    let marks = [concat!("FIX", "ME"), concat!("XX", "X")];
    let lines = source.code_lines().zip(source.text.lines());
    let left = lines.filter(|((_, code), text)| {
        macros.iter().any(|word| has_word(code, word)) || marks.iter().any(|mark| has_word(text, mark))
    });
    left.map(|((line, _), _)| broken(source, line, "nothing is left for later")).collect()
}

pub(crate) fn allowed_lints(source: &Source) -> Vec<String> {
    let allows = source.code_lines().filter(|(_, code)| code.contains("#[allow(") || code.contains("#![allow("));
    allows.map(|(line, _)| broken(source, line, "`#[expect(…, reason = …)]` instead of `#[allow(…)]`")).collect()
}

pub(crate) fn unbounded(source: &Source) -> Vec<String> {
    let unbounded = source.code_lines().filter(|(_, code)| has_word(code, "unbounded_channel"));
    unbounded.map(|(line, _)| broken(source, line, "every queue is bounded")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source::new(path.to_owned(), text.to_owned())
    }

    #[test]
    fn each_rule_finds_what_breaks_it() {
        let later = ["//", concat!("XX", "X")].join(" ");
        let code = "async fn a() { fastrand::u8(..); b.unwrap(); }";
        let text = format!("//! PURE: a.\n{code}\n{later}\n#[allow(c)]\nunbounded_channel();\n");
        let source = source("agent/src/a.rs", &text);
        let lines =
            |found: Vec<String>| found.iter().map(|line| line.split(':').nth(1) == Some("2")).collect::<Vec<_>>();
        assert_eq!(lines(shortcuts(&source)), [true]);
        assert_eq!(left_for_later(&source).len(), 1);
        assert_eq!(allowed_lints(&source).len(), 1);
        assert_eq!(unbounded(&source).len(), 1);
        assert!(opens_with_its_purpose(&source).is_empty());
        assert_eq!(lines(impure(&[source])), [true]);
    }

    #[test]
    fn a_mod_rs_speaks_for_its_folder_and_tests_may_do_as_they_like() {
        let sources = [
            source("agent/src/a/mod.rs", "//! What it is. PURE.\n"),
            source("agent/src/a/b.rs", "//! B.\nuse std::fs;\n#[cfg(test)]\nmod tests {\n    use std::net;\n}\n"),
            source("agent/src/a/tests.rs", "//! C.\nuse std::fs;\n"),
            source("agent/src/c.rs", "//! Not pure.\nuse std::fs;\n"),
        ];
        assert_eq!(impure(&sources), ["agent/src/a/b.rs:2: a pure module has no I/O: `std::fs`"]);
    }
}
