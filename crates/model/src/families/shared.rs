//! Keys that several families share, with the defaults of transformers for missing ones (null is a value of its own).

use medley_ops::Activation;

use crate::config::{AttentionBias, DecoderConfig, Family, LayerNorms, NormFactor, PositionEncoding};
use crate::error::Result;
use crate::keys::Keys;

/// Largest accepted sizes, above those of any model: a damaged file is refused by key, and products of sizes do not overflow.
const MOST_FEATURES: usize = 1 << 20;
const MOST_HEADS: usize = 1 << 12;
const MOST_LAYERS: usize = 1 << 12;
const MOST_TOKENS: usize = 1 << 24;

/// Values of missing keys, by family.
pub(super) struct Defaults {
    /// `num_key_value_heads`; `None`: as many as query heads.
    pub(super) key_value_heads: Option<usize>,
    /// `head_dim`; `None`: `hidden_size / num_attention_heads`.
    pub(super) head_dim: Option<usize>,
    /// `max_position_embeddings`.
    pub(super) max_position_embeddings: usize,
    /// `tie_word_embeddings`.
    pub(super) tied: bool,
    /// Key of the activation, and the only value that is computed.
    pub(super) activation: (&'static str, &'static str),
}

/// `hidden_act` of most families.
pub(super) const SILU: (&str, &str) = ("hidden_act", "silu");

/// A decoder with RMSNorm before each half of a layer, RoPE, SwiGLU, no biases and no windows.
pub(super) fn config(keys: &Keys<'_>, family: Family, defaults: &Defaults) -> Result<DecoderConfig> {
    refuse_unsupported(keys, defaults)?;
    let hidden_size = keys.size("hidden_size", MOST_FEATURES)?;
    let num_attention_heads = keys.size("num_attention_heads", MOST_HEADS)?;
    let num_key_value_heads = key_value_heads(keys, num_attention_heads, defaults)?;
    let head_dim = head_dim(keys, hidden_size, num_attention_heads, defaults)?;
    let max_position_embeddings = keys.optional("max_position_embeddings")?.unwrap_or(defaults.max_position_embeddings);
    if max_position_embeddings == 0 {
        return Err(keys.problem("max_position_embeddings", "is 0, expected a positive number"));
    }
    let num_hidden_layers = keys.size("num_hidden_layers", MOST_LAYERS)?;
    Ok(DecoderConfig {
        family,
        vocab_size: keys.size("vocab_size", MOST_TOKENS)?,
        hidden_size,
        intermediate_size: keys.size("intermediate_size", MOST_FEATURES)?,
        num_hidden_layers,
        num_attention_heads,
        num_key_value_heads,
        head_dim,
        max_position_embeddings,
        rms_norm_eps: norm_epsilon(keys)?,
        tie_word_embeddings: keys.optional("tie_word_embeddings")?.unwrap_or(defaults.tied),
        position: PositionEncoding::Rope(super::rope::rope(keys, head_dim, max_position_embeddings)?),
        window_rope: None,
        embedding_scale: None,
        layer_norms: LayerNorms::BEFORE,
        norm_factor: NormFactor::Weight,
        activation: Activation::Silu,
        score_divisor: head_dim,
        attention_bias: AttentionBias { qkv: false, output: false },
        qk_norm: false,
        mlp_bias: false,
        windows: vec![None; num_hidden_layers],
        source: keys.map.clone(),
    })
}

