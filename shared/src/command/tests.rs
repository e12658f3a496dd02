//! Every command round-trips, and what is wrong is told.

use proptest::prelude::*;

use super::*;

#[test]
fn every_command_round_trips() {
    for line in [
        "status",
        "help",
        "help restart",
        "eval shards.filter(|s| s.lag > 300).len()",
        "eval if gateway.lag > 9 {\n  print(\"it's\");\n}",
        "eval -1 + 2",
        "eval --help",
        "eval --",
        "run",
        "run unstick",
        "shards *",
        "shards 0-15,state=fatal",
        "explain 3",
        "restart 3",
        "restart \"agent=a b\"",
        "tail \"shards=agent=a b\"",
        "restart * --identify",
        "identify hold",
        "identify release",
        "stage guild_lifecycle on",
        "stage drop off",
        "close 3 --code 4000",
        "presence * --status idle",
        "presence 0-15 --status dnd --activity chess --kind playing",
        "presence 3 --status online --activity=\"the helm, \"'\"'\"aye\"'\"'\"\" --kind custom",
        "voice leave 197038439483310086",
        "voice join 7 8 --mute --deaf",
        "soundboard 7 8 9",
        "channel-info 7",
        "members 7",
        "members 7 --query ann --limit 5 --presences",
        "members 7 --query=\"-x\"",
        "members 7 --limit 0",
        "members 7 --user 1 2 3",
        "sink http pause",
        "sink \"bot-2\" drain",
        "dead http list",
        "dead http resend",
        "job",
        "job 17",
        "get",
        "get stages.drop",
        "set stages.drop PRESENCE_UPDATE,TYPING_START",
        "set gateway.max_unconfirmed 512",
        "log info,pilothouse_agent::shard=debug",
        "audit --limit 20",
        "audit --who ann --since 2h --limit 5",
        "tail",
        "tail MESSAGE_CREATE READY guild=7 shards=0-3,state=fatal",
        "logs warn",
        "send 3 {\"op\": 43, \"d\": {\"guild_id\": \"it's 7\"}}",
    ] {
        assert_eq!(Command::parse(line).expect(line).to_string(), line);
    }
    assert_eq!(Command::parse("restart \"3, 4\"").expect("quoted").to_string(), "restart 3,4");
    let kinds = Command::parse("presence 3 --status dnd --activity chess").expect("valid").to_string();
    assert_eq!(kinds, "presence 3 --status dnd --activity chess --kind playing");
    let quoted = Command::parse("send 3 '{\"op\":4}'").expect("quoted").to_string();
    assert_eq!(quoted, "send 3 {\"op\":4}");
    let ids = Command::parse("members 7 --user 1 --user 2").expect("valid").to_string();
    assert_eq!(ids, "members 7 --user 1 2");
}

#[test]
fn a_refusal_names_the_word_and_what_is_allowed() {
    let refused = |line| Command::parse(line).expect_err(line).to_string();
    assert!(refused("").contains("restart"));
    assert!(refused("restrat 3").contains("restart"), "{}", refused("restrat 3"));
    assert!(refused("close 3 --code 1000").contains("3000"));
    assert!(refused("restart 9-2").contains("2-9"));
    assert!(refused("restart '3").contains("quote"));
    assert!(refused("presence 3 --status away").contains("invisible"));
    assert!(refused("presence 3 --status dnd --kind watching").contains("--activity"));
    assert!(refused("members x").contains("197038439483310086"));
    assert!(refused("members 7 --limit 101").contains("100"));
    assert!(refused("members 7 --query a --user 1").contains("--user"));
    assert!(refused("send 3 {\"op\"").contains("JSON object"));
    assert!(refused("send 3 [1]").contains("JSON object"));
    assert!(refused("sink http stop").contains("pause"));
    assert!(refused("stage messages on").contains("message_update"), "{}", refused("stage messages on"));
    assert!(refused("stage drop maybe").contains("off"), "{}", refused("stage drop maybe"));
    assert!(refused("audit --since yesterday").contains("30d"));
    assert!(refused("audit --limit 501").contains("500"));
    assert!(refused("voice").contains("leave"), "{}", refused("voice"));
    assert!(refused("soundboard").contains("GUILD"));
    assert!(refused("eval").contains("SCRIPT"), "{}", refused("eval"));
    assert!(refused("'eval' ' '").contains("missing"), "{}", refused("'eval' ' '"));
    assert!(refused("tail MESSAGES").contains("MESSAGE_CREATE"), "{}", refused("tail MESSAGES"));
    assert!(refused("logs loud").contains("debug"));
}

#[test]
fn what_changes_takes_more_than_looking() {
    for (line, changes, role) in [
        ("status", false, Role::Viewer),
        ("restart 3", true, Role::Operator),
        ("presence 3 --status dnd", true, Role::Operator),
        ("voice leave 7", true, Role::Operator),
        ("members 7", false, Role::Operator),
        ("soundboard 7", false, Role::Operator),
        ("channel-info 7", false, Role::Operator),
        ("identify hold", true, Role::Operator),
        ("sink http purge", true, Role::Operator),
        ("dead http list", false, Role::Viewer),
        ("dead http resend", true, Role::Operator),
        ("stage drop on", true, Role::Operator),
        ("job", false, Role::Viewer),
        ("get", false, Role::Viewer),
        ("set log.level info", true, Role::Operator),
        ("log debug", true, Role::Operator),
        ("audit", false, Role::Operator),
        ("send 3 {\"op\":4}", true, Role::Admin),
        ("eval gateway.restart()", false, Role::Admin),
        ("run unstick", false, Role::Operator),
        ("run", false, Role::Viewer),
    ] {
        let command = Command::parse(line).expect(line);
        assert_eq!((command.changes(), command.role()), (changes, role), "{line}");
        assert!(command.is_audited() || !command.changes(), "{line}");
    }
}

proptest! {
    #[test]
    fn no_line_panics(line in ".{0,60}") {
        if let Ok(command) = Command::parse(&line) {
            prop_assert_eq!(Command::parse(&command.to_string()), Ok(command));
        }
    }

    #[test]
    fn any_text_round_trips(text in ".{0,30}|[-{}\"' a]{0,8}", limit in prop::option::of(0_u16..101)) {
        let query = Some(text.clone());
        let members = Command::Members { guild: GuildId(7), query, limit, users: vec![], presences: true };
        prop_assert_eq!(Command::parse(&members.to_string()), Ok(members));
        let (shards, status, kind) = (Selector::all(), Status::Idle, Some(Kind::Custom));
        let presence = Command::Presence { shards, status, activity: Some(text.clone()), kind };
        prop_assert_eq!(Command::parse(&presence.to_string()), Ok(presence));
        let send = Command::Send { shard: 3, json: serde_json::json!({"op": 4, "d": text}).to_string() };
        prop_assert_eq!(Command::parse(&send.to_string()), Ok(send));
    }

    #[test]
    fn any_script_round_trips(script in "[-{}\"'|;a ]{0,8}|(.|\n){0,40}") {
        let script = script.trim().to_owned();
        prop_assume!(!script.is_empty());
        let eval = Command::Eval { script };
        prop_assert_eq!(Command::parse(&eval.to_string()), Ok(eval));
    }
}
