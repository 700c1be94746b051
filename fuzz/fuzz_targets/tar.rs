//! See `coracle_fuzz::targets::tar`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| coracle_fuzz::targets::tar(data));
