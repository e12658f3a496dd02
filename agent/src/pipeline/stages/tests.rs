//! Each stage by its rules, and that a stage which is off does nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const BOT: u64 = 42;

struct Bench {
    stages: Stages,
    now: Instant,
}

impl Bench {
    fn new(enabled: &[StageName]) -> Self {
        let drop = KindSet::of(&[EventKind::of(b"TYPING_START"), EventKind::GUILD_CREATE_AVAILABLE]);
        let prefixes = vec!["!".to_owned(), "hé\"".to_owned()];
        let config = StagesConfig { enabled: enabled.to_vec(), prefixes, drop };
        Self { stages: Stages::new(&config), now: Instant::now() }
    }

    fn says(&mut self, kind: &str, data: &Value) -> Verdict {
        self.noted(kind, data, GuildNote::None, BOT)
    }

    fn noted(&mut self, kind: &str, data: &Value, note: GuildNote, user: u64) -> Verdict {
        let payload = json!({"t": kind, "s": 5, "op": 0, "d": data}).to_string();
        let kind = EventKind::of(kind.as_bytes());
        self.stages.apply(&Seen { kind, payload: payload.as_bytes(), note, user, now: self.now })
    }

    fn counts(&self, name: StageName) -> (u64, u64) {
        let row = self.stages.report().into_iter().find(|row| row.name == name.name()).unwrap();
        (row.dropped, row.renamed)
    }
}

fn message() -> Value {
    json!({
        "id": "7", "content": "see https://example.org", "edited_timestamp": null, "pinned": false, "flags": 0,
        "attachments": [{"id": "1"}], "components": [], "embeds": [], "mentions": [],
    })
}

fn with(key: &str, value: Value) -> Value {
    let mut message = message();
    message[key] = value;
    message
}

#[test]
fn guilds_are_told_apart_and_each_kind_can_be_dropped() {
    let mut bench = Bench::new(&[StageName::GuildLifecycle]);
    let guild = json!({"id": "7"});
    for (kind, note, verdict) in [
        ("GUILD_CREATE", GuildNote::Loaded, Verdict::Rename(EventKind::GUILD_LOADED_DD)),
        ("GUILD_CREATE", GuildNote::Available, Verdict::Rename(EventKind::GUILD_CREATE_AVAILABLE)),
        ("GUILD_CREATE", GuildNote::Added, Verdict::Keep),
        ("GUILD_DELETE", GuildNote::Unavailable, Verdict::Rename(EventKind::GUILD_UNAVAILABLE)),
        ("GUILD_DELETE", GuildNote::Removed, Verdict::Keep),
        ("READY", GuildNote::None, Verdict::Keep),
    ] {
        assert_eq!(bench.noted(kind, &guild, note, BOT), verdict, "{note:?}");
    }
    assert_eq!(bench.counts(StageName::GuildLifecycle), (0, 3));
    bench.stages.set(StageName::Drop, true);
    assert_eq!(bench.noted("GUILD_CREATE", &guild, GuildNote::Available, BOT), Verdict::Drop);
    assert_eq!(bench.noted("GUILD_CREATE", &guild, GuildNote::Added, BOT), Verdict::Keep);
    assert_eq!((bench.counts(StageName::GuildLifecycle), bench.counts(StageName::Drop)), ((0, 3), (1, 0)));
}

