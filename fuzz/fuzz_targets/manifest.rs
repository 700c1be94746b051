//! See `coracle_fuzz::targets::manifest`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| coracle_fuzz::targets::manifest(data));
