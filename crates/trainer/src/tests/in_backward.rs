//! Updates in the backward pass give the bits of the plain step, with less memory.

use std::fs;
use std::path::Path;

use burn::tensor::{DType, Device};
use medley_files::WithHelp as _;
use medley_model::Decoder;
use medley_recipe::{BlockPolicy, Optimizer as Rule, TrainSpec};

use super::resume::{same_files, timeless};
use super::{Watcher, samples, spec, tiny_base, train, train_from};
use crate::metrics::Metrics;
use crate::optimizer::Optimizer;
use crate::parameters;
use crate::sample::Sample;
use crate::sample::tests::sample;
use crate::step::{GradientContext, clip_factor};
use crate::{Base, Silent, TrainError};

/// Gradients of the tiny model are larger.
const CLIPS: f64 = 0.01;

/// Steps of one micro-batch.
fn unclipped() -> TrainSpec {
    TrainSpec { max_grad_norm: 0.0, tokens_per_micro_batch: 10_000, ..spec() }
}

fn in_backward() -> TrainSpec {
    TrainSpec { optimizer_in_backward: true, ..unclipped() }
}

/// The tiny model with a head of its own.
fn untied(folder: &Path) -> Base {
    let mut decoder = Decoder::load(&tiny_base(), &Device::flex(), DType::F32).expect("the fixture loads");
    decoder.lm_head = Some(decoder.embed_tokens.clone() * 0.9);
    decoder.config.tie_word_embeddings = false;
    decoder.config.source.insert("tie_word_embeddings".into(), false.into());
    let directory = folder.join("untied");
    decoder.save(&directory, DType::F32).expect("saved");
    Base::Model { directory, name: "untied".into() }
}

#[test]
fn the_weights_are_those_of_the_plain_step() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tied = Base::Model { directory: tiny_base(), name: "tiny".into() };
    for (name, base) in [("tied", tied), ("untied", untied(folder.path()))] {
        for optimizer in [Rule::AdamW, Rule::Muon] {
            for (block_policy, max_grad_norm) in [
                (BlockPolicy::Recompute, 0.0),
                (BlockPolicy::Keep, 0.0),
                (BlockPolicy::Recompute, CLIPS),
                (BlockPolicy::Keep, CLIPS),
            ] {
                let runs = [unclipped(), in_backward()].map(|spec| {
                    let spec = TrainSpec { optimizer, block_policy, max_grad_norm, logging_steps: 1, ..spec };
                    let in_backward = spec.optimizer_in_backward;
                    let case = format!("{name} {optimizer:?} {block_policy:?} {max_grad_norm} {in_backward}");
                    let run = folder.path().join(case);
                    let outcome = train_from(base.clone(), &run, &spec, &samples(11), false, &Silent, &Device::flex());
                    assert_eq!(outcome.expect("trains").step, 9);
                    run
                });
                let [plain, ours] = runs.each_ref().map(|run| run.join("steps/9"));
                same_files(&plain, &ours, &["model.safetensors", "optimizer.safetensors"]);
                // Losses and gradient norms as well.
                let [plain, ours] = runs.map(|run| timeless(&run.join("metrics.jsonl")));
                assert_eq!(plain, ours);
                let is_small = |line: &Metrics| matches!(line, Metrics::Train(line) if line.grad_norm <= max_grad_norm);
                assert!(!plain.iter().any(is_small), "clipping is active");
            }
        }
    }
}

#[test]
fn a_run_may_change_between_the_two_when_it_is_resumed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    train(&whole, &in_backward(), &samples(11), false, &Silent).expect("trains");
    for (stop, spec) in [(2, in_backward()), (4, unclipped()), (6, in_backward()), (9, in_backward())] {
        let watcher = Watcher { stop_after: Some(stop), ..Watcher::default() };
        assert_eq!(train(&parts, &spec, &samples(11), true, &watcher).expect("trains").step, stop);
    }
    same_files(&whole.join("steps/9"), &parts.join("steps/9"), &["model.safetensors", "optimizer.safetensors"]);
    assert_eq!(timeless(&whole.join("metrics.jsonl")), timeless(&parts.join("metrics.jsonl")));
}

#[test]
fn a_step_that_would_be_cut_is_refused_before_the_first_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = folder.path().join("run");
    let cut = TrainSpec { tokens_per_micro_batch: 24, ..in_backward() };
    let error = train(&run, &cut, &samples(11), false, &Silent).expect_err("cut");
    let TrainError::StepIsCut { tokens, samples: 4, budget: 24, .. } = error else { panic!("{error}") };
    let hint = format!("set `train.tokens_per_micro_batch` to {tokens}");
    assert!(error.with_help().contains(&hint), "{error}");
    // The setting that it names fits, and one token less does not.
    let less = TrainSpec { tokens_per_micro_batch: tokens - 1, ..in_backward() };
    train(&run, &less, &samples(11), false, &Silent).expect_err("cut");
    let fits = TrainSpec { tokens_per_micro_batch: tokens, ..in_backward() };
    assert_eq!(train(&run, &fits, &samples(11), false, &Silent).expect("trains").step, 9);
}

