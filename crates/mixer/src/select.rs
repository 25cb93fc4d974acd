//! The k smallest of a stream.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use medley_chat::Message;

use crate::amount::Limit;
use crate::key::Key;
use crate::measure::Lengths;

/// A record that may be chosen: its text, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub messages: Vec<Message>,
    /// Index of the file in its source.
    pub file: usize,
    pub line: u64,
    pub record: u64,
    /// Where the mix counts tokens.
    pub lengths: Lengths,
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
        let unlearned = |candidate: &Self| -> Vec<bool> { candidate.messages.iter().map(|m| m.unlearned).collect() };
        (texts(self), passages(self), unlearned(self), self.file, self.record)
            < (texts(other), passages(other), unlearned(other), other.file, other.record)
    }
}

/// Keeps the records with the smallest keys, within a limit.
#[derive(Debug)]
pub(crate) struct Smallest {
    limit: Limit,
    /// What the kept records make up, where the limit is an amount.
    amount: u64,
    kept: BTreeMap<Key, Candidate>,
}

impl Smallest {
    /// Keeps at most `records`.
    pub fn new(records: usize) -> Self {
        Self::within(Limit { records, amount: None })
    }

    /// Keeps as many as reach the limit.
    pub fn within(limit: Limit) -> Self {
        Self { limit, amount: 0, kept: BTreeMap::new() }
    }

    /// Whether a record with `key` would be kept now. Once false it stays false.
    pub fn wants(&self, key: Key) -> bool {
        let is_open =
            self.kept.len() < self.limit.records && self.limit.amount.is_none_or(|(_, most)| self.amount < most);
        is_open || self.kept.last_key_value().is_some_and(|(largest, _)| key <= *largest)
    }

    fn amount_of(&self, candidate: &Candidate) -> u64 {
        self.limit.amount.map_or(0, |(unit, _)| candidate.lengths.amount(unit))
    }

    /// Whether the limit is reached without the record of the largest key.
    fn is_over(&self) -> bool {
        let Some((_, largest)) = self.kept.last_key_value() else { return false };
        let enough = |most: u64| self.amount - self.amount_of(largest) >= most;
        self.kept.len() > self.limit.records || self.limit.amount.is_some_and(|(_, most)| enough(most))
    }

    pub fn offer(&mut self, key: Key, candidate: Candidate) {
        if !self.wants(key) {
            return;
        }
        let amount = self.amount_of(&candidate);
        match self.kept.entry(key) {
            Entry::Occupied(mut entry) => {
                if candidate.precedes(entry.get()) {
                    let before = entry.insert(candidate);
                    self.amount = self.amount + amount - self.amount_of(&before);
                }
            }
            Entry::Vacant(entry) => {
                entry.insert(candidate);
                self.amount += amount;
            }
        }
        while self.is_over() {
            if let Some((_, gone)) = self.kept.pop_last() {
                self.amount -= self.amount_of(&gone);
            }
        }
    }

    /// By ascending key.
    pub fn into_sorted(self) -> impl Iterator<Item = (Key, Candidate)> {
        self.kept.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use medley_chat::Role;
    use proptest::prelude::*;

    use super::*;

    fn candidate(text: &str, record: u64) -> Candidate {
        Candidate {
            messages: vec![Message::new(Role::User, text)],
            file: 0,
            line: record,
            record,
            lengths: Lengths::default(),
        }
    }

    #[test]
    fn of_two_copies_the_same_is_kept_in_either_order() {
        let copies = [candidate("问", 9), candidate("问 ", 1), candidate("问", 4)];
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
            let mut smallest = Smallest::new(2);
            for index in order {
                smallest.offer(Key(7), copies[index].clone());
            }
            assert_eq!(smallest.into_sorted().collect::<Vec<_>>(), [(Key(7), candidate("问", 4))]);
        }
    }

    proptest! {
        #[test]
        fn the_smallest_are_kept(keys in proptest::collection::vec(0..50u128, 0..80), limit in 0..20usize) {
            let mut smallest = Smallest::new(limit);
            for key in &keys {
                smallest.offer(Key(*key), candidate("问", 1));
            }
            let mut expected = keys.clone();
            expected.sort_unstable();
            expected.dedup();
            expected.truncate(limit);
            prop_assert_eq!(smallest.into_sorted().map(|(key, _)| key.0).collect::<Vec<_>>(), expected);
        }
    }
}
