//! Reading a pool: every record once, in parallel, with the sample's texts and 16 bytes per record in memory.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use medley_chat::Message;
use rayon::prelude::*;

use crate::canonical::{ContentId, content_id};
use crate::error::MixError;
use crate::exam::ExamItems;
use crate::import::{Imported, Importer, Read, Rejection, Seen, Shape};
use crate::key::{Key, Keyed};
use crate::ledger::Counted;
use crate::locate::SourceFile;
use crate::measure::{Lengths, MeasureTokens};
use crate::read::{Batch, Fingerprint, Opened, Problem, RawRecord, Span, SplitError, Table, open};
use crate::select::{Candidate, Smallest};
use crate::spec::SourcePart;

/// What is asked of every record of a pool.
pub(crate) struct PoolScan<'a> {
    pub files: &'a [SourceFile],
    pub parts: &'a [SourcePart],
    /// By part.
    pub importers: &'a [Importer],
    pub exam_items: &'a ExamItems,
    /// Contents of the pools named earlier, sorted.
    pub earlier: &'a [Vec<ContentId>],
    pub draw: Keyed,
    pub validation: Keyed,
    /// Contents whose validation hash lies below it are held out.
    pub validation_bound: u128,
    pub sample: Mutex<Smallest>,
    pub held_out: Mutex<Smallest>,
    /// Measures what may be chosen, where the mix counts tokens.
    pub measure: Option<&'a dyn MeasureTokens>,
    /// Told the bytes and records of every batch.
    pub progress: &'a (dyn Fn(u64, u64) + Sync),
}

/// What a file held.
#[derive(Debug)]
pub(crate) struct FileScan {
    pub fingerprint: Fingerprint,
    /// What the file was recognised as.
    pub layout: String,
    pub read: u64,
    /// What its records were read as, and how many.
    pub shapes: BTreeMap<Shape, u64>,
    pub rejected: BTreeMap<Rejection, Counted>,
    pub exam_items: Counted,
    /// Every importable record that is no exam item, in the file's order.
    pub contents: Vec<ContentId>,
}

/// What was seen of one record.
struct Seeing {
    outcome: Outcome,
    seen: Seen,
    shape: Shape,
}

/// What became of one record.
enum Outcome {
    Rejected(Rejection),
    ExamItem,
    /// The messages are kept only where the record may be chosen.
    Read(ContentId, Option<(Destination, Vec<Message>, Lengths)>),
}

enum Destination {
    Sample(Key),
    HeldOut(Key),
}

impl PoolScan<'_> {
    /// Reads every file; the first error in the order of files and records counts, whatever thread meets it first.
    pub fn run(&self) -> Result<Vec<FileScan>, MixError> {
        let scans: Vec<_> = (0..self.files.len()).into_par_iter().map(|file| self.scan_file(file)).collect();
        scans.into_iter().collect()
    }

    fn scan_file(&self, index: usize) -> Result<FileScan, MixError> {
        let file = &self.files[index];
        let whole = |Problem { problem, hint }| MixError::File { file: file.name.clone(), problem, hint };
        let before = stamp(&file.path);
        let importer = &self.importers[file.part];
        let wants = |column: &str| importer.wants(column);
        let opened = open(&file.path, &self.parts[file.part], &wants).map_err(whole)?;
        let Opened { mut records, fingerprinter, layout } = opened;
        let mut tally = Tally::new(index, file, importer);
        let mut next = records.next_batch();
        let mut reported = 0;
        while let Some(batch) = next.map_err(|error| tally.split_error(error))? {
            let (read, outcomes) = rayon::join(|| records.next_batch(), || self.outcomes(&batch, tally.importer));
            next = read;
            tally.count(&batch, outcomes, self)?;
            let bytes = fingerprinter.bytes();
            (self.progress)(bytes - reported, batch.spans.len() as u64);
            reported = bytes;
        }
        if stamp(&file.path) != before {
            return Err(whole(Problem::new(
                "the file changed or disappeared while it was read",
                "run again when it is complete",
            )));
        }
        tally.finish(fingerprinter.finish(), layout, records.records())
    }

    fn outcomes(&self, batch: &Batch, importer: &Importer) -> Vec<Result<Seeing, Problem>> {
        let outcome = |span: &Span| self.outcome(batch.record(span), importer);
        batch.spans.par_iter().with_min_len(16).map(outcome).collect()
    }

    fn outcome(&self, record: RawRecord<'_>, importer: &Importer) -> Result<Seeing, Problem> {
        let Read { imported, seen, shape } = importer.import(record)?;
        let outcome = match imported {
            Imported::Conversation(messages) if self.exam_items.stand_in(&messages) => Outcome::ExamItem,
            Imported::Conversation(messages) => self.conversation(messages),
            Imported::Rejected(reason) => Outcome::Rejected(reason),
        };
        Ok(Seeing { outcome, seen, shape })
    }

    fn conversation(&self, messages: Vec<Message>) -> Outcome {
        let content = content_id(&messages);
        if self.earlier.iter().any(|pool| pool.binary_search(&content).is_ok()) {
            return Outcome::Read(content, None);
        }
        let validation = self.validation.key(content);
        let (destination, wanted) = if validation.0 < self.validation_bound {
            (Destination::HeldOut(validation), lock(&self.held_out).wants(validation))
        } else {
            let key = self.draw.key(content);
            (Destination::Sample(key), lock(&self.sample).wants(key))
        };
        let measured = wanted.then(|| {
            let lengths = self.measure.map_or_else(Lengths::default, |measure| measure.lengths(&messages));
            (destination, messages, lengths)
        });
        Outcome::Read(content, measured)
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Length and time of change, to notice a file that changes while it is read.
fn stamp(path: &Path) -> Option<(u64, std::time::SystemTime)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}

