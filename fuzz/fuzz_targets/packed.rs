//! Packed streams: the first byte says which, so that every input is one.
#![no_main]

#[path = "common.rs"]
mod common;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let magics: [&[u8]; 3] = [&[0x1f, 0x8b], &[0x28, 0xb5, 0x2f, 0xfd], &[0xfd, b'7', b'z', b'X', b'Z', 0]];
    let Some((kind, rest)) = bytes.split_first() else { return };
    let magic = magics[usize::from(*kind) % magics.len()];
    let rest = rest.strip_prefix(magic).unwrap_or(rest);
    common::mixed("a.jsonl", &[magic, rest].concat());
});
