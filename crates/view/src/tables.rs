//! Runs as the paper's Table 4 (ratios) or Table 5 (sizes), beside the paper's own numbers.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets};
use medley_run::statistics::{Estimate, mean_and_deviation, mean_over_seeds};
use serde::Serialize;

use crate::layout::{text_width, wrapped};
use crate::report_runs::{Column, RunSummary};
use crate::words::{plain, size_name};

/// Where the paper's numbers come from.
pub const CITATION: &str = "Yang, Wang, Chen, Su, Tan: Fine-Tuning Medical Language Models for Enhanced Long-Contextual \
                            Understanding and Domain Expertise (ICML 2024 workshop on long-context foundation models)";

/// Average accuracy in percent by model and general:medical ratio (Table 4).
const TABLE_4: [(&str, [(Column, f64); 5]); 4] = [
    ("Qwen1.5-1.8B", by_ratio([39.02, 38.67, 37.58, 33.38, 33.73])),
    ("Qwen1.5-4B", by_ratio([52.53, 52.63, 51.14, 49.96, 49.51])),
    ("Qwen1.5-7B", by_ratio([62.96, 62.27, 60.42, 59.96, 59.65])),
    ("Qwen1.5-14B", by_ratio([68.81, 68.53, 68.1, 65.12, 64.85])),
];

/// Average accuracy in percent by number of medical samples, traditional Chinese : Western = 1:1 (Table 5).
const TABLE_5: [(&str, [(Column, f64); 8]); 1] = [(
    "Qwen1.5-7B",
    [
        (Column::Size(10_000), 57.60),
        (Column::Size(20_000), 55.08),
        (Column::Size(50_000), 53.64),
        (Column::Size(70_000), 54.83),
        (Column::Size(80_000), 51.71),
        (Column::Size(90_000), 53.41),
        (Column::Size(100_000), 58.71),
        (Column::Size(200_000), 56.12),
    ],
)];

const fn by_ratio(values: [f64; 5]) -> [(Column, f64); 5] {
    [
        (Column::Ratio { general: 9, medical: 1 }, values[0]),
        (Column::Ratio { general: 4, medical: 1 }, values[1]),
        (Column::Ratio { general: 1, medical: 1 }, values[2]),
        (Column::Ratio { general: 1, medical: 4 }, values[3]),
        (Column::Ratio { general: 1, medical: 9 }, values[4]),
    ]
}

/// Which table of the paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum PaperTable {
    /// Models by general:medical ratio.
    Table4,
    /// Models by number of medical samples.
    Table5,
}

impl PaperTable {
    /// The columns that the paper has.
    pub fn columns(self) -> Vec<Column> {
        match self {
            Self::Table4 => TABLE_4[0].1.map(|(column, _)| column).to_vec(),
            Self::Table5 => TABLE_5[0].1.map(|(column, _)| column).to_vec(),
        }
    }

    /// The paper's value for a model, named as in the paper or with `-Chat`: which of the two it trained is not stated.
    pub fn published(self, model: &str, column: Column) -> Option<f64> {
        let model = model.strip_suffix("-Chat").unwrap_or(model);
        let find =
            |columns: &[(Column, f64)]| columns.iter().find(|(known, _)| *known == column).map(|(_, value)| *value);
        match self {
            Self::Table4 => TABLE_4.iter().find(|(name, _)| *name == model).and_then(|(_, columns)| find(columns)),
            Self::Table5 => TABLE_5.iter().find(|(name, _)| *name == model).and_then(|(_, columns)| find(columns)),
        }
    }

    /// The tables that at least one run fits; the first where none does, to list the runs under it.
    pub fn fitting(runs: &[RunSummary]) -> Vec<Self> {
        let fits = |table: &Self| runs.iter().filter_map(|run| run.column).any(|column| table.holds(column));
        let fitting: Vec<Self> = [Self::Table4, Self::Table5].into_iter().filter(fits).collect();
        if fitting.is_empty() { vec![Self::Table4] } else { fitting }
    }

    fn holds(self, column: Column) -> bool {
        matches!((self, column), (Self::Table4, Column::Ratio { .. }) | (Self::Table5, Column::Size(_)))
    }

    /// The paper's number of the table.
    pub fn number(self) -> u8 {
        match self {
            Self::Table4 => 4,
            Self::Table5 => 5,
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Table4 => "Table 4: models fine-tuned on general:medical mixtures",
            Self::Table5 => "Table 5: models fine-tuned on medical data alone, by number of samples",
        }
    }
}

