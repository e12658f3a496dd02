//! Whole screens, drawn from made-up frames with a fixed clock and seed.

#[path = "fake/fleet.rs"]
mod fleet;
#[path = "screens/told.rs"]
mod told;

use std::fmt::Write;
use std::time::Instant;

use pilothouse_console::message::{Effect, Key, LinkEvent, Message};
use pilothouse_console::model::{Look, Model, Setup};
use pilothouse_console::theme::{Depth, Theme};
use pilothouse_console::update::{deadline, update};
use pilothouse_console::view;
use pilothouse_shared::snapshot::ShardState;
use pilothouse_shared::wire::{FromAgent, Role, Subscription, ToAgent};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

const NOW: u64 = 1_790_000_000_000;

/// A console with a made-up agent and a clock of its own.
struct Desk {
    model: Model,
    fleet: fleet::Fleet,
    now: u64,
    ascii: bool,
    depth: Depth,
    sent: Vec<ToAgent>,
}

impl Desk {
    fn new(size: (u16, u16), shards: u32) -> Self {
        let setup = Setup { address: "ws://127.0.0.1:7600".into(), half: true };
        let model = Model::new(setup, size, Look::Dark);
        let fleet = fleet::Fleet::new(shards, 7, NOW);
        Self { model, fleet, now: NOW, ascii: false, depth: Depth::True, sent: Vec::new() }
    }

    /// Linked for three minutes.
    fn linked(size: (u16, u16), shards: u32, role: Role) -> Self {
        let mut desk = Self::new(size, shards);
        desk.link(LinkEvent::Connecting { attempt: 1, limit_ms: 10_000 });
        desk.link(LinkEvent::Open);
        desk.frame(fleet::hello(role));
        desk.link(LinkEvent::Rtt(12));
        for second in 0..180_u32 {
            desk.now = NOW - 180_000 + u64::from(second) * 1_000;
            let mut overview = desk.fleet.overview(desk.now);
            overview.in_per_s = overview.in_per_s * (80 + second % 60) / 140;
            desk.frame(FromAgent::Overview(Box::new(overview)));
        }
        desk.now = NOW;
        desk.frame(FromAgent::Overview(Box::new(desk.fleet.overview(NOW))));
        desk
    }

    fn message(&mut self, message: Message) {
        for effect in update(&mut self.model, message, self.now) {
            if let Effect::Send(frame) = effect {
                self.answer(&frame);
                self.sent.push(frame);
            }
        }
    }

    /// What an agent tells at once when it is asked.
    fn answer(&mut self, frame: &ToAgent) {
        let ToAgent::Subscribe(wanted) = frame else { return };
        // The totals come by themselves.
        let wanted = Subscription { overview: false, ..wanted.clone() };
        fleet::answer(&self.fleet, &wanted, self.now).into_iter().for_each(|frame| self.frame(frame));
    }

    fn link(&mut self, event: LinkEvent) {
        self.message(Message::Link(event));
    }

    fn frame(&mut self, frame: FromAgent) {
        self.link(LinkEvent::Frame(Box::new(frame)));
    }

    fn key(&mut self, key: Key) {
        self.message(Message::Key(key));
    }

    fn keys(&mut self, letters: &str) {
        letters.chars().for_each(|letter| self.key(Key::Char(letter)));
    }

    fn draw(&self) -> Buffer {
        let (width, height) = self.model.size;
        let mut buf = Buffer::empty(Rect::new(0, 0, width, height));
        let theme = Theme::new(self.model.look, self.depth, self.ascii);
        view::draw(&self.model, &theme, self.now, &mut buf);
        buf
    }

    fn text(&self) -> String {
        rows(&self.draw()).join("\n")
    }

    /// The agent answers the last command with its plan.
    fn plan(&mut self) {
        let asked = self.sent.iter().rev().find_map(|frame| match frame {
            ToAgent::Command { id, line, yes: false, .. } => Some((*id, line.clone())),
            _ => None,
        });
        let (id, line) = asked.expect("a command was sent");
        self.frame(FromAgent::Plan { id, plan: fleet::plan(&self.fleet, &line) });
    }

