//! Opening what a user points at: a model directory, or an adapter beside its base model.

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};

use crate::config::DecoderConfig;
use crate::decoder::Decoder;
use crate::error::{ModelError, Result};
use crate::lora::{ADAPTER_CONFIG, adapter_base, is_adapter};
use crate::peft::{AdapterConfig, PeftAdapter};
use crate::skeleton;
use crate::weights::WeightFiles;

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
    pub adapter: Option<AdapterConfig>,
}

/// A model whose configuration, weight headers and adapter fit each other, before any weight is read.
#[derive(Debug)]
pub struct ModelDescription {
    /// The base model's shape.
    pub config: DecoderConfig,
    /// The base model's directory: the described one, or the one that the adapter belongs to.
    pub base_directory: PathBuf,
    /// The adapter, if the described directory is one.
    pub adapter: Option<PeftAdapter>,
    directory: PathBuf,
    weights: WeightFiles,
}

/// Describes a Hugging Face model directory, or a PEFT adapter directory with its base model, which is `base` or the path in
/// `adapter_config.json` (relative to the working directory, then to the adapter). Only configurations and headers are read.
///
/// # Errors
/// When the directory is neither, the base model cannot be found, or configuration and weights do not fit.
pub fn describe_model(directory: &Path, base: Option<&Path>) -> Result<ModelDescription> {
    if !directory.is_dir() {
        let problem = "is no directory; expected a model in Hugging Face layout or a PEFT adapter".to_owned();
        return Err(ModelError::NotAModel { path: directory.to_owned(), problem });
    }
    let adapted = is_adapter(directory);
    let base_directory = match base {
        Some(base) if adapted => base.to_owned(),
        None if adapted => find_base(directory)?,
        _ => directory.to_owned(),
    };
    let config = DecoderConfig::from_dir(&base_directory)?;
    let weights = WeightFiles::open(&base_directory)?;
    weights.check(&config)?;
    let adapter = if adapted { Some(PeftAdapter::open(directory, &config)?) } else { None };
    Ok(ModelDescription { config, base_directory, adapter, directory: directory.to_owned(), weights })
}

impl ModelDescription {
    /// Bytes of the weights in a number format, with the adapter merged.
    pub fn weight_bytes(&self, dtype: DType) -> usize {
        let mut config = self.config.clone();
        if let Some(adapter) = &self.adapter {
            adapter.config.untie(&mut config);
        }
        config.parameter_count() * dtype.size()
    }

    /// Elements of the largest weight, which is on the host in f32 while it is read.
    pub fn largest_weight(&self) -> usize {
        let elements = |(_, shape): (_, Vec<usize>)| shape.iter().product::<usize>();
        skeleton::shapes(&self.config).into_iter().map(elements).max().unwrap_or(0)
    }

    /// Reads the weights onto a device and merges the adapter into them.
    ///
    /// # Errors
    /// When a file cannot be read or a weight is NaN or infinite.
    pub fn load(self, device: &Device, dtype: DType) -> Result<OpenedModel> {
        let Self { config, base_directory, adapter, directory, weights } = self;
        let mut model = Decoder::read(config, &weights, device, dtype)?;
        if let Some(adapter) = &adapter {
            model.merge_peft(adapter)?;
        }
        let own = directory.join("tokenizer.json").exists() || adapter.is_none();
        let tokenizer_directory = if own { directory } else { base_directory.clone() };
        Ok(OpenedModel { model, tokenizer_directory, base_directory, adapter: adapter.map(|adapter| adapter.config) })
    }
}

/// [`describe_model`], then [`ModelDescription::load`].
///
/// # Errors
/// When the directory is no model, the base model cannot be found, or the weights do not fit or are not finite.
pub fn open_model(directory: &Path, base: Option<&Path>, device: &Device, dtype: DType) -> Result<OpenedModel> {
    describe_model(directory, base)?.load(device, dtype)
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
