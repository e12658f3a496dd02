//! The rules for documents and for every text file of the repository.

use std::fs;
use std::path::Path;

const MAP: &str = "ARCHITECTURE.md";
const MAP_LINES: usize = 150;
const README: &str = "README.md";

/// Folders and files that stand at the root, by which a path in a document is known.
const AT_ROOT: [&str; 7] = ["agent/", "assets/", "console/", "shared/", "tests/", ".ci/", "Cargo."];

fn read(root: &Path, path: &str) -> String {
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) fn architecture(root: &Path) -> Vec<String> {
    let text = read(root, MAP);
    let lines = text.lines().count();
    let long = (lines > MAP_LINES).then(|| format!("{MAP}:{lines}: at most {MAP_LINES} lines"));
    missing_paths(root, MAP, &text).into_iter().chain(long).collect()
}

pub(crate) fn readme(root: &Path) -> Vec<String> {
    let text = read(root, README);
    let commands = ["cargo run --release -- demo", "./tests/run"];
    let absent = commands.iter().filter(|command| !text.contains(*command));
    let absent = absent.map(|command| format!("{README}:1: `{command}` is missing"));
    missing_paths(root, README, &text).into_iter().chain(absent).collect()
}

/// Paths in backticks, and what links lead to.
fn missing_paths(root: &Path, document: &str, text: &str) -> Vec<String> {
    let named = text.lines().enumerate().flat_map(|(index, line)| {
        let quoted = line.split('`').skip(1).step_by(2).filter(|word| is_path(word));
        let links = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let links = links.filter(|link| !link.contains("://") && !link.starts_with('#'));
        quoted.chain(links).map(move |path| (index + 1, path))
    });
    let missing = named.filter(|(_, path)| !root.join(path).exists());
    missing.map(|(line, path)| format!("{document}:{line}: {path} does not exist")).collect()
}

fn is_path(word: &str) -> bool {
    AT_ROOT.iter().any(|start| word.starts_with(start)) && !word.contains([' ', '*', '…'])
}

/// Documents by their names in capitals, which readers can open only if they are here.
pub(crate) fn absent_documents(root: &Path, files: &[String]) -> Vec<String> {
    let here = |name: &str| files.iter().any(|path| path.rsplit('/').next() == Some(name));
    let texts = files.iter().filter_map(|path| Some((path, fs::read_to_string(root.join(path)).ok()?)));
    let absent = texts.flat_map(|(path, text)| {
        let named =
            text.lines().enumerate().flat_map(|(index, line)| documents(line).map(move |name| (index + 1, name)));
        let absent = named.filter(|(_, name)| !here(name));
        absent.map(|(line, name)| format!("{path}:{line}: {name} is not in the repository")).collect::<Vec<_>>()
    });
    absent.collect()
}

fn documents(line: &str) -> impl Iterator<Item = &str> {
    let ends = line.match_indices(".md").map(|(at, end)| (at, at + end.len()));
    ends.filter_map(|(at, end)| {
        let stem = line[..at].chars().rev().take_while(|letter| letter.is_ascii_uppercase() || *letter == '_').count();
        (stem > 1).then(|| &line[at - stem..end])
    })
}

/// Texts that hold only on one machine, in pieces so that this file does not contain them.
const PLACES: [(&str, &str); 8] = [
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("registry.", "npmjs.org"), "a registry's host"),
    (concat!("registry.", "yarnpkg.com"), "a registry's host"),
    (concat!("pypi", ".org"), "a registry's host"),
    (concat!("pythonhosted", ".org"), "a registry's host"),
    (concat!("static.", "crates.io"), "a registry's host"),
    (concat!("index.", "crates.io"), "a registry's host"),
];

pub(crate) fn places(root: &Path, files: &[String]) -> Vec<String> {
    let texts = files.iter().filter_map(|path| Some((path, fs::read_to_string(root.join(path)).ok()?)));
    texts.flat_map(|(path, text)| places_in(path, &text)).collect()
}

fn places_in(path: &str, text: &str) -> Vec<String> {
    let found = text.lines().enumerate().flat_map(|(index, line)| {
        let places = PLACES.iter().filter(|(place, _)| stands_alone(line, place));
        places.map(move |(place, what)| format!("{path}:{}: {what}: {place}", index + 1))
    });
    found.collect()
}

/// Whether `place` is in `line` other than inside a longer path, such as the one of a URL.
fn stands_alone(line: &str, place: &str) -> bool {
    let goes_on = |before: char| before.is_alphanumeric() || matches!(before, '-' | '_' | '.');
    line.match_indices(place).any(|(at, _)| !line[..at].chars().next_back().is_some_and(goes_on))
}

#[test]
fn paths_that_do_not_exist_are_found() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    let text = "`tests/run` `agent/nothing.rs` `cargo test`\n[a](nothing.md) [b](https://example.org) [c](#d)";
    let missing = missing_paths(root, README, text);
    assert_eq!(missing, ["README.md:1: agent/nothing.rs does not exist", "README.md:2: nothing.md does not exist"]);
}

#[test]
fn places_are_found_only_where_they_stand_alone() {
    let (path, host) = (PLACES[0].0, PLACES[2].0);
    let text = format!("cd {path}x\nhttps://example.org{path}x\nhttps://{host}/y\n");
    assert_eq!(places_in("a", &text).iter().map(|found| &found[..4]).collect::<Vec<_>>(), ["a:1:", "a:3:"]);
}

#[test]
fn documents_are_named_in_capitals() {
    let line = "see `README.md`, shared/PROTOCOL.md (not notes.md)";
    assert_eq!(documents(line).collect::<Vec<_>>(), ["README.md", "PROTOCOL.md"]);
}
