//! The micro-batch that takes most memory, once before the first step: what would run out of memory after hours then does so in
//! the first minute. Everything that it computes is thrown away and nothing random has a state, so the run's bits are the same
//! with and without it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind, set_hook, take_hook};
use std::time::Instant;

use burn::Tensor;
use burn::tensor::DType;
use medley_model::{Decoder, DeviceKind};
use medley_ops::is_flex;
use medley_recipe::BlockPolicy;

use crate::batching::Batches;
use crate::error::TrainError;
use crate::metrics::peak_resident_memory;
use crate::observer::{Event, Observer};
use crate::optimizer::Optimizer;
use crate::parameters::{self, TensorMap};
use crate::plan::{BatchSize, MemoryModel, Place, PlanInput, Workload};
use crate::recompute::GradientSink;
use crate::run::TrainInput;
use crate::sample::Sample;
use crate::step::GradientContext;

/// Gradient sink of the rehearsal: takes gradients as a step does and discards them.
struct DiscardingSink<'a> {
    decoder: &'a Decoder,
    /// Kept to the end of the pass, unless each block's are done with at once.
    kept: Option<TensorMap>,
}

impl<'a> DiscardingSink<'a> {
    /// With gradients already there where the step's earlier micro-batches would have left them.
    fn new(decoder: &'a Decoder, in_backward: bool, accumulates: bool) -> Self {
        let zeros = |(name, value): (String, medley_model::Parameter)| {
            (name, Tensor::<1>::zeros([value.elements()], (&decoder.device(), DType::F32)))
        };
        let before = if accumulates { decoder.trainable().into_iter().map(zeros).collect() } else { TensorMap::new() };
        Self { decoder, kept: (!in_backward).then_some(before) }
    }
}

impl GradientSink for DiscardingSink<'_> {
    fn decoder(&self) -> &Decoder {
        self.decoder
    }

    fn take(&mut self, gradients: TensorMap) {
        let Some(kept) = &mut self.kept else { return };
        for (name, gradient) in gradients {
            parameters::add(kept, &name, gradient);
        }
    }
}

/// Runs the micro-batch of the steps from `first_step` on that takes most memory forward and backward, with the optimizer's state
/// in place; not where it comes first anyway.
///
/// # Errors
/// [`TrainError::OutOfMemory`] where a GPU says so, with the settings that need less.
pub(crate) fn rehearse(
    input: &TrainInput<'_>,
    decoder: &Decoder,
    optimizer: &mut Optimizer,
    first_step: usize,
    observer: &dyn Observer,
) -> Result<(), TrainError> {
    let Some((place, size)) = worst(input, decoder, first_step) else { return Ok(()) };
    optimizer.allocate(decoder);
    if place.step == first_step && place.samples.start == 0 {
        return Ok(());
    }
    let started = Instant::now();
    let context = GradientContext { spec: input.spec };
    let mut batches = Batches::new(input.samples, input.spec.batch_size, input.spec.seed, input.order);
    let step: Vec<&Sample> = batches.step(place.step).into_iter().map(|index| &input.samples[index]).collect();
    let samples = &step[place.samples.clone()];
    let pass = || {
        let mut sink = DiscardingSink::new(decoder, input.spec.optimizer_in_backward, size.accumulates);
        // A loss that is not finite stops the step itself, which says more about it.
        context.micro_batch(&mut sink, samples, place.samples.start, place.step, size.supervised.max(1));
    };
    if is_flex(input.device) {
        pass();
    } else {
        on_gpu(input, pass).map_err(|problem| out_of_memory(input, decoder, &size, problem))?;
    }
    observer.observe(&Event::Rehearsed {
        tokens: size.tokens,
        seconds: started.elapsed().as_secs_f64(),
        peak_memory_bytes: peak_resident_memory(),
    });
    Ok(())
}

