//! Exam section of a run's model card, written after every exam.

use std::fmt::Write as _;

use medley_run::{BookReport, Estimate, ExamReport, RunDir, atomic, book_name};
use miette::{IntoDiagnostic, Result};

/// Heading of the section, which is the last of the card.
const HEADING: &str = "\n## Exam\n";

/// Writes the exam's results into `model/README.md` if it exists.
///
/// # Errors
/// The card cannot be read or written.
pub fn put_exam(run_dir: &RunDir) -> Result<()> {
    let path = run_dir.model().join("README.md");
    let Ok(report) = ExamReport::read(&run_dir.exam().join("report.json")) else { return Ok(()) };
    if !path.is_file() {
        return Ok(());
    }
    let base = ExamReport::read(&run_dir.exam().join("base").join("report.json")).ok();
    let card = std::fs::read_to_string(&path).into_diagnostic()?;
    let card = with_exam(&card, &report, base.as_ref());
    atomic::write_file(&path, card.as_bytes()).into_diagnostic()
}

/// The card with the exam as its last section, in place of an earlier one.
fn with_exam(card: &str, report: &ExamReport, base: Option<&ExamReport>) -> String {
    let above = card.find(HEADING).map_or(card, |at| &card[..at]);
    format!("{}\n{HEADING}\n{}", above.trim_end(), section(report, base))
}

fn section(report: &ExamReport, base: Option<&ExamReport>) -> String {
    let columns: Vec<(String, &BookReport)> = [("this model", Some(report)), ("base", base)]
        .into_iter()
        .filter_map(|(name, report)| Some((name, report?)))
        .flat_map(|(name, report)| {
            report.books.iter().map(move |book| (format!("{name}, {}", book_name(book.book)), book))
        })
        .collect();
    let mut text =
        String::from("Accuracy in %, graded strictly, with 95 % intervals; the average is unweighted over exams.\n\n");
    text += "| exam | items | guessing |";
    columns.iter().for_each(|(title, _)| text += &format!(" {title} |"));
    text += "\n|---|---:|---:|";
    text += &"---:|".repeat(columns.len());
    text.push('\n');
    for exam in &report.guess.exams {
        let _ = write!(text, "| {} | {} | {:.1} |", cell(&exam.exam), exam.items, 100.0 * exam.accuracy.value);
        for (_, book) in &columns {
            let score = book.strict.exams.iter().find(|score| score.exam == exam.exam);
            let _ = write!(text, " {} |", score.map(|score| shown(&score.accuracy)).unwrap_or_default());
        }
        text.push('\n');
    }
    let _ = write!(text, "| **average** | {} | {:.1} |", report.items, 100.0 * report.guess.average.value);
    columns.iter().for_each(|(_, book)| text += &format!(" **{}** |", shown(&book.strict.average)));
    text.push('\n');
    if report.inputs.passages_exchanged {
        text += "\nControl run: the passages of each question are those of another question.\n";
    }
    if let Some(limit) = report.inputs.limit {
        let _ = writeln!(text, "\nLimited to {limit} items.");
    }
    text
}

/// `62.3 (55.1 to 69.0)`.
fn shown(estimate: &Estimate) -> String {
    let [value, low, high] = [estimate.value, estimate.low, estimate.high].map(|share| 100.0 * share);
    format!("{value:.1} ({low:.1} to {high:.1})")
}

/// Text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use medley_recipe::Book;
    use medley_run::{ExamScore, ReportInputs, Scores};

    use super::*;

    fn report(value: f64) -> ExamReport {
        let estimate = Estimate { value, low: value - 0.05, high: value + 0.05 };
        let exam = ExamScore { exam: "nurs|ing".to_owned(), items: 120, small: false, accuracy: estimate };
        let scores = Scores { average: estimate, exams: vec![exam] };
        let book = BookReport {
            book: Book::Open,
            strict: scores.clone(),
            content: scores.clone(),
            well_formed: 120,
            failures: Default::default(),
            truncated_prompts: 0,
            lures: 0,
            lures_chosen: 0,
        };
        ExamReport {
            version: 1,
            inputs: ReportInputs::default(),
            items: 120,
            items_without_passage: 0,
            guess: scores.clone(),
            string_match: scores,
            books: vec![book],
            open_minus_closed: None,
        }
    }

    #[test]
    fn a_later_exam_replaces_the_section() {
        let card = "---\ntags:\n- medley\n---\n\n# x\n\n## Training\n\n| a | b |\n";
        let once = with_exam(card, &report(0.5), Some(&report(0.3)));
        assert!(
            once.starts_with(card.trim_end()) && once.contains("| this model, open book | base, open book |"),
            "{once}"
        );
        assert!(once.contains("| nurs\\|ing | 120 | 50.0 | 50.0 (45.0 to 55.0) | 30.0 (25.0 to 35.0) |"), "{once}");
        let twice = with_exam(&once, &report(0.6), None);
        assert_eq!(twice.matches("## Exam").count(), 1);
        assert!(twice.contains("**60.0 (55.0 to 65.0)**") && !twice.contains("50.0 (45"), "{twice}");
    }
}
