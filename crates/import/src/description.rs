//! Resolves LLaMA-Factory's `dataset_dir`: a folder, the hub, or an inline description.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use medley_files::yaml::{Yaml, YamlEntry, YamlValue};
use medley_hub::{DatasetRequest, Hub};
use medley_recipe::RecipeErrors;

use super::document::{Document, Fate, Reading};
use super::plan::is_hub_id;
use super::sets::BASE;
use super::table::Table;

/// Resolved `dataset_dir`.
pub(super) struct Description {
    pub document: Document,
    /// Folder that the file names are relative to.
    pub folder: PathBuf,
    /// Hub data set with the files.
    pub hub: Option<String>,
}

/// Resolves `dataset_dir`: a folder with a `dataset_info.json`, `ONLINE` (every name is a hub data set),
/// `REMOTE:owner/name` (the `dataset_info.json` of a hub data set), or an inline description. `None` if it cannot be
/// resolved, which is reported.
pub(super) fn description(
    table: &Table<'_>,
    names: &[String],
    base: Option<&Path>,
    reading: &mut Reading<'_>,
) -> Result<Option<Description>, RecipeErrors> {
    let document = reading.document;
    let given = table.take("dataset_dir").map(|entry| &entry.value);
    let own = |root: Yaml| Description {
        document: Document { source: Arc::clone(&document.source), root, folder: document.folder.clone() },
        folder: document.folder.clone(),
        hub: None,
    };
    if let Some(inline) = given.filter(|given| given.entries().is_some()) {
        return Ok(Some(own(inline.clone())));
    }
    let folder = table.text("dataset_dir", reading).unwrap_or_else(|| "data".to_owned());
    if folder == "ONLINE" {
        let span = table.take("dataset").map_or(0..0, |entry| entry.value.span.clone());
        return Ok(Some(own(hub_ids(names, &span))));
    }
    let span = given.map_or(0..0, |given| given.span.clone());
    if let Some(id) = folder.strip_prefix("REMOTE:").map(str::trim) {
        return match fetched(id) {
            Ok(path) => Ok(Some(Description {
                document: Document::read(&path)?,
                folder: path.parent().map(Path::to_owned).unwrap_or_default(),
                hub: Some(id.to_owned()),
            })),
            Err(problem) => {
                let message = format!("`dataset_info.json` of the hub data set `{id}` cannot be read: {problem}");
                reading.error(&span, message, "fetch it, and name its folder as `dataset_dir`");
                Ok(None)
            }
        };
    }
    let bases = base.map_or_else(|| vec![PathBuf::from("."), document.folder.clone()], |base| vec![base.to_owned()]);
    let found = bases.iter().map(|base| base.join(&folder)).find(|folder| folder.join(DATASET_INFO).is_file());
    let Some(folder) = found else {
        let folder = medley_recipe::key_name(&folder);
        let is_online = folder.eq_ignore_ascii_case("online");
        let hint = if is_online { "`ONLINE`, in capitals, means names on the hub" } else { BASE };
        reading.error(&span, format!("`{folder}/{DATASET_INFO}` does not exist"), hint);
        return Ok(None);
    };
    Ok(Some(Description { document: Document::read(&folder.join(DATASET_INFO))?, folder, hub: None }))
}

const DATASET_INFO: &str = "dataset_info.json";

/// Description in which every name is a hub data set.
fn hub_ids(names: &[String], span: &Range<usize>) -> Yaml {
    let yaml = |value: YamlValue| Yaml { value, span: span.clone() };
    let entry = |key: &str, value: Yaml| YamlEntry { key: key.to_owned(), key_span: span.clone(), value };
    let mut entries: Vec<YamlEntry> = Vec::new();
    for name in names {
        if entries.iter().all(|entry| entry.key != *name) {
            let url = entry("hf_hub_url", yaml(YamlValue::String(name.clone())));
            entries.push(entry(name, yaml(YamlValue::Map(vec![url]))));
        }
    }
    yaml(YamlValue::Map(entries))
}

/// `dataset_info.json` of a hub data set.
fn fetched(id: &str) -> Result<PathBuf, String> {
    if !is_hub_id(id) {
        return Err("write `REMOTE:owner/name`".to_owned());
    }
    let request = DatasetRequest { id, files: Some(DATASET_INFO), ..DatasetRequest::default() };
    let snapshot = Hub::from_env().dataset_files(&request).map_err(|error| error.to_string().replace('\n', " "))?;
    let found = snapshot.files.into_iter().find(|(name, _)| name == DATASET_INFO);
    found.map(|(_, path)| path).ok_or_else(|| format!("it has no {DATASET_INFO}"))
}

/// Notes a name that `dataset` has twice: LLaMA-Factory loads such a set twice.
pub(super) fn note_repeated(table: &Table<'_>, names: &[String], reading: &mut Reading<'_>) {
    let repeated = names.iter().enumerate().find(|(index, name)| names[..*index].contains(name));
    if let Some(((_, name), entry)) = repeated.zip(table.take("dataset")) {
        let why = "a record is in the mix once: `mix.epochs` takes a source's records more often";
        reading.add(Fate::Assumed, None, format!("`{name}` is named twice"), why.to_owned(), &entry.key_span);
    }
}
