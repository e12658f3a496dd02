//! Requests for members and the assembly of their answers: equal requests share one, all members of a guild are asked
//! for once in 30 s, chunks come in any order, and whatever does not come is waited for with a limit. Pure: the desk
//! in [`crate::shard`] reports with [`Members::handle`] and does what [`Members::poll_output`] says.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pilothouse_shared::ids::GuildId;

use super::commands::{Outgoing, Standing, Ticket};
use super::signal::Wait;

mod answer;
mod request;
#[cfg(test)]
mod tests;

pub use answer::{MembersAnswer, RawArray};
pub use request::{MembersError, MembersRequest, Who};

use answer::{Chunk, Limited, Parts};

/// All members of one guild may be asked for once in this time (Discord, since October 2025), and a little more, as
/// it is Discord that counts.
const EVERYONE_EVERY: Duration = Duration::from_millis(30_500);
/// An answer is given as it is when no chunk came for this long.
const SILENCE: Duration = Duration::from_secs(10);
/// An answer is given as it is this long after it was asked for.
const OVERALL: Duration = Duration::from_secs(60);
/// Requests of one worker that are open at a time.
const OPEN: usize = 256;
/// Callers that share one request.
const ASKERS: usize = 256;

/// What happened.
#[derive(Clone, Debug)]
pub enum MembersInput<'a> {
    /// Somebody asks; the number comes back with the answer.
    Ask(u64, u32, MembersRequest),
    /// The payload of a GUILD_MEMBERS_CHUNK.
    Chunk(&'a [u8]),
    /// The payload of a RATE_LIMITED.
    RateLimited(&'a [u8]),
    /// What became of the command of a request.
    Standing(u64, Standing),
    /// A shard's connection is lost; its session is not.
    Away(u32),
    /// A shard's session was resumed and its replay is over.
    Resumed(u32),
    /// A shard's session is gone.
    SessionLost(u32),
    /// A deadline may have passed.
    Timer,
}

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MembersOutput {
    /// Give this to a shard.
    Send(u32, Outgoing),
    /// Answer whoever asked with this number.
    Answer(u64, Result<Arc<MembersAnswer>, MembersError>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// The guild's turn has not come.
    Turn(Instant),
    /// Handed to the shard, not sent yet.
    Handed,
    /// Sent, or answered in part, at this time.
    Sent(Instant),
    /// Sent on a connection that was lost.
    Away,
}

/// One request to Discord.
#[derive(Debug)]
struct Flight {
    /// Its nonce.
    number: u64,
    shard: u32,
    request: MembersRequest,
    askers: Vec<u64>,
    stage: Stage,
    deadline: Instant,
    parts: Parts,
}

/// The open requests of one worker.
#[derive(Debug)]
pub struct Members {
    flights: Vec<Flight>,
    /// When all members of a guild may be asked for again.
    free_at: HashMap<GuildId, Instant>,
    random: fastrand::Rng,
    outputs: VecDeque<MembersOutput>,
}

impl Members {
    /// Without requests. Nonces come from `seed`, so that chunks for an earlier run of the agent fit none.
    pub fn new(seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self { flights: Vec::new(), free_at: HashMap::new(), random, outputs: VecDeque::new() }
    }

    /// Takes in what happened at `now`. Outputs wait in [`Self::poll_output`], in order.
    pub fn handle(&mut self, input: MembersInput<'_>, now: Instant) {
        match input {
            MembersInput::Ask(asker, shard, request) => self.on_ask(asker, shard, request, now),
            MembersInput::Chunk(payload) => self.on_chunk(payload, now),
            MembersInput::RateLimited(payload) => self.on_rate_limited(payload, now),
            MembersInput::Standing(number, standing) => self.on_standing(number, standing, now),
            MembersInput::Away(shard) => self.sent_on(shard, |flight| flight.stage = Stage::Away),
            MembersInput::Resumed(shard) => self.on_resumed(shard, now),
            MembersInput::SessionLost(shard) => self.on_session_lost(shard, now),
            MembersInput::Timer => self.on_timer(now),
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<MembersOutput> {
        self.outputs.pop_front()
    }

    /// Whether no request is open.
    pub fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    /// When [`MembersInput::Timer`] is due; none while nothing is open.
    pub fn wait(&self) -> Option<Wait> {
        self.flights.iter().map(Flight::wait).min_by_key(|wait| wait.until)
    }

    fn on_ask(&mut self, asker: u64, shard: u32, request: MembersRequest, now: Instant) {
        let equal = self.flights.iter_mut().find(|flight| flight.request == request && flight.askers.len() < ASKERS);
        if let Some(flight) = equal {
            return flight.askers.push(asker);
        }
        if self.flights.len() == OPEN {
            return self.outputs.push_back(MembersOutput::Answer(asker, Err(MembersError::Busy)));
        }
        let number = self.random.u64(..);
        let (stage, deadline) = (Stage::Handed, now + OVERALL);
        self.flights.push(Flight {
            number,
            shard,
            request,
            askers: vec![asker],
            stage,
            deadline,
            parts: Parts::default(),
        });
        self.launch(self.flights.len() - 1, now);
    }

    /// Gives a request to its shard, when the guild's turn has come.
    fn launch(&mut self, at: usize, now: Instant) {
        let Flight { number, shard, deadline, request, .. } = &self.flights[at];
        let payload = match request.payload(*number) {
            Ok(payload) => payload,
            Err(error) => return self.finish(at, Err(error.into())),
        };
        if request.who == Who::Everyone {
            self.free_at.retain(|_, free_at| *free_at > now);
            if let Some(free_at) = self.free_at.get(&request.guild).copied() {
                return self.wait_for_turn(at, free_at, now);
            }
            // Until it is sent the turn is taken.
            self.free_at.insert(request.guild, *deadline);
        }
        let outgoing = Outgoing { ticket: Ticket::Members(*number), payload, expires: *deadline };
        self.outputs.push_back(MembersOutput::Send(*shard, outgoing));
        self.flights[at].stage = Stage::Handed;
    }

    fn wait_for_turn(&mut self, at: usize, turn: Instant, now: Instant) {
        let flight = &mut self.flights[at];
        flight.stage = Stage::Turn(turn);
        if turn >= flight.deadline && flight.parts.is_empty() {
            self.finish(at, Err(MembersError::RateLimited(turn.saturating_duration_since(now))));
        }
    }

    /// All members of a guild may be asked for again at `turn`.
    fn set_turn(&mut self, guild: GuildId, turn: Instant, now: Instant) {
        self.free_at.insert(guild, turn);
        let waits = |flight: &&Flight| flight.request.guild == guild && matches!(flight.stage, Stage::Turn(_));
        let waiting: Vec<u64> = self.flights.iter().filter(waits).map(|flight| flight.number).collect();
        for number in waiting {
            if let Some(at) = self.find(number) {
                self.wait_for_turn(at, turn, now);
            }
        }
    }

    fn on_standing(&mut self, number: u64, standing: Standing, now: Instant) {
        let Some(at) = self.find(number) else { return };
        let Flight { request, stage, .. } = &mut self.flights[at];
        let turn_of = Some(request.guild).filter(|_| request.who == Who::Everyone);
        let (turn, failed) = match standing {
            Standing::Waits(_) => return,
            Standing::Sent => (now + EVERYONE_EVERY, None),
            Standing::Refused(why) => (now, Some(why)),
            Standing::Expired => (now, Some("the shard was not active in time")),
        };
        match failed {
            None => *stage = Stage::Sent(now),
            Some(why) => self.finish(at, Err(MembersError::NotSent(why))),
        }
        if let Some(guild) = turn_of {
            self.set_turn(guild, turn, now);
        }
    }

    fn on_chunk(&mut self, payload: &[u8], now: Instant) {
        let Some(chunk) = Chunk::read(payload) else { return };
        let Some(at) = self.find(chunk.number) else { return };
        let flight = &mut self.flights[at];
        flight.stage = Stage::Sent(now);
        if let Err(why) = flight.parts.take(chunk) {
            return self.finish_partly(at, &why);
        }
        if flight.parts.is_complete() {
            self.finish_partly(at, "");
        }
    }

    /// Discord says when the guild's turn comes; a request without a nonce of ours is somebody else's.
    fn on_rate_limited(&mut self, payload: &[u8], now: Instant) {
        let Some(limited) = Limited::read(payload) else { return };
        let turn = now + limited.retry_after;
        if let Some(at) = limited.number.and_then(|number| self.find(number)) {
            self.flights[at].stage = Stage::Turn(turn);
        }
        self.set_turn(limited.guild, turn, now);
    }

    /// The replay has brought all chunks of before. A request without any may never have reached Discord.
    fn on_resumed(&mut self, shard: u32, now: Instant) {
        let mut unanswered = Vec::new();
        self.sent_on(shard, |flight| {
            let was_away = std::mem::replace(&mut flight.stage, Stage::Sent(now)) == Stage::Away;
            if was_away && flight.parts.is_empty() {
                unanswered.push(flight.number);
            }
        });
        self.launch_again(&unanswered, now);
    }

    /// Chunks belong to a session: the next one is asked from the start.
    fn on_session_lost(&mut self, shard: u32, now: Instant) {
        let mut lost = Vec::new();
        self.sent_on(shard, |flight| {
            flight.parts = Parts::default();
            lost.push(flight.number);
        });
        self.launch_again(&lost, now);
    }

    fn launch_again(&mut self, numbers: &[u64], now: Instant) {
        for number in numbers {
            if let Some(at) = self.find(*number) {
                self.launch(at, now);
            }
        }
    }

    fn sent_on(&mut self, shard: u32, change: impl FnMut(&mut Flight)) {
        let sent = |flight: &&mut Flight| matches!(flight.stage, Stage::Sent(_) | Stage::Away);
        self.flights.iter_mut().filter(|flight| flight.shard == shard).filter(sent).for_each(change);
    }

    fn on_timer(&mut self, now: Instant) {
        let due = self.flights.iter().filter(|flight| flight.wait().until <= now).map(|flight| flight.number);
        for number in due.collect::<Vec<_>>() {
            let Some(at) = self.find(number) else { continue };
            let flight = &self.flights[at];
            match flight.stage {
                _ if flight.deadline <= now => self.finish_partly(at, &format!("{} s are over", OVERALL.as_secs())),
                Stage::Turn(_) => self.launch(at, now),
                _ => self.finish_partly(at, &format!("no chunk came for {} s", SILENCE.as_secs())),
            }
        }
    }

    /// Answers with what came; `why` it is not all, if it is not.
    fn finish_partly(&mut self, at: usize, why: &str) {
        let flight = &mut self.flights[at];
        let parts = std::mem::take(&mut flight.parts);
        let answer = if parts.is_empty() {
            Err(MembersError::Unanswered(why.to_owned()))
        } else {
            Ok(Arc::new(parts.assemble(flight.request.guild, why)))
        };
        self.finish(at, answer);
    }

    fn finish(&mut self, at: usize, answer: Result<Arc<MembersAnswer>, MembersError>) {
        let flight = self.flights.swap_remove(at);
        let answers = flight.askers.into_iter().map(|asker| MembersOutput::Answer(asker, answer.clone()));
        self.outputs.extend(answers);
    }

    fn find(&self, number: u64) -> Option<usize> {
        self.flights.iter().position(|flight| flight.number == number)
    }
}

impl Flight {
    fn wait(&self) -> Wait {
        let deadline = Wait { until: self.deadline, why: "members" };
        match self.stage {
            Stage::Turn(until) if until < self.deadline => Wait { until, why: "the guild's turn" },
            Stage::Sent(since) if since + SILENCE < self.deadline => Wait { until: since + SILENCE, why: "a chunk" },
            _ => deadline,
        }
    }
}
