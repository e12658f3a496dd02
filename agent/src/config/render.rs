//! PURE: the table of keys as an example file, as a reference, and as what is in force.

use std::fmt::Write as _;

use super::broker_keys::{AMQP_KEYS, NATS_KEYS, amqp_defaults, nats_defaults};
use super::keys::{KEYS, Key, last};
use super::notices::{LATER, NEEDLESS};
use super::sink_keys::{HTTP_KEYS, NDJSON_KEYS};
use super::value::quoted;
use super::{Config, HttpConfig, Loaded, NdjsonConfig, Origin, SinkConfig};

/// The example file: every setting with its default, commented out.
pub fn example() -> String {
    let mut out =
        "# Pilothouse agent: every setting with its default. `pilothouse-agent config check` tells what is wrong,\n\
                   # `config print` what is in force. Environment variables win over this file, flags over both.\n"
            .to_owned();
    let defaults = Config::new("");
    for key in KEYS {
        table_head(&mut out, key.name);
        describe(&mut out, key);
        line(&mut out, &format!("# {} = {}", last(key.name), shown(key, &defaults)));
    }
    line(
        &mut out,
        "\n# Ways to the bot; every event goes to each of them. None: events are received and counted only.",
    );
    example_sink(&mut out, HTTP_KEYS, &HttpConfig::new([""; 0]));
    example_sink(&mut out, AMQP_KEYS, &amqp_defaults());
    example_sink(&mut out, NATS_KEYS, &nats_defaults());
    example_sink(&mut out, NDJSON_KEYS, &NdjsonConfig::default());
    let _ = write!(
        out,
        "\n# Scripts that are commands: `run NAME`. What they can do is in EVAL.md.\n# [scripts]\n{SCRIPT}"
    );
    out
}

const SCRIPT: &str =
    "# slow = 'shards.filter(|s| s.lag > 300)'\n# unstick = 'shards.filter(|s| s.state == \"resuming\").restart()'\n";

const SCRIPTS: &str = "Each key of the table `[scripts]` is a script in rhai and a command: `run NAME`, for operators. What a script can \
    read and do is in [EVAL.md](EVAL.md). A script that cannot be read is refused at the start, with line and column.\n";

fn example_sink<T>(out: &mut String, keys: &[Key<T>], defaults: &T) {
    line(out, "\n# [[sinks]]");
    for key in keys {
        describe(out, key);
        line(out, &format!("# {} = {}", key.name, shown(key, defaults)));
    }
}

/// The reference, Markdown.
pub fn reference() -> String {
    let mut out = "# Configuration of `pilothouse-agent`\n\n\
        Generated from the table in `agent/src/config/keys.rs`: do not edit.\n\n\
        Defaults, then a TOML file (`--config FILE` or `PILOTHOUSE_CONFIG`), then the environment, then flags. \
        Empty values count as not set.\n\n\
        `pilothouse-agent config check` lists everything that is wrong, `config print` shows what is in force and where \
        each value comes from, `config example` prints a file to start from.\n\n## Settings\n"
        .to_owned();
    let defaults = Config::new("");
    KEYS.iter().for_each(|key| explain(&mut out, key, &defaults));
    line(
        &mut out,
        "\n## Sinks\n\nEvery event goes to each sink, a table `[[sinks]]` in the file. Which settings it has depends on its `kind`.",
    );
    explain_sink(&mut out, "http", HTTP_KEYS, &HttpConfig::new([""; 0]));
    explain_sink(&mut out, "amqp", AMQP_KEYS, &amqp_defaults());
    explain_sink(&mut out, "nats", NATS_KEYS, &nats_defaults());
    explain_sink(&mut out, "ndjson", NDJSON_KEYS, &NdjsonConfig::default());
    let _ = write!(out, "\n## Scripts\n\n{SCRIPTS}\n```toml\n[scripts]\n{}```\n", SCRIPT.replace("# ", ""));
    line(&mut out, "\n## Variables that do nothing\n\nEach is said at the start when it is set.\n");
    line(&mut out, &format!("- not needed: `{}` and `SERVER_URL_0`, `SERVER_URL_1`, …", NEEDLESS.join("`, `")));
    for (feature, variables) in LATER {
        line(&mut out, &format!("- not acted on yet: `{}` ({feature})", variables.join("`, `")));
    }
    out
}

fn explain_sink<T>(out: &mut String, kind: &str, keys: &[Key<T>], defaults: &T) {
    line(out, &format!("\n## Settings of `[[sinks]]` of kind `{kind}`"));
    keys.iter().for_each(|key| explain(out, key, defaults));
}

