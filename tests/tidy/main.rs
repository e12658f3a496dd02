//! The house rules that no compiler checks, one test each. What fails is told as `file:line: rule`.

mod docs;
mod ratchet;
mod rules;
mod source;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use source::Source;

/// Every Rust file of the repository, read once.
static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| {
    let files = files().into_iter().filter(|path| path.ends_with(".rs"));
    files.map(|path| Source::read(&root(), path)).collect()
});

fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().expect("the package lies in the repository").to_owned()
}

/// Paths from the root, sorted, of everything that belongs to the repository.
fn files() -> Vec<String> {
    const FOREIGN: [&str; 5] = ["target", "node_modules", "data", "__pycache__", ".git"];
    let mut folders = vec![root()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        let entries = folder.read_dir().expect("a folder of the repository can be read");
        for path in entries.map(|entry| entry.expect("an entry can be read").path()) {
            let foreign = FOREIGN.iter().any(|name| path.ends_with(name));
            if path.is_dir() && !foreign {
                folders.push(path);
            } else if path.is_file() {
                let path = path.strip_prefix(root()).expect("found below the root");
                found.push(path.to_str().expect("names here are UTF-8").to_owned());
            }
        }
    }
    found.sort();
    found
}

fn none(found: &[String]) {
    assert!(found.is_empty(), "{} found:\n{}\n", found.len(), found.join("\n"));
}

fn in_every_source(rule: impl Fn(&Source) -> Vec<String>) {
    assert!(SOURCES.len() > 50, "the walk misses the sources: {} found", SOURCES.len());
    none(&SOURCES.iter().flat_map(rule).collect::<Vec<_>>());
}

#[test]
fn each_file_says_what_it_owns() {
    in_every_source(rules::opens_with_its_purpose);
}

#[test]
fn files_and_functions_stay_small() {
    none(&ratchet::too_long(&SOURCES));
}

#[test]
fn pure_modules_touch_neither_clock_nor_world() {
    none(&rules::impure(&SOURCES));
}

#[test]
fn nothing_panics_by_shortcut() {
    in_every_source(rules::shortcuts);
}

#[test]
fn nothing_is_left_for_later() {
    in_every_source(rules::left_for_later);
}

#[test]
fn lints_are_expected_with_a_reason_and_never_allowed() {
    in_every_source(rules::allowed_lints);
}

#[test]
fn every_queue_is_bounded() {
    in_every_source(rules::unbounded);
}

#[test]
fn the_map_is_short_and_true() {
    none(&docs::architecture(&root()));
}

#[test]
fn the_readme_starts_a_stranger() {
    none(&docs::readme(&root()));
}

#[test]
fn no_file_refers_to_a_document_that_is_elsewhere() {
    none(&docs::absent_documents(&root(), &files()));
}

#[test]
fn no_file_names_a_machine_or_a_registry() {
    none(&docs::places(&root(), &files()));
}
