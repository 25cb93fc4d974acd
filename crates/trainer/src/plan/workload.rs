//! What a run computes: its steps, how they are cut, and how many operations that takes.

use std::ops::Range;

use medley_mixture::TrainingOrder;
use medley_recipe::{BlockPolicy, TrainSpec};
use serde::Serialize;

use super::sizes::ModelSizes;
use crate::batching::{Batches, micro_batches};
use crate::sample::Sample;

/// Sizes of a micro-batch that memory depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BatchSize {
    /// Tokens computed.
    pub tokens: usize,
    /// Tokens that the loss counts.
    pub supervised: usize,
    /// Samples.
    pub samples: usize,
    /// Tokens of the longest sample.
    pub longest: usize,
    /// Pairs of a token and one that it attends to.
    pub pairs: usize,
    /// Whether the step's earlier micro-batches have left gradients.
    pub accumulates: bool,
}

impl BatchSize {
    /// Samples of these computed and supervised tokens together.
    fn of(samples: impl Iterator<Item = Length>, accumulates: bool) -> Self {
        samples.fold(Self { accumulates, ..Self::default() }, |sum, sample| Self {
            tokens: sum.tokens + sample.tokens,
            supervised: sum.supervised + sample.supervised,
            samples: sum.samples + 1,
            longest: sum.longest.max(sample.tokens),
            pairs: sum.pairs + sample.tokens * (sample.tokens + 1) / 2,
            accumulates,
        })
    }
}

/// Tokens of a sample.
#[derive(Clone, Copy, Debug)]
struct Length {
    tokens: usize,
    supervised: usize,
}

impl Length {
    fn of(sample: &Sample) -> Self {
        Self { tokens: sample.computed_tokens(), supervised: sample.supervised_tokens() }
    }
}

/// Where a micro-batch stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Optimizer step, 0-based.
    pub step: usize,
    /// Its samples' places in the step.
    pub samples: Range<usize>,
}

/// The steps of a run: for each the lengths of its samples, in training order.
#[derive(Clone, Debug)]
pub struct Workload {
    steps: Vec<Vec<Length>>,
    validation: Vec<Length>,
    first: usize,
}

impl Workload {
    /// The steps of `spec` on these samples.
    pub fn new(samples: &[Sample], validation: &[Sample], spec: &TrainSpec, order: &TrainingOrder) -> Self {
        let lengths: Vec<Length> = samples.iter().map(Length::of).collect();
        let mut batches = Batches::new(samples, spec.batch_size, spec.seed, order);
        let steps = 0..batches.total_steps(spec.epochs, spec.max_steps);
        let of_step = |step| batches.step(step).into_iter().map(|index| lengths[index]).collect();
        Self { steps: steps.map(of_step).collect(), validation: validation.iter().map(Length::of).collect(), first: 0 }
    }

    /// The same without the steps that an earlier process has taken.
    #[must_use]
    pub fn after(self, first: usize) -> Self {
        Self { first, ..self }
    }

    /// Optimizer steps.
    pub fn steps(&self) -> usize {
        self.steps.len()
    }

    /// Tokens of the longest sample.
    pub fn longest(&self) -> usize {
        self.steps.iter().flatten().map(|sample| sample.tokens).max().unwrap_or(0)
    }

    /// Tokens of the largest step.
    pub fn largest_step(&self) -> usize {
        self.steps.iter().map(|step| step.iter().map(|sample| sample.tokens).sum()).max().unwrap_or(0)
    }

    /// Every micro-batch under a budget of tokens, with its place.
    pub fn cut(&self, budget: usize) -> Vec<(Place, BatchSize)> {
        let mut all = Vec::new();
        for (step, samples) in self.steps.iter().enumerate().skip(self.first) {
            let lengths: Vec<usize> = samples.iter().map(|sample| sample.tokens).collect();
            for range in micro_batches(&lengths, budget) {
                let size = BatchSize::of(samples[range.clone()].iter().copied(), range.start > 0);
                all.push((Place { step, samples: range }, size));
            }
        }
        all
    }

    /// The micro-batches of a pass over the held-out samples.
    pub fn cut_validation(&self, budget: usize) -> Vec<BatchSize> {
        let lengths: Vec<usize> = self.validation.iter().map(|sample| sample.tokens).collect();
        let ranges = micro_batches(&lengths, budget).into_iter();
        ranges.map(|range| BatchSize::of(self.validation[range].iter().copied(), false)).collect()
    }

