//! Several hostile peers of one broker.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ganger_fuzz::broker::run(input));
