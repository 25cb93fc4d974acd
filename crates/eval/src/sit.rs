//! Sitting the exam: prompts, answers in batches, grades, report.

use std::collections::BTreeMap;
use std::path::Path;

use medley_files::{FolderLock, LockError};
use medley_recipe::{Book, ExamSpec};
use medley_run::atomic;
use medley_run::paired::book_folder;
use medley_run::report::{BookReport, ExamReport, PairedComparison, REPORT_VERSION, ReportInputs};

use crate::baselines::{guess_credit, string_match_credit};
use crate::error::EvalError;
use crate::exchange::exchange_passages;
use crate::grade::{Grade, grade};
use crate::item::Item;
use crate::journal::{AnswerRecord, Header, Journal};
use crate::papers::Papers;
use crate::prompt::{Codec, Prompt, PromptTemplate};
use crate::score::{compare, exact_scores, expected_scores, scores};
use crate::solver::Solver;

/// Everything that an exam needs beside the solver.
pub struct Sitting<'a> {
    /// The items and their files.
    pub papers: &'a Papers,
    /// What is asked, how, and within which limits.
    pub spec: &'a ExamSpec,
    /// The wording.
    pub template: &'a PromptTemplate,
    /// The model's tokens.
    pub codec: &'a dyn Codec,
    /// The model, as the user named it.
    pub model: String,
    /// Hash of the model's files; answers of another model are refused.
    pub model_hash: String,
    /// What computes.
    pub device: String,
    /// The control: every question gets another question's passages.
    pub exchange_passages: bool,
    /// At most so many items, spread over the exams.
    pub limit: Option<usize>,
    /// Progress callback after every batch: book, items answered, total.
    pub progress: &'a dyn Fn(Book, usize, usize),
}

/// Sits the exam and writes `<book>/answers.jsonl` as it goes and `report.json` at its end into `folder`. Items that
/// `folder` holds an answer to are not asked again.
///
/// # Errors
/// A prompt does not fit, the solver fails, `folder` has answers of another exam, or another process holds it.
pub fn sit(solver: &mut dyn Solver, sitting: &Sitting, folder: &Path) -> Result<ExamReport, EvalError> {
    let mut items = sitting.limit.map_or_else(|| sitting.papers.items.clone(), |limit| sitting.papers.limited(limit));
    if items.is_empty() {
        let hint = "name files of items with exam.papers or --papers, and a limit above 0";
        return Err(EvalError::file(folder, "there is no item to ask", hint));
    }
    if sitting.exchange_passages {
        items = exchange_passages(&items)?;
    }
    let _lock = lock(folder)?;
    let report_path = folder.join("report.json");
    if report_path.exists() && ExamReport::read(&report_path).is_err() {
        let reason = "it is no exam report, and would be overwritten".to_owned();
        return Err(EvalError::Foreign { path: report_path, reason });
    }
    let inputs = inputs(sitting, &items);
    let mut grades: BTreeMap<Book, Vec<Grade>> = BTreeMap::new();
    let mut books = Vec::new();
    for &book in &sitting.spec.books {
        let answered = sit_book(solver, sitting, &items, &inputs, book, folder)?;
        books.push(book_report(book, &items, &answered));
        grades.insert(book, answered.into_iter().map(|(_, grade)| grade).collect());
    }
    let report = ExamReport {
        version: REPORT_VERSION,
        items: items.len(),
        items_without_passage: items.iter().filter(|item| item.passages.is_empty()).count(),
        guess: exact_scores(&items, guess_credit),
        string_match: expected_scores(&items, string_match_credit),
        open_minus_closed: open_minus_closed(&items, &grades),
        books,
        inputs,
    };
    write_report(&report, &report_path)?;
    Ok(report)
}

/// Creates and locks the folder, and removes temporary files of killed processes.
fn lock(folder: &Path) -> Result<FolderLock, EvalError> {
    let failed = |error: std::io::Error| EvalError::file(folder, error, "check the path and its permissions");
    std::fs::create_dir_all(folder).map_err(failed)?;
    let lock = FolderLock::take_for(folder, "exam").map_err(|error| match error {
        LockError::Held { holder } => EvalError::Locked { path: folder.to_owned(), holder },
        LockError::Io { error, .. } => failed(error),
    })?;
    atomic::remove_leftovers(folder).map_err(failed)?;
    Ok(lock)
}

fn write_report(report: &ExamReport, path: &Path) -> Result<(), EvalError> {
    let failed =
        |error: String| EvalError::file(path, error, "check the folder's permissions and the disk's free space");
    let mut bytes = serde_json::to_vec_pretty(report).map_err(|error| failed(error.to_string()))?;
    bytes.push(b'\n');
    atomic::write_file(path, &bytes).map_err(|error| failed(error.to_string()))
}

fn inputs(sitting: &Sitting, items: &[Item]) -> ReportInputs {
    let mut hasher = blake3::Hasher::new();
    for item in items {
        hasher.update(item.content_hash().as_bytes());
    }
    ReportInputs {
        model: sitting.model.clone(),
        model_hash: sitting.model_hash.clone(),
        items_hash: hasher.finalize().to_hex().to_string(),
        papers: sitting.papers.files.clone(),
        prompt: sitting.template.name().to_owned(),
        template_hash: sitting.template.hash().to_owned(),
        answer: sitting.spec.answer,
        max_prompt_tokens: sitting.spec.max_prompt_tokens,
        max_new_tokens: sitting.spec.max_new_tokens,
        passages_exchanged: sitting.exchange_passages,
        limit: sitting.limit,
        device: sitting.device.clone(),
        versions: [("medley".to_owned(), env!("CARGO_PKG_VERSION").to_owned())].into(),
    }
}