#[test]
fn a_renamed_payload_differs_in_its_type_only() {
    for payload in
        [r#"{"t":"GUILD_CREATE","s":5,"op":0,"d":{"t":"x"}}"#, r#"{ "d":{"t":1}, "s":5, "t" : "GUILD_CREATE" }"#]
    {
        let renamed = renamed(payload.as_bytes(), EventKind::GUILD_LOADED_DD);
        assert_eq!(String::from_utf8(renamed).unwrap(), payload.replace("GUILD_CREATE", "GUILD_LOADED_DD"));
    }
    assert_eq!(renamed(b"[]", EventKind::READY), b"[]");
    let made_up: Value = serde_json::from_str(&vanished(7, 9)).unwrap();
    assert_eq!(made_up, json!({"t": "GUILD_DELETE", "s": 9, "op": 0, "d": {"id": "7", "synthesized": true}}));
}

#[test]
fn only_updates_that_change_nothing_of_their_own_go() {
    let mut bench = Bench::new(&[StageName::MessageUpdate]);
    assert_eq!(bench.says("MESSAGE_CREATE", &message()), Verdict::Keep);
    assert_eq!(bench.says("MESSAGE_CREATE", &message()), Verdict::Keep, "a message is no update");
    assert_eq!(bench.says("MESSAGE_UPDATE", &with("embeds", json!([{"type": "link"}]))), Verdict::Drop);
    for (key, value) in [
        ("content", json!("see")),
        ("edited_timestamp", json!("2026-11-24T08:00:00+00:00")),
        ("pinned", json!(true)),
        ("flags", json!(4)),
        ("attachments", json!([])),
        ("components", json!([{"type": 1}])),
    ] {
        assert_eq!(bench.says("MESSAGE_UPDATE", &with(key, value.clone())), Verdict::Keep, "{key}");
        assert_eq!(bench.says("MESSAGE_UPDATE", &with(key, value)), Verdict::Drop, "{key} again");
        assert_eq!(bench.says("MESSAGE_UPDATE", &message()), Verdict::Keep, "{key} back");
    }
    assert_eq!(bench.counts(StageName::MessageUpdate), (7, 0));
}

#[test]
fn what_an_update_leaves_out_did_not_change_and_what_was_never_seen_did() {
    let mut bench = Bench::new(&[StageName::MessageUpdate]);
    let embeds = json!({"id": "7", "embeds": [{"type": "link"}]});
    assert_eq!(bench.says("MESSAGE_UPDATE", &embeds), Verdict::Keep, "nothing is known of it");
    assert_eq!(bench.says("MESSAGE_UPDATE", &message()), Verdict::Keep);
    assert_eq!(bench.says("MESSAGE_UPDATE", &embeds), Verdict::Drop);
    assert_eq!(bench.says("MESSAGE_UPDATE", &json!({"id": "7", "pinned": true})), Verdict::Keep);
    assert_eq!(bench.says("MESSAGE_UPDATE", &with("pinned", json!(true))), Verdict::Drop);
    assert_eq!(bench.says("MESSAGE_UPDATE", &with("id", json!("8"))), Verdict::Keep, "another message");
    assert_eq!(bench.says("MESSAGE_UPDATE", &json!({"content": "no id"})), Verdict::Keep);
}

#[test]
fn a_message_is_forgotten_after_ten_seconds_and_when_the_stage_goes_off() {
    let mut bench = Bench::new(&[StageName::MessageUpdate]);
    bench.says("MESSAGE_CREATE", &message());
    for _ in 0..3 {
        bench.now += Duration::from_secs(10);
        assert_eq!(bench.says("MESSAGE_UPDATE", &message()), Verdict::Drop, "seen again within 10 s");
    }
    bench.now += Duration::from_millis(10_001);
    assert_eq!(bench.says("MESSAGE_UPDATE", &message()), Verdict::Keep);
    bench.stages.set(StageName::MessageUpdate, false);
    bench.stages.set(StageName::MessageUpdate, true);
    assert_eq!(bench.says("MESSAGE_UPDATE", &message()), Verdict::Keep);
}

#[test]
fn messages_remembered_are_bounded() {
    let mut bench = Bench::new(&[StageName::MessageUpdate]);
    let most = message_update::MOST;
    for id in 1..=most * 3 {
        let kind = EventKind::MESSAGE_CREATE;
        let payload = format!(r#"{{"t":"MESSAGE_CREATE","s":5,"op":0,"d":{{"id":"{id}","content":"x"}}}}"#);
        let (note, now) = (GuildNote::None, bench.now);
        bench.stages.apply(&Seen { kind, payload: payload.as_bytes(), note, user: BOT, now });
        assert!(bench.stages.updates.remembered() <= 2 * most);
    }
    let last = json!({"id": (most * 3).to_string(), "content": "x"});
    assert_eq!(bench.says("MESSAGE_UPDATE", &last), Verdict::Drop);
    assert_eq!(bench.says("MESSAGE_UPDATE", &json!({"id": "1", "content": "x"})), Verdict::Keep);
}

#[test]
fn messages_go_on_with_a_prefix_or_a_mention() {
    let mut bench = Bench::new(&[StageName::MessagePrefix]);
    for (content, mentions, expected) in [
        (json!("!ping"), json!([]), Verdict::Keep),
        (json!("hé\" there"), json!([]), Verdict::Keep),
        (json!("ping!"), json!([]), Verdict::Drop),
        (json!(" !ping"), json!([]), Verdict::Drop),
        (json!(""), json!([]), Verdict::Drop),
        (json!("hi"), json!([{"username": "x", "id": "41"}, {"member": {"id": "1"}, "id": "42"}]), Verdict::Keep),
        (json!("hi"), json!([{"id": "41", "x": {"id": "42"}}]), Verdict::Drop),
    ] {
        let data = json!({"author": {"content": "!no"}, "content": content, "mentions": mentions, "id": "7"});
        assert_eq!(bench.says("MESSAGE_CREATE", &data), expected, "{data}");
    }
    assert_eq!(bench.says("MESSAGE_CREATE", &json!({})), Verdict::Drop);
    assert_eq!(bench.says("MESSAGE_UPDATE", &message()), Verdict::Keep, "other types pass");
    let mention = json!({"content": "hi", "mentions": [{"id": "41"}]});
    assert_eq!(bench.noted("MESSAGE_CREATE", &mention, GuildNote::None, 0), Verdict::Keep, "it may be the bot");
    assert_eq!(bench.counts(StageName::MessagePrefix), (5, 0));
}

#[test]
fn an_update_is_judged_by_messages_that_were_dropped_too() {
    let mut bench = Bench::new(&[StageName::MessageUpdate, StageName::MessagePrefix]);
    assert_eq!(bench.says("MESSAGE_CREATE", &message()), Verdict::Drop);
    assert_eq!(bench.says("MESSAGE_UPDATE", &message()), Verdict::Drop);
    assert_eq!(bench.says("MESSAGE_UPDATE", &with("content", json!("!now"))), Verdict::Keep);
}

#[test]
fn types_are_dropped_by_name_and_live() {
    let mut bench = Bench::new(&[]);
    assert!(bench.stages.are_idle());
    assert_eq!(bench.says("TYPING_START", &json!({})), Verdict::Keep);
    bench.stages.set(StageName::Drop, true);
    assert!(!bench.stages.are_idle());
    assert_eq!(bench.says("TYPING_START", &json!({})), Verdict::Drop);
    assert_eq!(bench.says("PRESENCE_UPDATE", &json!({})), Verdict::Keep);
    bench.stages.set(StageName::Drop, false);
    assert_eq!(bench.says("TYPING_START", &json!({})), Verdict::Keep);
    assert_eq!(bench.counts(StageName::Drop), (1, 0));
}

/// What a message is, field by field, and when it was seen.
type Known = (Instant, BTreeMap<String, Value>);

proptest! {
    /// Against whole values compared by a parser.
    #[test]
    fn updates_go_exactly_where_a_comparison_says_so(
        steps in prop::collection::vec(
            (1_u64..3, any::<bool>(), prop::collection::btree_map("content|pinned|flags|embeds", 0_u8..2, 0..4), 0_u64..7_000),
            1..60,
        ),
    ) {
        let mut bench = Bench::new(&[StageName::MessageUpdate]);
        let mut model: BTreeMap<u64, Known> = BTreeMap::new();
        for (id, is_update, said, pause) in steps {
            bench.now += Duration::from_millis(pause);
            let mut data = json!({"id": id.to_string()});
            said.iter().for_each(|(key, value)| data[key] = json!({"value": value}));
            let verdict = bench.says(if is_update { "MESSAGE_UPDATE" } else { "MESSAGE_CREATE" }, &data);
            let fresh = model.get(&id).filter(|(at, _)| bench.now - *at <= Duration::from_secs(10));
            let before = fresh.map(|(_, known)| known.clone()).unwrap_or_default();
            let mut after = before.clone();
            after.extend(said.keys().filter(|key| *key != "embeds").map(|key| (key.clone(), data[key].clone())));
            let expected = is_update && after == before && !before.is_empty();
            prop_assert_eq!(verdict == Verdict::Drop, expected);
            model.insert(id, (bench.now, after));
        }
    }

    #[test]
    fn no_payload_panics(text in "[\\[\\]{}\",:\\\\0-9a-d ]{0,40}", kind in 0_usize..EventKind::NAMES.len(), user in 0_u64..2) {
        let mut bench = Bench::new(&StageName::ALL);
        let kind = EventKind::of(EventKind::NAMES[kind].as_bytes());
        let payload = format!("{{\"t\":\"{}\",\"d\":{text}}}", kind.name());
        let seen = Seen { kind, payload: payload.as_bytes(), note: GuildNote::Loaded, user, now: bench.now };
        let _ = bench.stages.apply(&seen);
        let _ = renamed(text.as_bytes(), kind);
    }
}
