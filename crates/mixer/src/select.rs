//! The k smallest of a stream.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use medley_chat::Message;

use crate::amount::Limit;
use crate::key::Key;
use crate::measure::Lengths;

/// What a record says, where its text may yet have to be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Text {
    Read(Vec<Message>),
    /// A plain record's bytes.
    Unread(Box<[u8]>),
}

/// A record that may be chosen, before its text is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub text: Text,
    /// Index of the file in its source.
    pub file: usize,
    pub line: u64,
    pub record: u64,
    /// Where the mix counts tokens.
    pub lengths: Lengths,
}

impl Kept {
    /// With its text; `read` builds it from a plain record's bytes, given the index of the file.
    pub fn read(self, read: &Reading<'_>) -> Candidate {
        let Self { text, file, line, record, lengths } = self;
        let messages = match text {
            Text::Read(messages) => messages,
            Text::Unread(bytes) => read(file, &bytes),
        };
        Candidate { messages, file, line, record, lengths }
    }
}

/// Builds the text of a plain record from the index of its file and its bytes.
pub(crate) type Reading<'a> = dyn Fn(usize, &[u8]) -> Vec<Message> + Sync + 'a;

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
    /// Which of two records of the same canonical content is kept: the lesser. Their own text decides first, so that the
    /// choice does not depend on how the records are spread over files.
    pub fn cmp_copies(&self, other: &Self) -> std::cmp::Ordering {
        fn texts(candidate: &Candidate) -> impl Iterator<Item = &str> {
            candidate.messages.iter().map(|message| message.content.as_str())
        }
        fn marks(candidate: &Candidate) -> impl Iterator<Item = Option<(usize, usize)>> {
            candidate.messages.iter().map(|message| message.passage.as_ref().map(|range| (range.start, range.end)))
        }
        let unlearned = |candidate: &Self| -> Vec<bool> { candidate.messages.iter().map(|m| m.unlearned).collect() };
        (texts(self).cmp(texts(other)))
            .then_with(|| marks(self).cmp(marks(other)))
            .then_with(|| unlearned(self).cmp(&unlearned(other)))
            .then_with(|| (self.file, self.record).cmp(&(other.file, other.record)))
    }
}

/// Keeps the records with the smallest keys, within a limit, offered from any thread.
#[derive(Debug)]
pub(crate) struct Smallest {
    limit: Limit,
    /// The upper half of the largest key that may still be kept, so that most records need no lock.
    bound: AtomicU64,
    heap: Mutex<Heap>,
}

/// The smallest so far and some more, in any order.
#[derive(Debug)]
struct Heap {
    kept: Vec<(Key, Kept)>,
    /// How many there are when it is sorted again.
    full: usize,
}

/// Least number of records between two sortings.
const BETWEEN: usize = 1024;

impl Smallest {
    /// Keeps at most `records`.
    pub fn new(records: usize) -> Self {
        Self::within(Limit { records, amount: None })
    }

    /// Keeps as many as reach the limit.
    pub fn within(limit: Limit) -> Self {
        let nothing = limit.records == 0 || limit.amount.is_some_and(|(_, most)| most == 0);
        let limit = if nothing { Limit { records: 0, amount: None } } else { limit };
        let heap = Heap { kept: Vec::new(), full: BETWEEN };
        Self { limit, bound: AtomicU64::new(u64::MAX), heap: Mutex::new(heap) }
    }

    /// Whether a record with `key` may be kept now. Once false it stays false.
    pub fn wants(&self, key: Key) -> bool {
        self.limit.records > 0 && upper(key) <= self.bound.load(Ordering::Relaxed)
    }

    pub fn offer(&self, records: Vec<(Key, Kept)>, read: &Reading<'_>) {
        if records.is_empty() {
            return;
        }
        let mut heap = self.lock();
        heap.kept.extend(records.into_iter().filter(|(key, _)| self.wants(*key)));
        if heap.kept.len() > heap.full {
            self.prune(&mut heap.kept, read);
            // Sorting seldom and holding little more than what is asked for.
            heap.full = heap.kept.len() + (heap.kept.len() / 4).max(BETWEEN);
        }
    }

