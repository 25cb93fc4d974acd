//! Lookup of runs by name, for every command that takes a run.

use std::path::{Path, PathBuf};

use medley_recipe::Resolved;
use medley_view::runs::{Match, RunNameError, RunOverview, find_run, find_runs, plain};
use miette::{Result, miette};

use crate::errors::report;
use crate::progress::say;
use crate::screen::relative;

/// The folder of a run, by folder, name, hash, or a unique prefix of one of these.
///
/// # Errors
/// No such run, or several.
pub fn run(name: &Path) -> Result<PathBuf> {
    find_run(&name.to_string_lossy(), Match::Prefix).map(|run| relative(&run)).map_err(report)
}

/// The run of this name, or all runs in a folder of this name.
///
/// # Errors
/// As [`run`].
pub fn runs(name: &Path) -> Result<Vec<PathBuf>> {
    // Tables need only the recipe and the exam of a run, not its `run.json`.
    if name.join("recipe.toml").is_file() {
        return Ok(vec![name.to_path_buf()]);
    }
    let inside = if name.is_dir() { find_runs(&[name.to_path_buf()]).unwrap_or_default().runs } else { Vec::new() };
    if inside.is_empty() { run(name).map(|run| vec![run]) } else { Ok(inside) }
}

/// A mix's folder or manifest as given; else the run of this name.
///
/// # Errors
/// Neither a mix nor a run.
pub fn mix_or_run(name: &Path) -> Result<PathBuf> {
    if name.is_file() || name.join("manifest.json").exists() || name.join("mix/manifest.json").exists() {
        return Ok(name.to_path_buf());
    }
    match find_run(&name.to_string_lossy(), Match::Prefix) {
        Ok(run) => Ok(relative(&run)),
        // The caller reports what is wrong with an existing folder.
        Err(RunNameError::NotFound { .. }) if name.is_dir() => Ok(name.to_path_buf()),
        Err(error @ RunNameError::NotFound { .. }) => {
            let hint = error.hint();
            Err(miette!(
                help = hint,
                "{}: there is no mix here, and no run of that name",
                plain(&name.display().to_string())
            ))
        }
        Err(error) => Err(report(error)),
    }
}

/// The run of this name where a model is expected; `None` where the name may be a hub id (`owner/name`). Before a hub id only
/// the whole name of a run is taken, never a prefix.
///
/// # Errors
/// Several runs of that name; no run, and no hub model can have that name.
pub fn model(name: &str) -> Result<Option<PathBuf>> {
    let hub = is_hub_id(name);
    match find_run(name, if hub { Match::Whole } else { Match::Prefix }) {
        Ok(run) => Ok(Some(relative(&run))),
        Err(RunNameError::NotFound { .. }) if hub => Ok(None),
        Err(error @ RunNameError::NotFound { .. }) => Err(miette!(
            help = format!("name a model directory, an adapter, a run, or a hub model (owner/name)\n{}", error.hint()),
            "{}: no such directory or run",
            plain(name)
        )),
        Err(error) => Err(report(error)),
    }
}

/// Whether a name has the form of a hub id, `owner/name`.
pub fn is_hub_id(name: &str) -> bool {
    let named =
        name.split_once('/').is_some_and(|(owner, id)| !owner.is_empty() && !id.is_empty() && !id.contains('/'));
    named && !name.starts_with(['.', '~', '-'])
}

/// Resolves a `model.base` that names a run to the run's absolute folder, so that the stored recipe does not depend on the
/// working directory.
///
/// # Errors
/// Several runs of that name.
pub fn adopt_base(resolved: &mut Resolved) -> Result<()> {
    let base = resolved.recipe.model.base.clone();
    if base.starts_with("init:") || resolved.find(&base).exists() {
        return Ok(());
    }
    let precision = if is_hub_id(&base) { Match::Whole } else { Match::Prefix };
    let run = match find_run(&base, precision) {
        Ok(run) => Some(relative(&run)),
        // Commands that need the model report a missing one themselves.
        Err(RunNameError::NotFound { .. }) => None,
        Err(error) => return Err(report(error)),
    };
    if let Some(run) = run {
        say(format!("base     {} is the run {}", plain(&base), plain(&run.display().to_string())));
        let absolute = std::path::absolute(&run).unwrap_or(run);
        resolved.recipe.model.base = absolute.display().to_string();
    }
    Ok(())
}

/// Error: the run has no model yet, with the command that finishes it.
pub fn without_model(run: &Path) -> miette::Report {
    let help = match RunOverview::read(run).hint {
        Some(command) => format!("finish it: {command}\nor name a checkpoint in its steps/"),
        None => "let it finish, or name a checkpoint in its steps/".to_owned(),
    };
    miette!(help = help, "{}: this run has no model yet", plain(&run.display().to_string()))
}
