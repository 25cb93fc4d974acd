//! Reads all fields of all records of files, for exam papers.

use std::path::{Path, PathBuf};

use medley_hub::DatasetHub;
use medley_mixture::MixError;
use medley_mixture::spec::{SourcePart, SourceSpec};
use medley_reader::{Problem, open};
use rayon::prelude::*;
use serde_json::{Map, Value};

use crate::import::{Importer, all_fields};
use crate::locate::{SourceFile, locate};

/// A file with all of its records.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordFile {
    /// Its path.
    pub path: PathBuf,
    /// Its name in messages: relative to `base_dir` or the working directory, or `hub:owner/name@commit/path`.
    pub name: String,
    /// The index of its part.
    pub part: usize,
    /// The recognised layout: `JSON Lines, gzip, gb18030`.
    pub layout: String,
    /// Whether records are located by line; otherwise by number (arrays, Parquet).
    pub by_line: bool,
    /// In the file's order.
    pub records: Vec<FileRecord>,
}

/// A record with all of its fields.
#[derive(Clone, Debug, PartialEq)]
pub struct FileRecord {
    /// The fields; those of a table are texts.
    pub fields: Map<String, Value>,
    /// Line of the (unpacked) file on which it begins, from 1.
    pub line: u64,
    /// Its number in the file, from 1.
    pub record: u64,
}

/// Reads every file that the parts name, in any packing, encoding and layout that a source may have; each file once, in the order
/// of the parts.
///
/// # Errors
/// A part without files, an unreadable file, a record that is not an object or has a key twice.
pub fn read_records(
    parts: &[SourcePart],
    base_dir: &Path,
    hub: Option<&dyn DatasetHub>,
) -> Result<Vec<RecordFile>, MixError> {
    let mut files = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        // One part at a time, so that an error names it.
        let spec = SourceSpec { parts: vec![part.clone()], max_records: None };
        let found = locate(&part.path, &spec, base_dir, hub)?;
        for file in found.into_iter().map(|file| SourceFile { part: index, ..file }) {
            if !files.iter().any(|known: &SourceFile| same_file(&known.path, &file.path)) {
                files.push(file);
            }
        }
    }
    let read: Vec<_> = files.into_par_iter().map(|file| read_file(&file, &parts[file.part])).collect();
    read.into_iter().collect()
}

fn same_file(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    one == other || real(one) == real(other)
}

fn read_file(file: &SourceFile, part: &SourcePart) -> Result<RecordFile, MixError> {
    let name = || file.name.clone();
    let of_file = |Problem { problem, hint }| MixError::File { file: name(), problem, hint };
    let of_record =
        |(line, record), Problem { problem, hint }| MixError::Record { file: name(), line, record, problem, hint };
    let importer = Importer::new(part);
    let mut opened = open(&file.path, part, &|_| true, &|object| importer.knows(object)).map_err(of_file)?;
    let mut records = Vec::new();
    loop {
        let batch = opened.records.next_batch().map_err(|(place, problem)| match place {
            Some(place) => of_record(place, problem),
            None => of_file(problem),
        })?;
        let Some(batch) = batch else { break };
        for span in &batch.spans {
            let fields = all_fields(batch.record(span)).map_err(|problem| of_record(span.place(), problem))?;
            records.push(FileRecord { fields, line: span.line, record: span.record });
        }
        opened.records.reuse(batch);
    }
    let by_number = ["JSON array", "JSON object of records", "Parquet"];
    let by_line = !by_number.iter().any(|layout| opened.layout.starts_with(layout));
    Ok(RecordFile { path: file.path.clone(), name: name(), part: file.part, layout: opened.layout, by_line, records })
}
