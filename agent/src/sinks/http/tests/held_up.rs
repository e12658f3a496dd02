//! What fails holds up its guild alone, and no end.

use super::*;

#[test]
fn a_batch_that_fails_holds_up_the_guild_that_it_fails_for_alone() {
    run(async {
        let bot = Lines(Arc::default(), StatusCode::INTERNAL_SERVER_ERROR);
        let address = bot.listen().await;
        let batched = HttpConfig { batch: 50, concurrency: 2, ..config(&[address]) };
        let (sink, feed) = (sink(batched), Feed::new());
        feed.push(&*sink, (0..300).map(|n| guild(n % 5)));
        let held = |seq: &u64| *seq >= POISON && seq % 5 == POISON % 5;
        let others: BTreeSet<u64> = (1..=300).filter(|seq| !held(seq)).collect();
        let arrived = || {
            let lines = bot.0.lock().expect("no panic");
            lines.iter().map(|line| line["payload"]["s"].as_u64().expect("a sequence")).collect::<BTreeSet<u64>>()
        };
        until("the others have arrived", || arrived() == others).await;
        until("they are done with", || sink.report().queued as usize == 300 - others.len()).await;
    });
}

#[test]
fn an_event_that_fails_for_ever_holds_up_its_guild_alone() {
    run(async {
        let folder = Rc::new(tempfile::tempdir().expect("a folder"));
        let settings = SpoolConfig {
            after: Duration::from_millis(50),
            reserve_bytes: 0,
            drain_rate: 100_000,
            ..SpoolConfig::default()
        };
        let mended = Arc::new(AtomicUsize::new(0));
        let state = Arc::clone(&mended);
        let bot = Bot::new(
            move |_, of, seq| {
                if of == guild(1) && seq == 2 && state.load(Ordering::Relaxed) == 0 { 500 } else { 200 }
            },
        );
        let (address, _server) = bot.listen(anywhere()).await;
        let config = HttpConfig { concurrency: 4, ..config(&[address]) };
        let (sink, feed) = (TestSink::with_spool(&folder, SinkConfig::Http(config), settings), Feed::new());
        let (rounds, guilds) = (300, 8);
        for _ in 0..rounds {
            feed.push(&*sink, (0..guilds).map(guild));
            until("the socket is not held", || feed.lane.outstanding() < 100).await;
        }
        let others = rounds * (guilds - 1);
        until("the others have arrived", || sink.report().delivered == others).await;
        until("all are confirmed", || feed.lane.outstanding() == 0).await;
        assert!(bot.accepted().iter().all(|(of, _)| *of != guild(1)));
        mended.store(1, Ordering::Relaxed);
        until("all are delivered", || sink.report().spooled == 0 && sink.report().queued == 0).await;
        assert_exact(&bot.accepted(), &feed);
    });
}

#[test]
fn a_paused_sink_repeats_no_attempt() {
    run(async {
        let bot = Bot::new(|n, _, _| if n < 4 { 500 } else { 200 });
        let (address, _server) = bot.listen(anywhere()).await;
        let (sink, feed) = (sink(config(&[address])), Feed::new());
        feed.push(&*sink, [guild(1), guild(2)]);
        until("it fails", || sink.report().retries >= 2).await;
        sink.obey(SinkOrder::Pause);
        // What is under way may end.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let before = bot.requests();
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert_eq!(bot.requests(), before);
        sink.obey(SinkOrder::Resume);
        until("both are confirmed", || feed.lane.outstanding() == 0).await;
    });
}

#[test]
fn a_planned_end_leaves_no_event_that_comes_twice() {
    run(async {
        let folder = Rc::new(tempfile::tempdir().expect("a folder"));
        let settings = SpoolConfig { after: Duration::from_millis(20), reserve_bytes: 0, ..SpoolConfig::default() };
        let bot = Bot::new(|_, _, _| 200);
        let (address, _server) = bot.listen(anywhere()).await;
        let config = SinkConfig::Http(config(&[address]));
        let (sink, feed) = (TestSink::with_spool(&folder, config.clone(), settings.clone()), Feed::new());
        sink.obey(SinkOrder::Pause);
        feed.push(&*sink, (0..2_000).map(|n| guild(n % 20)));
        until("all are spooled", || feed.lane.outstanding() == 0).await;
        sink.obey(SinkOrder::Drain);
        until("it is at work", || sink.report().delivered > 300).await;
        sink.finish().await;
        assert!(sink.report().delivered < 2_000, "too late for this test");
        sink.stop().await;
        let sink = TestSink::with_spool(&folder, config, settings);
        sink.obey(SinkOrder::Drain);
        until("all are delivered", || sink.report().spooled == 0 && sink.report().queued == 0).await;
        assert_exact(&bot.accepted(), &feed);
    });
}

#[test]
fn the_end_does_not_wait_for_a_bot_that_fails() {
    run(async {
        let bot = Bot::new(|_, _, _| 401);
        let (address, _server) = bot.listen(anywhere()).await;
        let (sink, feed) = (sink(config(&[address])), Feed::new());
        feed.push(&*sink, (0..100).map(guild));
        until("it fails", || sink.report().retries >= 64).await;
        sink.finish().await;
        assert_eq!(feed.lane.outstanding(), 100);
        assert!(bot.requests() <= 128, "one more attempt at most of each");
    });
}
