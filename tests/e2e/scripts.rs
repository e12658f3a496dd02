//! Scripts of operators beside the traffic: what they ask for is done, what they try in excess costs no event.

use std::time::{Duration, Instant};

use pilothouse_agent::config::{Config, Script};
use pilothouse_tests::{Control, eventually};
use tempfile::TempDir;

use crate::setup::{PATIENCE, config, connected, sandbox, verdict};

const SHARDS: u32 = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_script_asks_for_is_done() {
    let sandbox = sandbox(SHARDS, 200.0).await;
    let data = TempDir::new().expect("a temporary folder");
    let script = Script { name: "first".into(), text: "shards[0].restart(); \"the first\"".into() };
    let config =
        Config { listen: pilothouse_tests::free_address(), scripts: vec![script], ..config(&sandbox, &data, SHARDS) };
    let control = Control::of(&config);
    let agent = connected(&sandbox, config, SHARDS as usize).await;
    control.shows(PATIENCE, |status| status.reporting == SHARDS).await;
    assert_eq!(control.done("eval shards.map(|s| s.id)").await, "[0, 1, 2, 3]");
    let done = control.done("eval shards.filter(|s| s.id > 1).restart(); stages.drop.off()").await;
    let lines = [
        "restart 2-3: restarting 2 shards: they resume their sessions",
        "stage drop off: drop is off; at its next start the agent does what its configuration says of stages.enabled",
    ];
    assert_eq!(done, lines.join("\n"));
    assert_eq!(control.done("run").await, "first: shards[0].restart(); \"the first\"");
    let first = control.done("run first").await;
    assert_eq!(first, "the first\nrestarting shard 0: it resumes its session");
    let resumed = || sandbox.status().payloads.get(&6).copied().unwrap_or(0) >= 3;
    eventually("three shards resume", PATIENCE, resumed).await;
    let verdict = verdict(&sandbox).await;
    assert!(verdict.clean(), "{verdict:?}");
    agent.stop().await.expect("a clean end");
}

/// Every kind of excess, again and again, more at a time than there are places.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_in_excess_cost_no_event() {
    const SCRIPTS: [&str; 5] = [
        "loop {}",
        "let a = []; loop { a += [a.len()]; }",
        "let s = \"x\"; loop { s += s }",
        "fn f(n) { f(n + 1) } f(0)",
        "let s = \"\"; s.pad(60000, \"k\"); let m = #{}; let i = 0; loop { m[s + i] = s; i += 1; }",
    ];
    let sandbox = sandbox(SHARDS, 400.0).await;
    let data = TempDir::new().expect("a temporary folder");
    let config = Config { listen: pilothouse_tests::free_address(), ..config(&sandbox, &data, SHARDS) };
    let control = Control::of(&config);
    let agent = connected(&sandbox, config, SHARDS as usize).await;
    let until = Instant::now() + Duration::from_secs(5);
    let at_full_tilt = async |script: &str| {
        let mut runs = 0;
        while Instant::now() < until {
            let said = control.refused(&format!("eval {script}")).await;
            assert!(said.contains("line 1") || said.contains("scripts run already"), "{script}: {said}");
            runs += 1;
        }
        runs
    };
    let runs = futures_util::future::join_all(SCRIPTS.map(at_full_tilt)).await;
    assert!(runs.iter().all(|runs| *runs > 0), "{runs:?}");
    assert_eq!(control.done("eval 6 * 7").await, "42");
    let verdict = verdict(&sandbox).await;
    assert!(verdict.clean(), "{verdict:?}");
    println!("{runs:?} scripts; {}", pilothouse_tests::told(&verdict));
    agent.stop().await.expect("a clean end");
}
