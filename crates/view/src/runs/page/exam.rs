//! The exam on the page: accuracies with their intervals, drawn and as a table.

use std::fmt::Write as _;

use medley_recipe::Book;
use medley_run::book_name;
use medley_run::report::{ExamReport, Scores};
use medley_run::statistics::Estimate;

use crate::page::escape;
use crate::runs::compare_exam::{ExamComparison, exam_comparisons, exams_differ};
use crate::runs::page::plot::COLOURS;
use crate::runs::record::RunRecord;
use crate::tables_exam::paired_note;

/// A solver's results.
struct Solver<'a> {
    name: String,
    /// Class of its mark.
    mark: &'static str,
    scores: &'a Scores,
}

/// A result in a lane: a mark with its whisker.
struct Marked<'a> {
    name: &'a str,
    /// Classes of its mark.
    mark: &'a str,
    estimate: &'a Estimate,
}

/// The section; empty without an exam.
pub(super) fn section(record: &RunRecord) -> String {
    let Some(report) = &record.exam else { return String::new() };
    let solvers = solvers(report, record.base_exam.as_ref());
    let mut html = String::from("<section><h2>Exam</h2><p class=\"legend key\">");
    for solver in &solvers {
        let _ = write!(html, "<span><i class=\"mark {}\"></i>{}</span>", solver.mark, escape(&solver.name));
    }
    html += "</p><div class=forest>";
    html += &row("average", |scores| Some(&scores.average), &solvers, report);
    for exam in &report.guess.exams {
        html += &row(&exam.exam, |scores| accuracy(scores, &exam.exam), &solvers, report);
    }
    html += &axis();
    html += "</div>";
    html += &table(report, &solvers);
    html += &notes(report, record.base_exam.as_ref());
    html + "</section>"
}

fn solvers<'a>(report: &'a ExamReport, base: Option<&'a ExamReport>) -> Vec<Solver<'a>> {
    let mut solvers = vec![Solver { name: "string match".to_owned(), mark: "match", scores: &report.string_match }];
    let both = [(base, "base", ["base-open", "base-closed"]), (Some(report), "fine-tuned", ["open", "closed"])];
    for (report, name, [open, closed]) in both {
        for book in report.map(|report| report.books.as_slice()).unwrap_or_default() {
            let mark = if book.book == Book::Open { open } else { closed };
            solvers.push(Solver { name: format!("{name}, {}", book_name(book.book)), mark, scores: &book.strict });
        }
    }
    solvers
}

fn accuracy<'a>(scores: &'a Scores, exam: &str) -> Option<&'a Estimate> {
    scores.exams.iter().find(|score| score.exam == exam).map(|score| &score.accuracy)
}

/// One exam: a mark and a whisker for each solver, a dashed line at the score of guessing.
fn row<'a>(
    name: &str,
    pick: impl Fn(&'a Scores) -> Option<&'a Estimate>,
    solvers: &'a [Solver<'a>],
    report: &'a ExamReport,
) -> String {
    let results: Vec<Option<Marked>> = solvers
        .iter()
        .map(|solver| {
            let estimate = pick(solver.scores)?;
            Some(Marked { name: &solver.name, mark: solver.mark, estimate })
        })
        .collect();
    lane(name, pick(&report.guess).map(|guess| guess.value), &results)
}

/// Height of a result in a lane, in pixels.
const LINE: usize = 11;

/// Results of one exam, one below the other, so that overlapping whiskers stay distinct.
fn lane(name: &str, guess: Option<f64>, results: &[Option<Marked>]) -> String {
    let height = (LINE * (results.len() + 1)).max(34);
    let mut html = format!("<span>{}</span><div class=lane style=\"height:{height}px\">", escape(name));
    if let Some(guess) = guess.map(|share| 100.0 * share) {
        let _ = write!(html, "<u style=\"left:{guess:.2}%\" title=\"guessing: {guess:.1} %\"></u>");
    }
    for (at, result) in results.iter().enumerate() {
        let Some(Marked { name, mark, estimate }) = result else { continue };
        let [value, low, high] = [estimate.value, estimate.low, estimate.high].map(|share| 100.0 * share);
        let top = 100.0 * (at as f64 + 1.0) / (results.len() as f64 + 1.0);
        let _ = write!(
            html,
            "<s class=\"{mark}\" style=\"left:{low:.2}%;width:{:.2}%;top:{top:.1}%\"></s>\
             <i class=\"mark {mark}\" style=\"left:{value:.2}%;top:{top:.1}%\" title=\"{}: {value:.1} % [{low:.1}, {high:.1}]\"></i>",
            high - low,
            escape(name),
        );
    }
    html + "</div>"
}

/// The axis below the lanes, in percent.
fn axis() -> String {
    let label = |quarter: usize| format!("<span style=\"left:{0}%\">{0}</span>", 25 * quarter);
    format!("<span></span><div class=axis>{}</div>", (0..=4).map(label).collect::<String>())
}

