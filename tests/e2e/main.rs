//! End to end: the agent against the sandbox through real sockets, with faults; the sandbox's verdict decides.

mod access;
mod bot_api;
mod chat;
mod clients;
mod commands;
mod delivery;
mod disk;
mod faults;
mod files;
mod orders;
mod refusals;
mod restart;
mod scale;
mod scripts;
mod settings;
mod setup;
mod stages;
mod supervision;
mod tls;
