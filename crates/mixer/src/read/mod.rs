//! Source files: opened, unpacked, hashed, and split into records.

mod open;
mod split;

pub(crate) use open::{Fingerprint, open};
pub(crate) use split::{Batch, Span, Splitter};

/// What is wrong with a file or a record, before its place is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub problem: String,
    pub hint: String,
}

impl Problem {
    pub fn new(problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { problem: problem.into(), hint: hint.into() }
    }
}