    /// The same run with no sample longer than `tokens`, the supervised ones cut last.
    #[must_use]
    pub fn shortened(&self, tokens: usize) -> Self {
        let short =
            |sample: &Length| Length { tokens: sample.tokens.min(tokens), supervised: sample.supervised.min(tokens) };
        Self {
            steps: self.steps.iter().map(|step| step.iter().map(short).collect()).collect(),
            validation: self.validation.iter().map(short).collect(),
            first: self.first,
        }
    }
}

/// Floating-point operations of training on these micro-batches: those of the matrix products, of attention over the
/// pairs of tokens that see each other, and of the head over the supervised tokens.
pub fn operations(sizes: &ModelSizes, batches: &[BatchSize], policy: BlockPolicy) -> f64 {
    let full = sizes.full();
    let layer = sizes.layer_matrices as f64;
    let adapters = sizes.adapters.as_ref().map_or(0.0, |adapters| adapters.layer as f64);
    let passes = if policy == BlockPolicy::Keep { 1.0 } else { 2.0 };
    let of_batch = |batch: &BatchSize| {
        let tokens = batch.tokens as f64 * sizes.layers as f64;
        let pairs = sizes.seen_pairs(batch.tokens, batch.pairs) as f64;
        let forward = 2.0 * tokens * (layer + adapters) + 4.0 * pairs * sizes.queries as f64;
        // Gradients of inputs always, of weights where they are trained; attention multiplies five times.
        let backward = 2.0 * tokens * (layer * if full { 2.0 } else { 1.0 } + 2.0 * adapters)
            + 10.0 * pairs * sizes.queries as f64;
        let head = 2.0 * batch.supervised as f64 * sizes.table() as f64 * if full { 3.0 } else { 2.0 };
        passes * forward + backward + head
    };
    batches.iter().map(of_batch).sum()
}

#[cfg(test)]
mod tests {
    use super::super::sizes::tests::config;
    use super::*;
    use crate::tests::{lora, samples, spec};

    #[test]
    fn every_token_of_every_step_is_counted_once() {
        let (samples, spec) = (samples(11), spec());
        let workload = Workload::new(&samples, &samples[..3], &spec, &TrainingOrder::default());
        assert_eq!(workload.steps(), 9);
        let tokens: usize = samples.iter().map(Sample::computed_tokens).sum();
        for budget in [24, 10_000] {
            let cut = workload.cut(budget);
            assert_eq!(cut.iter().map(|(_, size)| size.tokens).sum::<usize>(), 3 * tokens, "three epochs");
            assert_eq!(cut.iter().filter(|(_, size)| !size.accumulates).count(), 9, "one of each step comes first");
            assert!(cut.iter().all(|(place, size)| place.samples.len() == size.samples));
        }
        assert_eq!(workload.cut(10_000).len(), 9);
        assert_eq!(workload.clone().after(6).cut(10_000).len(), 3);
        assert_eq!(workload.cut_validation(10_000)[0].samples, 3);
        let longest = samples.iter().map(Sample::computed_tokens).max().expect("some");
        assert_eq!((workload.longest(), workload.shortened(4).longest()), (longest, 4));
    }

    #[test]
    fn operations_are_those_of_the_products() {
        let batch =
            BatchSize { tokens: 100, supervised: 10, samples: 1, longest: 100, pairs: 5050, accumulates: false };
        let count = |spec: &TrainSpec, policy| operations(&ModelSizes::new(&config(12), spec), &[batch], policy);
        let matrices = 12.0 * (4.0 * 512.0 * 512.0 + 3.0 * 512.0 * 1376.0);
        let (attention, head) = (12.0 * 5050.0 * 512.0, 10.0 * 151_936.0 * 512.0);
        let full = count(&spec(), BlockPolicy::Keep);
        assert_eq!(full, 6.0 * 100.0 * matrices + 14.0 * attention + 6.0 * head);
        let again = count(&spec(), BlockPolicy::Recompute);
        assert_eq!(again - full, 2.0 * 100.0 * matrices + 4.0 * attention);
        let adapted = count(&TrainSpec { method: lora(), ..spec() }, BlockPolicy::Keep);
        assert!(adapted > 4.0 * 100.0 * matrices + 14.0 * attention + 4.0 * head && adapted < full);
        let mut windowed = config(12);
        windowed.windows[..6].fill(Some(20));
        let windowed = operations(&ModelSizes::new(&windowed, &spec()), &[batch], BlockPolicy::Keep);
        assert_eq!(full - windowed, 14.0 * 6.0 * (5050.0 - 2000.0) * 512.0);
    }
}