/// The micro-batch that takes most memory, and where it stands.
fn worst(input: &TrainInput<'_>, decoder: &Decoder, first_step: usize) -> Option<(Place, BatchSize)> {
    let spec = input.spec;
    let model = MemoryModel::new(&decoder.config, spec, input.dtype, kind(input), 0);
    let cut = Workload::new(input.samples, &[], spec, input.order).after(first_step).cut(spec.tokens_per_micro_batch);
    // The first of equals: it comes soonest.
    cut.into_iter().rev().max_by_key(|(_, size)| model.training_peak(size, spec.block_policy))
}

/// The memory model has one set of terms for all GPUs.
fn kind(input: &TrainInput<'_>) -> DeviceKind {
    if is_flex(input.device) { DeviceKind::Cpu } else { DeviceKind::Cuda }
}

/// Runs `pass` and waits for it; what the driver says of memory comes back as text.
fn on_gpu(input: &TrainInput<'_>, pass: impl FnOnce()) -> Result<(), String> {
    let hook = take_hook();
    set_hook(Box::new(|_| {}));
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        pass();
        input.device.sync().map_err(|error| format!("{error:?}"))
    }));
    set_hook(hook);
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(problem)) if is_about_memory(&problem) => Err(problem),
        Ok(Err(problem)) => panic!("{problem}"),
        Err(panic) => match text(&*panic) {
            Some(problem) if is_about_memory(&problem) => Err(problem),
            _ => resume_unwind(panic),
        },
    }
}

fn text(panic: &(dyn Any + Send)) -> Option<String> {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
}

/// Whether a driver's or cubecl's message says that an allocation failed.
fn is_about_memory(problem: &str) -> bool {
    let problem = problem.to_lowercase();
    ["outofmemory", "out of memory", "out_of_memory", "buffertoobig", "not enough memory"]
        .iter()
        .any(|words| problem.contains(words))
}

