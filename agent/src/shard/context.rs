//! What the tasks of one worker share: the shards themselves, buffers, sinks, and the ways out to fleet and store.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use pilothouse_shared::snapshot::{CloseRow, LifeEvent, ShardState};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::connection::{Buffers, READ_SIZE};
use super::desk::Desk;
use super::ear::Ear;
use super::handle::ShardCommand;
use super::tails::Tails;
use crate::config::Config;
use crate::fleet::permits::PermitInput;
use crate::gateway::commands::Outgoing;
use crate::gateway::kind::EventKind;
use crate::gateway::{Input, Machine};
use crate::pipeline::{Lane, Progress, Stages};
use crate::sinks::Sink;
use crate::store::Change;
use crate::telemetry::clock::unix_ms;

/// Steps of a shard's life that are kept for its timeline.
const LIFE: usize = 24;

/// Shared by every task of one worker.
pub struct Context {
    /// Name of the agent.
    pub agent: String,
    /// Number of the worker.
    pub worker: u16,
    /// Where sockets are read into.
    pub read: RefCell<Vec<u8>>,
    /// Where payloads come together.
    pub buffers: RefCell<Buffers>,
    /// Where events go.
    pub sinks: Vec<Box<dyn Sink>>,
    /// What is done to events before.
    pub stages: RefCell<Stages>,
    /// Listens to one of its shards for commands by chat.
    pub ear: Option<Ear>,
    /// Who watches events.
    pub tails: Tails,
    /// What the lanes confirm.
    pub progress: Rc<Progress>,
    /// Dispatches by [`EventKind::index`].
    pub kinds: RefCell<Vec<u64>>,
    /// TLS of every connection.
    pub tls: Arc<rustls::ClientConfig>,
    /// Unconfirmed events of a session at which its socket is held.
    pub max_unconfirmed: Cell<usize>,
    /// When the next shard may dial.
    pub pace: Pace,
    /// Connections that were left and take their farewell.
    pub leaving: Leaving,
    /// What callers are owed.
    pub desk: Desk,
    /// On their way to the fleet.
    pub permits: Outbox<PermitInput>,
    /// On their way to the store, ahead of the next batch of confirmed sequences.
    pub changes: Outbox<Change>,
}

impl Context {
    /// Its sinks of that name: one, as names are unique.
    pub fn sinks_called<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a dyn Sink> {
        self.sinks.iter().map(AsRef::as_ref).filter(move |sink| sink.report().name == name)
    }

    /// Goes by these settings from now on, as far as they can change.
    pub fn adopt(&self, config: &Config) {
        let max_unconfirmed = config.gateway.max_unconfirmed;
        self.max_unconfirmed.set(max_unconfirmed as usize);
        self.stages.borrow_mut().adopt(&config.stages);
        self.sinks.iter().for_each(|sink| sink.adopt(&config.spool, max_unconfirmed));
    }

    /// A read buffer of the usual size.
    pub fn read_buffer() -> RefCell<Vec<u8>> {
        RefCell::new(vec![0; READ_SIZE])
    }
}

/// Spaces dials out, so that the loss of every connection at once is no stampede.
pub struct Pace {
    next: Cell<Instant>,
}

impl Pace {
    /// Dials this far apart once the burst is used up.
    const INTERVAL: Duration = Duration::from_millis(1);
    /// Dials at once.
    const BURST: u32 = 16;

    /// The burst is whole.
    pub fn new(now: Instant) -> Self {
        Self { next: Cell::new(now) }
    }

    /// When the dial asked for at `now` may begin.
    pub fn next_turn(&self, now: Instant) -> Instant {
        let turn = self.next.get().max(now);
        self.next.set(turn + Self::INTERVAL);
        turn.checked_sub(Self::INTERVAL * Self::BURST).map_or(now, |early| early.max(now))
    }
}

/// Tasks that end by themselves soon; at shutdown they are waited for.
#[derive(Default)]
pub struct Leaving {
    tasks: RefCell<JoinSet<()>>,
}

impl Leaving {
    /// Runs a farewell beside everything else.
    pub fn spawn(&self, farewell: impl Future<Output = ()> + 'static) {
        let mut tasks = self.tasks.borrow_mut();
        while tasks.try_join_next().is_some() {}
        tasks.spawn_local(farewell);
    }

    /// Waits for all of them.
    pub async fn all_left(&self) {
        let tasks = self.tasks.take();
        tasks.join_all().await;
    }
}

/// Values that wait for a task of the same worker to send them on. A shard adds a handful per connection at most.
pub struct Outbox<T> {
    values: RefCell<Vec<T>>,
    filled: Notify,
}

