//! What a console is told, frame by frame, and how many bytes that is.

use pilothouse_shared::page::{Fields, read_order};
use pilothouse_shared::snapshot::{GenerationRow, Overview, ShardState};

use super::*;

fn snapshot(total: u32, seq: u64) -> Snapshot {
    let generation = GenerationRow { total, ..GenerationRow::default() };
    let rows = (0..total).map(|id| ShardRow { id, seq, state: ShardState::Active, ..ShardRow::default() });
    Snapshot { overview: Overview { generation, ..Overview::default() }, rows: rows.collect() }
}

type Runs = Vec<(u32, String)>;

fn map_of(frame: Option<FromAgent>) -> Option<(bool, Runs)> {
    match frame? {
        FromAgent::Map { full, states, .. } => Some((full, states)),
        other => panic!("not a map: {other:?}"),
    }
}

/// Order, frames that follow, and rows of each frame.
fn pages(frames: Frames) -> Vec<(Option<String>, u32, Vec<Fields>)> {
    frames
        .map(|frame| match frame {
            FromAgent::Page { order, follow, rows, .. } => (order, follow, rows),
            other => panic!("not a page: {other:?}"),
        })
        .collect()
}

fn ids(rows: &[Fields]) -> Vec<u64> {
    rows.iter().map(|row| row["id"].as_u64().expect("an id")).collect()
}

fn subscribed(wants: Subscription) -> Feed {
    let mut feed = Feed::default();
    feed.subscribe(wants).expect("valid");
    feed
}

fn of_page(page: Page) -> Subscription {
    Subscription { page: Some(page), ..Subscription::default() }
}

fn later(start: Instant, ms: u64) -> Instant {
    start + Duration::from_millis(ms)
}

#[test]
fn the_map_comes_whole_and_then_in_changes_at_most_twice_a_second() {
    let mut feed = subscribed(Subscription { map: true, ..Subscription::default() });
    let start = Instant::now();
    let mut shown = snapshot(40, 1);
    assert_eq!(map_of(feed.map(&shown, start)), Some((true, vec![(0, "a".repeat(40))])));
    shown.rows[2].state = ShardState::Resuming;
    shown.rows[3].state = ShardState::Fatal;
    shown.rows[39].state = ShardState::Held;
    assert_eq!(feed.map(&shown, later(start, 100)), None, "too soon");
    let told = map_of(feed.map(&shown, later(start, 500)));
    assert_eq!(told, Some((false, vec![(2, "rf".into()), (39, "h".into())])));
    shown.rows[1].seq = 9;
    assert_eq!(feed.map(&shown, later(start, 1_000)), None, "only states are on the map");
    (0..40).step_by(2).for_each(|id| shown.rows[id].state = ShardState::Queued);
    let (full, states) = map_of(feed.map(&shown, later(start, 1_500))).expect("changes");
    assert!(full && states[0].1.len() == 40, "the whole is smaller than so many changes");
    let (full, states) = map_of(feed.map(&snapshot(8, 1), later(start, 2_000))).expect("another total");
    assert_eq!((full, &*states[0].1), (true, "aaaaaaaa"));
}

#[test]
fn a_shard_that_nobody_reports_is_not_known() {
    let mut feed = subscribed(Subscription { map: true, ..Subscription::default() });
    let mut shown = snapshot(4, 1);
    shown.rows.remove(1);
    assert_eq!(map_of(feed.map(&shown, Instant::now())), Some((true, vec![(0, "a?aa".into())])));
}

#[test]
fn a_page_comes_whole_in_counted_chunks_and_then_in_what_changed() {
    let mut feed = subscribed(of_page(Page { count: 600, ..Page::default() }));
    let start = Instant::now();
    let mut shown = snapshot(600, 1);
    let told = pages(feed.page(&Arc::new(shown.clone()), start));
    let shape: Vec<_> = told.iter().map(|(order, follow, rows)| (order.as_deref(), *follow, rows.len())).collect();
    assert_eq!(shape, [(Some("0-599"), 2, 256), (None, 1, 256), (None, 0, 88)]);
    assert!(told.iter().flat_map(|(_, _, rows)| ids(rows)).eq(0..600));
    shown.rows[7].seq = 2;
    shown.rows[599].close = Some(Default::default());
    assert!(pages(feed.page(&Arc::new(shown.clone()), later(start, 500))).is_empty(), "too soon");
    let told = pages(feed.page(&Arc::new(shown.clone()), later(start, 1_000)));
    assert_eq!((told.len(), &told[0].0, told[0].1, ids(&told[0].2)), (1, &None, 0, vec![7, 599]));
    assert_eq!(told[0].2[0].keys().collect::<Vec<_>>(), ["id", "seq"], "only what changed");
    assert!(pages(feed.page(&Arc::new(shown), later(start, 2_000))).is_empty());
}

