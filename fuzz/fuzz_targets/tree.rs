//! See `coracle_fuzz::targets::tree`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| coracle_fuzz::targets::tree(data));