/// The number of key-value heads: null means as many as query heads.
fn key_value_heads(keys: &Keys<'_>, num_attention_heads: usize, defaults: &Defaults) -> Result<usize> {
    let key = "num_key_value_heads";
    let missing = !keys.map.contains_key(key);
    let heads = match keys.optional(key)? {
        None if missing => defaults.key_value_heads.unwrap_or(num_attention_heads),
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

/// Features of a head; null means `hidden_size / num_attention_heads`.
fn head_dim(keys: &Keys<'_>, hidden_size: usize, heads: usize, defaults: &Defaults) -> Result<usize> {
    let missing = !keys.map.contains_key("head_dim");
    let given = keys.optional("head_dim")?;
    let head_dim = match given.or(if missing { defaults.head_dim } else { None }) {
        Some(head_dim) => head_dim,
        None if hidden_size.is_multiple_of(heads) => hidden_size / heads,
        None => {
            let problem = format!("is {hidden_size}, not a multiple of num_attention_heads = {heads}; state head_dim");
            return Err(keys.problem("hidden_size", problem));
        }
    };
    if head_dim == 0 || head_dim % 2 != 0 || head_dim > MOST_HEADS {
        let problem =
            format!("is {head_dim}, expected an even number up to {MOST_HEADS} (rotary positions turn pairs)");
        return Err(keys.problem("head_dim", problem));
    }
    Ok(head_dim)
}

/// Refuses options of all families that change the numbers and are not computed.
fn refuse_unsupported(keys: &Keys<'_>, defaults: &Defaults) -> Result<()> {
    let (key, computed) = defaults.activation;
    let activation: Option<String> = keys.optional(key)?;
    if let Some(activation) = activation.filter(|name| name != computed) {
        return Err(keys.problem(key, format!("is \"{activation}\", only \"{computed}\" is supported")));
    }
    let dropout: Option<f64> = keys.optional("attention_dropout")?;
    if let Some(dropout) = dropout.filter(|&dropout| dropout != 0.0) {
        return Err(keys.problem("attention_dropout", format!("is {dropout}, only 0 is supported")));
    }
    if keys.map.get("quantization_config").is_some_and(|value| !value.is_null()) {
        return Err(keys.problem("quantization_config", "asks for quantised weights, which are not supported"));
    }
    Ok(())
}

/// Windows by `layer_types`, or those of `missing` where the key is missing; all windows have the same width.
pub(super) fn windows(
    keys: &Keys<'_>,
    width: Option<usize>,
    missing: impl Fn(usize) -> bool,
) -> Result<Vec<Option<usize>>> {
    let layers = keys.size("num_hidden_layers", MOST_LAYERS)?;
    if width == Some(0) {
        return Err(keys.problem("sliding_window", "is 0, expected a positive number or null"));
    }
    let Some(types) = keys.optional::<Vec<String>>("layer_types")? else {
        return Ok((0..layers).map(|layer| width.filter(|_| missing(layer))).collect());
    };
    if types.len() != layers {
        let problem = format!("names {} layers, but num_hidden_layers is {layers}", types.len());
        return Err(keys.problem("layer_types", problem));
    }
    let window = |kind: &String| match (kind.as_str(), width) {
        ("full_attention", _) => Ok(None),
        ("sliding_attention", Some(width)) => Ok(Some(width)),
        ("sliding_attention", None) => {
            Err(keys.problem("layer_types", "names \"sliding_attention\" without a sliding_window in use"))
        }
        _ => {
            let problem = format!("names \"{kind}\", only \"full_attention\" and \"sliding_attention\" are supported");
            Err(keys.problem("layer_types", problem))
        }
    };
    types.iter().map(window).collect()
}

/// `sliding_window`: 4,096 where the key is missing; null means none.
pub(super) fn sliding_window(keys: &Keys<'_>) -> Result<Option<usize>> {
    match keys.map.contains_key("sliding_window") {
        true => keys.optional("sliding_window"),
        false => Ok(Some(4096)),
    }
}

/// Windows of the Qwen families: off unless `use_sliding_window`, then in the layers from `max_window_layers` on.
pub(super) fn qwen_windows(keys: &Keys<'_>) -> Result<Vec<Option<usize>>> {
    let used = keys.optional("use_sliding_window")?.unwrap_or(false);
    let width = sliding_window(keys)?.filter(|_| used);
    let first = keys.optional("max_window_layers")?.unwrap_or(28);
    windows(keys, width, |layer| layer >= first)
}

/// Whether all four projections of the attention have a bias (`attention_bias`).
pub(super) fn attention_bias(keys: &Keys<'_>) -> Result<AttentionBias> {
    let bias = keys.optional("attention_bias")?.unwrap_or(false);
    Ok(AttentionBias { qkv: bias, output: bias })
}

/// `rms_norm_eps`: a small positive number.
fn norm_epsilon(keys: &Keys<'_>) -> Result<f64> {
    let epsilon = keys.optional("rms_norm_eps")?.unwrap_or(1e-6);
    if epsilon > 0.0 && epsilon < 1.0 {
        return Ok(epsilon);
    }
    Err(keys.problem("rms_norm_eps", format!("is {epsilon}, expected a number above 0 and below 1")))
}
