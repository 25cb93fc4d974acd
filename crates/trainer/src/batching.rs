//! Which samples an optimizer step trains, and how a step is cut into micro-batches.
//!
//! An epoch visits every sample once, each source's in the order of [`training_place`] and the sources in the mix's
//! [`TrainingOrder`], `batch_size` samples a step; the last step of an epoch trains what is left and may be smaller. A step is cut under a token budget; because every loss is divided by the
//! step's supervised tokens, the cut changes memory and speed, not the result.

use std::iter::repeat_n;
use std::ops::Range;

use burn::tensor::Device;
use medley_chat::IGNORED;
use medley_mixture::{Key, TrainingOrder, training_place};
use medley_ops::{filled_rows, is_flex};

use crate::error::TrainError;
use crate::sample::Sample;

/// Where every optimizer step of a run finds its samples.
#[derive(Clone, Debug)]
pub struct Batches {
    seed: u64,
    batch_size: usize,
    order: TrainingOrder,
    /// Per sample: its source, its key, and which repeat of the record it is.
    samples: Vec<(String, Key, u32)>,
    epoch: Option<(usize, Vec<usize>)>,
}

/// Place of a step in the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Epoch, 0-based.
    pub epoch: usize,
    /// Samples of the epoch that earlier steps have trained.
    pub offset: usize,
}

impl Batches {
    /// The batches of `samples`, which come in the mix's `order`.
    pub fn new(samples: &[Sample], batch_size: usize, seed: u64, order: &TrainingOrder) -> Self {
        let origin = |sample: &Sample| (sample.origin.source.clone(), sample.origin.key, sample.origin.copy);
        Self {
            seed,
            batch_size: batch_size.max(1),
            order: order.clone(),
            samples: samples.iter().map(origin).collect(),
            epoch: None,
        }
    }

    /// Optimizer steps in one epoch.
    pub fn steps_per_epoch(&self) -> usize {
        self.samples.len().div_ceil(self.batch_size)
    }

    /// Optimizer steps in a run of `epochs`, at most `max_steps`.
    pub fn total_steps(&self, epochs: usize, max_steps: Option<usize>) -> usize {
        (epochs * self.steps_per_epoch()).min(max_steps.unwrap_or(usize::MAX))
    }

    /// Where the data stands before `step` (0-based).
    pub fn position(&self, step: usize) -> Position {
        let per_epoch = self.steps_per_epoch().max(1);
        Position { epoch: step / per_epoch, offset: (step % per_epoch) * self.batch_size }
    }

    /// Indices of the samples of `step` (0-based), in training order.
    pub fn step(&mut self, step: usize) -> Vec<usize> {
        let Position { epoch, offset } = self.position(step);
        if self.epoch.as_ref().is_none_or(|(current, _)| *current != epoch) {
            self.epoch = Some((epoch, self.epoch_order(epoch)));
        }
        let order = self.epoch.as_ref().map_or(&[][..], |(_, order)| order);
        order[offset..order.len().min(offset + self.batch_size)].to_vec()
    }

    /// Whether each of the first `steps` steps is a single micro-batch.
    ///
    /// # Errors
    /// [`TrainError::StepIsCut`] with the largest step that is not.
    pub fn check_uncut(&mut self, samples: &[Sample], steps: usize, budget: usize) -> Result<(), TrainError> {
        let cut = |step: usize| {
            let lengths: Vec<usize> = self.step(step).iter().map(|&at| samples[at].computed_tokens()).collect();
            let is_cut = micro_batches(&lengths, budget).len() > 1;
            is_cut.then(|| (lengths.iter().sum::<usize>(), lengths.len(), step + 1))
        };
        match (0..steps).filter_map(cut).max() {
            None => Ok(()),
            Some((tokens, samples, step)) => Err(TrainError::StepIsCut { step, tokens, samples, budget }),
        }
    }

    fn epoch_order(&self, epoch: usize) -> Vec<usize> {
        let place = |key: Key, copy: u32| training_place(self.seed, epoch as u64, key, copy);
        let places = self.samples.iter().map(|(source, key, copy)| (source.as_str(), place(*key, *copy)));
        self.order.sorted(&places.collect::<Vec<_>>())
    }
}

/// Cuts a step's samples of these lengths into runs of at most `budget` tokens. A sample is never cut: one that is longer than
/// the budget is a micro-batch of its own.
pub fn micro_batches(lengths: &[usize], budget: usize) -> Vec<Range<usize>> {
    let mut cuts = Vec::new();
    let (mut start, mut tokens) = (0, 0);
    for (at, &length) in lengths.iter().enumerate() {
        if at > start && tokens + length > budget {
            cuts.push(start..at);
            (start, tokens) = (at, 0);
        }
        tokens += length;
    }
    if start < lengths.len() {
        cuts.push(start..lengths.len());
    }
    cuts
}

/// Whole samples laid end to end: what one forward and backward pass computes on.
#[derive(Clone, Debug, PartialEq)]
pub struct MicroBatch {
    /// Tokens, `[tokens]`.
    pub input_ids: Vec<u32>,
    /// Borders of the samples: sample `i` is `cu_seqlens[i]..cu_seqlens[i + 1]`; the last has what it is filled up with, too.
    pub cu_seqlens: Vec<usize>,
    /// What each token is to predict, `[tokens]`: the labels moved one to the left, [`IGNORED`] where there is nothing.
    pub targets: Vec<i64>,
    /// A number for each sample that stays the same however the step is cut: its place in the step.
    pub sample_ids: Vec<u64>,
}

