//! Answers consoles and HTTP on one address: health, state, commands, and the consoles' WebSocket.
//!
//! Contract: nothing here slows the agent. Everything shown comes from the newest snapshot, everything done goes
//! through [`Shards`], and what a client costs is bounded: connections, their time, bodies, frames, consoles.
//! Without a token only `/healthz` and `/readyz` answer.

mod access;
pub mod audit;
mod bot;
mod caller;
pub mod chat;
mod discord;
mod dispatch;
mod door;
mod failures;
mod feed;
mod http;
mod jobs;
mod link;
mod planning;
mod plans;
mod private;
mod refused;
mod scripts;
mod settings;
mod sinks;
mod stream;
mod streams;
#[cfg(test)]
mod tests;
mod text;
pub mod tls;
pub mod token;
pub mod tokens;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pilothouse_shared::wire::{FromAgent, PROTOCOL, Role};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::signal::unix::Signal;
use tokio::sync::{Semaphore, mpsc, watch};

pub use self::caller::{Caller, Way};
pub use self::refused::Refused;
pub use self::settings::SettingError;

use self::access::Access;
use self::audit::Audit;
use self::door::{Door, Peer};
use self::failures::Refusals;
use self::jobs::Jobs;
use self::plans::Plans;
use self::scripts::Scripts;
use self::settings::Settings;
use self::token::Token;
use crate::config::{Loaded, Secrets, Sources};
use crate::fleet::permits::PermitInput;
use crate::shard::Shards;
use crate::sinks::dead::DeadLetters;
use crate::spool::Spool;
use crate::store::{Job, StoreWriter};
use crate::telemetry::snapshot::{Snapshot, Snapshots};

/// Consoles attached at a time.
const CONSOLES: u32 = 64;
/// For consoles to take their goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// What the control surface reaches.
pub struct Reach {
    /// What is shown.
    pub snapshots: Snapshots,
    /// The workers.
    pub shards: Shards,
    /// To the fleet.
    pub permits: mpsc::Sender<PermitInput>,
    /// Of each sink.
    pub dead_letters: Vec<Arc<DeadLetters>>,
    /// The sinks' queues on disk.
    pub spool: Option<Spool>,
    /// Where jobs are stored.
    pub store: StoreWriter,
    /// Those of earlier runs.
    pub jobs: Vec<Job>,
}

/// What the control surface knows and reaches.
pub struct Control {
    agent: String,
    fleet: String,
    access: Access,
    audit: Audit,
    secrets: Arc<Secrets>,
    identify_interval: Duration,
    snapshots: Snapshots,
    shards: Shards,
    permits: mpsc::Sender<PermitInput>,
    dead_letters: Vec<Arc<DeadLetters>>,
    spool: Option<Spool>,
    settings: Settings,
    jobs: Jobs,
    plans: Mutex<Plans>,
    refusals: Mutex<Refusals>,
    scripts: Scripts,
}

impl Control {
    /// Of an agent with this configuration; whoever shows `token` is an admin, called `local`.
    pub fn new(loaded: Loaded, token: Token, reach: Reach) -> Self {
        let Reach { snapshots, shards, permits, dead_letters, spool, store, jobs } = reach;
        let config = &loaded.config;
        let secrets = Arc::new(Secrets::new(config.secrets().chain([token.secret().clone()])));
        Self {
            agent: config.name.clone(),
            fleet: config.fleet.clone(),
            access: Access::new(token, config),
            audit: Audit::new(&config.data_dir, config.control.audit_keep, Arc::clone(&secrets)),
            secrets,
            identify_interval: config.gateway.identify_interval,
            scripts: Scripts::new(config.scripts.clone()),
            snapshots,
            shards,
            permits,
            dead_letters,
            spool,
            settings: Settings::new(loaded),
            jobs: Jobs::new(store, &jobs),
            plans: Mutex::default(),
            refusals: Mutex::default(),
        }
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshots.borrow())
    }

    fn hello(&self, role: Role) -> FromAgent {
        FromAgent::Hello {
            protocol: PROTOCOL,
            agent: self.agent.clone(),
            fleet: self.fleet.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            role,
        }
    }
}

/// Reads the configuration anew at each SIGHUP, and logs what that changed.
pub async fn reread_at_hangup(control: Arc<Control>, sources: Sources, mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        match control.reread(&sources).await {
            Ok(said) => tracing::info!("the configuration was read anew: {said}"),
            Err(refused) => tracing::error!("the configuration was read anew: {refused}"),
        }
    }
}

/// Where requests come in.
pub struct Listeners {
    /// Consoles, scripts and the bot.
    pub consoles: TcpListener,
    /// TLS of that one.
    pub tls: Option<Arc<ServerConfig>>,
    /// The bot only.
    pub bot: Option<TcpListener>,
}

/// Answers on the listeners until `shutdown`; then the consoles are told, and have 2 s to take it.
pub async fn serve(listeners: Listeners, control: Arc<Control>, shutdown: impl Future<Output = ()>) {
    let Listeners { consoles: listener, tls, bot } = listeners;
    let (close, closing) = watch::channel(false);
    let consoles = Arc::new(Semaphore::new(CONSOLES as usize));
    let server = http::Server { control: Arc::clone(&control), consoles: Arc::clone(&consoles), closing };
    let server = Arc::new(server);
    let for_bot = bot::router(Arc::clone(&server)).into_make_service_with_connect_info::<Peer>();
    let service = http::router(server).into_make_service_with_connect_info::<Peer>();
    let bot = async {
        match bot {
            Some(bot) => axum::serve(Door::new(bot, None), for_bot).into_future().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = axum::serve(Door::new(listener, tls), service).into_future() => {}
        _ = bot => {}
        () = shutdown => {}
    }
    close.send_replace(true);
    let _ = tokio::time::timeout(GOODBYE, consoles.acquire_many(CONSOLES)).await;
    control.jobs.close();
}
