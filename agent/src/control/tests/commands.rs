//! What commands do and say, with workers that only note it.

use super::*;

#[tokio::test]
async fn each_role_may_do_what_it_may() {
    let (control, told, _data) = control(4);
    let viewer = ["status", "shards *", "explain 3", "tail", "logs"];
    let operator = [
        "restart 3",
        "restart 3 --identify",
        "close 3 --code 4000",
        "presence 3 --status dnd",
        "voice leave 7",
        "voice join 7 8",
        "soundboard 7",
        "channel-info 7",
        "identify hold",
        "members 7",
    ];
    let admin = ["send 3 {\"op\":4}"];
    let lines = viewer.map(|line| (line, Role::Viewer)).into_iter();
    let lines = lines.chain(operator.map(|line| (line, Role::Operator))).chain(admin.map(|line| (line, Role::Admin)));
    for (line, needed) in lines {
        for role in [Role::Viewer, Role::Operator, Role::Admin] {
            let refused = matches!(run(&control, role, line).await, Err(Refused::Role(_)));
            assert_eq!(refused, role < needed, "{role:?} {line}");
        }
    }
    assert_eq!(noted(&control, &told).await.len(), 6, "a viewer reached a worker");
    assert_eq!(told.sent.lock().expect("no panic").len(), 13, "one without the role reached Discord");
}

#[tokio::test]
async fn scripts_are_an_admins_and_what_they_ask_for_is_done_in_order() {
    let (control, told, _data) = control(4);
    let run = async |role, line: &str| run(&control, role, line).await.map_err(|refused| refused.to_string());
    assert_eq!(run(Role::Admin, "eval `${1 + 1} bot-token`").await, Ok("2 [secret]".into()));
    assert_eq!(run(Role::Admin, "eval ()").await, Ok("()".into()));
    assert!(run(Role::Operator, "eval 1").await.is_err_and(|said| said.contains("an admin's token")));
    let done = run(Role::Admin, "eval shards[3].close(4000); shards.filter(|s| s.id < 2).restart(); \"two\"").await;
    let lines = "two\nclose 3 --code 4000: closing shard 3 with 4000: it reconnects\n\
                 restart 0-1: restarting 2 shards: they resume their sessions";
    assert_eq!(done.as_deref(), Ok(lines));
    assert!(run(Role::Operator, "run one").await.is_ok());
    assert_eq!(
        run(Role::Viewer, "run").await,
        Ok("one: shards[1].restart()\nraw: command(`send 0 {\"op\":4}`)".into())
    );
    // What cannot be done as a whole is not begun.
    let refused = run(Role::Admin, "eval shards[0].restart(); gateway.restart_identify()").await;
    assert!(refused.as_ref().is_err_and(|said| said.starts_with("this takes 4")), "{refused:?}");
    let noted = noted(&control, &told).await;
    assert_eq!(noted.iter().map(|(shard, _)| *shard).collect::<Vec<_>>(), [3, 0, 1, 1]);
    for (role, line, expected) in [
        (Role::Operator, "run one two", "unexpected"),
        (Role::Operator, "run two", "no script is called two: there is one, raw"),
        (Role::Operator, "run raw", "takes an admin's token"),
        (Role::Admin, "eval bot_token", "line 1, column 1: nothing is called bot_token"),
    ] {
        let said = run(role, line).await;
        assert!(said.as_ref().is_err_and(|said| said.contains(expected)), "{line}: {said:?}");
    }
}