    /// The plan that was applied last, and why.
    fn applied(&self) -> Option<(&str, Option<&str>)> {
        self.sent.iter().rev().find_map(|frame| match frame {
            ToAgent::Apply { plan, reason, .. } => Some((plan.as_str(), reason.as_deref())),
            _ => None,
        })
    }

    fn last_command(&self) -> Option<&str> {
        self.sent.iter().rev().find_map(|frame| match frame {
            ToAgent::Command { line, .. } => Some(line.as_str()),
            _ => None,
        })
    }
}

fn rows(buf: &Buffer) -> Vec<String> {
    let row = |cells: &[ratatui::buffer::Cell]| cells.iter().map(|cell| cell.symbol()).collect::<String>();
    buf.content().chunks(buf.area.width.into()).map(|cells| row(cells).trim_end().to_owned()).collect()
}

/// The text, then a letter for each cell's style, then what the letters mean.
fn styled(buf: &Buffer) -> String {
    let mut styles: Vec<Style> = Vec::new();
    let mut picture = rows(buf).join("\n");
    picture.push_str("\n\n");
    for cells in buf.content().chunks(buf.area.width.into()) {
        let mut line = String::new();
        for cell in cells {
            let style = cell.style();
            let index = styles.iter().position(|known| *known == style).unwrap_or_else(|| {
                styles.push(style);
                styles.len() - 1
            });
            line.push(char::from(if index < 26 { b'a' + u8::try_from(index).expect("small") } else { b'?' }));
        }
        writeln!(picture, "{line}").expect("a string takes everything");
    }
    for (index, style) in styles.iter().enumerate() {
        let letter = char::from(b'a' + u8::try_from(index).expect("few styles"));
        writeln!(picture, "{letter} {style:?}").expect("a string takes everything");
    }
    picture
}

const SIZES: [(u16, u16); 4] = [(80, 24), (120, 30), (200, 50), (300, 80)];

/// Draws what `steps` leads to at the four sizes, with 64 shards where it is narrow and 5,000 where it is wide.
fn at_all_sizes(name: &str, steps: impl Fn(&mut Desk)) {
    for (width, height) in SIZES {
        let shards = if width == 80 || width == 200 { 64 } else { 5_000 };
        let mut desk = Desk::linked((width, height), shards, Role::Admin);
        steps(&mut desk);
        keep(&format!("{name}-{width}x{height}"), &desk.text());
    }
}

/// Compares a picture with the kept one of that name.
fn keep(name: &str, picture: &str) {
    insta::assert_snapshot!(name, picture);
}

#[test]
fn overview() {
    at_all_sizes("overview", |_| {});
}

#[test]
fn map() {
    at_all_sizes("map", |desk| desk.keys("2n"));
}

#[test]
fn table() {
    at_all_sizes("table", |desk| desk.keys("2v"));
}

#[test]
fn shard() {
    at_all_sizes("shard", |desk| {
        desk.keys("2n");
        desk.key(Key::Enter);
    });
}

#[test]
fn help() {
    at_all_sizes("help", |desk| desk.keys("2?"));
}

#[test]
fn styles() {
    let mut desk = Desk::linked((80, 24), 64, Role::Admin);
    insta::assert_snapshot!("styles-overview", styled(&desk.draw()));
    desk.keys("2n");
    insta::assert_snapshot!("styles-map", styled(&desk.draw()));
    desk.keys("v");
    insta::assert_snapshot!("styles-table", styled(&desk.draw()));
    desk.keys("r");
    desk.plan();
    insta::assert_snapshot!("styles-dialog", styled(&desk.draw()));
}

#[test]
fn mono() {
    let mut desk = Desk::linked((80, 24), 5_000, Role::Viewer);
    desk.model.look = Look::Mono;
    desk.depth = Depth::None;
    desk.keys("2n");
    insta::assert_snapshot!("mono-map", styled(&desk.draw()));
    desk.keys("v");
    insta::assert_snapshot!("mono-table", styled(&desk.draw()));
}

