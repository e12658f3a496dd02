//! What changes something is planned, done once, and remembered.

use pilothouse_shared::plan::Plan;

use super::super::jobs::{Asked, Begun};
use super::*;
use crate::store::{JobEnd, StoredSession};

async fn planned(control: &Arc<Control>, line: &str) -> Plan {
    match control.ask(&caller(Role::Operator), line, &Manner::default(), None).await {
        Ok(Answer::Plan(plan)) => plan,
        other => panic!("{line}: {other:?}"),
    }
}

async fn apply(control: &Arc<Control>, name: &str, id: &str) -> Result<String, Refused> {
    let caller = Caller { name: name.into(), ..caller(Role::Operator) };
    control.apply(&caller, id, Some("a test".into()), None).await
}

async fn with_key(control: &Arc<Control>, key: &str, line: &str) -> Result<String, Refused> {
    let manner = Manner { yes: true, key: Some(key.into()), reason: None };
    match control.ask(&caller(Role::Operator), line, &manner, None).await? {
        Answer::Said(text) => Ok(text),
        Answer::Plan(plan) => panic!("{line} was only planned: {plan}"),
    }
}

#[tokio::test]
async fn what_is_applied_is_what_was_shown() {
    let (shown, snapshots) = watch::channel(Arc::new(snapshot(64)));
    let mut ill = snapshot(64);
    for shard in [3, 4, 9] {
        ill.rows[shard].state = ShardState::Resuming;
        ill.rows[shard].guilds = 10;
    }
    shown.send_replace(Arc::new(ill));
    let (shards, told) = workers(64);
    let (control, _data) = made(snapshots, shards);
    let plan = planned(&control, "restart state=resuming").await;
    assert_eq!(noted(&control, &told).await, [], "a plan does nothing");
    assert_eq!(plan.steps[0].line, "restart 3-4,9");
    assert_eq!((plan.shards(), plan.steps[0].guilds, plan.identifies()), (3, 30, 0));
    // By now they are well.
    shown.send_replace(Arc::new(snapshot(64)));
    let answer = apply(&control, "ann", &plan.id).await.expect("it is done");
    assert_eq!(answer, "restarting 3 shards: they resume their sessions");
    let restart = ShardCommand::Restart { identify: false };
    assert_eq!(noted(&control, &told).await, [(3, restart), (4, restart), (9, restart)]);
}

#[tokio::test]
async fn a_plan_is_applied_once_and_answered_as_often_as_asked() {
    let (control, told, _data) = control(64);
    let plan = planned(&control, "restart 3").await;
    let refused = apply(&control, "bob", &plan.id).await.expect_err("it is ann's").to_string();
    assert!(refused.contains("no plan") && refused.contains("expired"), "{refused}");
    let first = apply(&control, "ann", &plan.id).await.expect("it is done");
    assert_eq!(apply(&control, "ann", &plan.id).await.as_ref(), Ok(&first));
    let (one, other) = tokio::join!(apply(&control, "ann", &plan.id), apply(&control, "ann", &plan.id));
    assert_eq!((one.as_ref(), other.as_ref()), (Ok(&first), Ok(&first)));
    assert_eq!(noted(&control, &told).await.len(), 1);
    let listed = run(&control, Role::Viewer, "job").await.expect("looking");
    assert!(listed.contains("ann  restart 3: done"), "{listed}");
    let job = run(&control, Role::Viewer, "job 1").await.expect("looking");
    assert!(job.contains("because: a test") && job.contains("resumes its session"), "{job}");
    assert!(run(&control, Role::Viewer, "job 2").await.is_err());
}

/// A link that breaks drops what was asked over it.
#[tokio::test]
async fn a_change_goes_on_when_whoever_asked_leaves() {
    let (control, told, _data) = control(64);
    let plan = planned(&control, "restart 3").await;
    for polls in 1..4 {
        let mut asked = Box::pin(apply(&control, "ann", &plan.id));
        for _ in 0..polls {
            let _ = futures_util::FutureExt::now_or_never(&mut asked);
            tokio::task::yield_now().await;
        }
    }
    let again = tokio::time::timeout(Duration::from_secs(5), apply(&control, "ann", &plan.id)).await;
    assert_eq!(again.expect("answered").expect("done"), "restarting shard 3: it resumes its session");
    assert_eq!(noted(&control, &told).await.len(), 1);
    let looked = Box::pin(run(&control, Role::Operator, "soundboard 7"));
    let _ = futures_util::FutureExt::now_or_never(looked);
    let mut audit = String::new();
    while !audit.contains("soundboard 7 -> ") || audit.contains("cut off") {
        tokio::time::sleep(Duration::from_millis(2)).await;
        audit = run(&control, Role::Operator, "audit").await.expect("it is read");
    }
}

