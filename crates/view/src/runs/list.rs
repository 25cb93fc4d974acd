//! The list of runs as text.

use crate::layout::{TextColumn, TextStyle, Tone, text_table, wrapped, wrapped_command};
use crate::runs::overview::{RunOverview, RunStatus};
use crate::words::{ago, plain, plain_lines, short, size_name, span};

/// Content of a run's cell, at a time in seconds since 1970.
type Cell = fn(&RunOverview, u64) -> String;

/// Title, content, right alignment, and rank: the highest ranks are left out first where the list is too wide.
const COLUMNS: [(&str, Cell, bool, u8); 13] = [
    ("run", |run, _| plain(&run.path), false, 0),
    ("status", |run, _| run.status.to_string(), false, 0),
    ("step", |run, _| step(run), true, 0),
    ("loss", |run, _| number(run.loss), true, 2),
    ("val loss", |run, _| number(run.validation_loss), true, 1),
    ("tokens/s", |run, _| run.tokens_per_second.map(short).unwrap_or_default(), true, 7),
    ("trained", |run, _| run.seconds.map(span).unwrap_or_default(), true, 6),
    ("left", |run, _| run.seconds_left.map(span).unwrap_or_default(), true, 3),
    ("method", |run, _| plain(run.method.as_deref().unwrap_or_default()), false, 8),
    ("mix", |run, _| mix(run), false, 5),
    ("device", |run, _| plain(run.device.split([' ', ':']).next().unwrap_or_default()), false, 9),
    ("exam", |run, _| run.exam.map(|exam| format!("{:.1}", 100.0 * exam.value)).unwrap_or_default(), true, 1),
    ("written", |run, now| ago(run.updated, now), true, 4),
];

impl RunStatus {
    /// Colour of the status: green for done, yellow for stopped, red for failed.
    pub fn tone(self) -> Tone {
        match self {
            Self::Complete | Self::Trained => Tone::Good,
            Self::Training | Self::Examining => Tone::Busy,
            Self::Stopped | Self::Killed => Tone::Warning,
            Self::Failed | Self::Damaged => Tone::Bad,
        }
    }
}

/// Runs as a table, in the given order, with errors and continuations below it. `now` is in seconds since 1970.
/// Columns that are empty or do not fit are left out.
pub fn run_list(runs: &[RunOverview], now: u64, style: TextStyle) -> String {
    let column = |(title, cell, right, rank): &(&str, Cell, bool, u8)| TextColumn {
        title: (*title).to_owned(),
        right: *right,
        rank: *rank,
        cells: runs
            .iter()
            .map(|run| (cell(run, now), if *title == "status" { run.status.tone() } else { Tone::None }))
            .collect(),
    };
    let columns = COLUMNS.iter().map(column);
    let filled = columns.filter(|column| column.cells.iter().any(|(text, _)| !text.is_empty()));
    let mut text = text_table(filled.collect(), style);
    for run in runs.iter().filter(|run| run.error.is_some() || run.continuation.is_some()) {
        let error = run.error.as_ref().map(|error| format!(": {}", plain(error))).unwrap_or_default();
        text += &format!("\n{}\n", wrapped(&format!("{} is {}{error}", plain(&run.path), run.status), style.width, 2));
        text += &continuation_text(run, "  ", style);
    }
    text
}

/// How to continue a run, each line after `indent`; empty where nothing is left to do.
pub fn continuation_text(run: &RunOverview, indent: &str, style: TextStyle) -> String {
    let Some(continuation) = &run.continuation else { return String::new() };
    let mut text = String::new();
    let mut line =
        |words: String| text += &format!("{}\n", wrapped(&format!("{indent}{words}"), style.width, indent.len() + 2));
    for need in &continuation.needs {
        line(format!("missing: {}", plain_lines(need)));
    }
    continuation.changes.iter().for_each(|change| line(plain_lines(change)));
    if let Some(command) = &continuation.command {
        let head = if continuation.needs.is_empty() { "continue: " } else { "then continue: " };
        text += &format!("{}\n", wrapped_command(&format!("{indent}{head}"), command, style.width));
    }
    text
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
        Some(loss) if loss.is_finite() && loss.abs() < 1e5 => format!("{loss:.3}"),
        Some(loss) if loss.is_finite() => short(loss),
        Some(_) => "NaN".to_owned(),
        None => String::new(),
    }
}

/// `9:1 2k`.
fn mix(run: &RunOverview) -> String {
    let ratio = run.ratio.as_deref().and_then(|ratio| ratio.split(' ').next()).unwrap_or_default();
    let ratio = if ratio.contains(':') { plain(ratio) } else { String::new() };
    let size = run.size.map(size_name).unwrap_or_default();
    format!("{ratio} {size}").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use medley_run::{RunDir, RunState, Status};

    use super::*;
    use crate::layout::text_width;

    fn failed(folder: &std::path::Path, error: &str) -> RunOverview {
        let run = RunDir::open(folder).expect("free");
        let mut state = RunState { total_steps: 20, ..RunState::new("x", "00ff") }.with_status(Status::Failed);
        state.error = Some(error.to_owned());
        state.updated = 1000;
        run.write_state(&state).expect("written");
        let recipe = "model.base = \"o/n\"\nmix = { size = 9, ratio = { g = 1 } }\nsources.g.path = \"o/s\"\n";
        std::fs::write(run.recipe(), recipe).expect("written");
        drop(run);
        RunOverview::read(folder)
    }

    #[test]
    fn columns_that_nothing_fills_are_left_out() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path().join("run");
        let runs = [RunOverview {
            path: "checkpoints/x".to_owned(),
            method: None,
            size: None,
            ratio: None,
            ..failed(&root, "out of disk")
        }];
        let text = run_list(&runs, 1120, TextStyle::PLAIN);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["run", "status", "step", "written"]);
        assert_eq!(lines[2].split_whitespace().collect::<Vec<_>>(), ["checkpoints/x", "failed", "0/20", "2m", "ago"]);
        assert!(
            text.contains("checkpoints/x is failed: out of disk\n") && text.contains("  continue: medley train"),
            "{text}"
        );
        let coloured = run_list(&runs, 1120, TextStyle { width: 100, colour: true });
        assert!(coloured.contains("\u{1b}[31mfailed"), "{coloured:?}");
    }

    #[test]
    fn a_list_is_at_most_as_wide_as_asked_and_foreign_text_stays_text() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let error = format!("\u{1b}]0;owned\u{7} {}", "why it failed ".repeat(20));
        let run = failed(
            &folder.path().join("a-very-long-name-of-a-run-as-scripts-generate-them-from-all-of-its-settings"),
            &error,
        );
        let runs = [RunOverview {
            device: "cpu (16 threads)".to_owned(),
            loss: Some(f64::MAX),
            tokens_per_second: Some(1e300),
            seconds: Some(1e9),
            ..run
        }];
        for width in [60, 80, 100, 140] {
            let text = run_list(&runs, 1120, TextStyle { width, colour: false });
            assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'), "{text:?}");
            // Words, such as paths, are not broken.
            let broken =
                |line: &str| line.trim().contains(' ') && !line.contains("--") && !line.contains("medley train");
            let wide = |line: &&str| text_width(line) > width && broken(line);
            assert_eq!(text.lines().find(wide), None, "{text}");
        }
    }
}