fn weights(decoder: &Decoder) -> Vec<Vec<f32>> {
    let values = |(_, value): (String, medley_model::Parameter)| value.into_data().try_to_vec::<f32>().expect("f32");
    decoder.parameters().into_iter().map(values).collect()
}

#[test]
fn nothing_is_updated_before_the_loss_is_known_to_be_finite() {
    let mut decoder = Decoder::load(&tiny_base(), &Device::flex(), DType::F32).expect("the fixture loads");
    decoder.norm.weight = decoder.norm.weight * f32::MAX;
    let before = weights(&decoder);
    let spec = in_backward();
    let mut optimizer = Optimizer::new(&spec, &parameters::list(&decoder));
    let samples = samples(4);
    let batch: Vec<&Sample> = samples.iter().collect();
    let context = GradientContext { spec: &spec };
    let error = context.step_in_backward(&mut decoder, &mut optimizer, &batch, 0, 1e-2).expect_err("not finite");
    assert!(matches!(error, TrainError::NonFinite { what: "loss", step: 1, .. }), "{error}");
    assert!(before == weights(&decoder), "a weight moved");
}

#[test]
fn a_gradient_that_is_not_finite_stops_the_run() {
    let mut decoder = Decoder::load(&tiny_base(), &Device::flex(), DType::F32).expect("the fixture loads");
    // The last layer's way down is finite forward, for what it reads is nearly 0, and overflows backward.
    let last = decoder.layers.len() - 1;
    for mut slot in decoder.slots() {
        let factor = match slot.name.strip_prefix(&format!("model.layers.{last}.mlp.")) {
            Some("up_proj.weight") => 1e-38,
            Some("down_proj.weight") => 1e38,
            _ => continue,
        };
        slot.set(slot.get().scale(factor));
    }
    decoder.norm.weight = decoder.norm.weight * 100.0;
    let samples = samples(4);
    let batch: Vec<&Sample> = samples.iter().collect();
    let before = weights(&decoder);
    // With clipping it is known before anything is updated.
    for max_grad_norm in [CLIPS, 0.0] {
        let spec = TrainSpec { max_grad_norm, ..in_backward() };
        let mut optimizer = Optimizer::new(&spec, &parameters::list(&decoder));
        let context = GradientContext { spec: &spec };
        let error = context.step_in_backward(&mut decoder, &mut optimizer, &batch, 0, 1e-2).expect_err("not finite");
        assert!(matches!(error, TrainError::NonFinite { what: "gradient", .. }), "{error}");
        assert_eq!(before == weights(&decoder), max_grad_norm > 0.0);
    }
}

const CONFIG: &str = r#"{"model_type": "qwen2", "vocab_size": 8192, "hidden_size": 512, "intermediate_size": 1376,
    "num_hidden_layers": 12, "num_attention_heads": 8, "num_key_value_heads": 8, "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true, "hidden_act": "silu"}"#;

/// Largest resident memory of this process over three steps. Run each of the tests below in a process of its own.
fn print_peak(optimizer: Rule, optimizer_in_backward: bool) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("config.json");
    fs::write(&config, CONFIG).expect("written");
    let tokens: Vec<u32> = (0..129).map(|at| at * 61 % 8192).collect();
    let samples: Vec<Sample> = (0..2).map(|key| sample(key, &tokens, 10)).collect();
    let batch: Vec<&Sample> = samples.iter().collect();
    let spec = TrainSpec { optimizer, optimizer_in_backward, ..unclipped() };
    let context = GradientContext { spec: &spec };
    let mut decoder = Decoder::init_from_file(&config, 1, &Device::flex(), DType::F32).expect("a configuration");
    let mut optimizer = Optimizer::new(&spec, &parameters::list(&decoder));
    let mut loss = 0.0;
    for step in 0..3 {
        let summary = if optimizer_in_backward {
            context.step_in_backward(&mut decoder, &mut optimizer, &batch, step, 1e-3).expect("finite").0
        } else {
            let gradient = context.gradient(&decoder, &batch, step).expect("finite");
            let norm = context.global_norm(&gradient.gradients, &decoder, &batch, step).expect("finite");
            optimizer.step(&mut decoder, gradient.gradients, 1e-3, clip_factor(norm, 0.0));
            gradient.summary
        };
        loss = summary.loss();
    }
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).expect("a peak");
    let weights = decoder.config.parameter_count();
    println!("{:?}, in backward {optimizer_in_backward}: {peak}, {weights} weights, loss {loss}", spec.optimizer);
}

#[test]
#[ignore = "a measurement: run alone with --ignored --nocapture"]
fn peak_of_adamw() {
    print_peak(Rule::AdamW, false);
}

#[test]
#[ignore = "a measurement: run alone with --ignored --nocapture"]
fn peak_of_adamw_in_backward() {
    print_peak(Rule::AdamW, true);
}

#[test]
#[ignore = "a measurement: run alone with --ignored --nocapture"]
fn peak_of_muon() {
    print_peak(Rule::Muon, false);
}

#[test]
#[ignore = "a measurement: run alone with --ignored --nocapture"]
fn peak_of_muon_in_backward() {
    print_peak(Rule::Muon, true);
}
