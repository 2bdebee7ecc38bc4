//! A hostile broker of one client.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ganger_fuzz::client_session::run(input));
