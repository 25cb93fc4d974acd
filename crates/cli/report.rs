//! `medley report`: runs as the paper's tables, from their folders alone.

use std::path::PathBuf;

use clap::Args;
use medley_experiment::{PaperTable, read_runs, tabulate};
use miette::{IntoDiagnostic, Result};

use crate::errors::report;

/// Arguments of `medley report`.
#[derive(Args)]
pub struct ReportArgs {
    /// Folders of runs, such as checkpoints/ratio-*
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
    let runs = read_runs(&args.runs).map_err(report)?;
    let wanted = match args.paper {
        Some(4) => vec![PaperTable::Table4],
        Some(_) => vec![PaperTable::Table5],
        None => PaperTable::fitting(&runs),
    };
    let tables: Vec<_> = wanted.into_iter().map(|table| tabulate(table, &runs)).collect();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&tables).into_diagnostic()?);
        return Ok(());
    }
    for (number, table) in tables.iter().enumerate() {
        if args.csv {
            print!("{}", if number == 0 { table.to_csv() } else { table.csv_rows() });
            // Notes do not fit into cells, and must not be lost.
            table.notes.iter().for_each(|note| eprintln!("note: {note}"));
        } else {
            println!("{}", table.render());
        }
    }
    Ok(())
}
