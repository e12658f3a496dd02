//! Drives the shards: sockets, timers and threads round the pure machines of [`crate::gateway`].
//!
//! A [`worker`] is an OS thread with its own single-threaded runtime; its shards are pinned to it and share its
//! buffers. [`driver`] is the only loop of a shard: it reports to the machine what happened and does what it says.

pub mod codec;
pub mod connection;
pub mod context;
pub mod desk;
pub mod driver;
pub mod ear;
pub mod handle;
pub mod inflate;
pub mod row;
pub mod send;
pub mod socket;
mod staged;
pub mod tails;
pub mod worker;

pub use context::{Context, Shard};
pub use handle::{ShardCommand, Shards};
