//! Qwen1.5, Qwen2 and Qwen2.5 (`model_type` "qwen2"): biases on q, k and v only, RMSNorm, RoPE in halves, SwiGLU,
//! grouped heads from Qwen2 on.

use super::Entry;
use super::shared::{self, Defaults};
use crate::config::{AttentionBias, DecoderConfig, Family};
use crate::error::Result;
use crate::keys::Keys;

const FAMILY: Family =
    Family { model_type: "qwen2", architecture: "Qwen2ForCausalLM", models: "Qwen1.5, Qwen2, Qwen2.5" };

pub(super) const ENTRY: Entry = Entry { family: FAMILY, config };

const DEFAULTS: Defaults = Defaults {
    key_value_heads: Some(32),
    head_dim: None,
    max_position_embeddings: 32_768,
    tied: false,
    activation: shared::SILU,
};

fn config(keys: &Keys<'_>) -> Result<DecoderConfig> {
    let attention_bias = AttentionBias { qkv: true, output: false };
    Ok(DecoderConfig {
        attention_bias,
        windows: shared::qwen_windows(keys)?,
        ..shared::config(keys, FAMILY, &DEFAULTS)?
    })
}
