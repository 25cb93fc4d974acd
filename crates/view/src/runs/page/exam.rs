//! The exam on the page: accuracies with their intervals, drawn and as a table.

use maud::{Markup, html};
use medley_recipe::Book;
use medley_run::report::{BookReport, ExamReport, Scores};
use medley_run::statistics::Estimate;
use medley_run::{PairedExams, book_name};

use crate::runs::compare_exam::{ExamComparison, ExamComparisonRow, exam_comparisons, exams_differ};
use crate::runs::page::plot::COLOURS;
use crate::runs::record::RunRecord;
use crate::tables_exam::{gain_title, paired_note};

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

/// The section.
pub(super) fn section(record: &RunRecord, report: &ExamReport) -> Markup {
    let solvers = solvers(report, record.base_exam.as_ref());
    html! {
        section {
            h2 { "Exam" }
            p.legend.key { @for solver in &solvers { span { i class={ "mark " (solver.mark) } {} (solver.name) } } }
            div.forest {
                (row("average", |scores| Some(&scores.average), &solvers, report))
                @for exam in &report.guess.exams {
                    (row(&exam.exam, |scores| accuracy(scores, &exam.exam), &solvers, report))
                }
                (axis())
            }
            (table(report, &solvers, &record.gains))
            (notes(record, report))
        }
    }
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
) -> Markup {
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
fn lane(name: &str, guess: Option<f64>, results: &[Option<Marked>]) -> Markup {
    let height = (LINE * (results.len() + 1)).max(34);
    html! {
        span { (name) }
        div.lane style=(format!("height:{height}px")) {
            @if let Some(guess) = guess.map(|share| 100.0 * share) {
                u style=(format!("left:{guess:.2}%")) title=(format!("guessing: {guess:.1} %")) {}
            }
            @for (at, result) in results.iter().enumerate() {
                @if let Some(marked) = result {
                    (whisker(marked, 100.0 * (at as f64 + 1.0) / (results.len() as f64 + 1.0)))
                }
            }
        }
    }
}

/// A mark with its interval, `top` percent below the lane's top.
fn whisker(Marked { name, mark, estimate }: &Marked, top: f64) -> Markup {
    let [value, low, high] = [estimate.value, estimate.low, estimate.high].map(|share| 100.0 * share);
    html! {
        s class=(mark) style=(format!("left:{low:.2}%;width:{:.2}%;top:{top:.1}%", high - low)) {}
        i class={ "mark " (mark) } style=(format!("left:{value:.2}%;top:{top:.1}%"))
            title={ (name) (format!(": {value:.1} % [{low:.1}, {high:.1}]")) } {}
    }
}

/// The axis below the lanes, in percent.
fn axis() -> Markup {
    html! {
        span {}
        div.axis { @for mark in [0, 25, 50, 75, 100] { span style=(format!("left:{mark}%")) { (mark) } } }
    }
}

/// The exams of several runs: for open and closed book a chart, and a table of the same numbers.
pub(super) fn comparison(records: &[RunRecord], names: &[String]) -> Markup {
    html! {
        @for comparison in exam_comparisons(records) { (book_comparison(&comparison, names)) }
        @if exams_differ(records) {
            p.quiet.warn {
                "The runs did not sit the same exam (items, prompt or answer form differ): their scores are not comparable."
            }
        }
    }
}

fn book_comparison(ExamComparison { book, rows }: &ExamComparison, names: &[String]) -> Markup {
    let mark = |at: usize| format!("c{}{}", at % COLOURS, if at >= COLOURS { " hollow" } else { "" });
    let marks: Vec<String> = (0..names.len()).map(mark).collect();
    let result = |row: &'_ ExamComparisonRow, at: usize| {
        row.results.iter().find(|(run, _)| *run == at).map(|(_, estimate)| *estimate)
    };
    html! {
        section {
            h2 { "Exam, " (book_name(*book)) }
            p.legend.key {
                @for (name, mark) in names.iter().zip(&marks) { span { i class={ "mark " (mark) } {} (name) } }
            }
            div.forest {
                @for row in rows {
                    @let estimates: Vec<Option<Estimate>> = (0..names.len()).map(|at| result(row, at)).collect();
                    (lane(&row.exam, row.guess, &marked(names, &marks, &estimates)))
                }
                (axis())
            }
            div.scroll {
                table {
                    thead { tr { th { "run" } @for row in rows { th { (row.exam) } } } }
                    tbody {
                        @for (at, name) in names.iter().enumerate() {
                            tr { th { (name) } @for row in rows { (cell(result(row, at).as_ref())) } }
                        }
                    }
                }
            }
        }
    }
}

