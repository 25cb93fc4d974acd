//! `medley preview`: samples as the model sees them.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use console::{Term, style};
use medley_chat::{ChatTokenizer, CutPart, EncodedSample, Preview, PreviewStyle, Rejection};
use medley_mixture::{MixedRecord, MixtureRatio, Order, TrainingOrder, Unit};
use medley_recipe::Resolved;
use medley_trainer::batching::Batches;
use medley_view::wrapped;
use miette::{Diagnostic as _, IntoDiagnostic, miette};
use serde_json::json;

use crate::base::tokenizer_directory;
use crate::choice::RecipeChoice;
use crate::encode::encode;
use crate::errors::report;
use crate::exam_check::papers;
use crate::mix::mix_recipe;
use crate::{preview_exam, progress, screen};

/// Width for standard output that is not a terminal, in columns.
const PIPE_WIDTH: usize = 100;

/// Columns shown of a cut text.
const CUT_WIDTH: usize = 240;

/// Arguments of `medley preview`.
#[derive(clap::Args)]
pub struct PreviewArgs {
    #[command(flatten)]
    recipe: RecipeChoice,
    /// How many samples
    #[arg(short = 'n', long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    samples: u16,
    /// Only samples of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// The samples of these optimizer steps, in training order: 17, or 10-20
    #[arg(long, value_name = "STEPS", conflicts_with_all = ["samples", "source"], value_parser = steps)]
    step: Option<RangeInclusive<usize>>,
    /// Show prompts of the recipe's exam instead of samples
    #[arg(long, conflicts_with_all = ["source", "step"])]
    exam: bool,
    /// One JSON object per sample, with its ids and labels
    #[arg(long)]
    json: bool,
}

/// `17` or `10-20`, from 1 as in the metrics.
fn steps(text: &str) -> Result<RangeInclusive<usize>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let number = |text: &str| text.trim().parse::<usize>().map_err(|_| format!("`{text}` is not the number of a step"));
    let (first, last) = (number(first)?, number(last)?);
    if first == 0 || last < first {
        return Err("steps count from 1, and a range goes up, such as 10-20".to_owned());
    }
    Ok(first..=last)
}

/// Mixes, encodes with the recipe's model and shows samples.
pub fn run(args: PreviewArgs) -> miette::Result<()> {
    let mut resolved = args.recipe.load()?;
    if args.exam {
        return preview_exam::run(&resolved, usize::from(args.samples), args.json);
    }
    let chat = resolved.recipe.chat.clone();
    // The tokenizer first: its errors come sooner than those of the mix.
    let directory = tokenizer_directory(&resolved)?;
    let tokenizer = ChatTokenizer::from_dir(&directory).map_err(report)?.with_system(chat.system.clone());
    let show = Show { tokenizer: &tokenizer, max_tokens: chat.max_tokens, json: args.json };
    let learned = match args.step {
        Some(steps) => show_steps(&resolved, &show, steps)?,
        None => {
            let samples = usize::from(args.samples);
            make_small(&mut resolved, args.source.as_deref(), samples)?;
            let mix = mix_recipe(&resolved, &tokenizer, &papers(&resolved)?)?;
            let mut learned = false;
            let records = mix.train.records();
            for (number, record) in take_turns(&records, samples).into_iter().enumerate() {
                learned |= show.record(record, &format!("{}", number + 1), None)?;
            }
            learned
        }
    };
    if !args.json {
        progress::say(legend());
    }
    if learned {
        return Ok(());
    }
    let help =
        "check the model's chat template (chat_template in tokenizer_config.json), chat.system and chat.max_tokens";
    Err(miette!(help = help, "no token of the samples shown is learned: training on them is refused"))
}

/// Shows the samples of these optimizer steps, from the whole mix in training order; whether any token is learned.
fn show_steps(resolved: &Resolved, show: &Show<'_>, steps: RangeInclusive<usize>) -> miette::Result<bool> {
    let (recipe, spec) = (&resolved.recipe, &resolved.recipe.train);
    let mut mix = mix_recipe(resolved, show.tokenizer, &papers(resolved)?)?;
    let (train, _) = encode(&mut mix, show.tokenizer, &recipe.chat)?;
    let records: HashMap<_, _> = mix.train.iter().map(|record| ((record.key, record.copy), record)).collect();
    let order = TrainingOrder::of(&recipe.mix).map_err(report)?;
    let mut batches = Batches::new(&train, spec.batch_size, spec.seed, &order);
    let total = batches.total_steps(spec.epochs, spec.max_steps);
    if *steps.end() > total {
        return Err(miette!("step {} is past the end: this recipe trains {total} steps", steps.end()));
    }
    let mut learned = false;
    for step in steps {
        for (number, index) in batches.step(step - 1).into_iter().enumerate() {
            let origin = &train[index].origin;
            let record = &records[&(origin.key, origin.copy)];
            learned |= show.record(record, &format!("step {step}, {}", number + 1), Some(step))?;
        }
    }
    Ok(learned)
}

/// How samples are shown.
struct Show<'a> {
    tokenizer: &'a ChatTokenizer,
    max_tokens: usize,
    json: bool,
}

