//! The program as a shell sees it: exit codes, messages, generated files; and the logs, which a process has once.

use std::fs;
use std::process::{Command, Output};

use pilothouse_agent::config::{Config, LogFormat, render};
use pilothouse_agent::telemetry::logs;

/// Runs the program with nothing but these variables in its environment.
fn agent(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pilothouse-agent"));
    command.args(args).env_clear().envs(env.iter().copied()).output().expect("the program is built")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the program speaks UTF-8")
}

#[test]
fn a_bad_configuration_is_exit_code_2() {
    for args in [["config", "check"].as_slice(), &["config", "print"], &["run"]] {
        let output = agent(args, &[("PILOTHOUSE_SHARDS", "many")]);
        assert_eq!(output.status.code(), Some(2));
        let said = text(&output.stderr);
        let expected = "environment PILOTHOUSE_SHARDS: shards = \"many\": allowed is auto, or a whole number from 1 to 100000\n\
                        token: not set: put the bot's token into the environment variable TOKEN\n";
        assert_eq!(said, expected);
    }
}

#[test]
fn a_good_configuration_is_ok() {
    let output = agent(&["config", "check", "--shards", "4"], &[("TOKEN", "t"), ("SERVER_URL", "http://s/")]);
    assert_eq!(output.status.code(), Some(0));
    let said = text(&output.stdout);
    assert_eq!(said, "note: not needed, the agent does it all in one process: SERVER_URL\nok\n");
}

#[test]
fn what_is_in_force_is_printed_with_flags_and_without_secrets() {
    let output = agent(&["config", "print", "--insecure", "--listen", "0.0.0.0:7600"], &[("TOKEN", "SECRET")]);
    let said = text(&output.stdout);
    assert!(said.contains("token = \"[secret]\" # environment TOKEN\n"), "{said}");
    assert!(said.contains("insecure = true # flag --insecure\n"), "{said}");
    assert!(!said.contains("SECRET"), "{said}");
}

#[test]
fn the_example_is_printed() {
    assert_eq!(text(&agent(&["config", "example"], &[]).stdout), render::example());
}

#[test]
fn what_cannot_run_is_exit_code_1() {
    let output =
        agent(&["run", "--data-dir", "/proc/nothing"], &[("TOKEN", "t"), ("PILOTHOUSE_LISTEN", "127.0.0.1:0")]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.starts_with("pilothouse-agent: cannot write logs to /proc/nothing/logs: "), "{said}");
}

#[test]
fn tokens_are_added_told_and_revoked_without_the_bots_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let data_dir = data.to_str().expect("text");
    let token = |args: &[&str]| {
        let output = agent(&[["token"].as_slice(), args].concat(), &[("PILOTHOUSE_DATA_DIR", data_dir)]);
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, list, _) = token(&["list"]);
    assert!(code == Some(0) && list.contains("console.token"), "{list}");
    let (code, added, said) = token(&["add", "ann", "--role", "operator", "--expires", "30d"]);
    let shown = added.trim();
    assert!(code == Some(0) && shown.starts_with("pilothouse_") && !shown.contains(char::is_whitespace), "{added}");
    assert!(said.contains("ann (operator) until 20") && !said.contains(shown), "{said}");
    let list = token(&["list", "--data-dir", data_dir]).1;
    assert!(list.contains("ann") && list.contains("operator") && !list.contains(shown), "{list}");
    for (args, code, part) in [
        (["add", "ann", "--role", "viewer"].as_slice(), 1, "revoke it first"),
        (&["add", "local", "--role", "viewer"], 1, "no name"),
        (&["add", "bob", "--role", "king"], 2, "operator"),
        (&["add", "bob", "--role", "viewer", "--expires", "soon"], 2, "30d"),
        (&["add", "bob"], 2, "--role"),
        (&["revoke", "bob"], 1, "token list"),
        (&["list", "--config", "/nowhere/pilothouse.toml"], 2, "/nowhere/pilothouse.toml"),
    ] {
        let (found, _, said) = token(args);
        assert!(found == Some(code) && said.contains(part), "{args:?}: {found:?} {said}");
    }
    assert_eq!(token(&["revoke", "ann"]).0, Some(0));
    assert!(!token(&["list"]).1.contains("ann"));
}

#[test]
fn lines_reach_the_file_at_the_level_in_force() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = Config::new("SECRET");
    config.data_dir = folder.path().join("data");
    config.log.format = LogFormat::Json;
    let guard = logs::start(&config).expect("nothing else logs");
    let control = logs::control().expect("started");
    tracing::debug!("hidden");
    control.set_level("debug").expect("a level");
    tracing::debug!(token = ?config.token, "shown");
    assert!(control.set_level("no=way=out").is_err());
    assert_eq!(control.dropped_lines(), 0);
    assert!(matches!(logs::start(&config), Err(logs::LogsError::Started)));
    drop(guard);
    let mut files = fs::read_dir(folder.path().join("data/logs")).expect("made");
    let path = files.next().expect("one file").expect("listed").path();
    let text = fs::read_to_string(path).expect("text");
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(lines.iter().any(|line| line["message"] == "shown" && line["level"] == "DEBUG"), "{text}");
    assert!(!text.contains("hidden") && !text.contains("SECRET"), "{text}");
}