fn marked<'a>(names: &'a [String], marks: &'a [String], estimates: &'a [Option<Estimate>]) -> Vec<Option<Marked<'a>>> {
    let each = names.iter().zip(marks).zip(estimates);
    each.map(|((name, mark), estimate)| Some(Marked { name, mark, estimate: estimate.as_ref()? })).collect()
}

fn table(report: &ExamReport, solvers: &[Solver], gains: &[(Book, PairedExams)]) -> Markup {
    html! {
        div.scroll {
            table {
                thead {
                    tr {
                        th { "exam" } th { "items" } th { "guess" }
                        @for solver in solvers { th { (solver.name) } }
                        @for (book, _) in gains { th { "gain, " (book_name(*book)) } }
                    }
                }
                tbody {
                    @for exam in &report.guess.exams {
                        tr {
                            th { (exam.exam) @if exam.small { " *" } }
                            td { (exam.items) }
                            td { (format!("{:.1}", 100.0 * exam.accuracy.value)) }
                            @for solver in solvers { (cell(accuracy(solver.scores, &exam.exam))) }
                            @for (_, paired) in gains {
                                (gain_cell(paired.exams.iter().find(|(name, _)| *name == exam.exam).map(|(_, gain)| gain)))
                            }
                        }
                    }
                }
                tfoot {
                    tr {
                        th { "average" }
                        td { (report.items) }
                        td { (format!("{:.1}", 100.0 * report.guess.average.value)) }
                        @for solver in solvers { (cell(Some(&solver.scores.average))) }
                        @for (_, paired) in gains { (gain_cell(Some(&paired.average.difference))) }
                    }
                }
            }
        }
    }
}

fn cell(estimate: Option<&Estimate>) -> Markup {
    let percent = |share: f64| format!("{:.1}", 100.0 * share);
    html! {
        td {
            @if let Some(Estimate { value, low, high }) = estimate {
                b { (percent(*value)) } " " small { (percent(*low)) "–" (percent(*high)) }
            }
        }
    }
}

/// A paired difference in percentage points.
fn gain_cell(estimate: Option<&Estimate>) -> Markup {
    let points = |share: f64| format!("{:+.1}", 100.0 * share);
    html! {
        td {
            @if let Some(Estimate { value, low, high }) = estimate {
                b { (points(*value)) } " " small { (points(*low)) " to " (points(*high)) }
            }
        }
    }
}

fn notes(record: &RunRecord, report: &ExamReport) -> Markup {
    let reports = [("base", record.base_exam.as_ref()), ("fine-tuned", Some(report))];
    html! {
        p.quiet {
            "Accuracy in %, graded strictly, with 95 % intervals; the average is unweighted over exams."
            @if !record.gains.is_empty() { " Gain: fine-tuned minus base on the same items, in percentage points." }
        }
        ul.reasons {
            @for (book, paired) in &record.gains { li { (paired_note(&gain_title(*book), &paired.average).trim_end()) } }
            @for (name, report) in reports.iter().filter_map(|(name, report)| Some((name, (*report)?))) {
                @if let Some(paired) = &report.open_minus_closed {
                    li { (paired_note(&format!("{name}, open minus closed book"), paired).trim_end()) }
                }
                @for book in &report.books {
                    @let failures = failures(book);
                    @if !failures.is_empty() { li { (name) ", " (book_name(book.book)) ", failures: " (failures) } }
                }
            }
            @if report.guess.exams.iter().any(|exam| exam.small) {
                li { "* fewer than 100 items: too few to conclude about this exam by itself" }
            }
            @if report.inputs.passages_exchanged { li { "control: every question had another question's passages" } }
            @if report.items_without_passage > 0 {
                li { (report.items_without_passage) " items have no passage: open book is closed book for them" }
            }
        }
    }
}

/// `wrong 33, lure chosen 6 of 240`.
fn failures(book: &BookReport) -> String {
    let mut parts: Vec<String> = book.failures.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    if book.truncated_prompts > 0 {
        parts.push(format!("prompts with passages cut {}", book.truncated_prompts));
    }
    if book.lures > 0 {
        parts.push(format!("lure chosen {} of {}", book.lures_chosen, book.lures));
    }
    parts.join(", ")
}

/// Tile of the open-book gain over the base.
pub(super) fn gain_tile(gains: &[(Book, PairedExams)]) -> Option<(&'static str, String, String)> {
    let (_, paired) = gains.iter().find(|(book, _)| *book == Book::Open)?;
    let difference = paired.average.difference;
    let [value, low, high] = [difference.value, difference.low, difference.high].map(|share| 100.0 * share);
    let note = format!("open book, 95 % interval {low:+.1} to {high:+.1}");
    Some(("Gain over the base", format!("{value:+.1} points"), note))
}
