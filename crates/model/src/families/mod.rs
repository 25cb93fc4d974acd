//! The table of model families: how a `config.json` maps to the one decoder, and what is refused.
//!
//! A family is one file with an [`Entry`]; differences between families are fields of [`DecoderConfig`]. Tensor names are the
//! decoder's own in every family here.

mod gemma3;
mod llama;
mod mistral;
mod qwen2;
mod qwen3;
mod rope;
mod shared;

use std::path::Path;

use serde_json::{Map, Value};

use crate::config::{DecoderConfig, Family};
use crate::error::{ModelError, Result};
use crate::keys::{Keys, read_object};

/// A row of the table.
struct Entry {
    family: Family,
    /// Interprets a `config.json`; what the decoder does not compute is refused rather than ignored.
    config: fn(&Keys<'_>) -> Result<DecoderConfig>,
}

const ENTRIES: [Entry; 5] = [qwen2::ENTRY, qwen3::ENTRY, llama::ENTRY, mistral::ENTRY, gemma3::ENTRY];

/// Every supported family.
pub const FAMILIES: [Family; ENTRIES.len()] = {
    let mut families = [ENTRIES[0].family; ENTRIES.len()];
    let mut index = 0;
    while index < ENTRIES.len() {
        families[index] = ENTRIES[index].family;
        index += 1;
    }
    families
};

impl DecoderConfig {
    /// Reads `config.json` of a model directory.
    ///
    /// # Errors
    /// When the file is missing, not JSON, of an unknown family, or asks for something that is not supported.
    pub fn from_dir(directory: &Path) -> Result<Self> {
        let path = directory.join("config.json");
        if !path.exists() {
            let problem = "has no config.json: is it a Hugging Face model directory?".to_owned();
            return Err(ModelError::NotAModel { path: directory.to_owned(), problem });
        }
        Self::from_map(read_object(&path)?, &path)
    }

    /// Interprets the keys of a `config.json`; `path` is named in errors.
    ///
    /// # Errors
    /// When a key is missing, mistyped, or asks for something that is not supported.
    pub fn from_map(source: Map<String, Value>, path: &Path) -> Result<Self> {
        let keys = Keys { map: &source, path };
        let model_type: String = keys.required("model_type")?;
        let Some(entry) = ENTRIES.iter().find(|entry| entry.family.model_type == model_type) else {
            let known = FAMILIES.map(|family| format!("\"{}\"", family.model_type)).join(", ");
            return Err(keys.problem("model_type", format!("is \"{model_type}\", expected one of: {known}")));
        };
        (entry.config)(&keys)
    }
}
