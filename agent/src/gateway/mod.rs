//! PURE: Discord's gateway protocol. No clock, no socket, no runtime, no randomness but a seeded generator.
//!
//! [`machine`] is the life of one session: `handle(input, now)`, then drain `poll_output()`; the driver in
//! [`crate::shard`] does what the outputs say. The rest are its parts and the protocol's facts as data.

pub mod backoff;
pub mod budget;
pub mod close;
pub mod commands;
pub mod frame;
pub mod guilds;
pub mod heartbeat;
pub mod kind;
pub mod machine;
pub mod members;
pub mod payload;
pub mod presence;
pub mod scan;
pub mod session;
pub mod signal;

pub use machine::Machine;
pub use signal::{Input, Output};
