//! Base model and data sources of a run for its model card.

use std::collections::HashMap;
use std::path::Path;

use medley_mixer::Mix;
use medley_mixture::ManifestSource;
use medley_recipe::Recipe;
use medley_trainer::{Base, Card, CardSource, HubModel, short_path};

/// The card: base model, and origin, licence and number of samples of every part of every source.
pub fn card(recipe: &Recipe, base: &Base, mix: &Mix) -> Card {
    let mut chosen: HashMap<(&str, &str), usize> = HashMap::new();
    mix.train.origins().for_each(|origin| *chosen.entry(origin).or_default() += 1);
    let mut sources = Vec::new();
    for (name, source) in &mix.manifest().sources {
        for part in 0..source.parts.len() {
            let files: Vec<&str> = files_of(source, part).collect();
            // Parts may read the same file with different columns: its samples are counted once.
            let counted = !files.is_empty()
                && files
                    .iter()
                    .all(|file| (0..part).any(|earlier| files_of(source, earlier).any(|other| other == *file)));
            let samples = files.iter().filter_map(|file| chosen.remove(&(name.as_str(), *file))).sum();
            sources.push(card_source(name, source, part, (!counted).then_some(samples)));
        }
    }
    let directory = match base {
        Base::Model { directory, .. } => Some(directory.as_path()),
        Base::Merged { adapter, .. } => Some(adapter.as_path()),
        Base::Fresh { .. } => None,
    };
    Card {
        name: recipe.name.clone(),
        base: short_path(&recipe.model.base),
        hub: directory.and_then(|directory| hub_model(&recipe.model.base, directory)),
        base_licence: directory.and_then(licence),
        sources,
    }
}

/// Hub id and commit of a base in the hub's cache: `models--owner--name/snapshots/<commit>`.
fn hub_model(base: &str, directory: &Path) -> Option<HubModel> {
    let cached = format!("models--{}", base.replace('/', "--"));
    let parts: Vec<String> =
        directory.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    let at = parts.iter().position(|part| *part == cached)?;
    let commit = parts.get(at + 2).filter(|_| parts.get(at + 1).is_some_and(|folder| folder == "snapshots"));
    Some(HubModel { id: base.to_owned(), commit: commit.cloned() })
}

/// The licence in the metadata of a model's own card.
fn licence(directory: &Path) -> Option<String> {
    let text = std::fs::read_to_string(directory.join("README.md")).ok()?;
    let metadata = text.strip_prefix("---")?.split("\n---").next()?;
    let line = metadata.lines().find_map(|line| line.strip_prefix("license:"))?;
    Some(line.trim().trim_matches(['"', '\'']).to_owned()).filter(|licence| !licence.is_empty())
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
