//! Counts and tells: samples of the workers, snapshots for consoles, logs.

pub mod clock;
pub mod date;
pub mod findings;
pub mod log_taps;
pub mod logs;
pub mod process;
pub mod sampler;
pub mod snapshot;
pub mod tap;
