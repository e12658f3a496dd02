//! One row of the table: what the feed sends and how, told to child processes as words of a command line.

use std::fmt;

use anyhow::{Context, bail};

/// Events before the measured window, as a share of all: connections, caches and contexts are warm after it.
const WARM: u64 = 5;
/// Events a second over all shards of a paced row.
pub(crate) const PACE: u64 = 4_000;

/// How the bytes are packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Packing {
    None,
    Zlib,
    Zstd,
}

/// One row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Row {
    pub(crate) shards: u32,
    pub(crate) packing: Packing,
    pub(crate) paced: bool,
    /// Events of every shard.
    pub(crate) each: u64,
}

impl Row {
    /// A row of the usual size: about a second of work for the floor, or five seconds of paced traffic.
    pub(crate) fn new(shards: u32, packing: Packing, paced: bool) -> Self {
        let events = match packing {
            _ if paced => PACE * 5,
            Packing::None => 400_000,
            Packing::Zlib | Packing::Zstd => 200_000,
        };
        Self { shards, packing, paced, each: events / u64::from(shards) }
    }

    /// Every row: each number of shards with each packing, back to back and paced.
    pub(crate) fn all() -> Vec<Self> {
        let mut rows = Vec::new();
        for paced in [false, true] {
            for packing in [Packing::None, Packing::Zlib, Packing::Zstd] {
                rows.extend([1, 16, 200, 1_000].map(|shards| Self::new(shards, packing, paced)));
            }
        }
        rows
    }

    /// Two rows that end within seconds.
    pub(crate) fn quick() -> Vec<Self> {
        vec![Self::new(16, Packing::Zlib, false), Self::new(16, Packing::Zlib, true)]
    }

    /// Events of all shards.
    pub(crate) fn events(&self) -> u64 {
        self.each * u64::from(self.shards)
    }

    /// Events that are sent before the measured window.
    pub(crate) fn warm(&self) -> u64 {
        self.events() / WARM
    }

    /// The words that [`Self::from_words`] reads.
    pub(crate) fn words(&self) -> Vec<String> {
        vec![self.shards.to_string(), self.packing.to_string(), self.mode().to_owned(), self.each.to_string()]
    }

    /// Reads what [`Self::words`] wrote.
    pub(crate) fn from_words(words: &[String]) -> anyhow::Result<Self> {
        let [shards, packing, mode, each] = words else { bail!("a row is four words, not {words:?}") };
        let packing = match packing.as_str() {
            "none" => Packing::None,
            "zlib" => Packing::Zlib,
            "zstd" => Packing::Zstd,
            other => bail!("{other:?} is no packing"),
        };
        let shards = shards.parse().context("the number of shards")?;
        let each = each.parse().context("the number of events")?;
        Ok(Self { shards, packing, paced: mode == "paced", each })
    }

    fn mode(&self) -> &'static str {
        if self.paced { "paced" } else { "back-to-back" }
    }
}

impl fmt::Display for Packing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::None => "none",
            Self::Zlib => "zlib",
            Self::Zstd => "zstd",
        })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.shards == 1 { "" } else { "s" };
        write!(out, "{} shard{plural} {} {}", self.shards, self.packing, self.mode())
    }
}
