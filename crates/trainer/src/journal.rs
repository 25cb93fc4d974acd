//! Records of a run in progress: metrics, progress, and the position that a checkpoint saves.

use std::time::Instant;

use medley_recipe::TrainSpec;

use crate::batching::Batches;
use crate::checkpoint::RunPosition;
use crate::error::TrainError;
use crate::metrics::{
    Metrics, MetricsWriter, TrainMetrics, ValidationMetrics, now, peak_resident_memory, resident_memory,
};
use crate::observer::{Event, Observer, StepProgress};
use crate::step::BatchSummary;

/// Counters of the run, reported to metrics and observer.
pub(crate) struct Journal<'a> {
    position: RunPosition,
    writer: MetricsWriter,
    observer: &'a dyn Observer,
    spec: &'a TrainSpec,
    total_steps: usize,
    samples: usize,
    /// Whether the user was told that the disk is full.
    noted_full_disk: bool,
    /// Seconds of the run before this process.
    seconds_before: f64,
    started: Instant,
    /// Tokens of this process, and when its last metrics line was written.
    own_tokens: u64,
    own_steps: usize,
    line_written: Instant,
    line_tokens: u64,
}

impl<'a> Journal<'a> {
    pub(crate) fn new(
        position: RunPosition,
        writer: MetricsWriter,
        observer: &'a dyn Observer,
        spec: &'a TrainSpec,
        total_steps: usize,
        samples: usize,
    ) -> Self {
        Self {
            seconds_before: f64::from_bits(position.seconds_bits),
            position,
            writer,
            observer,
            spec,
            total_steps,
            samples,
            noted_full_disk: false,
            started: Instant::now(),
            own_tokens: 0,
            own_steps: 0,
            line_written: Instant::now(),
            line_tokens: 0,
        }
    }

    /// Steps taken.
    pub(crate) fn step(&self) -> usize {
        self.position.step
    }

    /// Step and loss of the last validation.
    pub(crate) fn last_validation(&self) -> Option<(usize, f64)> {
        self.position.last_validation.map(|(step, bits)| (step, f64::from_bits(bits)))
    }

    /// Counts a step and shows it.
    pub(crate) fn count_step(
        &mut self,
        batch: BatchSummary,
        lr: f64,
        grad_norm: f64,
        batches: &Batches,
    ) -> Result<(), TrainError> {
        let at = &mut self.position;
        at.step += 1;
        let place = batches.position(at.step);
        (at.epoch, at.offset) = (place.epoch, place.offset);
        at.tokens += batch.tokens as u64;
        at.supervised_tokens += batch.supervised_tokens as u64;
        at.window_loss_bits = (f64::from_bits(at.window_loss_bits) + batch.loss_sum).to_bits();
        at.window_supervised += batch.supervised_tokens as u64;
        self.own_tokens += batch.tokens as u64;
        self.line_tokens += batch.tokens as u64;
        self.own_steps += 1;
        let elapsed = self.started.elapsed().as_secs_f64().max(1e-9);
        self.observer.observe(&Event::Step(StepProgress {
            step: self.position.step,
            total_steps: self.total_steps,
            loss: batch.loss(),
            lr,
            tokens_per_second: self.own_tokens as f64 / elapsed,
            seconds_left: elapsed / self.own_steps as f64 * (self.total_steps - self.position.step) as f64,
        }));
        if self.position.step.is_multiple_of(self.spec.logging_steps.max(1)) || self.position.step == self.total_steps {
            self.write_line(lr, grad_norm)?;
        }
        Ok(())
    }

    fn write_line(&mut self, lr: f64, grad_norm: f64) -> Result<(), TrainError> {
        let at = &mut self.position;
        let in_epoch = at.offset as f64 / self.samples as f64;
        let line = TrainMetrics {
            step: at.step,
            epoch: at.epoch as f64 + in_epoch,
            loss: f64::from_bits(at.window_loss_bits) / at.window_supervised as f64,
            lr,
            grad_norm,
            tokens: at.tokens,
            supervised_tokens: at.supervised_tokens,
            tokens_per_second: self.line_tokens as f64 / self.line_written.elapsed().as_secs_f64().max(1e-9),
            seconds: self.seconds_before + self.started.elapsed().as_secs_f64(),
            memory_bytes: resident_memory(),
            peak_memory_bytes: peak_resident_memory(),
            time: now(),
        };
        (at.window_loss_bits, at.window_supervised) = (0, 0);
        (self.line_written, self.line_tokens) = (Instant::now(), 0);
        self.observer.observe(&Event::Metrics(&line));
        self.write(&Metrics::Train(line))
    }

    fn write(&mut self, line: &Metrics) -> Result<(), TrainError> {
        self.writer.write(line)?;
        if self.writer.has_pending() && !self.noted_full_disk {
            self.noted_full_disk = true;
            let note = "the disk is full: metrics are kept in memory, and the next checkpoint needs room";
            self.observer.observe(&Event::Note(note));
        }
        Ok(())
    }

    /// Records a validation and the lowest loss so far.
    pub(crate) fn validated(&mut self, line: &ValidationMetrics) -> Result<(), TrainError> {
        let best = self.position.best.map_or(f64::INFINITY, |(_, bits)| f64::from_bits(bits));
        if line.loss < best {
            self.position.best = Some((line.step, line.loss.to_bits()));
        }
        self.position.last_validation = Some((line.step, line.loss.to_bits()));
        if let Some(early_stopping) = self.spec.early_stopping {
            self.position.plateau.count(line.loss, early_stopping.min_delta);
        }
        self.observer.observe(&Event::Validation(line));
        self.write(&Metrics::Validation(line.clone()))
    }

    /// Whether early stopping ends the run: `patience` validations without an improvement.
    pub(crate) fn is_on_plateau(&self) -> bool {
        let patience = self.spec.early_stopping.map(|early_stopping| early_stopping.patience.max(1));
        patience.is_some_and(|patience| self.position.plateau.validations >= patience)
    }

    /// Whether the validation of the current step has the lowest loss so far.
    pub(crate) fn is_best(&self) -> bool {
        self.position.best.is_some_and(|(step, _)| step == self.position.step)
    }

    /// Syncs the lines so far to disk: a checkpoint must not outlive them.
    pub(crate) fn sync(&mut self) -> Result<(), TrainError> {
        self.writer.sync()
    }

    /// The position that a checkpoint saves now.
    pub(crate) fn position(&self) -> RunPosition {
        let seconds = self.seconds_before + self.started.elapsed().as_secs_f64();
        RunPosition { seconds_bits: seconds.to_bits(), ..self.position.clone() }
    }
}
