//! `medley mix --recipe R --out DIR`: the data of a recipe, mixed and written.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use medley_mixer::lineage::Lock;
use medley_mixer::{MixContext, OutFolder};
use medley_mixture::MixFolder;
use miette::{IntoDiagnostic, miette};

use crate::choice::RecipeChoice;
use crate::errors::report;
use crate::mix::context::with_context;
use crate::mix::shard::{self, ShardArgs};
use crate::mix::{NO_MIX, page};
use crate::progress;

/// Arguments of a mix that is made.
#[derive(clap::Args)]
pub struct MakeArgs {
    #[command(flatten)]
    pub recipe: Option<RecipeChoice>,
    /// Output folder for mix.jsonl, validation.jsonl, ledger.json and manifest.json
    #[arg(long, value_name = "DIR", required_unless_present_any = NO_MIX)]
    out: Option<PathBuf>,
    /// Threads; the result does not depend on them [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Write DIR/report.html, too: the mix as one HTML page
    #[arg(long, requires = "recipe")]
    report: bool,
    /// Refuse sources that are not those of this manifest [default: the one in --out]; hub data sets are taken at its commits
    #[arg(long, value_name = "MANIFEST", num_args = 0..=1, requires = "recipe")]
    locked: Option<Option<PathBuf>>,
    #[command(flatten)]
    pieces: ShardArgs,
}

impl MakeArgs {
    /// The number of threads, if given.
    pub fn threads(&self) -> Option<usize> {
        self.threads.map(usize::from)
    }

    fn lock(&self, out: &Path) -> miette::Result<Option<Lock>> {
        let path = self.locked.as_ref().map(|path| path.as_deref().unwrap_or(out));
        path.map(Lock::read).transpose().map_err(report)
    }
}

/// Mixes, writes and prints the ledger.
pub fn run(args: &MakeArgs, json: bool) -> miette::Result<ExitCode> {
    let (Some(recipe), Some(out)) = (&args.recipe, &args.out) else {
        return Err(miette!("--recipe and --out are required"));
    };
    let mut resolved = recipe.load()?;
    let lock = args.lock(out)?;
    if let Some(lock) = &lock {
        lock.pin(&mut resolved.recipe.mix);
    }
    let (spec, pieces) = (&resolved.recipe.mix, &args.pieces);
    if let Some(shard) = pieces.shard {
        return shard::run(&resolved, args.threads(), (shard, pieces.margin), out, json);
    }
    let mut folder = OutFolder::claim(out).map_err(report)?;
    page::check_own(out)?;
    let mix = with_context(&resolved, args.threads(), |context| {
        let context = &MixContext { out: Some(&folder), ..*context };
        match pieces.merge.as_slice() {
            [] => medley_mixer::mix(spec, context).map_err(report),
            shards => medley_mixer::merge_shards(spec, context, shards).map_err(report),
        }
    })?;
    lock.map_or(Ok(()), |lock| lock.check(mix.manifest())).map_err(report)?;
    // Removes the page of an earlier mix.
    folder.write(&mix, &[page::PAGE]).map_err(report)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&mix.ledger).into_diagnostic()?);
    } else {
        print!("{}", mix.ledger);
    }
    progress::say(format!("wrote {} samples to {}", mix.train.len(), out.join("mix.jsonl").display()));
    if args.report {
        page::write(&MixFolder::open(out).map_err(report)?, false)?;
    }
    Ok(ExitCode::SUCCESS)
}
