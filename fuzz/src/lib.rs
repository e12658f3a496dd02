//! The agent's parsers without the rest of the agent, so that instrumenting them takes seconds.

#[path = "../../agent/src/checks.rs"]
pub mod checks;

/// As in the agent.
pub mod config {
    /// How Discord compresses what it sends.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Compression {
        /// `zlib-stream`.
        Zlib,
        /// `zstd-stream`.
        Zstd,
        /// Not at all.
        None,
    }
}

/// As in the agent.
#[path = "."]
pub mod gateway {
    #[path = "../../agent/src/gateway/frame.rs"]
    pub mod frame;
    #[path = "../../agent/src/gateway/kind.rs"]
    pub mod kind;
    #[path = "../../agent/src/gateway/scan.rs"]
    pub mod scan;
}

/// As in the agent.
#[path = "."]
pub mod shard {
    #[path = "../../agent/src/shard/codec.rs"]
    pub mod codec;
    #[path = "../../agent/src/shard/inflate.rs"]
    pub mod inflate;
}

/// The cuts that a target's input begins with: a count, then so many sizes. Returns them and the rest.
pub fn cuts(input: &[u8]) -> Option<(Vec<usize>, &[u8])> {
    let (count, rest) = input.split_first()?;
    let (cuts, rest) = rest.split_at_checked(usize::from(*count))?;
    Some((cuts.iter().map(|cut| usize::from(*cut)).collect(), rest))
}
