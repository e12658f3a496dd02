//! Every rule of the sandbox, seen from outside by a client that nobody here wrote.

mod client;
mod closes;
mod compression;
mod faults;
mod requests;
mod rest;
mod sessions;
mod tls;
mod verdicts;
