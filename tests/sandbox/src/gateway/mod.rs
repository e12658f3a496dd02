//! The gateway: pure rules and sessions, and a thin driver for each connection.
//!
//! Pure are `close`, `frames`, `message`, `session`, `sessions`, `state`, `protocol`, `requests` and `strike`: they take
//! the time as an argument and return `Order`s. `connection` owns a socket, `wire` its bytes, `doors` the ports.

mod arrival;
mod close;
mod compress;
mod connection;
mod doors;
mod frames;
mod handshake;
mod message;
mod payloads;
mod protocol;
mod requests;
mod session;
mod sessions;
mod state;
mod strike;
mod wire;

pub use compress::Compression;
pub(crate) use doors::{Door, open_door, serve};
pub(crate) use session::{Body, Entry, Terms};
pub(crate) use sessions::Sessions;
pub(crate) use state::State;
pub use state::{GenerationStatus, Heard, Status, Violation};
