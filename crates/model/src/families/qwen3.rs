//! Qwen3 dense (`model_type` "qwen3"): RMSNorm over the features of every query and key head before the rotation, `head_dim`
//! independent of the hidden size, no biases unless `attention_bias` asks for them.

use super::Entry;
use super::shared::{self, Defaults};
use crate::config::{DecoderConfig, Family};
use crate::error::Result;
use crate::keys::Keys;

const FAMILY: Family = Family { model_type: "qwen3", architecture: "Qwen3ForCausalLM", models: "Qwen3 (dense)" };

pub(super) const ENTRY: Entry = Entry { family: FAMILY, config };

const DEFAULTS: Defaults = Defaults {
    key_value_heads: Some(32),
    head_dim: Some(128),
    max_position_embeddings: 32_768,
    tied: false,
    activation: shared::SILU,
};

fn config(keys: &Keys<'_>) -> Result<DecoderConfig> {
    Ok(DecoderConfig {
        attention_bias: shared::attention_bias(keys)?,
        qk_norm: true,
        windows: shared::qwen_windows(keys)?,
        ..shared::config(keys, FAMILY, &DEFAULTS)?
    })
}
