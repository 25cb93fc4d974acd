//! Counts of records, of a batch first, then of its file.

use std::collections::BTreeMap;
use std::sync::Arc;

use medley_mixture::canonical::ContentId;
use medley_mixture::filter::Finding;
use medley_mixture::ledger::Counted;
use medley_mixture::{MixError, Rejection};
use medley_reader::{Batch, Fingerprint, Problem, RawRecord, Span, Table};
use medley_source::{ColumnMask, Importer, Shape};
use serde::{Deserialize, Serialize};

use crate::examine::AuditPair;
use crate::filter::Sketch;

/// Counts of some records of a file.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub read: u64,
    /// Number of records by layout.
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
    pub seen: ColumnMask,
}

impl Counts {
    /// Adds what was seen of others, whose examples `merge` puts beside those that there are.
    fn add(&mut self, next: Self, merge: fn(&mut Counted, Counted)) {
        self.read += next.read;
        for (shape, count) in next.shapes {
            *self.shapes.entry(shape).or_default() += count;
        }
        for (reason, counted) in next.rejected {
            merge(self.rejected.entry(reason).or_default(), counted);
        }
        for (reason, counted) in next.noted {
            merge(self.noted.entry(reason).or_default(), counted);
        }
        merge(&mut self.exam_items, next.exam_items);
        self.contents.extend(next.contents);
        self.sketches.extend(next.sketches);
        self.audited.extend(next.audited);
        self.seen |= next.seen;
    }
}

/// Counts of a file.
#[derive(Debug)]
pub(crate) struct FileScan {
    /// Its index in its source.
    pub index: usize,
    pub fingerprint: Fingerprint,
    /// Recognised layout of the file.
    pub layout: String,
    pub counts: Counts,
    /// Column missing from all records read, which in a part of a file is no error yet.
    pub lacking: Option<MissingColumn>,
}

impl FileScan {
    /// Adds what was read of another part of the file.
    pub fn add(&mut self, other: Self) {
        self.counts.add(other.counts, Counted::merge_in_file);
        let first = [self.lacking.take(), other.lacking].into_iter().flatten();
        self.lacking = first.min_by_key(|lacking| lacking.record);
    }
}

/// A column that no record of a file has, with the file's first record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MissingColumn {
    line: u64,
    record: u64,
    problem: String,
    hint: String,
}

impl MissingColumn {
    pub fn error(self, file: &str) -> MixError {
        let Self { line, record, problem, hint } = self;
        MixError::Record { file: file.to_owned(), line, record, problem, hint }
    }
}

/// The first record of a file with its place, for the error if a column is missing from all of them.
#[derive(Debug)]
struct First {
    bytes: Vec<u8>,
    table: Option<Arc<Table>>,
    place: (u64, u64),
}

/// The running count of a batch, or of a file.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub counts: Counts,
    first: Option<First>,
}

impl Tally {
    /// Keeps the batch's first record too.
    pub fn with_first(self, batch: &Batch) -> Self {
        let first = batch.spans.first().map(|span| First {
            bytes: batch.bytes[span.range.clone()].to_vec(),
            table: batch.table.clone(),
            place: span.place(),
        });
        Self { first, ..self }
    }

    /// Whether it has the first record.
    pub fn has_first(&self) -> bool {
        self.first.is_some()
    }

    pub fn count(&mut self, records: u64, seen: ColumnMask, shape: Shape) {
        if records > 0 {
            self.counts.read += records;
            self.counts.seen |= seen;
            *self.counts.shapes.entry(shape).or_default() += records;
        }
    }

    pub fn reject(&mut self, reason: Rejection, file: &str, span: &Span) {
        self.counts.rejected.entry(reason).or_default().add(file, span.place());
    }

    pub fn filter(&mut self, finding: Finding, file: &str, span: &Span) {
        self.counts.rejected.entry(finding.reason).or_default().add_finding(file, span.place(), finding);
    }

    pub fn exam_item(&mut self, file: &str, span: &Span) {
        self.counts.exam_items.add(file, span.place());
    }

    /// Counts what was found in a record that is kept.
    pub fn note(&mut self, finding: Finding, file: &str, span: &Span) {
        self.counts.noted.entry(finding.reason).or_default().add_finding(file, span.place(), finding);
    }

    /// Keeps what was found with a record, to be shown.
    pub fn audit(&mut self, pair: AuditPair, file: &str, span: &Span) {
        let (line, record) = span.place();
        self.counts.audited.push(AuditPair { file: file.to_owned(), line, record, ..pair });
    }

    /// Adds the next batch of the file.
    pub fn add(&mut self, next: Self) {
        self.counts.add(next.counts, Counted::merge);
        self.first = self.first.take().or(next.first);
    }

    /// Of the whole file, which is number `index` of its source.
    pub fn finish(self, index: usize, importer: &Importer, fingerprint: Fingerprint, layout: String) -> FileScan {
        let Self { counts, first } = self;
        let lacking = first.and_then(|First { bytes, table, place: (line, record) }| {
            let raw = table.as_deref().map_or(RawRecord::Json(&bytes), |table| RawRecord::Row(&bytes, table));
            let Problem { problem, hint } = importer.check_columns(counts.seen, raw).err()?;
            Some(MissingColumn { line, record, problem, hint })
        });
        FileScan { index, fingerprint, layout, counts, lacking }
    }
}
