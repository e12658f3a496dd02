//! An event's way from its session to the sinks.
//!
//! Contract: every dispatch of a session is opened in its [`lane::Lane`] in order and confirmed there once by
//! every sink; the lane's confirmed sequence is what is stored, heartbeated and resumed from. Before that the
//! [`stages`] may rename it, or drop it: a dropped one is opened for no sink.

pub mod event;
pub mod lane;
pub mod stages;

pub use event::{Event, Origin};
pub use lane::{Lane, Progress};
pub use stages::Stages;
