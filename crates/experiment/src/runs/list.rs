//! The list of runs for people.

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};

use crate::runs::overview::RunOverview;
use crate::words::size_name;
use crate::words::{ago, short, span};

/// A column: its title, what it shows of a run at a time, and whether it holds numbers.
type Column = (&'static str, fn(&RunOverview, u64) -> String, bool);

const COLUMNS: [Column; 13] = [
    ("run", |run, _| run.path.clone(), false),
    ("status", |run, _| run.status.to_string(), false),
    ("step", |run, _| step(run), true),
    ("loss", |run, _| number(run.loss), true),
    ("validation", |run, _| number(run.validation_loss), true),
    ("tokens/s", |run, _| run.tokens_per_second.map(short).unwrap_or_default(), true),
    ("trained", |run, _| run.seconds.map(span).unwrap_or_default(), true),
    ("left", |run, _| run.seconds_left.map(span).unwrap_or_default(), true),
    ("method", |run, _| run.method.clone().unwrap_or_default(), false),
    ("mix", |run, _| mix(run), false),
    ("device", |run, _| run.device.split([' ', ':']).next().unwrap_or_default().to_owned(), false),
    ("exam", |run, _| run.exam.map(|exam| format!("{:.1}", 100.0 * exam.value)).unwrap_or_default(), true),
    ("written", |run, now| ago(run.updated, now), true),
];

/// Runs as a table, in the given order, with what is wrong and how to go on below it. `now` is in seconds since 1970.
/// Columns that no run fills are left out.
pub fn run_list(runs: &[RunOverview], now: u64) -> String {
    let filled = |column: &&Column| runs.iter().any(|run| !column.1(run, now).is_empty());
    let columns: Vec<&Column> = COLUMNS.iter().filter(filled).collect();
    let mut table = Table::new();
    let style = TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));
    table.load_style(style).set_header(columns.iter().map(|column| column.0));
    for run in runs {
        table.add_row(columns.iter().map(|column| column.1(run, now)));
    }
    for (column, shown) in table.column_iter_mut().zip(&columns) {
        column.set_padding((0, 1));
        if shown.2 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = format!("{}\n", table.trim_fmt());
    for run in runs {
        text += &note(run);
    }
    text
}

/// What is wrong with a run and how it goes on; nothing where nothing is left to do.
fn note(run: &RunOverview) -> String {
    let problem = run.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    match (&run.hint, problem.is_empty()) {
        (None, true) => String::new(),
        (None, false) => format!("\n{} is {}{problem}\n", run.path, run.status),
        (Some(hint), _) => format!("\n{} is {}{problem}\n  go on: {hint}\n", run.path, run.status),
    }
}

fn step(run: &RunOverview) -> String {
    match run.total_steps {
        Some(total) => format!("{}/{total}", run.step),
        None if run.step > 0 => run.step.to_string(),
        None => String::new(),
    }
}

fn number(loss: Option<f64>) -> String {
    match loss {
        Some(loss) if loss.is_finite() => format!("{loss:.3}"),
        Some(_) => "NaN".to_owned(),
        None => String::new(),
    }
}

/// `9:1 2k`.
fn mix(run: &RunOverview) -> String {
    let ratio = run.ratio.as_deref().and_then(|ratio| ratio.split(' ').next()).unwrap_or_default();
    let ratio = if ratio.contains(':') { ratio } else { "" };
    let size = run.size.map(size_name).unwrap_or_default();
    format!("{ratio} {size}").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{RunState, Status};
    use crate::run_dir::RunDir;

    #[test]
    fn columns_that_nothing_fills_are_left_out() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path().join("run");
        let run = RunDir::open(&root).expect("free");
        let mut state = RunState { total_steps: 20, ..RunState::new("x", "00ff") }.with_status(Status::Failed);
        state.error = Some("out of disk".to_owned());
        state.updated = 1000;
        run.write_state(&state).expect("written");
        drop(run);
        let runs = [RunOverview { path: "checkpoints/x".to_owned(), ..RunOverview::read(&root) }];
        let text = run_list(&runs, 1120);
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["run", "status", "step", "written"]);
        assert_eq!(lines[2].split_whitespace().collect::<Vec<_>>(), ["checkpoints/x", "failed", "0/20", "2m", "ago"]);
        assert!(text.contains("checkpoints/x is failed: out of disk\n  go on: medley train"), "{text}");
    }
}