#[tokio::test]
async fn a_change_that_was_not_begun_leaves_its_key_and_its_plan() {
    let (control, told, data) = control(64);
    let plan = planned(&control, "restart 3").await;
    let audit = data.path().join("audit");
    std::fs::write(&audit, "a file where the folder should be").expect("it is written");
    for _ in 0..2 {
        assert!(matches!(apply(&control, "ann", &plan.id).await, Err(Refused::Audit(_))));
        assert!(matches!(with_key(&control, "night-1", "restart 4").await, Err(Refused::Audit(_))));
    }
    std::fs::remove_file(&audit).expect("it is removed");
    apply(&control, "ann", &plan.id).await.expect("it is done");
    with_key(&control, "night-1", "restart 4").await.expect("it is done");
    assert_eq!(noted(&control, &told).await.len(), 2);
}

#[tokio::test]
async fn a_reason_is_kept_without_secrets_and_not_for_ever() {
    let (control, _, _data) = control(64);
    let reason = format!("the bot-token {}", "x".repeat(1_000));
    let manner = Manner { yes: true, key: None, reason: Some(reason) };
    for line in ["restart 3", "soundboard 7"] {
        control.ask(&caller(Role::Operator), line, &manner, None).await.expect("it is done");
    }
    let job = run(&control, Role::Viewer, "job 1").await.expect("looking");
    assert!(job.contains("because: the [secret] xxx") && job.len() < 400, "{job}");
    let audit = run(&control, Role::Operator, "audit").await.expect("it is read");
    assert_eq!(audit.matches("because the [secret] xxx").count(), 2, "{audit}");
}

#[tokio::test]
async fn stages_that_are_switched_at_once_are_all_switched() {
    let (control, _, _data) = control(4);
    let switch = |line: &'static str| run(&control, Role::Operator, line);
    let (one, other) = tokio::join!(switch("stage drop on"), switch("stage message_update on"));
    one.expect("it can");
    other.expect("it can");
    let told = switch("get stages.enabled").await.expect("it is there");
    assert!(told.contains("drop") && told.contains("message_update"), "{told}");
}

#[tokio::test]
async fn refusals_do_not_fill_the_audit_log() {
    let (control, _, _data) = control(4);
    for _ in 0..100 {
        run(&control, Role::Viewer, "restart 3").await.expect_err("a viewer looks only");
    }
    let audit = run(&control, Role::Operator, "audit --limit 500").await.expect("it is read");
    assert_eq!(audit.lines().count(), failures::NOTED as usize, "{audit}");
}

#[tokio::test]
async fn a_key_stands_for_one_change() {
    let (control, told, _data) = control(64);
    let first = with_key(&control, "night-1", "restart state=active,3").await.expect("it is done");
    assert_eq!(with_key(&control, "night-1", "restart state=active,3").await.as_ref(), Ok(&first));
    let taken = with_key(&control, "night-1", "restart 4").await.expect_err("it stands for something else");
    assert_eq!(taken, Refused::KeyTaken("night-1".into()));
    assert_eq!(with_key(&control, "a b", "restart 4").await, Err(Refused::Key));
    assert_eq!(noted(&control, &told).await.len(), 64);
    let failed = with_key(&control, "night-2", "restart 99").await.expect_err("no such shard");
    assert_eq!(with_key(&control, "night-2", "restart 99").await, Err(failed), "what was not begun is no job");
}

/// The agent is killed and starts again over the same store.
#[tokio::test]
async fn jobs_are_known_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = |control: Arc<Control>| async move { with_key(&control, "night-1", "restart 3").await };
    let (control, told) = over(folder.path());
    let first = key(Arc::clone(&control)).await.expect("it is done");
    assert_eq!(noted(&control, &told).await.len(), 1);
    drop(control);
    let (control, told) = over(folder.path());
    assert_eq!(key(Arc::clone(&control)).await, Ok(first));
    assert_eq!(noted(&control, &told).await, []);
}

