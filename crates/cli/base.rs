//! A recipe's base model: local, an earlier run, from the hub, or fresh weights.

use std::path::{Path, PathBuf};

use medley_model::{ADAPTER_PICKLE, adapter_revision};
use medley_recipe::Resolved;
use medley_trainer::Base;
use medley_trainer::base::{BaseKind, inspect};
use miette::miette;

use crate::errors::report;
use crate::hub_bars;
use crate::models::{description, snapshot};

/// Base model of a run, with its identity.
pub struct FoundBase {
    /// For the trainer.
    pub base: Base,
    /// The directory whose tokenizer and chat template are used.
    pub tokenizer: PathBuf,
    /// Hash of the weights and the configuration.
    pub hash: String,
}

/// Finds the recipe's base: a hub model is fetched, a local directory or an earlier run is inspected.
///
/// # Errors
/// Nothing of that name here or on the hub, a directory without a model, or files that do not fit each other.
pub fn find_base(resolved: &Resolved) -> miette::Result<FoundBase> {
    let (base, tokenizer) = locate(resolved, snapshot)?;
    base.check().map_err(report)?;
    let hash = match &base {
        Base::Merged { model, adapter } => hash_of(&[model, adapter])?,
        Base::Model { directory, .. } => hash_of(&[directory])?,
        Base::Fresh { config } => {
            let bytes = std::fs::read(config).map_err(|error| miette!("{}: {error}", config.display()))?;
            medley_run::hash_bytes(&bytes)
        }
    };
    Ok(FoundBase { base, tokenizer, hash })
}

/// The recipe's base and the directory of its tokenizer; of a hub model the weights are not fetched.
///
/// # Errors
/// As [`find_base`].
pub fn describe_base(resolved: &Resolved) -> miette::Result<(Base, PathBuf)> {
    let (base, tokenizer) = locate(resolved, description)?;
    if base.has_weights() {
        base.check().map_err(report)?;
    }
    Ok((base, tokenizer))
}

type Fetch = fn(&str, Option<&str>, &Path) -> miette::Result<PathBuf>;

fn locate(resolved: &Resolved, fetch: Fetch) -> miette::Result<(Base, PathBuf)> {
    let model = &resolved.recipe.model;
    if let Some(file) = model.base.strip_prefix("init:") {
        return fresh(resolved.find(file));
    }
    let directory = fetch(&model.base, model.revision.as_deref(), &resolved.find(&model.base))?;
    Ok(match inspect(&directory).map_err(report)? {
        BaseKind::Model(directory) => {
            (Base::Model { directory: directory.clone(), name: model.base.clone() }, directory)
        }
        BaseKind::Adapter { adapter, base } => {
            let revision = adapter_revision(&adapter).map_err(report)?;
            let model = fetch(&base, revision.as_deref(), Path::new(&base))?;
            let own = adapter.join("tokenizer.json").exists();
            let tokenizer = if own { adapter.clone() } else { model.clone() };
            (Base::Merged { model, adapter }, tokenizer)
        }
    })
}

/// Fresh weights: the tokenizer is in the file's folder.
fn fresh(config: PathBuf) -> miette::Result<(Base, PathBuf)> {
    std::fs::metadata(&config).map_err(|error| {
        miette!(
            help = "model.base = \"init:FILE\" expects a file in the format of config.json, relative to the recipe's folder or here",
            "{}: {error}",
            config.display()
        )
    })?;
    let tokenizer = config.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let tokenizer = tokenizer.to_path_buf();
    Ok((Base::Fresh { config }, tokenizer))
}

fn hash_of(directories: &[&PathBuf]) -> miette::Result<String> {
    let mut files = Vec::new();
    for directory in directories {
        let entries = std::fs::read_dir(directory).map_err(|error| miette!("{}: {error}", directory.display()))?;
        let deciding = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let deciding = ["config.json", "adapter_config.json", ADAPTER_PICKLE];
            name.ends_with(".safetensors") || deciding.contains(&name.as_ref())
        };
        let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(deciding).collect();
        found.sort();
        files.extend(found);
    }
    medley_run::hash_files(&files).map_err(|error| miette!("{error}"))
}

/// Directory of the base's tokenizer and chat template; weights are not fetched.
pub fn tokenizer_directory(resolved: &Resolved) -> miette::Result<PathBuf> {
    let model = &resolved.recipe.model;
    if let Some(file) = model.base.strip_prefix("init:") {
        let file = resolved.find(file);
        return Ok(file.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf));
    }
    let found = resolved.find(&model.base);
    if !found.is_dir() {
        return from_hub(&model.base, model.revision.as_deref());
    }
    match inspect(&found).map_err(report)? {
        BaseKind::Model(directory) => Ok(directory),
        BaseKind::Adapter { adapter, .. } if adapter.join("tokenizer.json").is_file() => Ok(adapter),
        BaseKind::Adapter { base, .. } if Path::new(&base).is_dir() => Ok(PathBuf::from(base)),
        BaseKind::Adapter { base, adapter } => from_hub(&base, adapter_revision(&adapter).map_err(report)?.as_deref()),
    }
}

fn from_hub(id: &str, revision: Option<&str>) -> miette::Result<PathBuf> {
    let hub = hub_bars::hub();
    Ok(hub.tokenizer_snapshot(id, revision).map_err(report)?.directory)
}
