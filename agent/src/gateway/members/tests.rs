//! Requests for members by scenarios, one for each rule, and against a Discord that answers as it likes.

use std::collections::HashMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const SHARD: u32 = 3;
const GUILD: GuildId = GuildId(7);

/// A broker with its clock.
struct Bench {
    members: Members,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        Self { members: Members::new(1), now: Instant::now() }
    }

    fn tell(&mut self, input: MembersInput<'_>) -> Vec<MembersOutput> {
        self.members.handle(input, self.now);
        std::iter::from_fn(|| self.members.poll_output()).collect()
    }

    fn ask(&mut self, asker: u64, who: Who) -> Vec<MembersOutput> {
        self.tell(MembersInput::Ask(asker, SHARD, MembersRequest { guild: GUILD, who, presences: false }))
    }

    fn pass(&mut self, seconds: u64) -> Vec<MembersOutput> {
        self.now += Duration::from_secs(seconds);
        self.tell(MembersInput::Timer)
    }

    /// Asks and has it sent; the nonce.
    fn sent(&mut self, asker: u64, who: Who) -> String {
        let outputs = self.ask(asker, who);
        self.leave(&outputs)
    }

    /// The shard sends what it was given; the nonce.
    fn leave(&mut self, outputs: &[MembersOutput]) -> String {
        let [MembersOutput::Send(SHARD, outgoing)] = outputs else { panic!("not one request: {outputs:?}") };
        let Ticket::Members(number) = outgoing.ticket else { panic!("{outgoing:?}") };
        assert_eq!(self.tell(MembersInput::Standing(number, Standing::Sent)), []);
        let data: Value = serde_json::from_str(outgoing.payload.text()).expect("JSON");
        let nonce = data["d"]["nonce"].as_str().expect("a nonce").to_owned();
        assert!(nonce.len() <= 32, "Discord ignores longer ones");
        nonce
    }

    fn chunk(&mut self, nonce: &str, index: usize, count: usize) -> Vec<MembersOutput> {
        self.tell(MembersInput::Chunk(chunk(nonce, index, count).as_bytes()))
    }
}

fn chunk(nonce: &str, index: usize, count: usize) -> String {
    let members = json!([{"user": {"id": format!("{}", 10 + index)}}, {"user": {"id": format!("{}", 20 + index)}}]);
    let (missing, presences) = (json!([format!("{index}")]), json!([{"status": "idle"}]));
    let data = json!({"guild_id": "7", "members": members, "chunk_index": index, "chunk_count": count,
        "not_found": missing, "presences": presences, "nonce": nonce});
    json!({"t": "GUILD_MEMBERS_CHUNK", "s": 5, "op": 0, "d": data}).to_string()
}

fn limited(nonce: Option<&str>, seconds: f64) -> String {
    let meta = nonce.map_or(json!({"guild_id": "7"}), |nonce| json!({"guild_id": "7", "nonce": nonce}));
    let data = json!({"opcode": 8, "retry_after": seconds, "meta": meta});
    json!({"t": "RATE_LIMITED", "s": 5, "op": 0, "d": data}).to_string()
}

fn answers(outputs: &[MembersOutput]) -> Vec<(u64, Result<Arc<MembersAnswer>, MembersError>)> {
    let answers = outputs.iter().filter_map(|output| match output {
        MembersOutput::Answer(asker, answer) => Some((*asker, answer.clone())),
        MembersOutput::Send(..) => None,
    });
    answers.collect()
}

fn only(outputs: &[MembersOutput]) -> Result<Arc<MembersAnswer>, MembersError> {
    let mut answers = answers(outputs);
    assert_eq!(answers.len(), 1, "{outputs:?}");
    answers.remove(0).1
}

