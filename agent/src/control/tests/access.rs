//! Who may do what over the network, and until when.

use std::collections::BTreeSet;

use pilothouse_shared::command::Command;

use super::*;
use crate::control::tokens::Tokens;
use crate::telemetry::clock::wall_ms;

/// A line of every command, with the least role that may.
pub(super) const LINES: [(&str, Role); 35] = [
    ("status", Role::Viewer),
    ("shards *", Role::Viewer),
    ("explain 3", Role::Viewer),
    ("dead http list", Role::Viewer),
    ("dead http resend", Role::Operator),
    ("dead http purge", Role::Operator),
    ("restart 3", Role::Operator),
    ("restart 3 --identify", Role::Operator),
    ("close 3 --code 4000", Role::Operator),
    ("presence 3 --status dnd", Role::Operator),
    ("voice leave 7", Role::Operator),
    ("voice join 7 8", Role::Operator),
    ("soundboard 7", Role::Operator),
    ("channel-info 7", Role::Operator),
    ("members 7", Role::Operator),
    ("sink http pause", Role::Operator),
    ("sink http purge", Role::Operator),
    ("identify hold", Role::Operator),
    ("identify release", Role::Operator),
    ("stage drop on", Role::Operator),
    ("stage drop off", Role::Operator),
    ("help", Role::Viewer),
    ("help restart", Role::Viewer),
    ("job", Role::Viewer),
    ("get", Role::Viewer),
    ("get spool", Role::Viewer),
    ("set gateway.reserve_percent 6", Role::Operator),
    ("log info", Role::Operator),
    ("audit", Role::Operator),
    ("tail", Role::Viewer),
    ("logs", Role::Viewer),
    ("run", Role::Viewer),
    ("run one", Role::Operator),
    ("eval 1", Role::Admin),
    ("send 3 {\"op\":4}", Role::Admin),
];

const ROLES: [Role; 3] = [Role::Viewer, Role::Operator, Role::Admin];

impl Rig {
    fn tokens(&self) -> Tokens {
        Tokens::of(self.data.path())
    }

    /// A token of somebody who is called like the role.
    pub(super) fn token(&self, role: Role) -> String {
        self.tokens().add(role.name(), role, wall_ms(), None).expect("added")
    }

    async fn line(&self, token: &str, line: &str) -> (u16, String) {
        let head = format!("POST /v1/commands HTTP/1.1\r\nAuthorization: Bearer {token}");
        self.ask(&head, &serde_json::json!({ "line": line, "yes": true }).to_string()).await
    }
}

#[tokio::test]
async fn every_command_takes_its_role_over_http() {
    let told: BTreeSet<&str> = LINES.iter().filter_map(|(line, _)| line.split(' ').next()).collect();
    let names = Command::names();
    assert_eq!(told, names.iter().map(String::as_str).collect(), "a command is missing in the table");
    let rig = Rig::new(4).await;
    for role in ROLES {
        let token = rig.token(role);
        for (line, needed) in LINES {
            let (status, answer) = rig.line(&token, line).await;
            assert_eq!(status == 403, role < needed, "{role} {line}: {status} {answer}");
            assert_ne!(status, 401, "{role} {line}");
            if status == 403 {
                let name = if needed == Role::Admin { "admin" } else { "operator" };
                assert!(answer.contains(name), "{answer}");
            }
        }
    }
    let (status, answer) = rig.line("eve", "status").await;
    assert_eq!(status, 401, "{answer}");
}

#[tokio::test]
async fn what_is_shown_takes_any_role_and_a_token() {
    let rig = Rig::new(4).await;
    let viewer = rig.token(Role::Viewer);
    let bearer = format!("\r\nAuthorization: Bearer {viewer}");
    for path in ["/v1/status", "/v1/shards"] {
        assert_eq!(rig.ask(&format!("GET {path} HTTP/1.1{bearer}"), "").await.0, 200, "{path}");
    }
    rig.tokens().revoke("viewer").expect("revoked");
    for path in ["/v1/status", "/v1/shards"] {
        assert_eq!(rig.ask(&format!("GET {path} HTTP/1.1{bearer}"), "").await.0, 401, "{path}");
    }
}

