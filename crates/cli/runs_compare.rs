//! `medley runs compare`: exam scores, curves over tokens and settings of several runs.

use std::path::PathBuf;

use clap::Args;
use medley_run::{atomic, seconds_since_1970};
use medley_view::runs::{
    RunOverview, RunRecord, comparison_charts, comparison_page, exam_comparison_text, exam_comparisons, plain,
    run_list, setting_differences, settings_text,
};
use miette::{IntoDiagnostic, Result, miette};
use serde_json::json;

use crate::errors::report;
use crate::progress::say;
use crate::screen::{relative, style};
use crate::{named_run, runs_chart};

/// Arguments of `medley runs compare`.
#[derive(Args)]
pub struct CompareArgs {
    /// Runs: folders, names, hashes, or unique prefixes of these
    #[arg(value_name = "RUN", required = true, num_args = 2..)]
    runs: Vec<PathBuf>,
    /// Write the comparison as an HTML page, too
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print the runs, their exam scores and the settings that differ as JSON
    #[arg(long)]
    json: bool,
}

/// Runs `medley runs compare`.
pub fn run(args: &CompareArgs) -> Result<()> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for name in &args.runs {
        let folder = named_run::run(name)?;
        if folders.contains(&folder) {
            say(format!("note: {} is named twice", plain(&folder.display().to_string())));
            continue;
        }
        folders.push(folder);
    }
    let records: Vec<RunRecord> =
        folders.iter().map(|folder| RunRecord::read(folder).map_err(report)).collect::<Result<_>>()?;
    let overviews: Vec<RunOverview> = records.iter().map(|record| record.overview.clone()).collect();
    if args.json {
        let value = json!({
            "runs": overviews,
            "exams": exam_comparisons(&records),
            "settings": setting_differences(&records),
        });
        println!("{}", serde_json::to_string_pretty(&value).into_diagnostic()?);
    } else {
        let style = style();
        println!("{}", run_list(&overviews, seconds_since_1970(), style));
        print!("{}", exam_comparison_text(&records, style));
        print!("{}", runs_chart::draw(&comparison_charts(&records), "tokens", style.width));
        print!("{}", settings_text(&records, style));
    }
    if let Some(path) = &args.html {
        atomic::write_file(path, comparison_page(&records, seconds_since_1970()).as_bytes()).map_err(|error| {
            miette!(help = "choose another place with --html FILE", "the page cannot be written: {error}")
        })?;
        say(format!("page     {}", relative(path).display()));
    }
    Ok(())
}
