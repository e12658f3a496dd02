//! The whole agent at one moment, shared by everything that looks at it.

use std::sync::Arc;

use pilothouse_shared::snapshot::{Overview, ShardRow};
use tokio::sync::watch;

/// What the sampler last saw.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Totals.
    pub overview: Overview,
    /// Every shard of this agent, ascending.
    pub rows: Vec<ShardRow>,
}

/// Where the newest snapshot is read; it changes twice a second.
pub type Snapshots = watch::Receiver<Arc<Snapshot>>;
