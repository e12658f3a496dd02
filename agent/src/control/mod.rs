//! Answers consoles and HTTP on one address: health, state, commands, and the consoles' WebSocket.
//!
//! Contract: nothing here slows the agent. Everything shown comes from the newest snapshot, everything done goes
//! through [`Shards`], and what a client costs is bounded: connections, their time, bodies, frames, consoles.
//! Without the [`token::Token`] only `/healthz` and `/readyz` answer.

mod access;
mod discord;
mod dispatch;
mod door;
mod feed;
mod http;
mod link;
mod sinks;
mod streams;
#[cfg(test)]
mod tests;
mod text;
pub mod token;

use std::sync::Arc;
use std::time::Duration;

use pilothouse_shared::wire::{FromAgent, PROTOCOL, Role};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};

pub use self::dispatch::Refused;

use self::access::Access;
use self::door::{Door, Peer};
use self::token::Token;
use crate::fleet::permits::PermitInput;
use crate::shard::Shards;
use crate::sinks::dead::DeadLetters;
use crate::telemetry::snapshot::{Snapshot, Snapshots};

/// Consoles attached at a time.
const CONSOLES: u32 = 64;
/// For consoles to take their goodbye.
const GOODBYE: Duration = Duration::from_secs(2);

/// What the control surface knows and reaches.
pub struct Control {
    agent: String,
    fleet: String,
    access: Access,
    snapshots: Snapshots,
    shards: Shards,
    permits: mpsc::Sender<PermitInput>,
    /// Of each sink.
    dead_letters: Vec<Arc<DeadLetters>>,
}

impl Control {
    /// Of the agent called `agent` in `fleet`; whoever shows `token` is an admin.
    pub fn new(
        agent: &str,
        fleet: &str,
        token: Token,
        snapshots: Snapshots,
        shards: Shards,
        permits: mpsc::Sender<PermitInput>,
        dead_letters: &[Arc<DeadLetters>],
    ) -> Self {
        let (agent, fleet, access) = (agent.to_owned(), fleet.to_owned(), Access::new(token));
        Self { agent, fleet, access, snapshots, shards, permits, dead_letters: dead_letters.to_vec() }
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

/// Answers on `listener` until `shutdown`; then the consoles are told, and have 2 s to take it.
pub async fn serve(listener: TcpListener, control: Control, shutdown: impl Future<Output = ()>) {
    let (close, closing) = watch::channel(false);
    let consoles = Arc::new(Semaphore::new(CONSOLES as usize));
    let server = http::Server { control, consoles: Arc::clone(&consoles), closing };
    let service = http::router(Arc::new(server)).into_make_service_with_connect_info::<Peer>();
    tokio::select! {
        _ = axum::serve(Door::new(listener), service).into_future() => {}
        () = shutdown => {}
    }
    close.send_replace(true);
    let _ = tokio::time::timeout(GOODBYE, consoles.acquire_many(CONSOLES)).await;
}
