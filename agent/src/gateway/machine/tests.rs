//! The machine by scenarios, one for each rule, and against any order of inputs.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::{Compression, Secret};
use crate::gateway::commands::Ticket;
use crate::gateway::guilds::GuildNote;
use crate::gateway::payload::Payload;
use crate::gateway::session::Timeouts;

mod anew;
mod coming;
mod short_way;

const GATEWAY: &str = "ws://gateway";
const RESUME: &str = "ws://resume";

fn generation() -> Arc<Generation> {
    Arc::new(Generation {
        number: 1,
        total: 4,
        token: Secret::new("token"),
        intents: 513,
        version: 10,
        compression: Compression::Zlib,
        gateway_url: GATEWAY.to_owned(),
        large_threshold: 50,
        presence: None,
        timeouts: Timeouts {
            connect: Duration::from_secs(10),
            hello: Duration::from_secs(20),
            ready: Duration::from_secs(30),
        },
    })
}

fn session(stored: u64) -> Session {
    Session { id: "s0".into(), resume_url: RESUME.into(), user: 0, received: stored, stored }
}

fn hello() -> String {
    json!({"t": null, "s": null, "op": 10, "d": {"heartbeat_interval": 40_000}}).to_string()
}

fn ready(seq: u64) -> String {
    let guilds = json!([{"id": "7", "unavailable": true}, {"id": "8", "unavailable": true}]);
    json!({"t": "READY", "s": seq, "op": 0, "d": {"session_id": "s1", "resume_gateway_url": RESUME, "guilds": guilds}})
        .to_string()
}

fn dispatch(kind: &str, seq: u64) -> String {
    json!({"t": kind, "s": seq, "op": 0, "d": {"id": "7"}}).to_string()
}

/// A machine with its clock, and what it last said.
struct Bench {
    machine: Machine,
    now: Instant,
}

impl Bench {
    fn new(session: Option<Session>) -> Self {
        Self { machine: Machine::new(2, generation(), session, 1), now: Instant::now() }
    }

    fn tell(&mut self, input: Input<'_>) -> Vec<Output> {
        self.machine.handle(input, self.now);
        std::iter::from_fn(|| self.machine.poll_output()).filter(|output| !matches!(output, Output::Life(_))).collect()
    }

    /// As the driver does it: the short way first.
    fn payload(&mut self, text: &str) -> Vec<Output> {
        let header = frame::sniff(text.as_bytes()).expect("a payload has a header");
        if let Some(seq) = self.machine.next_event(header) {
            return vec![Output::Deliver(header.kind, seq, GuildNote::None)];
        }
        self.tell(Input::Payload(text.as_bytes(), header))
    }

    /// Lets the next deadline pass.
    fn pass(&mut self) -> Vec<Output> {
        self.now = self.machine.wait().expect("something is awaited").until;
        self.tell(Input::Timer)
    }

    /// Up to READY by an identify.
    fn identified() -> Self {
        let mut bench = Self::new(None);
        bench.tell(Input::Start);
        bench.tell(Input::Dial);
        bench.tell(Input::Opened);
        bench.payload(&hello());
        bench.tell(Input::Permit);
        bench.payload(&ready(1));
        assert_eq!(bench.machine.state(), ShardState::Active);
        bench
    }
}

fn sent(outputs: &[Output]) -> Vec<Value> {
    let texts = outputs.iter().filter_map(|output| match output {
        Output::Send(text) => Some(serde_json::from_str(text).expect("what is sent is JSON")),
        _ => None,
    });
    texts.collect()
}

fn connects(outputs: &[Output]) -> Option<&str> {
    outputs.iter().find_map(|output| match output {
        Output::Connect(url) => Some(url.as_str()),
        _ => None,
    })
}

