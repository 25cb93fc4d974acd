//! From grades to accuracies: per exam, and the average over exams.

use medley_experiment::report::{ExamScore, PairedComparison, SMALL_EXAM, Scores, exam_rank};
use medley_experiment::statistics::{Estimate, PairedCounts, average, mcnemar_exact, paired_difference, wilson};

use crate::item::Item;

/// Indices of every exam's items, the paper's exams first.
fn by_exam(items: &[Item]) -> Vec<(&str, Vec<usize>)> {
    let mut exams: Vec<(&str, Vec<usize>)> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        match exams.iter_mut().find(|(exam, _)| *exam == item.exam) {
            Some((_, indices)) => indices.push(index),
            None => exams.push((&item.exam, vec![index])),
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
    let exams: Vec<ExamScore> = by_exam(items).into_iter().filter_map(score).collect();
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

/// Two results on the same items: difference of the averages over exams with its interval, and McNemar's exact test.
pub fn compare(items: &[Item], first: &[bool], second: &[bool]) -> Option<PairedComparison> {
    let mut counts = PairedCounts::default();
    let mut differences = Vec::new();
    for (_, indices) in by_exam(items) {
        let mut exam = PairedCounts::default();
        for index in indices {
            exam.add(first[index], second[index]);
            counts.add(first[index], second[index]);
        }
        differences.extend(paired_difference(&exam));
    }
    Some(PairedComparison { difference: average(&differences)?, p_value: mcnemar_exact(&counts), counts })
}
