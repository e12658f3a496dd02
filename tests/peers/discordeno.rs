//! @discordeno/gateway 21.0.0, the library of the guide, against the sandbox, under node.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use pilothouse_sandbox::{Rate, Sandbox, SandboxConfig};
use serde_json::Value;

const FILES: [&str; 2] = ["package.json", "peer.mjs"];

/// The first line that says why the peer cannot run here, or where it is installed.
fn install() -> Result<PathBuf, String> {
    let version = output(Command::new("node").arg("--version")).map_err(|_| "node is not installed")?;
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok());
    if major.unwrap_or(0) < 20 {
        return Err(format!("node {} is older than 20", version.trim()));
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/discordeno");
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("discordeno");
    std::fs::create_dir_all(&place).map_err(|error| error.to_string())?;
    for file in FILES {
        std::fs::copy(source.join(file), place.join(file)).map_err(|error| error.to_string())?;
    }
    if !place.join("node_modules/@discordeno/gateway").exists() {
        let npm = ["install", "--no-save", "--no-package-lock", "--no-audit", "--no-fund"];
        output(Command::new("npm").args(npm).current_dir(&place)).map_err(|error| format!("npm install: {error}"))?;
    }
    Ok(place)
}

fn output(command: &mut Command) -> Result<String, String> {
    let run = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let Output { status, stdout, stderr } = run;
    if status.success() { Ok(text(&stdout)) } else { Err(format!("{}{}", text(&stdout), text(&stderr))) }
}

async fn play(compression: &str) {
    let place = match install() {
        Ok(place) => place,
        Err(why) => return eprintln!("SKIPPED: Discordeno against the sandbox ({compression}): {why}"),
    };
    let config = SandboxConfig { guilds: 20, rate: Rate::PerSecond(500.0), ..SandboxConfig::default() };
    let sandbox = Sandbox::start(config).await.expect("the sandbox starts");
    let urls = [sandbox.gateway_url(), sandbox.rest_url(), sandbox.bot_url()].map(str::to_owned);
    let args = [urls.as_slice(), &["sandbox-token".to_owned(), compression.to_owned()]].concat();
    let node =
        tokio::task::spawn_blocking(move || output(Command::new("node").arg("peer.mjs").args(args).current_dir(place)));
    let line = node.await.expect("the node task ends").expect("the peer succeeds");
    let seen: Value = serde_json::from_str(line.trim()).expect("the peer prints JSON");
    assert_eq!((&seen["ready"], &seen["resumed"]), (&Value::from(1), &Value::from(1)), "{seen}");
    assert!(sandbox.settle(Duration::from_secs(5)).await, "{:?}", sandbox.verdict());
    let (verdict, status) = (sandbox.verdict(), sandbox.status());
    assert!(verdict.clean(), "{verdict:?} {:?}", status.violations);
    assert_eq!((status.identifies, status.resumes), (1, 1));
}

#[tokio::test]
async fn discordeno_gets_every_event_and_resumes_after_op_7() {
    // One after the other: both install into the same folder.
    play("none").await;
    play("zlib-stream").await;
}
