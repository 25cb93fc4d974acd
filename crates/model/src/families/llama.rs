//! LLaMA, Llama 2 and 3 and their derivatives (`model_type` "llama"): no biases unless `attention_bias` or `mlp_bias` asks for
//! them.

use super::Entry;
use super::shared::{self, Defaults};
use crate::config::{DecoderConfig, Family};
use crate::error::Result;
use crate::keys::Keys;

const FAMILY: Family = Family {
    model_type: "llama",
    architecture: "LlamaForCausalLM",
    models: "LLaMA, Llama 2, Llama 3, Yi, DeepSeek-LLM, IvyGPT",
};

pub(super) const ENTRY: Entry = Entry { family: FAMILY, config };

const DEFAULTS: Defaults = Defaults {
    key_value_heads: None,
    head_dim: None,
    max_position_embeddings: 2048,
    tied: false,
    activation: shared::SILU,
};

fn config(keys: &Keys<'_>) -> Result<DecoderConfig> {
    let attention_bias = shared::attention_bias(keys)?;
    let mlp_bias = keys.optional("mlp_bias")?.unwrap_or(false);
    Ok(DecoderConfig { attention_bias, mlp_bias, ..shared::config(keys, FAMILY, &DEFAULTS)? })
}
