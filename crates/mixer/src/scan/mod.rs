//! Reading a pool: every record once, in parallel, with the sample's texts and 16 bytes per record in memory.

mod destination;
mod look;
mod reorder_buffer;
mod tally;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use medley_mixture::canonical::ContentId;
use medley_mixture::key::Keyed;
use medley_mixture::spec::SourcePart;
use medley_mixture::{MeasureTokens, MixError};
use medley_reader::{Opened, Problem, SplitError, open};
use medley_source::{FileKeys, Importer, SourceFile};
use rayon::prelude::*;

use crate::examine::Examination;
use crate::filter::Filter;
use crate::select::BottomK;
use crate::share::Share;
pub(crate) use destination::contains;
use reorder_buffer::ReorderBuffer;
pub(crate) use tally::{Counts, FileScan, MissingColumn};

/// Everything that decides about the records of a pool.
pub(crate) struct PoolScan<'a> {
    pub files: &'a [SourceFile],
    /// The part of the pool that is read.
    pub share: Share,
    /// Length of its files on the disk.
    pub bytes: u64,
    pub parts: &'a [SourcePart],
    /// By part.
    pub importers: &'a [Importer],
    /// By part; `None` where nothing is asked.
    pub filters: &'a [Option<Filter>],
    pub exam: &'a Examination<'a>,
    /// Contents of the pools named earlier, sorted.
    pub earlier: &'a [Vec<ContentId>],
    /// Whether records are sketched, for finding near-duplicates.
    pub sketching: bool,
    /// Whether it is guessed from the first records how many there are.
    pub expecting: bool,
    /// Contents that are near-duplicates of others, sorted.
    pub left_out: &'a [ContentId],
    pub draw: Keyed,
    pub validation: Keyed,
    /// Contents whose validation hash lies below it are held out.
    pub validation_bound: u128,
    pub sample: BottomK,
    pub held_out: BottomK,
    /// Measures what may be chosen, where the mix counts tokens.
    pub measure: Option<&'a dyn MeasureTokens>,
    /// Told the bytes and records of every batch.
    pub progress: Box<dyn Fn(u64, u64) + Sync + 'a>,
}

impl PoolScan<'_> {
    /// Reads every file; the first error in the order of files and records counts, whatever thread meets it first.
    pub fn run(&self) -> Result<Vec<FileScan>, MixError> {
        let taken: Vec<usize> = self.share.files(self.files).map(|(index, _)| index).collect();
        let scans: Vec<_> = taken.into_par_iter().map(|file| self.scan_file(file)).collect();
        scans.into_iter().collect()
    }

    fn scan_file(&self, index: usize) -> Result<FileScan, MixError> {
        let file = &self.files[index];
        let whole = |Problem { problem, hint }| MixError::File { file: file.name.clone(), problem, hint };
        let before = stamp(&file.path);
        let importer = &self.importers[file.part];
        let wants = |column: &str| importer.wants(column);
        let Opened { records, fingerprinter, layout } =
            open(&file.path, &self.parts[file.part], &wants, &|object| importer.knows(object)).map_err(whole)?;
        let batches = ReorderBuffer::new(records);
        let keys = FileKeys::of(&file.path, &self.parts[file.part], importer);
        let (reported, read) = (AtomicU64::new(0), AtomicU64::new(0));
        let progress = |records: u64| {
            let bytes = fingerprinter.bytes();
            (self.progress)(bytes.saturating_sub(reported.fetch_max(bytes, Ordering::Relaxed)), records);
            self.expect(read.fetch_add(records, Ordering::Relaxed) + records, bytes);
        };
        rayon::scope(|scope| {
            for _ in 1..rayon::current_num_threads() {
                scope.spawn(|_| self.look((index, &keys), &batches, &progress));
            }
            self.look((index, &keys), &batches, &progress);
        });
        let tally = batches.finish()?;
        if stamp(&file.path) != before {
            return Err(whole(Problem::new(
                "the file changed or disappeared while it was read",
                "run again when it is complete",
            )));
        }
        let scan = tally.finish(index, importer, fingerprinter.finish(), layout);
        match scan.lacking.clone().filter(|_| !self.share.divides(self.files.len())) {
            Some(lacking) => Err(lacking.error(&file.name)),
            None => Ok(scan),
        }
    }

    /// Estimates the number of records from the first `bytes` of a file, which have `records`.
    fn expect(&self, records: u64, bytes: u64) {
        if self.expecting && bytes >= TELLING {
            let all = (u128::from(records) * u128::from(self.bytes) / u128::from(bytes)) as u64;
            self.sample.expect(all);
        }
    }

    /// Whether the guess that [`Self::expect`] made left too few.
    pub fn guessed_wrong(&self) -> bool {
        self.sample.guessed_wrong()
    }

    fn record_error(&self, index: usize, (line, record): (u64, u64), Problem { problem, hint }: Problem) -> MixError {
        MixError::Record { file: self.files[index].name.clone(), line, record, problem, hint }
    }

    fn split_error(&self, index: usize, (place, Problem { problem, hint }): SplitError) -> MixError {
        match place {
            Some(place) => self.record_error(index, place, Problem { problem, hint }),
            None => MixError::File { file: self.files[index].name.clone(), problem, hint },
        }
    }
}

/// Bytes of a file from which the length of its records is estimated.
const TELLING: u64 = 1 << 20;

/// Length and time of change, to notice a file that changes while it is read.
fn stamp(path: &Path) -> Option<(u64, std::time::SystemTime)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}
