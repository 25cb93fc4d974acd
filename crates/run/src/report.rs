//! Result of an exam, `exam/report.json`: scores with hashes of all inputs.

use std::collections::BTreeMap;
use std::path::Path;

use medley_recipe::{AnswerForm, Book};
use serde::{Deserialize, Serialize};

use crate::statistics::{Estimate, PairedCounts};

/// Version of the layout of `report.json`.
pub const REPORT_VERSION: u32 = 1;

/// Exams of fewer items are marked: their intervals are too wide for conclusions about a single exam.
pub const SMALL_EXAM: usize = 100;

/// The paper's six exams in its order; others follow by name.
pub const EXAMS: [&str; 6] = ["physician", "nursing", "pharmacist", "technology", "professional", "postgraduate"];

/// Result of an exam with its inputs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExamReport {
    /// [`REPORT_VERSION`] at the time of writing.
    pub version: u32,
    /// Model, items and prompt.
    pub inputs: ReportInputs,
    /// Items asked.
    pub items: usize,
    /// Of these, items without any passage: open book is closed book for them.
    pub items_without_passage: usize,
    /// Expected score of choosing at random.
    pub guess: Scores,
    /// Score of choosing the option whose text occurs in the passages.
    pub string_match: Scores,
    /// The model's results, by whether it had the passages.
    pub books: Vec<BookReport>,
    /// Open-book minus closed-book accuracy on the same items, when both were asked.
    pub open_minus_closed: Option<PairedComparison>,
}

impl ExamReport {
    /// The result with or without the passages, where it was asked.
    pub fn book(&self, book: Book) -> Option<&BookReport> {
        self.books.iter().find(|report| report.book == book)
    }

    /// Reads a report.
    ///
    /// # Errors
    /// The file cannot be read, is not a report, or has the layout of another version.
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        let failed = |reason: String| ReportError { path: path.display().to_string(), reason };
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let report: Self = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
        if report.version != REPORT_VERSION {
            return Err(failed(format!("has layout {}, this Medley reads layout {REPORT_VERSION}", report.version)));
        }
        Ok(report)
    }
}

/// A report that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("{path}: {reason}")]
#[diagnostic(help("sit the exam again (`medley exam --model … --out …`) to write the report anew"))]
pub struct ReportError {
    /// The file.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Inputs of an exam: model, items, prompt, device.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReportInputs {
    /// The model, as the user named it.
    pub model: String,
    /// Hash of the model's files.
    pub model_hash: String,
    /// Hash of the items in the order asked.
    pub items_hash: String,
    /// Files of items.
    pub papers: Vec<PaperInput>,
    /// `zh`, `en` or the template's path.
    pub prompt: String,
    /// Hash of the template's text.
    pub template_hash: String,
    /// Form of the answers.
    pub answer: AnswerForm,
    /// Longest prompt in tokens.
    pub max_prompt_tokens: usize,
    /// Longest answer in tokens.
    pub max_new_tokens: usize,
    /// True for the control with exchanged passages.
    pub passages_exchanged: bool,
    /// Limit on the number of items, if any.
    pub limit: Option<usize>,
    /// Description of the device.
    pub device: String,
    /// Versions of the programs involved, by name.
    pub versions: BTreeMap<String, String>,
}

/// A file of items.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaperInput {
    /// The file, as found.
    pub path: String,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// Layout it was read as.
    pub layout: String,
    /// Items taken from it.
    pub items: usize,
    /// Items refused, by reason.
    pub refused: BTreeMap<String, usize>,
    /// Repaired items by repair, such as a passage removed because it gives the letter away.
    pub mended: BTreeMap<String, usize>,
}

/// Accuracy per exam and on average.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// The unweighted average over exams: the paper's Avg.
    pub average: Estimate,
    /// Every exam, the paper's six first.
    pub exams: Vec<ExamScore>,
}

/// Accuracy in one exam.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExamScore {
    /// Which exam.
    pub exam: String,
    /// Items asked in it.
    pub items: usize,
    /// True below [`SMALL_EXAM`] items.
    pub small: bool,
    /// Share answered rightly, 0 to 1.
    pub accuracy: Estimate,
}

/// The model's result with or without the passages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BookReport {
    /// With or without.
    pub book: Book,
    /// Right in content and in form: the score.
    pub strict: Scores,
    /// Right in content, in any form.
    pub content: Scores,
    /// Answers in the requested form, right or wrong.
    pub well_formed: usize,
    /// Strict failures by reason.
    pub failures: BTreeMap<String, usize>,
    /// Prompts whose passages were cut to fit.
    pub truncated_prompts: usize,
    /// Items that name a lure: the wrong option that training taught.
    pub lures: usize,
    /// Of these, answers that chose it.
    pub lures_chosen: usize,
}

/// Two results on the same items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairedComparison {
    /// The first's average minus the second's, stratified by exam.
    pub difference: Estimate,
    /// Items by who was right.
    pub counts: PairedCounts,
    /// McNemar's exact two-sided probability.
    pub p_value: f64,
}

/// Position of an exam in reports: the paper's order, then the alphabet.
pub fn exam_rank(exam: &str) -> (usize, &str) {
    (EXAMS.iter().position(|name| *name == exam).unwrap_or(EXAMS.len()), exam)
}

/// `open book` or `closed book`.
pub fn book_name(book: Book) -> &'static str {
    match book {
        Book::Open => "open book",
        Book::Closed => "closed book",
    }
}
