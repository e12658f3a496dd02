//! `pilothouse-agent`: runs the shards of a Discord bot, delivers every event and survives restarts.
//!
//! The map, in reading order; each module uses only modules below it:
//! [`agent`] composes the rest and drains it; [`control`] answers consoles and HTTP; [`eval`] runs
//! scripts on a snapshot; [`fleet`] decides who
//! may identify; [`shard`] drives sockets, one session machine each; [`sinks`] deliver to the bot;
//! `standing` tasks end their worker when they fail; [`spool`] keeps on disk what the bot has not taken in time; [`pipeline`] is an event's way from session to sinks; [`store`] keeps what must survive;
//! [`gateway`] is the protocol, pure; [`telemetry`] counts and tells; [`config`] is valid by construction.

pub mod agent;
#[cfg(test)]
pub mod checks;
pub mod config;
pub mod control;
pub mod eval;
pub mod fleet;
pub mod gateway;
mod hash;
pub mod memory;
pub mod pipeline;
pub mod shard;
pub mod sinks;
pub mod spool;
mod standing;
pub mod store;
pub mod telemetry;
