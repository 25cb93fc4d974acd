//! Converts configurations of other tools to recipes: LLaMA-Factory's `dataset_info.json` and training files, Axolotl,
//! torchtune and TRL. Every option is either converted or listed with the reason and a remedy.

mod amounts;
mod axolotl;
mod description;
mod document;
mod llama_factory;
mod plan;
mod sets;
mod settings;
mod table;
mod torchtune;
mod training;
mod trl;
mod write;

use std::path::{Path, PathBuf};

use medley_recipe::{Problem, RecipeErrors, parse, tools};

use document::{Document, Reading};
use plan::{Places, Plan};

pub use document::{Fate, Note};

/// How a file is imported.
#[derive(Clone, Copy, Debug)]
pub struct ImportOptions<'a> {
    /// What the file's relative paths start from (default: for LLaMA-Factory its data folder, for the others the working
    /// directory and then the file's folder).
    pub base: Option<&'a Path>,
    /// The sets that are wanted, by name; none for all of them.
    pub only: &'a [String],
    /// The folder that the recipe will be in: its paths are relative to it.
    pub recipe_folder: &'a Path,
}

/// A recipe made from another tool's file.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The tool.
    pub tool: &'static str,
    /// The recipe; `load` takes it.
    pub toml: String,
    /// Sources in it.
    pub sources: usize,
    /// What the recipe does not say as the file did, in the file's order.
    pub notes: Vec<Note>,
}

/// Reads another tool's description of data, recognised by what it contains.
///
/// # Errors
/// What is wrong with the file, each with its line: see [`RecipeErrors`].
pub fn import(path: &Path, options: &ImportOptions<'_>) -> Result<Imported, RecipeErrors> {
    let document = Document::read(path)?;
    let mut reading = Reading::new(&document);
    let mut plan = planned(&document, options, &mut reading)?;
    let file = document.source.name.as_str();
    let Reading { mut problems, mut notes, .. } = reading;
    if plan.sets.is_empty() && problems.is_empty() {
        let reasons: Vec<String> =
            notes.iter().filter(|note| note.fate == Fate::LeftOut || is_unknown(note)).map(Note::to_string).collect();
        let help = (!reasons.is_empty()).then(|| reasons.join("\n"));
        problems.push(Problem::nowhere(format!("{file} has no set that Medley can train on"), help));
    }
    if !problems.is_empty() {
        problems.sort_by_cached_key(Problem::position);
        return Err(RecipeErrors::of_import(file, problems));
    }
    say_systems(&plan, &mut notes);
    let shares = amounts::settle(&mut plan, &mut notes);
    notes.sort_by_key(|note| (note.file.clone(), note.line));
    let name = path.file_name().map_or_else(|| file.to_owned(), |name| name.to_string_lossy().into_owned());
    let toml = write::recipe(&plan, &shares, &name, &notes);
    parse::<&str>("imported.toml", &toml, Some(options.recipe_folder), &[])?;
    Ok(Imported { tool: plan.tool, toml, sources: plan.sets.len(), notes })
}

/// Whether a note reports an unknown option, a possible reason for a skipped data set.
fn is_unknown(note: &Note) -> bool {
    note.set.is_some() && note.why.starts_with(table::UNKNOWN)
}

fn planned(document: &Document, options: &ImportOptions<'_>, reading: &mut Reading<'_>) -> Result<Plan, RecipeErrors> {
    let root = document.root.entries().unwrap_or_default();
    let places = |defaults: Vec<PathBuf>| Places {
        bases: options.base.map_or(defaults, |base| vec![base.to_owned()]),
        recipe_folder: options.recipe_folder.to_owned(),
        hub: None,
    };
    if tools::is_dataset_info(root) {
        return Ok(llama_factory::dataset_info(options.only, &places(vec![document.folder.clone()]), reading));
    }
    if tools::is_llama_factory(root) {
        return llama_factory::training(options.base, options.recipe_folder, options.only, reading);
    }
    let places = places(vec![PathBuf::from("."), document.folder.clone()]);
    // TRL: data sets as in Axolotl, model name as in LLaMA-Factory.
    let plan = if tools::is_axolotl(root) && !tools::is_trl(root) {
        axolotl::config(options.only, &places, reading)
    } else if tools::is_torchtune(root) {
        torchtune::config(options.only, &places, reading)
    } else if tools::is_trl(root) {
        trl::config(options.only, &places, reading)
    } else {
        let message = format!("no description of data is recognised in {}", document.source.name);
        reading.problems.push(Problem::nowhere(message, Some(EXPECTED.to_owned())));
        return Ok(Plan::default());
    };
    if plan.sets.is_empty() && !options.only.is_empty() && reading.notes.iter().all(|note| note.fate != Fate::LeftOut) {
        let message =
            format!("no set is called {}", medley_recipe::quoted_list(options.only.iter().map(String::as_str)));
        reading.problems.push(Problem::nowhere(message, Some("--only takes a set's path or its name".to_owned())));
    }
    Ok(plan)
}

const EXPECTED: &str = "expected one of\n\
    - LLaMA-Factory's dataset_info.json: names with `file_name`, `hf_hub_url`, …\n\
    - a training file of LLaMA-Factory: `dataset: name, name` beside `dataset_dir`, `template` or `cutoff_len`\n\
    - Axolotl: `datasets:`, a list with a `path` each\n\
    - torchtune: `dataset:` with a `_component_`, or a list of these\n\
    - TRL, Unsloth: `dataset_name:`, or training arguments of transformers";

/// A system message that only some of the sets have has no place in a recipe.
fn say_systems(plan: &Plan, notes: &mut Vec<Note>) {
    let common = plan.system.is_none() && write::common_system(&plan.sets).is_some();
    for set in plan.sets.iter().filter(|_| !common) {
        let Some(system) = &set.system else { continue };
        let why = "`[chat] system` holds for every source; put this one into the records of the set";
        let (file, line) = set.origin.rsplit_once(':').unwrap_or((&set.origin, ""));
        let (file, line) = (file.to_owned(), line.parse().unwrap_or(1));
        let (what, why) = (format!("the system message {system:?}"), why.to_owned());
        notes.push(Note { fate: Fate::NotCarriedOver, set: Some(set.name.clone()), what, why, file, line });
    }
}

#[cfg(test)]
mod tests;
