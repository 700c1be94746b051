//! See `coracle_fuzz::targets::name`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| coracle_fuzz::targets::name(data));
