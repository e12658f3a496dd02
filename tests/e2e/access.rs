//! People with tokens of their own, over TLS, with the real programs; and no secret in anything that they leave behind.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use pilothouse_agent::config::{Config, HttpConfig, Secret, SinkConfig};
use pilothouse_sandbox::{Sandbox, SandboxConfig};
use pilothouse_tests::{AgentProcess, Control, program};
use serde_json::json;
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::setup::{PATIENCE, config, sandbox_config, start};

const SHARDS: u32 = 2;

/// A sandbox, and a configuration for an agent on a port that is known.
async fn rig(change: impl FnOnce(&mut SandboxConfig)) -> (Sandbox, TempDir, Config) {
    let mut discord = sandbox_config(SHARDS, 50.0);
    change(&mut discord);
    let sandbox = start(discord).await;
    let data = TempDir::new().expect("a temporary folder");
    let listen = pilothouse_tests::free_address();
    let config = Config { listen, ..config(&sandbox, &data, SHARDS) };
    (sandbox, data, config)
}

/// A program with nothing but these arguments; it waits for the agent, which waits for the sandbox.
async fn run(name: &str, args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(program(name));
    command.args(args).env_clear().envs(env.iter().copied());
    tokio::task::spawn_blocking(move || command.output().expect("it runs")).await.expect("it ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

async fn token(data: &Path, args: &[&str]) -> Output {
    let data = data.to_str().expect("text");
    run("pilothouse-agent", &[["token"].as_slice(), args, &["--data-dir", data]].concat(), &[]).await
}

async fn add(data: &Path, name: &str, role: &str) -> String {
    let added = token(data, &["add", name, "--role", role]).await;
    assert!(added.status.success(), "{}", text(&added.stderr));
    text(&added.stdout).trim().to_owned()
}

fn certificate(folder: &Path) -> (PathBuf, PathBuf) {
    let (cert_file, key_file) = (folder.join("cert.pem"), folder.join("key.pem"));
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let cert = params.self_signed(&key).expect("a certificate");
    fs::write(&cert_file, cert.pem()).expect("it is written");
    fs::write(&key_file, key.serialize_pem()).expect("it is written");
    (cert_file, key_file)
}

#[tokio::test(flavor = "multi_thread")]
async fn people_steer_an_agent_over_tls_and_stand_in_the_audit_log() {
    let (sandbox, data, mut config) = rig(|_| {}).await;
    let (cert, key) = certificate(data.path());
    (config.control.tls_cert, config.control.tls_key) = (Some(cert.clone()), Some(key));
    let agent = AgentProcess::start(&config);
    assert!(sandbox.connected(SHARDS as usize, PATIENCE).await, "{:?}", sandbox.status());
    let (ann, eve) = (add(data.path(), "ann", "operator").await, add(data.path(), "eve", "viewer").await);
    let port = config.listen.port();
    let (secure, plain) = (format!("https://localhost:{port}"), format!("ws://localhost:{port}"));
    let ca = cert.to_str().expect("text");
    let shows = ["--agent", &secure, "--ca", ca, "shards", "state=active", "-o", "ndjson"];
    let begun = Instant::now();
    while text(&run("pilothouse", &shows, &[("PILOTHOUSE_CONSOLE_TOKEN", &eve)]).await.stdout).lines().count() < 2 {
        assert!(begun.elapsed() < PATIENCE, "the shards are never shown as active");
    }
    for (address, ca, token, line, code, said) in [
        (&secure, ca, &ann, "restart 0", 0, "restarting shard 0"),
        (&secure, ca, &ann, "send 0 {\"op\":31,\"d\":{}}", 1, "admin"),
        (&secure, ca, &eve, "status", 0, "shards"),
        (&secure, ca, &eve, "restart 1", 1, "operator"),
        (&secure, "", &ann, "status", 4, "--ca FILE"),
        (&plain, "", &ann, "status", 3, "write wss://"),
    ] {
        let env = [("PILOTHOUSE_CONSOLE_TOKEN", token.as_str()), ("PILOTHOUSE_CA", ca)];
        let env = if ca.is_empty() { &env[..1] } else { &env[..] };
        let output = run("pilothouse", &["--agent", address, "exec", line, "--yes"], env).await;
        let told = text(&output.stdout) + &text(&output.stderr);
        assert!(output.status.code() == Some(code) && told.contains(said), "{line}: {:?} {told}", output.status);
    }
    let ask = ["--agent", &secure, "--ca", ca, "exec", "audit"];
    let log = run("pilothouse", &ask, &[("PILOTHOUSE_CONSOLE_TOKEN", &ann)]).await;
    let log = text(&log.stdout);
    for part in [
        ": restart 0 -> restarting shard 0",
        "ann (operator) from 127.0.0.1 by exec: send 0 {\"op\":31,\"d\":{}} -> not done",
        "eve (viewer) from 127.0.0.1 by exec: restart 1 -> not done",
    ] {
        assert!(log.contains(part), "{part}\n{log}");
    }
    assert!(!log.contains("status"), "{log}");
    assert!(token(data.path(), &["revoke", "ann"]).await.status.success());
    let refused = run("pilothouse", &ask, &[("PILOTHOUSE_CONSOLE_TOKEN", &ann)]).await;
    assert!(refused.status.code() == Some(4) && text(&refused.stderr).contains("401"), "{}", text(&refused.stderr));
    assert!(agent.terminate());
}

const AUTHORIZATION: &str = "authorization-of-the-test";
const WRONG: &str = "mistyped-token-of-the-test";

/// What may stand nowhere: the names say which.
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    fn check(&self, place: &str, bytes: &[u8]) {
        for (name, secret) in &self.0 {
            let found = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!found, "{name} stands in {place}");
        }
    }

    /// Every file below `folder`; tells how many there are.
    fn check_files(&self, folder: &Path) -> usize {
        let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        let checked = entries.map(|path| match path.file_name().and_then(|name| name.to_str()) {
            // Where the local token is handed to consoles.
            Some("console.token") => 0,
            _ if path.is_dir() => self.check_files(&path),
            _ => {
                self.check(&path.display().to_string(), &fs::read(&path).expect("it is readable"));
                1
            }
        });
        checked.sum()
    }
}

