//! What the agent tells while a screen is shown: lists of shards, events, log lines.

use pilothouse_shared::page::Page;

use super::*;

#[test]
fn the_cursor_stays_on_its_shard_while_the_order_changes() {
    let mut desk = Desk::linked((80, 24), 5_000, Role::Viewer);
    desk.keys("2vG");
    let chosen = desk.model.shards.cursor;
    assert_eq!(chosen, 4_999);
    desk.keys("sssssssss");
    assert_eq!(desk.model.page().sort, "rate");
    for round in 0..5 {
        desk.fleet.rows[chosen as usize].events_per_s = round * 19;
        let page = desk.fleet.page(&desk.model.page());
        desk.frame(page);
        let row = desk.model.cursor_row();
        assert_eq!(desk.model.shards.order[row], chosen);
        assert!((desk.model.shards.top..desk.model.shards.top + 20).contains(&row), "it can be seen");
        assert!(desk.text().contains("4999"));
    }
}

#[test]
fn a_row_that_is_on_its_way_shows_what_the_map_knows() {
    let mut desk = Desk::linked((80, 24), 5_000, Role::Viewer);
    desk.keys("2v");
    let wanted = desk.model.page();
    update(&mut desk.model, Message::Key(Key::PageDown), desk.now);
    assert_ne!(desk.model.page(), wanted, "another page is asked for and has not come");
    let text = desk.text();
    assert!(text.contains("20 ■ active\n"), "{text}");
    let late = desk.fleet.page(&wanted);
    desk.frame(late);
    let page = desk.fleet.page(&desk.model.page());
    desk.frame(page);
    assert!(!desk.text().contains("20 ■ active\n"));
    let other = desk.fleet.page(&Page { filter: "id=7".into(), ..wanted });
    desk.frame(other);
    assert_eq!(desk.model.shards.order.len(), 5_000, "a list that nobody wants any more is left alone");
}

#[test]
fn events() {
    at_all_sizes("events", |desk| desk.keys("4"));
    let mut desk = Desk::linked((80, 24), 64, Role::Operator);
    desk.keys(":tail message_create guild=7");
    desk.key(Key::Enter);
    desk.keys("p");
    desk.key(Key::Up);
    desk.key(Key::Up);
    let more = desk.fleet.tail(&desk.model.events.wanted, desk.now);
    desk.frame(more);
    keep("events-held", &styled(&desk.draw()));
    desk.keys(" ");
    assert!(desk.text().contains("following"));
}

#[test]
fn logs() {
    at_all_sizes("logs", |desk| desk.keys("8"));
    let mut desk = Desk::linked((80, 24), 64, Role::Viewer);
    desk.keys(":logs debug");
    desk.key(Key::Enter);
    desk.key(Key::Up);
    desk.key(Key::Up);
    keep("logs-held", &styled(&desk.draw()));
    desk.keys("-");
    assert!(desk.text().contains("info and graver") && desk.text().contains("following"));
}

#[test]
fn payloads_are_shown_to_those_who_may_see_them() {
    let mut desk = Desk::linked((120, 30), 64, Role::Viewer);
    desk.keys("4p");
    assert!(desk.text().contains("payloads need the role operator") && !desk.text().contains("aye aye"));
    let mut desk = Desk::linked((120, 30), 64, Role::Operator);
    desk.keys("4");
    assert!(!desk.text().contains("aye aye"), "not before they are asked for");
    desk.keys("p");
    assert!(desk.text().contains("aye aye"));
}

#[test]
fn what_is_watched_ends_with_its_screen() {
    let mut desk = Desk::linked((80, 24), 64, Role::Viewer);
    let watched = |desk: &Desk| {
        let wanted = desk.model.subscription();
        (wanted.tail.map(|tail| tail.to_string()), wanted.logs.map(|level| level.name()))
    };
    desk.keys(":tail ready shards=3");
    desk.key(Key::Enter);
    assert_eq!(watched(&desk), (Some("READY shards=3".into()), None));
    desk.keys("8");
    assert_eq!(watched(&desk), (None, Some("info")));
    desk.key(Key::Esc);
    assert_eq!(watched(&desk), (None, None));
    desk.keys(":tail messages");
    desk.key(Key::Enter);
    let words: Vec<String> = desk.text().split_whitespace().map(str::to_owned).collect();
    assert!(words.join(" ").contains("no event type is called"), "{words:?}");
}