#[tokio::test]
async fn a_console_is_let_go_when_its_token_is_revoked_and_others_stay() {
    let rig = Rig::new(4).await;
    let tokens = ROLES.map(|role| rig.token(role));
    let mut consoles = Vec::new();
    for (token, role) in tokens.iter().zip(ROLES) {
        consoles.push(rig.console_of(token, role).await);
    }
    rig.tokens().revoke("operator").expect("revoked");
    let reason = "the token was revoked or has ended: ask for another".to_owned();
    assert_eq!(consoles[1].next().await, FromAgent::Bye { reason: reason.clone(), retry: false });
    for stays in [0, 2] {
        consoles[stays].send(&ToAgent::command(1, "explain 3")).await;
        assert!(matches!(consoles[stays].next().await, FromAgent::Result { ok: true, .. }));
    }
    rig.tokens().revoke("admin").expect("revoked");
    consoles[2].send(&ToAgent::command(2, "restart 3")).await;
    assert_eq!(consoles[2].next().await, FromAgent::Bye { reason, retry: false });
    assert!(rig.told.commands.lock().expect("no panic").is_empty(), "a revoked token restarted a shard");
}

#[tokio::test]
async fn a_damaged_file_of_tokens_leaves_the_local_token_alone() {
    let rig = Rig::new(4).await;
    let admin = rig.token(Role::Admin);
    std::fs::write(rig.data.path().join("tokens.json"), "{").expect("it is written");
    assert_eq!(rig.line(&admin, "status").await.0, 401);
    assert_eq!(rig.line(TOKEN, "status").await.0, 200);
}

#[tokio::test]
async fn changes_and_refused_attempts_are_in_the_audit_log_and_looking_is_not() {
    let rig = Rig::new(4).await;
    let [viewer, operator, _] = ROLES.map(|role| rig.token(role));
    for (token, line) in [
        (&viewer, "restart 1"),
        (&operator, "restart 2"),
        (&operator, "restart 99"),
        (&operator, "status"),
        (&operator, "audit --limit 3"),
        (&operator, "presence 3 --status dnd --activity bot-token"),
    ] {
        rig.line(token, line).await;
    }
    let (status, answer) = rig.line(&operator, "audit --since 5m --limit 9").await;
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    let lines: Vec<&str> = answer["text"].as_str().expect("a text").lines().collect();
    let expected = [
        "viewer (viewer) from 127.0.0.1 by http: restart 1 -> not done: this token may look only: `restart 1` takes an operator's",
        ": restart 2 -> restarting shard 2: it resumes its session",
        "operator (operator) from 127.0.0.1 by http: restart 99 -> not done: shard 99 does not exist: this bot has shards 0 to 3",
        ": presence 3 --status dnd --activity=\"[secret]\" --kind playing -> presence set on shard 3",
    ];
    assert_eq!((status, lines.len()), (200, expected.len()), "{lines:#?}");
    assert!(lines[1].contains("operator (operator) from 127.0.0.1 by http, plan "), "{}", lines[1]);
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.ends_with(expected), "{line}\n{expected}");
    }
    let (_, answer) = rig.line(TOKEN, "audit --who viewer").await;
    assert!(answer.contains("restart 1") && !answer.contains("restart 2"), "{answer}");
}

#[tokio::test]
async fn nothing_is_changed_that_cannot_be_audited_and_looking_goes_on() {
    let rig = Rig::new(4).await;
    std::fs::write(rig.data.path().join("audit"), "no folder").expect("it is written");
    let (status, answer) = rig.line(TOKEN, "restart 3").await;
    assert!(status == 503 && answer.contains("nothing was done") && answer.contains("audit"), "{status} {answer}");
    assert_eq!(rig.line(TOKEN, "explain 3").await.0, 200);
    assert!(rig.told.commands.lock().expect("no panic").is_empty());
}