impl Show<'_> {
    /// Shows a sample; whether any of its tokens is learned.
    fn record(&self, record: &MixedRecord, place: &str, step: Option<usize>) -> miette::Result<bool> {
        let shown = self.tokenizer.preview(&record.messages, self.max_tokens, look());
        let learned = shown.as_ref().is_ok_and(|shown| shown.sample.supervised_tokens() > 0);
        if self.json {
            println!(
                "{}",
                medley_chat::escaped(
                    &as_json(record, step, shown.as_ref().map(|shown| &shown.sample)).into_diagnostic()?
                )
            );
            return Ok(learned);
        }
        let title = format!("{place} · {} · {}:{}", record.source, record.file, record.line);
        println!("{}", style(title).bold());
        match shown {
            Ok(Preview { sample, text }) => println!("{}\n\n{text}", counts(&sample, self.max_tokens)),
            Err(rejection) => {
                let text = format!("left out: {}", explained(&rejection));
                let text = wrapped(&text, screen::style().width, 2);
                println!("{}\n", style(text).red());
            }
        }
        Ok(learned)
    }
}

/// Why a sample is left out, and the remedy.
fn explained(rejection: &Rejection) -> String {
    match rejection.help() {
        Some(help) => format!("{rejection}; {help}"),
        None => rejection.to_string(),
    }
}

/// Shrinks the mix. Mixes of growing size are nested, so its samples are among those of the whole mix.
fn make_small(resolved: &mut Resolved, source: Option<&str>, samples: usize) -> miette::Result<()> {
    let mix = &mut resolved.recipe.mix;
    if mix.epochs.is_empty() {
        // A few samples, whatever the unit of `mix.size`.
        let samples = samples * 20;
        mix.size = if mix.size_in == Unit::Samples { mix.size.min(samples) } else { samples };
    }
    (mix.size_in, mix.ratio_in) = (Unit::Samples, Unit::Samples);
    match source {
        None => {}
        Some(name) if mix.sources.contains_key(name) => {
            mix.ratio = MixtureRatio::Source(name.to_owned());
            (mix.ratio_end, mix.order) = (None, Order::default());
            mix.epochs.clear();
            mix.size = samples;
        }
        Some(name) => {
            let known: Vec<&str> = mix.sources.keys().map(String::as_str).collect();
            let help = format!("the recipe's sources are {}", known.join(", "));
            return Err(miette!(help = help, "there is no source `{name}`"));
        }
    }
    Ok(())
}

/// The first `count` records, one of every source in turn, so that rare sources are seen too.
fn take_turns(records: &[MixedRecord], count: usize) -> Vec<&MixedRecord> {
    let mut seen = HashMap::new();
    let mut turns: Vec<(usize, usize)> = records
        .iter()
        .enumerate()
        .map(|(place, record)| {
            let turn = seen.entry(record.source.as_str()).or_insert(0);
            *turn += 1;
            (*turn, place)
        })
        .collect();
    turns.sort_unstable();
    turns.into_iter().take(count).map(|(_, place)| &records[place]).collect()
}

/// Style of previews on this terminal.
pub fn look() -> PreviewStyle {
    let terminal = Term::stdout();
    let width = if terminal.is_term() { usize::from(terminal.size().1).max(20) } else { PIPE_WIDTH };
    PreviewStyle { colour: console::colors_enabled(), width, cut_width: CUT_WIDTH }
}

/// `412 of 1024 tokens, 57 learned, 120 cut (passage 100, history 20)`.
fn counts(sample: &EncodedSample, max_tokens: usize) -> String {
    let mut text =
        format!("{} of at most {max_tokens} tokens, {} learned", sample.input_ids.len(), sample.supervised_tokens());
    if sample.truncated_tokens > 0 {
        let parts = [CutPart::Passage, CutPart::Text, CutPart::History, CutPart::Answer];
        let cut =
            |part: &CutPart| sample.cuts.iter().filter(|cut| cut.part == *part).map(|cut| cut.tokens).sum::<usize>();
        let parts: Vec<String> =
            parts.iter().filter(|part| cut(part) > 0).map(|part| format!("{} {}", part.as_str(), cut(part))).collect();
        text.push_str(&format!(", {} cut ({})", sample.truncated_tokens, parts.join(", ")));
    }
    if sample.supervised_ends == 0 {
        text.push_str(", no end of turn learned");
    }
    text
}

fn as_json(
    record: &MixedRecord,
    step: Option<usize>,
    sample: Result<&EncodedSample, &medley_chat::Rejection>,
) -> serde_json::Result<String> {
    let mut object = json!({ "source": record.source, "file": record.file, "line": record.line });
    if let Some(step) = step {
        object["step"] = json!(step);
    }
    match sample {
        Ok(sample) => {
            object["tokens"] = json!(sample.input_ids.len());
            object["supervised_tokens"] = json!(sample.supervised_tokens());
            object["truncated_tokens"] = json!(sample.truncated_tokens);
            object["cuts"] = serde_json::to_value(&sample.cuts)?;
            object["input_ids"] = json!(sample.input_ids);
            object["labels"] = json!(sample.labels);
        }
        Err(rejection) => {
            object["rejected"] = json!({ "reason": rejection.reason(), "message": rejection.to_string() })
        }
    }
    serde_json::to_string(&object)
}

fn legend() -> String {
    if console::colors_enabled() {
        let cut = style("cut").red().strikethrough();
        format!("{} · {} · {cut}", style("read").dim(), style("learned").green())
    } else {
        "read · ⟦learned⟧ · ⟪cut⟫".to_owned()
    }
}
