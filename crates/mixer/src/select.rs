//! The k smallest of a stream.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use medley_chat::Message;

use medley_mixture::Lengths;
use medley_mixture::amount::Limit;
use medley_mixture::key::Key;
use medley_source::read_plain;

/// Text of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Text {
    Read(Vec<Message>),
    /// Raw bytes of a plain record, parsed only if it survives selection; most candidates are displaced.
    Plain(Box<[u8]>),
}

impl Text {
    pub fn messages(&self) -> Vec<Message> {
        match self {
            Self::Read(messages) => messages.clone(),
            Self::Plain(record) => read_plain(record),
        }
    }

    /// Approximate size in bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Read(messages) => {
                messages.iter().map(|message| message.content.len() + size_of::<Message>()).sum::<usize>()
            }
            Self::Plain(record) => record.len(),
        }
    }
}

/// A candidate: text and place of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub text: Text,
    /// Index of the file in its source.
    pub file: usize,
    pub line: u64,
    pub record: u64,
    /// Where the mix counts tokens.
    pub lengths: Lengths,
}

impl Candidate {
    /// Which of two records of the same canonical content is kept: the lesser. Their own text decides first, so that the
    /// choice does not depend on how the records are spread over files.
    pub fn cmp_copies(&self, other: &Self) -> std::cmp::Ordering {
        let texts = || {
            let (one, other) = (self.text.messages(), other.text.messages());
            let marks = |message: &Message| message.passage.as_ref().map(|range| (range.start, range.end));
            (one.iter().map(|message| &message.content).cmp(other.iter().map(|message| &message.content)))
                .then_with(|| one.iter().map(marks).cmp(other.iter().map(marks)))
                .then_with(|| one.iter().map(|m| m.unlearned).cmp(other.iter().map(|m| m.unlearned)))
        };
        let said = if self.text == other.text { std::cmp::Ordering::Equal } else { texts() };
        said.then_with(|| (self.file, self.record).cmp(&(other.file, other.record)))
    }
}

/// Keeps the records with the smallest keys, within a limit, offered from any thread.
#[derive(Debug)]
pub(crate) struct BottomK {
    limit: Limit,
    /// The upper half of the largest key that may still be kept, so that most records need no lock.
    bound: AtomicU64,
    /// The bound was first guessed from how many records there may be.
    guessed: AtomicBool,
    heap: Mutex<Heap>,
}

/// The smallest so far and some more, in any order.
#[derive(Debug)]
struct Heap {
    kept: Vec<(Key, Candidate)>,
    /// How many there are when it is sorted again.
    full: usize,
}

/// Least number of records between two sortings.
const BETWEEN: usize = 1024;

/// How many times what is asked for a guessed bound lets through. So many are held that otherwise would come and go while the
/// bound falls; the guess fails, and the pool is read again, where two thirds of its records are none that can be drawn.
const SPARE: u128 = 3;

impl BottomK {
    /// Keeps at most `records`.
    pub fn new(records: usize) -> Self {
        Self::within(Limit { records, amount: None })
    }

    /// Keeps as many as reach the limit.
    pub fn within(limit: Limit) -> Self {
        let nothing = limit.records == 0 || limit.amount.is_some_and(|(_, most)| most == 0);
        let limit = if nothing { Limit::default() } else { limit };
        // By records nothing can be dropped before.
        let first = if limit.amount.is_none() { limit.records } else { 0 };
        let heap = Heap { kept: Vec::new(), full: room(first) };
        Self { limit, bound: AtomicU64::new(u64::MAX), guessed: AtomicBool::new(false), heap: Mutex::new(heap) }
    }

    /// Guesses the bound from an estimate of the number of records. Only the first guess counts.
    pub fn expect(&self, records: u64) {
        let let_through = self.limit.records as u128 * SPARE;
        let useless = self.limit.records == 0 || self.limit.amount.is_some() || let_through >= u128::from(records);
        if !useless && !self.guessed.swap(true, Ordering::Relaxed) {
            let bound = (u128::from(u64::MAX) * let_through / u128::from(records)) as u64;
            let mut heap = self.lock();
            self.bound.fetch_min(bound, Ordering::Relaxed);
            // Others as large may have been turned away since, or will be.
            heap.kept.retain(|(key, _)| self.wants(*key));
        }
    }

    /// Whether a guess left too few: everything must be offered again.
    pub fn guessed_wrong(&self) -> bool {
        let mut heap = self.lock();
        self.prune(&mut heap.kept);
        self.guessed.load(Ordering::Relaxed) && heap.kept.len() < self.limit.records
    }

    /// Whether a record with `key` may be kept now. Once false it stays false.
    pub fn wants(&self, key: Key) -> bool {
        self.limit.records > 0 && upper(key) <= self.bound.load(Ordering::Relaxed)
    }

    pub fn offer(&self, records: Vec<(Key, Candidate)>) {
        if records.is_empty() {
            return;
        }
        let mut heap = self.lock();
        heap.kept.extend(records.into_iter().filter(|(key, _)| self.wants(*key)));
        if heap.kept.len() > heap.full {
            self.prune(&mut heap.kept);
            heap.full = room(heap.kept.len());
        }
    }

