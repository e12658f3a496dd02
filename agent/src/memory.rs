//! How kernel and allocator back this process's memory.

use std::ffi::{c_int, c_long};

// The program chooses its allocator; this links the one that is asked here.
use mimalloc as _;

/// `mi_option_purge_delay` (mimalloc v3, mimalloc.h).
const PURGE_DELAY: c_int = 15;

#[expect(unsafe_code, reason = "the crate's bindings leave the options out; the library itself has them")]
unsafe extern "C" {
    /// Sets an option, before the threads that read it are started.
    fn mi_option_set(option: c_int, value: c_long);
    /// Looks through the calling thread's pages; with `force` also those that are kept for the next allocation.
    fn mi_collect(force: bool);
}

/// Asks for no huge pages: at many shards they are mostly air, measured at 14 KiB a shard and 20 MiB at the start.
pub fn without_huge_pages() {
    #[expect(unsafe_code, reason = "the standard library has no prctl")]
    // SAFETY: this prctl takes numbers and touches no memory of ours. A kernel that refuses changes nothing.
    unsafe {
        libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0);
    }
}

/// Asks the allocator to give pages back as soon as they are free: it waits a second by itself, and then only looks
/// when it is called again. After a READY burst most shards are quiet.
pub fn give_back_at_once() {
    #[expect(unsafe_code, reason = "an option of the allocator")]
    // SAFETY: two numbers; the first is an option of the mimalloc that this program links, and no other thread runs yet.
    unsafe {
        mi_option_set(PURGE_DELAY, 0);
    }
}

/// Gives back what the calling thread keeps without need: a page of each size it ever used, up to 4 MiB, and what other
/// threads have freed of its pages. The allocator does that by itself only while the thread allocates much.
pub fn give_back_kept() {
    #[expect(unsafe_code, reason = "a function of the allocator")]
    // SAFETY: it touches the calling thread's own heap, where nothing is in use but what is allocated.
    unsafe {
        mi_collect(true);
    }
}
