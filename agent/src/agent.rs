//! The composition: config, session info, store, workers, fleet, control; run until told to stop, then drain.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pilothouse_shared::snapshot::{AgentRow, GenerationRow, IdentifyRow, ShardState};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::config::{Authorities, ChatConfig, Compression, Config, Loaded, ShardCount, Sources};
use crate::control::{self, Control, Listeners, Reach, chat, token};
use crate::fleet::local;
use crate::fleet::permits::{Limits, PermitInput, Permits};
use crate::fleet::placement::Placement;
use crate::fleet::session_info::{self, InfoError, SessionInfo};
use crate::gateway::guilds::Guilds;
use crate::gateway::session::{Generation, Timeouts};
use crate::shard::Shards;
use crate::shard::ear::{Ear, Heard};
use crate::shard::worker::{self, Plan, Sample, Start};
use crate::sinks::{self, Seat, SinkFactory};
use crate::spool::{Spool, SpoolError, SpoolLimits};
use crate::store::{Budget, Store, StoreError, StoreWriter, StoredSession};
use crate::telemetry::clock::{now_ms, unix_ms};
use crate::telemetry::process::Process;
use crate::telemetry::sampler::{self, About};
use crate::telemetry::snapshot::{Snapshot, Snapshots};

/// Messages that wait for one worker.
const WORKER_INBOX: usize = 1024;

/// Why an agent could not run.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No session info.
    #[error(transparent)]
    Info(#[from] InfoError),
    /// The data folder.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The spool.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The sinks' files in the data folder.
    #[error("cannot use the data folder: {0:#}")]
    Sinks(anyhow::Error),
    /// The control address.
    #[error(
        "cannot listen on {address}: {source}; set another with PILOTHOUSE_LISTEN, or GATEWAY_MANAGER_PORT for the bot"
    )]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The local console's token could not be written.
    #[error("cannot write the console token in the data folder: {0}")]
    Token(io::Error),
    /// The certificate or its key.
    #[error("the certificate of the control address cannot be used: {0}")]
    Certificate(String),
    /// A worker could not start, or ended by a fault.
    #[error("a worker failed: {0}")]
    Worker(anyhow::Error),
    /// Discord refused every shard, and none was ever active.
    #[error("Discord refuses this bot: {0}")]
    Refused(String),
}

impl Failure {
    /// Exit code of the program: 1, as a wrong configuration does not come this far.
    pub fn exit_code(&self) -> u8 {
        1
    }
}

/// Runs an agent until `shutdown`, then leaves every session so that the next run resumes it.
///
/// # Errors
/// Whatever keeps the agent from running.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Failure> {
    run_from(Loaded { config, origins: BTreeMap::new() }, None, shutdown).await
}

/// The same, with a configuration that says where each value comes from, and is read anew from `sources` at each SIGHUP.
///
/// # Errors
/// Whatever keeps the agent from running.
pub async fn run_from(
    loaded: Loaded,
    sources: Option<Sources>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    let config = loaded.config.clone();
    config.notices.iter().for_each(|notice| tracing::warn!("{notice}"));
    // From the first moment on: SIGHUP would end the program.
    let hangup = signal(SignalKind::hangup()).inspect_err(|error| tracing::warn!("SIGHUP cannot be heard: {error}"));
    let sources = sources.zip(hangup.ok());
    let consoles = bind(config.listen).await?;
    let bot = match config.bot_port {
        Some(port) => Some(bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).await?),
        None => None,
    };
    let store = Store::open(&config.data_dir)?;
    if let Some(path) = store.set_aside() {
        tracing::error!("the store was unreadable and is set aside as {}: every shard identifies anew", path.display());
    }
    let info = session_info::fetch(&config).await?;
    let token = token::write(&config.data_dir).map_err(Failure::Token)?;
    let tls = control::tls::server(&config.control).map_err(Failure::Certificate)?;
    let spool = open_spool(&config)?;
    let total = total(&config, &info);
    let adopted = adopt(&config, spool.as_ref(), total).await;
    let (settings, max_unconfirmed) = (config.spool.clone(), config.gateway.max_unconfirmed);
    let common = sinks::Common::open(&config.data_dir, &config.sinks, spool, settings, max_unconfirmed, total);
    let common = common.map_err(Failure::Sinks)?;
    let jobs = store.jobs().to_vec();
    let (heard, commands) = mpsc::channel(chat::WAITING);
    let running = start(&config, &info, store, &common, heard)?;
    let reach = Reach {
        snapshots: running.snapshots.clone(),
        shards: running.shards.clone(),
        permits: running.permits.clone(),
        dead_letters: common.dead_letters().to_vec(),
        spool: common.spool().cloned(),
        store: running.store,
        jobs,
    };
    let control = Arc::new(Control::new(loaded, token, reach));
    let (mut background, mut ended) = (running.background, running.ended);
    if let Some((sources, hangup)) = sources {
        background.push(tokio::spawn(control::reread_at_hangup(Arc::clone(&control), sources, hangup)));
    }
    if let Some(spool) = common.spool().filter(|_| !adopted) {
        background.push(tokio::spawn(adopt_later(config.clone(), spool.clone(), total, running.shards.clone())));
    }
    background.push(tokio::spawn(refresh(config.clone(), running.permits)));
    background.push(tokio::spawn(chat::attend(Arc::clone(&control), config, commands)));
    let (stop, stopping) = watch::channel(false);
    let listeners = Listeners { consoles, tls, bot };
    let answering = tokio::spawn(control::serve(listeners, control, stopped(stopping)));
    let ended = tokio::select! {
        () = shutdown => Ok(()),
        reason = refused(running.snapshots.clone()) => Err(Failure::Refused(reason)),
        // Why, it tells when it is joined.
        _ = ended.recv() => Ok(()),
    };
    running.shards.stop().await;
    let drained = join(running.workers).await;
    stop.send_replace(true);
    // A fault of the control surface is in the log.
    let _ = answering.await;
    end(background).await;
    ended.and(drained)
}

