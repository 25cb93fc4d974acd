//! Files of items: Medley's own layout and the layouts that real exams come in.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};

use medley_experiment::report::PaperInput;
use rayon::prelude::*;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::error::EvalError;
use crate::import::{Imported, Layout};
use crate::item::{Item, Place};
use crate::table;

/// The items of an exam and the files that they come from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Papers {
    /// In the order of the files (by path) and of the records in them.
    pub items: Vec<Item>,
    /// Every file with its hash, what was taken from it and what was not.
    pub files: Vec<PaperInput>,
}

impl Papers {
    /// At most `limit` items, spread over the exams: every exam gives its first item before any gives its second.
    pub fn limited(&self, limit: usize) -> Vec<Item> {
        let mut turn: HashMap<&str, usize> = HashMap::new();
        let mut order: Vec<(usize, usize)> = Vec::new();
        for (index, item) in self.items.iter().enumerate() {
            let turn = turn.entry(&item.exam).or_default();
            order.push((*turn, index));
            *turn += 1;
        }
        order.sort_unstable();
        order.truncate(limit);
        let mut chosen: Vec<usize> = order.into_iter().map(|(_, index)| index).collect();
        chosen.sort_unstable();
        chosen.into_iter().map(|index| self.items[index].clone()).collect()
    }

    /// The questions, by which a mix leaves out what the exam asks.
    pub fn questions(&self) -> impl Iterator<Item = &str> {
        self.items.iter().map(|item| item.question.as_str())
    }
}

/// Reads every paper that the patterns name. A relative pattern is looked for in `base_dir`, then in the working
/// directory. The layout is recognised by the records' keys; gzip by its first bytes.
///
/// # Errors
/// A pattern finds no file, a file cannot be read or holds no usable item, a record is malformed, an id stands twice.
pub fn load_papers(patterns: &[String], base_dir: &Path) -> Result<Papers, EvalError> {
    let mut papers = Papers::default();
    let mut places: HashMap<String, String> = HashMap::new();
    for path in find(patterns, base_dir)? {
        let (input, items) = read_paper(&path)?;
        for (item, place) in items {
            if let Some(earlier) = places.insert(item.id.clone(), place.to_string()) {
                let reason = format!("\"{}\" is taken by {earlier}", item.id);
                return Err(place.item_error("id", reason, "give every item an id of its own over all papers"));
            }
            papers.items.push(item);
        }
        papers.files.push(input);
    }
    Ok(papers)
}

fn find(patterns: &[String], base_dir: &Path) -> Result<Vec<PathBuf>, EvalError> {
    let mut paths = Vec::new();
    for pattern in patterns {
        let mut found = expand(&base_dir.join(pattern))?;
        if found.is_empty() && Path::new(pattern).is_relative() {
            found = expand(Path::new(pattern))?;
        }
        if found.is_empty() {
            let hint =
                "check exam.papers or --papers; a pattern is relative to the recipe's folder or the working directory";
            return Err(EvalError::file(pattern, "no such paper", hint));
        }
        paths.extend(found);
    }
    paths.sort();
    paths.dedup();
    Ok(paths)
}

fn expand(pattern: &Path) -> Result<Vec<PathBuf>, EvalError> {
    let hint = "write a path, or a glob such as data/exams/*.jsonl";
    // A path with brackets in it is a path first, a glob second.
    if pattern.is_file() {
        return Ok(vec![pattern.to_path_buf()]);
    }
    if pattern.is_dir() {
        return papers_of(pattern);
    }
    let text = pattern.to_str().ok_or_else(|| EvalError::file(pattern, "is not UTF-8", hint))?;
    let entries = glob::glob(text).map_err(|error| EvalError::file(pattern, error, hint))?;
    let files = entries.map(|entry| entry.map_err(|error| EvalError::file(pattern, error, hint)));
    files.filter(|file| file.as_ref().map_or(true, |path| path.is_file())).collect()
}

/// Every file of a directory that can be a paper by its name.
fn papers_of(directory: &Path) -> Result<Vec<PathBuf>, EvalError> {
    let failed = |error| EvalError::file(directory, error, "check the folder's permissions");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let plain = name.strip_suffix(".gz").unwrap_or(&name);
        if path.is_file() && [".jsonl", ".json", ".csv"].iter().any(|ending| plain.ends_with(ending)) {
            files.push(path);
        }
    }
    Ok(files)
}

