//! What a decoder looks like, read from a Hugging Face `config.json`.

use std::path::{Path, PathBuf};

use burn::tensor::DType;
use serde_json::{Map, Value};

use crate::error::{ModelError, Result};
use crate::families;

/// Shape and kind of a decoder; fields carry the Hugging Face names.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderConfig {
    /// The family that maps files to this configuration.
    pub family: Family,
    /// Rows of the embedding; may be more than the tokenizer has tokens.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Number of decoder layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key-value heads; divides the query heads.
    pub num_key_value_heads: usize,
    /// Features of a head; even.
    pub head_dim: usize,
    /// Longest sample that the model was made for, in tokens.
    pub max_position_embeddings: usize,
    /// Added to the mean square in RMSNorm.
    pub rms_norm_eps: f64,
    /// Whether the head is the embedding.
    pub tie_word_embeddings: bool,
    /// How a token's position enters.
    pub position: PositionEncoding,
    /// Which projections of the attention have a bias.
    pub attention_bias: AttentionBias,
    /// The file's own keys, written back when the model is saved.
    pub source: Map<String, Value>,
}

/// Model families, by `model_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Qwen1.5, Qwen2 and Qwen2.5.
    Qwen2,
}

/// How a token's position enters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PositionEncoding {
    /// Rotary encoding in halves, with the base of the angles.
    Rope {
        /// `rope_theta`.
        theta: f64,
    },
}

/// Which projections of the attention have a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionBias {
    /// q_proj, k_proj and v_proj.
    pub qkv: bool,
    /// o_proj.
    pub output: bool,
}

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
        match model_type.as_str() {
            "qwen2" => families::qwen2::config(&keys),
            other => Err(keys.problem("model_type", format!("is \"{other}\", expected one of: \"qwen2\""))),
        }
    }

    /// The `config.json` of a saved model: the source's keys, with the number format of its weights.
    pub(crate) fn to_json(&self, dtype: DType) -> Map<String, Value> {
        let name = match dtype {
            DType::F16 => "float16",
            DType::BF16 => "bfloat16",
            _ => "float32",
        };
        let mut map = self.source.clone();
        // Older transformers read `torch_dtype`, newer ones `dtype`.
        map.remove("dtype");
        map.insert("torch_dtype".to_owned(), name.into());
        map.insert("architectures".to_owned(), serde_json::json!(["Qwen2ForCausalLM"]));
        map
    }

    /// Number of weights, the tied head not counted twice.
    pub fn parameter_count(&self) -> usize {
        let heads = (self.num_attention_heads + self.num_key_value_heads) * self.head_dim;
        let qkv_out = heads + self.num_key_value_heads * self.head_dim;
        let output_in = self.num_attention_heads * self.head_dim;
        let bias =
            usize::from(self.attention_bias.qkv) * qkv_out + usize::from(self.attention_bias.output) * self.hidden_size;
        let layer = (qkv_out + output_in + 3 * self.intermediate_size + 2) * self.hidden_size + bias;
        let tables = if self.tie_word_embeddings { 1 } else { 2 };
        tables * self.vocab_size * self.hidden_size + self.num_hidden_layers * layer + self.hidden_size
    }
}

/// Reads a JSON object.
pub(crate) fn read_object(path: &Path) -> Result<Map<String, Value>> {
    let text = std::fs::read_to_string(path).map_err(|source| ModelError::Read { path: path.to_owned(), source })?;
    serde_json::from_str(&text).map_err(|source| ModelError::Json { path: path.to_owned(), source })
}

/// The keys of a configuration file, with errors that name file and key.
pub(crate) struct Keys<'a> {
    pub map: &'a Map<String, Value>,
    pub path: &'a Path,
}

impl Keys<'_> {
    pub(crate) fn problem(&self, key: &str, problem: impl Into<String>) -> ModelError {
        ModelError::Config { path: PathBuf::from(self.path), key: key.to_owned(), problem: problem.into() }
    }

    /// The value of a key that may be absent or null.
    pub(crate) fn optional<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value.clone())
                .map(Some)
                .map_err(|error| self.problem(key, format!("is {value}: {error}"))),
        }
    }

    /// The value of a key that must be there.
    pub(crate) fn required<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<T> {
        self.optional(key)?.ok_or_else(|| self.problem(key, "is missing"))
    }

    /// A positive size of at most `most`.
    pub(crate) fn size(&self, key: &str, most: usize) -> Result<usize> {
        match self.positive(key)? {
            size if size > most => Err(self.problem(key, format!("is {size}, expected at most {most}"))),
            size => Ok(size),
        }
    }

    /// A number that must not be 0.
    pub(crate) fn positive(&self, key: &str) -> Result<usize> {
        match self.required(key)? {
            0 => Err(self.problem(key, "is 0, expected a positive number")),
            value => Ok(value),
        }
    }
}