/// The exams of several runs: for open and closed book a chart, and a table of the same numbers.
pub(super) fn comparison(records: &[RunRecord], names: &[String]) -> String {
    let mut html = String::new();
    for ExamComparison { book, rows } in exam_comparisons(records) {
        let mark = |at: usize| format!("c{}{}", at % COLOURS, if at >= COLOURS { " hollow" } else { "" });
        let marks: Vec<String> = (0..records.len()).map(mark).collect();
        let _ = write!(html, "<section><h2>Exam, {}</h2><p class=\"legend key\">", book_name(book));
        for (name, mark) in names.iter().zip(&marks) {
            let _ = write!(html, "<span><i class=\"mark {mark}\"></i>{}</span>", escape(name));
        }
        html += "</p><div class=forest>";
        for row in &rows {
            let result = |at: usize| {
                let (_, estimate) = row.results.iter().find(|(run, _)| *run == at)?;
                Some(Marked { name: &names[at], mark: &marks[at], estimate })
            };
            let results: Vec<Option<Marked>> = (0..names.len()).map(result).collect();
            html += &lane(&row.exam, row.guess, &results);
        }
        html += &axis();
        html += "</div><div class=scroll><table><thead><tr><th>run";
        rows.iter().for_each(|row| html += &format!("<th>{}", escape(&row.exam)));
        html += "</thead><tbody>";
        for (at, name) in names.iter().enumerate() {
            let _ = write!(html, "<tr><th>{}", escape(name));
            for row in &rows {
                html += &cell(row.results.iter().find(|(run, _)| *run == at).map(|(_, estimate)| estimate));
            }
        }
        html += "</tbody></table></div></section>";
    }
    if exams_differ(records) {
        html += "<p class=\"quiet warn\">The runs did not sit the same exam (items, prompt or answer form differ): their scores are not \
                 comparable.</p>";
    }
    html
}

fn table(report: &ExamReport, solvers: &[Solver]) -> String {
    let mut html = String::from("<div class=scroll><table><thead><tr><th>exam<th>items<th>guess");
    for solver in solvers {
        let _ = write!(html, "<th>{}", escape(&solver.name));
    }
    html += "</thead><tbody>";
    for exam in &report.guess.exams {
        let mark = if exam.small { " *" } else { "" };
        let _ = write!(
            html,
            "<tr><th>{}{mark}<td>{}<td>{:.1}",
            escape(&exam.exam),
            exam.items,
            100.0 * exam.accuracy.value
        );
        for solver in solvers {
            html += &cell(accuracy(solver.scores, &exam.exam));
        }
    }
    let _ =
        write!(html, "</tbody><tfoot><tr><th>average<td>{}<td>{:.1}", report.items, 100.0 * report.guess.average.value);
    solvers.iter().for_each(|solver| html += &cell(Some(&solver.scores.average)));
    html + "</tfoot></table></div>"
}

fn cell(estimate: Option<&Estimate>) -> String {
    let Some(estimate) = estimate else { return "<td>".to_owned() };
    let [value, low, high] = [estimate.value, estimate.low, estimate.high].map(|share| 100.0 * share);
    format!("<td><b>{value:.1}</b> <small>{low:.1}–{high:.1}</small>")
}

fn notes(report: &ExamReport, base: Option<&ExamReport>) -> String {
    let mut html = String::from(
        "<p class=quiet>Accuracy in %, graded strictly, with 95 % intervals; the average is unweighted over exams.</p><ul class=reasons>",
    );
    for (name, report) in [("base", base), ("fine-tuned", Some(report))] {
        let Some(report) = report else { continue };
        if let Some(paired) = &report.open_minus_closed {
            let _ = write!(
                html,
                "<li>{}",
                escape(paired_note(&format!("{name}, open minus closed book"), paired).trim_end())
            );
        }
        for book in &report.books {
            let mut parts: Vec<String> =
                book.failures.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
            if book.truncated_prompts > 0 {
                parts.push(format!("prompts with passages cut {}", book.truncated_prompts));
            }
            if book.lures > 0 {
                parts.push(format!("lure chosen {} of {}", book.lures_chosen, book.lures));
            }
            if !parts.is_empty() {
                let _ = write!(html, "<li>{name}, {}, failures: {}", book_name(book.book), escape(&parts.join(", ")));
            }
        }
    }
    if report.guess.exams.iter().any(|exam| exam.small) {
        html += "<li>* fewer than 100 items: too few to conclude about this exam by itself";
    }
    if report.inputs.passages_exchanged {
        html += "<li>control: every question had another question's passages";
    }
    if report.items_without_passage > 0 {
        let _ = write!(
            html,
            "<li>{} items have no passage: open book is closed book for them",
            report.items_without_passage
        );
    }
    html + "</ul>"
}
