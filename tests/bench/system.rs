//! What only the system can tell or do: CPU time, wake-ups and calls of this process, and the core it runs on.

use std::fs;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Instant;

/// Calls that read from a socket.
const READS: [&str; 3] = ["recvfrom", "read", "recvmsg"];
/// Calls that write to a socket.
const WRITES: [&str; 4] = ["sendto", "write", "writev", "sendmsg"];
/// Calls that wait for sockets.
const POLLS: [&str; 3] = ["epoll_wait", "epoll_pwait", "epoll_pwait2"];

/// Keeps this process, and the threads that it will start, on one core.
#[expect(unsafe_code, reason = "affinity is a system call without a safe wrapper here")]
pub(crate) fn pin(core: usize) {
    // SAFETY: the set is a plain bit field, made and read here only.
    unsafe {
        let mut set: libc::cpu_set_t = zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set);
    }
}

/// Cores of this machine.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What this process has used up to a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) at: Instant,
    pub(crate) cpu_ns: u64,
    /// Times that a thread waited and was woken.
    pub(crate) wakes: u64,
    /// Reads, writes and polls, where they are counted.
    pub(crate) calls: [u64; 3],
}

impl Usage {
    /// Up to now, of all threads.
    #[expect(unsafe_code, reason = "getrusage is a system call without a safe wrapper here")]
    pub(crate) fn now(calls: Option<&Calls>) -> Self {
        // SAFETY: rusage is plain numbers, and the call fills the one it is given.
        let usage = unsafe {
            let mut usage: libc::rusage = zeroed();
            libc::getrusage(libc::RUSAGE_SELF, &mut usage);
            usage
        };
        let ns = |time: libc::timeval| time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1_000;
        Self {
            at: Instant::now(),
            cpu_ns: ns(usage.ru_utime) + ns(usage.ru_stime),
            wakes: usage.ru_nvcsw as u64,
            calls: calls.map_or([0; 3], Calls::read),
        }
    }
}

/// Counts system calls of this process, by the kernel's tracepoints. Counting makes every call slower, so that
/// rounds that count are not timed.
#[derive(Debug)]
pub(crate) struct Calls([Vec<OwnedFd>; 3]);

impl Calls {
    /// Counts from now on, also in threads started later; none where the kernel does not allow it.
    pub(crate) fn count() -> Option<Self> {
        Some(Self([open_all(&READS)?, open_all(&WRITES)?, open_all(&POLLS)?]))
    }

    fn read(&self) -> [u64; 3] {
        self.0.each_ref().map(|group| group.iter().map(read_counter).sum())
    }
}

fn open_all(names: &[&str]) -> Option<Vec<OwnedFd>> {
    names.iter().map(|name| open_counter(name)).collect()
}

#[expect(unsafe_code, reason = "perf_event_open is a system call without a safe wrapper here")]
fn open_counter(name: &str) -> Option<OwnedFd> {
    const TRACEPOINT: u32 = 2;
    const INHERIT: u64 = 2;
    let path = format!("/sys/kernel/tracing/events/syscalls/sys_enter_{name}/id");
    let id: u64 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
    // perf_event_attr: type, size, config, …, flags at byte 40.
    let mut attributes = [0_u64; 16];
    attributes[0] = u64::from(TRACEPOINT) | (size_of::<[u64; 16]>() as u64) << 32;
    attributes[1] = id;
    attributes[5] = INHERIT;
    // SAFETY: the attributes outlive the call, and a descriptor that it returns is owned by nobody else.
    unsafe {
        let fd = libc::syscall(libc::SYS_perf_event_open, attributes.as_ptr(), 0, -1, -1, 0);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd as i32))
    }
}

#[expect(
    unsafe_code,
    reason = "the counter must be read without moving a file's position, which std has no shared call for"
)]
fn read_counter(counter: &OwnedFd) -> u64 {
    let mut value = 0_u64;
    // SAFETY: the kernel writes eight bytes into the eight of `value`.
    unsafe { libc::read(counter.as_raw_fd(), (&raw mut value).cast(), size_of::<u64>()) };
    value
}
