//! What a session that is lost leaves to the next one.

use super::*;

/// A machine that was active and got this.
fn after(payload: Option<Value>, code: Option<u16>) -> Bench {
    let mut bench = Bench::identified();
    bench.payload(&dispatch("MESSAGE_CREATE", 2));
    bench.tell(Input::Stored(2));
    match payload {
        Some(payload) => bench.payload(&payload.to_string()),
        None => bench.tell(Input::Closed(code)),
    };
    bench
}

#[test]
fn after_a_lost_session_the_next_is_identified_at_the_gateway_url_and_begins_at_nothing() {
    let losses = [(Some(json!({"op": 9, "d": false})), None), (None, Some(4003)), (None, Some(4007))];
    for (payload, code) in losses {
        let mut bench = after(payload, code);
        let dialled = bench.tell(Input::Dial);
        assert!(connects(&dialled).is_some_and(|url| url.starts_with(GATEWAY)), "{code:?}: {dialled:?}");
        bench.tell(Input::Opened);
        bench.payload(&hello());
        let identify = sent(&bench.tell(Input::Permit));
        assert_eq!(identify[0]["op"], 2, "{code:?}");
        // A first heartbeat that comes before READY.
        let beats = sent(&bench.payload(&json!({"op": 1, "d": null}).to_string()));
        assert_eq!(beats, [json!({"op": 1, "d": null})], "{code:?}");
    }
}
