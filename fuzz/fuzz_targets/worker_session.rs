//! A hostile broker of one worker.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ganger_fuzz::worker_session::run(input));
