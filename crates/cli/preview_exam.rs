//! `medley preview --exam`: prompts of a recipe's exam, as the model reads them.

use console::style;
use medley_chat::{ChatTokenizer, preview_text};
use medley_eval::{Codec, Item, Prompt, check_exam, fit_context};
use medley_recipe::{Book, Resolved};
use medley_run::book_name;
use miette::{IntoDiagnostic, miette};
use serde_json::json;

use crate::base::describe_base;
use crate::errors::report;
use crate::exam_check::RecipeExam;
use crate::preview::look;

/// Shows the prompts of some items, spread over the exams, for each of open and closed book that the recipe has.
///
/// # Errors
/// No papers, and the errors of [`RecipeExam::read`] and [`check_exam`]; the latter after the prompts.
pub fn run(resolved: &Resolved, samples: usize, as_json: bool) -> miette::Result<()> {
    let recipe = &resolved.recipe;
    let exam = RecipeExam::read(resolved)?;
    let Some(template) = &exam.template else {
        return Err(miette!(help = "name files of items in exam.papers", "the recipe `{}` has no exam", recipe.name));
    };
    let (base, directory) = describe_base(resolved)?;
    let tokenizer = ChatTokenizer::from_dir(&directory).map_err(report)?.with_system(recipe.chat.system.clone());
    let context = base.config().map_err(report)?.max_position_embeddings;
    let spec = fit_context(&recipe.exam, context).unwrap_or_else(|| recipe.exam.clone());
    for (number, item) in exam.papers.limited(samples).iter().enumerate() {
        for &book in &spec.books {
            let prompt = template.build(item, book, spec.answer, &tokenizer, spec.max_prompt_tokens).map_err(report)?;
            let text = Codec::show(&tokenizer, &prompt.input_ids);
            if as_json {
                println!("{}", json_line(item, book, &prompt, &text).into_diagnostic()?);
            } else {
                show(number + 1, item, (book, spec.max_prompt_tokens), &prompt, &text);
            }
        }
    }
    check_exam(&exam.papers, &recipe.exam, template, &tokenizer, context).map_err(report)
}

fn show(number: usize, item: &Item, (book, limit): (Book, usize), prompt: &Prompt, text: &str) {
    let title = format!("{number} · {} · {} · {}", book_name(book), item.exam, item.id);
    let key: String = item.answer.iter().collect();
    let cut = if prompt.truncated { ", passages cut" } else { "" };
    println!("{}", style(preview_text(&title, look()).trim_end()).bold());
    println!("{} of at most {limit} tokens{cut}; key {key}\n", prompt.input_ids.len());
    println!("{}", preview_text(text, look()));
}

fn json_line(item: &Item, book: Book, prompt: &Prompt, text: &str) -> serde_json::Result<String> {
    serde_json::to_string(&json!({
        "id": item.id,
        "exam": item.exam,
        "book": book,
        "tokens": prompt.input_ids.len(),
        "truncated": prompt.truncated,
        "key": item.answer,
        "prompt": text,
        "input_ids": prompt.input_ids,
    }))
}