#[test]
fn a_page_follows_its_list_and_another_page_of_it_is_told_at_once() {
    let page = Page { sort: "rate".into(), descending: true, offset: 0, count: 2, filter: "id<5".into() };
    let mut feed = subscribed(of_page(page.clone()));
    let start = Instant::now();
    let mut shown = snapshot(9, 1);
    shown.rows[3].events_per_s = 7;
    let told = pages(feed.page(&Arc::new(shown.clone()), start));
    assert_eq!((told[0].0.as_deref(), ids(&told[0].2)), (Some("3-4,2-0"), vec![3, 4]));
    feed.subscribe(of_page(Page { offset: 1, ..page.clone() })).expect("valid");
    let told = pages(feed.page(&Arc::new(shown.clone()), later(start, 10)));
    assert_eq!((&told[0].0, ids(&told[0].2)), (&None, vec![2]), "4 was there already");
    shown.rows[1].events_per_s = 9;
    let told = pages(feed.page(&Arc::new(shown.clone()), later(start, 1_100)));
    assert_eq!((told[0].0.as_deref(), ids(&told[0].2)), (Some("1,3-4,2,0"), vec![3]), "3 has come onto the page");
    feed.subscribe(of_page(Page { descending: false, ..page })).expect("valid");
    let told = pages(feed.page(&Arc::new(shown), later(start, 1_110)));
    assert_eq!((told[0].0.as_deref(), ids(&told[0].2)), (Some("0,2,4-3,1"), vec![0, 2]), "another list is told anew");
}

#[test]
fn a_long_order_is_told_every_two_seconds_and_the_rows_each() {
    let page = Page { sort: "rate".into(), count: 2, ..Page::default() };
    let mut feed = subscribed(of_page(page.clone()));
    let start = Instant::now();
    let mut shown = snapshot(5_000, 1);
    let mut random = fastrand::Rng::with_seed(3);
    let mut told = |feed: &mut Feed, ms| {
        shown.rows.iter_mut().for_each(|row| row.events_per_s = random.u32(..));
        let told = pages(feed.page(&Arc::new(shown.clone()), later(start, ms)));
        (told[0].0.is_some(), ids(&told[0].2).len())
    };
    let seconds = [0, 1, 2, 3, 4].map(|second| told(&mut feed, second * 1_000));
    assert_eq!(seconds, [(true, 2), (false, 2), (true, 2), (false, 2), (true, 2)]);
    feed.subscribe(of_page(Page { offset: 9, ..page })).expect("valid");
    assert_eq!(told(&mut feed, 4_010), (false, 2), "another page is of the order that is known");
}

#[test]
fn a_list_of_no_shards_is_told_as_such() {
    let mut feed = subscribed(of_page(Page { count: 9, filter: "state=fatal".into(), ..Page::default() }));
    let start = Instant::now();
    assert_eq!(pages(feed.page(&Arc::new(snapshot(0, 0)), start)), [(Some(String::new()), 0, vec![])]);
    assert!(pages(feed.page(&Arc::new(snapshot(0, 0)), later(start, 1_000))).is_empty());
    let told = pages(feed.page(&Arc::new(snapshot(4, 0)), later(start, 2_000)));
    assert_eq!(told, [(Some(String::new()), 0, vec![])], "told anew for another number of shards");
}

#[test]
fn a_subscription_goes_on_where_it_stays_the_same() {
    let wants = Subscription { overview: true, map: true, detail: Some(1), ..Subscription::default() };
    let mut feed = subscribed(wants.clone());
    let (start, shown) = (Instant::now(), Arc::new(snapshot(4, 1)));
    assert!(feed.overview(&shown, start).is_some() && feed.map(&shown, start).is_some());
    assert_eq!(feed.detail(start), Some(1));
    feed.subscribe(Subscription { detail: Some(2), ..wants }).expect("valid");
    assert_eq!((feed.overview(&shown, start), feed.map(&shown, start)), (None, None));
    assert_eq!(feed.detail(start), Some(2));
    feed.subscribe(Subscription::default()).expect("valid");
    assert_eq!(feed.detail(start + SECOND), None);
    feed.subscribe(Subscription { map: true, ..Subscription::default() }).expect("valid");
    assert!(map_of(feed.map(&shown, start)).expect("asked for anew").0);
}

#[test]
fn what_cannot_be_understood_changes_nothing() {
    let mut feed = subscribed(Subscription { overview: true, ..Subscription::default() });
    let wrong = feed.subscribe(of_page(Page { sort: "colour".into(), ..Page::default() })).expect_err("no such field");
    assert!(wrong.contains("colour") && wrong.contains("latency"), "{wrong}");
    assert!(feed.overview(&snapshot(1, 1), Instant::now()).is_some());
}

