//! Parquet; the first four bytes are always right.
#![no_main]

#[path = "common.rs"]
mod common;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let rest = bytes.get(4..).unwrap_or_default();
    common::mixed("a.parquet", &[b"PAR1", rest].concat());
});
