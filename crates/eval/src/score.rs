//! From grades to accuracies: per exam, and the average over exams.

use medley_run::paired::{by_exam, compare_items};
use medley_run::report::{ExamScore, PairedComparison, SMALL_EXAM, Scores};
use medley_run::statistics::{Estimate, average, wilson};

use crate::item::Item;

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
    let pairs = exams_of(items).zip(first).zip(second).map(|((exam, first), second)| (exam, *first, *second));
    Some(compare_items(pairs)?.average)
}
