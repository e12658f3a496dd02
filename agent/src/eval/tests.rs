//! Scripts: what they read, ask for and print, and how what is wrong with them is told.

use std::path::Path;
use std::{env, fs};

use pilothouse_shared::snapshot::{
    AgentRow, CloseRow, Finding, GenerationRow, IdentifyRow, Overview, Severity, ShardRow, ShardState, SinkRow,
    StageRow,
};

use super::table::CLASSES;
use super::*;

fn snapshot(total: u32) -> Arc<Snapshot> {
    let row = |id: u32| ShardRow {
        id,
        state: if id % 4 == 3 { ShardState::Resuming } else { ShardState::Active },
        since: 1_000,
        agent: "eu-1".to_owned(),
        lag_ms: id * 100,
        latency_ms: (id != 2).then_some(40 + id),
        guilds: 500 + id,
        close: (id == 3).then(|| CloseRow { code: Some(4_000), reason: "unknown error".into(), at: 900 }),
        ..ShardRow::default()
    };
    let sink = |name: &str, spooled| SinkRow {
        name: name.to_owned(),
        state: "delivering".into(),
        spooled,
        ..SinkRow::default()
    };
    let stage = |name: &str, on| StageRow { name: name.to_owned(), on, ..StageRow::default() };
    let finding = Finding { severity: Severity::Warning, text: "the spool fills".into(), hint: None, shards: vec![] };
    let overview = Overview {
        at: 61_000,
        agents: vec![AgentRow { name: "eu-1".into(), shards: total, ..AgentRow::default() }],
        generation: GenerationRow { number: 1, total, version: 10, intents: 513, compression: "zlib".into() },
        identify: IdentifyRow { total: 1_000, remaining: 812, ..IdentifyRow::default() },
        sinks: vec![sink("http", 7), sink("my-file", 0)],
        stages: vec![stage("guild_lifecycle", true), stage("drop", false)],
        findings: vec![finding],
        guilds: 2_000,
        ..Overview::default()
    };
    Arc::new(Snapshot { overview, rows: (0..total).map(row).collect() })
}

/// Other tests of this process take memory meanwhile.
const LIMITS: Limits = Limits { time: Duration::from_secs(60), operations: 500_000, memory: u64::MAX };

fn run(script: &str) -> Result<Evaluated, EvalError> {
    eval(script, &snapshot(4), &LIMITS)
}

fn value(script: &str) -> String {
    let evaluated = run(script).unwrap_or_else(|error| panic!("{script}: {error}"));
    assert_eq!(evaluated.commands, [], "{script}");
    evaluated.value
}

fn commands(script: &str) -> Vec<String> {
    let evaluated = run(script).unwrap_or_else(|error| panic!("{script}: {error}"));
    evaluated.commands.iter().map(ToString::to_string).collect()
}

fn error(script: &str) -> String {
    run(script).map(|evaluated| evaluated.value).expect_err(script).to_string()
}

#[test]
fn a_script_reads_the_snapshot() {
    for (script, expected) in [
        ("1 + 2", "3"),
        ("\"aye\"", "aye"),
        ("()", ""),
        ("gateway.version", "10"),
        ("gateway.identify.remaining", "812"),
        ("gateway.findings", "[the spool fills]"),
        ("shards.len()", "4"),
        ("shards.filter(|s| s.lag > 150).len()", "2"),
        ("shards.filter(|s, most| s.lag > most, 250).len()", "1"),
        ("shards.map(|s| s.id * 2)", "[0, 2, 4, 6]"),
        ("shards.find(|s| s.state == \"resuming\").close_reason", "unknown error"),
        ("shards.find(|s| s.lag > 9000)", ""),
        ("shards.some(|s| s.close == 4000)", "true"),
        ("shards.all(|s| s.agent == \"eu-1\")", "true"),
        ("shards.sum(\"guilds\")", "2006"),
        ("shards.top(\"lag\", 2).map(|s| s.id)", "[3, 2]"),
        ("shards[2].latency", ""),
        ("let most = 0; for s in shards { if s.lag > most { most = s.lag } } most", "300"),
        ("fn ill(s) { s.state != \"active\" } shards.filter(ill).len()", "1"),
        ("fn total() { gateway.total } total()", "4"),
        ("sinks.http.spooled + sinks[\"my-file\"].spooled", "7"),
        ("if stages.drop.on { 1 } else { 2 }", "2"),
        ("fleet[0].name", "eu-1"),
        ("resharding.full_percentage", "20"),
        ("`${shards[3]} of ${shards}`", "shard 3 of 4 shards"),
        ("gateway.at - shards[0].since", "60000"),
    ] {
        assert_eq!(value(script), expected, "{script}");
    }
}