#[test]
fn ascii() {
    let mut desk = Desk::linked((120, 30), 5_000, Role::Viewer);
    desk.ascii = true;
    desk.model.setup.half = false;
    for (name, keys) in [("overview", ""), ("map", "2n"), ("table", "v"), ("help", "?")] {
        desk.keys(keys);
        let text = desk.text();
        assert!(text.is_ascii(), "{name}: {:?}", text.chars().find(|letter| !letter.is_ascii()));
        insta::assert_snapshot!(format!("ascii-{name}"), text);
    }
}

#[test]
fn nothing_yet_and_trouble() {
    let mut desk = Desk::new((80, 24), 64);
    desk.link(LinkEvent::Connecting { attempt: 1, limit_ms: 10_000 });
    insta::assert_snapshot!("connecting", desk.text());
    desk.link(LinkEvent::Down { reason: "127.0.0.1:7600: connection refused".into(), wait_ms: Some(4_200) });
    insta::assert_snapshot!("down", desk.text());
    let mut desk = Desk::linked((80, 24), 64, Role::Admin);
    desk.keys("2v");
    desk.link(LinkEvent::Down { reason: "the agent closed the link".into(), wait_ms: Some(9_000) });
    desk.now += 4_000;
    insta::assert_snapshot!("old", styled(&desk.draw()));
    desk.now += 9_000;
    insta::assert_snapshot!("stale", styled(&desk.draw()));
}

