//! From grades to accuracies: per exam, and the average over exams.

use std::collections::BTreeMap;
use std::path::Path;

use medley_recipe::Book;
use medley_run::report::{ExamScore, PairedComparison, SMALL_EXAM, Scores, exam_rank};
use medley_run::statistics::{Estimate, PairedCounts, average, mcnemar_exact, paired_difference, wilson};

use crate::error::EvalError;
use crate::item::Item;
use crate::journal::{AnswerRecord, book_folder, read_answers};

/// Indices of every exam's items, the paper's exams first.
fn by_exam<'a>(of_items: impl Iterator<Item = &'a str>) -> Vec<(&'a str, Vec<usize>)> {
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

fn scores_with(items: &[Item], credit: &[f64], estimate: impl Fn(f64, u64) -> Option<Estimate>) -> Scores {
    let score = |(exam, indices): (&str, Vec<usize>)| {
        let right = indices.iter().map(|index| credit[*index]).sum();
        let accuracy = estimate(right, indices.len() as u64)?;
        Some(ExamScore { exam: exam.to_owned(), items: indices.len(), small: indices.len() < SMALL_EXAM, accuracy })
    };
    let exams: Vec<ExamScore> = by_exam(exams_of(items)).into_iter().filter_map(score).collect();
    let accuracies: Vec<Estimate> = exams.iter().map(|exam| exam.accuracy).collect();
    Scores { average: average(&accuracies).unwrap_or_default(), exams }
}

/// Accuracies with their intervals.
pub(crate) fn scores(items: &[Item], right: &[bool]) -> Scores {
    let credit: Vec<f64> = right.iter().map(|right| f64::from(u8::from(*right))).collect();
    scores_with(items, &credit, wilson)
}

/// Accuracies of a rule that is partly chance, by its expected share of right answers.
pub(crate) fn expected_scores(items: &[Item], credit: fn(&Item) -> f64) -> Scores {
    let credit: Vec<f64> = items.iter().map(credit).collect();
    scores_with(items, &credit, wilson)
}

/// Accuracies that are known exactly: the interval is the value itself.
pub(crate) fn exact_scores(items: &[Item], credit: fn(&Item) -> f64) -> Scores {
    let credit: Vec<f64> = items.iter().map(credit).collect();
    scores_with(items, &credit, |right, total| {
        let value = right / total as f64;
        Some(Estimate { value, low: value, high: value })
    })
}

fn exams_of(items: &[Item]) -> impl Iterator<Item = &str> {
    items.iter().map(|item| item.exam.as_str())
}

/// Two results on the same items: difference of the averages over exams with its interval, and McNemar's exact test.
pub fn compare(items: &[Item], first: &[bool], second: &[bool]) -> Option<PairedComparison> {
    compare_by_exam(exams_of(items), first, second)
}

fn compare_by_exam<'a>(
    of_items: impl Iterator<Item = &'a str>,
    first: &[bool],
    second: &[bool],
) -> Option<PairedComparison> {
    let mut counts = PairedCounts::default();
    let mut differences = Vec::new();
    for (_, indices) in by_exam(of_items) {
        let mut exam = PairedCounts::default();
        for index in indices {
            exam.add(first[index], second[index]);
            counts.add(first[index], second[index]);
        }
        differences.extend(paired_difference(&exam));
    }
    Some(PairedComparison { difference: average(&differences)?, p_value: mcnemar_exact(&counts), counts })
}

/// The first run's strict answers minus the second's, from the folders of two exams on the same items.
///
/// # Errors
/// An answer file is missing or damaged, or the two exams did not ask the same items.
pub fn compare_runs(first: &Path, second: &Path, book: Book) -> Result<PairedComparison, EvalError> {
    let (header, answers) = read_answers(&first.join(book_folder(book)))?;
    let (other_header, others) = read_answers(&second.join(book_folder(book)))?;
    let foreign = |reason: &str| EvalError::Foreign {
        path: second.join(book_folder(book)).join("answers.jsonl"),
        reason: format!("{reason} {}", first.display()),
    };
    if header.inputs.get("items") != other_header.inputs.get("items") {
        return Err(foreign("these answers are not to the items of"));
    }
    // An item that was asked again, after a change of the system message for one, counts with its last answer.
    let last = |answers: Vec<AnswerRecord>| -> BTreeMap<String, AnswerRecord> {
        answers.into_iter().map(|answer| (answer.id.clone(), answer)).collect()
    };
    let (answers, others) = (last(answers), last(others));
    if !answers.keys().eq(others.keys()) {
        return Err(foreign("one of the two exams is not finished, this or"));
    }
    let ours: Vec<bool> = answers.values().map(|answer| answer.right).collect();
    let theirs: Vec<bool> = others.values().map(|answer| answer.right).collect();
    let exams = answers.values().map(|answer| answer.exam.as_str());
    compare_by_exam(exams, &ours, &theirs).ok_or_else(|| foreign("there is no answer, here or in"))
}