#[test]
fn an_identify_waits_for_its_turn_dials_up_to_hello_and_waits_for_the_permit() {
    let mut bench = Bench::new(None);
    assert_eq!(bench.tell(Input::Start), [Output::RequestPermit]);
    assert_eq!(connects(&bench.tell(Input::Dial)), Some("ws://gateway/?v=10&encoding=json&compress=zlib-stream"));
    bench.tell(Input::Opened);
    assert_eq!(bench.payload(&hello()), [Output::PermitReady]);
    assert_eq!(bench.machine.state(), ShardState::Queued);
    let outputs = bench.tell(Input::Permit);
    assert_eq!(sent(&outputs)[0]["op"], 2);
    assert_eq!(sent(&outputs)[0]["d"]["shard"], json!([2, 4]));
    assert_eq!(outputs[1], Output::PermitUsed);
    let outputs = bench.payload(&ready(1));
    assert_eq!(
        outputs,
        [Output::SessionStarted, Output::Deliver(EventKind::READY, 1, GuildNote::None), Output::PermitDone]
    );
    assert_eq!(bench.machine.guilds().unavailable(), 2);
}

#[test]
fn a_stored_session_is_resumed_at_its_own_url_without_a_permit() {
    let mut bench = Bench::new(Some(session(41)));
    let outputs = bench.tell(Input::Start);
    assert_eq!(connects(&outputs), Some("ws://resume/?v=10&encoding=json&compress=zlib-stream"));
    bench.tell(Input::Opened);
    let outputs = bench.payload(&hello());
    assert_eq!(sent(&outputs), [json!({"op": 6, "d": {"token": "token", "session_id": "s0", "seq": 41}})]);
    assert_eq!(bench.payload(&dispatch("MESSAGE_CREATE", 42)).len(), 1);
    assert_eq!(bench.machine.state(), ShardState::Resuming);
    bench.payload(&dispatch("RESUMED", 43));
    assert_eq!(bench.machine.state(), ShardState::Active);
}

#[test]
fn when_the_resume_url_fails_the_cached_gateway_url_is_used_until_a_success() {
    let mut bench = Bench::new(Some(session(41)));
    bench.tell(Input::Start);
    bench.tell(Input::ConnectFailed);
    assert!(connects(&bench.pass()).expect("tries again").starts_with(GATEWAY));
    bench.tell(Input::Opened);
    bench.payload(&hello());
    bench.payload(&dispatch("RESUMED", 42));
    assert!(connects(&bench.tell(Input::Closed(None))).expect("at once").starts_with(RESUME));
}

#[test]
fn after_a_loss_replays_of_what_was_received_are_dropped_but_the_resume_asks_from_what_is_stored() {
    let mut bench = Bench::identified();
    for seq in 2..10 {
        bench.payload(&dispatch("MESSAGE_CREATE", seq));
    }
    bench.tell(Input::Stored(4));
    bench.tell(Input::Closed(None));
    bench.tell(Input::Opened);
    assert_eq!(sent(&bench.payload(&hello()))[0]["d"]["seq"], 4);
    for seq in 5..10 {
        assert_eq!(bench.payload(&dispatch("MESSAGE_CREATE", seq)), [], "{seq}");
    }
    assert_eq!(bench.payload(&dispatch("RESUMED", 10)).len(), 1);
}

#[test]
fn each_close_code_leads_where_the_table_says() {
    for fact in super::super::close::CLOSE_CODES {
        let mut bench = Bench::identified();
        let outputs = bench.tell(Input::Closed(Some(fact.code)));
        let lost = outputs.contains(&Output::SessionLost);
        match fact.action {
            CloseAction::Resume => assert!(!lost && connects(&outputs).is_some(), "{}", fact.code),
            CloseAction::Identify => assert!(lost && outputs.contains(&Output::RequestPermit), "{}", fact.code),
            CloseAction::Fatal | CloseAction::TokenRefused => {
                assert!(lost && connects(&outputs).is_none() && bench.machine.wait().is_none(), "{}", fact.code);
                assert_eq!(bench.machine.state(), ShardState::Fatal);
            }
        }
        assert_eq!(outputs.contains(&Output::TokenRefused), fact.action == CloseAction::TokenRefused);
    }
}