/// A machine without IPv6 listens on every address of IPv4 instead.
async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    let bound = match TcpListener::bind(address).await {
        Err(_) if address.ip() == Ipv6Addr::UNSPECIFIED => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    };
    bound.map_err(|source| Failure::Listen { address, source })
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // A sender that is gone stops, too.
    let _ = stopping.wait_for(|stop| *stop).await;
}

type Workers = Vec<JoinHandle<anyhow::Result<()>>>;

/// Ends what runs beside the workers. They hold the store open: the next run of an agent must find it closed.
async fn end(background: Vec<tokio::task::JoinHandle<()>>) {
    for task in background {
        task.abort();
        // It was told to end; how it ended is of no interest.
        let _ = task.await;
    }
}

struct Running {
    workers: Workers,
    /// Told when a worker ends.
    ended: mpsc::Receiver<()>,
    /// Fleet and sampler.
    background: Vec<tokio::task::JoinHandle<()>>,
    shards: Shards,
    snapshots: Snapshots,
    permits: mpsc::Sender<PermitInput>,
    store: StoreWriter,
}

/// Asks Discord for its limits now and then: `max_concurrency` may change, and others may spend the same budget.
async fn refresh(config: Config, permits: mpsc::Sender<PermitInput>) {
    loop {
        tokio::time::sleep(session_info::REFRESH_EVERY).await;
        match session_info::fetch(&config).await {
            Ok(info) => {
                let limits = info.session_start_limit.limits(Instant::now());
                if permits.send(PermitInput::Limits(limits)).await.is_err() {
                    return;
                }
            }
            Err(error) => tracing::warn!("the limits on identifies stay as they were: {error}"),
        }
    }
}

/// The sinks' queues on disk, unless the configuration forgoes them.
fn open_spool(config: &Config) -> Result<Option<Spool>, Failure> {
    if config.spool.max_bytes == 0 || config.sinks.is_empty() {
        return Ok(None);
    }
    Ok(Some(Spool::open(&config.data_dir.join("spool"), SpoolLimits::of(&config.spool))?))
}

/// Moves what was spooled for other URLs or another number of shards to where it belongs now; false: that is still to be
/// done.
async fn adopt(config: &Config, spool: Option<&Spool>, total: u32) -> bool {
    let Some(spool) = spool else { return true };
    let adopted = sinks::adopt(spool, &config.sinks, total).await;
    match &adopted {
        Ok(0) => {}
        Ok(moved) => tracing::info!("{moved} spooled events were moved to the URLs and shards there are now"),
        Err(trouble) => tracing::error!(
            "events spooled for other URLs or another number of shards are delivered later than new ones, as they cannot be moved: {trouble}"
        ),
    }
    adopted.is_ok()
}

async fn adopt_later(config: Config, spool: Spool, total: u32, shards: Shards) {
    let resend = |name: String, letters| {
        let shards = shards.clone();
        async move { shards.resend(&name, letters).await.is_ok() }
    };
    sinks::adopt_later(&spool, &config.sinks, total, resend).await;
}