#[tokio::test]
async fn a_job_that_was_cut_off_is_not_done_again_by_itself() {
    let job = |number, end| Job {
        number,
        key: format!("night-{number}"),
        by: "ann".into(),
        asked: "restart 3".into(),
        reason: None,
        lines: vec!["restart 3".into()],
        at_ms: 5,
        done: 0,
        end,
    };
    let done = JobEnd { ok: true, text: "restarting".into(), at_ms: 6 };
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path()).expect("a store");
    assert_eq!(store.sessions(), [] as [StoredSession; 0]);
    let store = store.into_writer().expect("a thread");
    let (saved, wait) = oneshot::channel();
    let changes = vec![Change::Job(job(1, Some(done))), Change::Job(job(2, None))];
    store.save(changes, saved).expect("there is room");
    wait.await.expect("it is open");
    drop(store);
    let (control, told) = over(folder.path());
    assert_eq!(with_key(&control, "night-1", "restart 3").await, Ok("restarting".into()));
    let cut = with_key(&control, "night-2", "restart 3").await.expect_err("nobody knows").to_string();
    assert!(cut.contains("look what is the case"), "{cut}");
    assert_eq!(noted(&control, &told).await, []);
    with_key(&control, "night-3", "restart 3").await.expect("a new one is done");
    assert!(run(&control, Role::Viewer, "job 3").await.is_ok(), "numbers go on");
}

#[tokio::test]
async fn a_job_that_was_cut_off_says_how_far_it_came() {
    let folder = tempfile::tempdir().expect("a folder");
    let (control, _) = over(folder.path());
    let asked = Asked { line: "plan".into(), reason: None };
    let lines = ["restart 1", "restart 2", "restart 3"].map(str::to_owned).to_vec();
    let begun = control.jobs.begin("night-1", "ann", asked, lines).await;
    let Ok(Begun::New(number)) = begun else { panic!("{begun:?}") };
    control.jobs.went_on(number, 2);
    drop(control);
    let (control, _) = over(folder.path());
    let job = run(&control, Role::Viewer, &format!("job {number}")).await.expect("looking");
    assert!(job.contains("failed: the agent ended while it was done, after 2 of 3 commands"), "{job}");
}

