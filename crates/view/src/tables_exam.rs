//! The table after an exam: exams down, solvers across.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use medley_recipe::Book;
use medley_run::book_name;
use medley_run::report::{BookReport, ExamReport, ExamScore, PairedComparison, Scores};
use medley_run::statistics::Estimate;

use crate::layout::{TextStyle, text_width, wrapped};
use crate::words::plain;

/// One column of the table.
struct Column<'a> {
    title: String,
    scores: &'a Scores,
    model: Option<&'a BookReport>,
    /// Chance is an expectation, not a sample: no interval.
    exact: bool,
}

/// Lays out reports side by side: guess and string match (of the first), then every named report open-book and
/// closed-book, all in percent; averages with their 95 % intervals (single exams have theirs in the reports). The table
/// and its notes take at most 100 columns.
pub fn exam_table(columns: &[(&str, &ExamReport)]) -> String {
    exam_table_within(columns, TextStyle::PLAIN.width)
}

/// [`exam_table`] in at most `width` columns, as far as cells can be broken.
pub fn exam_table_within(columns: &[(&str, &ExamReport)], width: usize) -> String {
    let Some((_, first)) = columns.first() else {
        return String::new();
    };
    let mut table = table(&lay_out(columns, first), first);
    if table.to_string().lines().any(|line| text_width(line) > width) {
        let width = u16::try_from(width).unwrap_or(u16::MAX);
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    let notes = notes(columns, first);
    let notes: Vec<String> = notes.lines().map(|line| wrapped(line, width, 2)).collect();
    format!("{table}\n{}\n", notes.join("\n"))
}

fn table(laid_out: &[Column], first: &ExamReport) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    let titles = laid_out.iter().map(|column| column.title.clone());
    table.set_header(["exam".to_owned(), "items".to_owned()].into_iter().chain(titles));
    for (row, exam) in first.guess.exams.iter().enumerate() {
        table.add_row(exam_row(row, exam, laid_out));
    }
    let averages = laid_out.iter().map(|column| percent(column.scores.average.value));
    table.add_row(["average".to_owned(), first.items.to_string()].into_iter().chain(averages));
    let intervals = laid_out.iter().map(|column| match column.exact {
        true => String::new(),
        false => short_interval(&column.scores.average),
    });
    table.add_row(["95 % interval".to_owned(), String::new()].into_iter().chain(intervals));
    let content = laid_out
        .iter()
        .map(|column| column.model.map(|model| percent(model.content.average.value)).unwrap_or_default());
    table.add_row(["content right".to_owned(), String::new()].into_iter().chain(content));
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn lay_out<'a>(columns: &[(&str, &'a ExamReport)], first: &'a ExamReport) -> Vec<Column<'a>> {
    let solver =
        |title: &str, scores: &'a Scores, exact| Column { title: title.to_owned(), scores, model: None, exact };
    let mut laid_out = vec![solver("guess", &first.guess, true), solver("string\nmatch", &first.string_match, false)];
    for (name, report) in columns {
        for model in &report.books {
            let title = format!("{}\n{}", plain(name), book_name(model.book));
            laid_out.push(Column { title, scores: &model.strict, model: Some(model), exact: false });
        }
    }
    laid_out
}

fn exam_row(row: usize, exam: &ExamScore, columns: &[Column]) -> Vec<String> {
    let mark = if exam.small { "*" } else { "" };
    let mut cells = vec![format!("{}{mark}", plain(&exam.exam)), exam.items.to_string()];
    for column in columns {
        // Exams are matched by name, since reports may have different ones; the row number is a first guess.
        let exams = &column.scores.exams;
        let score = exams.get(row).filter(|score| score.exam == exam.exam);
        let score = score.or_else(|| exams.iter().find(|score| score.exam == exam.exam));
        cells.push(score.map(|score| percent(score.accuracy.value)).unwrap_or_else(|| "-".to_owned()));
    }
    cells
}

fn notes(columns: &[(&str, &ExamReport)], first: &ExamReport) -> String {
    let mut notes = String::from("accuracy in %; average: unweighted over exams\n");
    if first.guess.exams.iter().any(|exam| exam.small) {
        notes += "* fewer than 100 items: too few to conclude about this exam by itself\n";
    }
    if first.items_without_passage > 0 {
        let (count, items) = (first.items_without_passage, first.items);
        notes += &format!("{count} of {items} items have no passage: open book is closed book for them\n");
    }
    for (name, report) in columns {
        let name = &plain(name);
        if report.inputs.passages_exchanged {
            notes += &format!("{name}: control, every question had another question's passages\n");
        }
        for book in &report.books {
            notes += &failure_note(name, book);
        }
        if let Some(paired) = &report.open_minus_closed {
            notes += &paired_note(&format!("{name}, open minus closed"), paired);
        }
    }
    notes
}

/// `fine-tuned minus base, open book`.
pub fn gain_title(book: Book) -> String {
    format!("fine-tuned minus base, {}", book_name(book))
}

/// A paired comparison as a line: the difference with its 95 % interval, and McNemar's test.
pub fn paired_note(title: &str, paired: &PairedComparison) -> String {
    let (difference, p) = (signed(&paired.difference), p_value(paired.p_value));
    format!("{title}: {difference} points, McNemar's exact p = {p}\n")
}

fn failure_note(name: &str, book: &BookReport) -> String {
    let mut parts: Vec<String> =
        book.failures.iter().map(|(reason, count)| format!("{} {count}", plain(reason))).collect();
    if book.truncated_prompts > 0 {
        parts.push(format!("prompts with passages cut {}", book.truncated_prompts));
    }
    if book.lures > 0 {
        parts.push(format!("lure chosen {} of {}", book.lures_chosen, book.lures));
    }
    if parts.is_empty() {
        return String::new();
    }
    format!("{name}, {}: {}\n", book_name(book.book), parts.join(", "))
}

/// `62.3`.
fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}

/// `[55.1, 69.0]`, in percent.
fn interval(estimate: &Estimate) -> String {
    format!("[{:.1}, {:.1}]", 100.0 * estimate.low, 100.0 * estimate.high)
}

/// `55.1–69.0`, in percent: for tables.
fn short_interval(estimate: &Estimate) -> String {
    format!("{:.1}–{:.1}", 100.0 * estimate.low, 100.0 * estimate.high)
}

/// `62.3 [55.1, 69.0]`, in percent.
pub(crate) fn show(estimate: &Estimate) -> String {
    format!("{} {}", percent(estimate.value), interval(estimate))
}

/// `+3.2 [+1.0, +5.4]`, in percentage points.
fn signed(estimate: &Estimate) -> String {
    let [value, low, high] = [estimate.value, estimate.low, estimate.high].map(|share| 100.0 * share);
    format!("{value:+.1} [{low:+.1}, {high:+.1}]")
}

fn p_value(p: f64) -> String {
    if p < 0.001 { format!("{p:.1e}") } else { format!("{p:.3}") }
}