/// All that a console is told within two seconds that asks for everything and types `line`.
async fn frames(config: &Config, token: &str, line: &str) -> String {
    let mut request = format!("ws://{}/v1/console", config.listen).into_client_request().expect("a URL");
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().expect("a header"));
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.expect("let in");
    let hello = json!({"type": "hello", "protocol": pilothouse_shared::wire::PROTOCOL, "client": "test"});
    let all = json!({"type": "subscribe", "overview": true, "map": true, "page": {"count": 9}, "detail": 0,
        "tail": {"payloads": true}, "logs": "trace"});
    let command = json!({"type": "command", "id": 1, "line": line, "yes": true, "reason": line});
    for frame in [hello, all, command] {
        socket.send(Message::text(frame.to_string())).await.expect("it listens");
    }
    let (mut told, end) = (String::new(), tokio::time::Instant::now() + Duration::from_secs(2));
    while let Ok(Some(Ok(frame))) = tokio::time::timeout_at(end, socket.next()).await {
        told.push_str(&frame.into_text().expect("text"));
    }
    told
}

/// Lines that hold secrets where they do not belong, and lines that fail.
fn lines(secrets: &Secrets) -> Vec<String> {
    let typed = secrets.0.iter().map(|(_, secret)| format!("presence 0 --status idle --activity {secret}"));
    let others = ["restart 0", "restart 99", "fly", "send 0 {\"op\":2}", "members 7", "close 1 --code 4000", "audit"];
    typed.chain(others.map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_left_in_logs_files_or_answers() {
    let (sandbox, data, mut config) = rig(|discord| {
        discord.token = "bot-token-of-the-test".to_owned();
        discord.rest_authorization = Some(AUTHORIZATION.to_owned());
        discord.bot_authorization = Some(AUTHORIZATION.to_owned());
    })
    .await;
    config.token = Secret::new("bot-token-of-the-test");
    config.authorization = Some(Secret::new(AUTHORIZATION));
    config.sinks = vec![SinkConfig::Http(HttpConfig::new([sandbox.bot_url()]))];
    let said = data.path().join("stderr");
    let agent = AgentProcess::start_told(&config, "trace", File::create(&said).expect("a file"));
    assert!(sandbox.connected(SHARDS as usize, PATIENCE).await, "{:?}", sandbox.status());
    let ann = add(data.path(), "ann", "admin").await;
    let local = fs::read_to_string(data.path().join("console.token")).expect("the agent wrote it").trim().to_owned();
    let secrets = Secrets(vec![
        ("the bot's token", "bot-token-of-the-test".to_owned()),
        ("AUTHORIZATION", AUTHORIZATION.to_owned()),
        ("the console's token", local),
        ("ann's token", ann.clone()),
    ]);
    let control = Control::of(&config);
    let client = reqwest::Client::new();
    let url = |path: &str| format!("http://{}{path}", config.listen);
    for line in lines(&secrets) {
        let body = json!({"line": line, "yes": true, "reason": line, "key": "k"}).to_string();
        let request = client.post(url("/v1/commands")).bearer_auth(&ann).body(body);
        let answer = request.send().await.expect("answered").text().await.expect("a body");
        secrets.check(&line, answer.as_bytes());
    }
    for (_, secret) in &secrets.0 {
        let told = frames(&config, &ann, &format!("presence 0 --status idle --activity {secret}")).await;
        assert!(told.contains("\"type\":\"tail\"") && told.contains("\"type\":\"logs\""), "{told}");
        secrets.check("a frame", told.as_bytes());
        let body = json!({"type": "SHARD_PAYLOAD", "shardId": 0, "payload": {"op": 31, "d": secret}}).to_string();
        let answer = client.post(url("/")).header("authorization", AUTHORIZATION).body(body).send().await;
        let answer = answer.expect("answered").text().await.expect("a body");
        secrets.check("an answer to the bot", answer.as_bytes());
    }
    for shown in [WRONG, &format!("{ann}x")] {
        let answer = client.get(url("/v1/status")).bearer_auth(shown).send().await.expect("answered");
        assert_eq!(answer.status(), 401);
        secrets.check("an answer to a wrong token", answer.text().await.expect("a body").as_bytes());
    }
    let wanted = |overview: &pilothouse_shared::snapshot::Overview| overview.reporting == SHARDS;
    control.shows(PATIENCE, wanted).await;
    for path in ["/v1/status", "/v1/shards", "/healthz", "/nowhere"] {
        let answer = client.get(url(path)).bearer_auth(&ann).send().await.expect("answered").bytes().await;
        secrets.check(path, &answer.expect("a body"));
    }
    assert!(agent.terminate());
    let mut secrets = secrets;
    secrets.0.push(("a mistyped token", WRONG.to_owned()));
    let checked = secrets.check_files(data.path());
    let said = fs::read_to_string(&said).expect("text");
    assert!(checked > 5 && said.contains("ann (admin) from 127.0.0.1 by http"), "{checked} files, stderr: {said}");
    let audit =
        fs::read_dir(data.path().join("audit")).expect("it is there").next().expect("a file").expect("an entry");
    let audit = fs::read_to_string(audit.path()).expect("text");
    assert!(audit.matches("[secret]").count() >= 2 * 4, "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_tells_no_secret() {
    let data = TempDir::new().expect("a temporary folder");
    let file = data.path().join("pilothouse.toml");
    let content = "token = ['bot-token-of-the-test']\nauthorization = ['authorization-of-the-test']\ntoke = 'bot-token-of-the-test'\n\
                   [[sinks]]\nkind = 'amqp'\nurl = 'http://user:authorization-of-the-test@h/'\n";
    fs::write(&file, content).expect("it is written");
    let secrets =
        Secrets(vec![("the token", "bot-token-of-the-test".to_owned()), ("a password", AUTHORIZATION.to_owned())]);
    for command in [["run"].as_slice(), &["config", "check"], &["config", "print"]] {
        let args = [command, &["--config", file.to_str().expect("text")]].concat();
        let output = run("pilothouse-agent", &args, &[]).await;
        assert_eq!(output.status.code(), Some(2));
        secrets.check("stdout", &output.stdout);
        secrets.check("stderr", &output.stderr);
        assert!(text(&output.stderr).lines().count() >= 4, "{}", text(&output.stderr));
    }
}
