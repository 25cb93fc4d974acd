//! The optimizer inside the backward pass: each block is updated as soon as its gradient exists and before the block below is
//! replayed, so that never all gradients are alive. Clipping needs the norm of all of them, so a first pass looks at the
//! gradients and lets go of them, and the second updates: twice the time, and still the bits of the plain step.

use std::collections::BTreeMap;

use medley_model::Decoder;
use medley_ops::squared_norm;

use crate::error::TrainError;
use crate::optimizer::Optimizer;
use crate::parameters::TensorMap;
use crate::recompute::GradientSink;
use crate::sample::Sample;
use crate::step::{BatchSummary, GradientContext, clip_factor};

/// Squared norms of the gradients of every parameter seen.
#[derive(Default)]
struct Norms(BTreeMap<String, f64>);

impl Norms {
    fn add(&mut self, gradients: &TensorMap) {
        for (name, gradient) in gradients {
            let earlier = self.0.insert(name.clone(), squared_norm(gradient.clone()));
            assert!(earlier.is_none(), "{name} came twice: the step was cut into micro-batches");
        }
    }

    /// The norm of all gradients together, added up in the order of the paths whatever the order they came in.
    fn all(&self) -> f64 {
        self.0.values().sum::<f64>().sqrt()
    }
}

/// Looks at gradients and lets go of them.
struct NormSink<'a> {
    decoder: &'a Decoder,
    norms: Norms,
}

impl GradientSink for NormSink<'_> {
    fn decoder(&self) -> &Decoder {
        self.decoder
    }

    fn take(&mut self, gradients: TensorMap) {
        self.norms.add(&gradients);
    }
}

/// Updates each block that it is given.
struct Updates<'a> {
    decoder: &'a mut Decoder,
    optimizer: &'a mut Optimizer,
    lr: f64,
    /// What gradients are multiplied by.
    clip: f64,
    norms: Norms,
}

impl GradientSink for Updates<'_> {
    fn decoder(&self) -> &Decoder {
        self.decoder
    }

    fn take(&mut self, gradients: TensorMap) {
        self.norms.add(&gradients);
        // After a number that is not finite the step is lost, and no update can mend it.
        if self.norms.all().is_finite() {
            self.optimizer.update(self.decoder, gradients, self.lr, self.clip);
        }
    }
}

impl GradientContext<'_> {
    /// Takes the optimizer step of `batch`, which must be one micro-batch, with learning rate `lr`; the same step as
    /// [`gradient`](Self::gradient), [`clip_factor`] and [`Optimizer::step`] take. Returns what was seen and the norm of the
    /// gradient, not clipped.
    ///
    /// # Errors
    /// [`TrainError::NonFinite`] when the loss is not a finite number, and then nothing was updated, or when a gradient is not,
    /// and then, without clipping, the blocks above it were: the decoder is of no more use.
    ///
    /// # Panics
    /// When the batch is cut into micro-batches, or a trained parameter has no gradient.
    pub fn step_in_backward(
        &self,
        decoder: &mut Decoder,
        optimizer: &mut Optimizer,
        batch: &[&Sample],
        step: usize,
        lr: f64,
    ) -> Result<(BatchSummary, f64), TrainError> {
        let clip = if self.spec.max_grad_norm > 0.0 {
            let mut looks = NormSink { decoder, norms: Norms::default() };
            self.pass(&mut looks, batch, step)?;
            clip_factor(self.finite(looks.norms.all(), decoder, batch, step)?, self.spec.max_grad_norm)
        } else {
            1.0
        };
        optimizer.begin_step();
        let mut updates = Updates { decoder, optimizer, lr, clip, norms: Norms::default() };
        let summary = self.pass(&mut updates, batch, step)?;
        let norm = self.finite(updates.norms.all(), updates.decoder, batch, step)?;
        updates.optimizer.assert_complete(|name| updates.norms.0.contains_key(name));
        Ok((summary, norm))
    }
}
