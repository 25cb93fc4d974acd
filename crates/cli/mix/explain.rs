//! `medley mix --recipe R --explain KEY`: why a record is in the mix, or is not.

use std::process::ExitCode;

use medley_mixer::lineage::explain;
use medley_recipe::Resolved;
use miette::IntoDiagnostic;

use crate::errors::report;
use crate::mix::context::with_context;

/// Arguments of the explanation.
#[derive(clap::Args)]
pub struct ExplainArgs {
    /// Explain why a record is in the recipe's mix or not: KEY is its `key` in mix.jsonl, or a place as the ledger writes it
    /// (file:line)
    #[arg(long, value_name = "KEY", requires = "recipe", conflicts_with_all = ["out", "verify"])]
    pub explain: Option<String>,
}

/// Prints the record, its places, and the decision of each stage.
pub fn run(target: &str, resolved: &Resolved, threads: Option<usize>, json: bool) -> miette::Result<ExitCode> {
    let spec = &resolved.recipe.mix;
    let found = with_context(resolved, threads, |context| explain(target, spec, context).map_err(report))?;
    if json {
        println!("{}", serde_json::to_string_pretty(&found).into_diagnostic()?);
    } else {
        print!("{found}");
    }
    Ok(ExitCode::SUCCESS)
}
