//! What a mix of a recipe needs besides the recipe: its folder, the exam's items, the hub, progress on the terminal.

use medley_chat::ChatTokenizer;
use medley_eval::{Item, Papers};
use medley_hub::Hub;
use medley_mixer::{Mix, MixContext, MixProgress};
use medley_mixture::{ExamItem, MeasureTokens, MixSpec};
use medley_recipe::Resolved;

use crate::base::tokenizer_directory;
use crate::encode::TokenMeasure;
use crate::errors::report;
use crate::exam_check::papers;
use crate::progress;

/// The mix of a recipe; tokens are counted with `tokenizer` as training counts them.
pub fn mix_recipe(resolved: &Resolved, tokenizer: &ChatTokenizer, threads: Option<usize>) -> miette::Result<Mix> {
    with_context(resolved, Some(tokenizer), threads, |context| {
        medley_mixer::mix(&resolved.recipe.mix, context).map_err(report)
    })
}

/// The same without what stands in these papers, which are not read again.
pub fn mix_with_papers(resolved: &Resolved, tokenizer: &ChatTokenizer, papers: &Papers) -> miette::Result<Mix> {
    with_items(resolved, Some(tokenizer), None, exam_items(papers.items.clone()), |context| {
        medley_mixer::mix(&resolved.recipe.mix, context).map_err(report)
    })
}

/// Does `work` with what a mix of the recipe needs: exam items kept out, licences said, progress shown. Without a tokenizer
/// the base model's is read where the mix counts tokens.
pub fn with_context<T>(
    resolved: &Resolved,
    tokenizer: Option<&ChatTokenizer>,
    threads: Option<usize>,
    work: impl FnOnce(&MixContext<'_>) -> miette::Result<T>,
) -> miette::Result<T> {
    let items = if resolved.recipe.exam.papers.is_empty() { Vec::new() } else { papers(resolved)?.items };
    with_items(resolved, tokenizer, threads, exam_items(items), work)
}

fn with_items<T>(
    resolved: &Resolved,
    tokenizer: Option<&ChatTokenizer>,
    threads: Option<usize>,
    exam_items: Vec<ExamItem>,
    work: impl FnOnce(&MixContext<'_>) -> miette::Result<T>,
) -> miette::Result<T> {
    let recipe = &resolved.recipe;
    let own = if tokenizer.is_none() { counting_tokenizer(resolved)? } else { None };
    let measure = tokenizer.or(own.as_ref()).map(|tokenizer| TokenMeasure::new(tokenizer, &recipe.chat)).transpose()?;
    say_licences(&recipe.mix);
    let bar = progress::bar("mixing", 0);
    let show = |now: MixProgress<'_>| {
        bar.set_length(now.total_bytes >> 20);
        bar.set_position(now.bytes >> 20);
        let rate = bar.per_sec() * f64::from(1 << 20) / 1e9;
        bar.set_message(format!("MiB, {rate:.2} GB/s, {} records, {}", now.records, now.source));
    };
    let hub = Hub::from_env().with_bars(progress::bars().clone());
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

/// The items of a recipe's exam, which must not be in the training data.
fn exam_items(items: Vec<Item>) -> Vec<ExamItem> {
    let item = |item: Item| ExamItem {
        id: item.id,
        question: item.question,
        options: item.options.into_iter().map(|option| option.text).collect(),
        passages: item.passages,
    };
    items.into_iter().map(item).collect()
}

/// The tokenizer that a mix counts with, where it counts tokens.
fn counting_tokenizer(resolved: &Resolved) -> miette::Result<Option<ChatTokenizer>> {
    if !resolved.recipe.mix.needs_tokens() {
        return Ok(None);
    }
    let tokenizer = ChatTokenizer::from_dir(&tokenizer_directory(resolved)?).map_err(report)?;
    Ok(Some(tokenizer.with_system(resolved.recipe.chat.system.clone())))
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
