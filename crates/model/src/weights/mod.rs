//! Checkpoints in and out: Hugging Face directories and safetensors files.

mod header;
mod pickle;
pub(crate) mod read;
mod write;

pub(crate) use pickle::PickleFile;
pub use read::TensorFile;
pub(crate) use read::WeightFiles;
pub use write::{PIECE_ELEMENTS, write_tensors};
pub(crate) use write::{create_directory, torch_metadata, write_json};

use std::path::Path;

use burn::tensor::{DType, Device};

use crate::config::DecoderConfig;
use crate::decoder::Decoder;
use crate::error::Result;
use crate::lora::ADAPTER_WEIGHTS;
use crate::peft::ADAPTER_PICKLE;
use crate::skeleton::skeleton;

/// Files beside the weights that belong to a model: tokenizer, chat template, generation settings.
pub const COMPANION_FILES: [&str; 11] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "qwen.tiktoken",
];

impl Decoder {
    /// Reads a Hugging Face model directory: `config.json` and `model.safetensors`, or the shards that
    /// `model.safetensors.index.json` names, in f32, f16, bf16 or f64. Headers are checked against the configuration before
    /// anything is allocated.
    ///
    /// # Errors
    /// When a file is missing or damaged, when the tensors are not exactly the model's (the error names every missing,
    /// unexpected, misshapen and repeated tensor), or when a weight is NaN or infinite.
    pub fn load(directory: &Path, device: &Device, dtype: DType) -> Result<Self> {
        let config = DecoderConfig::from_dir(directory)?;
        let files = WeightFiles::open(directory)?;
        files.check(&config)?;
        Self::read(config, &files, device, dtype)
    }

    /// Reads weights whose headers were checked against the configuration.
    pub(crate) fn read(config: DecoderConfig, files: &WeightFiles, device: &Device, dtype: DType) -> Result<Self> {
        let mut model = skeleton(config, device, dtype);
        files.fill(&mut model.slots())?;
        Ok(model)
    }

    /// Writes `config.json` and the weights (without adapters: merge first, or save the adapter) in `dtype`, in one file
    /// or in shards of up to 5 GB, as transformers loads them; shorter formats are rounded to nearest, ties to even.
    ///
    /// # Errors
    /// When a file cannot be written, or a weight is beyond the range of f16.
    pub fn save(&self, directory: &Path, dtype: DType) -> Result<()> {
        create_directory(directory)?;
        let mut model = self.clone();
        let slots = model.slots();
        let tensors = slots.iter().filter(|slot| !slot.adapter).map(|slot| (slot.name.clone(), slot.get())).collect();
        write::write_shards(directory, tensors, dtype)?;
        write_json(&directory.join("config.json"), &self.config.to_json(dtype).into())
    }

    /// The same model on another device.
    #[must_use]
    pub fn to_device(mut self, device: &Device) -> Self {
        for mut slot in self.slots() {
            let moved = match slot.get() {
                crate::Parameter::Vector(tensor) => crate::Parameter::Vector(tensor.to_device(device)),
                crate::Parameter::Matrix(tensor) => crate::Parameter::Matrix(tensor.to_device(device)),
            };
            slot.set(moved);
        }
        self
    }
}

/// Whether a directory has the weight files of a model or an adapter.
pub fn has_weights(directory: &Path) -> bool {
    let names = [read::SINGLE_FILE, read::INDEX, ADAPTER_WEIGHTS, ADAPTER_PICKLE];
    names.iter().any(|name| directory.join(name).exists())
}

/// The most frequent number format of a model directory's weights: f32, f16 or bf16 (f32 for f64).
///
/// # Errors
/// When there are no weights or their files are damaged.
pub fn stored_dtype(directory: &Path) -> Result<DType> {
    WeightFiles::open(directory)?.dtype()
}

/// Copies tokenizer, chat template and generation settings from one model directory to another.
///
/// # Errors
/// When a file cannot be copied.
pub fn copy_companions(from: &Path, to: &Path) -> Result<()> {
    for name in COMPANION_FILES {
        let source = from.join(name);
        if source.exists() {
            std::fs::copy(&source, to.join(name))
                .map_err(|error| crate::ModelError::Write { path: to.join(name), source: error })?;
        }
    }
    copy_named_templates(&from.join(NAMED_TEMPLATES), &to.join(NAMED_TEMPLATES))
}

/// Folder of transformers for a model's additional chat templates.
pub const NAMED_TEMPLATES: &str = "additional_chat_templates";

fn copy_named_templates(from: &Path, to: &Path) -> Result<()> {
    // A model with one template has no such folder.
    let Ok(entries) = std::fs::read_dir(from) else { return Ok(()) };
    let is_template = |path: &std::path::PathBuf| path.extension().is_some_and(|extension| extension == "jinja");
    for source in entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_template) {
        let path = to.join(source.file_name().unwrap_or_default());
        std::fs::create_dir_all(to)
            .and_then(|()| std::fs::copy(&source, &path))
            .map_err(|source| crate::ModelError::Write { path, source })?;
    }
    Ok(())
}
