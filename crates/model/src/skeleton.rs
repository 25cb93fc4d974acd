//! A decoder with the shapes of a configuration, before its weights are read.

use burn::Tensor;
use burn::tensor::{DType, Device};

use crate::attention::Attention;
use crate::config::{DecoderConfig, NormFactor};
use crate::decoder::{Decoder, DecoderLayer, EMBED_TOKENS, LM_HEAD, NORM, RmsNorm};
use crate::mlp::Mlp;
use crate::projection::{Module, Projection};

/// All weights are zero except those of the norms, which multiply by one.
pub(crate) fn skeleton(config: DecoderConfig, device: &Device, dtype: DType) -> Decoder {
    let make = Skeleton { config: &config, device, dtype };
    let table = || Tensor::zeros([config.vocab_size, config.hidden_size], (device, dtype));
    Decoder {
        embed_tokens: table(),
        layers: (0..config.num_hidden_layers).map(|index| make.layer(index)).collect(),
        norm: make.norm(config.hidden_size),
        lm_head: (!config.tie_word_embeddings).then(table),
        config,
    }
}

/// Names and shapes of a decoder's weights, in the order of [`Decoder::slots`], without allocating any.
pub(crate) fn shapes(config: &DecoderConfig) -> Vec<(String, Vec<usize>)> {
    let (norm, table) = (vec![config.hidden_size], vec![config.vocab_size, config.hidden_size]);
    let mut shapes = vec![(EMBED_TOKENS.to_owned(), table.clone())];
    for layer in 0..config.num_hidden_layers {
        let mut of_layer = |name: &str| shapes.push((format!("model.layers.{layer}.{name}.weight"), norm.clone()));
        of_layer(config.layer_norms.attention);
        for module in Module::ALL {
            if module == Module::GateProj {
                if config.qk_norm {
                    let of_head = |name: &str| format!("model.layers.{layer}.self_attn.{name}.weight");
                    shapes.extend(["q_norm", "k_norm"].map(|name| (of_head(name), vec![config.head_dim])));
                }
                let mut of_layer =
                    |name: &str| shapes.push((format!("model.layers.{layer}.{name}.weight"), norm.clone()));
                config.layer_norms.attention_branch.into_iter().for_each(&mut of_layer);
                of_layer(config.layer_norms.mlp);
            }
            let (path, [output, input]) = (module.path(layer), module.shape(config));
            shapes.push((format!("{path}.weight"), vec![output, input]));
            if module.has_bias(config) {
                shapes.push((format!("{path}.bias"), vec![output]));
            }
        }
        if let Some(name) = config.layer_norms.mlp_branch {
            shapes.push((format!("model.layers.{layer}.{name}.weight"), norm.clone()));
        }
    }
    shapes.push((NORM.to_owned(), norm));
    if !config.tie_word_embeddings {
        shapes.push((LM_HEAD.to_owned(), table));
    }
    shapes
}

struct Skeleton<'a> {
    config: &'a DecoderConfig,
    device: &'a Device,
    dtype: DType,
}

impl Skeleton<'_> {
    fn layer(&self, index: usize) -> DecoderLayer {
        let attention = [Module::QProj, Module::KProj, Module::VProj, Module::OProj];
        let (hidden, head_dim, norms) = (self.config.hidden_size, self.config.head_dim, self.config.layer_norms);
        let qk_norm = self.config.qk_norm.then(|| [self.norm(head_dim), self.norm(head_dim)]);
        DecoderLayer {
            index,
            input_layernorm: self.norm(hidden),
            self_attn: Attention::new(self.config, attention.map(|module| self.projection(module)), qk_norm, index),
            attention_branch_norm: norms.attention_branch.map(|_| self.norm(hidden)),
            post_attention_layernorm: self.norm(hidden),
            mlp: Mlp {
                gate_proj: self.projection(Module::GateProj),
                up_proj: self.projection(Module::UpProj),
                down_proj: self.projection(Module::DownProj),
                activation: self.config.activation,
            },
            mlp_branch_norm: norms.mlp_branch.map(|_| self.norm(hidden)),
            norms,
        }
    }

    fn projection(&self, module: Module) -> Projection {
        let (options, [output, input]) = ((self.device, self.dtype), module.shape(self.config));
        let bias = module.has_bias(self.config).then(|| Tensor::zeros([output], options));
        Projection { weight: Tensor::zeros([output, input], options), bias, lora: None }
    }

    fn norm(&self, width: usize) -> RmsNorm {
        let options = (self.device, self.dtype);
        let weight = match self.config.norm_factor {
            NormFactor::Weight => Tensor::ones([width], options),
            NormFactor::OnePlusWeight => Tensor::zeros([width], options),
        };
        RmsNorm { weight, epsilon: self.config.rms_norm_eps, factor: self.config.norm_factor }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn shapes_are_those_of_the_allocated_model() {
        for name in ["tied", "grouped", "qwen3-tied", "qwen3-grouped", "llama-biased", "gemma3-tied"] {
            let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parity/fixtures").join(name);
            let config = DecoderConfig::from_dir(&directory).expect("the fixture is there");
            let mut model = skeleton(config.clone(), &Device::flex(), DType::F32);
            let slots: Vec<_> = model.slots().iter().map(|slot| (slot.name.clone(), slot.get().shape())).collect();
            assert_eq!(shapes(&config), slots, "{name}");
            let elements: usize = slots.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
            assert_eq!(config.parameter_count(), elements, "{name}");
        }
    }
}
