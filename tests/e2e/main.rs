//! End to end: the agent against the sandbox through real sockets, with faults; the sandbox's verdict decides.

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
mod setup;
mod stages;
mod supervision;
mod tls;
