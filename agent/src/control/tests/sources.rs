//! The configuration read anew.

use std::ffi::OsString;
use std::fs;

use super::*;
use crate::config::load;

/// A control surface of a configuration from these sources.
fn of(sources: &Sources, data: &Path) -> Arc<Control> {
    let (_, snapshots) = watch::channel(Arc::new(snapshot(4)));
    let (shards, _) = workers(4);
    let store = Store::open(data).expect("a store").into_writer().expect("a thread");
    let (permits, dead_letters, jobs) = (permits(), Vec::new(), Vec::new());
    let reach = Reach { snapshots, shards, permits, dead_letters, spool: None, store, jobs };
    Arc::new(Control::new(load(sources).expect("valid"), Token::new(TOKEN), reach))
}

#[tokio::test]
async fn what_changed_is_told_and_what_needs_a_restart() {
    let data = tempfile::tempdir().expect("a folder");
    let file = data.path().join("pilothouse.toml");
    let write = |text: &str| fs::write(&file, text).expect("it is written");
    let env = [("TOKEN", "token-of-before"), ("PILOTHOUSE_DATA_DIR", data.path().to_str().expect("text"))];
    let env = env.map(|(name, value)| (name.to_owned(), OsString::from(value))).into();
    let mut sources = Sources { file: Some(file.clone()), env, flags: Vec::new() };
    write("[gateway]\nreserve_percent = 5\n");
    let control = of(&sources, data.path());
    assert_eq!(control.reread(&sources).await.expect("valid"), "nothing changed");
    run(&control, Role::Operator, "set gateway.max_unconfirmed 300").await.expect("it can");
    sources.env.insert("TOKEN".to_owned(), "token-of-after".into());
    write("[gateway]\nreserve_percent = 7\nmax_unconfirmed = 200\nidentify_interval = '6s'\n");
    let said = control.reread(&sources).await.expect("valid");
    for line in [
        "gateway.reserve_percent is 7, was 5",
        "gateway.max_unconfirmed stays as it was set, though the sources say 200 now",
        "gateway.identify_interval is \"6s\", with the next start only",
        "token is another one, with the next start only",
    ] {
        assert!(said.lines().any(|found| found == line), "{line:?} is missing:\n{said}");
    }
    assert!(said.lines().count() == 4 && !said.contains("token-of"), "{said}");
    let now = run(&control, Role::Viewer, "get gateway.reserve_percent").await.expect("it is there");
    assert!(now.starts_with("gateway.reserve_percent = 7 (") && now.contains("pilothouse.toml"), "{now}");
    write("[gateway]\nreserve_percent = 101\n");
    let refused = control.reread(&sources).await.expect_err("no percentage").to_string();
    assert!(refused.contains("reserve_percent") && refused.contains("nothing was changed"), "{refused}");
}

/// A worker that hangs.
#[tokio::test]
async fn where_a_setting_is_not_in_force_is_told() {
    let (_, snapshots) = watch::channel(Arc::new(snapshot(4)));
    let (sender, _inbox) = mpsc::channel(16);
    let (control, _data) = made(snapshots, Shards::new(Placement { agents: 1, workers: 1 }, 4, Arc::from([sender])));
    let said = run(&control, Role::Operator, "set gateway.reserve_percent 6").await.expect("it can");
    assert!(said.contains("not in force everywhere: workers [0] have not taken it"), "{said}");
    let told = run(&control, Role::Viewer, "get gateway.reserve_percent").await.expect("it is there");
    assert!(told.contains("not in force everywhere: workers [0]"), "{told}");
}
