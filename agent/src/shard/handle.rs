//! Reaches the shards of this agent from any thread: commands in, details out.

use std::sync::Arc;
use std::time::Duration;

use pilothouse_shared::snapshot::ShardDetail;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::desk::MembersResult;
use super::tails::EventTap;
use crate::config::Config;
use crate::fleet::placement::Placement;
use crate::gateway::commands::Standing;
use crate::gateway::members::MembersRequest;
use crate::gateway::payload::Payload;
use crate::sinks::SinkOrder;
use crate::sinks::dead::Letter;

/// What can be asked of one shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ShardCommand {
    /// Close the connection and come back: by a resume, or with a new session.
    Restart {
        /// Spend an identify on a new session.
        identify: bool,
    },
    /// Close the connection with this code, then do what the code asks for.
    Close {
        /// 3000 to 4999.
        code: u16,
    },
}

/// A message to a worker's thread.
#[derive(Debug)]
pub enum ToWorker {
    /// For one of its shards.
    Command(u32, ShardCommand),
    /// Send this on one of its shards.
    Send(u32, Payload, oneshot::Sender<Standing>),
    /// Ask for members of a guild of one of its shards.
    Members(u32, MembersRequest, oneshot::Sender<MembersResult>),
    /// Go by these settings from now on, as far as they can change.
    Adopt(Arc<Config>, oneshot::Sender<()>),
    /// Describe one of its shards.
    Detail(u32, oneshot::Sender<ShardDetail>),
    /// Somebody watches its events.
    Tail(EventTap),
    /// For its instance of the sink of this name.
    Sink(Arc<str>, SinkOrder),
    /// Deliver these dead letters of the sink of this name again; answered when they are safe.
    Resend(Arc<str>, Arc<[Letter]>, oneshot::Sender<()>),
    /// The shard's turn to identify is near.
    Dial(u32),
    /// The permit that the shard waits for.
    Permit(u32),
    /// Leave every connection so that it can be resumed, let the sinks finish, store, end.
    Stop,
}

/// Reaches every shard of this agent. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shards {
    placement: Placement,
    total: u32,
    workers: Arc<[mpsc::Sender<ToWorker>]>,
}

/// The shard's worker has ended: the agent is shutting down.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the agent is shutting down")]
pub struct Gone;

impl Shards {
    /// Over the inboxes of the workers, in their order.
    pub fn new(placement: Placement, total: u32, workers: Arc<[mpsc::Sender<ToWorker>]>) -> Self {
        Self { placement, total, workers }
    }

    /// Shards of the bot in all.
    pub fn total(&self) -> u32 {
        self.total
    }

    /// Passes a command on; its effect shows in the shard's state.
    ///
    /// # Errors
    /// [`Gone`] while shutting down.
    pub async fn command(&self, shard: u32, command: ShardCommand) -> Result<(), Gone> {
        self.tell(shard, ToWorker::Command(shard, command)).await
    }

    /// One shard in depth; none where it does not exist or the agent is shutting down.
    pub async fn detail(&self, shard: u32) -> Option<ShardDetail> {
        let (answer, detail) = oneshot::channel();
        self.tell(shard, ToWorker::Detail(shard, answer)).await.ok()?;
        detail.await.ok()
    }

    /// Passes an order to every worker's instance of the sink called `name`.
    ///
    /// # Errors
    /// [`Gone`] while shutting down.
    pub async fn order(&self, name: &str, order: SinkOrder) -> Result<(), Gone> {
        let name: Arc<str> = name.into();
        for worker in self.workers.iter() {
            worker.send(ToWorker::Sink(Arc::clone(&name), order)).await.map_err(|_| Gone)?;
        }
        Ok(())
    }

    /// Delivers dead letters of the sink called `name` again; ready when all of them are safe in the spool.
    ///
    /// # Errors
    /// [`Gone`] while shutting down.
    pub async fn resend(&self, name: &str, letters: Vec<Letter>) -> Result<(), Gone> {
        let (name, letters): (Arc<str>, Arc<[Letter]>) = (name.into(), letters.into());
        let mut safe = Vec::new();
        for worker in self.workers.iter() {
            let (done, answer) = oneshot::channel();
            let message = ToWorker::Resend(Arc::clone(&name), Arc::clone(&letters), done);
            worker.send(message).await.map_err(|_| Gone)?;
            safe.push(answer);
        }
        for answer in safe {
            answer.await.map_err(|_| Gone)?;
        }
        Ok(())
    }

    /// Has every worker go by these settings from now on, as far as they can change; the numbers of workers that did not
    /// take them within `patience`.
    pub async fn adopt(&self, config: Config, patience: Duration) -> Vec<u16> {
        let config = Arc::new(config);
        let told = self.workers.iter().map(|worker| {
            let (done, taken) = oneshot::channel();
            let message = ToWorker::Adopt(Arc::clone(&config), done);
            timeout(patience, async { worker.send(message).await.is_ok() && taken.await.is_ok() })
        });
        let taken = futures_util::future::join_all(told).await;
        (0..).zip(taken).filter(|(_, taken)| !matches!(taken, Ok(true))).map(|(worker, _)| worker).collect()
    }

    /// Shows the events of every worker to a console.
    ///
    /// # Errors
    /// [`Gone`] while shutting down.
    pub async fn tail(&self, tap: EventTap) -> Result<(), Gone> {
        for worker in self.workers.iter() {
            worker.send(ToWorker::Tail(tap.clone())).await.map_err(|_| Gone)?;
        }
        Ok(())
    }

    /// Tells every worker to stop.
    pub(crate) async fn stop(&self) {
        for worker in self.workers.iter() {
            // A worker that has ended is stopped.
            let _ = worker.send(ToWorker::Stop).await;
        }
    }

    /// Sends to the worker that runs `shard`.
    pub(crate) async fn tell(&self, shard: u32, message: ToWorker) -> Result<(), Gone> {
        let worker = self.placement.worker(shard);
        self.workers[usize::from(worker)].send(message).await.map_err(|_| Gone)
    }
}