#[test]
fn op_7_and_op_9_true_resume_at_once_and_op_9_false_identifies() {
    for (payload, resumes) in [
        (json!({"op": 7, "d": null}), true),
        (json!({"op": 9, "d": true}), true),
        (json!({"op": 9, "d": false}), false),
    ] {
        let mut bench = Bench::identified();
        let outputs = bench.payload(&payload.to_string());
        assert!(outputs.contains(&Output::Disconnect(RECONNECT_CODE)));
        assert_eq!(connects(&outputs).is_some(), resumes, "{payload}");
        assert_eq!(outputs.contains(&Output::RequestPermit), !resumes, "{payload}");
    }
}

#[test]
fn op_7_may_come_instead_of_hello() {
    let mut bench = Bench::new(Some(session(1)));
    bench.tell(Input::Start);
    bench.tell(Input::Opened);
    assert!(bench.payload(&json!({"op": 7, "d": null}).to_string()).contains(&Output::Disconnect(RECONNECT_CODE)));
    assert!(connects(&bench.pass()).is_some());
}

#[test]
fn heartbeats_carry_what_is_stored_and_only_op_11_acknowledges_them() {
    let mut bench = Bench::identified();
    bench.payload(&dispatch("MESSAGE_CREATE", 2));
    assert_eq!(sent(&bench.pass()), [json!({"op": 1, "d": null})]);
    bench.tell(Input::Stored(2));
    assert_eq!(bench.payload(&json!({"op": 11}).to_string()), [Output::Latency(Duration::ZERO)]);
    assert_eq!(sent(&bench.pass()), [json!({"op": 1, "d": 2})]);
    bench.payload(&dispatch("MESSAGE_CREATE", 3));
    let outputs = bench.pass();
    assert!(outputs.contains(&Output::Disconnect(RECONNECT_CODE)) && connects(&outputs).is_some());
}

#[test]
fn discord_may_ask_for_a_heartbeat() {
    let mut bench = Bench::identified();
    assert_eq!(sent(&bench.payload(&json!({"op": 1, "d": 1}).to_string()))[0]["op"], 1);
}

#[test]
fn every_wait_ends() {
    for steps in 0..4 {
        let mut bench = Bench::new(Some(session(1)));
        bench.tell(Input::Start);
        if steps > 0 {
            bench.tell(Input::Opened);
        }
        if steps > 1 {
            bench.payload(&hello());
        }
        if steps > 2 {
            bench.payload(&dispatch("MESSAGE_CREATE", 2));
        }
        let given_up = (0..4).find_map(|_| bench.pass().contains(&Output::Disconnect(RECONNECT_CODE)).then_some(()));
        assert!(given_up.is_some(), "after {steps} steps");
        assert!(bench.pass().iter().any(|output| matches!(output, Output::Connect(_))), "after {steps} steps");
    }
}

#[test]
fn a_permit_that_is_not_needed_any_more_is_given_back_once() {
    let mut bench = Bench::new(None);
    bench.tell(Input::Start);
    bench.tell(Input::Dial);
    bench.tell(Input::Opened);
    bench.payload(&hello());
    assert!(bench.tell(Input::Closed(None)).contains(&Output::PermitDone));
    assert_eq!(bench.tell(Input::Permit), []);
    assert_eq!(bench.pass(), [Output::RequestPermit]);
}

#[test]
fn restarts_resume_unless_an_identify_is_wanted() {
    let mut bench = Bench::identified();
    let outputs = bench.tell(Input::Restart { identify: false });
    assert!(outputs.contains(&Output::Disconnect(RECONNECT_CODE)) && connects(&outputs).is_some());
    let mut bench = Bench::identified();
    let outputs = bench.tell(Input::Restart { identify: true });
    assert!(outputs.contains(&Output::Disconnect(1000)) && outputs.contains(&Output::RequestPermit));
}

#[test]
fn a_gap_is_asked_for_again_unless_discord_leaves_it_out_itself() {
    let mut bench = Bench::identified();
    bench.payload(&dispatch("MESSAGE_CREATE", 2));
    bench.tell(Input::Stored(2));
    let outputs = bench.payload(&dispatch("MESSAGE_CREATE", 4));
    assert!(connects(&outputs).is_some() && !outputs.iter().any(|output| matches!(output, Output::Deliver(..))));
    bench.tell(Input::Opened);
    assert_eq!(sent(&bench.payload(&hello()))[0]["d"]["seq"], 2);
    assert_eq!(bench.payload(&dispatch("MESSAGE_CREATE", 4)).len(), 1, "the replay leaves 3 out, too");
    bench.payload(&dispatch("RESUMED", 5));
    assert_eq!(bench.payload(&dispatch("MESSAGE_CREATE", 9)).len(), 1, "gaps are usual");
}

