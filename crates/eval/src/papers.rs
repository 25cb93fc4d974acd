//! Exam papers, in Medley's own layout or those of public exams, read through the reader of training data.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use medley_hub::DatasetHub;
use medley_mixture::{Columns, SourcePart};
use medley_run::report::PaperInput;
use medley_source::{ChoiceQuestion, FileRecord, KeyEvidence, RecordFile, read_records};
use rayon::prelude::*;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::error::EvalError;
use crate::import::{Imported, Layout, Reading};
use crate::item::{Item, Place};
use crate::suggest::suggested_columns;

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

    /// The questions, for removing exam text from a mix.
    pub fn questions(&self) -> impl Iterator<Item = &str> {
        self.items.iter().map(|item| item.question.as_str())
    }
}

/// Reads all papers, in every layout, compression and encoding that sources of training data support. Relative paths are
/// resolved in `base_dir`, then in the working directory; `hub` provides `owner/name` data sets.
///
/// # Errors
/// A path without a match, an unreadable file or one without a usable item, a malformed record, a duplicate id, numeric answers
/// that may count from 0 or from 1.
pub fn load_papers(parts: &[SourcePart], base_dir: &Path, hub: Option<&dyn DatasetHub>) -> Result<Papers, EvalError> {
    if let Some(empty) = parts.iter().position(|part| part.path.trim().is_empty()) {
        let problem = format!("exam paper {} has an empty path", empty + 1);
        return Err(EvalError::Papers { problem, hint: "name a file, a directory or a glob".to_owned() });
    }
    let mut files = read_records(parts, base_dir, hub)?;
    files.sort_by(|one, other| one.path.cmp(&other.path));
    let stems = stems(&files);
    let mut papers = Papers::default();
    let mut places: HashMap<String, String> = HashMap::new();
    for (file, stem) in files.into_iter().zip(stems) {
        let columns = &parts[file.part].columns;
        let (input, items) = read_paper(file, &stem, columns)?;
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

/// Prefix of each file's item ids: the file name without extensions, after as many parent folders as make it unique.
fn stems(files: &[RecordFile]) -> Vec<String> {
    let parts = |file: &RecordFile| {
        let mut parts: Vec<String> =
            file.path.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
        let name = parts.pop().unwrap_or_default();
        let stem = name.split('.').next().unwrap_or_default().to_owned();
        (parts, name, stem)
    };
    let named = |(folders, _, stem): &(Vec<String>, String, String), depth: usize| {
        let above = &folders[folders.len() - depth.min(folders.len())..];
        above.iter().map(String::as_str).chain([stem.as_str()]).collect::<Vec<_>>().join("/")
    };
    let all: Vec<_> = files.iter().map(parts).collect();
    let mut stems: Vec<Option<String>> = vec![None; all.len()];
    let deepest = all.iter().map(|(folders, ..)| folders.len()).max().unwrap_or(0);
    for depth in 0..=deepest {
        if stems.iter().all(Option::is_some) {
            break;
        }
        let names: Vec<String> = all.iter().map(|parts| named(parts, depth)).collect();
        let mut counts: HashMap<&str, usize> = HashMap::new();
        names.iter().for_each(|name| *counts.entry(name).or_default() += 1);
        for ((stem, name), (folders, ..)) in stems.iter_mut().zip(&names).zip(&all) {
            if stem.is_none() && depth <= folders.len() && counts.get(name.as_str()) == Some(&1) {
                *stem = Some(name.clone());
            }
        }
    }
    // Files that differ only in their extensions keep them.
    stems.into_iter().zip(all).map(|(stem, (_, name, _))| stem.unwrap_or(name)).collect()
}

type Record = (Map<String, Value>, Place);

const HINT: &str =
    "write one item a line: {\"id\": …, \"exam\": …, \"kind\": …, \"question\": …, \"options\": …, \"answer\": …}";

fn read_paper(file: RecordFile, stem: &str, columns: &Columns) -> Result<(PaperInput, Vec<(Item, Place)>), EvalError> {
    let (path, shown) = (file.path, file.name);
    let name = if shown.starts_with("hub:") { shown } else { path.display().to_string() };
    let place = |record: &FileRecord| {
        let number = if file.by_line { record.line } else { record.record } as usize;
        Place { file: name.clone(), number, in_array: !file.by_line }
    };
    let is_empty = |value: &Value| value.as_str() == Some("");
    let records: Vec<Record> = file
        .records
        .into_iter()
        .filter(|record| !record.fields.values().all(is_empty))
        .map(|record| {
            let place = place(&record);
            (record.fields, place)
        })
        .collect();
    let Some((first, place)) = records.first() else {
        return Err(EvalError::file(name, "holds no record", HINT));
    };
    let layout = Layout::recognise(first, columns, &records).map_err(|keys| unknown_layout(place, &keys, &records))?;
    let mut input = PaperInput {
        path: name.clone(),
        sha256: sha256_of(&path)?,
        layout: layout.name().to_owned(),
        ..PaperInput::default()
    };
    let mut evidence = KeyEvidence::default();
    if layout != Layout::Medley {
        let asked = records.iter().filter_map(|(record, _)| ChoiceQuestion::of(record, columns).ok().flatten());
        asked.for_each(|question| evidence.observe(&question));
    }
    let reading = Reading { layout, columns, evidence: &evidence, stem };
    let imported: Vec<_> = records.par_iter().map(|(record, place)| reading.import(record, place)).collect();
    let mut items = Vec::new();
    for (imported, (_, place)) in imported.into_iter().zip(&records) {
        match imported? {
            Imported::Item { item, mended } => {
                count(&mut input.mended, mended);
                items.push((item, place.clone()));
            }
            Imported::Refused(reason) => count(&mut input.refused, Some(reason)),
        }
    }
    if items.is_empty() {
        let reasons: Vec<String> = input.refused.iter().map(|(reason, count)| format!("{count}: {reason}")).collect();
        let hint = suggestion(&records).unwrap_or_else(|| HINT.to_owned());
        return Err(EvalError::file(name, format!("every item is refused ({})", reasons.join("; ")), hint));
    }
    input.items = items.len();
    Ok((input, items))
}

fn unknown_layout(place: &Place, keys: &[String], records: &[Record]) -> EvalError {
    let usual = "an item has id, exam, kind, question, options, answer and passages; the keys of CMB, CMExam, MedQA, MedMCQA, C-Eval, \
                 MMLU and others are known too; other names are said in `columns = { instruction = \"QUESTION\", options = \
                 [\"A\", \"B\", …], output = \"ANSWER\" }`";
    let hint = suggestion(records).unwrap_or_else(|| usual.to_owned());
    place.item_error("record", format!("has the keys {}, of no known layout", keys.join(", ")), hint)
}

/// Hint with a `columns` line that was tried on all records.
fn suggestion(records: &[Record]) -> Option<String> {
    let records: Vec<&Map<String, Value>> = records.iter().map(|(record, _)| record).collect();
    let (columns, read) = suggested_columns(&records)?;
    Some(format!("name the columns: `columns = {{ {columns} }}` reads {read} of the {} records", records.len()))
}

fn sha256_of(path: &Path) -> Result<String, EvalError> {
    let bytes =
        std::fs::read(path).map_err(|error| EvalError::file(path, error, "check the path and its permissions"))?;
    Ok(Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

fn count(counts: &mut BTreeMap<String, usize>, reason: Option<&str>) {
    if let Some(reason) = reason {
        *counts.entry(reason.to_owned()).or_default() += 1;
    }
}

#[cfg(test)]
#[path = "papers_tests.rs"]
mod tests;
