//! Lookup of models by name, and loading.

use std::path::{Path, PathBuf};

use medley_chat::ChatTokenizer;
use medley_hub::{Hub, HubError, Snapshot};
use medley_model::{
    ADAPTER_PICKLE, DeviceRequest, OpenedModel, RunDevice, adapter_base, adapter_revision, describe_model, device,
    is_adapter,
};
use miette::{IntoDiagnostic, Result, miette};

use crate::errors::report;
use crate::hub_bars;
use crate::inference_plan::{self, Answering};
use crate::named_run;
use crate::progress::say;

/// Location of a model, and the run that it belongs to.
pub struct FoundModel {
    /// Weights and configuration, or an adapter.
    pub directory: PathBuf,
    /// The run's folder, where it is a run's.
    pub run: Option<PathBuf>,
    /// Hub id, directory, or the run's folder.
    pub name: String,
}

/// Finds the model of `--model`: a model directory, an adapter, a run (by folder, name or hash), or a hub model, which is
/// fetched.
///
/// # Errors
/// Nothing of that name, or a run without a model yet.
pub fn find_model(name: &str) -> Result<FoundModel> {
    let path = if Path::new(name).exists() { None } else { named_run::model(name)? };
    let path = path.unwrap_or_else(|| PathBuf::from(name));
    let shown = path.display().to_string();
    if path.join("recipe.toml").is_file() {
        return match path.join("model").is_dir() {
            true => Ok(FoundModel { directory: path.join("model"), run: Some(path), name: shown }),
            false => Err(named_run::without_model(&path)),
        };
    }
    let directory = snapshot(name, None, &path)?;
    // `RUN/model` itself belongs to the run as well.
    let parent = directory.parent().filter(|parent| parent.join("recipe.toml").is_file());
    let run = parent.filter(|parent| parent.join("model") == directory).map(Path::to_path_buf);
    Ok(FoundModel { directory, run, name: shown })
}

/// `local` if it is a directory; else the hub model `name`, from the cache or the hub.
///
/// # Errors
/// Neither here nor on the hub.
pub fn snapshot(name: &str, revision: Option<&str>, local: &Path) -> Result<PathBuf> {
    local_or(name, local, |hub| {
        say(format!("model    {name} from the hub"));
        hub.model_snapshot(name, revision)
    })
}

/// [`snapshot`] without the weights of a hub model: configuration and tokenizer.
///
/// # Errors
/// Neither here nor on the hub.
pub fn description(name: &str, revision: Option<&str>, local: &Path) -> Result<PathBuf> {
    // Adapters often have no tokenizer, and are small enough to fetch whole.
    local_or(name, local, |hub| hub.tokenizer_snapshot(name, revision).or_else(|_| hub.model_snapshot(name, revision)))
}

fn local_or(
    name: &str,
    local: &Path,
    fetch: impl FnOnce(&Hub) -> std::result::Result<Snapshot, HubError>,
) -> Result<PathBuf> {
    if local.is_dir() {
        return Ok(local.to_path_buf());
    }
    // A name that cannot be a hub id is refused here, with the nearest names of runs.
    if let Some(run) = named_run::model(name)? {
        return Ok(run);
    }
    let hub = hub_bars::hub();
    fetch(&hub).map(|snapshot| snapshot.directory).map_err(report)
}

/// A model in memory, with its tokenizer.
pub struct LoadedModel {
    /// The weights.
    pub opened: OpenedModel,
    /// Its tokenizer and chat template.
    pub tokenizer: ChatTokenizer,
    /// The device of its weights.
    pub device: RunDevice,
}

impl FoundModel {
    /// Loads the model onto the requested device. An adapter is merged into its base: `base`, else the one in its
    /// configuration.
    ///
    /// # Errors
    /// No such device, files that do not fit each other, weights that are not finite, too little memory, a tokenizer larger
    /// than the embedding.
    pub fn load(
        &self,
        base: Option<&Path>,
        request: DeviceRequest,
        system: Option<String>,
        answering: &Answering,
    ) -> Result<LoadedModel> {
        let device = device::select(request).map_err(report)?;
        say(format!("device   {device}"));
        let dtype = device.dtype(None).map_err(report)?;
        let mut found = base.map(Path::to_path_buf);
        if found.is_none() && is_adapter(&self.directory) {
            let named = adapter_base(&self.directory).map_err(report)?;
            let is_local = Path::new(&named).is_dir() || self.directory.join(&named).is_dir();
            let revision = adapter_revision(&self.directory).map_err(report)?;
            found = if is_local { None } else { Some(snapshot(&named, revision.as_deref(), Path::new(&named))?) };
        }
        let described = describe_model(&self.directory, found.as_deref()).map_err(report)?;
        inference_plan::check(&self.directory.display().to_string(), &described, device.kind, dtype, answering)?;
        let opened = described.load(&device.device, dtype).map_err(report)?;
        let tokenizer = ChatTokenizer::from_dir(&opened.tokenizer_directory).map_err(report)?.with_system(system);
        tokenizer.check_vocabulary(opened.model.config.vocab_size).map_err(report)?;
        Ok(LoadedModel { opened, tokenizer, device })
    }
}

/// Hash of all files that decide the answers: weights, configuration, tokenizer.
///
/// # Errors
/// A file that cannot be read.
pub fn model_hash(opened: &OpenedModel, directory: &Path) -> Result<String> {
    let mut folders = vec![opened.base_directory.as_path(), opened.tokenizer_directory.as_path(), directory];
    folders.sort_unstable();
    folders.dedup();
    let mut files = Vec::new();
    for folder in folders {
        let entries = std::fs::read_dir(folder).map_err(|error| miette!("{}: {error}", folder.display()))?;
        let deciding = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let endings = [".safetensors", ".json", ".jinja", ".model", ".tiktoken", ADAPTER_PICKLE];
            endings.iter().any(|ending| name.ends_with(ending))
        };
        files.extend(entries.flatten().map(|entry| entry.path()).filter(deciding));
    }
    // By name first: the same model in another place has the same hash.
    files.sort_by(|a, b| (a.file_name(), a).cmp(&(b.file_name(), b)));
    medley_run::hash_files(&files).into_diagnostic()
}
