//! Provenance of the run: device, times, hashes, files, recipe.

use maud::{Markup, html};
use medley_recipe::bundled_name;

use crate::page::{code, files};
use crate::runs::record::RunRecord;
use crate::words::{date, grouped};

/// The section.
pub(super) fn section(record: &RunRecord) -> Markup {
    html! {
        section {
            h2 { "Run" }
            dl { @for (name, value) in facts(record) { dt { (name) } dd { (value) } } }
            @if let Some(manifest) = &record.manifest { (files::table(manifest)) }
            @if let Some(recipe) = &record.recipe {
                details { summary { "Recipe, every default written out" } pre { (recipe) } }
            }
        }
    }
}

fn facts(record: &RunRecord) -> Vec<(&'static str, Markup)> {
    let run = &record.overview;
    let text = |text: &str| html! { (text) };
    let mut facts = vec![("folder", code(&run.path)), ("device", text(&run.device))];
    facts.extend(run.base.as_ref().map(|base| ("base", base_name(base))));
    facts.extend(run.worker.as_ref().map(|worker| ("at work", text(worker))));
    facts.push(("started", text(&date(run.started))));
    facts.push(("last written", text(&date(run.updated))));
    facts.push(("resumed from", text(&resumed(record))));
    facts.push(("checkpoints", text(&checkpoints(record))));
    facts.push(("Medley", text(&record.version)));
    facts.push(("train hash", code(&run.train_hash)));
    facts.extend(record.manifest.as_ref().map(|manifest| ("mix hash", code(&manifest.mix_hash))));
    if !record.weights_hash.is_empty() {
        facts.push(("base weights", code(&record.weights_hash)));
    }
    if let Some(exam) = &record.exam {
        facts.push(("model hash", code(&exam.inputs.model_hash)));
        facts.push(("exam items", code(&exam.inputs.items_hash)));
        facts.push(("exam prompt", html! { (exam.inputs.prompt) " " (code(&exam.inputs.template_hash)) }));
    }
    facts
}

/// The base model: a hub id or a path, the bundled model by its name.
fn base_name(base: &str) -> Markup {
    match bundled_name(base.as_ref()) {
        Some(name) => html! { (format!("bundled: {name}")) },
        None => code(base),
    }
}

fn checkpoints(record: &RunRecord) -> String {
    let saved: Vec<String> = record.checkpoints.iter().map(|step| grouped(*step as u64)).collect();
    if saved.is_empty() { "none".to_owned() } else { format!("after step {}", saved.join(", ")) }
}

fn resumed(record: &RunRecord) -> String {
    let times: Vec<String> = record
        .overview
        .resumed
        .iter()
        .map(|resumed| format!("step {} ({})", grouped(resumed.step as u64), date(resumed.time)))
        .collect();
    if times.is_empty() { "never".to_owned() } else { times.join(", ") }
}
