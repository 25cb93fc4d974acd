//! `medley report`: runs as the paper's tables, from their folders alone.

use std::path::PathBuf;

use clap::Args;
use medley_view::runs::plain;
use medley_view::{PaperTable, RunSummary, read_runs, tabulate};
use miette::{IntoDiagnostic, Result, miette};

use crate::named_run;
use crate::progress::say;
use crate::screen::{self, relative};

/// Arguments of `medley report`.
#[derive(Args)]
pub struct ReportArgs {
    /// Runs (folders such as checkpoints/ratio-*, names, hashes), or folders of runs
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// Which table of the paper [default: the one that the runs fit, or both]
    #[arg(long, value_name = "TABLE", value_parser = clap::value_parser!(u8).range(4..=5))]
    paper: Option<u8>,
    /// Print the tables as JSON
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print the cells as CSV
    #[arg(long)]
    csv: bool,
}

/// Runs `medley report`.
pub fn run(args: ReportArgs) -> Result<()> {
    let runs = readable(&args.runs)?;
    let wanted = match args.paper {
        Some(4) => vec![PaperTable::Table4],
        Some(_) => vec![PaperTable::Table5],
        None => PaperTable::fitting(&runs),
    };
    let tables: Vec<_> = wanted.into_iter().map(|table| tabulate(table, &runs)).collect();
    if args.json {
        println!("{}", medley_chat::escaped(&serde_json::to_string_pretty(&tables).into_diagnostic()?));
        return Ok(());
    }
    for (number, table) in tables.iter().enumerate() {
        if args.csv {
            print!("{}", if number == 0 { table.to_csv() } else { table.csv_rows() });
            // CSV has no place for notes.
            table.notes.iter().for_each(|note| say(format!("note: {}", plain(note))));
        } else {
            println!("{}", table.render(screen::style().width));
        }
    }
    Ok(())
}

/// The readable runs; others are skipped with a notice.
fn readable(names: &[PathBuf]) -> Result<Vec<RunSummary>> {
    let mut folders = Vec::new();
    let mut skipped = 0;
    let mut skip = |problem: String| {
        skipped += 1;
        say(format!("skipped  {}", plain(&problem)));
    };
    for name in names {
        match named_run::runs(name) {
            Ok(found) => folders.extend(found.iter().map(|folder| relative(folder))),
            Err(error) => skip(error.to_string()),
        }
    }
    let (runs, unreadable) = read_runs(&folders);
    unreadable.iter().for_each(|error| skip(format!("{}: {}", error.path, error.reason)));
    if runs.is_empty() {
        return Err(miette!(
            help = "name runs by folder, name or hash, such as checkpoints/ratio-*; `medley runs` lists them",
            "no run is left to tabulate: none of {skipped} could be read"
        ));
    }
    Ok(runs)
}
