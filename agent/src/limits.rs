//! The limit on open files: every shard and every connection to the bot is one.

/// Raises this process's limit on open files as far as it may, and tells how many that are; none where unknown.
pub(crate) fn raise_open_files() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    #[expect(
        unsafe_code,
        reason = "the standard library has no limits; both calls only touch `limit`, which outlives them"
    )]
    // SAFETY: `limit` is a valid, exclusive rlimit for the length of both calls.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return None;
        }
        let before = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max;
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) != 0 {
            return Some(before);
        }
    }
    Some(limit.rlim_cur)
}
