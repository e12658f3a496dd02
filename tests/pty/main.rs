//! The console in a real pseudo-terminal that answers no question: what it shows first, and how it leaves.

mod terminal;

use std::time::Instant;

use terminal::Terminal;

/// Nobody listens there.
const NOBODY: &str = "127.0.0.1:1";

fn open(arguments: &[&str]) -> Terminal {
    Terminal::run(&[&["--agent", NOBODY], arguments].concat())
}

#[test]
fn the_first_frame_needs_no_agent() {
    let first_frame = |_| {
        let started = Instant::now();
        let mut terminal = open(&[]);
        terminal.until("the first frame", |screen| screen.contents().contains("connecting to ws://127.0.0.1:1"));
        let took = started.elapsed();
        terminal.write("q");
        assert_eq!(terminal.ended(), 0);
        took
    };
    let took = (0..5).map(first_frame).min().expect("five");
    println!("first frame after {took:?} (bar: 50 ms)");
}

#[test]
fn it_counts_down_and_can_be_asked_to_hurry() {
    let mut terminal = open(&[]);
    terminal.until("a countdown", |screen| screen.contents().contains("no agent listens there; next attempt in"));
    terminal.write("c");
    terminal.until("keys", |screen| screen.contents().contains("Pilothouse"));
    terminal.write("2");
    terminal.until("another screen", |screen| screen.contents().contains("Shards"));
    terminal.write("q");
    assert_eq!(terminal.ended(), 0);
    terminal.assert_clean();
}

#[test]
fn every_signal_leaves_a_clean_terminal() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
        let mut terminal = open(&[]);
        terminal.until("the console", |screen| screen.alternate_screen() && screen.contents().contains("Pilothouse"));
        terminal.signal(signal);
        assert_eq!(terminal.ended(), 128 + u32::try_from(signal).expect("small"), "signal {signal}");
        terminal.assert_clean();
    }
}

#[test]
fn it_stops_and_comes_back_like_any_program() {
    let mut terminal = open(&[]);
    terminal.until("the console", |screen| screen.alternate_screen());
    terminal.signal(libc::SIGTSTP);
    terminal.until("the shell's screen", |screen| !screen.alternate_screen() && !screen.hide_cursor());
    terminal.until_stopped();
    terminal.signal(libc::SIGCONT);
    terminal.until("the console again", |screen| screen.alternate_screen() && screen.contents().contains("Pilothouse"));
    terminal.write("q");
    assert_eq!(terminal.ended(), 0);
    terminal.assert_clean();
}

#[test]
fn a_panic_leaves_a_clean_terminal_and_a_report() {
    let mut terminal = open(&["debug-panic"]);
    assert_eq!(terminal.ended(), 70);
    terminal.assert_clean();
    terminal.until("a path", |screen| screen.contents().replace('\n', "").contains(".txt"));
    let said = terminal.contents().replace('\n', "");
    let path = said.split("the report is in ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let path = path.unwrap_or_else(|| panic!("a path is told: {said}"));
    let report = std::fs::read_to_string(path).expect("the report exists");
    std::fs::remove_file(path).expect("it can be removed");
    assert!(report.contains("this failure was asked for"), "{report}");
}

#[test]
fn a_storm_of_sizes_and_keys_breaks_nothing() {
    let mut terminal = open(&["--theme", "light"]);
    terminal.until("the console", |screen| screen.alternate_screen());
    for step in 0..60_u16 {
        terminal.resize(1 + step * 37 % 300, 1 + step * 13 % 80);
        terminal.write(["2", "v", "?", "\u{1b}", ":re\t", "\u{1b}", "1"][usize::from(step % 7)]);
    }
    terminal.resize(100, 30);
    terminal.write("\u{1b}");
    terminal.until("a whole screen", |screen| screen.contents().contains("Pilothouse"));
    // Ctrl-C leaves from wherever the storm ended.
    terminal.write("\u{3}");
    assert_eq!(terminal.ended(), 0);
    terminal.assert_clean();
}
