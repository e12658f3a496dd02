//! Compressed bytes decompress to the same however they are cut into reads, or are refused.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pilothouse_fuzz::config::Compression;
use pilothouse_fuzz::{checks, cuts};

fuzz_target!(|input: &[u8]| {
    let Some((way, input)) = input.split_first() else { return };
    let compression = if way % 2 == 0 { Compression::Zlib } else { Compression::Zstd };
    if let Some((cuts, bytes)) = cuts(input) {
        checks::cuts_change_no_payload(compression, bytes, &cuts);
    }
});