/// 5,000 shards under traffic, none of which keeps its state for half a second.
fn in_motion(random: &mut fastrand::Rng, rows: &mut [ShardRow], at: u64) {
    for row in rows {
        let states = ShardState::ALL;
        row.state = states[(row.state as usize + random.usize(1..states.len())) % states.len()];
        row.since = at;
        row.events_per_s = random.u32(0..400);
        row.events += u64::from(row.events_per_s);
        row.seq += u64::from(row.events_per_s);
        row.confirmed = row.seq - random.u64(0..20).min(row.seq);
        row.last_dispatch_at = Some(at);
        row.latency_ms = Some(random.u32(20..300));
        row.latency_at = Some(at);
        row.lag_ms = random.u32(0..2_000);
        row.unconfirmed = random.u32(0..256);
        row.sends_left = random.u16(0..120);
        row.bytes_in += random.u64(0..100_000);
        row.bytes_raw += random.u64(0..1_000_000);
    }
}

fn whole_fleet(at: u64) -> Snapshot {
    let mut shown = snapshot(5_000, 1);
    for row in &mut shown.rows {
        row.agent = "eu-central-1".into();
        (row.generation, row.version, row.guilds, row.events, row.seq) = (12, 10, 1_002, 84_213_117, 5_213_117);
        (row.bytes_in, row.bytes_raw, row.session_since) = (84_213_117_000, 842_131_170_000, Some(at));
    }
    let overview = &mut shown.overview;
    overview.types = (0..83).map(|type_| (format!("GUILD_SCHEDULED_EVENT_{type_}"), 12_345)).collect();
    shown
}

/// Bytes a second of 10 s, and the size of the largest frame.
fn bytes_per_s(wants: &Subscription) -> (usize, usize) {
    let mut random = fastrand::Rng::with_seed(7);
    let at = 1_790_000_000_000;
    let mut shown = whole_fleet(at);
    let mut feed = subscribed(wants.clone());
    let start = Instant::now();
    let (mut bytes, mut largest) = (0, 0);
    for tick in 0..20_u64 {
        in_motion(&mut random, &mut shown.rows, at + tick * 500);
        shown.overview.at = at + tick * 500;
        let (snapshot, now) = (Arc::new(shown.clone()), later(start, tick * 500));
        let singles = [feed.overview(&snapshot, now), feed.map(&snapshot, now)];
        for frame in singles.into_iter().flatten().chain(feed.page(&snapshot, now)) {
            let size = serde_json::to_string(&frame).expect("a frame").len();
            (bytes, largest) = (bytes + size, largest.max(size));
        }
    }
    (bytes / 10, largest)
}

#[test]
fn no_view_of_5000_shards_in_motion_takes_more_than_64_kb_a_second() {
    let all = Subscription { overview: true, map: true, ..Subscription::default() };
    let with = |page: Page| Subscription { page: Some(page), ..all.clone() };
    let cursor = Page { offset: 4_321, count: 1, ..Page::default() };
    let table = Page { offset: 2_500, count: 60, ..Page::default() };
    let views = [
        ("overview", Subscription { map: false, ..all.clone() }),
        ("map", with(cursor.clone())),
        ("map, filtered", with(Page { filter: "lag>1s".into(), ..cursor })),
        ("table", with(table.clone())),
        ("table by rate", with(Page { sort: "rate".into(), descending: true, ..table.clone() })),
    ];
    for (view, wants) in views {
        let (bytes, largest) = bytes_per_s(&wants);
        println!("{view}: {bytes} bytes a second, the largest frame has {largest}");
        assert!(bytes <= 64_000, "{view}: {bytes} bytes a second");
    }
}

#[test]
fn what_a_page_told_adds_up_to_the_rows_there_are() {
    use pilothouse_shared::page::applied;
    let mut random = fastrand::Rng::with_seed(11);
    let mut shown = snapshot(300, 1);
    let mut feed = Feed::default();
    let (mut known, mut order) = (vec![None; 300], Vec::new());
    let start = Instant::now();
    for tick in 0..60_u64 {
        let page = Page {
            sort: ["id", "rate"][random.usize(..2)].into(),
            offset: random.u32(..300),
            count: random.u32(..90),
            ..Page::default()
        };
        if random.u8(..) < 90 || tick == 0 {
            feed.subscribe(of_page(page)).expect("valid");
        }
        in_motion(&mut random, &mut shown.rows[..150], tick);
        let snapshot = Arc::new(shown.clone());
        let page = feed.wants.page.clone().expect("subscribed");
        for (told, _, rows) in pages(feed.page(&snapshot, later(start, tick * 1_000))) {
            order = told.map_or(order, |text| read_order(&text, 300).expect("an order"));
            for fields in rows {
                let id = usize::try_from(fields["id"].as_u64().expect("an id")).expect("small");
                known[id] = applied(known[id].as_ref(), fields);
            }
        }
        assert!(page.part(&order).iter().all(|&id| known[id as usize].as_ref() == Some(&shown.rows[id as usize])));
    }
}
