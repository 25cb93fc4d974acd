//! The model that a recipe starts from, found on this machine.

use std::path::{Path, PathBuf};

use medley_recipe::Resolved;
use medley_trainer::Base;
use medley_trainer::base::{BaseKind, inspect};
use miette::miette;

use crate::errors::report;
use crate::models::snapshot;

/// What a run starts from, and what identifies it.
pub struct FoundBase {
    /// For the trainer.
    pub base: Base,
    /// The directory whose tokenizer and chat template are used.
    pub tokenizer: PathBuf,
    /// Hash of the weights and the configuration.
    pub hash: String,
}

/// Finds the recipe's base: a hub model is fetched, a local directory or an earlier run is looked into.
///
/// # Errors
/// Nothing of that name here or on the hub, or a directory that holds no model.
pub fn find_base(resolved: &Resolved) -> miette::Result<FoundBase> {
    let model = &resolved.recipe.model;
    if let Some(file) = model.base.strip_prefix("init:") {
        return fresh(&resolved.find(file));
    }
    let directory = snapshot(&model.base, model.revision.as_deref(), &resolved.find(&model.base))?;
    let base = match inspect(&directory).map_err(report)? {
        BaseKind::Model(directory) => Base::Model { directory, name: model.base.clone() },
        BaseKind::Adapter { adapter, base } => {
            let model = snapshot(&base, None, Path::new(&base))?;
            Base::Merged { model, adapter }
        }
    };
    let (tokenizer, hash) = match &base {
        Base::Merged { model, adapter } => {
            let tokenizer = if adapter.join("tokenizer.json").exists() { adapter } else { model };
            (tokenizer.clone(), hash_of(&[model, adapter])?)
        }
        Base::Model { directory, .. } => (directory.clone(), hash_of(&[directory])?),
        Base::Fresh { .. } => unreachable!("an `init:` base was handled above"),
    };
    Ok(FoundBase { base, tokenizer, hash })
}

/// Fresh weights: the tokenizer stands beside the file.
fn fresh(file: &Path) -> miette::Result<FoundBase> {
    let bytes = std::fs::read(file).map_err(|error| {
        miette!(
            help = "model.base = \"init:FILE\" wants a config.json-like file, relative to the recipe's folder or here",
            "{}: {error}",
            file.display()
        )
    })?;
    let tokenizer = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let hash = medley_experiment::hash_bytes(&bytes);
    Ok(FoundBase { base: Base::Fresh { config: file.to_path_buf() }, tokenizer: tokenizer.to_path_buf(), hash })
}

fn hash_of(directories: &[&PathBuf]) -> miette::Result<String> {
    let mut files = Vec::new();
    for directory in directories {
        let entries = std::fs::read_dir(directory).map_err(|error| miette!("{}: {error}", directory.display()))?;
        let deciding = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.ends_with(".safetensors") || name == "config.json" || name == "adapter_config.json"
        };
        let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(deciding).collect();
        found.sort();
        files.extend(found);
    }
    medley_experiment::hash_files(&files).map_err(|error| miette!("{error}"))
}