#[test]
fn a_small_terminal_gets_one_line() {
    let desk = Desk::linked((40, 6), 64, Role::Admin);
    insta::assert_snapshot!(desk.text(), @"
    ● linked 12 ms 60/64 3.83k/s
    60x15 needed, q quits
    ");
}

#[test]
fn typing() {
    let mut desk = Desk::linked((80, 24), 64, Role::Admin);
    desk.keys(":re");
    insta::assert_snapshot!("command-ghost", styled(&desk.draw()));
    desk.key(Key::Tab);
    desk.keys("99 --now");
    desk.key(Key::Enter);
    insta::assert_snapshot!("command-wrong", desk.text());
    desk.key(Key::Esc);
    desk.keys("2v/state=happy");
    insta::assert_snapshot!("filter-wrong", styled(&desk.draw()));
    desk.key(Key::Ctrl('w'));
    desk.keys("!state=active");
    insta::assert_snapshot!("filter", desk.text());
}

#[test]
fn questions() {
    let mut desk = Desk::linked((80, 24), 64, Role::Admin);
    desk.keys("2r");
    desk.plan();
    insta::assert_snapshot!("question-one", desk.text());
    for (line, name) in [(":close 3-5 --code 4000", "question-many"), (":restart *", "question-fleet")] {
        desk.key(Key::Esc);
        desk.keys(line);
        desk.key(Key::Enter);
        desk.plan();
        insta::assert_snapshot!(name, desk.text());
    }
}

#[test]
fn the_key_that_asks_cannot_agree() {
    let mut desk = Desk::linked((80, 24), 64, Role::Admin);
    desk.keys("2rrrr");
    desk.plan();
    desk.key(Key::Enter);
    assert_eq!(desk.applied(), None, "the focus is on Cancel");
    desk.keys("r");
    desk.plan();
    desk.key(Key::Tab);
    desk.key(Key::Enter);
    assert_eq!(desk.applied(), Some(("restart 0", None)));
}

#[test]
fn the_more_shards_the_more_it_takes_to_agree() {
    let mut desk = Desk::linked((80, 24), 64, Role::Operator);
    desk.keys(":close 3-5 --code 4000");
    desk.key(Key::Enter);
    desk.plan();
    desk.key(Key::Enter);
    desk.keys("33");
    desk.key(Key::Enter);
    assert_eq!(desk.applied(), None);
    desk.key(Key::Backspace);
    desk.key(Key::Enter);
    assert_eq!(desk.applied(), Some(("close 3-5 --code 4000", None)));
    desk.keys(":restart *");
    desk.key(Key::Enter);
    desk.plan();
    desk.keys("prod");
    desk.key(Key::Enter);
    assert_eq!(desk.applied(), Some(("close 3-5 --code 4000", None)));
    desk.keys(" stuck");
    desk.key(Key::Enter);
    assert_eq!(desk.applied(), Some(("restart *", Some("stuck"))));
}

#[test]
fn a_plan_that_comes_while_something_else_goes_on_asks_nothing() {
    let mut desk = Desk::linked((80, 24), 64, Role::Admin);
    desk.keys("2r?");
    desk.plan();
    assert!(!desk.text().contains("Cancel"));
    desk.key(Key::Esc);
    assert!(desk.text().contains("too late"), "{}", desk.text());
}

#[test]
fn a_viewer_changes_nothing() {
    let mut desk = Desk::linked((80, 24), 64, Role::Viewer);
    desk.keys("2r");
    assert!(desk.text().contains("needs the role operator"));
    desk.keys(":restart 3");
    desk.key(Key::Enter);
    assert!(desk.text().contains("needs the role operator"));
    assert_eq!(desk.last_command(), None);
}

#[test]
fn an_answer_is_shown_where_it_was_asked_for() {
    let mut desk = Desk::linked((80, 24), 64, Role::Admin);
    let mut ask = |line: &str, ok: bool, text: &str| {
        desk.keys(":");
        desk.key(Key::Ctrl('u'));
        desk.keys(line);
        desk.key(Key::Enter);
        let id = desk.model.next_command - 1;
        desk.frame(FromAgent::Result { id, ok, text: text.into() });
        let shown = desk.text();
        desk.key(Key::Esc);
        shown
    };
    assert!(ask("restart 3", true, "restarting shard 3").ends_with("restarting shard 3"));
    let wrong = ask("restart 99", false, "shard 99 does not exist");
    assert!(wrong.contains("shard 99 does not exist") && wrong.ends_with(":restart 99"));
    assert!(ask("explain 3", true, "active\nbecause\nof\nacks").contains("any other key closes"));
}

#[test]
fn a_line_shows_shards_as_the_table_filters_them() {
    let mut desk = Desk::linked((80, 24), 64, Role::Viewer);
    desk.keys(":shards 3,8-11,state=fatal");
    desk.key(Key::Enter);
    assert!(desk.text().contains("filter 3,8-11,state=fatal"));
    assert!(desk.model.shards.order.starts_with(&[3, 8, 9, 10, 11]));
}

#[test]
fn findings_lead_to_their_shards() {
    let mut desk = Desk::linked((80, 24), 64, Role::Viewer);
    let bad = desk.fleet.rows.iter().filter(|row| row.state != ShardState::Active).count();
    assert!(bad > 1, "the seed makes several");
    desk.key(Key::Enter);
    assert_eq!(desk.model.shards.order.len(), bad);
    desk.keys("1");
    desk.key(Key::Down);
    desk.key(Key::Down);
    desk.key(Key::Enter);
    assert!(desk.text().contains("Shards ▸ 3"));
}

#[test]
fn the_agent_is_asked_only_for_what_is_shown() {
    let mut desk = Desk::linked((80, 24), 64, Role::Viewer);
    let mut asked = |keys: &str| {
        desk.keys(keys);
        let last = desk.sent.iter().rev().find_map(|frame| match frame {
            ToAgent::Subscribe(wanted) => Some(wanted.clone()),
            _ => None,
        });
        let last = last.expect("something was asked for");
        (last.map, last.page.map(|page| (page.filter, page.offset, page.count)), last.detail)
    };
    let page = |filter: &str, offset, count| Some((filter.to_owned(), offset, count));
    assert_eq!(asked(""), (false, None, None));
    assert_eq!(asked("2"), (true, page("", 0, 1), None));
    assert_eq!(asked("l"), (true, page("", 1, 1), None), "the row of the cursor");
    assert_eq!(asked("hv"), (true, page("", 0, 20), None));
    assert_eq!(asked("G"), (true, page("", 44, 20), None));
    assert_eq!(asked("gv/eu"), (true, page("eu", 0, 1), None));
    assert_eq!(asked("1"), (true, page("eu1", 0, 1), None), "a letter while one types");
    desk.key(Key::Esc);
    desk.key(Key::Enter);
    assert_eq!(desk.model.subscription().detail, Some(0));
}

#[test]
fn a_command_without_an_answer_is_told() {
    let mut desk = Desk::linked((80, 24), 64, Role::Admin);
    desk.keys("2r");
    desk.link(LinkEvent::Down { reason: "gone".into(), wait_ms: Some(9_000) });
    assert!(desk.text().contains("no answer to \"restart 0\""));
    desk.keys("r");
    desk.now += 20_000;
    assert!(desk.text().contains("not connected: nothing was sent"));
}

#[test]
fn nothing_changes_by_itself_while_frames_come() {
    let desk = Desk::linked((80, 24), 64, Role::Admin);
    assert_eq!(deadline(&desk.model, desk.now), Some(NOW + 3_001), "then the totals are old");
}

#[test]
fn a_second_that_brings_nothing_new_changes_little_on_a_screen_of_5000_shards() {
    for (name, keys) in [("overview", ""), ("map", "2"), ("table", "2v"), ("shard", "2\n")] {
        let mut desk = Desk::linked((200, 50), 5_000, Role::Admin);
        for letter in keys.chars() {
            desk.key(if letter == '\n' { Key::Enter } else { Key::Char(letter) });
        }
        let before = desk.draw();
        desk.now += 1_000;
        let frame = |_| {
            let started = Instant::now();
            let changes = before.diff(&desk.draw()).len();
            (started.elapsed(), changes)
        };
        let (took, changes) = (0..40).map(frame).min().expect("forty");
        println!("{name}: {took:?} to draw and compare, {changes} cells differ");
        // Ages in the table's rows; nothing else may jitter.
        assert!(changes <= 49 * 3, "{name}: {changes} cells differ");
    }
}

mod whatever_happens {
    use pilothouse_console::message::Mouse;
    use proptest::prelude::*;

    use super::*;

    fn message() -> impl Strategy<Value = Message> {
        let named = prop::sample::select(vec![
            Key::Enter,
            Key::Esc,
            Key::Tab,
            Key::Up,
            Key::Down,
            Key::Left,
            Key::Right,
            Key::PageUp,
            Key::PageDown,
            Key::Home,
            Key::End,
            Key::Backspace,
            Key::Ctrl('w'),
        ]);
        let letter = prop::sample::select("1248pvnNb/sSo+-r:[]?Tcjkhl 3!=ä".chars().collect::<Vec<_>>());
        prop_oneof![
            6 => letter.prop_map(|letter| Message::Key(Key::Char(letter))),
            4 => named.prop_map(Message::Key),
            1 => (0_u16..320, 0_u16..90).prop_map(|(width, height)| Message::Resize(width, height)),
            1 => (0_u16..320, 0_u16..90).prop_map(|(x, y)| Message::Mouse(Mouse::Press(x, y))),
            1 => Just(Message::Mouse(Mouse::WheelDown)),
            1 => Just(Message::Paste("state=fatal\n".into())),
            1 => Just(Message::Link(LinkEvent::Down { reason: "gone".into(), wait_ms: Some(1_000) })),
            1 => Just(Message::Link(LinkEvent::Open)),
            1 => Just(Message::Tick),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn it_draws_something(messages in prop::collection::vec(message(), 1..60), shards in 0_u32..300, skip in 0_u64..30_000) {
            let mut desk = Desk::linked((80, 24), shards, Role::Admin);
            for message in messages {
                desk.message(message);
                desk.now += skip;
                let drawn = desk.draw();
                prop_assert!(drawn.area.is_empty() || drawn.content().iter().any(|cell| cell.symbol() != " "));
            }
        }
    }
}
