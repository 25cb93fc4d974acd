//! Fresh random weights from a JSON file: a Hugging Face configuration and an optional `medley_init`.

use std::path::Path;

use burn::Tensor;
use burn::tensor::{DType, Device, TensorData};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Deserialize;

use crate::config::{DecoderConfig, PositionEncoding};
use crate::decoder::{Decoder, DecoderLayer};
use crate::error::Result;
use crate::keys::{Keys, read_object};
use crate::parameter::Parameter;
use crate::skeleton::skeleton;

/// How fresh weights are drawn: the `medley_init` object.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InitConfig {
    /// Standard deviation of every matrix; norms start at 1, biases at 0.
    pub std: f64,
    /// `[layer, head, offset]`: the query and key biases of that query head are set so that it starts by attending to
    /// the token `offset` positions before (0 is the token itself).
    pub offset_heads: Vec<[usize; 3]>,
    /// Score of the wanted offset in nats; those of far offsets are about 0.
    pub offset_strength: f64,
}

impl Default for InitConfig {
    fn default() -> Self {
        Self { std: 0.02, offset_heads: Vec::new(), offset_strength: 20.0 }
    }
}

impl InitConfig {
    /// Reads a configuration and how to draw its weights.
    ///
    /// # Errors
    /// When the file cannot be read, a key cannot be used, or an offset head is outside the model.
    pub fn from_file(path: &Path) -> Result<(DecoderConfig, Self)> {
        let mut object = read_object(path)?;
        let init = object.remove("medley_init");
        let config = DecoderConfig::from_map(object.clone(), path)?;
        let keys = Keys { map: &object, path };
        let wrong = |problem: String| keys.problem("medley_init", problem);
        let init: Self = match init {
            None => Self::default(),
            Some(value) => serde_json::from_value(value).map_err(|error| wrong(format!("cannot be used: {error}")))?,
        };
        if !(init.std > 0.0 && init.std.is_finite()) {
            return Err(wrong(format!("has std = {}, expected a positive number", init.std)));
        }
        if !init.offset_heads.is_empty() && (config.qk_norm || !config.attention_bias.qkv) {
            let problem =
                "names offset_heads, which need biases on queries and keys and no norm behind them".to_owned();
            return Err(wrong(problem));
        }
        for head in &init.offset_heads {
            let [layer, query, _] = *head;
            if layer >= config.num_hidden_layers || query >= config.num_attention_heads {
                let (layers, heads) = (config.num_hidden_layers, config.num_attention_heads);
                return Err(wrong(format!("names head {head:?} of a model with {layers} layers of {heads} heads")));
            }
        }
        Ok((config, init))
    }
}

impl Decoder {
    /// Fresh weights; the same for the same seed on every machine and device.
    pub fn init(config: DecoderConfig, init: &InitConfig, seed: u64, device: &Device, dtype: DType) -> Self {
        let mut model = skeleton(config, device, dtype);
        for (number, mut slot) in model.slots().into_iter().enumerate() {
            if let Parameter::Matrix(matrix) = slot.get() {
                let mut normal = Normal::new(seed, number as u64);
                let values: Vec<f32> = (0..matrix.dims().iter().product()).map(|_| normal.draw(init.std)).collect();
                slot.set(Parameter::from_data(TensorData::new(values, matrix.dims()), device, dtype));
            }
        }
        let config = model.config.clone();
        for &[layer, head, offset] in &init.offset_heads {
            set_offset_head(&mut model.layers[layer], &config, [head, offset], init.offset_strength);
        }
        model
    }

    /// Reads an `init:FILE` model: configuration and recipe for its weights in one JSON file.
    ///
    /// # Errors
    /// As [`InitConfig::from_file`].
    pub fn init_from_file(path: &Path, seed: u64, device: &Device, dtype: DType) -> Result<Self> {
        let (config, init) = InitConfig::from_file(path)?;
        Ok(Self::init(config, &init, seed, device, dtype))
    }
}

/// Normal numbers by Box and Muller's method.
struct Normal(StdRng);