/// The runs of one cell, with the paper's value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TableCell {
    /// Base model, size of the mix (Table 4) and method.
    pub row: String,
    /// Ratio or size.
    pub column: Column,
    /// Average accuracy in percent: the run's, or the mean over runs.
    pub value: f64,
    /// 95 % interval in percent: of one run over the exam's items; of several, that of their mean over seeds.
    pub interval: Option<(f64, f64)>,
    /// Standard deviation over runs in points; none for a single one.
    pub deviation: Option<f64>,
    /// Number of independent runs; copies of a run, and a run that was examined twice, count once.
    pub seeds: usize,
    /// The runs' folders, one for each seed.
    pub runs: Vec<String>,
    /// The paper's value in percent, where the paper has this model and column.
    pub paper: Option<f64>,
    /// `value` minus `paper` in points.
    pub difference: Option<f64>,
}

/// A table of the paper, filled from runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunTable {
    /// Which one.
    pub table: PaperTable,
    /// The cells that have a run, by row and column.
    pub cells: Vec<TableCell>,
    /// Notes: runs that fit no cell or have no exam, runs of a cell that differ in more than seeds.
    pub notes: Vec<String>,
    /// Source of the paper's numbers.
    pub citation: &'static str,
}

/// Sorts runs into the cells of `table`.
pub fn tabulate(table: PaperTable, runs: &[RunSummary]) -> RunTable {
    let mut cells: BTreeMap<(String, Column), Vec<&RunSummary>> = BTreeMap::new();
    let (runs, mut notes) = independent(runs);
    for &run in &runs {
        match (&run.score, run.column) {
            (Err(reason), _) => notes.push(format!("{}: no exam score ({reason})", run.path)),
            (Ok(_), Some(column)) if table.holds(column) => {
                cells.entry((row_name(table, run), column)).or_default().push(run)
            }
            (Ok(score), _) => notes.push(format!(
                "{}: not in this table (base {}, ratio {}, size {}): {}",
                run.path,
                run.base,
                run.ratio,
                size_name(run.size),
                show_percent(&score.estimate)
            )),
        }
    }
    notes.extend(cells.iter().filter_map(|((row, column), runs)| differing_note(row, *column, runs)));
    notes.extend(exams_note(&runs));
    let cells = cells.into_iter().map(|((row, column), runs)| cell(table, row, column, &runs)).collect();
    RunTable { table, cells, notes, citation: CITATION }
}

/// One run of each training, preferably an examined one, and a note on each of the others.
fn independent(runs: &[RunSummary]) -> (Vec<&RunSummary>, Vec<String>) {
    let (mut kept, mut notes): (Vec<&RunSummary>, Vec<String>) = (Vec::new(), Vec::new());
    // Examined runs first, otherwise in the caller's order.
    let (examined, others): (Vec<&RunSummary>, Vec<_>) = runs.iter().partition(|run| run.score.is_ok());
    for run in examined.into_iter().chain(others) {
        let Some(first) = kept.iter().find(|other| run.is_same_training(other)) else {
            kept.push(run);
            continue;
        };
        let other_score = match (&run.score, &first.score) {
            (Ok(score), Ok(counted)) if score.estimate != counted.estimate => {
                format!("; its other exam result is not counted: {}", show_percent(&score.estimate))
            }
            _ => String::new(),
        };
        let hash = medley_recipe::hash8(&run.train_hash);
        notes.push(format!(
            "{}: the same training as {} (train hash {hash}): one seed, counted once{other_score}",
            run.path, first.path
        ));
    }
    (kept, notes)
}

fn row_name(table: PaperTable, run: &RunSummary) -> String {
    match table {
        PaperTable::Table4 => format!("{} · {} · {}", run.model_name(), size_name(run.size), run.method),
        PaperTable::Table5 => format!("{} · {}", run.model_name(), run.method),
    }
}

fn cell(table: PaperTable, row: String, column: Column, runs: &[&RunSummary]) -> TableCell {
    let estimates: Vec<Estimate> =
        runs.iter().filter_map(|run| run.score.as_ref().ok().map(|score| score.estimate)).collect();
    let values: Vec<f64> = estimates.iter().map(|estimate| 100.0 * estimate.value).collect();
    let (value, deviation) = mean_and_deviation(&values).unwrap_or_default();
    let interval = match estimates.as_slice() {
        [only] => Some(*only),
        several => mean_over_seeds(&several.iter().map(|estimate| estimate.value).collect::<Vec<_>>()),
    };
    let paper = runs.first().and_then(|run| table.published(run.model_name(), column));
    TableCell {
        row,
        column,
        value,
        interval: interval.map(|interval| (100.0 * interval.low, 100.0 * interval.high)),
        deviation,
        seeds: runs.len(),
        runs: runs.iter().map(|run| run.path.clone()).collect(),
        paper,
        difference: paper.map(|paper| value - paper),
    }
}

/// A note if runs of a cell differ in more than their seeds: then their mean is not one over seeds.
fn differing_note(row: &str, column: Column, runs: &[&RunSummary]) -> Option<String> {
    let (first, others) = runs.split_first()?;
    let mut keys: Vec<&str> = others.iter().flat_map(|run| first.differing_settings(run)).collect();
    keys.sort_unstable();
    keys.dedup();
    (!keys.is_empty()).then(|| format!("{row}, {column}: its runs differ in more than seeds: {}", keys.join(", ")))
}