#[test]
fn guilds_follow_what_discord_tells() {
    let mut bench = Bench::identified();
    bench.payload(&dispatch("GUILD_CREATE", 2));
    assert_eq!((bench.machine.guilds().len(), bench.machine.guilds().unavailable()), (2, 1));
    bench.payload(&json!({"t": "GUILD_DELETE", "s": 3, "op": 0, "d": {"id": "7", "unavailable": true}}).to_string());
    assert_eq!((bench.machine.guilds().len(), bench.machine.guilds().unavailable()), (2, 2));
    bench.payload(&dispatch("GUILD_DELETE", 4));
    assert_eq!((bench.machine.guilds().len(), bench.machine.guilds().unavailable()), (1, 1));
}

fn outgoing(number: u64, text: &str, expires: Instant) -> Outgoing {
    Outgoing { ticket: Ticket::Caller(number), payload: Payload::raw(text).expect("valid"), expires }
}

const LATER: Duration = Duration::from_secs(60);
const VOICE: &str = r#"{"op":4,"d":{"guild_id":"7"}}"#;
const IDLE: &str = r#"{"op":3,"d":{"status":"idle"}}"#;

#[test]
fn a_command_waits_until_the_session_is_back_and_leaves_in_order() {
    let mut bench = Bench::identified();
    let command = |bench: &mut Bench, number| {
        let outgoing = outgoing(number, VOICE, bench.now + LATER);
        bench.tell(Input::Command(&outgoing))
    };
    let told = |number, standing| Output::Command(Ticket::Caller(number), standing);
    assert_eq!(command(&mut bench, 1), [Output::Send(VOICE.into()), told(1, Standing::Sent)]);
    bench.tell(Input::Closed(None));
    for number in 2..4 {
        assert_eq!(command(&mut bench, number), [told(number, Standing::Waits("the shard is not active"))]);
    }
    bench.tell(Input::Opened);
    assert_eq!(sent(&bench.payload(&hello())).len(), 1, "the resume alone");
    bench.payload(&dispatch("MESSAGE_CREATE", 2));
    let outputs = bench.payload(&dispatch("RESUMED", 3));
    let told: Vec<_> = outputs.iter().filter(|output| matches!(output, Output::Command(..))).cloned().collect();
    assert_eq!(told, [2, 3].map(|number| Output::Command(Ticket::Caller(number), Standing::Sent)));
    assert_eq!(sent(&outputs).len(), 2);
}

#[test]
fn a_command_that_waits_too_long_is_dropped_and_one_too_many_is_refused() {
    let mut bench = Bench::new(Some(session(1)));
    bench.tell(Input::Start);
    let now = bench.now;
    let mut refused = 0;
    for number in 0..70 {
        let outgoing = outgoing(number, VOICE, now + Duration::from_secs(3));
        let outputs = bench.tell(Input::Command(&outgoing));
        refused += usize::from(matches!(outputs[..], [Output::Command(_, Standing::Refused(_))]));
    }
    assert_eq!(refused, 6);
    assert_eq!(bench.machine.awaits().map(|wait| wait.why), Some("connection"), "people are told what counts");
    let outputs = bench.pass();
    assert_eq!(bench.now, now + Duration::from_secs(3));
    assert_eq!(outputs.len(), 64);
    assert!(outputs.iter().all(|output| matches!(output, Output::Command(_, Standing::Expired))));
}