impl<T> Default for Outbox<T> {
    fn default() -> Self {
        Self { values: RefCell::default(), filled: Notify::new() }
    }
}

impl<T> Outbox<T> {
    /// Adds a value.
    pub fn push(&self, value: T) {
        self.values.borrow_mut().push(value);
        self.filled.notify_one();
    }

    /// Everything added since the last call.
    pub fn take(&self) -> Vec<T> {
        self.values.take()
    }

    /// Waits until something was added.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }
}

/// One shard, as its driver and its worker see it.
pub struct Shard {
    /// Index.
    pub id: u32,
    /// Its life.
    pub machine: RefCell<Machine>,
    /// The lane of its present session.
    pub lane: RefCell<Option<Rc<Lane>>>,
    /// Lanes of lost sessions that may have open events: what is known of guilds is stored in order.
    pub former: RefCell<Vec<Rc<Lane>>>,
    /// What it has done, for its row.
    pub tally: RefCell<Tally>,
    /// Whether its socket is held.
    pub held: Cell<bool>,
    /// Dispatches in the last second, as sampled.
    pub rate: Cell<u32>,
    inbox: RefCell<VecDeque<ToShard>>,
    waker: Cell<Option<Waker>>,
}

/// A message to a shard.
#[derive(Clone, Debug)]
pub enum ToShard {
    /// Begin.
    Start,
    /// The turn to identify is near.
    Dial,
    /// Leave to identify.
    Permit,
    /// From an operator.
    Command(ShardCommand),
    /// For Discord.
    Send(Outgoing),
    /// The agent shuts down.
    Stop,
}

impl ToShard {
    /// What it means to the machine.
    pub fn input(&self) -> Input<'_> {
        match self {
            Self::Start => Input::Start,
            Self::Dial => Input::Dial,
            Self::Permit => Input::Permit,
            Self::Command(ShardCommand::Restart { identify }) => Input::Restart { identify: *identify },
            Self::Command(ShardCommand::Close { code }) => Input::Close(*code),
            Self::Send(outgoing) => Input::Command(outgoing),
            Self::Stop => Input::Stop,
        }
    }
}

/// Counts and the timeline of one shard, since the agent started.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Its state when last looked at, and since when.
    pub state: (ShardState, Instant),
    /// Dispatches by [`EventKind::index`].
    pub kinds: Vec<u32>,
    /// Dispatches.
    pub events: u64,
    /// When the last one came.
    pub last_dispatch: Option<Instant>,
    /// Round trip of a heartbeat, milliseconds, and when it was measured.
    pub latency: Option<(u32, Instant)>,
    /// Bytes read.
    pub bytes_in: u64,
    /// Bytes after decompression.
    pub bytes_raw: u64,
    /// When the present session was identified, Unix milliseconds.
    pub session_since: Option<u64>,
    /// How the last connection ended.
    pub close: Option<CloseRow>,
    /// Its last steps, oldest first.
    pub life: VecDeque<LifeEvent>,
}

impl Tally {
    fn new(now: Instant) -> Self {
        Self {
            state: (ShardState::Stopped, now),
            kinds: vec![0; EventKind::NAMES.len()],
            events: 0,
            last_dispatch: None,
            latency: None,
            bytes_in: 0,
            bytes_raw: 0,
            session_since: None,
            close: None,
            life: VecDeque::new(),
        }
    }

    /// Adds a step to the timeline.
    pub fn note(&mut self, text: String, now: Instant) {
        if self.life.len() == LIFE {
            self.life.pop_front();
        }
        self.life.push_back(LifeEvent { at: unix_ms(now), text });
    }
}

impl Shard {
    /// A shard that waits for [`ToShard::Start`]; `lane` is the one of the session that its machine will resume.
    pub fn new(id: u32, machine: Machine, lane: Option<Rc<Lane>>, now: Instant) -> Rc<Self> {
        Rc::new(Self {
            id,
            machine: RefCell::new(machine),
            lane: RefCell::new(lane),
            former: RefCell::default(),
            tally: RefCell::new(Tally::new(now)),
            held: Cell::new(false),
            rate: Cell::new(0),
            inbox: RefCell::default(),
            waker: Cell::default(),
        })
    }

    /// Leaves a message for the driver and wakes it.
    pub fn tell(&self, message: ToShard) {
        self.inbox.borrow_mut().push_back(message);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// The next message; none leaves `waker` to be woken by one.
    pub fn next_message(&self, waker: &Waker) -> Option<ToShard> {
        let message = self.inbox.borrow_mut().pop_front();
        if message.is_none() {
            let known = self.waker.take().filter(|known| known.will_wake(waker));
            self.waker.set(Some(known.unwrap_or_else(|| waker.clone())));
        }
        message
    }
}
