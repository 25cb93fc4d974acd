//! What the model card of a run tells of its data.

use std::collections::HashMap;

use medley_mixer::{ManifestSource, Mix};
use medley_recipe::Recipe;
use medley_trainer::{Card, CardSource};

/// The card: every place that every source's records come from, as it was read.
pub fn card(recipe: &Recipe, mix: &Mix) -> Card {
    let mut chosen: HashMap<(&str, &str), usize> = HashMap::new();
    for record in &mix.train {
        *chosen.entry((&record.source, &record.file)).or_default() += 1;
    }
    let mut sources = Vec::new();
    for (name, source) in &mix.manifest().sources {
        for part in 0..source.parts.len() {
            let files: Vec<&str> = files_of(source, part).collect();
            // Two parts may read the same file, in other columns: their samples are counted once.
            let counted = !files.is_empty()
                && files
                    .iter()
                    .all(|file| (0..part).any(|earlier| files_of(source, earlier).any(|other| other == *file)));
            let samples = files.iter().filter_map(|file| chosen.remove(&(name.as_str(), *file))).sum();
            sources.push(card_source(name, source, part, (!counted).then_some(samples)));
        }
    }
    Card { name: recipe.name.clone(), base: recipe.model.base.clone(), sources }
}

fn files_of(source: &ManifestSource, part: usize) -> impl Iterator<Item = &str> {
    source.files.iter().filter(move |file| file.part == part).map(|file| file.file.as_str())
}

fn card_source(name: &str, source: &ManifestSource, index: usize, samples: Option<usize>) -> CardSource {
    let part = &source.parts[index];
    CardSource {
        name: name.to_owned(),
        origin: source.origin(index),
        data_set: source.data_set(index).map(|(id, _)| id.to_owned()),
        licence: part.licence.clone(),
        commercial_use: part.commercial_use,
        samples,
    }
}
