//! See `coracle_fuzz::targets::erofs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| coracle_fuzz::targets::erofs(data));
