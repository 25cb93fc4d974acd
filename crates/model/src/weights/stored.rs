//! The number format of a model's files, from their headers alone.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::DType;
use safetensors::tensor::Dtype;

use super::read::{TensorFile, weight_files};
use crate::error::Result;

/// The number format of most of the weights in a model directory; f32 for a format that is not one of weights.
///
/// # Errors
/// When a file is missing or has no sound header.
pub fn stored_dtype(directory: &Path) -> Result<DType> {
    let mut elements: BTreeMap<Dtype, usize> = BTreeMap::new();
    for file in weight_files(directory)? {
        for (_, view) in TensorFile::open(&file)?.tensors()?.tensors() {
            *elements.entry(view.dtype()).or_default() += view.shape().iter().product::<usize>();
        }
    }
    Ok(match elements.into_iter().max_by_key(|&(_, count)| count) {
        Some((Dtype::F16, _)) => DType::F16,
        Some((Dtype::BF16, _)) => DType::BF16,
        _ => DType::F32,
    })
}
