//! A worker: an OS thread with its own single-threaded runtime, its shards pinned to it, its own instance of every sink.

use std::cell::{Cell, RefCell};
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;
use hdrhistogram::Histogram;
use pilothouse_shared::snapshot::{ShardRow, StageRow};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::connection::Buffers;
use super::context::{Context, Outbox, Pace, Shard, ToShard};
use super::desk::Desk;
use super::driver::Driver;
use super::ear::Ear;
use super::handle::ToWorker;
use super::row;
use super::tails::Tails;
use crate::config::StagesConfig;
use crate::fleet::permits::PermitInput;
use crate::gateway::guilds::Guilds;
use crate::gateway::kind::EventKind;
use crate::gateway::session::{Generation, Session};
use crate::gateway::{Input, Machine};
use crate::memory;
use crate::pipeline::{Lane, Progress, Stages};
use crate::sinks::{Seat, SinkFactory, SinkReport};
use crate::standing::{failed, standing};
use crate::store::{Change, SessionTag, StoreWriter, StoredSession};

/// Confirmed sequences are stored this often.
const STORE_EVERY: Duration = Duration::from_millis(200);
/// Samples are taken this often; a rate looks back two of them.
const SAMPLE_EVERY: Duration = Duration::from_millis(500);
/// Memory that the thread keeps without need is given back once in so many samples.
const GIVE_BACK_EVERY: u32 = 4;
/// At shutdown sinks have this long to deliver what is open; then it goes to the spool.
const GRACE: Duration = Duration::from_secs(2);
/// Longest wait for that; what is still open then is replayed after the restart.
const DRAIN: Duration = Duration::from_secs(10);
/// Longest wait for what is in flight of the backlog.
const FINISH: Duration = Duration::from_secs(5);

/// Between a panic of a shard's driver and its next start; doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What a worker is made of.
pub struct Plan {
    /// Name of the agent.
    pub agent: String,
    /// Which worker it is.
    pub seat: Seat,
    /// Its shards.
    pub shards: Vec<Start>,
    /// What they run as.
    pub generation: Arc<Generation>,
    /// What is done to events before the sinks.
    pub stages: StagesConfig,
    /// Makes this worker's instances of the sinks, on its thread.
    pub sinks: SinkFactory,
    /// Listens to one of its shards for commands by chat, if any of them has the guild.
    pub ear: Option<Ear>,
    /// TLS of every connection.
    pub tls: Arc<rustls::ClientConfig>,
    /// Unconfirmed events of a session at which its socket is held.
    pub max_unconfirmed: u32,
    /// Messages to the worker.
    pub inbox: mpsc::Receiver<ToWorker>,
    /// To the fleet.
    pub permits: mpsc::Sender<PermitInput>,
    /// To the sampler.
    pub samples: mpsc::Sender<Sample>,
    /// To the store.
    pub store: StoreWriter,
}

/// What a shard starts from.
#[derive(Debug)]
pub struct Start {
    /// Index of the shard.
    pub id: u32,
    /// The session to resume.
    pub session: Option<StoredSession>,
    /// What is known of its guilds; none: it never ran.
    pub guilds: Option<Guilds>,
}

/// What a worker counted, and its shards' rows.
#[derive(Debug)]
pub struct Sample {
    /// Number of the worker.
    pub worker: u16,
    /// Its shards.
    pub rows: Vec<ShardRow>,
    /// Dispatches since the start by [`EventKind::index`].
    pub kinds: Vec<u64>,
    /// Events confirmed since the start.
    pub delivered: u64,
    /// Times from socket to confirmation since the last sample, microseconds.
    pub latency: Histogram<u32>,
    /// Its instances of the sinks.
    pub sinks: Vec<SinkReport>,
    /// Its stages.
    pub stages: Vec<StageRow>,
}

/// Dropped with a worker's thread, however that ends.
struct Ending(mpsc::Sender<()>);

impl Drop for Ending {
    fn drop(&mut self) {
        // One of them is enough.
        let _ = self.0.try_send(());
    }
}

