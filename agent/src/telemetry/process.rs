//! What the operating system tells about this process: processor time and resident memory.

use std::fs;
use std::time::Instant;

/// Clock ticks a second in `/proc`: fixed at 100 in the kernel's interface to programs.
const TICKS: u64 = 100;
const PAGE: u64 = 4096;

/// Processor use and memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Processor use since the last look, thousandths of one core.
    pub cpu_permille: u32,
    /// Resident memory, bytes.
    pub resident: u64,
}

/// Remembers the last look.
#[derive(Debug, Default)]
pub struct Process {
    last: Option<(Instant, u64)>,
}

impl Process {
    /// Looks now. All zero where there is no `/proc`.
    pub fn usage(&mut self) -> Usage {
        let now = Instant::now();
        let ticks = ticks().unwrap_or(0);
        let cpu_permille = self.last.replace((now, ticks)).map_or(0, |(then, before)| {
            let micros = u64::try_from((now - then).as_micros()).unwrap_or(u64::MAX).max(1);
            let used = ticks.saturating_sub(before) * (1_000_000 / TICKS);
            u32::try_from(used * 1_000 / micros).unwrap_or(u32::MAX)
        });
        Usage { cpu_permille, resident: resident().unwrap_or(0) }
    }
}

fn ticks() -> Option<u64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // Fields 14 and 15, counted behind the program's name, which may hold blanks.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Resident memory, bytes; none where there is no `/proc`.
pub(crate) fn resident() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(pages * PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_as_processor_time_and_memory_is_there() {
        let mut process = Process::default();
        assert!(process.usage().resident > 1 << 20);
        let start = Instant::now();
        let mut sum = 0_u64;
        while start.elapsed().as_millis() < 150 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(process.usage().cpu_permille > 100);
    }
}
