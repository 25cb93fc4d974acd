//! Summary of a run for tables, from its folder alone: `recipe.toml`, `run.json` and `exam/report.json`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use medley_recipe::{Book, lowest_terms};
use medley_run::metrics::Latest;
use medley_run::report::ExamReport;
use medley_run::statistics::Estimate;
use medley_run::{RunDir, RunState};
use serde::Serialize;
use toml::{Table, Value};

use crate::runs::RunStatus;

/// A column of the paper's tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Column {
    /// General to medical samples, in lowest terms.
    Ratio {
        /// General samples.
        general: u64,
        /// Medical samples.
        medical: u64,
    },
    /// Number of samples, all of them medical.
    Size(u64),
}

impl Ord for Column {
    /// Most general first, as in Table 4; sizes ascend, as in Table 5.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        match (self, other) {
            (Self::Ratio { general: a, medical: b }, Self::Ratio { general: c, medical: d }) => {
                (u128::from(*c) * u128::from(*b)).cmp(&(u128::from(*a) * u128::from(*d)))
            }
            (Self::Size(a), Self::Size(b)) => a.cmp(b),
            (Self::Ratio { .. }, Self::Size(_)) => std::cmp::Ordering::Less,
            (Self::Size(_), Self::Ratio { .. }) => std::cmp::Ordering::Greater,
        }
    }
}

impl PartialOrd for Column {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Column {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ratio { general, medical } => write!(formatter, "{general}:{medical}"),
            Self::Size(size) => formatter.write_str(&crate::words::size_name(*size)),
        }
    }
}

/// Result of an exam, for tables.
#[derive(Clone, Debug, PartialEq)]
pub struct RunScore {
    /// Strict open-book average over exams.
    pub estimate: Estimate,
    /// Identity of the exam: equal for the same items, prompt and answer form.
    pub exam_hash: String,
    /// Hash of the model that was examined; empty where the report lacks it.
    pub model_hash: String,
}

/// A run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSummary {
    /// Its folder, as given.
    pub path: String,
    /// The base model.
    pub base: String,
    /// `full` or `lora`.
    pub method: String,
    /// Samples in the mix.
    pub size: u64,
    /// The top of the mixture tree, written `9:1 (general:medical)`.
    pub ratio: String,
    /// Its column in one of the paper's tables, where it has one.
    pub column: Option<Column>,
    /// Its score, or why there is none.
    pub score: Result<RunScore, String>,
    /// Hash of all that decides the trained weights; empty where the folder has no readable `run.json`.
    pub train_hash: String,
    settings: BTreeMap<String, String>,
}

/// A folder that is not a run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("{path}: {reason}")]
#[diagnostic(help("{hint}"))]
pub struct RunError {
    /// The folder or file.
    pub path: String,
    /// What is wrong.
    pub reason: String,
    /// The remedy.
    pub hint: &'static str,
}

/// Reads runs; a folder named twice counts once. Folders that are not runs, which have no readable `recipe.toml` with a model
/// and a mix, are returned with the reason. A run without an exam is not an error.
pub fn read_runs(folders: &[PathBuf]) -> (Vec<RunSummary>, Vec<RunError>) {
    let mut seen = Vec::new();
    let (mut runs, mut unreadable) = (Vec::new(), Vec::new());
    for folder in folders {
        let canonical = folder.canonicalize().unwrap_or_else(|_| folder.clone());
        if seen.contains(&canonical) {
            continue;
        }
        seen.push(canonical);
        match RunSummary::read(folder) {
            Ok(run) => runs.push(run),
            Err(error) => unreadable.push(error),
        }
    }
    (runs, unreadable)
}

impl RunSummary {
    /// Reads one run's folder.
    ///
    /// # Errors
    /// The folder is not a run: it has no readable `recipe.toml` with a model and a mix.
    pub fn read(folder: &Path) -> Result<Self, RunError> {
        let path = folder.join("recipe.toml");
        let failed = |reason: String, hint| RunError { path: path.display().to_string(), reason, hint };
        let text = std::fs::read_to_string(&path)
            .map_err(|error| failed(error.to_string(), "name the folders of runs, as `medley train` made them"))?;
        let recipe: Table = toml::from_str(&text).map_err(|error| failed(error.to_string(), REWRITE))?;
        let get = |section: &str, key: &str| recipe.get(section).and_then(|section| section.get(key));
        let missing = |key: &str| failed(format!("`{key}` is missing or of the wrong type"), REWRITE);
        let base = get("model", "base").and_then(Value::as_str).ok_or_else(|| missing("model.base"))?;
        let method = get("train", "method").and_then(Value::as_str).ok_or_else(|| missing("train.method"))?;
        let size = get("mix", "size").and_then(Value::as_integer).and_then(|size| u64::try_from(size).ok());
        // With epochs the sizes of the pools decide the size: it is read from the ledger.
        let epochs = get("mix", "epochs").and_then(Value::as_table);
        let size = size.or_else(|| epochs.and(samples_in(folder))).ok_or_else(|| missing("mix.size"))?;
        let ratio = get("mix", "ratio").and_then(Value::as_table).or(epochs).ok_or_else(|| missing("mix.ratio"))?;
        let mut settings = BTreeMap::new();
        flatten("", &recipe, &mut settings);
        let state = RunDir::look(folder).ok();
        Ok(Self {
            path: folder.display().to_string(),
            base: base.to_owned(),
            method: method.to_owned(),
            size,
            ratio: show_ratio(ratio),
            column: column(ratio, size),
            score: read_score(folder, state.as_ref()),
            train_hash: state.map(|(_, state)| state.train_hash).unwrap_or_default(),
            settings,
        })
    }