/// Starts the worker's thread; it ends after [`ToWorker::Stop`], or by a fault. `ended` is told.
///
/// # Errors
/// The thread or a sink could not be started.
pub fn spawn(plan: Plan, ended: mpsc::Sender<()>) -> anyhow::Result<JoinHandle<anyhow::Result<()>>> {
    let name = format!("worker-{}", plan.seat.worker);
    let handle = thread::Builder::new().name(name).spawn(move || {
        let _ending = Ending(ended);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, work(plan))
    })?;
    Ok(handle)
}

async fn work(plan: Plan) -> anyhow::Result<()> {
    let Plan { agent, seat, shards, generation, stages, sinks, ear, tls, max_unconfirmed, .. } = plan;
    let (inbox, permits, samples, store) = (plan.inbox, plan.permits, plan.samples, plan.store);
    let now = Instant::now();
    let context = Rc::new(Context {
        agent,
        worker: seat.worker,
        read: Context::read_buffer(),
        buffers: RefCell::new(Buffers::default()),
        sinks: sinks(&seat)?,
        stages: RefCell::new(Stages::new(&stages)),
        ear,
        tails: Tails::default(),
        progress: Progress::new(),
        kinds: RefCell::new(vec![0; EventKind::NAMES.len()]),
        tls,
        max_unconfirmed: Cell::new(max_unconfirmed as usize),
        pace: Pace::new(now),
        leaving: Default::default(),
        desk: Desk::new(fastrand::u64(..)),
        permits: Outbox::default(),
        changes: Outbox::default(),
    });
    let shards: Rc<[Rc<Shard>]> = shards.into_iter().map(|start| create(start, &generation, &context, now)).collect();
    for shard in shards.iter() {
        spawn_local(supervise(Rc::clone(shard), Rc::clone(&context)));
        shard.tell(ToShard::Start);
    }
    spawn_local(standing("what attends to commands", attend_desk(Rc::clone(&context), Rc::clone(&shards))));
    spawn_local(standing("what asks for permits", forward_permits(Rc::clone(&context), permits)));
    let storing = keep_stored(Rc::clone(&context), Rc::clone(&shards), store.clone());
    let storing = spawn_local(standing("what stores sessions", storing));
    spawn_local(standing("what takes samples", sample(Rc::clone(&context), Rc::clone(&shards), samples)));
    tokio::select! {
        () = answer(inbox, &shards, &context) => {}
        () = failed() => anyhow::bail!("a task of worker {} panicked, the log says which", seat.worker),
    }
    drain(&shards, &context).await;
    storing.abort();
    store_now(&context, &shards, &store).await;
    Ok(())
}

fn create(start: Start, generation: &Arc<Generation>, context: &Context, now: Instant) -> Rc<Shard> {
    let Start { id, session: stored, guilds } = start;
    let session = stored.as_ref().map(|stored| Session {
        id: stored.session_id.clone(),
        resume_url: stored.resume_url.clone(),
        user: stored.user,
        received: stored.confirmed,
        stored: stored.confirmed,
    });
    let lane = session.as_ref().map(|session| lane(id, session, generation, context));
    let machine = Machine::new(id, Arc::clone(generation), session, fastrand::u64(..));
    let machine = machine.with_guilds(guilds.unwrap_or_default());
    let shard = Shard::new(id, machine, lane, now);
    shard.tally.borrow_mut().session_since = stored.map(|stored| stored.since_ms);
    shard
}

fn lane(id: u32, session: &Session, generation: &Generation, context: &Context) -> Rc<Lane> {
    Lane::new(generation.number, id, &session.id, session.stored, Rc::clone(&context.progress))
}