/// What is in force, as a file that says where each value comes from. Secrets are not shown.
pub fn print(loaded: &Loaded) -> String {
    let mut out = String::new();
    for key in KEYS {
        table_head(&mut out, key.name);
        print_key(&mut out, loaded, key, &loaded.config, key.name.to_owned());
    }
    for sink in &loaded.config.sinks {
        line(&mut out, "\n[[sinks]]");
        match sink {
            SinkConfig::Http(http) => print_sink(&mut out, loaded, HTTP_KEYS, http, sink.name()),
            SinkConfig::Amqp(amqp) => print_sink(&mut out, loaded, AMQP_KEYS, amqp, sink.name()),
            SinkConfig::Nats(nats) => print_sink(&mut out, loaded, NATS_KEYS, nats, sink.name()),
            SinkConfig::Ndjson(ndjson) => print_sink(&mut out, loaded, NDJSON_KEYS, ndjson, sink.name()),
        }
    }
    print_scripts(&mut out, loaded);
    out
}

/// Every setting that is in force: its name, with `sinks.NAME.` before that of a sink's, and its value; none where nothing is set.
pub fn values(config: &Config) -> Vec<(String, Option<String>)> {
    let mut values: Vec<_> = KEYS.iter().map(|key| (key.name.to_owned(), (key.get)(config))).collect();
    for sink in &config.sinks {
        values.extend(match sink {
            SinkConfig::Http(http) => values_of(HTTP_KEYS, http, sink.name()),
            SinkConfig::Amqp(amqp) => values_of(AMQP_KEYS, amqp, sink.name()),
            SinkConfig::Nats(nats) => values_of(NATS_KEYS, nats, sink.name()),
            SinkConfig::Ndjson(ndjson) => values_of(NDJSON_KEYS, ndjson, sink.name()),
        });
    }
    values.extend(config.scripts.iter().map(|script| (format!("scripts.{}", script.name), Some(quoted(&script.text)))));
    values
}

fn values_of<T>(keys: &[Key<T>], sink: &T, name: &str) -> Vec<(String, Option<String>)> {
    keys.iter().map(|key| (format!("sinks.{name}.{}", key.name), (key.get)(sink))).collect()
}

fn print_scripts(out: &mut String, loaded: &Loaded) {
    if loaded.config.scripts.is_empty() {
        return;
    }
    line(out, "\n[scripts]");
    for script in &loaded.config.scripts {
        let origin = loaded.origins.get(&format!("scripts.{}", script.name)).unwrap_or(&Origin::Default);
        line(out, &format!("{} = {} # {origin}", quoted(&script.name), quoted(&script.text)));
    }
}

fn print_sink<T>(out: &mut String, loaded: &Loaded, keys: &[Key<T>], sink: &T, name: &str) {
    for key in keys {
        print_key(out, loaded, key, sink, format!("sinks.{name}.{}", key.name));
    }
}

fn print_key<T>(out: &mut String, loaded: &Loaded, key: &Key<T>, target: &T, path: String) {
    let origin = loaded.origins.get(&path).unwrap_or(&Origin::Default);
    match (key.get)(target) {
        Some(value) => line(out, &format!("{} = {value} # {origin}", last(key.name))),
        None => line(out, &format!("# {} is not set: {}", last(key.name), key.otherwise.unwrap_or_default())),
    }
}

/// Begins a table where `name` is the first key of one.
fn table_head(out: &mut String, name: &str) {
    let Some((table, _)) = name.split_once('.') else { return };
    let head = format!("[{table}]");
    if !out.lines().any(|line| line == head) {
        let _ = writeln!(out, "\n{head}");
    }
}

fn describe<T>(out: &mut String, key: &Key<T>) {
    let _ = writeln!(out, "\n# {}\n# Allowed: {}.", key.about, key.allowed);
    if let Some(otherwise) = key.otherwise {
        let _ = writeln!(out, "# Default: {otherwise}.");
    }
}

fn explain<T>(out: &mut String, key: &Key<T>, defaults: &T) {
    let default = key.otherwise.map_or_else(|| format!("`{}`", shown(key, defaults)), str::to_owned);
    let _ = writeln!(out, "\n### `{}`\n\n{}\n", key.name, key.about);
    let _ = writeln!(out, "- allowed: {}\n- default: {default}", key.allowed);
    if key.live {
        line(out, "- can change while the agent runs: `set`, or the file and SIGHUP");
    }
    if let Some(variable) = key.env {
        let _ = writeln!(out, "- environment: `{variable}`");
    }
    if let Some(flag) = key.flag {
        let _ = writeln!(out, "- flag: `--{flag}`");
    }
}

fn shown<T>(key: &Key<T>, defaults: &T) -> String {
    let default = (key.get)(defaults).filter(|_| key.otherwise.is_none());
    default.unwrap_or_else(|| key.example.to_owned())
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}
