//! What the sandbox's threads share: the clock, the gateway's state, the ledger, and switches for ports and the bot.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::{Clock, micros};
use crate::config::SandboxConfig;
use crate::fault::{BotMode, Fault, FaultKind};
use crate::gateway::State;
use crate::ledger::Ledger;
use crate::rest::RestFaults;
use crate::tls::Tls;
use crate::verdict::Verdict;

/// Deliveries kept for a test to look at; of more the first are forgotten.
const KEPT: usize = 10_000;

/// Shared by the gateway's thread, the HTTP thread and the library's callers. Lock order: state, then ledger.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) clock: Clock,
    pub(crate) hello_delay: Duration,
    pub(crate) heartbeat_us: u64,
    /// Compression levels: zlib, zstd.
    pub(crate) levels: (u32, i32),
    /// What the gateway's ports speak TLS with, if they do.
    pub(crate) tls: Option<Tls>,
    pub(crate) rest: Mutex<RestFaults>,
    /// Until when the gateway's ports are closed: the main one, the resume one.
    pub(crate) closed: [watch::Sender<u64>; 2],
    pub(crate) bot: watch::Sender<BotMode>,
    /// What the bot got, while somebody wants to see it.
    kept: Mutex<Option<VecDeque<Vec<u8>>>>,
    state: Mutex<State>,
    ledger: Arc<Mutex<Ledger>>,
}

impl Hub {
    pub(crate) fn new(config: SandboxConfig, tls: Option<Tls>) -> Self {
        let clock = Clock::start();
        let ledger = Arc::new(Mutex::new(Ledger::new(config.guilds)));
        Self {
            clock,
            hello_delay: config.hello_delay,
            heartbeat_us: micros(config.heartbeat_interval),
            levels: (config.zlib_level, config.zstd_level),
            tls,
            rest: Mutex::default(),
            closed: [watch::Sender::new(0), watch::Sender::new(0)],
            bot: watch::Sender::new(BotMode::Up),
            kept: Mutex::default(),
            state: Mutex::new(State::new(config, Arc::clone(&ledger), clock.now_us())),
            ledger,
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn rest(&self) -> MutexGuard<'_, RestFaults> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn fault(&self, fault: &Fault) {
        match fault.kind {
            FaultKind::Refuse { ms, resume_only } => self.close_ports(ms, resume_only),
            FaultKind::RestStatus { status, times, retry_after } => self.rest().set(status, times, retry_after),
            FaultKind::Bot { mode } => drop(self.bot.send_replace(mode)),
            _ => self.state().strike(fault),
        }
    }

    pub(crate) fn received(&self, payload: &[u8]) {
        let now_us = self.clock.now_us();
        self.ledger().received(payload, now_us);
        if let Some(kept) = &mut *self.kept() {
            if kept.len() == KEPT {
                kept.pop_front();
            }
            kept.push_back(payload.to_owned());
        }
    }

    /// What the bot got since the last call. Only from the first call on is it kept.
    pub(crate) fn take_kept(&self) -> VecDeque<Vec<u8>> {
        self.kept().replace(VecDeque::new()).unwrap_or_default()
    }

    fn kept(&self) -> MutexGuard<'_, Option<VecDeque<Vec<u8>>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn verdict(&self) -> Verdict {
        let violations = self.state().violations();
        self.ledger().verdict(violations)
    }

    fn close_ports(&self, ms: u64, resume_only: bool) {
        let until = self.clock.now_us() + ms * 1000;
        self.closed[1].send_replace(until);
        if !resume_only {
            self.closed[0].send_replace(until);
        }
    }
}
