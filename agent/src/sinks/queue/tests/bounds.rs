//! What fails, expires or is large.

use super::*;

#[test]
fn what_a_failing_disk_does_not_take_is_attempted_from_memory() {
    let mut rig = Rig::new(4, 1, 1_000);
    rig.push(0, 1);
    rig.step(Step::Attempt);
    (0..3).for_each(|_| rig.push(0, 1));
    (0..3).for_each(|_| rig.push(1, 2));
    rig.step(Step::Tick(1_000));
    rig.step(Step::AppendFails);
    rig.push(0, 1);
    while !rig.out.is_empty() {
        rig.step(Step::Deliver(0));
        rig.step(Step::Attempt);
    }
    assert_eq!(rig.delivered[&0], [(1, 1), (2, 1), (3, 1), (4, 1), (5, 1)]);
    assert_eq!(rig.delivered[&1].len(), 3);
    assert!(rig.lanes.iter().all(|lane| lane.outstanding() == 0));
}

#[test]
fn while_the_disk_fails_one_shard_at_a_time_tries_it() {
    let mut rig = Rig::new(4, 1, 1_000);
    (0..3).for_each(|shard| rig.push(shard, 1));
    rig.step(Step::Tick(1_000));
    rig.step(Step::AppendFails);
    for _ in 0..3 {
        rig.step(Step::Tick(50));
        assert_eq!(rig.queue.take_append().map(<[Spilled]>::len), Some(1));
        assert!(rig.queue.waiting.is_empty(), "the others' events are in memory");
        rig.queue.append_failed();
    }
    rig.step(Step::Tick(50));
    rig.step(Step::Append(false));
    rig.step(Step::Append(false));
    assert_eq!(rig.queue.spooled(), 3);
}

#[test]
fn a_purge_neither_counts_nor_forgets_what_is_being_attempted() {
    let mut rig = Rig::new(1, 1, 1_000);
    rig.push(0, 1);
    rig.step(Step::Attempt);
    let lane = Lane::new(1, 0, "letters", 0, Progress::new());
    rig.queue.push_again(event(&lane, 1, 0), Rc::clone(&lane), 1, rig.now);
    assert_eq!(rig.queue.purge(rig.now), 1);
    rig.step(Step::Tick(1_000));
    rig.step(Step::Append(false));
    assert_eq!((rig.lanes[0].confirmed(), rig.queue.spooled()), (1, 1));
}

#[test]
fn loads_of_many_shards_stay_within_the_window() {
    for bytes in [10, 300_000] {
        let mut rig = Rig::new(8, 1, 1_000);
        (0..300).for_each(|shard| rig.queue.recover(shard, 0, 1_000));
        rig.queue.hurry(true);
        let mut most = 0;
        loop {
            let loads: Vec<Load> = std::iter::from_fn(|| rig.queue.take_load(rig.now)).collect();
            if loads.is_empty() {
                break;
            }
            assert!(loads.len() <= 4, "{} at once", loads.len());
            for load in loads {
                let lane = Lane::new(1, load.shard, "session", 0, Progress::new());
                let records = (load.from..).take(load.count.min(4)).map(|index| (index, event(&lane, index, bytes)));
                let records: Vec<_> = records.collect();
                let next = load.from + records.len() as u64;
                rig.queue.loaded(load, Loaded { records, expired: Vec::new(), next });
                most = most.max(rig.queue.window.used().bytes);
            }
        }
        assert!(rig.queue.queued() <= WINDOW.events && most <= WINDOW.bytes + 16 * bytes, "{most} bytes");
        assert!(rig.queue.queued() == WINDOW.events || most >= WINDOW.bytes, "there is room left");
    }
}

#[test]
fn an_append_is_bounded_in_bytes() {
    let mut rig = Rig::new(1, 1, 1_000);
    let lane = Rc::clone(&rig.lanes[0]);
    (1..=20).for_each(|seq| rig.queue.push_again(event(&lane, seq, 300_000), Rc::clone(&lane), seq, rig.now));
    assert_eq!(rig.queue.take_append().map(<[Spilled]>::len), Some(4));
}

#[test]
fn while_the_first_of_a_backlog_gets_on_little_is_passed_over() {
    let mut rig = Rig::with_window(2, 1, 1_000, Size { events: 8, bytes: 1_000 });
    (0..200).for_each(|n| rig.push(0, 1 + n % 2));
    rig.step(Step::SessionLost(0));
    rig.step(Step::Append(false));
    rig.queue.hurry(true);
    rig.unreadable.clear();
    let unread = |rig: &Rig| rig.queue.streams[&0].backlog.as_ref().expect("there is one").unloaded();
    let work = |rig: &mut Rig| {
        for step in [Step::Load, Step::Answer(0), Step::Attempt] {
            rig.step(step);
        }
        if let Some(taken) = rig.out.iter().position(|batch| !Rig::is_stuck(batch)) {
            rig.deliver(taken);
        }
    };
    (0..1_000).for_each(|_| work(&mut rig));
    assert!(unread(&rig) > 180, "{} were read", 200 - unread(&rig));
    (0..3).for_each(|_| rig.step(Step::Tick(1)));
    (0..1_000).for_each(|_| work(&mut rig));
    assert_eq!((unread(&rig), rig.missing(0, STUCK.1)), (0, vec![]));
}

/// Memory has it, and lets it expire itself; the spool knows nothing of that.
#[test]
fn what_expires_counts_once_though_memory_and_spool_have_it() {
    let mut rig = Rig::new(1, 1, 1_000);
    (0..4).for_each(|_| rig.push(0, 1));
    rig.step(Step::Attempt);
    rig.step(Step::Tick(1_000));
    rig.step(Step::Append(false));
    let load = rig.queue.take_load(rig.now).expect("a backlog");
    let (from, records) = (load.from, Vec::new());
    let found = Loaded { records, expired: vec![from - 1, from, from + 1], next: from + 2 };
    assert_eq!(rig.queue.loaded(load, found), 2, "the first is being attempted");
}
