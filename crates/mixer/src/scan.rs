//! Reading a pool: every record once, in parallel, with the sample's texts and 16 bytes per record in memory.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use medley_chat::Message;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::canonical::{ContentId, content_id};
use crate::error::MixError;
use crate::examine::{AuditPair, Examination, Examined};
use crate::filter::{Filter, Finding, Signature, Sketch};
use crate::import::{Imported, Importer, PLAIN, Read, Rejection, Seen, Shape};
use crate::key::{Key, Keyed};
use crate::lanes::Inputs;
use crate::ledger::Counted;
use crate::locate::SourceFile;
use crate::measure::{Lengths, MeasureTokens};
use crate::read::{Batch, Fingerprint, Opened, Problem, RawRecord, Span, SplitError, Table, open};
use crate::select::{Candidate, Kept, Smallest, Text};
use crate::shard::Share;
use crate::spec::SourcePart;

/// What is asked of every record of a pool.
pub(crate) struct PoolScan<'a> {
    pub files: &'a [SourceFile],
    /// The part of the pool that is read.
    pub share: Share,
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
    /// Contents that are near-duplicates of others, sorted.
    pub left_out: &'a [ContentId],
    pub draw: Keyed,
    pub validation: Keyed,
    /// Contents whose validation hash lies below it are held out.
    pub validation_bound: u128,
    pub sample: Smallest,
    pub held_out: Smallest,
    /// Measures what may be chosen, where the mix counts tokens.
    pub measure: Option<&'a dyn MeasureTokens>,
    /// Told the bytes and records of every batch.
    pub progress: Box<dyn Fn(u64, u64) + Sync + 'a>,
}

/// What a file held.
#[derive(Debug)]
pub(crate) struct FileScan {
    /// Its index in its source.
    pub index: usize,
    pub fingerprint: Fingerprint,
    /// What the file was recognised as.
    pub layout: String,
    pub read: u64,
    /// What its records were read as, and how many.
    pub shapes: BTreeMap<Shape, u64>,
    pub rejected: BTreeMap<Rejection, Counted>,
    pub exam_items: Counted,
    /// Records kept in which something was found.
    pub noted: BTreeMap<Rejection, Counted>,
    /// Every importable record that is no exam item, in the file's order.
    pub contents: Vec<ContentId>,
    /// The same records where they were sketched.
    pub sketches: Vec<Sketch>,
    /// In an audit: records with the exam items that they were found with.
    pub audited: Vec<AuditPair>,
    /// The columns that were met.
    pub seen: Seen,
    /// What the records read lack, which in a part of a file is no error yet.
    pub lacking: Option<Lacking>,
}

impl FileScan {
    /// Adds what was read of another part of the file.
    pub fn add(&mut self, other: Self) {
        self.read += other.read;
        for (shape, count) in other.shapes {
            *self.shapes.entry(shape).or_default() += count;
        }
        for (reason, counted) in other.rejected {
            self.rejected.entry(reason).or_default().merge_in_file(counted);
        }
        for (reason, counted) in other.noted {
            self.noted.entry(reason).or_default().merge_in_file(counted);
        }
        self.exam_items.merge_in_file(other.exam_items);
        self.seen |= other.seen;
        let first = [self.lacking.take(), other.lacking].into_iter().flatten();
        self.lacking = first.min_by_key(|lacking| lacking.record);
    }
}

/// A column that no record of a file has, told by the first of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lacking {
    line: u64,
    record: u64,
    problem: String,
    hint: String,
}

impl Lacking {
    pub fn error(self, file: &str) -> MixError {
        let Self { line, record, problem, hint } = self;
        MixError::Record { file: file.to_owned(), line, record, problem, hint }
    }
}

/// What was seen of one record.
struct Seeing {
    judged: Judged,
    seen: Seen,
    shape: Shape,
}

/// What became of one record, and what is to be remembered of it.
struct Judged {
    outcome: Outcome,
    /// What was found in a record that is kept.
    noted: Vec<Finding>,
    audited: Option<Box<AuditPair>>,
    signature: Option<Box<Signature>>,
}