#[tokio::test]
async fn payloads_reach_their_shards_and_what_becomes_of_them_is_said() {
    let (control, told, _data) = control(4);
    let guild = |shard: u64| shard << 22;
    let long = format!("send 3 {{\"op\":4,\"d\":\"{}\"}}", "x".repeat(4_096));
    let answers = [
        ("presence 0,1 --status idle", "presence set on 2 shards"),
        ("presence * --status idle --activity chess", "presence set on 4 shards, 1 of them told when active"),
        (&format!("voice leave {}", guild(3)), "sent on shard 3"),
        (
            &format!("channel-info {}", guild(2)),
            "waits a minute at most to be sent on shard 2: the shard is not active",
        ),
        (&format!("soundboard {} {} {}", guild(1), guild(3), guild(5)), "asked about 3 guilds by 2 payloads"),
        ("send 3 {\"op\":31,\"d\":{}}", "sent on shard 3"),
        ("send 4 {\"op\":31,\"d\":{}}", "shard 4 does not exist: this bot has shards 0 to 3"),
        ("send 3 {\"op\":2}", "op 2 is the agent's own: it would end the session"),
        (&long, "the payload has 4111 bytes: Discord takes 4096 and closes the connection above that"),
        ("presence 9 --status idle", "shard 9 does not exist: this bot has shards 0 to 3"),
        ("members 7", "Discord did not answer: no chunk came for 10 s; is the bot in that guild?"),
    ];
    for (line, expected) in answers {
        let answer = run(&control, Role::Admin, line).await.unwrap_or_else(|refused| refused.to_string());
        assert_eq!(answer, expected, "{line}");
    }
    let sent = told.sent.lock().expect("no panic").clone();
    let shards: Vec<u32> = sent.iter().map(|(shard, _)| *shard).collect();
    assert_eq!(shards, [0, 1, 0, 1, 2, 3, 3, 2, 1, 3, 3, 0]);
    assert!(sent[2].1.contains(r#""activities":[{"name":"chess","type":0}],"status":"idle""#), "{}", sent[2].1);
}

#[tokio::test]
async fn commands_say_what_they_did_or_what_is_allowed() {
    let (control, told, _data) = control(64);
    let answers = [
        ("restart 3", "restarting shard 3: it resumes its session"),
        ("restart 3-5", "restarting 3 shards: they resume their sessions"),
        ("restart 3-5 --identify", "restarting 3 shards with new sessions: 3 identifies of 3 left"),
        ("close 3 --code 4000", "closing shard 3 with 4000: it reconnects"),
        ("restart 99", "shard 99 does not exist: this bot has shards 0 to 63"),
        ("explain 64", "shard 64 does not exist: this bot has shards 0 to 63"),
        ("restart 60-64", "shard 64 does not exist: this bot has shards 0 to 63"),
        ("restart state=fatal", "no shard matches state=fatal: nothing was done"),
        ("restart 0-3 --identify", "this takes 4 identifies, but 3 of 1000 are left: nothing was done"),
        ("explain 3", "shard 3: active: as it should be"),
    ];
    for (line, expected) in answers {
        let answer = run(&control, Role::Admin, line).await.unwrap_or_else(|refused| refused.to_string());
        assert_eq!(answer, expected, "{line}");
    }
    let told = noted(&control, &told).await;
    let restart = |identify| ShardCommand::Restart { identify };
    let three = |identify| (3..6).map(move |shard| (shard, restart(identify)));
    let close = (3, ShardCommand::Close { code: 4000 });
    let expected: Vec<_> =
        [(3, restart(false))].into_iter().chain(three(false)).chain(three(true)).chain([close]).collect();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn nobody_spends_an_identify_while_they_are_held() {
    let mut held = snapshot(4);
    held.overview.identify.held = Some("the token was refused (4004)".into());
    let (_, snapshots) = watch::channel(Arc::new(held));
    let (shards, told) = workers(4);
    let (control, _data) = made(snapshots, shards);
    let refused = run(&control, Role::Admin, "restart 1 --identify").await.expect_err("held").to_string();
    assert_eq!(refused, "nobody may identify now: the token was refused (4004); nothing was done");
    assert_eq!(noted(&control, &told).await, []);
}

#[tokio::test]
async fn a_worker_that_is_gone_is_said() {
    let (_, snapshots) = watch::channel(Arc::new(snapshot(4)));
    let (sender, inbox) = mpsc::channel(1);
    drop(inbox);
    let shards = Shards::new(Placement { agents: 1, workers: 1 }, 4, Arc::from([sender]));
    let (control, _data) = made(snapshots, shards);
    assert_eq!(run(&control, Role::Admin, "restart 1-2").await, Err(Refused::Unreachable { done: 0, of: 2 }));
    assert_eq!(run(&control, Role::Admin, "explain 1").await, Err(Refused::Unreachable { done: 0, of: 1 }));
}
