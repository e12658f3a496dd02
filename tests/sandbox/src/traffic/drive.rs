//! The pace of the traffic: asks the state for as many events as are due, a slice at a time.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Rate;
use crate::hub::Hub;

/// Events generated before the connections get a turn.
const SLICE: usize = 256;
/// A connected client this far behind holds a flood back.
const FLOOD_BACKLOG: u64 = 4096;
const TICK: Duration = Duration::from_millis(1);
const SWEEP_US: u64 = 100_000;

/// Generates and sweeps for ever.
pub(crate) async fn drive(hub: Arc<Hub>) {
    let mut last_us = hub.clock.now_us();
    let mut swept_us = last_us;
    let mut due = 0.0;
    loop {
        let now_us = hub.clock.now_us();
        let rate = hub.state().config.rate;
        match rate {
            Rate::PerSecond(rate) => {
                // After a stall at most one second is caught up.
                due = (due + rate * (now_us - last_us) as f64 / 1e6).min(rate.max(1.0));
                due -= generate(&hub, due as usize).await as f64;
                tokio::time::sleep(TICK).await;
            }
            Rate::Flood => flood(&hub).await,
        }
        last_us = now_us;
        if swept_us + SWEEP_US <= now_us {
            swept_us = now_us;
            hub.state().sweep(now_us);
        }
    }
}

async fn generate(hub: &Hub, count: usize) -> usize {
    let mut left = count;
    while left > 0 {
        let slice = left.min(SLICE);
        hub.state().generate(slice, hub.clock.now_us());
        left -= slice;
        tokio::task::yield_now().await;
    }
    count
}

async fn flood(hub: &Hub) {
    let backlog = hub.state().backlog();
    if backlog < FLOOD_BACKLOG {
        generate(hub, SLICE).await;
    } else {
        tokio::time::sleep(TICK).await;
    }
}
