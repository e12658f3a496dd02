//! PURE: what `help()` says and the reference of scripts, both from the table.

use std::fmt::Write as _;

use super::table::{CLASSES, Class, Function, GLOBAL, OF_LISTS};

/// All objects, a line each, and what belongs to none.
pub(super) fn all() -> String {
    let objects = CLASSES.iter().map(|class| (class.list.unwrap_or(class.reached).to_owned(), class.about));
    let functions = GLOBAL.iter().map(|function| (function.call.to_owned(), function.about));
    format!("{}\n\n{}", aligned(objects), aligned(functions))
}

/// One class; `list`: of several of them.
pub(super) fn one(class: &Class, list: bool) -> String {
    let mut text = format!("{}: {}", class.reached, class.about);
    if list {
        let functions = OF_LISTS.iter().map(|function| (function.call.to_owned(), function.about));
        let _ = write!(text, "\n\nThe list has\n{}\n\nEach {} has", aligned(functions), class.name);
    }
    let fields = class.fields.iter().map(|field| (field.name.to_owned(), field.about));
    let _ = write!(text, "\n{}", aligned(fields));
    let methods = aligned(methods(class));
    if !methods.is_empty() {
        let _ = write!(text, "\n\n{methods}");
    }
    text
}

/// What the reference of the documentation says; `assets/EVAL.md` is this text.
pub fn reference() -> String {
    let mut out = INTRODUCTION.to_owned();
    section(&mut out, "Functions", "", GLOBAL.iter().map(call));
    section(&mut out, "Lists", "`shards`, `sinks`, `stages` and `fleet` are lists.", OF_LISTS.iter().map(call));
    for class in &CLASSES {
        let of = class.list.map_or_else(String::new, |list| format!(", an element of `{list}`"));
        let about = format!("`{}`{of}. {}", class.reached, class.about);
        let fields = class.fields.iter().map(|field| (field.name.to_owned(), field.about));
        section(&mut out, class.name, &about, fields.chain(methods(class)));
    }
    out
}

const INTRODUCTION: &str = "<!-- Written by `UPDATE_ASSETS=1 cargo test --release --workspace --lib eval`. -->\n\
# Scripts

`eval SCRIPT` runs a script in [rhai](https://rhai.rs/book) on a snapshot of the agent and answers with its value. What it asks to change is \
noted as commands and done after it has ended; a script that fails changes nothing. It takes an admin's token.

```rhai
shards.filter(|s| s.lag > 300).len()
shards.filter(|s| s.state == \"resuming\" && gateway.at - s.since > 60000).restart()
if sinks.http.spooled > 100000 { sinks.http.drain(); stages.drop = true }
```

A script has no files, no network, no environment and no token. It ends after 1 s, 500,000 operations or 32 MiB of memory; a text may have \
64 KiB, an array 20,000 elements. A table shows 50 rows.

Scripts in the configuration, `[scripts]`, are commands: `run NAME`; `run` alone lists them.
";

fn call(function: &Function) -> (String, &'static str) {
    (function.call.to_owned(), function.about)
}

fn methods(class: &Class) -> impl Iterator<Item = (String, &'static str)> {
    class.methods.iter().map(|method| (format!("{}({})", method.name, method.arguments.join(", ")), method.about))
}

fn section(out: &mut String, title: &str, about: &str, rows: impl Iterator<Item = (String, &'static str)>) {
    let _ = write!(out, "\n## {title}\n\n");
    if !about.is_empty() {
        let _ = write!(out, "{about}\n\n");
    }
    out.push_str("| what | is |\n|---|---|\n");
    for (name, about) in rows {
        let _ = writeln!(out, "| `{}` | {about} |", name.replace('|', "\\|"));
    }
}

fn aligned(rows: impl Iterator<Item = (String, &'static str)>) -> String {
    let rows: Vec<_> = rows.collect();
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    rows.iter().map(|(name, about)| format!("  {name:<width$}  {about}")).collect::<Vec<_>>().join("\n")
}
