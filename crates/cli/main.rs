//! `medley`.
fn main() {}