impl MicroBatch {
    /// Packs the samples; `first` is the place of the first of them in the step.
    pub fn pack(samples: &[&Sample], first: usize) -> Self {
        let mut packed = Self {
            input_ids: Vec::new(),
            cu_seqlens: vec![0],
            targets: Vec::new(),
            sample_ids: (first as u64..(first + samples.len()) as u64).collect(),
        };
        for sample in samples {
            let length = sample.computed_tokens();
            packed.input_ids.extend(&sample.input_ids[..length]);
            packed.targets.extend(&sample.labels[1..=length]);
            packed.cu_seqlens.push(packed.input_ids.len());
        }
        packed
    }

    /// The batch as `device` computes it: where kernels are compiled for sizes, filled up to one that others share.
    #[must_use]
    pub fn on(self, device: &Device) -> Self {
        let rows = if is_flex(device) { self.tokens() } else { filled_rows(self.tokens()) };
        self.filled_up(rows)
    }

    /// The batch with `rows` tokens. What is added stands behind the last sample, so that none of its tokens sees it, and is not
    /// supervised: loss and gradients stay the same but for the order in which kernels add up.
    #[must_use]
    pub fn filled_up(mut self, rows: usize) -> Self {
        let (missing, last) = (rows.saturating_sub(self.tokens()), self.input_ids.last().copied());
        self.input_ids.extend(last.into_iter().flat_map(|id| repeat_n(id, missing)));
        self.targets.resize(self.input_ids.len(), IGNORED);
        if let Some(end) = self.cu_seqlens.last_mut() {
            *end = self.input_ids.len();
        }
        self
    }

    /// Tokens of each sample.
    pub fn lengths(&self) -> Vec<usize> {
        self.cu_seqlens.windows(2).map(|borders| borders[1] - borders[0]).collect()
    }

    /// Tokens computed.
    pub fn tokens(&self) -> usize {
        self.input_ids.len()
    }

    /// Tokens that the loss counts.
    pub fn supervised_tokens(&self) -> usize {
        self.targets.iter().filter(|&&target| target != IGNORED).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::tests::sample;

    fn samples(count: usize) -> Vec<Sample> {
        (0..count).map(|key| sample(key, &[1, 2, 3], 1)).collect()
    }

    #[test]
    fn an_epoch_visits_every_sample_once_and_trains_the_rest() {
        let mut batches = Batches::new(&samples(10), 4, 7, &TrainingOrder::default());
        assert_eq!(
            (batches.steps_per_epoch(), batches.total_steps(2, None), batches.total_steps(2, Some(5))),
            (3, 6, 5)
        );
        for epoch in 0..2 {
            let steps: Vec<Vec<usize>> = (0..3).map(|step| batches.step(epoch * 3 + step)).collect();
            assert_eq!(steps.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 2]);
            let mut all: Vec<usize> = steps.concat();
            all.sort_unstable();
            assert_eq!(all, (0..10).collect::<Vec<_>>());
        }
        assert_ne!(batches.step(0), batches.step(3), "each epoch has an order of its own");
        assert_eq!(batches.position(4), Position { epoch: 1, offset: 4 });
    }

    #[test]
    fn order_depends_on_seed_and_key_not_on_the_order_given() {
        let forward = samples(50);
        let backward: Vec<Sample> = forward.iter().rev().cloned().collect();
        let keys = |samples: &[Sample], seed: u64| -> Vec<Key> {
            let order = Batches::new(samples, 50, seed, &TrainingOrder::default()).step(0);
            order.into_iter().map(|at| samples[at].origin.key).collect()
        };
        assert_eq!(keys(&forward, 1), keys(&backward, 1));
        assert_ne!(keys(&forward, 1), keys(&forward, 2));
    }

    #[test]
    fn repeated_records_are_spread() {
        let mut twice: Vec<Sample> = (0..40).map(|at| sample(at % 20, &[1, 2], 1)).collect();
        twice[20..].iter_mut().for_each(|repeat| repeat.origin.copy = 1);
        let order = Batches::new(&twice, 40, 3, &TrainingOrder::default()).step(0);
        let neighbours = order.windows(2).filter(|pair| pair[0] % 20 == pair[1] % 20).count();
        assert!(neighbours < 10, "{neighbours} of 20 repeats stand side by side");
    }

    #[test]
    fn cuts_hold_the_budget_and_lose_nothing() {
        assert_eq!(micro_batches(&[3, 3, 3, 9, 1], 6), [0..2, 2..3, 3..4, 4..5]);
        assert_eq!(micro_batches(&[3, 3], 100).len(), 1);
        assert!(micro_batches(&[], 10).is_empty());
    }

    #[test]
    fn packing_shifts_labels_within_each_sample() {
        let (a, b) = (sample(0, &[1, 2, 3, 4], 2), sample(1, &[5, 6], 1));
        let packed = MicroBatch::pack(&[&a, &b], 3);
        assert_eq!(packed.input_ids, [1, 2, 3, 5]);
        assert_eq!(packed.cu_seqlens, [0, 3, 4]);
        assert_eq!(packed.targets, [IGNORED, 3, 4, 6]);
        assert_eq!(packed.sample_ids, [3, 4]);
        assert_eq!((packed.tokens(), packed.supervised_tokens()), (4, 3));
        let filled = packed.clone().filled_up(6);
        assert_eq!((filled.tokens(), filled.supervised_tokens(), filled.lengths()), (6, 3, vec![3, 3]));
        assert_eq!((&filled.input_ids[..4], &filled.targets[..4]), (&packed.input_ids[..], &packed.targets[..]));
        assert_eq!(filled.sample_ids, packed.sample_ids);
        assert_eq!(packed.clone().on(&Device::flex()), packed, "on the CPU nothing is added");
    }
}
