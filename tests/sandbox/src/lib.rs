//! A stand-in for Discord: REST and gateway on loopback with every rule enforced, seeded traffic, scripted faults,
//! and a ledger that gives a verdict on who received what. Start with [`Sandbox::start`].

pub mod bench;
mod bot;
mod clock;
mod config;
mod fault;
mod gateway;
mod http;
mod hub;
mod identify;
pub mod intents;
mod ledger;
mod rest;
mod sandbox;
mod tls;
mod traffic;
mod verdict;

pub use config::{ConfigError, GuildSize, Ports, Rate, SandboxConfig, SessionStarts};
pub use fault::{BotMode, Fault, FaultKind, Shards, When};
pub use gateway::{Compression, GenerationStatus, Heard, Status, Violation};
pub use sandbox::Sandbox;
pub use verdict::{TypeCount, Unreplayable, Verdict};
