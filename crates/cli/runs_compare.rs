//! `medley runs compare`: the curves of several runs over tokens.

use std::path::PathBuf;

use clap::Args;
use console::Term;
use medley_experiment::runs::{RunOverview, RunRecord, comparison_charts, comparison_page, run_list};
use medley_experiment::{atomic, seconds_since_1970};
use miette::{Result, miette};

use crate::errors::report;
use crate::progress::say;
use crate::runs_chart;
use crate::runs_show::{find, width};

/// Arguments of `medley runs compare`.
#[derive(Args)]
pub struct CompareArgs {
    /// Folders of runs, or their names in checkpoints
    #[arg(value_name = "RUN", required = true, num_args = 2..)]
    runs: Vec<PathBuf>,
    /// Write the comparison as an HTML page, too
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Runs `medley runs compare`.
pub fn run(args: &CompareArgs) -> Result<()> {
    let mut records = Vec::new();
    for run in &args.runs {
        records.push(RunRecord::read(&find(run)?).map_err(report)?);
    }
    let overviews: Vec<RunOverview> = records.iter().map(|record| record.overview.clone()).collect();
    println!("{}", run_list(&overviews, seconds_since_1970()));
    print!("{}", runs_chart::draw(&comparison_charts(&records), "tokens", width(&Term::stdout())));
    if let Some(path) = &args.html {
        atomic::write_file(path, comparison_page(&records, seconds_since_1970()).as_bytes()).map_err(|error| {
            miette!(help = "choose another place with --html FILE", "the page cannot be written: {error}")
        })?;
        say(format!("page     {}", path.display()));
    }
    Ok(())
}
