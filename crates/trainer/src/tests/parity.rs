//! Twenty steps beside transformers (full) and PEFT (LoRA) on models of every family, on the batches of
//! `tests/parity/make_runs.py`; and mutants of the step, each of which the same check must refuse.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};
use medley_model::{Decoder, Parameter};
use medley_recipe::{BlockPolicy, Method, Schedule, TrainSpec};
use safetensors::SafeTensors;
use serde_json::Value;

use super::{fixtures, lora, spec};
use crate::optimizer::Optimizer;
use crate::parameters::{self, TensorMap};
use crate::sample::Sample;
use crate::sample::tests::sample;
use crate::schedule::LearningRate;
use crate::step::{BatchGradient, GradientContext, clip_factor, global_norm};

const STEPS: usize = 20;
const HEAD_DIM: usize = 8;
/// Folders of the runs: Qwen2, and the other families by name.
const FAMILIES: [&str; 5] = ["", "qwen3", "llama", "mistral", "gemma3_text"];

/// A training step with one thing wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mutant {
    Epsilon,
    ClipPerTensor,
    MeanOfMeans,
    EndOfTurnUnlabelled,
    RopeInterleaved,
    LearningRateZero,
}

/// Weights by name.
type Weights = BTreeMap<String, Vec<f32>>;

/// What a run gave.
struct Course {
    losses: Vec<f64>,
    clipped: usize,
    before: Weights,
    after: Weights,
}

/// What transformers or PEFT gave.
struct Reference {
    folder: PathBuf,
    record: Value,
    method: &'static str,
    weights: Weights,
}

impl Reference {
    /// The run in a folder of `tests/parity/runs`; Qwen2's is the folder itself.
    fn read(family: &str, method: &'static str) -> Self {
        let folder = fixtures().join(family);
        let text = std::fs::read(folder.join("runs.json")).expect("the fixture is there");
        let record = serde_json::from_slice(&text).expect("JSON");
        let weights = read_weights(&folder.join(format!("{method}.safetensors")));
        Self { folder, record, method, weights }
    }

    fn number(&self, key: &str) -> f64 {
        self.record[self.method].get(key).unwrap_or(&self.record[key]).as_f64().expect("a number")
    }

    fn losses(&self) -> Vec<f64> {
        let losses = self.record[self.method]["losses"].as_array().expect("a list");
        losses.iter().map(|loss| loss.as_f64().expect("a number")).collect()
    }

    fn spec(&self, mutant: Option<Mutant>) -> TrainSpec {
        let rate = if mutant == Some(Mutant::LearningRateZero) { 0.0 } else { self.number("learning_rate") };
        TrainSpec {
            method: if self.method == "lora" { lora() } else { Method::Full },
            learning_rate: rate,
            warmup_ratio: self.number("warmup_steps") / STEPS as f64,
            schedule: Schedule::Cosine,
            weight_decay: self.number("weight_decay"),
            beta1: self.number("beta1"),
            beta2: self.number("beta2"),
            epsilon: if mutant == Some(Mutant::Epsilon) { 1e-5 } else { self.number("epsilon") },
            max_grad_norm: self.number("max_grad_norm"),
            tokens_per_micro_batch: 30,
            block_policy: BlockPolicy::Recompute,
            ..spec()
        }
    }

    /// The samples of every step.
    fn steps(&self, mutant: Option<Mutant>) -> Vec<Vec<Sample>> {
        let samples = self.record["samples"].as_array().expect("a list");
        let count = self.number("batch_size") as usize;
        let read = |index: usize| {
            let numbers = |key: &str| -> Vec<i64> {
                let list = samples[index][key].as_array().expect("a list");
                list.iter().map(|number| number.as_i64().expect("a number")).collect()
            };
            let tokens: Vec<u32> = numbers("input_ids").iter().map(|&token| token as u32).collect();
            let mut read = sample(index, &tokens, 1);
            read.labels = numbers("labels");
            if mutant == Some(Mutant::EndOfTurnUnlabelled) {
                *read.labels.last_mut().expect("not empty") = medley_chat::IGNORED;
            }
            read
        };
        (0..STEPS).map(|step| (0..count).map(|place| read((step * count + place) % samples.len())).collect()).collect()
    }