    /// Sorts, drops copies and all that is too large.
    fn prune(&self, kept: &mut Vec<(Key, Candidate)>) {
        // Stable, as it finds out that most of them are sorted already.
        kept.sort_by_key(|(key, _)| *key);
        kept.dedup_by(|(key, second), (first_key, first)| {
            let same = key == first_key;
            if same && second.cmp_copies(first).is_lt() {
                std::mem::swap(second, first);
            }
            same
        });
        if let Some(enough) = enough(self.limit, kept.iter().map(|(_, record)| record.lengths)) {
            kept.truncate(enough);
            self.bound.store(kept.last().map_or(0, |(largest, _)| upper(*largest)), Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Heap> {
        self.heap.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes everything, by ascending key.
    pub fn take_sorted(&self) -> Vec<(Key, Candidate)> {
        let mut heap = self.lock();
        self.prune(&mut heap.kept);
        std::mem::take(&mut heap.kept)
    }

    /// Whether there may have been more than was kept.
    pub fn is_cut(&self) -> bool {
        self.limit.records == 0 || self.bound.load(Ordering::Relaxed) < u64::MAX
    }
}

/// Sorting seldom and holding little more than what is asked for.
fn room(records: usize) -> usize {
    records.saturating_add((records / 4).max(BETWEEN))
}

/// How many records of these lengths, by ascending key, reach the limit; `None` where all of them do not.
pub(crate) fn enough(limit: Limit, mut lengths: impl ExactSizeIterator<Item = Lengths>) -> Option<usize> {
    let records = (lengths.len() >= limit.records).then_some(limit.records);
    let amount = limit.amount.and_then(|(unit, most)| {
        let mut amount = 0;
        let reached = |lengths: Lengths| {
            amount += lengths.amount(unit);
            amount >= most
        };
        lengths.position(reached).map(|last| last + 1)
    });
    records.into_iter().chain(amount).min()
}

fn upper(key: Key) -> u64 {
    (key.0 >> 64) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn held(text: &str, record: u64, read: bool) -> Candidate {
        let plain = serde_json::json!({ "instruction": text, "output": "答" }).to_string().into_bytes();
        let text = if read { Text::Read(read_plain(&plain)) } else { Text::Plain(plain.into()) };
        Candidate { text, file: 0, line: record, record, lengths: Lengths::default() }
    }

    fn offer(smallest: &BottomK, key: u128, held: Candidate) {
        smallest.offer(vec![(Key(key), held)]);
    }

    #[test]
    fn of_two_copies_the_same_is_kept_in_either_order() {
        for read in [[true; 3], [false; 3], [true, false, false]] {
            let copies = [held("问", 9, read[0]), held("问 ", 1, read[1]), held("问", 4, read[2])];
            for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
                let smallest = BottomK::new(2);
                for index in order {
                    offer(&smallest, 7, copies[index].clone());
                }
                assert_eq!(smallest.take_sorted(), [(Key(7), copies[2].clone())]);
            }
        }
    }

    #[test]
    fn nothing_is_wanted_of_nothing() {
        let smallest = BottomK::new(0);
        assert!(!smallest.wants(Key(0)));
        offer(&smallest, 0, held("问", 1, true));
        assert_eq!(smallest.take_sorted(), []);
    }

    /// A guess keeps fewer on the way, and says when it kept too few.
    #[test]
    fn a_guess_is_right_or_owned_up_to() {
        let spread = |number: u128| number * (u128::MAX / 1000);
        for (offered, expected, right) in [(1000, 1000, true), (400, 1000, true), (250, 1000, false), (50, 1000, false)]
        {
            let smallest = BottomK::new(100);
            smallest.expect(expected);
            smallest.expect(1);
            (0..1000)
                .rev()
                .step_by(1000 / offered)
                .for_each(|number| offer(&smallest, spread(number), held("问", 1, false)));
            assert_eq!(smallest.guessed_wrong(), !right, "{offered} of {expected}");
            let kept = smallest.take_sorted();
            assert!(kept.len() <= 100 && (!right || kept.len() == 100), "{offered}: {}", kept.len());
        }
        let smallest = BottomK::new(100);
        smallest.expect(300);
        offer(&smallest, u128::MAX, held("问", 1, false));
        assert!(!smallest.guessed_wrong(), "what is asked for is not much less than there is");
    }

    proptest! {
        #[test]
        fn the_smallest_are_kept(keys in proptest::collection::vec(0..2000u128, 0..4000), limit in prop_oneof![0..20usize, 900..1500usize], shift in 0..70) {
            let smallest = BottomK::new(limit);
            for key in &keys {
                offer(&smallest, *key << shift, held("问", 1, true));
            }
            let mut expected: Vec<u128> = keys.iter().map(|key| key << shift).collect();
            expected.sort_unstable();
            expected.dedup();
            expected.truncate(limit);
            prop_assert_eq!(smallest.take_sorted().into_iter().map(|(key, _)| key.0).collect::<Vec<_>>(), expected);
        }

        /// Whenever the guess is made and whatever it says, it gives the smallest or is owned up to.
        #[test]
        fn a_guess_on_the_way_changes_nothing(
            keys in proptest::collection::vec(any::<u128>(), 100..3000),
            limit in 1..30usize,
            guessed in 0..3000usize,
            expected in 1..6000u64,
        ) {
            let smallest = BottomK::new(limit);
            for (at, key) in keys.iter().enumerate() {
                if at == guessed.min(keys.len() - 1) {
                    smallest.expect(expected);
                }
                offer(&smallest, *key, held("问", 1, true));
            }
            let mut due = keys;
            due.sort_unstable();
            due.dedup();
            due.truncate(limit);
            if !smallest.guessed_wrong() {
                prop_assert_eq!(smallest.take_sorted().into_iter().map(|(key, _)| key.0).collect::<Vec<_>>(), due);
            }
        }
    }
}