#[test]
fn what_a_script_asks_for_is_noted_in_order() {
    for (script, expected) in [
        ("shards[3].restart()", &["restart 3"][..]),
        ("shards[3].restart_identify()", &["restart 3 --identify"]),
        ("shards.filter(|s| s.id != 1).restart()", &["restart 0,2-3"]),
        ("shards.restart()", &["restart *"]),
        ("gateway.restart()", &["restart *"]),
        ("shards[1].close(4000); shards[0].presence(\"idle\")", &["close 1 --code 4000", "presence 0 --status idle"]),
        (
            "gateway.presence(\"dnd\", \"the \\\"helm\\\" {1}\")",
            &["presence * --status dnd --activity=\"the \"'\"'\"helm\"'\"'\" {1}\" --kind playing"],
        ),
        ("sinks.http.pause(); sinks[\"my-file\"].resend_letters()", &["sink http pause", "dead \"my-file\" resend"]),
        (
            "stages.drop = true; stages.guild_lifecycle = false; stages.drop.off()",
            &["stage drop on", "stage guild_lifecycle off", "stage drop off"],
        ),
        ("gateway.identify.hold()", &["identify hold"]),
        ("for s in shards { if s.lag > 150 { s.restart() } }", &["restart 2", "restart 3"]),
        ("command(\"voice leave 7\")", &["voice leave 7"]),
    ] {
        assert_eq!(commands(script), expected, "{script}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (script, expected) in [
        ("1 +", "line 1, column 4: "),
        ("let a = 1;\n  a.b()", "line 2, column 5: there is no function b"),
        ("lag", "line 1, column 1: nothing is called lag here"),
        (
            "let most = 1; shards.filter(|s| s.lag > most)",
            "nothing is called most here: a function sees only its arguments",
        ),
        ("shards[0].lagg", "shard has no field lagg: did you mean lag?"),
        ("shards[4]", "there is no shard 4 in this list of 4 shards"),
        ("shards.lag", "lag is a field of one shard"),
        ("sinks.nats", "no sink is called nats: there is http, my-file"),
        ("sinks.pause()", "pause is done by one sink: sinks.http"),
        ("shards.filter(|s| false).restart()", "the list is empty: no shard to restart"),
        ("shards.filter(|s| s.id)", "the function is to say true or false, not i64"),
        ("shards[1].close(1000)", "3000"),
        ("shards[1].presence(\"away\")", "invisible"),
        ("shards[1].pause()", "shard has no method pause with 0 arguments; it has restart(), "),
        ("shards[1].lag = 5", "shard.lag can be read only"),
        ("gateway.version = 11", "this agent cannot change gateway.version while it runs: set api_version"),
        ("gateway.reshard(5120)", "this agent cannot change gateway.reshard while it runs: set shards"),
        ("resharding.shards_full_percentage = 75", "this agent cannot change resharding.shards_full_percentage"),
        ("stages.drop = 1", "a stage is set to true or false"),
        ("command(\"status\")", "changes nothing"),
        ("command(\"eval 1\")", "a script cannot run another one"),
        ("command(\"run x\")", "a script cannot run another one"),
        ("for i in 0..1001 { shards[0].restart() }", "more than 1000 changes"),
        ("throw \"enough\"", "line 1, column 1: enough"),
        ("fn f() {\n  1 / 0\n}\nf()", "line 2, column 5: "),
    ] {
        let said = error(script);
        assert!(said.contains(expected), "{script}: {said}");
    }
}

#[test]
fn several_objects_are_a_table_and_one_is_its_fields() {
    let lines = [
        "id  state     agent  worker  lag  latency  events_per_s  guilds",
        " 2  active    eu-1        0  200        -             0     502",
        " 3  resuming  eu-1        0  300       43             0     503",
    ];
    assert_eq!(value("shards.filter(|s| s.lag > 150)"), lines.join("\n"));
    assert_eq!(value("[shards[2], shards[3]]"), lines.join("\n"));
    let maps = "shards.top(\"lag\", 2).map(|s| #{shard: s.id, guilds: s.guilds})";
    assert_eq!(value(maps), "guilds  shard\n   503      3\n   502      2");
    assert!(value("shards[3]").contains("close_reason  unknown error"), "{}", value("shards[3]"));
    assert_eq!(value("#{a: 1, b: \"x\"}"), "a  1\nb  x");
    assert_eq!(value("shards.filter(|s| false)"), "none");
}

#[test]
fn a_long_list_says_how_much_is_left_out() {
    let many = snapshot(5_000);
    let show = |script| eval(script, &many, &LIMITS).expect(script).value;
    let table = show("shards");
    assert_eq!(table.lines().count(), 52);
    assert!(table.ends_with("\n… 4,950 more"), "{table}");
    assert!(show("shards.map(|s| s.id)").ends_with("48, 49]\n… 4,950 more"));
    assert_eq!(show("shards.filter(|s| s.lag > 300 && s.state == \"active\").len()"), "3747");
}

#[test]
fn what_is_printed_comes_apart_and_what_fails_asks_for_nothing() {
    let evaluated = run("print(\"a\"); print(shards[1]); debug(1); 7").expect("it runs");
    assert_eq!((&*evaluated.printed, &*evaluated.value), ("a\nshard 1\n1", "7"));
    assert!(run("shards.restart(); throw 1").is_err());
}

#[test]
fn help_tells_of_everything() {
    let all = value("help()");
    let shards = value("help(shards)");
    assert!(all.contains("gateway.identify") && all.contains("sinks") && all.contains("command("), "{all}");
    assert!(shards.contains("filter(|s| …)") && shards.contains("restart_identify()") && shards.contains("lag"));
    assert!(!value("help(shards[0])").contains("filter("));
    assert!(error("help(1)").contains("help(shards)"));
}

/// Each line of the table is a command, none of which takes more than an operator.
#[test]
fn every_method_is_a_command_of_an_operator() {
    let shots = snapshot(4);
    for class in &CLASSES {
        for method in class.methods {
            let arguments = match method.arguments {
                ["code"] => "4000",
                ["status"] => "\"idle\"",
                ["status", "text"] => "\"idle\", \"text\"",
                [] => "",
                other => panic!("a test value for {other:?} is missing"),
            };
            let script = format!("{}.{}({arguments})", class.reached, method.name);
            let evaluated = eval(&script, &shots, &LIMITS).unwrap_or_else(|error| panic!("{script}: {error}"));
            assert_eq!(evaluated.commands.len(), 1, "{script}");
            assert!(evaluated.commands[0].role() <= pilothouse_shared::wire::Role::Operator, "{script}");
        }
    }
}

#[test]
fn every_field_can_be_read() {
    for class in &CLASSES {
        for field in class.fields {
            let script = format!("{}.{}", class.reached, field.name);
            run(&script).unwrap_or_else(|error| panic!("{script}: {error}"));
        }
    }
}

/// `UPDATE_ASSETS=1 cargo test --release --workspace --lib eval` writes it anew.
#[test]
fn the_committed_reference_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/EVAL.md");
    if env::var_os("UPDATE_ASSETS").is_some() {
        fs::write(&path, reference()).expect("it is written");
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == reference(), "assets/EVAL.md has drifted: run this test with UPDATE_ASSETS=1");
}
