//! A sandbox and an agent on it, under load.

use std::time::Duration;

use pilothouse_agent::config::Config;
use pilothouse_sandbox::{Rate, Sandbox, SandboxConfig, Verdict};
use pilothouse_tests::{Agent, Control, free_address};
use tempfile::TempDir;

/// Long enough for anything here on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A sandbox with a short identify window, a short heartbeat and `rate` events a second.
pub(crate) async fn sandbox(shards: u32, rate: f64) -> Sandbox {
    start(sandbox_config(shards, rate)).await
}

/// The configuration of [`sandbox`].
pub(crate) fn sandbox_config(shards: u32, rate: f64) -> SandboxConfig {
    SandboxConfig {
        shards,
        guilds: shards * 10,
        max_concurrency: 16,
        identify_window: Duration::from_millis(100),
        heartbeat_interval: Duration::from_millis(1_500),
        rate: Rate::PerSecond(rate),
        ..SandboxConfig::default()
    }
}

/// Starts a sandbox.
pub(crate) async fn start(config: SandboxConfig) -> Sandbox {
    Sandbox::start(config).await.expect("the sandbox starts")
}

/// A configuration that suits [`sandbox`].
pub(crate) fn config(sandbox: &Sandbox, data: &TempDir, shards: u32) -> Config {
    let mut config = pilothouse_tests::config(sandbox, data, shards);
    config.gateway.identify_interval = Duration::from_millis(120);
    config
}

/// An agent whose shards are all connected, and which knows it: a session whose READY is lost with its connection, unread,
/// is nobody's to resume.
pub(crate) async fn connected(sandbox: &Sandbox, mut config: Config, shards: usize) -> Agent {
    if config.listen.port() == 0 {
        config.listen = free_address();
    }
    let control = Control::of(&config);
    let agent = Agent::start(config);
    let connected = sandbox.connected(shards, PATIENCE).await;
    if agent.is_over() {
        panic!("the agent has ended: {:?}", agent.ended().await);
    }
    assert!(connected, "not all shards connect: {:?}", sandbox.status());
    control.shows(PATIENCE, |seen| seen.agents.iter().any(|agent| agent.active as usize == shards)).await;
    agent
}

/// Stops the traffic, waits for the bot to have everything, gives the verdict.
pub(crate) async fn verdict(sandbox: &Sandbox) -> Verdict {
    sandbox.stop_traffic();
    sandbox.settle(PATIENCE).await;
    let verdict = sandbox.verdict();
    let violations = sandbox.status().violations;
    assert_eq!(verdict.violations, 0, "rules of Discord broken: {violations:?}");
    assert!(verdict.sent > 0 && verdict.received > 0, "nothing was sent: {verdict:?}");
    verdict
}
