//! `medley mix --recipe R --shard I/N --out DIR` and `--merge DIR...`: a mix made in pieces.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use medley_mixer::{DEFAULT_MARGIN, ShardNumber, mix_shard};
use medley_recipe::Resolved;
use miette::IntoDiagnostic;

use crate::errors::report;
use crate::mix::context::with_context;
use crate::progress;

/// Arguments of a mix that is made in pieces.
#[derive(clap::Args)]
pub struct ShardArgs {
    /// Read shard I of N of the sources only and write it to the folder --out, to be merged with the others
    #[arg(long, value_name = "I/N", requires = "recipe", conflicts_with_all = ["merge", "report", "locked"])]
    pub shard: Option<ShardNumber>,
    /// Candidates that a shard keeps beyond what the mix needs, as a share of it [default: 0.05]
    #[arg(long, value_name = "SHARE", requires = "shard", value_parser = share)]
    pub margin: Option<f64>,
    /// Merge these shards, all that there are, instead of reading the sources: the result is the same
    #[arg(long, value_name = "DIR", num_args = 1.., requires = "recipe")]
    pub merge: Vec<PathBuf>,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share: &f64| share.is_finite() && *share >= 0.0);
    share.ok_or_else(|| "a share from 0, such as 0.05, or 1 for twice as many".to_owned())
}

/// Reads and writes a shard.
pub fn run(
    resolved: &Resolved,
    threads: Option<usize>,
    (shard, margin): (ShardNumber, Option<f64>),
    out: &Path,
    json: bool,
) -> miette::Result<ExitCode> {
    let margin = margin.unwrap_or(DEFAULT_MARGIN);
    let summary = with_context(resolved, threads, |context| {
        mix_shard(&resolved.recipe.mix, context, shard, margin, out).map_err(report)
    })?;
    if json {
        println!("{}", serde_json::to_string_pretty(&summary).into_diagnostic()?);
    }
    progress::say(format!(
        "wrote shard {shard} to {}: {} candidates of {} records; `--merge` with all {} shards makes the mix",
        out.display(),
        summary.candidates,
        summary.records,
        shard.of
    ));
    Ok(ExitCode::SUCCESS)
}
