//! Several runs on one page.

use maud::{Markup, html};
use medley_run::metrics::Curves;

use crate::page::{Page, footer};
use crate::runs::compare::{SettingDifference, comparison_charts, run_names, setting_differences};
use crate::runs::page::{exam, plot};
use crate::runs::record::RunRecord;
use crate::words::{short, significant, span};

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
    let charts = comparison_charts(records);
    let body = html! {
        header { h1 { (records.len()) " runs" } }
        section { (overview(records, &names)) }
        (exam::comparison(records, &names))
        @if !charts.is_empty() { section { h2 { "Curves over tokens" } (plot::charts(&charts, "tokens")) } }
        (settings(&setting_differences(records), &names))
        (footer(now, None))
        (plot::steps_data(&Curves::default()))
    };
    Page { title: "Comparison", refresh: None, body, script: Some(plot::SCRIPT) }.html()
}

/// One row for each run; columns without content are left out.
fn overview(records: &[RunRecord], names: &[String]) -> Markup {
    let filled = |cell: Cell| records.iter().any(|run| cell(run).is_some());
    let cells: Vec<_> = CELLS.iter().filter(|(_, cell)| filled(*cell)).collect();
    html! {
        div.scroll {
            table {
                thead { tr { th { "run" } @for (title, _) in &cells { th { (title) } } } }
                tbody {
                    @for (at, (record, name)) in records.iter().zip(names).enumerate() {
                        tr {
                            th { span.run { i class=(format!("c{}", at % plot::COLOURS)) {} (name) } }
                            @for (_, cell) in &cells { td { (cell(record).unwrap_or_default()) } }
                        }
                    }
                }
            }
        }
    }
}

/// The settings in which the runs differ.
fn settings(differences: &[SettingDifference], names: &[String]) -> Markup {
    html! {
        @if !differences.is_empty() {
            section {
                h2 { "Settings that differ" }
                div.scroll {
                    table {
                        thead { tr { th { "key" } @for name in names { th { (name) } } } }
                        tbody {
                            @for SettingDifference { key, values } in differences {
                                tr { th { (key) } @for value in values { td { (value.as_deref().unwrap_or("–")) } } }
                            }
                        }
                    }
                }
            }
        }
    }
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