#[tokio::test]
async fn every_door_plans_and_applies_alike() {
    let rig = Rig::new(64).await;
    let (status, answer) = rig.command(r#"{"line":"close 3-5 --code 4000"}"#).await;
    assert_eq!((status, &answer["ok"]), (200, &true.into()), "{answer}");
    let shown: Plan = serde_json::from_value(answer["plan"].clone()).expect("a plan");
    assert_eq!(shown.shards(), 3);
    assert!(answer["text"].as_str().expect("a text").starts_with("close 3-5 --code 4000: closes"), "{answer}");
    let mut console = rig.console().await;
    let line = "close 3-5 --code 4000".to_owned();
    console.send(&ToAgent::command(1, line)).await;
    let FromAgent::Plan { id: 1, plan } = console.next().await else { panic!("no plan") };
    assert_eq!(plan.steps, shown.steps);
    for id in [2, 3] {
        console.send(&ToAgent::Apply { id, plan: plan.id.clone(), reason: None }).await;
        let FromAgent::Result { id: answered, ok: true, text } = console.next().await else { panic!("not done") };
        assert_eq!((answered, &*text), (id, "closing 3 shards with 4000: they reconnect"));
    }
    let (status, applied) = rig.command(&format!(r#"{{"apply":"{}","reason":"why not"}}"#, shown.id)).await;
    assert_eq!((status, &applied["text"]), (200, &"closing 3 shards with 4000: they reconnect".into()));
    assert_eq!(rig.command(r#"{"apply":"0123"}"#).await.0, 404);
    assert_eq!(rig.told.commands.lock().expect("no panic").len(), 6);
}

#[tokio::test]
async fn a_plan_tells_costs_and_what_to_think_of() {
    let (control, _, _data) = control(64);
    let plan = planned(&control, "restart 1-2 --identify").await;
    assert_eq!(plan.identifies(), 2);
    assert_eq!(plan.steps[0].takes_ms, 2 * 5_050, "one bucket, one after the other");
    let told = planned(&control, "identify hold").await;
    assert_eq!(told.steps[0].undo.as_deref(), Some("identify release"));
    assert_eq!(planned(&control, "identify release").await.steps[0].undo, None, "nothing is held");
    let told = planned(&control, "stage drop on").await;
    assert_eq!(told.steps[0].undo.as_deref(), Some("stage drop off"));
    let long = format!("presence 3 --status idle --activity {}", "x".repeat(200));
    let refused = control.ask(&caller(Role::Operator), &long, &Manner::default(), None).await;
    assert!(refused.expect_err("too long").to_string().contains("128"));
    let told = planned(&control, "set gateway.reserve_percent 7").await;
    assert_eq!(told.steps[0].undo.as_deref(), Some("set gateway.reserve_percent 5"));
    for (line, part) in [
        ("restart 0-3 --identify", "this takes 4 identifies"),
        ("restart 99", "shard 99 does not exist"),
        ("sink nats pause", "no sink is called nats"),
        ("set gateway.identify_interval 1s", "with the next start only"),
        ("set gateway.max_unconfirmd 1", "did you mean gateway.max_unconfirmed"),
        ("set gateway.max_unconfirmed 0", "1 to 1000000"),
        ("log lapin::channels=trace", "lapin may log tokens"),
        ("set log.level info,h2=debug", "h2 may log tokens"),
        ("apply-nothing", "unrecognized"),
    ] {
        let refused = control.ask(&caller(Role::Operator), line, &Manner::default(), None).await;
        let refused = refused.expect_err(line).to_string();
        assert!(refused.contains(part), "{line}: {refused}");
    }
}

#[tokio::test]
async fn settings_are_told_changed_and_said_how_to_keep() {
    let (control, told, _data) = control(4);
    let run = |line: &'static str| run(&control, Role::Operator, line);
    assert_eq!(
        run("get stages.drop").await.expect("it is there").lines().next(),
        Some(r#"stages.drop = ["TYPING_START"] (default)"#)
    );
    let said = run("set stages.enabled message_update,drop").await.expect("it can");
    assert!(said.starts_with(r#"stages.enabled is ["message_update", "drop"]; to keep it"#), "{said}");
    run("stage message_update off").await.expect("it can");
    let now = run("get stages.enabled").await.expect("it is there");
    assert!(now.starts_with(r#"stages.enabled = ["drop"] (set by ann)"#) && now.contains("to keep it"), "{now}");
    let adopted = told.adopted.lock().expect("no panic").last().cloned().expect("the worker was told");
    assert_eq!(adopted.stages.enabled, [pilothouse_shared::stage::StageName::Drop]);
    let all = run("get").await.expect("all");
    assert!(all.lines().count() > 30 && !all.contains("bot-token"), "{all}");
    assert!(run("get spool").await.expect("a table").lines().all(|line| line.starts_with("spool.")));
    assert!(run("get nothing").await.expect_err("no such").to_string().contains("`get` lists"));
    assert!(run("log debug").await.expect_err("the tests have no logs").to_string().contains("does not steer"));
    let wrong = run("set stages.drop \"\"").await.expect_err("drop is on").to_string();
    assert!(wrong.contains("names no event type") && wrong.contains("nothing was changed"), "{wrong}");
}

/// A script runs once, against what was seen then; applying does what it asked for.
#[tokio::test]
async fn what_a_script_asks_for_is_one_plan() {
    let (control, told, _data) = control(64);
    let line = "eval shards[3].restart(); shards[4].close(4000); shards.len()";
    let admin = caller(Role::Admin);
    let answer = control.ask(&admin, line, &Manner::default(), None).await;
    let Ok(Answer::Plan(plan)) = answer else { panic!("{answer:?}") };
    assert_eq!((&*plan.said, plan.steps.len()), ("64", 2));
    assert_eq!(noted(&control, &told).await, []);
    let steps = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&steps);
    let progress = Box::new(move |done, of| seen.lock().expect("no panic").push((done, of)));
    let done = control.apply(&admin, &plan.id, None, Some(progress)).await.expect("it is done");
    assert_eq!(done.lines().count(), 2, "{done}");
    assert_eq!(*steps.lock().expect("no panic"), [(1, 2), (2, 2)]);
    assert_eq!(noted(&control, &told).await.len(), 2);
    let lowered = control.ask(&admin, line, &Manner::default(), None).await;
    let Ok(Answer::Plan(plan)) = lowered else { panic!("{lowered:?}") };
    let refused = control.apply(&caller(Role::Viewer), &plan.id, None, None).await;
    assert!(matches!(refused, Err(Refused::Role(_))), "{refused:?}");
    let audit = run(&control, Role::Operator, "audit --limit 1").await.expect("it is read");
    let part = format!("plan {}: restart 3; close 4 --code 4000 -> not done: this token may look only", plan.id);
    assert!(audit.contains("ann (viewer)") && audit.contains(&part), "{audit}");
}

#[tokio::test]
async fn a_plan_and_a_refusal_show_no_secret_that_was_typed() {
    let rig = Rig::new(4).await;
    for (line, part) in [
        ("presence 0 --status idle --activity bot-token", "presence 0 --status idle --activity"),
        ("set fleet bot-token", "next start only"),
        ("sink bot-token pause", "no sink is called"),
    ] {
        for yes in [false, true] {
            let (_, answer) = rig.command(&serde_json::json!({"line": line, "yes": yes}).to_string()).await;
            let text = answer.to_string();
            assert!(!text.contains("bot-token") && (yes || text.contains(part)), "{line}: {text}");
        }
    }
}
