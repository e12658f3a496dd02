//! What the agent and the console both speak. Pure: no clock, no socket, no runtime.
//!
//! In reading order: [`ids`] and [`event_types`] name things, [`paths`] says where an agent keeps its data, [`selector`] names sets of
//! shards, [`span`] spans of time, [`command`] is the one
//! grammar of everything that can be asked, [`grammar`] tells it as data, [`plan`] tells what a command would do, [`stage`] names what may be done to events, [`snapshot`] is what
//! an agent tells about itself, [`page`] a list of shards by their [`fields`] and a [`filter`], [`stream`] what can be watched, and [`wire`]
//! puts all of it into frames.

pub mod command;
pub mod event_types;
pub mod fields;
pub mod filter;
pub mod grammar;
pub mod ids;
pub mod page;
pub mod paths;
pub mod plan;
pub mod selector;
pub mod snapshot;
pub mod span;
pub mod stage;
pub mod stream;
pub mod wire;
