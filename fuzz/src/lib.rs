//! What is fuzzed of the image library, and what to begin with.
//!
//! For a while, with what libFuzzer finds kept in `fuzz/corpus`: `cargo +nightly fuzz run tar --target
//! x86_64-unknown-linux-gnu -- -max_total_time=600`. For a moment, on any machine: `cargo test --test fuzz_smoke`.

pub mod targets;
