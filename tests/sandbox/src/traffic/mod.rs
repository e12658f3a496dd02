//! The traffic: guilds, the catalogue of event types with their weights, and the seeded generator that sends them.

mod catalog;
mod drive;
mod generator;
mod guilds;
mod template;
mod values;

pub(crate) use catalog::CATALOG;
pub(crate) use drive::drive;
pub(crate) use generator::{Generator, Target};
pub(crate) use guilds::{APPLICATION_ID, Guilds};
pub(crate) use template::{VARIANTS, push_number};
