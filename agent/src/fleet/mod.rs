//! Two questions: who runs a shard, and who may identify now.

pub mod breaker;
pub mod local;
pub mod permits;
pub mod placement;
pub mod session_info;
