//! `medley mix`: the data of a recipe, mixed and written.

use std::path::{Path, PathBuf};

use medley_mixer::{Mix, MixContext, MixError, MixProgress, MixSpec, exam_questions, hub::Hub};
use medley_recipe::Resolved;
use miette::{IntoDiagnostic, MietteDiagnostic, Report};

use crate::progress;

/// Arguments of `medley mix`.
#[derive(clap::Args)]
pub struct MixArgs {
    /// Recipe: a file, or the name of one here, in ./recipes or shipped with Medley
    #[arg(long, value_name = "RECIPE")]
    recipe: String,
    /// Set a value of the recipe, such as mix.size=2000 (again for more)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where mix.jsonl, validation.jsonl, ledger.json and manifest.json go
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Threads; the result does not depend on them [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Print the ledger as JSON
    #[arg(long)]
    json: bool,
}

/// Mixes, writes and prints the ledger.
pub fn run(args: MixArgs) -> miette::Result<()> {
    let resolved = medley_recipe::load(&args.recipe, &args.set)?;
    let mix = mix_recipe(&resolved, args.threads.map(usize::from))?;
    mix.write(&args.out).map_err(report)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&mix.ledger).into_diagnostic()?);
    } else {
        print!("{}", mix.ledger);
    }
    progress::say(format!("wrote {} samples to {}", mix.train.len(), args.out.join("mix.jsonl").display()));
    Ok(())
}

/// The mix of a recipe: exam items kept out, licences said, progress shown.
pub fn mix_recipe(resolved: &Resolved, threads: Option<usize>) -> miette::Result<Mix> {
    let recipe = &resolved.recipe;
    say_licences(&recipe.mix);
    let base_dir: &Path = &resolved.base_dir;
    let questions = exam_questions(&recipe.exam.papers, base_dir).map_err(report)?;
    let bar = progress::bar("mixing", 0);
    let show = |now: MixProgress<'_>| {
        bar.set_length(now.total_bytes >> 20);
        bar.set_position(now.bytes >> 20);
        bar.set_message(format!("MiB, {} records, {}", now.records, now.source));
    };
    let hub = Hub::from_env().with_bars(progress::bars().clone());
    let context = MixContext { base_dir, exam_questions: &questions, hub: Some(&hub), threads, progress: Some(&show) };
    let mix = medley_mixer::mix(&recipe.mix, &context).map_err(report);
    bar.finish_and_clear();
    mix
}

/// Names every source that may not be used commercially, once, before any work.
fn say_licences(spec: &MixSpec) {
    for (name, source) in &spec.sources {
        for part in source.parts.iter().filter(|part| part.commercial_use == Some(false)) {
            let licence = part.licence.as_deref().unwrap_or("no licence stated");
            progress::say(format!("note: `{}` ({name}) is not for commercial use ({licence})", part.path));
        }
    }
}

/// The error as the command line shows it, its hint apart.
pub fn report(error: MixError) -> Report {
    let text = error.to_string();
    let (problem, hint) = text.split_once("\n  hint: ").unwrap_or((&text, ""));
    let diagnostic = MietteDiagnostic::new(problem);
    Report::new(if hint.is_empty() { diagnostic } else { diagnostic.with_help(hint) })
}
