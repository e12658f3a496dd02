//! kill -9: a child process appends and tells what was confirmed until it is killed.

use std::collections::HashMap;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

const FOLDER: &str = "PILOTHOUSE_TEST_SPOOL";
const SHARDS: u64 = 5;

/// The child of [`a_killed_process_has_kept_what_it_confirmed`]; nothing without a folder.
///
/// Appends records numbered from where the streams end, and prints the number of each that is confirmed.
#[test]
fn child() {
    let Some(folder) = env::var_os(FOLDER) else { return };
    let spool = open(Path::new(&folder));
    let mut next: Vec<u64> =
        (0..SHARDS).map(|shard| seqs(&spool, shard as u32).last().map_or(0, |last| last + 1)).collect();
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nready").unwrap();
    loop {
        let batch = (0..16).map(|turn| turn % SHARDS);
        let records = batch.map(|shard| {
            let seq = next[shard as usize];
            next[shard as usize] += 1;
            record(shard as u32, seq, "MESSAGE_CREATE", 500)
        });
        let records: Vec<NewRecord> = records.collect();
        let told: Vec<String> =
            records.iter().map(|record| format!("{} {}", record.origin.shard, record.seq)).collect();
        append(&spool, records);
        writeln!(out, "{}", told.join("\n")).unwrap();
        out.flush().unwrap();
        if next[0].is_multiple_of(64) {
            spool.remove(key(0), next[0] / 2);
        }
    }
}

/// The last number confirmed for each shard, by a child that is killed after some lines.
fn run_and_kill(folder: &Path, lines: usize) -> HashMap<u32, u64> {
    let arguments = ["spool::tests::crash::child", "--exact", "--nocapture", "--test-threads=1"];
    let mut child = Command::new(env::current_exe().unwrap())
        .args(arguments)
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut confirmed = HashMap::new();
    let mut told = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    told.by_ref().find(|line| line == "ready").expect("the child starts");
    let mut take = |line: String| {
        // The last line can be cut in the middle by the end of the process.
        if let Some((shard, seq)) = line.split_once(' ')
            && let (Ok(shard), Ok(seq)) = (shard.parse(), seq.parse::<u64>())
        {
            let last = confirmed.entry(shard).or_default();
            *last = seq.max(*last);
        }
    };
    told.by_ref().take(lines).for_each(&mut take);
    child.kill().unwrap();
    told.for_each(&mut take);
    child.wait().unwrap();
    confirmed
}

#[test]
fn a_killed_process_has_kept_what_it_confirmed() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let mut first = HashMap::new();
    for round in 0..if is_full() { 40 } else { 12 } {
        let confirmed = run_and_kill(folder.path(), random.usize(1..4_000));
        let spool = open(folder.path());
        assert!(spool.set_aside().is_none(), "round {round}");
        for shard in 0..SHARDS as u32 {
            let kept = seqs(&spool, shard);
            let expected = *kept.first().unwrap_or(&0);
            assert!(kept.iter().copied().eq(expected..expected + kept.len() as u64), "round {round}: gaps in {kept:?}");
            if let Some(last) = confirmed.get(&shard) {
                assert!(
                    kept.last() >= Some(last),
                    "round {round}, shard {shard}: {last} confirmed, {:?} kept",
                    kept.last()
                );
                let mark = spool.marks(sink())[&(key(shard).route, shard)];
                assert!(mark.covers(&format!("session-{shard}"), *last, 0));
            }
            if shard > 0 {
                assert_eq!(*first.entry(shard).or_insert(expected), 0, "nothing was removed");
            }
        }
        assert_eq!(spool.status(sink()).unreadable, 0);
    }
}
