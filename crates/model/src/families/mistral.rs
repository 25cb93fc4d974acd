//! Mistral (`model_type` "mistral"): grouped heads, no biases, in the first releases a sliding window in every layer.

use super::Entry;
use super::shared::{self, Defaults};
use crate::config::{DecoderConfig, Family};
use crate::error::Result;
use crate::keys::Keys;

const FAMILY: Family = Family {
    model_type: "mistral",
    architecture: "MistralForCausalLM",
    models: "Mistral 7B, Mistral NeMo, Mistral Small 3",
};

pub(super) const ENTRY: Entry = Entry { family: FAMILY, config };

const DEFAULTS: Defaults = Defaults {
    key_value_heads: Some(8),
    head_dim: None,
    max_position_embeddings: 131_072,
    tied: false,
    activation: shared::SILU,
};

fn config(keys: &Keys<'_>) -> Result<DecoderConfig> {
    let window = shared::sliding_window(keys)?;
    let windows = shared::windows(keys, window, |_| true)?;
    // transformers ignores `layer_types` in this family: every layer has the window, if there is one.
    if let Some(layer) = windows.iter().position(|layer| *layer != window) {
        let problem =
            format!("has no sliding window in layer {layer}, but sliding_window = {window:?} is every layer's");
        return Err(keys.problem("layer_types", problem));
    }
    Ok(DecoderConfig { windows, ..shared::config(keys, FAMILY, &DEFAULTS)? })
}
