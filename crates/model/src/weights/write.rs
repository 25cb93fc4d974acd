//! Writing: safetensors files and the index of shards, as transformers and PEFT write them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;
use std::sync::OnceLock;

use burn::tensor::DType;
use half::{bf16, f16};
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, View};
use serde_json::{Map, Value, json};

use super::read::{INDEX, SINGLE_FILE};
use crate::error::{ModelError, Result};
use crate::parameter::Parameter;

/// Largest file of weights, in bytes.
const SHARD_BYTES: usize = 5_000_000_000;

/// Creates a directory and those above it.
pub(crate) fn create_directory(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|source| ModelError::Write { path: path.to_owned(), source })
}

/// Writes indented JSON.
pub(crate) fn write_json(path: &Path, value: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value).expect("a JSON value has string keys") + "\n";
    std::fs::write(path, text).map_err(|source| ModelError::Write { path: path.to_owned(), source })
}

/// Writes one safetensors file. Tensors are copied from their device one at a time and rounded to nearest in `dtype`.
///
/// # Errors
/// When the file cannot be written, or a finite element overflows f16; the file is then removed.
pub fn write_tensors(
    path: &Path,
    tensors: Vec<(String, Parameter)>,
    dtype: DType,
    metadata: HashMap<String, String>,
) -> Result<()> {
    let beyond = OnceLock::new();
    let stored = tensors.into_iter().map(|(name, parameter)| {
        let stored = Stored { name: name.clone(), shape: parameter.shape(), parameter, dtype, beyond: &beyond };
        (name, stored)
    });
    safetensors::serialize_to_file(stored, Some(metadata), path).map_err(|error| {
        let source = match error {
            SafeTensorError::IoError(source) => source,
            other => std::io::Error::other(other.to_string()),
        };
        ModelError::Write { path: path.to_owned(), source }
    })?;
    let Some((tensor, value)) = beyond.into_inner() else { return Ok(()) };
    std::fs::remove_file(path).map_err(|source| ModelError::Write { path: path.to_owned(), source })?;
    Err(ModelError::BeyondFormat { path: path.to_owned(), tensor, value })
}

/// What transformers refuses files without.
pub(crate) fn torch_metadata() -> HashMap<String, String> {
    HashMap::from([("format".to_owned(), "pt".to_owned())])
}

/// A tensor that is read from its device only when it is written.
struct Stored<'a> {
    name: String,
    parameter: Parameter,
    shape: Vec<usize>,
    dtype: DType,
    /// Name and value of the first element that overflowed.
    beyond: &'a OnceLock<(String, f32)>,
}

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        file_dtype(self.dtype)
    }
    fn shape(&self) -> &[usize] {
        &self.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        let (bytes, beyond) = encode(self.parameter.clone(), self.dtype);
        if let Some(value) = beyond {
            self.beyond.get_or_init(|| (self.name.clone(), value));
        }
        Cow::Owned(bytes)
    }
    fn data_len(&self) -> usize {
        self.parameter.elements() * file_dtype(self.dtype).bitsize() / 8
    }
}

/// Writes `model.safetensors`, or shards and their index.
pub(super) fn write_shards(directory: &Path, tensors: Vec<(String, Parameter)>, dtype: DType) -> Result<()> {
    let width = file_dtype(dtype).bitsize() / 8;
    let mut shards: Vec<(usize, Vec<(String, Parameter)>)> = vec![(0, Vec::new())];
    let mut total = 0;
    for (name, parameter) in tensors {
        let bytes = parameter.elements() * width;
        total += bytes;
        match shards.last_mut() {
            Some((size, shard)) if *size == 0 || *size + bytes <= SHARD_BYTES => {
                *size += bytes;
                shard.push((name, parameter));
            }
            _ => shards.push((bytes, vec![(name, parameter)])),
        }
    }
    if shards.len() == 1 {
        let (_, tensors) = shards.remove(0);
        return write_tensors(&directory.join(SINGLE_FILE), tensors, dtype, torch_metadata());
    }
    let count = shards.len();
    let mut weight_map = Map::new();
    for (number, (_, tensors)) in shards.into_iter().enumerate() {
        let file = format!("model-{:05}-of-{count:05}.safetensors", number + 1);
        weight_map.extend(tensors.iter().map(|(name, _)| (name.clone(), json!(file))));
        write_tensors(&directory.join(&file), tensors, dtype, torch_metadata())?;
    }
    let index = json!({"metadata": {"total_size": total}, "weight_map": weight_map});
    write_json(&directory.join(INDEX), &index)
}

fn file_dtype(dtype: DType) -> Dtype {
    match dtype {
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        _ => Dtype::F32,
    }
}

/// Elements of a tensor that leave their device at a time when it is written.
pub const PIECE_ELEMENTS: usize = 1 << 21;

/// The bytes of a tensor, and its first finite element that overflows in that format.
fn encode(parameter: Parameter, dtype: DType) -> (Vec<u8>, Option<f32>) {
    let (values, elements) = (parameter.clone().flatten(), parameter.elements());
    let mut bytes = Vec::with_capacity(elements * file_dtype(dtype).bitsize() / 8);
    let mut beyond = None;
    for start in (0..elements).step_by(PIECE_ELEMENTS) {
        let piece = values.clone().slice(start..elements.min(start + PIECE_ELEMENTS)).cast(DType::F32).into_data();
        for value in piece.iter::<f32>() {
            match dtype {
                DType::F16 => {
                    let short = f16::from_f32(value);
                    if beyond.is_none() && short.is_infinite() && value.is_finite() {
                        beyond = Some(value);
                    }
                    bytes.extend_from_slice(&short.to_le_bytes());
                }
                DType::BF16 => bytes.extend_from_slice(&bf16::from_f32(value).to_le_bytes()),
                _ => bytes.extend_from_slice(&value.to_le_bytes()),
            }
        }
    }
    (bytes, beyond)
}