fn start(
    config: &Config,
    info: &SessionInfo,
    mut store: Store,
    common: &sinks::Common,
    heard: mpsc::Sender<Heard>,
) -> Result<Running, Failure> {
    let now = Instant::now();
    let total = total(config, info);
    config.too_few_files(total).into_iter().for_each(|warning| tracing::warn!("{warning}"));
    info.objection(total).into_iter().for_each(|objection| tracing::warn!("{objection}"));
    let generation = Arc::new(generation(config, info, total));
    let limits = budget(info.session_start_limit.limits(now), store.budget());
    let sessions = resumable(&store, &generation);
    let guilds = store.guilds(generation.number, total)?;
    let placement = Placement { agents: 1, workers: config.workers };
    let store = store.into_writer()?;
    tracing::info!(
        "{total} shards on {} workers, {} sessions to resume, {} of {} identifies left today",
        config.workers,
        sessions.len(),
        limits.remaining,
        limits.total
    );
    if generation.compression == Compression::Zstd {
        let [least, most] = [250, 750].map(|kib| u64::from(total) * kib / 1_024);
        tracing::info!(
            "zstd's windows take 250 to 750 KiB of memory a shard, {least} to {most} MiB in all; zlib's 48 KiB"
        );
    }
    if config.sinks.is_empty() {
        tracing::warn!("no sink is configured: events are counted and count as confirmed when received");
    }
    let permits = Permits::new(config.gateway.identify_interval, config.gateway.reserve_percent, limits, now);
    let (ask_permit, permit_inbox) = mpsc::channel(WORKER_INBOX);
    let (sample, samples) = mpsc::channel(usize::from(config.workers) * 2);
    let to_fleet = ask_permit.clone();
    let sinks = sinks::factory(config.sinks.clone(), common.clone());
    let to_store = &store;
    let ear = ear(&config.chat, total, heard);
    let seed =
        Seed { ear, config, generation: &generation, placement, sessions, guilds, sinks, ask_permit, sample, to_store };
    let (ending, ended) = mpsc::channel(1);
    let (workers, shards) = start_workers(seed, total, &ending)?;
    let (row, identify) = watch::channel(IdentifyRow::default());
    let fleet = tokio::spawn(local::run(permits, permit_inbox, shards.clone(), store.clone(), row));
    let (publish, snapshots) = watch::channel(Arc::new(Snapshot::default()));
    let sampler = tokio::spawn(sampler::run(
        about(config, &generation),
        samples,
        identify,
        store.clone(),
        common.clone(),
        publish,
    ));
    Ok(Running { workers, ended, background: vec![fleet, sampler], shards, snapshots, permits: to_fleet, store })
}

/// What every worker is made from.
struct Seed<'a> {
    config: &'a Config,
    generation: &'a Arc<Generation>,
    placement: Placement,
    sessions: Vec<StoredSession>,
    sinks: SinkFactory,
    ear: Option<Ear>,
    guilds: BTreeMap<u32, Guilds>,
    ask_permit: mpsc::Sender<PermitInput>,
    sample: mpsc::Sender<Sample>,
    to_store: &'a StoreWriter,
}

fn start_workers(seed: Seed<'_>, total: u32, ending: &mpsc::Sender<()>) -> Result<(Workers, Shards), Failure> {
    let Seed { config, generation, placement, sessions, mut guilds, sinks, ear, ask_permit, sample, to_store } = seed;
    let tls = tls(config.gateway.ca_file.as_ref());
    let (mut workers, mut inboxes) = (Vec::new(), Vec::new());
    for number in 0..config.workers {
        let (sender, inbox) = mpsc::channel(WORKER_INBOX);
        inboxes.push(sender);
        let stored = |id| sessions.iter().find(|session| session.shard == id).cloned();
        let mine = (0..total).filter(|id| placement.worker(*id) == number);
        let mine = mine.map(|id| Start { id, session: stored(id), guilds: guilds.remove(&id) });
        let plan = Plan {
            agent: config.name.clone(),
            seat: Seat { worker: number, total, owns: Arc::new(move |shard| placement.worker(shard) == number) },
            shards: mine.collect(),
            generation: Arc::clone(generation),
            stages: config.stages.clone(),
            sinks: Arc::clone(&sinks),
            ear: ear.clone().filter(|ear| placement.worker(ear.shard) == number),
            tls: Arc::clone(&tls),
            max_unconfirmed: config.gateway.max_unconfirmed,
            inbox,
            permits: ask_permit.clone(),
            samples: sample.clone(),
            store: to_store.clone(),
        };
        workers.push(worker::spawn(plan, ending.clone()).map_err(Failure::Worker)?);
    }
    Ok((workers, Shards::new(placement, total, inboxes.into())))
}