    /// Every loss within 1e-3, and the change of all trained weights together within 1e-2.
    fn check(&self, course: &Course) -> Result<(f64, f64), String> {
        let worst = |worst: f64, (ours, theirs): (&f64, f64)| worst.max((ours - theirs).abs() / theirs);
        let loss = course.losses.iter().zip(self.losses()).fold(0.0, worst);
        let (mut difference, mut size) = (0.0, 0.0);
        for (name, before) in &course.before {
            let reference = self.weights.get(name).ok_or_else(|| format!("{name} is not in the reference"))?;
            for ((&before, &ours), &theirs) in before.iter().zip(&course.after[name]).zip(reference) {
                difference += f64::from(ours - theirs).powi(2);
                size += f64::from(theirs - before).powi(2);
            }
        }
        let weights = (difference / size).sqrt();
        match loss <= 1e-3 && weights <= 1e-2 {
            true => Ok((loss, weights)),
            false => Err(format!("losses differ by {loss:.2e}, weights by {weights:.2e}")),
        }
    }
}

fn read_weights(path: &Path) -> Weights {
    let bytes = std::fs::read(path).expect("the fixture is there");
    let file = SafeTensors::deserialize(&bytes).expect("whole");
    let floats = |data: &[u8]| data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let name = |name: String| name.strip_prefix("base_model.model.").map(str::to_owned).unwrap_or(name);
    file.tensors().into_iter().map(|(key, view)| (name(key), floats(view.data()))).collect()
}

/// Moves the rows of every head of q and k so that rotating halves does what rotating neighbours would have done, or back.
fn interleave(decoder: &mut Decoder, back: bool) {
    let device = decoder.device();
    for mut slot in decoder.slots() {
        let rotated = ["q_proj", "k_proj", "q_norm", "k_norm"].iter().any(|name| slot.name.contains(name));
        if !rotated || slot.name.contains("lora_A") {
            continue;
        }
        let shape = slot.get().shape();
        let width: usize = shape[1..].iter().product();
        let old = slot.get().into_data().try_to_vec::<f32>().expect("f32");
        let mut new = old.clone();
        for row in 0..shape[0] {
            let (head, place) = (row / HEAD_DIM * HEAD_DIM, row % HEAD_DIM);
            let neighbour = head + if place < HEAD_DIM / 2 { 2 * place } else { 2 * (place - HEAD_DIM / 2) + 1 };
            let (to, from) = if back { (neighbour, row) } else { (row, neighbour) };
            new[to * width..][..width].copy_from_slice(&old[from * width..][..width]);
        }
        slot.set(Parameter::from_data(burn::tensor::TensorData::new(new, shape), &device, DType::F32));
    }
}

fn weights(decoder: &Decoder) -> Weights {
    let floats = |value: Parameter| value.into_data().try_to_vec::<f32>().expect("f32");
    decoder.trainable().into_iter().map(|(name, value)| (name, floats(value))).collect()
}

fn run(reference: &Reference, mutant: Option<Mutant>, device: &Device) -> Course {
    let spec = reference.spec(mutant);
    let mut decoder = Decoder::load(&reference.folder.join("base"), device, DType::F32).expect("the fixture loads");
    if reference.method == "lora" {
        decoder.load_adapter(&reference.folder.join("adapter")).expect("PEFT's adapter loads");
    }
    let before = weights(&decoder);
    if mutant == Some(Mutant::RopeInterleaved) {
        interleave(&mut decoder, false);
    }
    let mut optimizer = Optimizer::new(&spec, &parameters::list(&decoder));
    let rate = LearningRate::new(spec.learning_rate, spec.warmup_ratio, STEPS, spec.schedule);
    let mut course = Course { losses: Vec::new(), clipped: 0, before, after: Weights::new() };
    for (step, samples) in reference.steps(mutant).iter().enumerate() {
        let batch: Vec<&Sample> = samples.iter().collect();
        let gradient = gradient(&spec, &decoder, &batch, step, mutant);
        let norm = global_norm(&gradient.gradients);
        course.losses.push(gradient.summary.loss());
        course.clipped += usize::from(norm > spec.max_grad_norm);
        if mutant == Some(Mutant::ClipPerTensor) {
            let clip = |(name, value): (String, burn::Tensor<1>)| {
                let alone = TensorMap::from([(name.clone(), value.clone())]);
                (name, value * clip_factor(global_norm(&alone), spec.max_grad_norm))
            };
            optimizer.step(&mut decoder, gradient.gradients.into_iter().map(clip).collect(), rate.at(step), 1.0);
        } else {
            optimizer.step(&mut decoder, gradient.gradients, rate.at(step), clip_factor(norm, spec.max_grad_norm));
        }
    }
    if mutant == Some(Mutant::RopeInterleaved) {
        interleave(&mut decoder, true);
    }
    course.after = weights(&decoder);
    course
}