#[test]
fn a_presence_is_remembered_and_identified_with() {
    let mut bench = Bench::identified();
    let idle = outgoing(1, IDLE, bench.now);
    assert_eq!(sent(&bench.tell(Input::Command(&idle)))[0]["d"]["status"], "idle");
    bench.tell(Input::Closed(Some(4009)));
    bench.tell(Input::Dial);
    bench.tell(Input::Opened);
    bench.payload(&hello());
    assert_eq!(sent(&bench.tell(Input::Permit))[0]["d"]["presence"]["status"], "idle");
    assert_eq!(sent(&bench.payload(&ready(1))), Vec::<Value>::new(), "told by the identify");
    bench.tell(Input::Closed(Some(4014)));
    let outputs = bench.tell(Input::Command(&idle));
    assert!(matches!(outputs[..], [Output::Command(_, Standing::Waits(_))]), "kept for a restart: {outputs:?}");
    let voice = outgoing(2, VOICE, bench.now + LATER);
    let outputs = bench.tell(Input::Command(&voice));
    assert!(matches!(outputs[..], [Output::Command(_, Standing::Refused("the shard is down"))]), "{outputs:?}");
}

#[test]
fn heartbeats_and_the_handshake_do_not_wait_behind_a_used_up_budget() {
    let mut bench = Bench::identified();
    let send = |bench: &mut Bench, count| {
        let voice = outgoing(1, VOICE, bench.now + 10 * LATER);
        (0..count).map(|_| sent(&bench.tell(Input::Command(&voice))).len()).sum::<usize>()
    };
    assert_eq!(send(&mut bench, 150), 116);
    assert_eq!(bench.machine.commands().left(bench.now), 0);
    assert_eq!(sent(&bench.payload(&json!({"op": 1}).to_string()))[0]["op"], 1);
    bench.payload(&json!({"op": 11}).to_string());
    let start = bench.now;
    let drained = (0..3).find_map(|_| Some(sent(&bench.pass()).len()).filter(|sent| *sent > 1)).expect("they go");
    assert_eq!(drained, 34);
    assert!(bench.now >= start + Duration::from_secs(60));
    assert_eq!(send(&mut bench, 116), 82);
    bench.tell(Input::Closed(None));
    bench.tell(Input::Opened);
    assert_eq!(sent(&bench.payload(&hello()))[0]["op"], 6, "at once");
    assert_eq!(sent(&bench.payload(&dispatch("RESUMED", 2))).len(), 34, "a connection has a budget of its own");
}

#[derive(Clone, Debug)]
enum Step {
    Command(u64, u64),
    Tell(u8),
    Payload(u8, u64),
    Close(u16),
    Stored(u64),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_u8..8).prop_map(Step::Tell),
        (0_u8..8, 0_u64..30).prop_map(|(kind, seq)| Step::Payload(kind, seq)),
        prop_oneof![Just(0_u16), Just(1000), 4000_u16..4016].prop_map(Step::Close),
        (0_u64..30).prop_map(Step::Stored),
        (1_u64..50, 0_u64..90).prop_map(|(count, seconds)| Step::Command(count, seconds)),
        (0_u64..70_000).prop_map(Step::Pass),
    ]
}

/// What a driver would hold, to check that the machine asks for nothing impossible.
#[derive(Default)]
struct Driver {
    /// Dialling or open.
    linked: bool,
    hello: bool,
    session: u32,
    delivered: u64,
    /// Commands sent on this connection.
    commands: Vec<Instant>,
    /// Commands that are not told as sent, refused or expired, with their expiry.
    open: VecDeque<(u64, Instant)>,
}