impl From<Outcome> for Judged {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, noted: Vec::new(), audited: None, signature: None }
    }
}

/// Of records one after another.
type Outcomes = Vec<Result<Seeing, Problem>>;

/// What became of one record.
enum Outcome {
    Rejected(Rejection),
    Filtered(Box<Finding>),
    ExamItem,
    /// Where it goes if it may be chosen, with its messages unless they can be read later.
    Read(ContentId, Option<(Destination, Option<Measured>)>),
}

/// Messages, and how long they are where the mix counts tokens.
type Measured = (Vec<Message>, Lengths);

enum Destination {
    Sample(Key),
    HeldOut(Key),
}

impl PoolScan<'_> {
    /// Reads every file; the first error in the order of files and records counts, whatever thread meets it first.
    pub fn run(&self) -> Result<Vec<FileScan>, MixError> {
        let taken = (0..self.files.len()).into_par_iter().filter(|file| self.share.takes_file(*file, self.files.len()));
        let scans: Vec<_> = taken.map(|file| self.scan_file(file)).collect();
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
        while let Some(mut batch) = next.map_err(|error| tally.split_error(error))? {
            batch.spans.retain(|span| self.share.takes_record(span.record, self.files.len()));
            let (read, outcomes) = rayon::join(|| records.next_batch(), || self.outcomes(&batch, file.part));
            next = read;
            tally.count(&batch, outcomes, self)?;
            let bytes = fingerprinter.bytes();
            (self.progress)(bytes - reported, batch.spans.len() as u64);
            reported = bytes;
            records.reuse(batch);
        }
        if stamp(&file.path) != before {
            return Err(whole(Problem::new(
                "the file changed or disappeared while it was read",
                "run again when it is complete",
            )));
        }
        let scan = tally.finish(fingerprinter.finish(), layout);
        match scan.lacking.clone().filter(|_| !self.share.divides(self.files.len())) {
            Some(lacking) => Err(lacking.error(&file.name)),
            None => Ok(scan),
        }
    }

    fn outcomes(&self, batch: &Batch, part: usize) -> Vec<Outcomes> {
        let some = |inputs: &mut Inputs, spans: &[Span]| self.some_outcomes(batch, spans, part, inputs);
        batch.spans.par_chunks(TOGETHER).map_init(Inputs::default, some).collect()
    }

    /// Plain records are told by their canonical contents, hashed together; the others are read one by one, and so is every
    /// record whose text is asked about.
    fn some_outcomes(&self, batch: &Batch, spans: &[Span], part: usize, inputs: &mut Inputs) -> Outcomes {
        let (importer, filter) = (&self.importers[part], self.filters[part].as_ref());
        let (Some(first), Some(last)) = (spans.first(), spans.last()) else { return Vec::new() };
        let text = simdutf8::basic::from_utf8(&batch.bytes[first.range.start..last.range.end]);
        if batch.table.is_some() || text.is_err() || filter.is_some() || self.sketching {
            return spans.iter().map(|span| self.outcome(batch.record(span), importer, filter)).collect();
        }
        inputs.clear();
        let plain = |span: &Span| {
            inputs.push(|canonical| {
                let identified = importer.identify(&batch.bytes[span.range.clone()], canonical)?;
                // What has to do with the exam is looked at closely.
                (!self.exam.suspects(canonical, identified)).then_some(())
            })
        };
        let plain: Vec<Option<()>> = spans.iter().map(plain).collect();
        let contents = inputs.hashes();
        let (draws, validations) = (self.draw.keys(&contents), self.validation.keys(&contents));
        let mut known = contents.into_iter().zip(draws.into_iter().zip(validations));
        let outcome = |(span, plain): (&Span, Option<()>)| {
            let Some((content, (key, validation))) = plain.and_then(|()| known.next()) else {
                return self.outcome(batch.record(span), importer, filter);
            };
            let (seen, shape) = PLAIN;
            let destination = self.destination(ContentId(content), key, validation).map(|destination| {
                let messages = self.measure.and_then(|_| importer.plain(&batch.bytes[span.range.clone()]));
                (destination, messages.map(|messages| self.measured(messages)))
            });
            Ok(Seeing { judged: Outcome::Read(ContentId(content), destination).into(), seen, shape })
        };
        spans.iter().zip(plain).map(outcome).collect()
    }

    fn outcome(&self, record: RawRecord<'_>, importer: &Importer, filter: Option<&Filter>) -> Result<Seeing, Problem> {
        let Read { imported, unmet, seen, shape } = importer.import(record)?;
        let judged = match (imported, unmet) {
            (Imported::Rejected(reason), _) => Outcome::Rejected(reason).into(),
            (_, Some(finding)) => Outcome::Filtered(finding).into(),
            (Imported::Conversation(messages), None) => self.judged(messages, filter),
        };
        Ok(Seeing { judged, seen, shape })
    }

    /// What becomes of a conversation.
    fn judged(&self, mut messages: Vec<Message>, filter: Option<&Filter>) -> Judged {
        let mut noted = match filter.map_or(Ok(None), |filter| filter.judge(&mut messages)) {
            Ok(noted) => noted.map_or_else(Vec::new, |finding| vec![*finding]),
            Err(finding) => return Outcome::Filtered(finding).into(),
        };
        let (examined, audited) = self.exam.of(&messages);
        match examined {
            Examined::Nothing => {}
            Examined::SameQuestion => return Judged { audited, ..Outcome::ExamItem.into() },
            Examined::Shares(finding) => return Judged { audited, ..Outcome::Filtered(finding).into() },
            Examined::Noted(finding) => noted.push(*finding),
        }
        let signature = self.sketching.then(|| Box::new(Signature::of(&messages)));
        Judged { outcome: self.conversation(messages), noted, audited, signature }
    }

    fn conversation(&self, messages: Vec<Message>) -> Outcome {
        let content = content_id(&messages);
        let destination = self.destination(content, self.draw.key(content), self.validation.key(content));
        Outcome::Read(content, destination.map(|destination| (destination, Some(self.measured(messages)))))
    }

    fn measured(&self, messages: Vec<Message>) -> Measured {
        let lengths = self.measure.map_or_else(Lengths::default, |measure| measure.lengths(&messages));
        (messages, lengths)
    }

    /// Where a record goes if it may be chosen.
    fn destination(&self, content: ContentId, key: Key, validation: Key) -> Option<Destination> {
        let held_out = validation.0 < self.validation_bound;
        let wanted = if held_out { self.held_out.wants(validation) } else { self.sample.wants(key) };
        let stands_elsewhere = || self.earlier.iter().any(|pool| stands_in(content, pool));
        if !wanted || stands_elsewhere() || (!self.left_out.is_empty() && stands_in(content, self.left_out)) {
            return None;
        }
        Some(if held_out { Destination::HeldOut(validation) } else { Destination::Sample(key) })
    }

    /// The messages of a plain record.
    fn read_plain(&self, file: usize, bytes: &[u8]) -> Vec<Message> {
        // Only what was identified is held unread.
        self.importers[self.files[file].part].plain(bytes).unwrap_or_default()
    }

    /// The records that were kept, with their texts, by ascending key.
    pub fn kept(&self, smallest: &Smallest) -> Vec<(Key, Candidate)> {
        let read_plain = |file: usize, bytes: &[u8]| self.read_plain(file, bytes);
        let read = |(key, kept): (Key, Kept)| (key, kept.read(&read_plain));
        smallest.take_sorted(&read_plain).into_par_iter().map(read).collect()
    }
}

