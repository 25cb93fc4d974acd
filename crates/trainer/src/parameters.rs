//! The trained parameters of a decoder by their Hugging Face name, and sums of gradients.

use std::collections::BTreeMap;

use burn::Tensor;
use medley_model::Decoder;

/// What is known of a trained parameter without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterInfo {
    /// Hugging Face name.
    pub name: String,
    /// Shape: matrices are `[out, in]`.
    pub shape: Vec<usize>,
}

impl ParameterInfo {
    /// Number of weights.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Tensors by parameter name, each flattened to `[elements]`.
pub type TensorMap = BTreeMap<String, Tensor<1>>;

/// Lists the trained parameters: the adapters' factors where there are any, else every weight.
pub fn list(decoder: &Decoder) -> Vec<ParameterInfo> {
    decoder.trainable().into_iter().map(|(name, value)| ParameterInfo { name, shape: value.shape() }).collect()
}

/// Adds a flat tensor to the entry of `name`.
pub fn add(into: &mut TensorMap, name: &str, tensor: Tensor<1>) {
    let sum = match into.remove(name) {
        Some(earlier) => earlier + tensor,
        None => tensor,
    };
    into.insert(name.to_owned(), sum);
}
