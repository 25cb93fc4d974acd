//! `medley mix`: the data of a recipe, mixed and written; and what is done with a mix that is there.
//!
//! Every task is named by one argument of the group `task`, and has a file of its own with its arguments and its `run`.

mod make;

use std::process::ExitCode;

use clap::{ArgGroup, Args};

pub use make::mix_recipe;

/// Arguments of `medley mix`: one task, and how its result is shown.
#[derive(Args)]
#[command(group(ArgGroup::new("task").args(["recipe"]).required(true)))]
pub struct MixArgs {
    #[command(flatten)]
    make: make::MakeArgs,
    /// Print the result (of a mix its ledger) as JSON
    #[arg(long)]
    json: bool,
}

impl MixArgs {
    /// The exit status of a task that could not be done. A comparison has 1 for "different", as `diff` does.
    pub fn trouble(&self) -> u8 {
        1
    }
}

/// Does the task that the arguments name.
pub fn run(args: &MixArgs) -> miette::Result<ExitCode> {
    make::run(&args.make, args.json)
}