/// A note if the runs sat different exams, whose scores are not comparable.
fn exams_note(runs: &[&RunSummary]) -> Option<String> {
    let mut exams: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for run in runs {
        if let Ok(score) = &run.score {
            exams.entry(&score.exam_hash).or_default().push(&run.path);
        }
    }
    if exams.len() < 2 {
        return None;
    }
    let groups: Vec<String> = exams.values().map(|paths| paths.join(" ")).collect();
    Some(format!("not all runs sat the same exam (items, prompt or answer form differ): {}", groups.join(" | ")))
}

impl RunTable {
    /// The table as text, if possible at most `width` wide: where it is wider, columns without a run are left out, then the
    /// table is split.
    pub fn render(&self, width: usize) -> String {
        let filled: Vec<Column> = self.columns().into_iter().filter(|column| self.has(*column)).collect();
        let whole = self.part(&self.columns());
        let mut text = format!("{}\n", self.table.title());
        text += &if fits(&whole, width) { whole } else { self.parts(&filled, width) };
        text += &wrapped(EXPLANATION, width, 0);
        text.push('\n');
        for note in &self.notes {
            text += &format!("{}\n", wrapped(&format!("note: {}", plain(note)), width, 6));
        }
        text + &wrapped(&format!("paper: {}", self.citation), width, 7) + "\n"
    }

    /// The paper's columns and those that runs add.
    fn columns(&self) -> Vec<Column> {
        let mut columns = self.table.columns();
        columns.extend(self.cells.iter().map(|cell| cell.column));
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    fn has(&self, column: Column) -> bool {
        self.cells.iter().any(|cell| cell.column == column)
    }

    /// The columns as one table or, where that is too wide, as several.
    fn parts(&self, columns: &[Column], width: usize) -> String {
        let whole = self.part(columns);
        match columns.len() {
            0 | 1 => whole,
            _ if fits(&whole, width) => whole,
            count => {
                let (left, right) = columns.split_at(count.div_ceil(2));
                self.parts(left, width) + &self.parts(right, width)
            }
        }
    }

    fn part(&self, columns: &[Column]) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header(["model".to_owned()].into_iter().chain(columns.iter().map(Column::to_string)));
        let mut rows: Vec<&str> = self.cells.iter().map(|cell| cell.row.as_str()).collect();
        rows.dedup();
        for row in rows {
            let find = |column| self.cells.iter().find(|cell| cell.row == row && cell.column == column);
            let shown = columns.iter().map(|column| find(*column).map(show_cell).unwrap_or_default());
            table.add_row([plain(row)].into_iter().chain(shown));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        format!("{table}\n")
    }

    /// The cells as CSV with a header, one row for each cell.
    pub fn to_csv(&self) -> String {
        format!("table,row,column,value,low,high,deviation,seeds,paper,difference\n{}", self.csv_rows())
    }

    /// The rows of [`RunTable::to_csv`] without the header.
    pub fn csv_rows(&self) -> String {
        let number = |value: Option<f64>| value.map(|value| format!("{value:.4}")).unwrap_or_default();
        let mut text = String::new();
        for cell in &self.cells {
            let row = format!("{},\"{}\"", self.table.number(), cell.row.replace('"', "\"\""));
            let (low, high) = cell.interval.unzip();
            let fields = [Some(cell.value), low, high, cell.deviation].map(number).join(",");
            let paper = [cell.paper, cell.difference].map(number).join(",");
            text += &format!("{row},{},{fields},{},{paper}\n", cell.column, cell.seeds);
        }
        text
    }
}

const EXPLANATION: &str = "Open-book accuracy in %, average over exams. One seed: the run's score and its 95 % interval over the \
                           exam's items. Several: mean ± standard deviation over seeds, and the 95 % interval of the mean \
                           (Student's t). Below them the paper's value and ours minus the paper's, in points.";

fn fits(text: &str, width: usize) -> bool {
    text.lines().all(|line| text_width(line) <= width)
}

/// `63.0 ± 2.0, 3 seeds`, the interval, the paper's value and the difference, a line each.
fn show_cell(cell: &TableCell) -> String {
    let mut lines = vec![match cell.deviation {
        Some(deviation) => format!("{:.1} ± {deviation:.1}, {} seeds", cell.value, cell.seeds),
        None => format!("{:.1}, 1 seed", cell.value),
    }];
    lines.extend(cell.interval.map(|(low, high)| format!("[{low:.1}, {high:.1}]")));
    if let (Some(paper), Some(difference)) = (cell.paper, cell.difference) {
        lines.push(format!("paper {paper:.2}, {difference:+.1}"));
    }
    lines.join("\n")
}

fn show_percent(estimate: &Estimate) -> String {
    crate::tables_exam::show(estimate)
}

#[cfg(test)]
#[path = "tables_tests.rs"]
mod tests;
