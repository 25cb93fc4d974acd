//! Fixtures that transformers and PEFT made (`tests/parity/make_models.py`), and passes over them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::Tensor;
use burn::tensor::{DType, Device};
use medley_model::{
    Decoder, DropoutContext, EMBED_TOKENS, LM_HEAD, Pack, Parameter, forward_backward_layer, forward_backward_norm,
};
use medley_ops::{Gradients, IGNORED_LABEL, linear_cross_entropy, reference};
use safetensors::SafeTensors;

/// Models of the fixtures.
pub const MODELS: [&str; 21] = [
    "tied",
    "untied",
    "grouped",
    "odd-heads",
    "qwen3-tied",
    "qwen3-grouped",
    "qwen3-biased",
    "qwen3-yarn",
    "llama-untied",
    "llama-grouped",
    "llama-biased",
    "llama-linear",
    "llama-dynamic",
    "llama-llama3",
    "llama-yarn",
    "mistral-window",
    "mistral-tied",
    "qwen2-windows",
    "qwen3-windows",
    "gemma3-tied",
    "gemma3-untied",
];

/// Adapters of PEFT with their base models.
pub const ADAPTERS: [(&str, &str); 5] = [
    ("adapter", "grouped"),
    ("qwen3-adapter", "qwen3-grouped"),
    ("llama-adapter", "llama-grouped"),
    ("mistral-adapter", "mistral-window"),
    ("gemma3-adapter", "gemma3-tied"),
];

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/fixtures").join(name)
}

pub fn load(name: &str, device: &Device) -> Decoder {
    Decoder::load(&fixture(name), device, DType::F32).expect("the fixture loads")
}

/// What the peer computed.
pub struct Expected {
    pub input_ids: Vec<u32>,
    /// Shifted: the id after each token, within its sample.
    pub labels: Vec<i64>,
    pub lengths: Vec<usize>,
    pub logits: Vec<f32>,
    pub loss: f64,
    pub greedy: Vec<Vec<u32>>,
    pub gradients: BTreeMap<String, Vec<f32>>,
}

impl Expected {
    pub fn read(name: &str) -> Self {
        let bytes = std::fs::read(fixture(name).join("expected.safetensors")).expect("the fixture is there");
        let tensors = SafeTensors::deserialize(&bytes).expect("the fixture is a safetensors file");
        let integers = |name: &str| -> Vec<i64> {
            let data = tensors.tensor(name).expect("the fixture holds it").data();
            data.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().expect("eight bytes"))).collect()
        };
        let floats = |name: &str| -> Vec<f32> {
            let data = tensors.tensor(name).expect("the fixture holds it").data();
            data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("four bytes"))).collect()
        };
        let lengths: Vec<usize> = integers("lengths").into_iter().map(|length| length as usize).collect();
        let gradients = tensors.names().into_iter().filter_map(|name| {
            let own = name.strip_prefix("gradient.")?.trim_start_matches("base_model.model.").to_owned();
            Some((own, floats(name)))
        });
        Self {
            input_ids: integers("input_ids").into_iter().map(|id| id as u32).collect(),
            labels: shift(&integers("labels"), &lengths),
            logits: floats("logits"),
            loss: f64::from(floats("loss")[0]),
            greedy: integers("greedy").chunks(12).map(|ids| ids.iter().map(|&id| id as u32).collect()).collect(),
            gradients: gradients.collect(),
            lengths,
        }
    }

    pub fn supervised(&self) -> usize {
        self.labels.iter().filter(|&&label| label != IGNORED_LABEL).count()
    }

    pub fn pack(&self, model: &Decoder) -> Pack {
        Pack::new(&model.config, &self.lengths, &model.device(), DType::F32)
    }

    pub fn dropout_pack(&self, model: &Decoder) -> Pack {
        self.pack(model).with_dropout(&DropoutContext { seed: 5, step: 3, samples: &[11, 12, 13, 14] })
    }
}

fn shift(labels: &[i64], lengths: &[usize]) -> Vec<i64> {
    let mut shifted = vec![IGNORED_LABEL; labels.len()];
    let mut start = 0;
    for length in lengths {
        shifted[start..start + length - 1].copy_from_slice(&labels[start + 1..start + length]);
        start += length;
    }
    shifted
}

/// Loss and gradients through one graph of the whole model, which burn differentiates, with the plain loss.
pub fn one_graph(model: &Decoder, expected: &Expected, pack: &Pack) -> (f64, BTreeMap<String, Parameter>) {
    let mut model = model.clone();
    let mut leaves = Vec::new();
    for mut slot in model.trainable_slots() {
        let leaf = slot.get().require_grad();
        slot.set(leaf.clone());
        leaves.push((slot.name.clone(), leaf));
    }
    let hidden = model.hidden(&expected.input_ids, pack);
    let loss = reference::linear_cross_entropy(hidden, model.head_weight(), &expected.labels);
    let loss = loss / expected.supervised() as f64;
    let mut gradients = loss.backward();
    let named = leaves.into_iter().map(|(name, leaf)| {
        let gradient = leaf.gradient(&mut gradients).expect("every weight takes part");
        (name, gradient)
    });
    let named = named.collect();
    (loss.into_data().iter::<f64>().next().expect("one number"), named)
}

/// Loss and gradients block by block, as the trainer computes them.
pub fn block_wise(model: &Decoder, expected: &Expected, pack: &Pack) -> (f64, BTreeMap<String, Parameter>) {
    let full = !model.is_adapted();
    let mut inputs = Vec::new();
    let mut hidden = model.embed(&expected.input_ids);
    for layer in &model.layers {
        inputs.push(hidden.clone());
        hidden = layer.forward(hidden, pack);
    }
    let scale = 1.0 / expected.supervised() as f64;
    let wants = if full { Gradients::HiddenAndWeight } else { Gradients::Hidden };
    let normed = model.norm.forward(hidden.clone());
    let loss = linear_cross_entropy(normed, model.head_weight(), &expected.labels, scale, wants);
    let (mut upstream, mut named) =
        forward_backward_norm(&model.norm, hidden, loss.hidden_gradient.expect("asked for"), full);
    for (layer, input) in model.layers.iter().zip(inputs).rev() {
        let wants_input = full || layer.index > 0;
        let (below, gradients) = forward_backward_layer(layer, input, upstream.clone(), pack, wants_input);
        named.extend(gradients);
        upstream = below.unwrap_or(upstream);
    }
    if full {
        let head = loss.weight_gradient.expect("asked for");
        let embedding = model.embedding_gradient(&expected.input_ids, upstream);
        if model.lm_head.is_some() {
            named.push((LM_HEAD.to_owned(), Parameter::Matrix(head)));
            named.push((EMBED_TOKENS.to_owned(), Parameter::Matrix(embedding)));
        } else {
            named.push((EMBED_TOKENS.to_owned(), Parameter::Matrix(embedding + head)));
        }
    }
    (loss.loss_sum * scale, named.into_iter().collect())
}

/// Largest difference, relative to the largest expected value.
pub fn difference(actual: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(actual.len(), expected.len(), "as many elements");
    let largest = expected.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    let worst = actual.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
    assert!(actual.iter().all(|value| value.is_finite()), "finite values");
    worst / largest.max(1e-12)
}

pub fn values(parameter: Parameter) -> Vec<f32> {
    parameter.into_data().iter::<f32>().collect()
}

pub fn elements<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}