/// What decides the answers; the batch size and the device do not belong here.
fn header(inputs: &ReportInputs, book: Book) -> Header {
    let entries = [
        ("book", format!("{book:?}").to_lowercase()),
        ("model", inputs.model_hash.clone()),
        ("items", inputs.items_hash.clone()),
        ("template", inputs.template_hash.clone()),
        ("answer", format!("{:?}", inputs.answer).to_lowercase()),
        ("max_prompt_tokens", inputs.max_prompt_tokens.to_string()),
        ("max_new_tokens", inputs.max_new_tokens.to_string()),
    ];
    Header { inputs: entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect() }
}

fn sit_book(
    solver: &mut dyn Solver,
    sitting: &Sitting,
    items: &[Item],
    inputs: &ReportInputs,
    book: Book,
    folder: &Path,
) -> Result<Vec<(Prompt, Grade)>, EvalError> {
    let spec = sitting.spec;
    let build = |item| sitting.template.build(item, book, spec.answer, sitting.codec, spec.max_prompt_tokens);
    let prompts = items.iter().map(build).collect::<Result<Vec<_>, _>>()?;
    let mut journal = Journal::open(&folder.join(book_folder(book)), &header(inputs, book))?;
    let regrade = |(item, prompt): (&Item, &Prompt)| {
        let answer = journal.answer(&item.id, &prompt.hash)?;
        Some(grade(answer, item, spec.answer, prompt.truncated))
    };
    let mut grades: Vec<Option<Grade>> = items.iter().zip(&prompts).map(regrade).collect();
    let mut open: Vec<usize> = (0..items.len()).filter(|index| grades[*index].is_none()).collect();
    // Prompts of like length together, longest first: least padding, and too little memory shows at once.
    open.sort_by_key(|index| (std::cmp::Reverse(prompts[*index].input_ids.len()), *index));
    let mut done = items.len() - open.len();
    (sitting.progress)(book, done, items.len());
    for batch in open.chunks(spec.batch_size.max(1)) {
        let asked: Vec<Vec<u32>> = batch.iter().map(|index| prompts[*index].input_ids.clone()).collect();
        let answers = solver.answer(&asked, spec.max_new_tokens)?;
        if answers.len() != batch.len() {
            return Err(EvalError::Solver(format!("{} prompts got {} answers", batch.len(), answers.len())));
        }
        for (&index, tokens) in batch.iter().zip(&answers) {
            let (item, prompt) = (&items[index], &prompts[index]);
            let answer = sitting.codec.decode(tokens);
            let graded = grade(&answer, item, spec.answer, prompt.truncated);
            let shown = spec.keep_prompts.then(|| sitting.codec.show(&prompt.input_ids));
            journal.record(&record(item, prompt, (shown, answer), &graded))?;
            grades[index] = Some(graded);
        }
        done += batch.len();
        (sitting.progress)(book, done, items.len());
    }
    Ok(prompts.into_iter().zip(grades.into_iter().flatten()).collect())
}

fn record(item: &Item, prompt: &Prompt, (shown, answer): (Option<String>, String), grade: &Grade) -> AnswerRecord {
    AnswerRecord {
        id: item.id.clone(),
        exam: item.exam.clone(),
        prompt_hash: prompt.hash.clone(),
        prompt_tokens: prompt.input_ids.len(),
        truncated: prompt.truncated,
        prompt: shown,
        answer,
        chosen: grade.chosen.iter().collect(),
        key: item.answer.iter().collect(),
        right: grade.strict(),
        failure: grade.failure,
    }
}

fn book_report(book: Book, items: &[Item], answered: &[(Prompt, Grade)]) -> BookReport {
    let mut failures: BTreeMap<String, usize> = BTreeMap::new();
    for failure in answered.iter().filter_map(|(_, grade)| grade.failure) {
        *failures.entry(failure.name().to_owned()).or_default() += 1;
    }
    let right = |of: fn(&Grade) -> bool| answered.iter().map(|(_, grade)| of(grade)).collect::<Vec<bool>>();
    let lured =
        |(item, (_, grade)): (&Item, &(Prompt, Grade))| item.lure.is_some_and(|lure| grade.chosen == [lure].into());
    BookReport {
        book,
        strict: scores(items, &right(Grade::strict)),
        content: scores(items, &right(|grade| grade.content)),
        well_formed: answered.iter().filter(|(_, grade)| grade.well_formed).count(),
        failures,
        truncated_prompts: answered.iter().filter(|(prompt, _)| prompt.truncated).count(),
        lures: items.iter().filter(|item| item.lure.is_some()).count(),
        lures_chosen: items.iter().zip(answered).filter(|pair| lured(*pair)).count(),
    }
}

fn open_minus_closed(items: &[Item], grades: &BTreeMap<Book, Vec<Grade>>) -> Option<PairedComparison> {
    let right = |book| grades.get(&book).map(|grades| grades.iter().map(Grade::strict).collect::<Vec<bool>>());
    compare(items, &right(Book::Open)?, &right(Book::Closed)?)
}

#[cfg(test)]
#[path = "sit_tests.rs"]
mod tests;
