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
    /// Make the recipe's mix again and check that DIR is bit-identical, or name the file or setting that changed. The exit
    /// status is 0 when it is, 1 when it is not, 2 on errors
    #[arg(long, value_name = "DIR", requires = "recipe", conflicts_with = "out")]
    pub verify: Option<PathBuf>,
}

/// Prints what was compared, and the differences.
pub fn run(folder: &Path, resolved: &Resolved, threads: Option<usize>, json: bool) -> miette::Result<ExitCode> {
    let folder = &named_run::mix_or_run(folder)?;
    let spec = &resolved.recipe.mix;
    let found = with_context(resolved, threads, |context| verify(folder, spec, context).map_err(report))?;
    if json {
        println!("{}", serde_json::to_string_pretty(&found).into_diagnostic()?);
    } else {
        found.checked.iter().chain(&found.problems).for_each(|line| println!("{line}"));
    }
    let verdict = if found.verified {
        "verified: bit-identical to a mix of its sources"
    } else {
        "NOT verified: the mix differs"
    };
    say(format!("{}: {verdict}", folder.display()));
    Ok(ExitCode::from(u8::from(!found.verified)))
}
