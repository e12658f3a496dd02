//! What a script may try: each ends within the limits, with what was too much. The process's memory is looked at from
//! beside, as a script's own thread could miss what it took and gave back.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use pilothouse_agent::eval::{EvalError, Evaluated, Limits, eval};
use pilothouse_agent::telemetry::process::Process;
use pilothouse_agent::telemetry::snapshot::Snapshot;
use pilothouse_shared::snapshot::ShardRow;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One at a time: each looks at the memory of the process, and so do the limits.
static ONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn resident() -> u64 {
    Process::default().usage().resident
}

fn run(script: &str) -> Result<Evaluated, EvalError> {
    let rows = (0..4).map(|id| ShardRow { id, ..ShardRow::default() }).collect();
    eval(script, &Arc::new(Snapshot { rows, ..Snapshot::default() }), &Limits::default())
}

/// Above what the limit allows: the step that crosses it can take as much again.
const MOST: u64 = 192 << 20;

/// Runs `script`, which must be stopped, and tells why; its memory stays bounded meanwhile.
fn stopped(script: &str) -> String {
    let _alone = alone();
    let (ended, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    let before = resident();
    let (outcome, took) = thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                peak.fetch_max(resident(), Ordering::Relaxed);
                thread::sleep(Duration::from_micros(200));
            }
        });
        let start = Instant::now();
        let outcome = run(script);
        ended.store(true, Ordering::Relaxed);
        (outcome, start.elapsed())
    });
    let grown = peak.into_inner().saturating_sub(before);
    let begins: String = script.chars().take(100).collect();
    println!("{took:>9.1?} {:>4} MiB  {begins}", grown >> 20);
    assert!(grown < MOST, "{begins}: {} MiB", grown >> 20);
    outcome.expect_err(&begins).to_string()
}

fn is_stopped(script: &str, by: &[&str]) {
    let why = stopped(script);
    let begins: String = script.chars().take(100).collect();
    assert!(by.iter().any(|by| why.contains(by)), "{begins}: {why}");
}

const OPERATIONS: &str = "500000 operations";
const TIME: &str = "longer than 1s";
/// Whichever comes first.
const ENDLESS: [&str; 2] = [OPERATIONS, TIME];
const MEMORY: &str = "the agent's memory grew by 32 MiB";

#[test]
fn endless_loops_end() {
    is_stopped("loop {}", &ENDLESS);
    is_stopped("while true { let a = 1; }", &ENDLESS);
    is_stopped("for i in 0..9223372036854775807 {}", &ENDLESS);
    is_stopped("shards.filter(|s| { loop {} })", &ENDLESS);
    is_stopped("try { loop {} } catch { loop {} }", &ENDLESS);
    is_stopped("let a = []; a.pad(20000, 0); loop { a.sort(|a, b| 0) }", &ENDLESS);
}

#[test]
fn texts_do_not_grow_for_ever() {
    is_stopped("let s = \"x\"; loop { s += s; }", &["a text may have 64 KiB"]);
    is_stopped("\"x\".pad(1000000000, \"y\")", &["a text may have 64 KiB"]);
    is_stopped("let s = \"x\"; loop { s = `${s}${s}`; }", &["a text may have 64 KiB"]);
    is_stopped("let s = \"x\"; s.pad(60000, \"x\"); loop { s.replace(\"x\", s) }", &["a text may have 64 KiB"]);
    is_stopped("let s = \"x\"; s.pad(60000, \"x\"); s.replace('x', s)", &["a text may have 64 KiB"]);
}

