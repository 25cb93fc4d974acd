//! `medley mix`: makes the mix of a recipe, and compares, verifies, explains and shows mixes.
//!
//! Every task is named by one argument of the group `task`, and has a file of its own with its arguments and its `run`.

mod audit;
mod context;
mod diff;
mod explain;
mod make;
mod page;
mod shard;
mod verify;

use std::process::ExitCode;

use clap::{ArgGroup, Args};

pub use context::mix_recipe;
pub use page::check_own as check_own_page;

/// Arguments of `medley mix`: one task, and how its result is shown.
#[derive(Args)]
#[command(group(ArgGroup::new("task").args(["recipe", "report_of", "diff"]).required(true)))]
pub struct MixArgs {
    #[command(flatten)]
    make: make::MakeArgs,
    #[command(flatten)]
    audit: audit::AuditArgs,
    #[command(flatten)]
    page: page::PageArgs,
    #[command(flatten)]
    diff: diff::DiffArgs,
    #[command(flatten)]
    verify: verify::VerifyArgs,
    #[command(flatten)]
    explain: explain::ExplainArgs,
    /// Print the result (of a mix its ledger) as JSON
    #[arg(long)]
    json: bool,
}

/// Tasks that write no mix, and so need no `--out`.
const NO_MIX: [&str; 5] = ["report_of", "diff", "verify", "explain", "audit"];

impl MixArgs {
    /// Whether the task writes files rather than only printing.
    pub fn writes_a_mix(&self) -> bool {
        let only_printed = !self.diff.diff.is_empty()
            || self.page.report_of.is_some()
            || self.verify.verify.is_some()
            || self.explain.explain.is_some()
            || self.audit.audit;
        !only_printed
    }

    /// Exit status of errors: 2 for comparisons and verifications, where 1 means "different" as in diff(1); else 1.
    pub fn trouble(&self) -> u8 {
        if self.diff.diff.is_empty() && self.verify.verify.is_none() { 1 } else { 2 }
    }
}

/// Does the task that the arguments name.
pub fn run(args: &MixArgs) -> miette::Result<ExitCode> {
    if let [a, b] = args.diff.diff.as_slice() {
        return diff::run([a, b], args.json);
    }
    if let Some(folder) = &args.page.report_of {
        return page::run(folder, args.json);
    }
    if let (Some(folder), Some(recipe)) = (&args.verify.verify, &args.make.recipe) {
        return verify::run(folder, &recipe.load()?, args.make.threads(), args.json);
    }
    if let (Some(target), Some(recipe)) = (&args.explain.explain, &args.make.recipe) {
        return explain::run(target, &recipe.load()?, args.make.threads(), args.json);
    }
    if let (true, Some(recipe)) = (args.audit.audit, &args.make.recipe) {
        return audit::run(&recipe.load()?, args.make.threads(), args.json);
    }
    make::run(&args.make, args.json)
}
