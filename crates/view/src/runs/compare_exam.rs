//! Exam results of several runs side by side, as data and as text.

use std::fmt::Write as _;

use medley_recipe::Book;
use medley_run::book_name;
use medley_run::report::{ExamReport, Scores, exam_rank};
use medley_run::statistics::Estimate;
use serde::Serialize;

use crate::layout::{TextStyle, Tone, cut_end, padded, text_width, wrapped};
use crate::runs::compare::run_names;
use crate::runs::record::RunRecord;
use crate::words::plain;

/// Accuracies of several runs, with or without passages.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExamComparison {
    /// Open or closed book.
    pub book: Book,
    /// The average, then each exam.
    pub rows: Vec<ExamComparisonRow>,
}

/// One exam, or the average over them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExamComparisonRow {
    /// `average` or the exam's name.
    pub exam: String,
    /// Accuracy of guessing, 0 to 1.
    pub guess: Option<f64>,
    /// Accuracy of each run that was examined in it, with the run's index.
    pub results: Vec<(usize, Estimate)>,
}

/// The open-book results of the runs, then the closed-book ones; empty where no run was examined.
pub fn exam_comparisons(records: &[RunRecord]) -> Vec<ExamComparison> {
    [Book::Open, Book::Closed].into_iter().filter_map(|book| comparison(records, book)).collect()
}

fn comparison(records: &[RunRecord], book: Book) -> Option<ExamComparison> {
    let scores: Vec<(usize, &ExamReport, &Scores)> = records
        .iter()
        .enumerate()
        .filter_map(|(at, record)| {
            let report = record.exam.as_ref()?;
            Some((at, report, &report.book(book)?.strict))
        })
        .collect();
    let (_, first, _) = scores.first()?;
    let mut exams: Vec<&str> =
        scores.iter().flat_map(|(_, _, scores)| scores.exams.iter().map(|score| score.exam.as_str())).collect();
    exams.sort_by(|a, b| exam_rank(a).cmp(&exam_rank(b)));
    exams.dedup();
    let mut rows = vec![ExamComparisonRow {
        exam: "average".to_owned(),
        guess: Some(first.guess.average.value),
        results: scores.iter().map(|(at, _, scores)| (*at, scores.average)).collect(),
    }];
    rows.extend(exams.into_iter().map(|exam| ExamComparisonRow {
        exam: exam.to_owned(),
        guess: scores.iter().find_map(|(_, report, _)| accuracy(&report.guess, exam)).map(|guess| guess.value),
        results: scores.iter().filter_map(|(at, _, scores)| Some((*at, accuracy(scores, exam)?))).collect(),
    }));
    Some(ExamComparison { book, rows })
}

fn accuracy(scores: &Scores, exam: &str) -> Option<Estimate> {
    scores.exams.iter().find(|score| score.exam == exam).map(|score| score.accuracy)
}

/// Whether the examined runs differ in items, prompt or answer form, so that their scores are not comparable.
pub fn exams_differ(records: &[RunRecord]) -> bool {
    let mut asked = records.iter().filter_map(|record| record.exam.as_ref()).map(|report| {
        let inputs = &report.inputs;
        (&inputs.items_hash, &inputs.template_hash, inputs.answer, inputs.passages_exchanged)
    });
    let first = asked.next();
    asked.any(|other| Some(other) != first)
}

/// Largest number of lines of a comparison; beyond it only the average is drawn.
const LINES: usize = 80;

/// The comparisons as text: each result with its 95 % interval, on an axis from 0 to 100 %.
pub fn exam_comparison_text(records: &[RunRecord], style: TextStyle) -> String {
    let names = run_names(records);
    let mut text = String::new();
    for ExamComparison { book, rows } in exam_comparisons(records) {
        let title = format!("Exam, {}: accuracy in % with its 95 % interval, ┊ guessing", book_name(book));
        let _ = writeln!(text, "{}", style.paint(&title, Tone::Bold));
        let lines: usize = rows.iter().map(|row| row.results.len() + 1).sum();
        let shown = if lines > LINES { &rows[..1] } else { &rows[..] };
        shown.iter().for_each(|row| text += &row_text(row, &names, style));
        if shown.len() < rows.len() {
            let _ = writeln!(text, "{} exams more: on the page (--html FILE)", rows.len() - 1);
        }
        text.push('\n');
    }
    if exams_differ(records) {
        let note = "note: the runs did not sit the same exam (items, prompt or answer form differ): their scores are not comparable";
        let _ = writeln!(text, "{}\n", wrapped(note, style.width, 6));
    }
    text
}

/// Width of `62.3 [55.1, 69.0]` at most.
const NUMBERS: usize = 20;

fn row_text(row: &ExamComparisonRow, names: &[String], style: TextStyle) -> String {
    let longest = names.iter().map(|name| text_width(&plain(name))).max().unwrap_or(0);
    let name_width = longest.min(style.width / 3);
    let lane = style.width.saturating_sub(name_width + NUMBERS + 6).clamp(10, 60);
    let mut text = format!("{}\n", plain(&row.exam));
    for (at, estimate) in &row.results {
        let name = cut_end(&plain(&names[*at]), name_width);
        let numbers = crate::tables_exam::show(estimate);
        let _ = writeln!(
            text,
            "  {}  {}  {}",
            padded(&name, name_width, false),
            padded(&numbers, NUMBERS, false),
            whisker(estimate, row.guess, lane)
        );
    }
    text
}

/// `├──●──┤` on a line of `width` columns from 0 to 1.
fn whisker(estimate: &Estimate, guess: Option<f64>, width: usize) -> String {
    let place = |share: f64| (share.clamp(0.0, 1.0) * (width - 1) as f64).round() as usize;
    let (low, value, high) = (place(estimate.low), place(estimate.value), place(estimate.high));
    let letter = |at: usize| match at {
        _ if at == value => '●',
        _ if at == low => '├',
        _ if at == high => '┤',
        _ if at > low && at < high => '─',
        _ if guess.is_some_and(|guess| place(guess) == at) => '┊',
        _ => '·',
    };
    (0..width).map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whisker_shows_value_interval_and_guess() {
        let estimate = Estimate { value: 0.5, low: 0.3, high: 0.7 };
        assert_eq!(whisker(&estimate, Some(0.2), 11), "··┊├─●─┤···");
        let certain = Estimate { value: 1.0, low: 1.0, high: 1.0 };
        assert_eq!(whisker(&certain, None, 11), "··········●");
        let odd = Estimate { value: f64::NAN, low: -1.0, high: 3.0 };
        assert_eq!(whisker(&odd, Some(f64::NAN), 11).chars().count(), 11);
    }
}
