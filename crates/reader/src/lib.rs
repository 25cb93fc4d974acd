//! Source files: opened, unpacked, hashed, decoded, recognised by their content, and split into records.

mod decode;
mod foreign;
mod json;
mod layout;
mod letters;
mod open;
mod parquet;
mod split;
mod table;
mod unpack;
mod whole;

use std::sync::Arc;

pub use decode::not_utf8;
pub use foreign::Foreign;
pub use json::without_nan;
pub use open::{Fingerprint, Opened, open};
use parquet::ParquetReader;
use split::Splitter;
pub use table::Table;

/// What is wrong with a file or a record, before its place is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("{problem}")]
#[diagnostic(help("{hint}"))]
pub struct Problem {
    /// The error.
    pub problem: String,
    /// How to fix it.
    pub hint: String,
}

impl Problem {
    /// A problem with its remedy.
    pub fn new(problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { problem: problem.into(), hint: hint.into() }
    }

    /// What a reader reports: problems of unpacking and decoding travel inside the error.
    pub fn of_reading(error: &std::io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Self>());
        inner.cloned().unwrap_or_else(|| {
            Self::new(format!("cannot be read: {error}"), "check the disk and the file's permissions")
        })
    }
}

/// No real record is longer; a longer one is a file in another layout.
const MAX_RECORD: usize = 64 << 20;
/// Bytes that are read before the records in them are handed out: what a core's own cache holds, with what is made of them.
const BATCH: usize = 128 << 10;

/// Where a record lies in its batch and in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Bytes in the batch.
    pub range: std::ops::Range<usize>,
    /// Line on which it begins, from 1.
    pub line: u64,
    /// Its number, from 1.
    pub record: u64,
}

impl Span {
    /// Line and number.
    #[inline]
    pub fn place(&self) -> (u64, u64) {
        (self.line, self.record)
    }
}

/// Some records, in the file's order.
#[derive(Debug, Default)]
pub struct Batch {
    /// What stands behind the last record is no part of the file.
    pub bytes: Vec<u8>,
    /// Its records.
    pub spans: Vec<Span>,
    /// For the rows of a table: its columns. Otherwise each record is a JSON object.
    pub table: Option<Arc<Table>>,
}

impl Batch {
    /// The record that lies at `span`.
    #[inline]
    pub fn record(&self, span: &Span) -> RawRecord<'_> {
        let bytes = &self.bytes[span.range.clone()];
        match &self.table {
            Some(table) => RawRecord::Row(bytes, table),
            None => RawRecord::Json(bytes),
        }
    }
}

/// Raw bytes of a record.
#[derive(Clone, Copy, Debug)]
pub enum RawRecord<'a> {
    /// A JSON object, or a list of turns.
    Json(&'a [u8]),
    /// A row of a table.
    Row(&'a [u8], &'a Table),
}

/// A problem and the line and number of the record it was met in.
pub type SplitError = (Option<(u64, u64)>, Problem);

/// The records of one file, batch by batch.
pub struct Records(RecordSource);

/// Where batches come from.
enum RecordSource {
    /// A text, split while it is read.
    Text(Splitter),
    /// Of a text that is one JSON object, already in memory.
    Unfolded(std::vec::IntoIter<Batch>),
    /// A Parquet file.
    Parquet(Box<ParquetReader>),
}

impl Records {
    /// The next records; `None` at the end of a well-formed file.
    ///
    /// # Errors
    /// The problem with the line and number of its record, where it lies in one.
    pub fn next_batch(&mut self) -> Result<Option<Batch>, SplitError> {
        match &mut self.0 {
            RecordSource::Text(splitter) => splitter.next_batch(),
            RecordSource::Unfolded(batches) => Ok(batches.next()),
            RecordSource::Parquet(reader) => reader.next_batch(),
        }
    }

    /// Takes back the memory of a batch that is done with.
    pub fn reuse(&mut self, batch: Batch) {
        if let RecordSource::Text(splitter) = &mut self.0 {
            splitter.reuse(batch.bytes, batch.spans);
        }
    }
}
