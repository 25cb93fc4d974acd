//! Context of a recipe's mix: its folder, the exam's items, the hub, progress on the terminal.

use medley_chat::ChatTokenizer;
use medley_eval::{Item, Papers};
use medley_mixer::{Mix, MixContext, MixProgress};
use medley_mixture::{ExamItem, MeasureTokens, MixSpec};
use medley_recipe::Resolved;

use crate::base::tokenizer_directory;
use crate::encode::TokenMeasure;
use crate::errors::report;
use crate::exam_check::papers;
use crate::hub_bars;
use crate::progress;

/// The mix of a recipe without text of its `papers`; tokens are counted with `tokenizer` as training counts them.
pub fn mix_recipe(resolved: &Resolved, tokenizer: &ChatTokenizer, papers: &Papers) -> miette::Result<Mix> {
    with_papers(resolved, Some(tokenizer), None, papers, |context| {
        medley_mixer::mix(&resolved.recipe.mix, context).map_err(report)
    })
}

/// Does `work` in the context of a recipe's mix: exam items, hub, threads, progress; restrictive licences are printed. Reads
/// the recipe's papers, and the base model's tokenizer if the mix counts tokens.
pub fn with_context<T>(
    resolved: &Resolved,
    threads: Option<usize>,
    work: impl FnOnce(&MixContext<'_>) -> miette::Result<T>,
) -> miette::Result<T> {
    let tokenizer = counting_tokenizer(resolved)?;
    with_papers(resolved, tokenizer.as_ref(), threads, &papers(resolved)?, work)
}

fn with_papers<T>(
    resolved: &Resolved,
    tokenizer: Option<&ChatTokenizer>,
    threads: Option<usize>,
    papers: &Papers,
    work: impl FnOnce(&MixContext<'_>) -> miette::Result<T>,
) -> miette::Result<T> {
    let recipe = &resolved.recipe;
    let measure = tokenizer.map(|tokenizer| TokenMeasure::new(tokenizer, &recipe.chat)).transpose()?;
    let exam_items: Vec<ExamItem> = papers.items.iter().map(exam_item).collect();
    say_licences(&recipe.mix);
    let bar = progress::bar("mixing", 0);
    let show = |now: MixProgress<'_>| {
        bar.set_length(now.total_bytes >> 20);
        bar.set_position(now.bytes >> 20);
        let rate = bar.per_sec() * f64::from(1 << 20) / 1e9;
        bar.set_message(format!("MiB, {rate:.2} GB/s, {} records, {}", now.records, now.source));
    };
    let hub = hub_bars::hub();
    let result = work(&MixContext {
        exam_items: &exam_items,
        measure: measure.as_ref().map(|measure| measure as &dyn MeasureTokens),
        hub: Some(&hub),
        threads,
        progress: Some(&show),
        ..MixContext::new(&resolved.base_dir)
    });
    bar.finish_and_clear();
    result
}

/// An item of the exam, which must not be in the training data.
fn exam_item(item: &Item) -> ExamItem {
    ExamItem {
        id: item.id.clone(),
        question: item.question.clone(),
        options: item.options.iter().map(|option| option.text.clone()).collect(),
        passages: item.passages.clone(),
    }
}

/// The base model's tokenizer, if the mix counts tokens.
fn counting_tokenizer(resolved: &Resolved) -> miette::Result<Option<ChatTokenizer>> {
    if !resolved.recipe.mix.needs_tokens() {
        return Ok(None);
    }
    let tokenizer = ChatTokenizer::from_dir(&tokenizer_directory(resolved)?).map_err(report)?;
    Ok(Some(tokenizer.with_system(resolved.recipe.chat.system.clone())))
}

/// Prints the sources without a licence for commercial use.
fn say_licences(spec: &MixSpec) {
    for (name, source) in &spec.sources {
        for part in source.parts.iter().filter(|part| part.commercial_use == Some(false)) {
            let licence = part.licence.as_deref().unwrap_or("no licence stated");
            progress::say(format!("note: `{}` ({name}) is not for commercial use ({licence})", part.path));
        }
    }
}
