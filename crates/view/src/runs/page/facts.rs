//! Provenance of the run: device, times, hashes, files, recipe.

use std::fmt::Write as _;

use crate::page::{code, escape, files};
use crate::runs::record::RunRecord;
use crate::words::{date, grouped};

/// The section.
pub(super) fn section(record: &RunRecord) -> String {
    let run = &record.overview;
    let mut facts: Vec<(&str, String)> = vec![("folder", code(&run.path)), ("device", escape(&run.device))];
    facts.extend(run.base.as_ref().map(|base| ("base", code(base))));
    facts.extend(run.worker.as_ref().map(|worker| ("at work", escape(worker))));
    facts.push(("started", date(run.started)));
    facts.push(("last written", date(run.updated)));
    facts.push(("resumed from", resumed(record)));
    let saved: Vec<String> = record.checkpoints.iter().map(|step| grouped(*step as u64)).collect();
    facts.push((
        "checkpoints",
        if saved.is_empty() { "none".to_owned() } else { format!("after step {}", saved.join(", ")) },
    ));
    facts.push(("Medley", escape(&record.version)));
    facts.push(("train hash", code(&run.train_hash)));
    facts.extend(record.manifest.as_ref().map(|manifest| ("mix hash", code(&manifest.mix_hash))));
    if !record.weights_hash.is_empty() {
        facts.push(("base weights", code(&record.weights_hash)));
    }
    if let Some(exam) = &record.exam {
        facts.push(("model hash", code(&exam.inputs.model_hash)));
        facts.push(("exam items", code(&exam.inputs.items_hash)));
        facts.push(("exam prompt", format!("{} {}", escape(&exam.inputs.prompt), code(&exam.inputs.template_hash))));
    }
    let rows: String = facts.iter().map(|(name, value)| format!("<dt>{name}<dd>{value}")).collect();
    let mut html = format!("<section><h2>Run</h2><dl>{rows}</dl>");
    html += &record.manifest.as_ref().map(files::table).unwrap_or_default();
    if let Some(recipe) = &record.recipe {
        let _ = write!(
            html,
            "<details><summary>Recipe, every default written out</summary><pre>{}</pre></details>",
            escape(recipe)
        );
    }
    html + "</section>"
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
