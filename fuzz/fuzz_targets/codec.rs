//! Bytes of any kind as messages of every direction.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ganger_fuzz::codec::run(input));
