//! What the machine says of guilds that come and go.

use super::*;
use crate::gateway::guilds;

#[test]
fn a_delivery_says_what_it_means_for_its_guild() {
    let note = |outputs: &[Output]| match outputs {
        [Output::Deliver(_, _, note)] => *note,
        _ => panic!("{outputs:?}"),
    };
    let unavailable =
        |kind, seq| json!({"t": kind, "s": seq, "op": 0, "d": {"id": "7", "unavailable": true}}).to_string();
    let mut bench = Bench::identified();
    assert_eq!(note(&bench.payload(&dispatch("GUILD_CREATE", 2))), GuildNote::Loaded);
    assert_eq!(note(&bench.payload(&unavailable("GUILD_DELETE", 3))), GuildNote::Unavailable);
    assert_eq!(note(&bench.payload(&dispatch("GUILD_CREATE", 4))), GuildNote::Available);
    assert_eq!(note(&bench.payload(&dispatch("GUILD_UPDATE", 5))), GuildNote::None);
    assert_eq!(note(&bench.payload(&dispatch("GUILD_DELETE", 6))), GuildNote::Removed);
    assert_eq!(note(&bench.payload(&unavailable("GUILD_CREATE", 7))), GuildNote::Unavailable, "added in an outage");
    assert_eq!(note(&bench.payload(&dispatch("GUILD_CREATE", 8))), GuildNote::Added);
    assert_eq!(bench.payload(&dispatch("GUILD_CREATE", 8)), [], "once");
    assert_eq!(bench.machine.guilds().changes(6).len(), 4);
    bench.tell(Input::Stored(6));
    assert_eq!(bench.machine.guilds().as_stored().ids().collect::<Vec<_>>(), [8]);
}

#[test]
fn a_ready_that_is_replayed_lists_guilds_too() {
    let mut bench = Bench::new(Some(session(0)));
    let known = [7, 9].map(|id| guilds::entry(id, guilds::GuildState::Here));
    bench.machine.guilds = Guilds::unpack(known.to_vec());
    bench.tell(Input::Start);
    bench.tell(Input::Opened);
    bench.payload(&hello());
    assert_eq!(bench.payload(&ready(1)), [Output::Deliver(EventKind::READY, 1, GuildNote::None)]);
    assert_eq!(bench.machine.take_vanished(), [9]);
    let loaded = bench.payload(&dispatch("GUILD_CREATE", 2));
    assert_eq!(loaded, [Output::Deliver(EventKind::GUILD_CREATE, 2, GuildNote::Loaded)]);
    let added = bench.payload(&json!({"t": "GUILD_CREATE", "s": 3, "op": 0, "d": {"id": "8"}}).to_string());
    assert_eq!(added, [Output::Deliver(EventKind::GUILD_CREATE, 3, GuildNote::Added)]);
}