impl Driver {
    fn perform(&mut self, output: &Output, machine: &Machine, now: Instant) -> Result<(), TestCaseError> {
        match output {
            Output::Connect(_) => {
                prop_assert!(!self.linked, "two live sockets");
                (self.linked, self.hello) = (true, false);
                self.commands.clear();
            }
            Output::Disconnect(_) => self.linked = false,
            Output::Send(text) if text.contains("\"op\":4") => {
                prop_assert!(self.linked && machine.session().is_some(), "a command before the session");
                self.commands.push(now);
                let recent = self.commands.iter().filter(|at| **at + Duration::from_secs(60) > now).count();
                prop_assert!(recent <= 116, "{recent} commands in a minute");
            }
            Output::Command(Ticket::Caller(number), standing) => {
                let at = self.open.iter().position(|(open, _)| open == number);
                let (at, waited) = (at.expect("told once"), matches!(standing, Standing::Waits(_)));
                match standing {
                    Standing::Sent => {
                        let before = self.open.iter().take(at).all(|(_, expires)| *expires <= now);
                        prop_assert!(before, "out of order");
                        prop_assert!(self.open[at].1 > now, "sent when it had expired");
                    }
                    Standing::Expired => prop_assert!(self.open[at].1 <= now),
                    _ => {}
                }
                if !waited {
                    self.open.remove(at);
                }
            }
            Output::Send(text) => {
                prop_assert!(self.linked && self.hello, "sent before HELLO: {text}");
                let value: Value = serde_json::from_str(text).expect("JSON");
                let stored = machine.session().map_or(0, |session| session.stored);
                let carried = value["d"].as_u64().or(value["d"]["seq"].as_u64()).unwrap_or(0);
                prop_assert!(carried <= stored, "carries more than is stored");
            }
            Output::SessionStarted => (self.session, self.delivered) = (self.session + 1, 0),
            Output::Deliver(_, seq, _) => {
                prop_assert!(self.linked && *seq > self.delivered, "the sequence went back");
                self.delivered = *seq;
            }
            _ => {}
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn in_any_order_of_inputs_the_machine_keeps_its_promises(
        stored in prop::option::of(0_u64..20),
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let mut bench = Bench::new(stored.map(session));
        let mut number = 0;
        let mut driver = Driver { delivered: stored.unwrap_or(0), ..Driver::default() };
        for step in steps {
            let outputs = match step {
                Step::Tell(0) => bench.tell(Input::Start),
                Step::Tell(1) => bench.tell(Input::Dial),
                Step::Tell(2) => bench.tell(Input::Permit),
                Step::Tell(3) if driver.linked => bench.tell(Input::Opened),
                Step::Tell(4) if driver.linked => {
                    driver.linked = false;
                    bench.tell(if driver.hello { Input::Closed(None) } else { Input::ConnectFailed })
                }
                Step::Tell(5) => bench.tell(Input::Restart { identify: stored.is_none() }),
                Step::Tell(6) => bench.tell(Input::Close(4100)),
                Step::Tell(7) => bench.tell(Input::Held(stored.is_some())),
                Step::Tell(_) => continue,
                Step::Payload(..) | Step::Close(_) if !driver.linked => continue,
                Step::Payload(kind, seq) => {
                    let text = match kind {
                        0 => { driver.hello = true; hello() }
                        1 => ready(seq.max(1)),
                        2 => dispatch("RESUMED", seq),
                        3 => json!({"op": 7}).to_string(),
                        4 => json!({"op": 9, "d": seq % 2 == 0}).to_string(),
                        5 => json!({"op": 11}).to_string(),
                        6 => json!({"op": 1}).to_string(),
                        _ => dispatch("GUILD_CREATE", seq),
                    };
                    bench.payload(&text)
                }
                Step::Close(code) => {
                    driver.linked = false;
                    bench.tell(Input::Closed(Some(code).filter(|code| *code > 0)))
                }
                Step::Stored(seq) => bench.tell(Input::Stored(seq)),
                Step::Command(count, seconds) => {
                    let mut outputs = Vec::new();
                    for _ in 0..count {
                        number += 1;
                        let expires = bench.now + Duration::from_secs(1 + seconds);
                        driver.open.push_back((number, expires));
                        let outgoing = outgoing(number, VOICE, expires);
                        outputs.extend(bench.tell(Input::Command(&outgoing)));
                    }
                    outputs
                }
                Step::Pass(ms) => {
                    bench.now += Duration::from_millis(ms);
                    bench.tell(Input::Timer)
                }
            };
            for output in outputs {
                driver.perform(&output, &bench.machine, bench.now)?;
            }
            prop_assert!(driver.open.len() <= 64, "{} commands wait", driver.open.len());
            let due = driver.open.iter().map(|(_, expires)| *expires).min();
            prop_assert!(due.is_none_or(|due| bench.machine.wait().is_some_and(|wait| wait.until <= due)));
        }
        if let Some(session) = bench.machine.session() {
            prop_assert!(session.stored <= session.received);
        }
    }
}
