//! PURE: a hash that is the same in every run and build, for what is kept on disk.

/// FNV-1a, 64 bit. Std's hasher may differ between builds.
pub(crate) fn stable(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
