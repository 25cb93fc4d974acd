//! `medley mix --recipe R --verify DIR`: a mix made again from its sources and compared with what was written.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use medley_mixer::lineage::verify;
use medley_recipe::Resolved;
use miette::IntoDiagnostic;

use crate::errors::report;
use crate::mix::context::with_context;
use crate::named_run;
use crate::progress::say;

/// Arguments of the verification.
#[derive(clap::Args)]
pub struct VerifyArgs {
    /// Make the recipe's mix again and prove that DIR holds the same bits, or say which file or setting changed. The exit
    /// status is 0 when it does, 1 when not, 2 when that cannot be told
    #[arg(long, value_name = "DIR", requires = "recipe", conflicts_with = "out")]
    pub verify: Option<PathBuf>,
}

/// Prints what was compared, and what is not the same.
pub fn run(folder: &Path, resolved: &Resolved, threads: Option<usize>, json: bool) -> miette::Result<ExitCode> {
    let folder = &named_run::mix_or_run(folder)?;
    let spec = &resolved.recipe.mix;
    let found = with_context(resolved, None, threads, |context| verify(folder, spec, context).map_err(report))?;
    if json {
        println!("{}", serde_json::to_string_pretty(&found).into_diagnostic()?);
    } else {
        found.checked.iter().chain(&found.problems).for_each(|line| println!("{line}"));
    }
    let verdict = if found.verified { "verified: the mix is what its sources make" } else { "NOT the same" };
    say(format!("{}: {verdict}", folder.display()));
    Ok(ExitCode::from(u8::from(!found.verified)))
}
