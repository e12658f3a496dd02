//! Header and guild of a payload are what a JSON parser finds in it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pilothouse_fuzz::checks;

fuzz_target!(|payload: &[u8]| checks::sniffing_agrees_with_a_parser(payload));