fn read_paper(path: &Path) -> Result<(PaperInput, Vec<(Item, Place)>), EvalError> {
    let bytes =
        std::fs::read(path).map_err(|error| EvalError::file(path, error, "check the path and its permissions"))?;
    let sha256: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let text = decode(path, bytes)?;
    let records = records(path, &text)?;
    let hint =
        "write one item a line: {\"id\": …, \"exam\": …, \"kind\": …, \"question\": …, \"options\": …, \"answer\": …}";
    let Some((first, place)) = records.first() else {
        return Err(EvalError::file(path, "holds no record", hint));
    };
    let layout = Layout::recognise(first, place)?;
    let mut input = PaperInput {
        path: path.display().to_string(),
        sha256,
        layout: layout.name().to_owned(),
        ..PaperInput::default()
    };
    let imported: Vec<_> = records.par_iter().map(|(record, place)| layout.import(record, place)).collect();
    let mut items = Vec::new();
    for (imported, (_, place)) in imported.into_iter().zip(records) {
        match imported? {
            Imported::Item { item, mended } => {
                count(&mut input.mended, mended);
                items.push((item, place));
            }
            Imported::Refused(reason) => count(&mut input.refused, Some(reason)),
        }
    }
    if items.is_empty() {
        let reasons: Vec<String> = input.refused.iter().map(|(reason, count)| format!("{count}: {reason}")).collect();
        return Err(EvalError::file(path, format!("every item is refused ({})", reasons.join("; ")), hint));
    }
    input.items = items.len();
    Ok((input, items))
}

fn count(counts: &mut BTreeMap<String, usize>, reason: Option<&str>) {
    if let Some(reason) = reason {
        *counts.entry(reason.to_owned()).or_default() += 1;
    }
}

fn decode(path: &Path, bytes: Vec<u8>) -> Result<String, EvalError> {
    let bytes = if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        let unpacked = flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut plain);
        unpacked
            .map_err(|error| EvalError::file(path, format!("damaged gzip: {error}"), "fetch or pack the file again"))?;
        plain
    } else {
        bytes
    };
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count();
        EvalError::file(path, format!("line {line} is not UTF-8"), "convert it: iconv -f GB18030 -t UTF-8 FILE")
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

type Record = (Map<String, Value>, Place);

fn records(path: &Path, text: &str) -> Result<Vec<Record>, EvalError> {
    let name = path.display().to_string();
    match text.trim_start().chars().next() {
        Some('[') => array_records(path, &name, text),
        Some('{') | None => line_records(&name, text),
        Some(_) => table_records(path, &name, text),
    }
}

fn line_records(name: &str, text: &str) -> Result<Vec<Record>, EvalError> {
    let mut records = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let place = Place { file: name.to_owned(), number: index + 1, in_array: false };
        let value = serde_json::from_str(line).map_err(|error| {
            place.item_error("record", format!("is not JSON: {error}"), "write one whole JSON object a line")
        })?;
        records.push((object(value, &place)?, place));
    }
    Ok(records)
}

fn array_records(path: &Path, name: &str, text: &str) -> Result<Vec<Record>, EvalError> {
    let values: Vec<Value> = serde_json::from_str(text).map_err(|error| {
        EvalError::file(path, format!("is not a JSON array: {error}"), "mend the JSON at that place")
    })?;
    let record = |(index, value)| {
        let place = Place { file: name.to_owned(), number: index + 1, in_array: true };
        Ok((object(value, &place)?, place))
    };
    values.into_iter().enumerate().map(record).collect()
}

fn object(value: Value, place: &Place) -> Result<Map<String, Value>, EvalError> {
    match value {
        Value::Object(record) => Ok(record),
        _ => Err(place.item_error("record", "is not a JSON object", "write {\"id\": …, \"exam\": …, …}")),
    }
}

fn table_records(path: &Path, name: &str, text: &str) -> Result<Vec<Record>, EvalError> {
    let rows = table::rows(text).map_err(|line| {
        let reason = format!("line {line}: a quoted field has no end, or is followed by text");
        EvalError::file(path, reason, "write one JSON object a line, or a CSV table")
    })?;
    let mut rows = rows.into_iter();
    let Some((_, headers)) = rows.next() else {
        return Ok(Vec::new());
    };
    let record = |(number, row): (usize, Vec<String>)| {
        let place = Place { file: name.to_owned(), number, in_array: false };
        if row.len() != headers.len() {
            let reason = format!("has {} fields, the first line names {}", row.len(), headers.len());
            return Err(place.item_error("record", reason, "write one JSON object a line, or a CSV table"));
        }
        let fields = headers.iter().cloned().zip(row.into_iter().map(Value::String));
        Ok((fields.collect(), place))
    };
    rows.map(record).collect()
}

#[cfg(test)]
#[path = "papers_tests.rs"]
mod tests;
