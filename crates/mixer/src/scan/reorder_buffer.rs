//! A file's batches: read by one thread at a time, looked at by all of them, counted in the file's order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use medley_mixture::MixError;
use medley_reader::{Batch, Records, SplitError};

use super::tally::Tally;

/// A file whose batches are handed out to whoever asks, and whose counts come back in any order.
///
/// Whoever reads a batch looks at it too, so that it is still in the processor's cache. Nothing that may wait for other
/// threads is done under a lock.
pub(super) struct ReorderBuffer {
    reading: Mutex<Reading>,
    counting: Mutex<Counting>,
    /// Nothing more is to be read.
    over: AtomicBool,
    /// The file's first record was counted.
    knows_first: AtomicBool,
}

struct Reading {
    records: Records,
    /// Batches handed out.
    batches: u64,
}

struct Counting {
    tally: Tally,
    /// The batch that is to be counted next.
    next: u64,
    /// Batches that came before their turn.
    early: BTreeMap<u64, Result<Tally, MixError>>,
    /// The first error in the file's order.
    failed: Option<MixError>,
}

impl ReorderBuffer {
    pub fn new(records: Records) -> Self {
        Self {
            reading: Mutex::new(Reading { records, batches: 0 }),
            counting: Mutex::new(Counting { tally: Tally::default(), next: 0, early: BTreeMap::new(), failed: None }),
            over: AtomicBool::new(false),
            knows_first: AtomicBool::new(false),
        }
    }

    /// The next batch and its number; takes back the memory of one that is done with.
    pub fn read(&self, done: Option<Batch>) -> Option<(u64, Result<Batch, SplitError>)> {
        let mut reading = lock(&self.reading);
        if let Some(done) = done {
            reading.records.reuse(done);
        }
        if self.over.load(Ordering::Relaxed) {
            return None;
        }
        let batch = reading.records.next_batch().transpose();
        if !matches!(batch, Some(Ok(_))) {
            self.over.store(true, Ordering::Relaxed);
        }
        reading.batches += 1;
        Some((reading.batches - 1, batch?))
    }

    /// Whether no batch need bring its first record along.
    pub fn knows_first(&self) -> bool {
        self.knows_first.load(Ordering::Relaxed)
    }

    /// Counts what was seen of batch `number`, as soon as all before it are counted.
    pub fn count(&self, number: u64, seen: Result<Tally, MixError>) {
        let mut counting = lock(&self.counting);
        counting.early.insert(number, seen);
        let Counting { tally, next: turn, early, failed } = &mut *counting;
        while let Some(seen) = early.remove(turn) {
            *turn += 1;
            match seen {
                Ok(seen) if failed.is_none() => {
                    tally.add(seen);
                    self.knows_first.store(tally.has_first(), Ordering::Relaxed);
                }
                Ok(_) => {}
                Err(error) => {
                    failed.get_or_insert(error);
                    self.over.store(true, Ordering::Relaxed);
                }
            }
        }
    }

    /// What was counted.
    pub fn finish(self) -> Result<Tally, MixError> {
        let Counting { tally, failed, .. } = self.counting.into_inner().unwrap_or_else(PoisonError::into_inner);
        failed.map_or(Ok(tally), Err)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