impl Normal {
    fn new(seed: u64, stream: u64) -> Self {
        Self(StdRng::seed_from_u64(seed ^ stream.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    fn draw(&mut self, std: f64) -> f32 {
        let radius: f64 = 1.0 - self.0.random::<f64>();
        let angle: f64 = self.0.random::<f64>() * std::f64::consts::TAU;
        (std * (-2.0 * radius.ln()).sqrt() * angle.cos()) as f32
    }
}

/// With constant biases alone the score of a query at `m` and a key at `n` is a sum over pairs of
/// `|q_i| |k_i| cos((m - n) w_i - phase_i)`; the phase `offset * w_i` makes every pair peak at the wanted offset.
fn set_offset_head(layer: &mut DecoderLayer, config: &DecoderConfig, [head, offset]: [usize; 2], strength: f64) {
    let PositionEncoding::Rope(rope) = config.position;
    let frequencies = rope.inverse_frequencies(config.head_dim, 0);
    let half = config.head_dim / 2;
    // Fast pairs tell neighbours apart best; pairs that hardly turn over a sample would add the same to every offset.
    let weight = |frequency: f32| if frequency > 0.02 { f64::from(frequency).sqrt() } else { 0.0 };
    let total: f64 = frequencies.iter().map(|&frequency| weight(frequency)).sum();
    let (mut query, mut key) = (vec![0.0f32; 2 * half], vec![0.0f32; 2 * half]);
    for (i, &frequency) in frequencies.iter().enumerate() {
        let size = (strength * (config.head_dim as f64).sqrt() * weight(frequency) / total).sqrt();
        let phase = offset as f64 * f64::from(frequency);
        key[i] = size as f32;
        // The query turned back by the phase meets the key that stands `offset` before it.
        query[i] = (size * phase.cos()) as f32;
        query[i + half] = (-size * phase.sin()) as f32;
    }
    let group = config.num_attention_heads / config.num_key_value_heads;
    put(&mut layer.self_attn.q_proj.bias, head * config.head_dim, &query);
    put(&mut layer.self_attn.k_proj.bias, head / group * config.head_dim, &key);
}

fn put(bias: &mut Option<Tensor<1>>, start: usize, values: &[f32]) {
    if let Some(bias) = bias {
        let data = TensorData::new(values.to_vec(), [values.len()]);
        let values_tensor = Tensor::<1>::from_data(data, (&bias.device(), bias.dtype()));
        *bias = bias.clone().slice_assign(start..start + values.len(), values_tensor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::Pack;

    fn config() -> DecoderConfig {
        let text = r#"{"model_type": "qwen2", "vocab_size": 50, "hidden_size": 128, "intermediate_size": 64,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4, "tie_word_embeddings": true}"#;
        let map = serde_json::from_str(text).expect("JSON");
        DecoderConfig::from_map(map, Path::new("config.json")).expect("a sound configuration")
    }

    #[test]
    fn offset_heads_attend_to_their_offset() {
        let device = Device::flex();
        let offset_heads = vec![[0, 0, 1], [0, 1, 2], [0, 2, 3], [0, 3, 4]];
        let init = InitConfig { offset_heads, ..InitConfig::default() };
        let model = Decoder::init(config(), &init, 1, &device, DType::F32);
        let ids: Vec<u32> = (0..40).map(|i| i * 7 % 50).collect();
        let pack = Pack::new(&model.config, &[40], &device, DType::F32);
        let normed = model.layers[0].input_layernorm.forward(model.embed(&ids));
        let (q, k, _) = model.layers[0].self_attn.queries_keys_values(normed, &pack, 0);
        let scores = q.swap_dims(0, 1).matmul(k.swap_dims(0, 1).transpose()) * model.layers[0].self_attn.scoring.scale;
        let scores: Vec<f32> = scores.into_data().iter::<f32>().collect();
        for head in 0..4 {
            for token in 10..40 {
                let row = &scores[(head * 40 + token) * 40..][..=token];
                let total: f32 = row.iter().map(|score| score.exp()).sum();
                let share = row[token - head - 1].exp() / total;
                assert!(share > 0.8, "head {head} gives {share} of token {token} to its offset");
            }
        }
    }

    #[test]
    fn weights_depend_on_the_seed_alone() {
        let make = |seed| Decoder::init(config(), &InitConfig::default(), seed, &Device::flex(), DType::F32);
        let values = |model: Decoder| -> Vec<f32> {
            model
                .parameters()
                .into_iter()
                .flat_map(|(_, value)| value.into_data().iter::<f32>().collect::<Vec<_>>())
                .collect()
        };
        let (one, two, other) = (values(make(1)), values(make(1)), values(make(2)));
        assert_eq!(one, two);
        assert_ne!(one, other);
        assert_eq!(one.len(), config().parameter_count());
        let embedding = &one[..50 * 128];
        let deviation = (embedding.iter().map(|value| value * value).sum::<f32>() / embedding.len() as f32).sqrt();
        assert!((deviation - 0.02).abs() < 0.001, "{deviation}");
    }
}