    /// Whether two runs are one training: equal train hashes or trained weights. Copies of a run, and a run that was examined
    /// twice, count as one seed.
    pub fn is_same_training(&self, other: &Self) -> bool {
        let model = |run: &Self| run.score.as_ref().map(|score| score.model_hash.clone()).unwrap_or_default();
        let equal = |a: &str, b: &str| !a.is_empty() && a == b;
        equal(&self.train_hash, &other.train_hash) || equal(&model(self), &model(other))
    }

    /// The base model's own name: the last part of a hub id or a path; of a run's model or checkpoint, the run's folder.
    pub fn model_name(&self) -> &str {
        let path = self.base.trim_end_matches('/');
        let path = path.strip_suffix("/model").unwrap_or(path);
        let of_step = path.rsplit_once("/steps/").filter(|(_, step)| step.bytes().all(|byte| byte.is_ascii_digit()));
        let path = of_step.map_or(path, |(run, _)| run);
        path.rsplit('/').next().unwrap_or(path)
    }

    /// A setting of the resolved recipe as TOML, by its key such as `train.learning_rate`.
    pub fn setting(&self, key: &str) -> Option<&str> {
        self.settings.get(key).map(String::as_str)
    }

    /// Keys of settings that differ between two runs, without names, seeds and settings that never change a result.
    pub fn differing_settings<'a>(&'a self, other: &'a Self) -> Vec<&'a str> {
        let keys = self.settings.keys().chain(other.settings.keys().filter(|key| !self.settings.contains_key(*key)));
        let matters = |key: &&String| !SEEDS_AND_SPEED.contains(&key.as_str());
        keys.filter(matters)
            .filter(|key| self.settings.get(*key) != other.settings.get(*key))
            .map(String::as_str)
            .collect()
    }

    /// Keys of seeds that differ between two runs.
    pub fn differing_seeds(&self, other: &Self) -> Vec<&'static str> {
        SEEDS.into_iter().filter(|key| self.settings.get(*key) != other.settings.get(*key)).collect()
    }
}

const SEEDS: [&str; 2] = ["mix.seed", "train.seed"];

const REWRITE: &str = "this file is written by `medley train`; restore it or train again";

const SEEDS_AND_SPEED: [&str; 13] = [
    "name",
    "description",
    "mix.seed",
    "train.seed",
    "train.tokens_per_micro_batch",
    "train.block_policy",
    "train.optimizer_in_backward",
    "train.logging_steps",
    "train.eval_steps",
    "train.save_steps",
    "train.save_total_limit",
    "train.keep",
    "exam.batch_size",
];

fn read_score(folder: &Path, state: Option<&(RunDir, RunState)>) -> Result<RunScore, String> {
    let path = folder.join("exam").join("report.json");
    if !path.exists() {
        let Some((run, state)) = state else { return Err("there is no exam/report.json".to_owned()) };
        let status = RunStatus::of(state.status, run.worker().is_some());
        return Err(match status {
            RunStatus::Complete => "its recipe has no exam papers".to_owned(),
            _ => {
                // A killed process has not written its last step to `run.json`.
                let trained =
                    Latest::read(&run.metrics()).ok().and_then(|latest| latest.train).map_or(0, |line| line.step);
                format!("no exam yet: {status}, step {} of {}", trained.max(state.step), state.total_steps)
            }
        });
    }
    let report = ExamReport::read(&path).map_err(|error| error.reason)?;
    if report.inputs.passages_exchanged {
        return Err("exam/report.json is of the control with exchanged passages".to_owned());
    }
    let open = report.book(Book::Open).ok_or("it was examined closed-book only")?;
    let inputs = &report.inputs;
    let exam_hash = format!("{} {} {:?}", inputs.items_hash, inputs.template_hash, inputs.answer);
    Ok(RunScore { estimate: open.strict.average, exam_hash, model_hash: inputs.model_hash.clone() })
}

fn column(ratio: &Table, size: u64) -> Option<Column> {
    if ratio.keys().all(|name| MEDICAL.contains(&name.as_str())) && !ratio.is_empty() {
        // The paper's Table 5 is of traditional Chinese to Western medicine 1:1.
        let weights = lowest_terms(&ratio.values().map(Value::to_string).collect::<Vec<_>>())?;
        return weights.iter().all(|weight| *weight == 1).then_some(Column::Size(size));
    }
    if ratio.len() != 2 {
        return None;
    }
    match lowest_terms(&[ratio.get("general")?.to_string(), ratio.get("medical")?.to_string()])?.as_slice() {
        [general, medical] => Some(Column::Ratio { general: *general, medical: *medical }),
        _ => None,
    }
}

/// Names of medical data in the shipped recipes.
const MEDICAL: [&str; 3] = ["medical", "tcm", "western"];

/// Samples of a run's mix, as its ledger counts them.
fn samples_in(folder: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(folder.join("mix/ledger.json")).ok()?;
    let ledger: serde_json::Value = serde_json::from_str(&text).ok()?;
    ledger["chosen"].as_u64()
}

fn show_ratio(ratio: &Table) -> String {
    let weights: Vec<String> = ratio.values().map(Value::to_string).collect();
    let names: Vec<&str> = ratio.keys().map(String::as_str).collect();
    format!("{} ({})", weights.join(":"), names.join(":"))
}

fn flatten(prefix: &str, table: &Table, into: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(table) => flatten(&key, table, into),
            other => {
                into.insert(key, other.to_string());
            }
        }
    }
}
