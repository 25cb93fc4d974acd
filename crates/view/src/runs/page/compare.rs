//! Several runs on one page.

use std::fmt::Write as _;

use medley_run::metrics::Curves;

use crate::page::{Page, escape};
use crate::runs::compare::{SettingDifference, comparison_charts, run_names, setting_differences};
use crate::runs::page::{exam, plot};
use crate::runs::record::RunRecord;
use crate::words::{date, short, significant, span};

/// Content of a run's cell; `None` if unknown.
type Cell = fn(&RunRecord) -> Option<String>;

const CELLS: [(&str, Cell); 10] = [
    ("status", |run| Some(run.overview.status.to_string())),
    ("method", |run| run.overview.method.clone()),
    ("ratio", |run| run.overview.ratio.clone()),
    ("samples", |run| run.overview.size.map(|size| short(size as f64))),
    ("steps", |run| Some(run.overview.step.to_string())),
    ("tokens", |run| run.overview.tokens.map(|tokens| short(tokens as f64))),
    ("time", |run| run.overview.seconds.map(span)),
    ("training loss", |run| run.overview.loss.map(|loss| significant(loss, 4))),
    ("validation loss", |run| run.overview.validation_loss.map(|loss| significant(loss, 4))),
    ("exam, open book", |run| {
        let exam = run.overview.exam?;
        Some(format!("{:.1} [{:.1}, {:.1}]", 100.0 * exam.value, 100.0 * exam.low, 100.0 * exam.high))
    }),
];

/// The page that compares runs, written at `now`, in seconds since 1970.
pub fn comparison_page(records: &[RunRecord], now: u64) -> String {
    let names = run_names(records);
    let mut body =
        format!("<header><h1>{} runs</h1></header><section><div class=scroll><table><thead><tr><th>run", records.len());
    let filled = |cell: Cell| records.iter().any(|run| cell(run).is_some());
    let cells: Vec<_> = CELLS.iter().filter(|(_, cell)| filled(*cell)).collect();
    for (title, _) in &cells {
        let _ = write!(body, "<th>{title}");
    }
    body += "</thead><tbody>";
    for (at, (record, name)) in records.iter().zip(&names).enumerate() {
        let _ = write!(body, "<tr><th><span class=run><i class=c{}></i>{}</span>", at % plot::COLOURS, escape(name));
        for (_, cell) in &cells {
            let _ = write!(body, "<td>{}", escape(&cell(record).unwrap_or_default()));
        }
    }
    body += "</tbody></table></div></section>";
    body += &exam::comparison(records, &names);
    let plots: String = comparison_charts(records).iter().map(|chart| plot::plot(chart, "tokens")).collect();
    if !plots.is_empty() {
        let _ = write!(body, "<section><h2>Curves over tokens</h2><div class=charts>{plots}</div></section>");
    }
    body += &settings(records, &names);
    let _ = write!(body, "<footer>Written by Medley {} on {}.</footer>", env!("CARGO_PKG_VERSION"), date(now));
    let script = plot::script(&Curves::default());
    Page { title: "Comparison", refresh: None, body: &body, script: &script }.html()
}

/// The settings in which the runs differ.
fn settings(records: &[RunRecord], names: &[String]) -> String {
    let differences = setting_differences(records);
    if differences.is_empty() {
        return String::new();
    }
    let mut html = String::from("<section><h2>Settings that differ</h2><div class=scroll><table><thead><tr><th>key");
    for name in names {
        let _ = write!(html, "<th>{}", escape(name));
    }
    html += "</thead><tbody>";
    for SettingDifference { key, values } in &differences {
        let _ = write!(html, "<tr><th>{}", escape(key));
        for value in values {
            let _ = write!(html, "<td>{}", escape(value.as_deref().unwrap_or("–")));
        }
    }
    html + "</tbody></table></div></section>"
}

#[cfg(test)]
mod tests {
    use medley_run::metrics::Metrics;
    use medley_run::{RunDir, RunState};

    use super::*;
    use crate::test_metrics::{text, train};

    #[test]
    fn runs_of_one_name_are_told_apart_and_names_stay_text() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let records: Vec<RunRecord> = ["a/<i>run", "b/<i>run", "other"]
            .map(|name| {
                let run = RunDir::open(&folder.path().join(name)).expect("free");
                run.write_state(&RunState::new("x", "00ff")).expect("written");
                std::fs::write(run.metrics(), text(&[Metrics::Train(train(10, 2.0))])).expect("written");
                RunRecord::read(run.root()).expect("a run")
            })
            .into();
        let names = run_names(&records);
        assert!(names[0].ends_with("a/<i>run") && names[2] == "other", "{names:?}");
        let html = comparison_page(&records, 0);
        assert!(html.contains("a/&lt;i&gt;run") && !html.contains("<i>run"), "{html}");
        assert!(html.contains("Training loss"));
    }
}
