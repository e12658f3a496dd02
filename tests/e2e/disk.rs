//! A disk that is full while the bot is away: sockets are held, people are told, and nothing is lost.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use pilothouse_agent::config::Config;
use pilothouse_sandbox::{BotMode, SandboxConfig};
use pilothouse_shared::snapshot::ShardState;
use pilothouse_tests::{AgentProcess, Control, free_address, full, told};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::setup::{PATIENCE, config, sandbox_config, start, verdict};

const SHARDS: u32 = 4;

/// A small file system of its own, which only root can make.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = TempDir::new().expect("a temporary folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=128m", "tmpfs"]).arg(folder.path());
        let mounted = mount.output().is_ok_and(|done| done.status.success());
        mounted.then_some(Self(folder))
    }

    fn ballast(&self) -> std::path::PathBuf {
        self.0.path().join("ballast")
    }

    /// Leaves not a byte.
    fn fill(&self) {
        let mut ballast = File::create(self.ballast()).expect("there is room for a name");
        let mut block = vec![0; 1 << 20];
        while !block.is_empty() {
            if ballast.write_all(&block).is_err() {
                block.truncate(block.len() / 2);
            }
        }
    }

    /// Leaves so many bytes.
    fn fill_but(&self, bytes: u64) {
        self.fill();
        let ballast = File::options().write(true).open(self.ballast()).expect("it is filled");
        let length = ballast.metadata().expect("it has a size").len();
        ballast.set_len(length - bytes).expect("it can shrink");
    }

    fn free(&self) {
        std::fs::remove_file(self.ballast()).expect("it was filled");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // One that stays is seen by whoever looks for mounts; there is nothing else to do about it.
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_holds_sockets_says_so_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount() else {
        return eprintln!("SKIPPED: a full disk: this process may not mount a small file system");
    };
    let sandbox = start(SandboxConfig { strict: true, ..sandbox_config(SHARDS, 800.0) }).await;
    let data: &Path = disk.0.path();
    let mut config = Config { listen: free_address(), ..config(&sandbox, &disk.0, SHARDS) };
    assert_eq!(config.data_dir, data);
    config.spool.reserve_bytes = 1 << 20;
    let control = Control::of(&config);
    let agent = AgentProcess::start_quiet(&config);
    assert!(sandbox.connected(SHARDS as usize, PATIENCE).await, "{:?}", sandbox.status());
    sandbox.bot(BotMode::Down);
    control.sink("http", PATIENCE, |row| row.spooled > 500).await;
    disk.fill();
    let status = control
        .shows(PATIENCE, |status| {
            let held = status.states.iter().any(|(state, count)| *state == ShardState::Held && *count == SHARDS);
            held && status.findings.iter().any(|finding| finding.text.contains("disk full"))
        })
        .await;
    println!("{:?}", status.findings.iter().map(|finding| &finding.text).collect::<Vec<_>>());
    sleep(Duration::from_secs(if full() { 20 } else { 2 })).await;
    disk.free();
    control.shows(PATIENCE, |status| !status.findings.iter().any(|finding| finding.text.contains("disk"))).await;
    sandbox.bot(BotMode::Up);
    sleep(Duration::from_secs(1)).await;
    let verdict = verdict(&sandbox).await;
    println!("a full disk while the bot is away: {}", told(&verdict));
    assert!(verdict.clean() && verdict.unreplayable.total() == 0, "{verdict:?}");
    agent.kill();
}

/// The disk is full for all of it: what the bot takes goes on from memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_does_not_stop_a_bot_that_hangs_for_a_moment() {
    const MIB: u64 = 1 << 20;
    let Some(disk) = SmallDisk::mount() else {
        return eprintln!("SKIPPED: a full disk: this process may not mount a small file system");
    };
    let sandbox = start(SandboxConfig { strict: true, ..sandbox_config(SHARDS, 800.0) }).await;
    let mut config = Config { listen: free_address(), ..config(&sandbox, &disk.0, SHARDS) };
    config.spool.reserve_bytes = 64 * MIB;
    let agent = AgentProcess::start_quiet(&config);
    assert!(sandbox.connected(SHARDS as usize, PATIENCE).await, "{:?}", sandbox.status());
    disk.fill_but(24 * MIB);
    sandbox.bot(BotMode::Down);
    sleep(Duration::from_secs(2)).await;
    sandbox.bot(BotMode::Up);
    sleep(Duration::from_secs(2)).await;
    let verdict = verdict(&sandbox).await;
    println!("a disk that stays full: {}", told(&verdict));
    assert!(verdict.clean() && verdict.unreplayable.total() == 0, "{verdict:?}");
    agent.kill();
}
