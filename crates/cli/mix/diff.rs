//! `medley mix --diff A B`: two mixes side by side, from their folders alone.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use medley_mixture::diff::diff;
use miette::IntoDiagnostic;

use crate::errors::report;
use crate::named_run;

/// Arguments of the comparison.
#[derive(Args)]
pub struct DiffArgs {
    /// Compare two mixes (folders of mixes, or runs by folder, name or hash): settings, source files, samples. The exit status
    /// is 0 when they are identical, 1 when they differ, 2 on errors
    #[arg(long, value_names = ["A", "B"], num_args = 2)]
    pub diff: Vec<PathBuf>,
}

/// Prints the differences of the two mixes.
pub fn run([a, b]: [&PathBuf; 2], json: bool) -> miette::Result<ExitCode> {
    let (a, b) = (named_run::mix_or_run(a)?, named_run::mix_or_run(b)?);
    let found = diff(&a, &b).map_err(report)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&found).into_diagnostic()?);
    } else {
        print!("A  {}\nB  {}\n\n{found}", a.display(), b.display());
    }
    Ok(ExitCode::from(u8::from(!found.identical)))
}