/// Runs the shard's driver; a panic in it costs this shard its connection, and nobody else anything. What makes it panic
/// may be replayed: pauses grow.
async fn supervise(shard: Rc<Shard>, context: Rc<Context>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let (driver, begun) = (Driver::new(Rc::clone(&shard), Rc::clone(&context)), Instant::now());
        if AssertUnwindSafe(driver.run()).catch_unwind().await.is_ok() {
            return;
        }
        pause = if begun.elapsed() > LONGEST_PAUSE { FIRST_PAUSE } else { LONGEST_PAUSE.min(pause * 2) };
        tracing::error!(
            shard = shard.id,
            "the shard's driver panicked; it goes on from its stored session in {pause:?}"
        );
        *context.buffers.borrow_mut() = Buffers::default();
        sleep(pause).await;
        start_over(&shard, &context);
    }
}

/// A new machine and a new lane from what is stored: what was received but not confirmed is replayed.
fn start_over(shard: &Shard, context: &Context) {
    let generation = Arc::clone(shard.machine.borrow().generation());
    let stored = shard.lane.borrow().as_ref().map_or(0, |lane| lane.stored());
    shard.machine.borrow_mut().handle(Input::Stored(stored), Instant::now());
    let session = shard.machine.borrow().session().cloned();
    let session = session.map(|session| Session { received: session.stored, ..session });
    *shard.lane.borrow_mut() = session.as_ref().map(|session| lane(shard.id, session, &generation, context));
    let guilds = shard.machine.borrow().guilds().as_stored();
    let commands = shard.machine.borrow().commands().clone();
    let machine = Machine::new(shard.id, generation, session, fastrand::u64(..));
    *shard.machine.borrow_mut() = machine.with_guilds(guilds).with_commands(commands);
    context.permits.push(PermitInput::Done(shard.id));
    shard.tally.borrow_mut().note("restarted after a fault of the agent".to_owned(), Instant::now());
    shard.tell(ToShard::Start);
}

async fn attend_desk(context: Rc<Context>, shards: Rc<[Rc<Shard>]>) {
    context.desk.run(&shards).await;
}

async fn forward_permits(context: Rc<Context>, permits: mpsc::Sender<PermitInput>) {
    loop {
        context.permits.filled().await;
        for input in context.permits.take() {
            if permits.send(input).await.is_err() {
                return;
            }
        }
    }
}

/// Stores confirmed sequences in batches, and new or lost sessions at once.
async fn keep_stored(context: Rc<Context>, shards: Rc<[Rc<Shard>]>, store: StoreWriter) {
    loop {
        tokio::select! {
            () = context.changes.filled() => {}
            () = sleep(STORE_EVERY) => {}
        }
        store_now(&context, &shards, &store).await;
    }
}

async fn store_now(context: &Context, shards: &[Rc<Shard>], store: &StoreWriter) {
    let mut changes = context.changes.take();
    let mut moved = Vec::new();
    for shard in shards {
        shard.former.borrow_mut().retain(|lane| lane.outstanding() > 0);
        let lane = shard.lane.borrow().clone().filter(|_| shard.former.borrow().is_empty());
        let Some(lane) = lane.filter(|lane| lane.confirmed() > lane.stored()) else { continue };
        let seq = lane.confirmed();
        changes.push(Change::Confirmed {
            generation: lane.origin.generation,
            shard: lane.origin.shard,
            session: SessionTag::of(&lane.origin.session),
            seq,
            guilds: shard.machine.borrow().guilds().changes(seq),
        });
        moved.push((lane, seq));
    }
    if changes.is_empty() {
        return;
    }
    let (done, stored) = oneshot::channel();
    if let Err(changes) = store.save(changes, done) {
        tracing::error!("the store is behind: trying again in a second");
        sleep(Duration::from_secs(1)).await;
        changes.into_iter().for_each(|change| context.changes.push(change));
        return;
    }
    if stored.await.is_ok() {
        moved.into_iter().for_each(|(lane, seq)| lane.set_stored(seq));
    }
}

