//! The fleet of one agent alone: runs the permits, keeps the daily budget in the store and in step with Discord.

use std::time::{Duration, Instant};

use pilothouse_shared::snapshot::IdentifyRow;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::sleep_until;

use super::permits::{Limits, PermitInput, PermitOutput, Permits};
use crate::shard::Shards;
use crate::shard::handle::ToWorker;
use crate::store::{Budget, Change, StoreWriter};
use crate::telemetry::clock::unix_ms;

/// Grants permits until every sender of `inbox` is gone.
pub async fn run(
    mut permits: Permits,
    mut inbox: mpsc::Receiver<PermitInput>,
    shards: Shards,
    store: StoreWriter,
    row: watch::Sender<IdentifyRow>,
) {
    loop {
        let now = Instant::now();
        row.send_replace(describe(&permits, now));
        let wake = permits.wait().unwrap_or(now + Duration::from_secs(1)).min(now + Duration::from_secs(1));
        let input = tokio::select! {
            input = inbox.recv() => match input {
                Some(input) => input,
                None => return,
            },
            () = sleep_until(wake.into()) => PermitInput::Timer,
        };
        if let PermitInput::Hold(reason) = &input {
            tracing::error!("identifies are held: {reason}");
        }
        permits.handle(input, Instant::now());
        while let Some(output) = permits.poll_output() {
            perform(output, &permits, &shards, &store).await;
        }
    }
}

async fn perform(output: PermitOutput, permits: &Permits, shards: &Shards, store: &StoreWriter) {
    // Gone workers need no permits: the agent shuts down.
    match output {
        PermitOutput::Dial(shard) => drop(shards.tell(shard, ToWorker::Dial(shard)).await),
        PermitOutput::Permit(shard) => drop(shards.tell(shard, ToWorker::Permit(shard)).await),
        PermitOutput::Budget => keep(permits.limits(), store),
    }
}

fn keep(limits: Limits, store: &StoreWriter) {
    let budget = Budget { total: limits.total, remaining: limits.remaining, resets_at_ms: unix_ms(limits.resets_at) };
    let (done, _) = oneshot::channel();
    if store.save(vec![Change::Budget(budget)], done).is_err() {
        tracing::warn!("the store is behind: the identify budget is not stored");
    }
}

fn describe(permits: &Permits, now: Instant) -> IdentifyRow {
    let limits = permits.limits();
    IdentifyRow {
        total: limits.total,
        remaining: limits.remaining,
        resets_at: unix_ms(limits.resets_at),
        max_concurrency: limits.max_concurrency,
        reserve: permits.reserve(),
        waiting: u32::try_from(permits.waiting()).unwrap_or(u32::MAX),
        done_at: permits.done_at(now).map(unix_ms),
        held: permits.held(),
    }
}
