//! What [`super::Machine::next_event`] takes, and what it leaves to the long way.

use super::*;

#[test]
fn the_short_way_takes_only_the_next_plain_event_of_an_active_session() {
    let mut bench = Bench::identified();
    let header = |text: &str| frame::sniff(text.as_bytes()).expect("a header");
    let message = |seq| header(&dispatch("MESSAGE_CREATE", seq));
    for other in [message(1), message(3), header(&dispatch("GUILD_CREATE", 2)), header(r#"{"op":11,"s":2}"#)] {
        assert_eq!(bench.machine.next_event(other), None, "{other:?}");
    }
    assert_eq!(bench.machine.next_event(message(2)), Some(2));
    assert_eq!(bench.machine.next_event(message(2)), None, "once only");
    bench.tell(Input::Closed(None));
    bench.tell(Input::Opened);
    bench.payload(&hello());
    assert_eq!(bench.machine.state(), ShardState::Resuming);
    assert_eq!(bench.machine.next_event(message(3)), None, "each event of a replay moves its deadline");
}