/// A file's first record.
struct First {
    bytes: Vec<u8>,
    table: Option<Arc<Table>>,
    place: (u64, u64),
}

/// The running count of one file.
struct Tally<'a> {
    index: usize,
    file: &'a SourceFile,
    importer: &'a Importer,
    rejected: BTreeMap<Rejection, Counted>,
    exam_items: Counted,
    contents: Vec<ContentId>,
    seen: Seen,
    shapes: BTreeMap<Shape, u64>,
    /// The first record with its place, for the error if a column is missing from all of them.
    first: Option<First>,
}

impl<'a> Tally<'a> {
    fn new(index: usize, file: &'a SourceFile, importer: &'a Importer) -> Self {
        Self {
            index,
            file,
            importer,
            rejected: BTreeMap::new(),
            exam_items: Counted::default(),
            contents: Vec::new(),
            seen: 0,
            shapes: BTreeMap::new(),
            first: None,
        }
    }

    fn count(
        &mut self,
        batch: &Batch,
        outcomes: Vec<Result<Seeing, Problem>>,
        pool: &PoolScan<'_>,
    ) -> Result<(), MixError> {
        for (span, outcome) in batch.spans.iter().zip(outcomes) {
            let place = (span.line, span.record);
            let Seeing { outcome, seen, shape } = outcome.map_err(|problem| self.record_error(place, problem))?;
            self.seen |= seen;
            *self.shapes.entry(shape).or_default() += 1;
            self.first.get_or_insert_with(|| First {
                bytes: batch.bytes[span.range.clone()].to_vec(),
                table: batch.table.clone(),
                place,
            });
            match outcome {
                Outcome::Rejected(reason) => self.reject(reason, place),
                Outcome::ExamItem => self.exam_items.add(&self.file.name, place),
                Outcome::Read(content, destination) => {
                    self.contents.push(content);
                    let Some((destination, messages, lengths)) = destination else { continue };
                    let (file, line, record) = (self.index, span.line, span.record);
                    let candidate = Candidate { messages, file, line, record, lengths };
                    match destination {
                        Destination::Sample(key) => lock(&pool.sample).offer(key, candidate),
                        Destination::HeldOut(key) => lock(&pool.held_out).offer(key, candidate),
                    }
                }
            }
        }
        Ok(())
    }

    fn reject(&mut self, reason: Rejection, place: (u64, u64)) {
        self.rejected.entry(reason).or_default().add(&self.file.name, place);
    }

    fn record_error(&self, (line, record): (u64, u64), Problem { problem, hint }: Problem) -> MixError {
        MixError::Record { file: self.file.name.clone(), line, record, problem, hint }
    }

    fn split_error(&self, (place, problem): SplitError) -> MixError {
        match place {
            Some(place) => self.record_error(place, problem),
            None => MixError::File { file: self.file.name.clone(), problem: problem.problem, hint: problem.hint },
        }
    }

    fn finish(self, fingerprint: Fingerprint, layout: String, read: u64) -> Result<FileScan, MixError> {
        if let Some(First { bytes, table, place }) = &self.first {
            let record = table.as_deref().map_or(RawRecord::Json(bytes), |table| RawRecord::Row(bytes, table));
            self.importer.check_columns(self.seen, record).map_err(|problem| self.record_error(*place, problem))?;
        }
        let Self { rejected, exam_items, contents, shapes, .. } = self;
        Ok(FileScan { fingerprint, layout, read, shapes, rejected, exam_items, contents })
    }
}
