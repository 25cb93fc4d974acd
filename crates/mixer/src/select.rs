//! The k smallest of a stream.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use medley_chat::Message;

use crate::key::Key;

/// A record that may be chosen: its text, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub messages: Vec<Message>,
    /// Index of the file in its source.
    pub file: usize,
    pub line: u64,
    pub record: u64,
}

impl Candidate {
    /// Which of two records of the same canonical content is kept. Their own text decides first, so that the choice
    /// does not depend on how the records are spread over files.
    fn precedes(&self, other: &Self) -> bool {
        let texts =
            |candidate: &Self| -> Vec<String> { candidate.messages.iter().map(|m| m.content.clone()).collect() };
        let passages = |candidate: &Self| -> Vec<Option<(usize, usize)>> {
            candidate.messages.iter().map(|m| m.passage.as_ref().map(|range| (range.start, range.end))).collect()
        };
        (texts(self), passages(self), self.file, self.record)
            < (texts(other), passages(other), other.file, other.record)
    }
}

/// Keeps the records with the `limit` smallest keys.
#[derive(Debug)]
pub(crate) struct Smallest {
    limit: usize,
    kept: BTreeMap<Key, Candidate>,
}

impl Smallest {
    pub fn new(limit: usize) -> Self {
        Self { limit, kept: BTreeMap::new() }
    }

    /// Whether a record with `key` would be kept now. Once false it stays false.
    pub fn wants(&self, key: Key) -> bool {
        self.kept.len() < self.limit || self.kept.last_key_value().is_some_and(|(largest, _)| key <= *largest)
    }

    pub fn offer(&mut self, key: Key, candidate: Candidate) {
        if !self.wants(key) {
            return;
        }
        match self.kept.entry(key) {
            Entry::Occupied(mut entry) => {
                if candidate.precedes(entry.get()) {
                    entry.insert(candidate);
                }
            }
            Entry::Vacant(entry) => {
                entry.insert(candidate);
            }
        }
        if self.kept.len() > self.limit {
            self.kept.pop_last();
        }
    }

    /// By ascending key.
    pub fn into_sorted(self) -> impl Iterator<Item = (Key, Candidate)> {
        self.kept.into_iter()
    }
}
