//! The optimizer inside the backward pass: each block is updated as soon as its gradient exists and before the block below is
//! replayed, so that never all gradients are alive. Nothing is clipped, for the whole gradient's norm is known only at the end.

use std::collections::BTreeMap;

use medley_model::Decoder;
use medley_ops::squared_norm;

use crate::error::TrainError;
use crate::optimizer::Optimizer;
use crate::parameters::TensorMap;
use crate::recompute::GradientSink;
use crate::sample::Sample;
use crate::step::{BatchSummary, GradientContext};

/// Updates each block that it is given.
struct Updates<'a> {
    decoder: &'a mut Decoder,
    optimizer: &'a mut Optimizer,
    lr: f64,
    /// Squared norm of the gradient of every parameter seen.
    squared_norms: BTreeMap<String, f64>,
}

impl Updates<'_> {
    /// The norm of all gradients together, added up in the order of the paths whatever the order they came in.
    fn norm(&self) -> f64 {
        self.squared_norms.values().sum::<f64>().sqrt()
    }
}

impl GradientSink for Updates<'_> {
    fn decoder(&self) -> &Decoder {
        self.decoder
    }

    fn take(&mut self, gradients: TensorMap) {
        for (name, gradient) in &gradients {
            let earlier = self.squared_norms.insert(name.clone(), squared_norm(gradient.clone()));
            assert!(earlier.is_none(), "{name} came twice: the step was cut into micro-batches");
        }
        // After a number that is not finite the step is lost, and no update can mend it.
        if self.norm().is_finite() {
            self.optimizer.update(self.decoder, gradients, self.lr, 1.0);
        }
    }
}

impl GradientContext<'_> {
    /// Takes the optimizer step of `batch`, which must be one micro-batch, with learning rate `lr`; the same step as
    /// [`gradient`](Self::gradient) and [`Optimizer::step`] take without clipping. Returns what was seen and the norm of the
    /// gradient.
    ///
    /// # Errors
    /// [`TrainError::NonFinite`] when the loss is not a finite number, and then nothing was updated, or when a gradient is not,
    /// and then the blocks above it were: the decoder is of no more use.
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
        optimizer.begin_step();
        let mut updates = Updates { decoder, optimizer, lr, squared_norms: BTreeMap::new() };
        let summary = self.pass(&mut updates, batch, step)?;
        let norm = updates.norm();
        if !norm.is_finite() {
            return Err(self.non_finite("gradient", updates.decoder, batch, 0, step));
        }
        updates.optimizer.assert_complete(|name| updates.squared_norms.contains_key(name));
        Ok((summary, norm))
    }
}