/// Records whose contents are hashed together.
const TOGETHER: usize = 256;

/// Whether a content is one of `sorted`. They are hashes, so it stands near its share of the way.
pub(crate) fn stands_in(content: ContentId, sorted: &[ContentId]) -> bool {
    let guess = (((content.0 >> 64) * sorted.len() as u128) >> 64) as usize;
    let mut step = 16;
    let (mut low, mut high) = (guess, guess);
    while low > 0 && sorted[low - 1] >= content {
        low = low.saturating_sub(step);
        step *= 4;
    }
    step = 16;
    while high < sorted.len() && sorted[high] <= content {
        high = (high + step).min(sorted.len());
        step *= 4;
    }
    sorted[low..high].binary_search(&content).is_ok()
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
    read: u64,
    rejected: BTreeMap<Rejection, Counted>,
    exam_items: Counted,
    noted: BTreeMap<Rejection, Counted>,
    contents: Vec<ContentId>,
    sketches: Vec<Sketch>,
    audited: Vec<AuditPair>,
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
            read: 0,
            rejected: BTreeMap::new(),
            exam_items: Counted::default(),
            noted: BTreeMap::new(),
            contents: Vec::new(),
            sketches: Vec::new(),
            audited: Vec::new(),
            seen: 0,
            shapes: BTreeMap::new(),
            first: None,
        }
    }

    fn count(&mut self, batch: &Batch, outcomes: Vec<Outcomes>, pool: &PoolScan<'_>) -> Result<(), MixError> {
        for (span, outcome) in batch.spans.iter().zip(outcomes.into_iter().flatten()) {
            let place = (span.line, span.record);
            let Seeing { judged, seen, shape } = outcome.map_err(|problem| self.record_error(place, problem))?;
            self.read += 1;
            self.seen |= seen;
            *self.shapes.entry(shape).or_default() += 1;
            self.first.get_or_insert_with(|| First {
                bytes: batch.bytes[span.range.clone()].to_vec(),
                table: batch.table.clone(),
                place,
            });
            let Judged { outcome, noted, audited, signature } = judged;
            self.note(noted, audited, place);
            match outcome {
                Outcome::Rejected(reason) => self.reject(reason, place),
                Outcome::Filtered(finding) => {
                    self.rejected.entry(finding.reason).or_default().add_finding(&self.file.name, place, *finding);
                }
                Outcome::ExamItem => self.exam_items.add(&self.file.name, place),
                Outcome::Read(content, destination) => {
                    self.contents.push(content);
                    if let Some(signature) = signature {
                        let place = (self.index as u32, span.line as u32, span.record as u32);
                        self.sketches.push(Sketch { content, place, signature: *signature });
                    }
                    let Some((destination, messages)) = destination else { continue };
                    let (smallest, key) = match destination {
                        Destination::Sample(key) => (&pool.sample, key),
                        Destination::HeldOut(key) => (&pool.held_out, key),
                    };
                    if !smallest.wants(key) {
                        continue;
                    }
                    let unread = || Text::Unread(batch.bytes[span.range.clone()].into());
                    let (text, lengths) = match messages {
                        Some((messages, lengths)) => (Text::Read(messages), lengths),
                        None => (unread(), Lengths::default()),
                    };
                    let kept = Kept { text, file: self.index, line: span.line, record: span.record, lengths };
                    smallest.offer(key, kept, &|file, bytes| pool.read_plain(file, bytes));
                }
            }
        }
        Ok(())
    }

    /// Counts what was found in a record, and keeps it where it is to be shown.
    fn note(&mut self, noted: Vec<Finding>, audited: Option<Box<AuditPair>>, place: (u64, u64)) {
        for finding in noted {
            self.noted.entry(finding.reason).or_default().add_finding(&self.file.name, place, finding);
        }
        if let Some(pair) = audited {
            let (file, (line, record)) = (self.file.name.clone(), place);
            self.audited.push(AuditPair { file, line, record, ..*pair });
        }
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

    fn finish(self, fingerprint: Fingerprint, layout: String) -> FileScan {
        let lacking = self.first.as_ref().and_then(|First { bytes, table, place: (line, record) }| {
            let raw = table.as_deref().map_or(RawRecord::Json(bytes), |table| RawRecord::Row(bytes, table));
            let Problem { problem, hint } = self.importer.check_columns(self.seen, raw).err()?;
            Some(Lacking { line: *line, record: *record, problem, hint })
        });
        let Self { index, read, rejected, exam_items, noted, contents, sketches, audited, shapes, seen, .. } = self;
        FileScan {
            index,
            fingerprint,
            layout,
            read,
            shapes,
            rejected,
            exam_items,
            noted,
            contents,
            sketches,
            audited,
            seen,
            lacking,
        }
    }
}