#[test]
fn chunks_in_any_order_make_one_answer_for_all_who_asked_the_same() {
    let mut bench = Bench::new();
    let nonce = bench.sent(1, Who::Everyone);
    assert_eq!(bench.ask(2, Who::Everyone), [], "the same is asked once");
    for index in [2, 0, 2] {
        assert_eq!(bench.chunk(&nonce, index, 3), []);
    }
    assert_eq!(bench.chunk("0000000000000000", 1, 3), [], "somebody else's");
    let outputs = bench.chunk(&nonce, 1, 3);
    let answers = answers(&outputs);
    assert_eq!(answers.iter().map(|(asker, _)| *asker).collect::<Vec<_>>(), [1, 2]);
    let answer = answers[0].1.as_ref().expect("an answer");
    assert_eq!((answer.members.len(), answer.chunks, &answer.partial), (6, (3, 3), &None));
    assert_eq!(answer.members.first_users(9), [10, 20, 11, 21, 12, 22]);
    assert_eq!(answer.not_found.json(), r#"["0","1","2"]"#);
    assert_eq!(answer.presences.len(), 3);
    assert!(bench.members.is_empty() && bench.members.wait().is_none());
}

#[test]
fn all_members_of_a_guild_are_asked_for_once_in_thirty_seconds() {
    let mut bench = Bench::new();
    let nonce = bench.sent(1, Who::Everyone);
    assert!(bench.chunk(&nonce, 0, 1).len() == 1);
    assert_eq!(bench.ask(2, Who::Everyone), []);
    bench.sent(3, Who::Users(vec![1]));
    assert_eq!(answers(&bench.pass(29)).len(), 1, "nobody answered the other one");
    let again = bench.pass(2);
    let nonce = bench.leave(&again);
    assert!(only(&bench.chunk(&nonce, 0, 1)).is_ok());
}

#[test]
fn discord_says_when_to_come_again() {
    let mut bench = Bench::new();
    let nonce = bench.sent(1, Who::Everyone);
    let said = limited(Some(&nonce), 12.5);
    assert_eq!(bench.tell(MembersInput::RateLimited(said.as_bytes())), []);
    assert_eq!(bench.pass(12), []);
    let again = bench.pass(1);
    assert_eq!(bench.leave(&again), nonce);
    assert!(only(&bench.chunk(&nonce, 0, 1)).is_ok());
    let nonce = bench.ask(2, Who::Everyone);
    assert_eq!(nonce, []);
    let said = limited(None, 100.0);
    let refused = only(&bench.tell(MembersInput::RateLimited(said.as_bytes()))).expect_err("its turn comes too late");
    assert!(matches!(refused, MembersError::RateLimited(_)) && refused.to_string().contains("101 s"), "{refused}");
    for odd in [limited(Some("x"), -1.0), limited(None, 1e300), "{\"d\":{\"opcode\":3}}".into(), "{}".into()] {
        bench.tell(MembersInput::RateLimited(odd.as_bytes()));
    }
}

#[test]
fn what_came_is_given_as_a_part_when_no_more_comes() {
    let mut bench = Bench::new();
    let nonce = bench.sent(1, Who::Everyone);
    bench.pass(9);
    bench.chunk(&nonce, 1, 3);
    assert_eq!(bench.pass(9), []);
    let answer = only(&bench.pass(1)).expect("a part");
    assert_eq!((answer.members.len(), answer.chunks), (2, (1, 3)));
    assert_eq!(answer.partial.as_deref(), Some("no chunk came for 10 s"));
    let mut bench = Bench::new();
    bench.sent(1, Who::Users(vec![5]));
    let refused = only(&bench.pass(10)).expect_err("nothing came");
    assert_eq!(refused, MembersError::Unanswered("no chunk came for 10 s".into()));
}

#[test]
fn nothing_is_open_for_more_than_a_minute() {
    let mut bench = Bench::new();
    let nonce = bench.sent(1, Who::Everyone);
    for index in 0..6 {
        bench.chunk(&nonce, index, 50);
        assert_eq!(bench.pass(9), []);
    }
    bench.chunk(&nonce, 9, 50);
    assert_eq!(only(&bench.pass(6)).expect("a part").partial.as_deref(), Some("60 s are over"));
    assert_eq!(bench.ask(2, Who::Users(vec![5])).len(), 1);
    assert!(only(&bench.pass(60)).is_err(), "the shard never sent it");
}

#[test]
fn a_session_that_ends_has_its_requests_asked_again() {
    let mut bench = Bench::new();
    let nonce = bench.sent(1, Who::Named("a".into(), 5));
    bench.chunk(&nonce, 0, 2);
    bench.tell(MembersInput::Away(SHARD));
    assert_eq!(bench.pass(15), [], "silence of a lost connection says nothing");
    let again = bench.tell(MembersInput::SessionLost(SHARD));
    assert_eq!(bench.leave(&again), nonce);
    assert_eq!(bench.chunk(&nonce, 1, 2), [], "chunks of the former session do not count");
    assert!(only(&bench.chunk(&nonce, 0, 2)).is_ok());
    assert_eq!(bench.tell(MembersInput::SessionLost(SHARD)), []);
}

#[test]
fn after_a_resume_only_what_brought_nothing_is_asked_again() {
    let mut bench = Bench::new();
    let begun = bench.sent(1, Who::Named("a".into(), 5));
    bench.sent(2, Who::Named("b".into(), 5));
    bench.chunk(&begun, 0, 2);
    assert_eq!(bench.tell(MembersInput::Resumed(SHARD)), [], "their connection was not lost");
    bench.tell(MembersInput::Away(SHARD));
    bench.tell(MembersInput::Resumed(SHARD + 1));
    let again = bench.tell(MembersInput::Resumed(SHARD));
    let nonce = bench.leave(&again);
    assert_ne!(nonce, begun);
    assert!(only(&bench.chunk(&begun, 1, 2)).is_ok());
    assert!(only(&bench.chunk(&nonce, 0, 1)).is_ok());
}

#[test]
fn what_the_shard_does_not_send_is_told() {
    for (standing, words) in [(Standing::Refused("too many"), "too many"), (Standing::Expired, "not active in time")] {
        let mut bench = Bench::new();
        let outputs = bench.ask(1, Who::Everyone);
        let [MembersOutput::Send(_, Outgoing { ticket: Ticket::Members(number), .. })] = outputs[..] else { panic!() };
        assert_eq!(bench.tell(MembersInput::Standing(number, Standing::Waits("later"))), []);
        let refused = only(&bench.tell(MembersInput::Standing(number, standing))).expect_err("not sent");
        assert!(refused.to_string().contains(words), "{refused}");
        assert_eq!(bench.ask(2, Who::Everyone).len(), 1, "the guild's turn was not used");
    }
}

#[test]
fn open_requests_are_bounded() {
    let mut bench = Bench::new();
    let taken = (0..300).filter(|user| answers(&bench.ask(*user, Who::Users(vec![*user]))).is_empty());
    assert_eq!(taken.count(), OPEN);
    assert_eq!(only(&bench.ask(1_000, Who::Users(vec![999]))), Err(MembersError::Busy));
}

#[test]
fn what_discord_would_refuse_is_refused_here() {
    let who = |query: Option<&str>, limit, users: u64| Who::of(query.map(str::to_owned), limit, (0..users).collect());
    assert_eq!(who(None, None, 0), Ok(Who::Everyone));
    assert_eq!(who(Some(""), Some(0), 0), Ok(Who::Everyone));
    assert_eq!(who(Some("a"), None, 0), Ok(Who::Named("a".into(), 100)));
    assert_eq!(who(None, Some(5), 0), Ok(Who::Named(String::new(), 5)));
    assert_eq!(who(Some("a"), Some(0), 0), Err(MembersError::Limit(0)));
    assert_eq!(who(None, Some(101), 0), Err(MembersError::Limit(101)));
    assert_eq!(who(None, None, 101), Err(MembersError::Users(101)));
    assert_eq!(who(Some("a"), None, 1), Err(MembersError::Both));

    let request = |who, presences| MembersRequest { guild: GUILD, who, presences };
    let refused = request(Who::Everyone, false).check(1).expect_err("no GUILD_MEMBERS").to_string();
    assert!(refused.contains("GUILD_MEMBERS") && refused.contains("PILOTHOUSE_INTENTS"), "{refused}");
    assert_eq!(request(Who::Everyone, false).check(2), Ok(()));
    assert_eq!(request(Who::Users(vec![1]), false).check(0), Ok(()));
    assert!(request(Who::Users(vec![1]), true).check(2).is_err());
    assert_eq!(request(Who::Everyone, true).check(258), Ok(()));
    assert!(request(Who::Named("x".repeat(5_000), 1), false).payload(1).is_err());
    assert!(request(Who::Users((0..100).map(|nth| u64::MAX - nth).collect()), true).payload(1).is_ok());
}

#[test]
fn broken_chunks_are_left_out() {
    let mut bench = Bench::new();
    let nonce = bench.sent(1, Who::Everyone);
    let good = chunk(&nonce, 0, 1);
    for (from, to) in
        [("\"members\":[", "\"members\":[{]"), ("\"chunk_count\":1", "\"chunk_count\":0"), ("\"d\":", "\"e\":")]
    {
        assert!(good.contains(from));
        assert_eq!(bench.tell(MembersInput::Chunk(good.replacen(from, to, 1).as_bytes())), [], "{to}");
    }
    assert!(only(&bench.chunk(&nonce, 0, 1)).is_ok());
}

/// A request that Discord has, and how it answers.
struct Asked {
    nonce: String,
    chunks: Vec<usize>,
    count: usize,
}

/// A shard and a Discord that do as they like, and what they and those who ask have seen.
struct World {
    bench: Bench,
    asked_at: HashMap<u64, Instant>,
    answered_at: HashMap<u64, Instant>,
    /// Given to the shard, not sent.
    handed: VecDeque<u64>,
    at_discord: Vec<Asked>,
    /// Requests for everyone, with their guild.
    for_everyone: HashMap<u64, String>,
    /// When everyone of a guild was last asked for.
    everyone_at: HashMap<String, Instant>,
}

impl World {
    fn new() -> Self {
        Self {
            bench: Bench::new(),
            asked_at: HashMap::new(),
            answered_at: HashMap::new(),
            handed: VecDeque::new(),
            at_discord: Vec::new(),
            for_everyone: HashMap::new(),
            everyone_at: HashMap::new(),
        }
    }

    fn step(&mut self, nth: u64, kind: u8, value: u64) -> Result<(), TestCaseError> {
        let outputs = match kind {
            0 => {
                self.bench.now += Duration::from_millis(value);
                self.bench.tell(MembersInput::Timer)
            }
            1 | 2 => self.ask(nth, value),
            3 => self.leave(value)?,
            4 | 5 => self.answer(value),
            6 => self.put_off(value),
            7 => {
                self.at_discord.clear();
                self.bench.tell(MembersInput::SessionLost(SHARD))
            }
            _ => {
                let outputs = self.bench.tell(MembersInput::Away(SHARD));
                outputs.into_iter().chain(self.bench.tell(MembersInput::Resumed(SHARD))).collect()
            }
        };
        outputs.into_iter().try_for_each(|output| self.check(output))?;
        prop_assert_eq!(self.bench.members.wait().is_none(), self.bench.members.is_empty());
        Ok(())
    }

    fn ask(&mut self, asker: u64, value: u64) -> Vec<MembersOutput> {
        let who = if value.is_multiple_of(3) { Who::Users(vec![value]) } else { Who::Everyone };
        self.asked_at.insert(asker, self.bench.now);
        let request = MembersRequest { guild: GuildId(value % 4), who, presences: value.is_multiple_of(2) };
        self.bench.tell(MembersInput::Ask(asker, SHARD, request))
    }

    /// The shard sends or refuses what it was given first.
    fn leave(&mut self, value: u64) -> Result<Vec<MembersOutput>, TestCaseError> {
        let Some(number) = self.handed.pop_front() else { return Ok(Vec::new()) };
        if value == 0 {
            return Ok(self.bench.tell(MembersInput::Standing(number, Standing::Refused("full"))));
        }
        let (count, nonce) = (1 + value as usize % 3, format!("{number:016x}"));
        self.at_discord.push(Asked { nonce, chunks: (0..count).collect(), count });
        if let Some(guild) = self.for_everyone.get(&number) {
            let before = self.everyone_at.insert(guild.clone(), self.bench.now);
            let calm = before.is_none_or(|at| self.bench.now - at >= Duration::from_secs(30));
            prop_assert!(calm, "all members of guild {guild} twice in 30 s");
        }
        Ok(self.bench.tell(MembersInput::Standing(number, Standing::Sent)))
    }

    fn answer(&mut self, value: u64) -> Vec<MembersOutput> {
        let requests = self.at_discord.len().max(1);
        let asked = self.at_discord.get_mut(value as usize % requests).filter(|asked| !asked.chunks.is_empty());
        let Some(Asked { nonce, chunks, count }) = asked else { return Vec::new() };
        let index = chunks.swap_remove(value as usize % chunks.len());
        let payload = chunk(nonce, index, *count);
        self.bench.tell(MembersInput::Chunk(payload.as_bytes()))
    }

    fn put_off(&mut self, value: u64) -> Vec<MembersOutput> {
        if self.at_discord.is_empty() {
            return Vec::new();
        }
        let Asked { nonce, .. } = self.at_discord.swap_remove(value as usize % self.at_discord.len());
        // Discord says itself when it may come again.
        self.everyone_at.clear();
        let payload = limited(Some(&nonce), value as f64 / 5.0);
        self.bench.tell(MembersInput::RateLimited(payload.as_bytes()))
    }

    fn check(&mut self, output: MembersOutput) -> Result<(), TestCaseError> {
        match output {
            MembersOutput::Answer(asker, answer) => {
                prop_assert!(self.answered_at.insert(asker, self.bench.now).is_none(), "answered twice");
                if let Ok(answer) = answer {
                    let (came, count) = answer.chunks;
                    prop_assert_eq!(answer.members.len(), came * 2);
                    prop_assert_eq!(answer.partial.is_none(), came == count);
                }
            }
            MembersOutput::Send(_, outgoing) => {
                let Ticket::Members(number) = outgoing.ticket else { panic!("{outgoing:?}") };
                self.handed.push_back(number);
                let data: Value = serde_json::from_str(outgoing.payload.text()).expect("JSON");
                if data["d"]["query"] == "" {
                    let guild = data["d"]["guild_id"].as_str().expect("an id").to_owned();
                    self.for_everyone.insert(number, guild);
                }
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whoever_asks_is_answered_once_within_a_minute(steps in prop::collection::vec((0_u8..9, 0_u64..200), 1..200)) {
        let mut world = World::new();
        let steps = steps.into_iter().chain(std::iter::repeat_n((0, 500), 130));
        for (nth, (kind, value)) in steps.enumerate() {
            world.step(nth as u64, kind, value)?;
        }
        for (asker, at) in world.asked_at {
            let answered_at = world.answered_at.remove(&asker).expect("everybody is answered");
            prop_assert!(answered_at - at <= OVERALL + Duration::from_millis(500), "late");
        }
    }

    #[test]
    fn no_payload_panics(text in "[{}\\[\\]\":,a-z0-9 ]{0,60}") {
        let mut bench = Bench::new();
        bench.sent(1, Who::Everyone);
        bench.tell(MembersInput::Chunk(text.as_bytes()));
        bench.tell(MembersInput::RateLimited(format!("{{\"d\":{text}").as_bytes()));
    }
}
