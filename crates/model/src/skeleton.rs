//! A decoder of the right shapes before its weights are known.

use burn::Tensor;
use burn::tensor::{DType, Device};

use crate::attention::Attention;
use crate::config::DecoderConfig;
use crate::decoder::{Decoder, DecoderLayer, EMBED_TOKENS, LM_HEAD, NORM, RmsNorm};
use crate::mlp::Mlp;
use crate::projection::Projection;

/// All zeros but for the norms, which are one.
pub(crate) fn skeleton(config: DecoderConfig, device: &Device, dtype: DType) -> Decoder {
    let make = Skeleton { config: &config, device, dtype };
    let table = || Tensor::zeros([config.vocab_size, config.hidden_size], (device, dtype));
    Decoder {
        embed_tokens: table(),
        layers: (0..config.num_hidden_layers).map(|index| make.layer(index)).collect(),
        norm: make.norm(),
        lm_head: (!config.tie_word_embeddings).then(table),
        config,
    }
}

/// Names and shapes of a decoder's weights, in the order of [`Decoder::slots`]; nothing is allocated for them.
pub(crate) fn shapes(config: &DecoderConfig) -> Vec<(String, Vec<usize>)> {
    let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
    let queries = config.num_attention_heads * config.head_dim;
    let keys = config.num_key_value_heads * config.head_dim;
    let bias = config.attention_bias;
    let mut shapes = vec![(EMBED_TOKENS.to_owned(), vec![config.vocab_size, hidden])];
    for index in 0..config.num_hidden_layers {
        let mut add =
            |name: &str, shape: &[usize]| shapes.push((format!("model.layers.{index}.{name}"), shape.to_vec()));
        add("input_layernorm.weight", &[hidden]);
        for (name, output, input, bias) in [
            ("q_proj", queries, hidden, bias.qkv),
            ("k_proj", keys, hidden, bias.qkv),
            ("v_proj", keys, hidden, bias.qkv),
            ("o_proj", hidden, queries, bias.output),
        ] {
            add(&format!("self_attn.{name}.weight"), &[output, input]);
            if bias {
                add(&format!("self_attn.{name}.bias"), &[output]);
            }
        }
        add("post_attention_layernorm.weight", &[hidden]);
        add("mlp.gate_proj.weight", &[intermediate, hidden]);
        add("mlp.up_proj.weight", &[intermediate, hidden]);
        add("mlp.down_proj.weight", &[hidden, intermediate]);
    }
    shapes.push((NORM.to_owned(), vec![hidden]));
    if !config.tie_word_embeddings {
        shapes.push((LM_HEAD.to_owned(), vec![config.vocab_size, hidden]));
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
        let config = self.config;
        let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
        let queries = config.num_attention_heads * config.head_dim;
        let keys = config.num_key_value_heads * config.head_dim;
        let bias = config.attention_bias;
        let attention = [
            self.projection(queries, hidden, bias.qkv),
            self.projection(keys, hidden, bias.qkv),
            self.projection(keys, hidden, bias.qkv),
            self.projection(hidden, queries, bias.output),
        ];
        DecoderLayer {
            index,
            input_layernorm: self.norm(),
            self_attn: Attention::new(config, attention),
            post_attention_layernorm: self.norm(),
            mlp: Mlp {
                gate_proj: self.projection(intermediate, hidden, false),
                up_proj: self.projection(intermediate, hidden, false),
                down_proj: self.projection(hidden, intermediate, false),
            },
        }
    }

    fn projection(&self, output: usize, input: usize, bias: bool) -> Projection {
        let options = (self.device, self.dtype);
        let bias = bias.then(|| Tensor::zeros([output], options));
        Projection { weight: Tensor::zeros([output, input], options), bias, lora: None }
    }

    fn norm(&self) -> RmsNorm {
        let weight = Tensor::ones([self.config.hidden_size], (self.device, self.dtype));
        RmsNorm { weight, epsilon: self.config.rms_norm_eps }
    }
}