/// Names settings that need two thirds of what was too much.
fn out_of_memory(input: &TrainInput<'_>, decoder: &Decoder, size: &BatchSize, problem: String) -> TrainError {
    let plan = PlanInput {
        spec: input.spec,
        config: &decoder.config,
        dtype: input.dtype,
        device: kind(input),
        samples: input.samples,
        order: input.order,
        validation: input.validation,
        process: 0,
        budget: None,
        root: input.run_dir.root(),
        saves_base: false,
        save_dtype: input.dtype,
    };
    let policy =
        if input.spec.block_policy == BlockPolicy::Auto { BlockPolicy::Recompute } else { input.spec.block_policy };
    let peak = plan.model(input.spec).training_peak(size, policy);
    let remedies = plan.remedies_under(peak / 3 * 2);
    TrainError::OutOfMemory {
        tokens: size.tokens,
        remedies,
        problem: problem.lines().next().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use burn::tensor::Device;
    use medley_mixture::TrainingOrder;
    use medley_recipe::{LoraSpec, Method, Optimizer as Rule, TrainSpec};
    use medley_run::RunDir;

    use super::*;
    use crate::step::clip_factor;
    use crate::tests::{lora, samples, spec, tiny_base};
    use crate::{Base, Card, Identity};

    #[derive(Default)]
    struct Seen(RefCell<Vec<usize>>);

    impl Observer for Seen {
        fn observe(&self, event: &Event<'_>) {
            if let Event::Rehearsed { tokens, .. } = event {
                self.0.borrow_mut().push(*tokens);
            }
        }
    }

    fn with_input(spec: &TrainSpec, run: impl FnOnce(&TrainInput<'_>)) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let run_dir = RunDir::open(folder.path()).expect("a free run directory");
        run(&TrainInput {
            spec,
            base: Base::Model { directory: tiny_base(), name: "tiny".into() },
            tokenizer: &tiny_base(),
            device: &Device::flex(),
            dtype: DType::F32,
            run_dir: &run_dir,
            samples: &samples(11),
            order: &TrainingOrder::default(),
            validation: &[],
            end_of_turn: &[1],
            end_of_turn_text: None,
            tokenizer_tokens: 199,
            identity: Identity { data: "data".into(), weights: "weights".into(), recipe: "recipe".into() },
            resume: false,
            card: Card { name: "test".into(), base: "tiny".into(), ..Card::default() },
        });
    }

    fn decoder(spec: &TrainSpec) -> Decoder {
        let mut decoder = Decoder::load(&tiny_base(), &Device::flex(), DType::F32).expect("the fixture loads");
        if let Method::Lora(LoraSpec { rank, alpha, dropout, target }) = spec.method.clone() {
            let config = medley_model::LoraConfig { rank, alpha, dropout, target };
            decoder.apply_lora(&config, 1).expect("a configuration");
        }
        decoder
    }

    /// Weights and optimizer state after three steps, and what was rehearsed before them.
    fn three_steps(spec: &TrainSpec, rehearsed: bool) -> (Vec<Vec<f32>>, Vec<u8>, Vec<usize>) {
        let (mut decoder, seen) = (decoder(spec), Seen::default());
        let mut optimizer = Optimizer::new(spec, &parameters::list(&decoder));
        with_input(spec, |input| {
            if rehearsed {
                rehearse(input, &decoder, &mut optimizer, 0, &seen).expect("enough memory");
            }
            let mut batches = Batches::new(input.samples, spec.batch_size, spec.seed, input.order);
            let context = GradientContext { spec };
            for step in 0..3 {
                let batch: Vec<&Sample> = batches.step(step).into_iter().map(|at| &input.samples[at]).collect();
                let gradient = context.gradient(&decoder, &batch, step).expect("finite");
                let norm = context.global_norm(&gradient.gradients, &decoder, &batch, step).expect("finite");
                optimizer.step(&mut decoder, gradient.gradients, 1e-2, clip_factor(norm, spec.max_grad_norm));
            }
        });
        let values =
            |(_, value): (String, medley_model::Parameter)| value.into_data().try_to_vec::<f32>().expect("f32");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("optimizer.safetensors");
        optimizer.save(&file).expect("saved");
        let weights = decoder.parameters().into_iter().map(values).collect();
        (weights, std::fs::read(file).expect("readable"), seen.0.into_inner())
    }

    #[test]
    fn the_bits_are_the_same_with_and_without() {
        for method in [Method::Full, lora()] {
            for optimizer in [Rule::AdamW, Rule::Muon] {
                let spec = TrainSpec { method: method.clone(), optimizer, ..spec() };
                let (plain, rehearsed) = (three_steps(&spec, false), three_steps(&spec, true));
                assert!(plain.0 == rehearsed.0, "weights differ: {method:?} {optimizer:?}");
                assert!(plain.1 == rehearsed.1, "optimizer states differ: {method:?} {optimizer:?}");
                assert_eq!((plain.2.len(), rehearsed.2.len()), (0, 1));
            }
        }
    }

    #[test]
    fn the_worst_micro_batch_runs_unless_it_comes_first() {
        let spec = spec();
        with_input(&spec, |input| {
            let decoder = decoder(&spec);
            let (place, size) = worst(input, &decoder, 0).expect("there are samples");
            let all = Workload::new(input.samples, &[], &spec, input.order).cut(spec.tokens_per_micro_batch);
            let accumulating = all.iter().filter(|(_, size)| size.accumulates);
            let most = accumulating.map(|(_, size)| size.tokens).max().expect("steps are cut");
            assert!(size.accumulates && size.tokens == most, "{size:?} where {most} tokens are the most");
            // A run that is resumed at that step rehearses what is still to come.
            let later = worst(input, &decoder, place.step + 1).expect("more steps").0;
            assert!(later.step > place.step);
        });
        let whole = TrainSpec { max_steps: Some(1), tokens_per_micro_batch: 10_000, ..spec };
        assert!(three_steps(&whole, true).2.is_empty(), "the only micro-batch comes first anyway");
    }

    #[test]
    fn failed_allocations_are_told_from_defects() {
        for problem in ["OutOfMemory { size: 12 }", "CUDA_ERROR_OUT_OF_MEMORY", "Not enough memory left"] {
            assert!(is_about_memory(problem), "{problem}");
        }
        assert!(!is_about_memory("index 3 is out of bounds"));
    }
}
