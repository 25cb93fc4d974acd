//! Writing: safetensors files and the index of shards, as transformers and PEFT write them.

use std::collections::HashMap;
use std::path::Path;

use burn::tensor::DType;
use half::{bf16, f16};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Map, Value, json};

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

/// Writes one safetensors file.
pub(crate) fn write_tensors(path: &Path, tensors: Vec<(String, Parameter)>, dtype: DType) -> Result<()> {
    let kind = file_dtype(dtype);
    let encoded: Vec<(String, Vec<usize>, Vec<u8>)> =
        tensors.into_iter().map(|(name, parameter)| (name, parameter.shape(), encode(parameter, dtype))).collect();
    let views = encoded.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(kind, shape.clone(), bytes).expect("bytes fit the shape"))
    });
    // transformers refuses files without this entry.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize_to_file(views, Some(metadata), path)
        .map_err(|error| ModelError::Write { path: path.to_owned(), source: std::io::Error::other(error.to_string()) })
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
        return write_tensors(&directory.join("model.safetensors"), tensors, dtype);
    }
    let count = shards.len();
    let mut weight_map = Map::new();
    for (number, (_, tensors)) in shards.into_iter().enumerate() {
        let file = format!("model-{:05}-of-{count:05}.safetensors", number + 1);
        weight_map.extend(tensors.iter().map(|(name, _)| (name.clone(), json!(file))));
        write_tensors(&directory.join(&file), tensors, dtype)?;
    }
    let index = json!({"metadata": {"total_size": total}, "weight_map": weight_map});
    write_json(&directory.join("model.safetensors.index.json"), &index)
}

fn file_dtype(dtype: DType) -> Dtype {
    match dtype {
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        _ => Dtype::F32,
    }
}

fn encode(parameter: Parameter, dtype: DType) -> Vec<u8> {
    let data = parameter.cast(DType::F32).into_data();
    let values = data.iter::<f32>();
    match dtype {
        DType::F16 => values.flat_map(|value| f16::from_f32(value).to_le_bytes()).collect(),
        DType::BF16 => values.flat_map(|value| bf16::from_f32(value).to_le_bytes()).collect(),
        _ => values.flat_map(f32::to_le_bytes).collect(),
    }
}
