//! Opening what a user points at: a model directory, or an adapter beside its base model.

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};

use crate::decoder::Decoder;
use crate::error::{ModelError, Result};
use crate::lora::{ADAPTER_CONFIG, LoraConfig, adapter_base, is_adapter};

/// A model ready for inference or further training.
#[derive(Debug)]
pub struct OpenedModel {
    /// With the adapter's update merged into its weights, if there was one.
    pub model: Decoder,
    /// Where the tokenizer is: the opened directory, or the base model's.
    pub tokenizer_directory: PathBuf,
    /// The base model's directory: the opened one, or the one that the adapter belongs to.
    pub base_directory: PathBuf,
    /// Settings of the adapter that was merged.
    pub adapter: Option<LoraConfig>,
}

/// Reads a Hugging Face model directory, or a PEFT adapter directory together with its base model, which is looked up at
/// `base`, or where `adapter_config.json` says (as it stands, then relative to the adapter).
///
/// # Errors
/// When the directory is neither, the base model cannot be found, or the weights do not fit.
pub fn open_model(directory: &Path, base: Option<&Path>, device: &Device, dtype: DType) -> Result<OpenedModel> {
    if !directory.is_dir() {
        let problem = "is no directory; expected a model in Hugging Face layout or a PEFT adapter".to_owned();
        return Err(ModelError::NotAModel { path: directory.to_owned(), problem });
    }
    if !is_adapter(directory) {
        let model = Decoder::load(directory, device, dtype)?;
        let place = directory.to_owned();
        return Ok(OpenedModel { model, tokenizer_directory: place.clone(), base_directory: place, adapter: None });
    }
    let base_directory = match base {
        Some(base) => base.to_owned(),
        None => find_base(directory)?,
    };
    let mut model = Decoder::load(&base_directory, device, dtype)?;
    let adapter = model.load_adapter(directory)?;
    model.merge();
    let own = directory.join("tokenizer.json").exists();
    let tokenizer_directory = if own { directory.to_owned() } else { base_directory.clone() };
    Ok(OpenedModel { model, tokenizer_directory, base_directory, adapter: Some(adapter) })
}

/// The directory of an adapter's base model.
fn find_base(directory: &Path) -> Result<PathBuf> {
    let named = PathBuf::from(adapter_base(directory)?);
    let beside = directory.join(&named);
    if named.is_dir() {
        return Ok(named);
    }
    if beside.is_dir() {
        return Ok(beside);
    }
    let problem = format!("is \"{}\", which is no directory here; say where the base model is", named.display());
    Err(ModelError::Config { path: directory.join(ADAPTER_CONFIG), key: "base_model_name_or_path".to_owned(), problem })
}
