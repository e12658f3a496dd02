//! Where answers to callers are owed: what became of a command, and members. One a worker; drivers report to it, its
//! task hands requests to shards, answers and watches the clock.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};
use tokio::time::sleep_until;

use super::context::{Shard, ToShard};
use crate::gateway::commands::{Outgoing, Standing, Ticket};
use crate::gateway::kind::EventKind;
use crate::gateway::members::{Members, MembersAnswer, MembersError, MembersInput, MembersOutput, MembersRequest};
use crate::gateway::payload::Payload;

/// A command that could not be sent for so long is dropped.
const EXPIRY: Duration = Duration::from_secs(60);

/// What a request for members comes to; equal requests share it.
pub type MembersResult = Result<Arc<MembersAnswer>, MembersError>;

/// The answers that one worker owes.
pub struct Desk {
    /// Counts those who ask.
    asked: Cell<u64>,
    callers: RefCell<HashMap<u64, oneshot::Sender<Standing>>>,
    askers: RefCell<HashMap<u64, oneshot::Sender<MembersResult>>>,
    members: RefCell<Members>,
    /// Requests for members are open.
    listens: Cell<bool>,
    stirred: Notify,
}

impl Desk {
    /// Owes nothing.
    pub fn new(seed: u64) -> Self {
        Self {
            asked: Cell::new(0),
            callers: RefCell::default(),
            askers: RefCell::default(),
            members: RefCell::new(Members::new(seed)),
            listens: Cell::new(false),
            stirred: Notify::new(),
        }
    }

    /// Gives a payload to a shard and remembers whom to tell what becomes of it.
    pub fn send(&self, shard: &Shard, payload: Payload, caller: oneshot::Sender<Standing>, now: Instant) {
        let number = self.number();
        self.callers.borrow_mut().insert(number, caller);
        let outgoing = Outgoing { ticket: Ticket::Caller(number), payload, expires: now + EXPIRY };
        shard.tell(ToShard::Send(outgoing));
    }

    /// Takes in a request for members of a guild on `shard`.
    pub fn ask(&self, shard: &Shard, request: MembersRequest, asker: oneshot::Sender<MembersResult>, now: Instant) {
        let intents = shard.machine.borrow().generation().intents;
        if let Err(error) = request.check(intents) {
            // Whoever asked may have left.
            let _ = asker.send(Err(error));
            return;
        }
        let number = self.number();
        self.askers.borrow_mut().insert(number, asker);
        self.report(MembersInput::Ask(number, shard.id, request), now);
    }

    /// What became of a command; a caller is told the first thing only.
    pub fn standing(&self, ticket: Ticket, standing: Standing, now: Instant) {
        match ticket {
            Ticket::Caller(number) => {
                if let Some(caller) = self.callers.borrow_mut().remove(&number) {
                    // Whoever asked may have left.
                    let _ = caller.send(standing);
                }
            }
            Ticket::Members(number) => self.report(MembersInput::Standing(number, standing), now),
        }
    }

    /// Whether [`Self::hear`] has anything to wait for.
    pub fn listens(&self) -> bool {
        self.listens.get()
    }

    /// A dispatch of `shard`, while somebody waits for members.
    pub fn hear(&self, shard: u32, kind: EventKind, payload: &[u8], now: Instant) {
        match kind {
            EventKind::GUILD_MEMBERS_CHUNK => self.report(MembersInput::Chunk(payload), now),
            EventKind::RATE_LIMITED => self.report(MembersInput::RateLimited(payload), now),
            EventKind::RESUMED => self.report(MembersInput::Resumed(shard), now),
            _ => {}
        }
    }

    /// The connection of `shard` is lost.
    pub fn away(&self, shard: u32, now: Instant) {
        if self.listens() {
            self.report(MembersInput::Away(shard), now);
        }
    }

    /// The session of `shard` is gone.
    pub fn session_lost(&self, shard: u32, now: Instant) {
        if self.listens() {
            self.report(MembersInput::SessionLost(shard), now);
        }
    }

    /// Hands requests to `shards` and answers, for as long as it is polled.
    pub async fn run(&self, shards: &[Rc<Shard>]) {
        loop {
            self.deliver(shards);
            let wait = self.members.borrow().wait();
            tokio::select! {
                () = self.stirred.notified() => {}
                () = sleep_until(wait.map_or_else(Instant::now, |wait| wait.until).into()), if wait.is_some() => {
                    self.report(MembersInput::Timer, Instant::now());
                }
            }
        }
    }

    fn deliver(&self, shards: &[Rc<Shard>]) {
        loop {
            let output = self.members.borrow_mut().poll_output();
            match output {
                None => return,
                Some(MembersOutput::Send(id, outgoing)) => {
                    let shard = shards.iter().find(|shard| shard.id == id);
                    shard.into_iter().for_each(|shard| shard.tell(ToShard::Send(outgoing.clone())));
                }
                Some(MembersOutput::Answer(number, answer)) => {
                    if let Some(asker) = self.askers.borrow_mut().remove(&number) {
                        // Whoever asked may have left.
                        let _ = asker.send(answer);
                    }
                }
            }
        }
    }

    fn report(&self, input: MembersInput<'_>, now: Instant) {
        let mut members = self.members.borrow_mut();
        members.handle(input, now);
        self.listens.set(!members.is_empty());
        self.stirred.notify_one();
    }

    fn number(&self) -> u64 {
        self.asked.set(self.asked.get() + 1);
        self.asked.get()
    }
}
