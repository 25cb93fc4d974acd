//! All records of a run's folder.

use std::path::Path;

use medley_mixture::{Ledger, Manifest};
use medley_recipe::Book;
use medley_run::metrics::Curves;
use medley_run::report::ExamReport;
use medley_run::{PairedExams, RunDir, RunDirError, compare_exams};

use crate::runs::overview::RunOverview;
use crate::tables_exam::gain_title;

/// The records of a run. Missing files are `None`; files that cannot be read are named in the notes.
#[derive(Clone, Debug)]
pub struct RunRecord {
    /// Its state.
    pub overview: RunOverview,
    /// Why it failed, in full.
    pub error: Option<String>,
    /// Hash of the base weights; empty in runs of older versions.
    pub weights_hash: String,
    /// Version of Medley that trained it.
    pub version: String,
    /// Its metrics.
    pub curves: Curves,
    /// The resolved recipe.
    pub recipe: Option<String>,
    /// The mix's ledger.
    pub ledger: Option<Ledger>,
    /// The mix's manifest.
    pub manifest: Option<Manifest>,
    /// The exam of the trained model.
    pub exam: Option<ExamReport>,
    /// The exam of its base.
    pub base_exam: Option<ExamReport>,
    /// The trained model's accuracies minus its base's on the same items, for every book that both were examined with.
    pub gains: Vec<(Book, PairedExams)>,
    /// Steps of the checkpoints.
    pub checkpoints: Vec<usize>,
    /// Files that cannot be read, and warnings on the metrics.
    pub notes: Vec<String>,
}

impl RunRecord {
    /// Reads the run in `folder`.
    ///
    /// # Errors
    /// [`RunDirError::NotARun`] when there is no readable `run.json`.
    pub fn read(folder: &Path) -> Result<Self, RunDirError> {
        let (run, state) = RunDir::look(folder)?;
        let mut notes = Vec::new();
        let curves = Curves::read(&run.metrics()).unwrap_or_else(|error| {
            notes.push(format!("metrics.jsonl: {error}"));
            Curves::default()
        });
        notes.extend(curve_notes(&curves));
        let exam = |path: &Path, notes: &mut Vec<String>| match path.exists() {
            true => ExamReport::read(path).map_err(|error| notes.push(error.to_string())).ok(),
            false => None,
        };
        let tuned = exam(&run.exam().join("report.json"), &mut notes);
        let base = exam(&run.exam().join("base").join("report.json"), &mut notes);
        Ok(Self {
            error: state.error.clone(),
            weights_hash: state.weights_hash.clone(),
            version: state.version.clone(),
            recipe: std::fs::read_to_string(run.recipe()).ok(),
            ledger: json(&run.mix().join("ledger.json"), &mut notes),
            manifest: json(&run.mix().join("manifest.json"), &mut notes),
            gains: gains(&run, tuned.as_ref(), base.as_ref(), &mut notes),
            exam: tuned,
            base_exam: base,
            checkpoints: run.saved_steps(),
            overview: RunOverview::of(&run, state),
            curves,
            notes,
        })
    }

    /// Names of the sources in the mix's order, then those that only the validation has.
    pub fn sources(&self) -> Vec<String> {
        let mut names: Vec<String> = self.ledger.iter().flat_map(|ledger| ledger.sources.keys().cloned()).collect();
        for name in self.curves.validation.iter().flat_map(|line| line.sources.keys()) {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
        names
    }
}

/// Paired comparisons of the two exams; nothing for a book without answer files, which may have been removed.
fn gains(
    run: &RunDir,
    tuned: Option<&ExamReport>,
    base: Option<&ExamReport>,
    notes: &mut Vec<String>,
) -> Vec<(Book, PairedExams)> {
    let (Some(tuned), Some(base)) = (tuned, base) else { return Vec::new() };
    let books = tuned.books.iter().map(|report| report.book).filter(|book| base.book(*book).is_some());
    let mut gains = Vec::new();
    for book in books {
        match compare_exams(&run.exam(), &run.exam().join("base"), book) {
            Ok(paired) => gains.push((book, paired)),
            Err(error) if error.missing => {}
            Err(error) => notes.push(format!("{} cannot be computed: {error}", gain_title(book))),
        }
    }
    gains
}

/// A JSON file that may be missing; one that cannot be read is noted.
fn json<T: serde::de::DeserializeOwned>(path: &Path, notes: &mut Vec<String>) -> Option<T> {
    let bytes = std::fs::read(path).ok()?;
    serde_json::from_slice(&bytes).map_err(|error| notes.push(format!("{}: {error}", path.display()))).ok()
}

fn curve_notes(curves: &Curves) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(first) = curves.unreadable.first() {
        let count = curves.unreadable.len();
        let lines = if count == 1 { "1 line is".to_owned() } else { format!("{count} lines are") };
        notes.push(format!("metrics.jsonl: {lines} not metrics, the first is line {first}"));
    }
    if curves.replaced > 0 {
        let count = curves.replaced;
        let lines = if count == 1 { "1 line was".to_owned() } else { format!("{count} lines were") };
        notes.push(format!("metrics.jsonl: {lines} replaced by a later process"));
    }
    notes
}
