//! The gradient of a batch, its norm, and what to say when a number is not finite.

use medley_model::{Decoder, DropoutContext, Pack};
use medley_ops::squared_norms;
use medley_recipe::TrainSpec;

use crate::batching::{MicroBatch, micro_batches};
use crate::error::TrainError;
use crate::parameters::{self, TensorMap};
use crate::recompute::{GradientSink, forward_backward};
use crate::sample::{Sample, SampleOrigin};

/// The gradient of a batch.
#[derive(Debug)]
pub struct BatchGradient {
    /// Gradient of the mean loss of a supervised token, by parameter name.
    pub gradients: TensorMap,
    /// What was seen on the way.
    pub summary: BatchSummary,
}

/// What was seen of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BatchSummary {
    /// Loss summed over the supervised tokens.
    pub loss_sum: f64,
    /// Supervised tokens.
    pub supervised_tokens: usize,
    /// Tokens computed.
    pub tokens: usize,
}

impl BatchSummary {
    /// Mean loss of a supervised token.
    pub fn loss(&self) -> f64 {
        self.loss_sum / self.supervised_tokens as f64
    }
}

/// Adds up the gradients of a batch's micro-batches.
pub(crate) struct Sum<'a> {
    decoder: &'a Decoder,
    pub(crate) gradients: TensorMap,
}

impl<'a> Sum<'a> {
    pub(crate) fn new(decoder: &'a Decoder) -> Self {
        Self { decoder, gradients: TensorMap::new() }
    }
}

impl GradientSink for Sum<'_> {
    fn decoder(&self) -> &Decoder {
        self.decoder
    }

    fn take(&mut self, gradients: TensorMap) {
        for (name, gradient) in gradients {
            parameters::add(&mut self.gradients, &name, gradient);
        }
    }
}

/// Computes the gradients of a run's batches.
#[derive(Clone, Copy, Debug)]
pub struct GradientContext<'a> {
    /// The settings.
    pub spec: &'a TrainSpec,
}

impl GradientContext<'_> {
    /// The gradient of `batch` at `step` (0-based; it decides the dropout).
    ///
    /// # Errors
    /// [`TrainError::NonFinite`] when a loss is not a finite number, with the samples that give it.
    pub fn gradient(&self, decoder: &Decoder, batch: &[&Sample], step: usize) -> Result<BatchGradient, TrainError> {
        let mut sum = Sum::new(decoder);
        let summary = self.pass(&mut sum, batch, step)?;
        Ok(BatchGradient { gradients: sum.gradients, summary })
    }

    /// Hands the gradient of `batch` at `step` to `sink`, once for every micro-batch.
    pub(crate) fn pass(
        &self,
        sink: &mut impl GradientSink,
        batch: &[&Sample],
        step: usize,
    ) -> Result<BatchSummary, TrainError> {
        let lengths: Vec<usize> = batch.iter().map(|sample| sample.computed_tokens()).collect();
        let supervised_tokens: usize = batch.iter().map(|sample| sample.supervised_tokens()).sum();
        let mut loss_sum = 0.0;
        for cut in micro_batches(&lengths, self.spec.tokens_per_micro_batch) {
            let first = cut.start;
            let samples = &batch[cut];
            let loss = self.micro_batch(sink, samples, first, step, supervised_tokens);
            if !loss.is_finite() {
                return Err(self.non_finite("loss", sink.decoder(), samples, first, step));
            }
            loss_sum += loss;
        }
        Ok(BatchSummary { loss_sum, supervised_tokens, tokens: lengths.iter().sum() })
    }

    /// The loss of one micro-batch of the step, summed; `first` is the place of its first sample.
    pub(crate) fn micro_batch(
        &self,
        sink: &mut impl GradientSink,
        samples: &[&Sample],
        first: usize,
        step: usize,
        supervised_tokens: usize,
    ) -> f64 {
        let packed = MicroBatch::pack(samples, first).on(&sink.decoder().device());
        self.packed(sink, &packed, step, supervised_tokens)
    }

    /// The same of samples that are packed.
    pub(crate) fn packed(
        &self,
        sink: &mut impl GradientSink,
        packed: &MicroBatch,
        step: usize,
        supervised_tokens: usize,
    ) -> f64 {
        let decoder = sink.decoder();
        let pack = Pack::new(&decoder.config, &packed.lengths(), &decoder.device(), decoder.dtype());
        let dropout = DropoutContext { seed: self.spec.seed, step: step as u64, samples: &packed.sample_ids };
        let pack = pack.with_dropout(&dropout);
        let scale = 1.0 / supervised_tokens as f64;
        forward_backward(sink, packed, &pack, scale, self.spec.block_policy)
    }

    /// The norm of all gradients together.
    ///
    /// # Errors
    /// [`TrainError::NonFinite`] when it is not a finite number, with the samples that give it.
    pub fn global_norm(
        &self,
        gradients: &TensorMap,
        decoder: &Decoder,
        batch: &[&Sample],
        step: usize,
    ) -> Result<f64, TrainError> {
        self.finite(global_norm(gradients), decoder, batch, step)
    }

    /// A norm of gradients if it is a finite number.
    pub(crate) fn finite(
        &self,
        norm: f64,
        decoder: &Decoder,
        batch: &[&Sample],
        step: usize,
    ) -> Result<f64, TrainError> {
        if norm.is_finite() { Ok(norm) } else { Err(self.non_finite("gradient", decoder, batch, 0, step)) }
    }

    /// Runs the samples one by one to find out which of them give a number that is not finite.
    pub(crate) fn non_finite(
        &self,
        what: &'static str,
        decoder: &Decoder,
        samples: &[&Sample],
        first: usize,
        step: usize,
    ) -> TrainError {
        let gives_it = |(place, sample): &(usize, &&Sample)| {
            let mut sum = Sum::new(decoder);
            let supervised = sample.supervised_tokens();
            let loss = self.micro_batch(&mut sum, &[sample], first + place, step, supervised);
            !loss.is_finite() || !global_norm(&sum.gradients).is_finite()
        };
        let offenders = samples.iter().enumerate().filter(gives_it);
        let offenders: Vec<SampleOrigin> = offenders.map(|(_, sample)| sample.origin.clone()).collect();
        TrainError::NonFinite { step: step + 1, what, offenders, looked_at: samples.len() }
    }
}

/// The norm of all gradients together: f64, in the order of the paths.
pub fn global_norm(gradients: &TensorMap) -> f64 {
    squared_norms(gradients.values().cloned().collect()).into_iter().sum::<f64>().sqrt()
}

/// What gradients of this norm are multiplied by so that it is at most `max_norm`, as `torch.nn.utils.clip_grad_norm_` does;
/// 0 switches clipping off.
pub fn clip_factor(norm: f64, max_norm: f64) -> f64 {
    if max_norm > 0.0 { (max_norm / (norm + 1e-6)).min(1.0) } else { 1.0 }
}