    /// Sorts, drops copies and all that is too large.
    fn prune(&self, kept: &mut Vec<(Key, Kept)>, read: &Reading<'_>) {
        kept.sort_unstable_by_key(|(key, _)| *key);
        kept.dedup_by(|(key, second), (first_key, first)| {
            let same = key == first_key;
            if same && precedes(second, first, read) {
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
    pub fn take_sorted(&self, read: &Reading<'_>) -> Vec<(Key, Kept)> {
        let mut heap = self.lock();
        self.prune(&mut heap.kept, read);
        std::mem::take(&mut heap.kept)
    }

    /// Whether there may have been more than was kept.
    pub fn is_cut(&self) -> bool {
        self.limit.records == 0 || self.bound.load(Ordering::Relaxed) < u64::MAX
    }
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

/// Whether the first of two records of the same canonical content is the one that is kept.
fn precedes(first: &Kept, second: &Kept, read: &Reading<'_>) -> bool {
    if first.text == second.text {
        return (first.file, first.record) < (second.file, second.record);
    }
    first.clone().read(read).cmp_copies(&second.clone().read(read)).is_lt()
}

#[cfg(test)]
mod tests {
    use medley_chat::Role;
    use proptest::prelude::*;

    use super::*;

    fn held(text: &str, record: u64, read: bool) -> Kept {
        let text = if read { Text::Read(messages(text.as_bytes())) } else { Text::Unread(text.as_bytes().into()) };
        Kept { text, file: 0, line: record, record, lengths: Lengths::default() }
    }

    fn messages(text: &[u8]) -> Vec<Message> {
        vec![Message::new(Role::User, String::from_utf8_lossy(text))]
    }

    fn sorted(smallest: &Smallest) -> Vec<(Key, Candidate)> {
        let read = |(key, held): (Key, Kept)| (key, held.read(&|_, text| messages(text)));
        smallest.take_sorted(&|_, text| messages(text)).into_iter().map(read).collect()
    }

    fn offer(smallest: &Smallest, key: u128, held: Kept) {
        smallest.offer(vec![(Key(key), held)], &|_, text| messages(text));
    }

    #[test]
    fn of_two_copies_the_same_is_kept_in_either_order() {
        for read in [[true; 3], [false; 3], [true, false, false]] {
            let copies = [held("问", 9, read[0]), held("问 ", 1, read[1]), held("问", 4, read[2])];
            for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
                let smallest = Smallest::new(2);
                for index in order {
                    offer(&smallest, 7, copies[index].clone());
                }
                let lengths = Lengths::default();
                let kept = Candidate { messages: messages("问".as_bytes()), file: 0, line: 4, record: 4, lengths };
                assert_eq!(sorted(&smallest), [(Key(7), kept)]);
            }
        }
    }

    #[test]
    fn nothing_is_wanted_of_nothing() {
        let smallest = Smallest::new(0);
        assert!(!smallest.wants(Key(0)));
        offer(&smallest, 0, held("问", 1, true));
        assert_eq!(sorted(&smallest), []);
    }

    proptest! {
        #[test]
        fn the_smallest_are_kept(keys in proptest::collection::vec(0..2000u128, 0..4000), limit in prop_oneof![0..20usize, 900..1500usize], shift in 0..70) {
            let smallest = Smallest::new(limit);
            for key in &keys {
                offer(&smallest, *key << shift, held("问", 1, true));
            }
            let mut expected: Vec<u128> = keys.iter().map(|key| key << shift).collect();
            expected.sort_unstable();
            expected.dedup();
            expected.truncate(limit);
            prop_assert_eq!(sorted(&smallest).into_iter().map(|(key, _)| key.0).collect::<Vec<_>>(), expected);
        }
    }
}
