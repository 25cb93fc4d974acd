//! Two exams compared on the items that both asked, from their answer files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use medley_recipe::Book;
use serde::{Deserialize, Serialize};

use crate::report::{PairedComparison, exam_rank};
use crate::statistics::{Estimate, PairedCounts, average, mcnemar_exact, paired_difference};

/// Two results on the same items: exam by exam, and on average.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PairedExams {
    /// The first's accuracy minus the second's in every exam, with its 95 % interval; the paper's six exams first.
    pub exams: Vec<(String, Estimate)>,
    /// The difference of the averages over exams.
    pub average: PairedComparison,
}

/// Two exams that cannot be compared.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("{path}: {reason}")]
#[diagnostic(help("sit both exams to their end, with the same items"))]
pub struct PairedError {
    /// The answer file.
    pub path: PathBuf,
    /// What is wrong.
    pub reason: String,
    /// Whether the answer file does not exist.
    pub missing: bool,
}

/// Folder of a book's answers below the exam's folder.
pub fn book_folder(book: Book) -> &'static str {
    match book {
        Book::Open => "open",
        Book::Closed => "closed",
    }
}

/// Indices of every exam's items, given each item's exam; the paper's exams first.
pub fn by_exam<'a>(of_items: impl Iterator<Item = &'a str>) -> Vec<(&'a str, Vec<usize>)> {
    let mut exams: Vec<(&str, Vec<usize>)> = Vec::new();
    for (index, name) in of_items.enumerate() {
        match exams.iter_mut().find(|(exam, _)| *exam == name) {
            Some((_, indices)) => indices.push(index),
            None => exams.push((name, vec![index])),
        }
    }
    exams.sort_by_key(|(exam, _)| exam_rank(exam));
    exams
}

/// Compares two results on the same items; each is an item's exam, and whether the first and the second got it right.
/// `None` without items.
pub fn compare_items<'a>(items: impl Iterator<Item = (&'a str, bool, bool)>) -> Option<PairedExams> {
    let items: Vec<(&str, bool, bool)> = items.collect();
    let mut all = PairedCounts::default();
    let mut exams = Vec::new();
    for (name, indices) in by_exam(items.iter().map(|(exam, ..)| *exam)) {
        let mut counts = PairedCounts::default();
        for (_, first, second) in indices.iter().filter_map(|index| items.get(*index)) {
            counts.add(*first, *second);
            all.add(*first, *second);
        }
        exams.push((name.to_owned(), paired_difference(&counts)?));
    }
    let differences: Vec<Estimate> = exams.iter().map(|(_, difference)| *difference).collect();
    let average = PairedComparison { difference: average(&differences)?, p_value: mcnemar_exact(&all), counts: all };
    Some(PairedExams { exams, average })
}

/// The first exam's strict answers minus the second's, from their folders.
///
/// # Errors
/// An answer file is missing or damaged, or the two exams did not ask the same items.
pub fn compare_exams(first: &Path, second: &Path, book: Book) -> Result<PairedExams, PairedError> {
    let path = |folder: &Path| folder.join(book_folder(book)).join("answers.jsonl");
    let (ours, theirs) = (read(&path(first))?, read(&path(second))?);
    let failed = |reason: &str| PairedError {
        path: path(second),
        reason: format!("{reason} {}", path(first).display()),
        missing: false,
    };
    if ours.items_hash != theirs.items_hash {
        return Err(failed("answers other items than"));
    }
    if !ours.answers.keys().eq(theirs.answers.keys()) {
        return Err(failed("one of the two exams is not finished, this one or"));
    }
    let pairs = ours.answers.values().zip(theirs.answers.values());
    compare_items(pairs.map(|((exam, first), (_, second))| (exam.as_str(), *first, *second)))
        .ok_or_else(|| failed("no answer in this file and in"))
}

/// An answer file: exam and correctness of every item. An item that was asked again counts with its last answer.
struct Answers {
    items_hash: Option<String>,
    answers: BTreeMap<String, (String, bool)>,
}

/// The first line of an answer file.
#[derive(Deserialize)]
struct Header {
    inputs: BTreeMap<String, String>,
}

/// A later line, as far as it matters here.
#[derive(Deserialize)]
struct Answer {
    id: String,
    exam: String,
    right: bool,
}

fn read(path: &Path) -> Result<Answers, PairedError> {
    let failed = |reason: String| PairedError { path: path.to_owned(), reason, missing: false };
    let io = |error: io::Error| PairedError {
        missing: error.kind() == io::ErrorKind::NotFound,
        ..failed(error.to_string())
    };
    let mut lines = BufReader::new(File::open(path).map_err(io)?).lines();
    let damaged = |line: usize, error: serde_json::Error| failed(format!("line {line} is damaged: {error}"));
    let head = lines.next().ok_or_else(|| failed("no answers in this file".to_owned()))?.map_err(io)?;
    let header: Header = serde_json::from_str(&head).map_err(|error| damaged(1, error))?;
    let mut answers = BTreeMap::new();
    for (at, line) in lines.enumerate() {
        let line = line.map_err(io)?;
        if !line.is_empty() {
            let answer: Answer = serde_json::from_str(&line).map_err(|error| damaged(at + 2, error))?;
            answers.insert(answer.id, (answer.exam, answer.right));
        }
    }
    Ok(Answers { items_hash: header.inputs.get("items").cloned(), answers })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, items: &str, answers: &[(&str, &str, bool)]) {
        let folder = folder.join("open");
        std::fs::create_dir_all(&folder).expect("made");
        let mut text = format!("{{\"inputs\": {{\"items\": \"{items}\"}}}}\n");
        for (id, exam, right) in answers {
            text += &format!("{{\"id\": \"{id}\", \"exam\": \"{exam}\", \"right\": {right}, \"answer\": \"A\"}}\n");
        }
        std::fs::write(folder.join("answers.jsonl"), text).expect("written");
    }

    #[test]
    fn exams_on_the_same_items_are_paired_by_item_and_others_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let [tuned, base, other] = ["tuned", "base", "other"].map(|name| folder.path().join(name));
        // `a` is answered twice; the last answer counts.
        write(&tuned, "h", &[("a", "x", false), ("b", "x", true), ("c", "nursing", true), ("a", "x", true)]);
        write(&base, "h", &[("c", "nursing", false), ("a", "x", true), ("b", "x", false)]);
        let paired = compare_exams(&tuned, &base, Book::Open).expect("the same items");
        let exams: Vec<(&str, f64)> = paired.exams.iter().map(|(name, gain)| (name.as_str(), gain.value)).collect();
        assert_eq!(exams, [("nursing", 1.0), ("x", 0.5)]);
        assert_eq!(paired.average.difference.value, 0.75);
        assert_eq!(paired.average.counts, PairedCounts { both: 1, first_only: 2, second_only: 0, neither: 0 });
        write(&other, "h", &[("a", "x", true)]);
        let error = compare_exams(&tuned, &other, Book::Open).expect_err("unfinished").to_string();
        assert!(error.contains("not finished"), "{error}");
        write(&other, "g", &[("a", "x", true)]);
        assert!(
            compare_exams(&tuned, &other, Book::Open).expect_err("other items").to_string().contains("other items")
        );
        assert!(compare_exams(&tuned, &base, Book::Closed).expect_err("not asked").missing);
    }
}
