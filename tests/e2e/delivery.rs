//! Every event reaches the bot once and in order, whatever the compression, also while the bot is away.

use std::time::Duration;

use pilothouse_agent::config::Compression;
use pilothouse_sandbox::BotMode;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::setup::{config, connected, sandbox, verdict};

#[tokio::test(flavor = "multi_thread")]
async fn every_event_arrives_once_and_in_order_with_any_compression() {
    for compression in [Compression::None, Compression::Zlib, Compression::Zstd] {
        let sandbox = sandbox(8, 1_000.0).await;
        let data = TempDir::new().expect("a temporary folder");
        let mut config = config(&sandbox, &data, 8);
        config.compression = compression;
        let agent = connected(&sandbox, config, 8).await;
        sleep(Duration::from_secs(2)).await;
        let verdict = verdict(&sandbox).await;
        assert!(verdict.clean() && verdict.received > 1_000, "{compression:?}: {verdict:?}");
        assert_eq!(verdict.unreplayable.total(), 0);
        agent.stop().await.expect("a clean end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_is_away_or_refuses_loses_nothing() {
    for mode in [
        BotMode::Down,
        BotMode::Status { status: 500, retry_after: None },
        BotMode::Status { status: 429, retry_after: Some(1) },
        BotMode::Status { status: 401, retry_after: None },
        BotMode::Slow { ms: 20 },
    ] {
        let sandbox = sandbox(4, 400.0).await;
        let data = TempDir::new().expect("a temporary folder");
        let agent = connected(&sandbox, config(&sandbox, &data, 4), 4).await;
        sandbox.bot(mode);
        sleep(Duration::from_secs(4)).await;
        sandbox.bot(BotMode::Up);
        sleep(Duration::from_secs(1)).await;
        let verdict = verdict(&sandbox).await;
        assert!(verdict.clean(), "{mode:?}: {verdict:?}");
        assert_eq!(verdict.unreplayable.total(), 0, "{mode:?}: {verdict:?}");
        agent.stop().await.expect("a clean end");
    }
}
