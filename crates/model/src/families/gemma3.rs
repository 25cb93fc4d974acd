//! Gemma 3, text only (`model_type` "gemma3_text"): norms before and on both branches that multiply by one more than their
//! weight, norms of queries and keys, GeGLU, a scaled embedding, and five layers with a sliding window and a rotary base of
//! their own to every full one.

use medley_ops::Activation;
use serde_json::{Map, Value};

use super::Entry;
use super::shared::{self, Defaults};
use crate::config::{DecoderConfig, Family, LayerNorms, NormFactor, PositionEncoding};
use crate::error::Result;
use crate::keys::Keys;

const FAMILY: Family =
    Family { model_type: "gemma3_text", architecture: "Gemma3ForCausalLM", models: "Gemma 3 (text: 270M, 1B)" };

pub(super) const ENTRY: Entry = Entry { family: FAMILY, config };

const DEFAULTS: Defaults = Defaults {
    key_value_heads: Some(4),
    head_dim: Some(256),
    max_position_embeddings: 131_072,
    tied: true,
    activation: ("hidden_activation", "gelu_pytorch_tanh"),
};

const NORMS: LayerNorms = LayerNorms {
    attention: "input_layernorm",
    attention_branch: Some("post_attention_layernorm"),
    mlp: "pre_feedforward_layernorm",
    mlp_branch: Some("post_feedforward_layernorm"),
};

/// Keys of `rope_parameters`: layers without and with a window.
const LAYER_TYPES: [&str; 2] = ["full_attention", "sliding_attention"];

fn config(keys: &Keys<'_>) -> Result<DecoderConfig> {
    refuse_unsupported(keys)?;
    let mut plain = keys.map.clone();
    // Read below: the objects are by layer type.
    ["rope_scaling", "rope_parameters"].iter().for_each(|key| drop(plain.remove(*key)));
    let base = shared::config(&Keys { map: &plain, path: keys.path }, FAMILY, &DEFAULTS)?;
    let [full, windowed] = ropes(keys)?;
    let sizes = [base.head_dim, base.max_position_embeddings];
    let pattern = match keys.optional("sliding_window_pattern")? {
        Some(0) => return Err(keys.problem("sliding_window_pattern", "is 0, expected a positive number")),
        pattern => pattern.unwrap_or(6),
    };
    let score_divisor = match keys.optional("query_pre_attn_scalar")? {
        Some(0) => return Err(keys.problem("query_pre_attn_scalar", "is 0, expected a positive number")),
        scalar => scalar.unwrap_or(256),
    };
    Ok(DecoderConfig {
        position: PositionEncoding::Rope(super::rope::of_object(keys, full, ("rope_theta", 1e6), sizes)?),
        window_rope: Some(super::rope::of_object(keys, windowed, ("rope_local_base_freq", 1e4), sizes)?),
        embedding_scale: Some((base.hidden_size as f64).sqrt()),
        layer_norms: NORMS,
        norm_factor: NormFactor::OnePlusWeight,
        activation: Activation::GeluTanh,
        score_divisor,
        attention_bias: shared::attention_bias(keys)?,
        qk_norm: true,
        windows: shared::windows(keys, shared::sliding_window(keys)?, |layer| (layer + 1) % pattern != 0)?,
        source: keys.map.clone(),
        ..base
    })
}

/// Rotary parameters of layers without and with a window: `rope_parameters`, and for the former `rope_scaling` over it.
fn ropes(keys: &Keys<'_>) -> Result<[(&'static str, Map<String, Value>); 2]> {
    let key = "rope_parameters";
    let given: Map<String, Value> = keys.optional(key)?.unwrap_or_default();
    if let Some(other) = given.keys().find(|name| !LAYER_TYPES.contains(&name.as_str())) {
        let problem = format!("has \"{other}\", expected objects for \"full_attention\" and \"sliding_attention\"");
        return Err(keys.problem(key, problem));
    }
    let of_type = |name: &str| match given.get(name) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map.clone()),
        Some(other) => Err(keys.problem(key, format!("has {name} = {other}, expected an object"))),
    };
    let (mut full, windowed) = (of_type(LAYER_TYPES[0])?, of_type(LAYER_TYPES[1])?);
    match keys.optional::<Map<String, Value>>("rope_scaling")? {
        Some(scaling) => {
            full.extend(scaling);
            Ok([("rope_scaling", full), (key, windowed)])
        }
        None => Ok([(key, full), (key, windowed)]),
    }
}

fn refuse_unsupported(keys: &Keys<'_>) -> Result<()> {
    for key in ["final_logit_softcapping", "attn_logit_softcapping"] {
        if let Some(cap) = keys.optional::<f64>(key)? {
            return Err(keys.problem(key, format!("is {cap}: capped logits are not supported")));
        }
    }
    if keys.optional("use_bidirectional_attention")?.unwrap_or(false) {
        return Err(keys.problem("use_bidirectional_attention", "is true, only causal attention is supported"));
    }
    Ok(())
}