#[test]
fn arrays_and_maps_do_not_multiply() {
    is_stopped("let a = [1]; loop { a += a; }", &["an array 20000 elements"]);
    is_stopped("let a = []; loop { a = [a, a]; }", &["an array 20000 elements"]);
    is_stopped("let a = []; loop { a = [a]; }", &["an array 20000 elements", TIME]);
    is_stopped(
        "let a = []; let s = \"x\"; s.pad(60000, \"y\"); loop { a.push(s + a.len()); }",
        &["a text may have 64 KiB"],
    );
    is_stopped("[].pad(1000000000, 0)", &["an array 20000 elements"]);
    is_stopped("let a = []; a.pad(1000000000, [])", &["an array 20000 elements"]);
    is_stopped("let m = #{}; let i = 0; loop { m[`k${i}`] = i; i += 1; }", &ENDLESS);
    is_stopped("let m = #{}; for i in 0..300 { m[`k${i}`] = i; } m.len()", &["a map 256 keys"]);
    is_stopped("let s = [0]; loop { s.push([s.pop()]); }", &["an array 20000 elements", TIME]);
    let keys = "let s = \"\"; s.pad(60000, \"k\"); let m = #{}; for i in 0..250 { m[s + i] = 1; }";
    is_stopped(&format!("{keys} let all = []; loop {{ all.push(m); }}"), &["a map 256 keys", MEMORY]);
    // Written out, each of these letters is five.
    let ugly = "let s = \"\"; s.pad(60000, \"\\x01\"); let m = #{}; for i in 0..250 { m[s + i] = 1; }";
    is_stopped(&format!("{ugly} print(m)"), &["a text may have 64 KiB", MEMORY]);
    is_stopped(&format!("{ugly} throw m"), &["…", MEMORY]);
    is_stopped(
        &format!("{keys} fn deep(m, n) {{ let a = m; let b = a; deep(b, n + 1) }} deep(m, 0)"),
        &["32 deep", MEMORY],
    );
}

/// Many values, each within its limits.
#[test]
fn many_variables_do_not_multiply() {
    let fill = "let a = []; a.pad(19000, 1);";
    let lets: String = (0..200).map(|i| format!("let v{i} = a; v{i}[0] = {i};")).collect();
    is_stopped(&format!("{fill} {lets} fn f(a) {{ {lets} f(a) }} f(a)"), &["32 deep", MEMORY]);
    is_stopped(&(0..400).map(|i| format!("let v{i} = 1;")).collect::<String>(), &["more than 256 variables"]);
}

#[test]
fn depth_has_an_end() {
    is_stopped("fn f(n) { f(n + 1) } f(0)", &["functions call each other more than 32 deep"]);
    is_stopped("let f = |g| g.call(g); f.call(f)", &["functions call each other more than 32 deep"]);
    is_stopped(&format!("{}1{}", "(".repeat(5_000), ")".repeat(5_000)), &["complexity"]);
    is_stopped(&format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000)), &["complexity"]);
    is_stopped(&format!("{}{}", "if true {".repeat(500), "}".repeat(500)), &["complexity"]);
    is_stopped(&format!("{} x", "1+".repeat(8_000)), &["nothing is called x", "complexity"]);
    is_stopped(&"x".repeat(20_000), &["a script has 16 KiB at most"]);
}

#[test]
fn nothing_else_is_there() {
    let _alone = alone();
    for script in [
        "eval(\"1\")",
        "Fn(\"eval\").call(\"1\")",
        "call(Fn(\"eval\"), \"1\")",
        "import \"x\" as x; 1",
        "export gateway",
        "sleep(10)",
        "10.sleep()",
        "Fn(\"sleep\").call(10)",
        "timestamp()",
        "open_file(\"/etc/passwd\")",
        "env(\"TOKEN\")",
        "gateway.token",
        "token",
        "global::token",
        "shards[0].session",
        "Fn(\"len\").curry(shards)",
        "Fn(\"curry\").call(Fn(\"len\"), shards)",
        "call_fn(\"x\")",
        "exit(1)",
        "parse_json(\"{}\")",
        "#{}.to_json().x()",
    ] {
        let start = Instant::now();
        assert!(run(script).is_err(), "{script}");
        assert!(start.elapsed() < Duration::from_secs(2), "{script}");
    }
}

#[test]
fn a_flood_of_lines_is_cut() {
    is_stopped("loop { print(\"aye\"); }", &ENDLESS);
    let _alone = alone();
    let evaluated = run("for i in 0..20000 { print(\"aye, aye\"); }").expect("it ends");
    assert!(evaluated.printed.len() < 17 * 1024 && evaluated.printed.ends_with("… cut here"));
    let evaluated = run("let s = \"\"; s.pad(30000, \"é\"); s").expect("it ends");
    assert!(evaluated.value.len() < 17 * 1024 && evaluated.value.ends_with("… cut here"));
}

/// The interpreter leaves nothing behind: many scripts that fill their memory take little more than one. The smallest
/// thing that could stay, an array of each, would be 120 MiB.
#[test]
fn nothing_stays_behind() {
    let script = "let a = []; a.pad(19000, 1); let all = #{}; for i in 0..100 { all[`k${i}`] = a; } let f = |x| x; f.call(a); f = f; 1";
    let _alone = alone();
    let _ = run(script);
    let before = resident();
    for _ in 0..400 {
        let _ = run(script);
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 64 << 20, "{} MiB", grown >> 20);
}
