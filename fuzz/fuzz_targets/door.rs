//! Strangers at the door, from their first byte on.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ganger_fuzz::door::run(input));
