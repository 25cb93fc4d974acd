//! A linear layer with an optional LoRA adapter beside it.

use burn::Tensor;
use medley_ops::{LowRank, adapted_linear, linear};

use crate::config::DecoderConfig;
use crate::pack::Pack;
use crate::parameter::Slots;
use crate::peft::merge::{Update, host, like};

/// `y = x W^T + b`, and with an adapter `+ scale * (dropout(x) A^T) B^T`.
///
/// The adapter is computed beside the frozen weight, never merged into a copy of it.
#[derive(Clone, Debug)]
pub struct Projection {
    /// [out, in], as checkpoints store it.
    pub weight: Tensor<2>,
    /// `[out]`.
    pub bias: Option<Tensor<1>>,
    /// The adapter.
    pub lora: Option<Adapter>,
}

/// The low-rank factors of one projection (Hu et al. 2021).
#[derive(Clone, Debug)]
pub struct Adapter {
    /// A, [rank, in].
    pub a: Tensor<2>,
    /// B, [out, rank].
    pub b: Tensor<2>,
    /// `alpha / rank`.
    pub scale: f64,
    /// Probability with which an input feature of the adapter drops out.
    pub dropout: f32,
}

impl Projection {
    /// # Shapes
    /// - `input`: [tokens, in]; output: [tokens, out]
    pub fn forward(&self, input: Tensor<2>, pack: &Pack, layer: usize, module: Module) -> Tensor<2> {
        let (weight, bias) = (self.weight.clone(), self.bias.clone());
        let Some(lora) = &self.lora else { return linear(input, weight, bias) };
        let keys = if lora.dropout > 0.0 { pack.dropout_keys(layer, module as u64) } else { None };
        let adapter = LowRank {
            a: lora.a.clone(),
            b: lora.b.clone(),
            scale: lora.scale,
            dropout: keys.map(|keys| (keys, lora.dropout)),
        };
        adapted_linear(input, weight, bias, adapter)
    }

    /// Merges the adapter into the weight: product and sum in f32, rounded once to the weight's format.
    pub fn merge(&mut self) {
        if let Some(lora) = self.lora.take() {
            let update = Update { a: host(lora.a), b: host(lora.b), scale: lora.scale as f32, magnitude: None };
            let mut values = host(self.weight.clone());
            update.add_to(&mut values, self.weight.dims()[1]);
            self.weight = like(&self.weight, values);
        }
    }

    pub(crate) fn slots<'a>(&'a mut self, name: &str, slots: &mut Slots<'a>) {
        slots.matrix(format!("{name}.weight"), false, &mut self.weight);
        if let Some(bias) = &mut self.bias {
            slots.vector(format!("{name}.bias"), bias);
        }
        if let Some(lora) = &mut self.lora {
            slots.matrix(format!("{name}.lora_A.weight"), true, &mut lora.a);
            slots.matrix(format!("{name}.lora_B.weight"), true, &mut lora.b);
        }
    }
}

/// The projections of a decoder layer, by their Hugging Face names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Module {
    /// Queries.
    QProj,
    /// Keys.
    KProj,
    /// Values.
    VProj,
    /// Output of the attention.
    OProj,
    /// Gate of the feed-forward layer.
    GateProj,
    /// Its other input.
    UpProj,
    /// Its output.
    DownProj,
}

impl Module {
    /// Path in a decoder: `model.layers.0.self_attn.q_proj`.
    pub(crate) fn path(self, layer: usize) -> String {
        let block = match self {
            Self::QProj | Self::KProj | Self::VProj | Self::OProj => "self_attn",
            Self::GateProj | Self::UpProj | Self::DownProj => "mlp",
        };
        format!("model.layers.{layer}.{block}.{}", self.name())
    }

    /// The weight's `[out, in]`.
    pub fn shape(self, config: &DecoderConfig) -> [usize; 2] {
        let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
        let queries = config.num_attention_heads * config.head_dim;
        let keys = config.num_key_value_heads * config.head_dim;
        match self {
            Self::QProj => [queries, hidden],
            Self::KProj | Self::VProj => [keys, hidden],
            Self::OProj => [hidden, queries],
            Self::GateProj | Self::UpProj => [intermediate, hidden],
            Self::DownProj => [hidden, intermediate],
        }
    }

    /// Whether the projection has a bias.
    pub(crate) fn has_bias(self, config: &DecoderConfig) -> bool {
        match self {
            Self::QProj | Self::KProj | Self::VProj => config.attention_bias.qkv,
            Self::OProj => config.attention_bias.output,
            Self::GateProj | Self::UpProj | Self::DownProj => config.mlp_bias,
        }
    }

    /// Every projection, in the order of the forward pass.
    pub const ALL: [Self; 7] =
        [Self::QProj, Self::KProj, Self::VProj, Self::OProj, Self::GateProj, Self::UpProj, Self::DownProj];

    /// `q_proj`, …
    pub fn name(self) -> &'static str {
        match self {
            Self::QProj => "q_proj",
            Self::KProj => "k_proj",
            Self::VProj => "v_proj",
            Self::OProj => "o_proj",
            Self::GateProj => "gate_proj",
            Self::UpProj => "up_proj",
            Self::DownProj => "down_proj",
        }
    }
}