async fn sample(context: Rc<Context>, shards: Rc<[Rc<Shard>]>, samples: mpsc::Sender<Sample>) {
    let mut tick = interval(SAMPLE_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut before = vec![[0_u64; 2]; shards.len()];
    for taken in (0..GIVE_BACK_EVERY).cycle() {
        tick.tick().await;
        if taken == 0 {
            memory::give_back_kept();
        }
        let now = Instant::now();
        context.tails.sweep();
        let rows = shards.iter().zip(&mut before).map(|(shard, before)| {
            let events = shard.tally.borrow().events;
            shard.rate.set(u32::try_from(events - before[0]).unwrap_or(u32::MAX));
            *before = [before[1], events];
            row::row(shard, &context, now)
        });
        let sample = Sample {
            worker: context.worker,
            rows: rows.collect(),
            kinds: context.kinds.borrow().clone(),
            delivered: context.progress.delivered(),
            latency: context.progress.take_latency(),
            sinks: context.sinks.iter().map(|sink| sink.report()).collect(),
            stages: context.stages.borrow().report(),
        };
        // A sampler that is behind gets the next one.
        if let Err(mpsc::error::TrySendError::Closed(_)) = samples.try_send(sample) {
            return;
        }
    }
}

/// Passes messages on until the worker is to stop.
async fn answer(mut inbox: mpsc::Receiver<ToWorker>, shards: &[Rc<Shard>], context: &Context) {
    let find = |id: u32| shards.iter().position(|shard| shard.id == id).map(|at| &shards[at]);
    while let Some(message) = inbox.recv().await {
        match message {
            ToWorker::Stop => return,
            ToWorker::Sink(name, order) => {
                context.sinks_called(&name).for_each(|sink| sink.obey(order));
            }
            ToWorker::Resend(name, letters, done) => {
                let resent: Vec<_> = context.sinks_called(&name).map(|sink| sink.resend(&letters)).collect();
                spawn_local(async move {
                    join_all(resent).await;
                    // Whoever asked may have left.
                    let _ = done.send(());
                });
            }
            ToWorker::Dial(id) => find(id).into_iter().for_each(|shard| shard.tell(ToShard::Dial)),
            ToWorker::Permit(id) => find(id).into_iter().for_each(|shard| shard.tell(ToShard::Permit)),
            ToWorker::Command(id, command) => {
                find(id).into_iter().for_each(|shard| shard.tell(ToShard::Command(command)));
            }
            ToWorker::Send(id, payload, caller) => {
                if let Some(shard) = find(id) {
                    context.desk.send(shard, payload, caller, Instant::now());
                }
            }
            ToWorker::Members(id, request, asker) => {
                if let Some(shard) = find(id) {
                    context.desk.ask(shard, request, asker, Instant::now());
                }
            }
            ToWorker::Tail(tap) => context.tails.add(tap),
            ToWorker::Adopt(config, done) => {
                context.adopt(&config);
                // Whoever asked may have left.
                let _ = done.send(());
            }
            ToWorker::Detail(id, answer) => {
                if let Some(shard) = find(id) {
                    let now = Instant::now();
                    let row = row::row(shard, context, now);
                    // Whoever asked may have left.
                    let _ = answer.send(row::detail(shard, row, now));
                }
            }
        }
    }
}

/// Leaves every connection, then waits for the sinks to confirm what is open.
async fn drain(shards: &[Rc<Shard>], context: &Context) {
    shards.iter().for_each(|shard| shard.tell(ToShard::Stop));
    let present = shards.iter().filter_map(|shard| shard.lane.borrow().clone());
    let former = shards.iter().flat_map(|shard| shard.former.borrow().clone());
    let lanes: Vec<Rc<Lane>> = present.chain(former).collect();
    let confirmed = || async {
        while lanes.iter().any(|lane| lane.outstanding() > 0) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    if timeout(GRACE, confirmed()).await.is_err() {
        context.sinks.iter().for_each(|sink| sink.close());
    }
    if timeout(DRAIN, confirmed()).await.is_err() {
        let open: usize = lanes.iter().map(|lane| lane.outstanding()).sum();
        tracing::warn!("{open} events are not confirmed by the bot; Discord replays them after the restart");
    }
    let finished = join_all(context.sinks.iter().map(|sink| sink.finish()));
    if timeout(FINISH, finished).await.is_err() {
        tracing::warn!("the bot still works on events; they will be delivered again after the restart");
    }
    context.leaving.all_left().await;
}
