//! How fast the quickstart's model trains; printed, not judged.

use std::time::Instant;

use burn::tensor::{DType, Device};
use medley_model::Decoder;
use medley_recipe::{BlockPolicy, Optimizer as Rule, TrainSpec};

use super::{lora, spec};
use crate::optimizer::Optimizer;
use crate::parameters;
use crate::sample::Sample;
use crate::sample::tests::sample;
use crate::step::{GradientContext, clip_factor};

const CONFIG: &str = r#"{"model_type": "qwen2", "vocab_size": 650, "hidden_size": 128, "intermediate_size": 344,
    "num_hidden_layers": 5, "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true, "hidden_act": "silu"}"#;

#[test]
#[ignore = "a measurement: run with --ignored --nocapture"]
fn tokens_per_second() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("config.json");
    std::fs::write(&config, CONFIG).expect("written");
    let samples: Vec<Sample> = (0..320)
        .map(|key| {
            let length = 60 + key * 7 % 36;
            let tokens: Vec<u32> = (0..length).map(|at| ((at * 31 + key * 17) % 650) as u32).collect();
            sample(key, &tokens, 10)
        })
        .collect();
    for (name, spec) in [
        ("full, AdamW, keep", TrainSpec { block_policy: BlockPolicy::Keep, ..spec() }),
        ("full, AdamW, recompute", spec()),
        ("full, Muon, keep", TrainSpec { block_policy: BlockPolicy::Keep, optimizer: Rule::Muon, ..spec() }),
        ("LoRA, AdamW, keep", TrainSpec { block_policy: BlockPolicy::Keep, method: lora(), ..spec() }),
    ] {
        let spec = TrainSpec { tokens_per_micro_batch: 8192, learning_rate: 1e-3, ..spec };
        let mut decoder = Decoder::init_from_file(&config, 1, &Device::flex(), DType::F32).expect("a configuration");
        if spec.method == lora() {
            let lora =
                medley_model::LoraConfig { rank: 8, alpha: 16.0, dropout: 0.05, target: vec!["all-linear".into()] };
            decoder.apply_lora(&lora, 1).expect("a configuration");
        }
        let mut optimizer = Optimizer::new(&spec, &parameters::list(&decoder));
        let (mut tokens, mut backward, mut update) = (0, 0.0, 0.0);
        for (step, batch) in samples.chunks(16).enumerate() {
            let started = Instant::now();
            let batch: Vec<&Sample> = batch.iter().collect();
            let context = GradientContext { spec: &spec };
            let gradient = context.gradient(&decoder, &batch, step).expect("finite");
            let middle = Instant::now();
            let norm = context.global_norm(&gradient.gradients, &decoder, &batch, step).expect("finite");
            optimizer.step(&mut decoder, gradient.gradients, 1e-3, clip_factor(norm, 1.0));
            if step > 0 {
                tokens += gradient.summary.tokens;
                backward += (middle - started).as_secs_f64();
                update += middle.elapsed().as_secs_f64();
            }
        }
        println!(
            "{name}: {:.0} tokens/s ({:.1} ms forward and backward, {:.1} ms update a step)",
            tokens as f64 / (backward + update),
            backward / 19.0 * 1e3,
            update / 19.0 * 1e3
        );
    }
}
