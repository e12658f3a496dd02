//! WebSocket frames are the same however their bytes are cut into reads.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pilothouse_fuzz::{checks, cuts};

fuzz_target!(|input: &[u8]| {
    if let Some((cuts, bytes)) = cuts(input) {
        checks::cuts_change_no_frame(bytes, &cuts);
    }
});
