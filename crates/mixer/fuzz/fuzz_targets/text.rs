//! JSON, tables and other texts, in any encoding.
#![no_main]

#[path = "common.rs"]
mod common;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| common::mixed("a.txt", bytes));
