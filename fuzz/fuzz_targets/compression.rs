//! See `coracle_fuzz::targets::compression`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| coracle_fuzz::targets::compression(data));
