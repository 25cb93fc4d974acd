//! Qwen1.5, Qwen2 and Qwen2.5 (`model_type` "qwen2"): biases on q, k and v only, RMSNorm, RoPE in halves, SwiGLU,
//! grouped heads from Qwen2 on. The decoder's tensor names are this family's own, so names need no mapping.

use serde_json::Value;

use crate::config::{AttentionBias, DecoderConfig, Family, Keys, PositionEncoding};
use crate::error::Result;

/// Largest accepted sizes, above those of any model: a damaged file is refused by key, and products of sizes do not overflow.
const MOST_FEATURES: usize = 1 << 20;
const MOST_HEADS: usize = 1 << 12;
const MOST_LAYERS: usize = 1 << 12;
const MOST_TOKENS: usize = 1 << 24;

/// Defaults of transformers for missing keys (null is a value).
const DEFAULT_KEY_VALUE_HEADS: usize = 32;
const DEFAULT_WINDOW: usize = 4096;

/// Interprets a `config.json`; what the decoder does not compute is refused rather than ignored.
pub(crate) fn config(keys: &Keys<'_>) -> Result<DecoderConfig> {
    refuse_unsupported(keys)?;
    let hidden_size = keys.size("hidden_size", MOST_FEATURES)?;
    let num_attention_heads = keys.size("num_attention_heads", MOST_HEADS)?;
    let num_key_value_heads = key_value_heads(keys, num_attention_heads)?;
    let head_dim = match keys.optional("head_dim")? {
        Some(head_dim) => head_dim,
        None if hidden_size % num_attention_heads == 0 => hidden_size / num_attention_heads,
        None => {
            let problem = format!(
                "is {hidden_size}, not a multiple of num_attention_heads = {num_attention_heads}; state head_dim"
            );
            return Err(keys.problem("hidden_size", problem));
        }
    };
    if head_dim == 0 || head_dim % 2 != 0 || head_dim > MOST_HEADS {
        let problem =
            format!("is {head_dim}, expected an even number up to {MOST_HEADS} (rotary positions turn pairs)");
        return Err(keys.problem("head_dim", problem));
    }
    Ok(DecoderConfig {
        family: Family::Qwen2,
        vocab_size: keys.size("vocab_size", MOST_TOKENS)?,
        hidden_size,
        intermediate_size: keys.size("intermediate_size", MOST_FEATURES)?,
        num_hidden_layers: keys.size("num_hidden_layers", MOST_LAYERS)?,
        num_attention_heads,
        num_key_value_heads,
        head_dim,
        max_position_embeddings: keys.optional("max_position_embeddings")?.unwrap_or(32_768),
        rms_norm_eps: norm_epsilon(keys)?,
        tie_word_embeddings: keys.optional("tie_word_embeddings")?.unwrap_or(false),
        position: PositionEncoding::Rope { theta: rope_theta(keys)? },
        attention_bias: AttentionBias { qkv: true, output: false },
        source: keys.map.clone(),
    })
}

/// The number of key-value heads: null means as many as query heads, a missing key 32.
fn key_value_heads(keys: &Keys<'_>, num_attention_heads: usize) -> Result<usize> {
    let key = "num_key_value_heads";
    let missing = !keys.map.contains_key(key);
    let heads = match keys.optional(key)? {
        None if missing => DEFAULT_KEY_VALUE_HEADS,
        None => num_attention_heads,
        Some(heads) => heads,
    };
    if heads == 0 || !num_attention_heads.is_multiple_of(heads) {
        let is = if missing { "is missing and" } else { "is" };
        let default = if missing { " by default" } else { "" };
        let problem =
            format!("{is} {heads}{default}, expected a divisor of num_attention_heads = {num_attention_heads}");
        return Err(keys.problem(key, problem));
    }
    Ok(heads)
}

fn refuse_unsupported(keys: &Keys<'_>) -> Result<()> {
    let activation: Option<String> = keys.optional("hidden_act")?;
    if let Some(activation) = activation.filter(|name| name != "silu") {
        return Err(keys.problem("hidden_act", format!("is \"{activation}\", only \"silu\" is supported")));
    }
    let dropout: Option<f64> = keys.optional("attention_dropout")?;
    if let Some(dropout) = dropout.filter(|&dropout| dropout != 0.0) {
        return Err(keys.problem("attention_dropout", format!("is {dropout}, only 0 is supported")));
    }
    if keys.map.get("quantization_config").is_some_and(|value| !value.is_null()) {
        return Err(keys.problem("quantization_config", "asks for quantised weights, which are not supported"));
    }
    let layers: usize = keys.positive("num_hidden_layers")?;
    let window: Option<usize> = match keys.map.contains_key("sliding_window") {
        true => keys.optional("sliding_window")?,
        false => Some(DEFAULT_WINDOW),
    };
    let first_windowed = keys.optional("max_window_layers")?.unwrap_or(28);
    if keys.optional("use_sliding_window")?.unwrap_or(false) && window.is_some() && first_windowed < layers {
        let problem = format!(
            "is true with max_window_layers = {first_windowed} of {layers} layers: sliding windows are not supported"
        );
        return Err(keys.problem("use_sliding_window", problem));
    }
    let types: Option<Vec<String>> = keys.optional("layer_types")?;
    if let Some(other) = types.unwrap_or_default().iter().find(|name| *name != "full_attention") {
        return Err(keys.problem("layer_types", format!("names \"{other}\", only \"full_attention\" is supported")));
    }
    Ok(())
}

/// `rope_theta`, which newer files keep inside `rope_parameters`.
fn rope_theta(keys: &Keys<'_>) -> Result<f64> {
    for key in ["rope_scaling", "rope_parameters"] {
        let Some(Value::Object(scaling)) = keys.map.get(key) else { continue };
        let kind = scaling.get("rope_type").or_else(|| scaling.get("type")).and_then(Value::as_str);
        if let Some(kind) = kind.filter(|&kind| kind != "default") {
            return Err(
                keys.problem(key, format!("asks for \"{kind}\" rotary positions, only \"default\" is supported"))
            );
        }
        if let Some(theta) = scaling.get("rope_theta") {
            let theta = theta.as_f64().ok_or_else(|| keys.problem(key, "has a rope_theta that is not a number"))?;
            return checked_theta(theta, key, keys);
        }
    }
    checked_theta(keys.optional("rope_theta")?.unwrap_or(10_000.0), "rope_theta", keys)
}

fn checked_theta(theta: f64, key: &str, keys: &Keys<'_>) -> Result<f64> {
    if (1.0..=1e12).contains(&theta) {
        return Ok(theta);
    }
    Err(keys.problem(key, format!("has rotary base {theta}, expected 1 to 1e12")))
}

/// `rms_norm_eps`: a small positive number.
fn norm_epsilon(keys: &Keys<'_>) -> Result<f64> {
    let epsilon = keys.optional("rms_norm_eps")?.unwrap_or(1e-6);
    if epsilon > 0.0 && epsilon < 1.0 {
        return Ok(epsilon);
    }
    Err(keys.problem("rms_norm_eps", format!("is {epsilon}, expected a number above 0 and below 1")))
}
