//! `medley runs`: list of runs with their state.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use medley_run::seconds_since_1970;
use medley_view::runs::{RunOverview, RunStatus, find_runs, plain, run_list};
use miette::{IntoDiagnostic, Result, miette};

use crate::errors::report;
use crate::progress::say;
use crate::runs_compare::{self, CompareArgs};
use crate::runs_show::{self, ShowArgs};
use crate::screen::{self, relative};

/// Arguments of `medley runs`.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct RunsArgs {
    #[command(flatten)]
    list: ListArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Show a run: its curves, mix and exam in the terminal, and all of it as one HTML page
    Show(ShowArgs),
    /// Compare runs: exam scores with intervals, loss over tokens, the settings that differ
    Compare(CompareArgs),
}

/// Arguments of the list.
#[derive(Args)]
struct ListArgs {
    /// Folders with runs, two levels deep [default: checkpoints]
    #[arg(value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// Only runs of this status: training, examining, killed, stopped, trained, complete, failed, damaged
    #[arg(long, value_name = "STATUS", value_delimiter = ',')]
    status: Vec<RunStatus>,
    /// Order of the list
    #[arg(long, value_name = "KEY", default_value = "written")]
    sort: Order,
    /// Print the runs as a JSON array
    #[arg(long)]
    json: bool,
}

/// Order of the list.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Order {
    /// Most recently written first
    Written,
    /// By folder
    Name,
    /// The lowest validation loss first
    Validation,
    /// The best open-book accuracy first
    Exam,
}

/// Runs `medley runs`.
pub fn run(args: RunsArgs) -> Result<()> {
    match args.command {
        Some(Command::Show(show)) => runs_show::run(&show),
        Some(Command::Compare(compare)) => runs_compare::run(&compare),
        None => list(&args.list),
    }
}

fn list(args: &ListArgs) -> Result<()> {
    let given = if args.folders.is_empty() { vec![PathBuf::from("checkpoints")] } else { args.folders.clone() };
    if args.folders.is_empty() && !given[0].exists() {
        return Err(miette!(
            help = "`medley train` puts runs there; for runs elsewhere name their folder: medley runs DIR",
            "there is no folder `checkpoints` here"
        ));
    }
    let given: Vec<PathBuf> = given.iter().map(|folder| relative(folder)).collect();
    let found = find_runs(&given).map_err(report)?;
    let mut runs: Vec<RunOverview> = found.runs.iter().map(|folder| RunOverview::read(folder)).collect();
    runs.retain(|run| args.status.is_empty() || args.status.contains(&run.status));
    sort(&mut runs, args.sort);
    if args.json {
        println!("{}", medley_chat::escaped(&serde_json::to_string_pretty(&runs).into_diagnostic()?));
    } else if !runs.is_empty() {
        print!("{}", run_list(&runs, seconds_since_1970(), screen::style()));
    } else if args.status.is_empty() {
        say(format!("no runs in {}", names(&given)));
    } else {
        say(format!("no such runs in {}, of {} in all", names(&given), found.runs.len()));
    }
    let foreign = found.foreign.iter().map(|folder| plain(&folder.display().to_string()));
    foreign.for_each(|folder| say(format!("note: {folder}: no run in it")));
    Ok(())
}

fn names(folders: &[PathBuf]) -> String {
    folders.iter().map(|folder| plain(&folder.display().to_string())).collect::<Vec<_>>().join(", ")
}

fn sort(runs: &mut [RunOverview], order: Order) {
    let loss = |run: &RunOverview| run.validation_loss.filter(|loss| loss.is_finite()).unwrap_or(f64::INFINITY);
    let exam = |run: &RunOverview| run.exam.map_or(f64::NEG_INFINITY, |exam| exam.value);
    match order {
        Order::Written => runs.sort_by_key(|run| std::cmp::Reverse(run.updated)),
        Order::Name => runs.sort_by(|a, b| a.path.cmp(&b.path)),
        Order::Validation => runs.sort_by(|a, b| loss(a).total_cmp(&loss(b))),
        Order::Exam => runs.sort_by(|a, b| exam(b).total_cmp(&exam(a))),
    }
}