/// None unless the configuration listens; then the channel ends at once.
fn ear(config: &ChatConfig, total: u32, heard: mpsc::Sender<Heard>) -> Option<Ear> {
    let guild = config.listens_in()?;
    let (owners, prefix) = (config.owners.as_slice().into(), config.prefix.clone());
    Some(Ear { guild, shard: guild.shard(total), owners, prefix, heard, newest: Default::default() })
}

fn total(config: &Config, info: &SessionInfo) -> u32 {
    match config.shards {
        ShardCount::Auto => info.shards.max(1),
        ShardCount::Count(total) => total,
    }
}

fn generation(config: &Config, info: &SessionInfo, total: u32) -> Generation {
    let gateway = &config.gateway;
    Generation {
        number: 1,
        total,
        token: config.token.clone(),
        intents: config.intents,
        version: config.api_version,
        compression: config.compression,
        gateway_url: info.url.clone(),
        large_threshold: gateway.large_threshold,
        presence: gateway.presence.clone(),
        timeouts: Timeouts {
            connect: gateway.connect_timeout,
            hello: gateway.hello_timeout,
            ready: gateway.ready_timeout,
        },
    }
}

/// Discord's word on the budget, unless our own count of the same day is lower: an identify may be on its way.
fn budget(told: Limits, stored: Option<Budget>) -> Limits {
    let resets_at_ms = unix_ms(told.resets_at);
    let same_day = |budget: &Budget| budget.resets_at_ms.abs_diff(resets_at_ms) < 60_000 && budget.total == told.total;
    let remaining = stored.filter(same_day).map_or(told.remaining, |budget| budget.remaining.min(told.remaining));
    Limits { remaining, ..told }
}

/// Stored sessions that a connection of this generation can resume.
fn resumable(store: &Store, generation: &Generation) -> Vec<StoredSession> {
    let fits = |session: &&StoredSession| {
        session.generation == generation.number
            && session.total == generation.total
            && session.version == generation.version
            && session.compression == generation.compression
            && session.intents == generation.intents
    };
    store.sessions().iter().filter(fits).cloned().collect()
}

fn about(config: &Config, generation: &Generation) -> About {
    About {
        agent: AgentRow {
            name: config.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: now_ms(),
            workers: config.workers,
            base: if config.embedded { 0 } else { Process::default().usage().resident },
            ..AgentRow::default()
        },
        generation: GenerationRow {
            number: generation.number,
            total: generation.total,
            version: generation.version,
            intents: generation.intents,
            compression: match generation.compression {
                Compression::Zlib => "zlib",
                Compression::Zstd => "zstd",
                Compression::None => "none",
            }
            .to_owned(),
        },
        note: config.note.clone(),
    }
}

/// One client configuration for all connections: a configuration of its own would cost each 18 KB.
fn tls(own: Option<&Authorities>) -> Arc<rustls::ClientConfig> {
    let mut roots = own.map_or_else(rustls::RootCertStore::empty, |own| own.roots().clone());
    roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    Arc::new(rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

/// Ends when Discord has refused every shard that tried and none was ever active: nothing will come of this run.
async fn refused(mut snapshots: Snapshots) -> String {
    loop {
        if snapshots.changed().await.is_err() {
            return std::future::pending().await;
        }
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        let ever_active = snapshot.rows.iter().any(|row| row.session_since.is_some() || row.events > 0);
        if ever_active {
            return std::future::pending().await;
        }
        let fatal = snapshot.rows.iter().find(|row| row.state == ShardState::Fatal);
        if let Some(close) = fatal.and_then(|row| row.close.as_ref()) {
            return close.reason.clone();
        }
    }
}

/// Waits for the workers' threads without blocking the runtime.
async fn join(workers: Workers) -> Result<(), Failure> {
    let joined = tokio::task::spawn_blocking(move || {
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| anyhow::bail!("it panicked")))
    });
    let limit = Duration::from_secs(30);
    match tokio::time::timeout(limit, pin!(joined)).await {
        Ok(Ok(ended)) => ended.map_err(Failure::Worker),
        _ => Err(Failure::Worker(anyhow::anyhow!("it did not end within {} s", limit.as_secs()))),
    }
}
