//! `medley mix --recipe R --out DIR`: the data of a recipe, mixed and written.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use medley_chat::ChatTokenizer;
use medley_eval::load_papers;
use medley_mixer::{MeasureTokens, Mix, MixContext, MixProgress, MixSpec, hub::Hub};
use medley_recipe::Resolved;
use miette::{IntoDiagnostic, miette};

use crate::base::tokenizer_directory;
use crate::choice::RecipeChoice;
use crate::encode::TokenMeasure;
use crate::errors::report;
use crate::mix::{NO_MIX, page};
use crate::progress;

/// Arguments of a mix that is made.
#[derive(clap::Args)]
pub struct MakeArgs {
    #[command(flatten)]
    recipe: Option<RecipeChoice>,
    /// Where mix.jsonl, validation.jsonl, ledger.json and manifest.json go
    #[arg(long, value_name = "DIR", required_unless_present_any = NO_MIX)]
    out: Option<PathBuf>,
    /// Threads; the result does not depend on them [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Write DIR/report.html, too: the mix as one HTML page
    #[arg(long, requires = "recipe")]
    report: bool,
}

/// Mixes, writes and prints the ledger.
pub fn run(args: &MakeArgs, json: bool) -> miette::Result<ExitCode> {
    let (Some(recipe), Some(out)) = (&args.recipe, &args.out) else {
        return Err(miette!("--recipe and --out are needed"));
    };
    let resolved = recipe.load()?;
    let tokenizer = counting_tokenizer(&resolved)?;
    let mix = mix_counted(&resolved, tokenizer.as_ref(), args.threads.map(usize::from))?;
    // The page of an earlier mix in this folder would tell of another.
    remove_page(out)?;
    mix.write(out).map_err(report)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&mix.ledger).into_diagnostic()?);
    } else {
        print!("{}", mix.ledger);
    }
    progress::say(format!("wrote {} samples to {}", mix.train.len(), out.join("mix.jsonl").display()));
    if args.report { page::run(out, false) } else { Ok(ExitCode::SUCCESS) }
}

fn remove_page(out: &Path) -> miette::Result<()> {
    let page = out.join(page::PAGE);
    match std::fs::remove_file(&page) {
        Err(error) if error.kind() != ErrorKind::NotFound && error.kind() != ErrorKind::NotADirectory => {
            Err(miette!(help = "remove it, or choose another folder", "{}: {error}", page.display()))
        }
        _ => Ok(()),
    }
}

/// The tokenizer that a mix counts with, where it counts tokens.
fn counting_tokenizer(resolved: &Resolved) -> miette::Result<Option<ChatTokenizer>> {
    if !resolved.recipe.mix.needs_tokens() {
        return Ok(None);
    }
    let tokenizer = ChatTokenizer::from_dir(&tokenizer_directory(resolved)?).map_err(report)?;
    Ok(Some(tokenizer.with_system(resolved.recipe.chat.system.clone())))
}

/// The mix of a recipe: exam items kept out, licences said, progress shown; tokens are counted as training counts them.
pub fn mix_recipe(resolved: &Resolved, tokenizer: &ChatTokenizer, threads: Option<usize>) -> miette::Result<Mix> {
    mix_counted(resolved, Some(tokenizer), threads)
}

fn mix_counted(resolved: &Resolved, tokenizer: Option<&ChatTokenizer>, threads: Option<usize>) -> miette::Result<Mix> {
    let recipe = &resolved.recipe;
    let measure = tokenizer.map(|tokenizer| TokenMeasure::new(tokenizer, &recipe.chat)).transpose()?;
    say_licences(&recipe.mix);
    let base_dir: &Path = &resolved.base_dir;
    let papers = load_papers(&recipe.exam.papers, base_dir).map_err(report)?;
    let questions: Vec<String> = papers.questions().map(str::to_owned).collect();
    let bar = progress::bar("mixing", 0);
    let show = |now: MixProgress<'_>| {
        bar.set_length(now.total_bytes >> 20);
        bar.set_position(now.bytes >> 20);
        let rate = bar.per_sec() * f64::from(1 << 20) / 1e9;
        bar.set_message(format!("MiB, {rate:.2} GB/s, {} records, {}", now.records, now.source));
    };
    let hub = Hub::from_env().with_bars(progress::bars().clone());
    let context = MixContext {
        exam_questions: &questions,
        measure: measure.as_ref().map(|measure| measure as &dyn MeasureTokens),
        hub: Some(&hub),
        threads,
        progress: Some(&show),
        ..MixContext::new(base_dir)
    };
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