fn gradient(
    spec: &TrainSpec,
    decoder: &Decoder,
    batch: &[&Sample],
    step: usize,
    mutant: Option<Mutant>,
) -> BatchGradient {
    let context = GradientContext { spec };
    if mutant != Some(Mutant::MeanOfMeans) {
        return context.gradient(decoder, batch, step).expect("finite");
    }
    // Each micro-batch divided by its own supervised tokens, and the mean of those.
    let (left, right) = batch.split_at(1 + step % 3);
    let mut left = context.gradient(decoder, left, step).expect("finite");
    let right = context.gradient(decoder, right, step).expect("finite");
    let tokens = (left.summary.supervised_tokens + right.summary.supervised_tokens) as f64;
    left.summary.loss_sum = (left.summary.loss() + right.summary.loss()) / 2.0 * tokens;
    left.summary.supervised_tokens = tokens as usize;
    for (name, value) in right.gradients {
        let sum = left.gradients.remove(&name).expect("the same names") + value;
        left.gradients.insert(name, sum * 0.5);
    }
    left
}

fn follows(family: &str, method: &'static str) {
    let reference = Reference::read(family, method);
    let course = run(&reference, None, &Device::flex());
    let (loss, weights) = reference.check(&course).expect("follows the reference");
    println!("{family} {method}: losses within {loss:.1e}, change of weights within {weights:.1e}");
    assert!(course.clipped >= 5, "clipping was active in {} steps only", course.clipped);
    assert!(course.losses[STEPS - 1] <= 0.8 * course.losses[0]);
    for mutant in [
        Mutant::Epsilon,
        Mutant::ClipPerTensor,
        Mutant::MeanOfMeans,
        Mutant::EndOfTurnUnlabelled,
        Mutant::RopeInterleaved,
        Mutant::LearningRateZero,
    ] {
        match reference.check(&run(&reference, Some(mutant), &Device::flex())) {
            Err(found) => println!("{family} {method}, {mutant:?}: refused, {found}"),
            Ok(found) => panic!("{family} {method}: the check does not see {mutant:?}: {found:?}"),
        }
    }
}

#[test]
fn full_follows_transformers_and_its_mutants_do_not() {
    for family in FAMILIES {
        follows(family, "full");
    }
}

#[test]
fn lora_follows_peft_and_its_mutants_do_not() {
    for family in FAMILIES {
        follows(family, "lora");
    }
}

#[cfg(feature = "wgpu")]
#[test]
fn wgpu_follows_the_cpu() {
    let selected = medley_model::device::select(medley_model::DeviceRequest::Wgpu);
    let device = match selected {
        Ok(found) => found.device,
        Err(problem) => {
            eprintln!("SKIPPED: no wgpu adapter to compare with the CPU: {problem}");
            return;
        }
    };
    for method in ["full", "lora"] {
        let reference = Reference::read("", method);
        let (cpu, gpu) = (run(&reference, None, &Device::flex()), run(&reference, None, &device));
        for (step, (cpu, gpu)) in cpu.losses.iter().zip(&gpu.losses).enumerate() {
            assert!((cpu - gpu).abs() <= 1e-3 * cpu, "{method}, step {step}: {gpu} on wgpu, {cpu} on the CPU");
        }
    }
}
