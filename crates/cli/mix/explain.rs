//! `medley mix --recipe R --explain KEY`: why a record is in the mix, or is not.

use std::process::ExitCode;

use medley_mixer::lineage::{Explanation, Sighting, explain};
use medley_recipe::Resolved;
use medley_view::wrapped;
use miette::IntoDiagnostic;

use crate::errors::report;
use crate::mix::context::with_context;
use crate::screen;

/// Arguments of the explanation.
#[derive(clap::Args)]
pub struct ExplainArgs {
    /// Explain why a record is in the recipe's mix or not: KEY is its `key` in mix.jsonl, or a line of the
    /// record in its source (FILE:LINE)
    #[arg(long, value_name = "KEY", requires = "recipe", conflicts_with_all = ["out", "verify"])]
    pub explain: Option<String>,
}

/// Places and messages of the record, then the decisions, wrapped at `width` columns.
fn as_text(found: &Explanation, width: usize) -> String {
    let mut text = String::new();
    for Sighting { source, file, line, record, .. } in &found.places {
        let number = if record > line { format!("#{record}") } else { String::new() };
        text += &format!("{source}: {file}:{line}{number}\n");
    }
    for message in &found.messages {
        text += &format!("  {}: {}\n", message.role.as_str(), message.content.replace('\n', "\n    "));
    }
    found.steps.iter().for_each(|step| text += &format!("{}\n", wrapped(step, width, 2)));
    text
}

/// Prints the record, its places, and the decision of each stage.
pub fn run(target: &str, resolved: &Resolved, threads: Option<usize>, json: bool) -> miette::Result<ExitCode> {
    let spec = &resolved.recipe.mix;
    let found = with_context(resolved, threads, |context| explain(target, spec, context).map_err(report))?;
    if json {
        println!("{}", serde_json::to_string_pretty(&found).into_diagnostic()?);
    } else {
        print!("{}", as_text(&found, screen::style().width));
    }
    Ok(ExitCode::SUCCESS)
}
