//! Memory plan of inference, checked before any weight is read.

use burn::tensor::DType;
use medley_model::{DeviceKind, ModelDescription, PREFILL_TOKENS};
use medley_trainer::metrics::resident_memory;
use medley_trainer::plan::{Budget, readable_bytes};
use miette::miette;

use crate::progress::say;

/// Workload of an inference.
#[derive(Clone, Copy, Debug)]
pub struct Answering {
    /// Sequences generated together.
    pub batch_size: usize,
    /// Longest prompt in tokens.
    pub prompt_tokens: usize,
    /// Longest answer in tokens.
    pub new_tokens: usize,
    /// Load the model even if memory is insufficient.
    pub ignore_plan: bool,
}

/// Memory by use, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Needs {
    weights: usize,
    reading: usize,
    cache: usize,
    activations: usize,
}

impl Needs {
    fn of(described: &ModelDescription, dtype: DType, answering: &Answering) -> Self {
        let config = &described.config;
        let size = dtype.size();
        let longest = config.max_position_embeddings;
        let sequence = answering.prompt_tokens.saturating_add(answering.new_tokens).min(longest);
        let prompts = answering.batch_size.saturating_mul(answering.prompt_tokens.min(longest)).min(PREFILL_TOKENS);
        let keys = config.num_key_value_heads * config.head_dim;
        let queries = config.num_attention_heads * config.head_dim;
        let per_token = 3 * config.hidden_size + 3 * config.intermediate_size + 2 * queries + 2 * keys;
        // Sizes of layers are checked against the weights; lengths and numbers of sequences can be anything.
        let cache_per_token = 2 * config.num_hidden_layers * keys * size;
        // Merging an adapter has a weight, the update and their sum in host memory.
        let copies = if described.adapter.is_some() { 3 } else { 1 };
        Self {
            weights: described.weight_bytes(dtype),
            reading: copies * described.largest_weight() * size_of::<f32>(),
            cache: answering.batch_size.saturating_mul(sequence).saturating_mul(cache_per_token),
            activations: answering
                .batch_size
                .saturating_mul(config.vocab_size * size_of::<f32>())
                .saturating_add(prompts * per_token * size),
        }
    }

    /// Peak, in bytes: reading of weights ends before generation begins.
    fn peak(&self) -> usize {
        self.reading.max(self.cache.saturating_add(self.activations)).saturating_add(self.weights)
    }
}

/// Refuses a model that does not fit into the device's memory.
///
/// # Errors
/// Too little memory, with remedies.
pub fn check(
    name: &str,
    described: &ModelDescription,
    device: DeviceKind,
    dtype: DType,
    answering: &Answering,
) -> miette::Result<()> {
    let Some(budget) = Budget::of(device) else { return Ok(()) };
    let process = if device == DeviceKind::Cpu { resident_memory() as usize } else { 0 };
    let needs = Needs::of(described, dtype, answering);
    let peak = needs.peak().saturating_add(process);
    if peak <= budget.bytes {
        return Ok(());
    }
    let bytes = |count: usize| readable_bytes(count as u64);
    let problem = format!(
        "{name} needs {}, {} of it for its weights; {} has {}",
        bytes(peak),
        bytes(needs.weights),
        budget.origin,
        bytes(budget.bytes)
    );
    if answering.ignore_plan {
        say(format!("note: {problem}"));
        return Ok(());
    }
    let help = match needs.weights + needs.reading <= budget.bytes {
        true => "lower --batch-size, --max-prompt-tokens or --max-new-tokens; or load it anyway with --ignore-plan",
        false => "take a smaller model or a machine with more memory; or load it anyway with --ignore-plan",
    };
    Err(miette!(help = help, "{problem}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use medley_model::describe_model;

    use super::*;

    #[test]
    fn needs_grow_with_the_format_the_batch_and_the_length() {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/fixtures/grouped");
        let described = describe_model(&model, None).expect("the fixture is there");
        let answering = Answering { batch_size: 2, prompt_tokens: 30, new_tokens: 10, ignore_plan: false };
        let needs = Needs::of(&described, DType::F32, &answering);
        // 2 sequences of 40 tokens, 2 layers, 2 heads of 12 features, keys and values.
        assert_eq!(needs.cache, 2 * 40 * 2 * 24 * 2 * 4);
        assert_eq!(needs.weights, 2 * Needs::of(&described, DType::BF16, &answering).weights);
        let longest = Answering { prompt_tokens: 1 << 40, new_tokens: 1 << 40, ..answering };
        assert_eq!(Needs::of(&described, DType::F32, &longest).cache, 2 * 128 * 2 * 24 * 2 * 4, "the context ends it");
        assert!(needs.peak() >= needs.weights + needs.cache + needs.activations);
        let mut endless = describe_model(&model, None).expect("the fixture is there");
        endless.config.max_position_embeddings = usize::MAX;
        let endless = Needs::of(&endless, DType::F32, &longest);
        assert_eq!(endless.cache, 2 * (1 << 41) * 2 * 2 * 24 * 4);
        let all = Answering { batch_size: usize::MAX, prompt_tokens: usize::MAX, ..answering };
        assert_eq!(Needs::of(&described, DType::F32, &all).peak(), usize::MAX);
    }
}
