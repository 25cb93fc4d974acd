//! Progress of a training on the terminal.

use indicatif::ProgressBar;
use medley_run::{Resumed, RunDir, RunDirError, Status, seconds_since_1970};
use medley_trainer::metrics::ValidationMetrics;
use medley_trainer::plan::readable_bytes;
use medley_trainer::{Event, Observer};

use crate::plan_table;
use crate::progress::{self, say, tell};
use crate::stop;

/// Shows a training on standard error, and records its number of steps in the run's folder.
pub struct TrainProgress<'a> {
    bar: ProgressBar,
    run_dir: &'a RunDir,
    lines: bool,
}

impl<'a> TrainProgress<'a> {
    /// For the run in `run_dir`.
    pub fn new(run_dir: &'a RunDir) -> Self {
        let lines = !progress::drawn();
        Self { bar: progress::bar("training", 0), run_dir, lines }
    }

    /// Records total steps and resumption in `run.json`, for `medley runs`.
    fn note_start(&self, total_steps: usize, resumed_from: Option<usize>) -> Result<(), RunDirError> {
        let mut state = self.run_dir.state()?;
        state.total_steps = total_steps;
        state.resumed.extend(resumed_from.map(|step| Resumed { step, time: seconds_since_1970() }));
        self.run_dir.write_state(&state.with_status(Status::Training))
    }

    /// Removes the progress line.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for TrainProgress<'_> {
    fn observe(&self, event: &Event<'_>) {
        match event {
            Event::Started { resumed_from, total_steps, trainable_parameters, parameters } => {
                self.bar.set_length(*total_steps as u64);
                self.bar.set_position(resumed_from.unwrap_or(0) as u64);
                let from = resumed_from.map_or(String::new(), |step| format!(", resumed from step {step}"));
                let (trained, all) = (trainable_parameters, parameters);
                let [trained, all] = [trained, all].map(|&number| plan_table::count(number));
                tell("training", format!("{total_steps} steps, {trained} of {all} parameters{from}"));
                if let Err(error) = self.note_start(*total_steps, *resumed_from) {
                    tracing::warn!("{error}");
                }
            }
            Event::Rehearsed { tokens, seconds, peak_memory_bytes } => {
                let peak = readable_bytes(*peak_memory_bytes);
                tell(
                    "",
                    format!("largest micro-batch first: {tokens} tokens in {seconds:.1} s, {peak} resident at most"),
                );
            }
            Event::Step(step) => {
                self.bar.set_position(step.step as u64);
                self.bar.set_message(format!(
                    "loss {:.4}, lr {:.2e}, {:.0} tokens/s",
                    step.loss, step.lr, step.tokens_per_second
                ));
            }
            Event::Metrics(line) => {
                let text = format!(
                    "step {:>6}  loss {:.4}  lr {:.2e}  grad norm {:.3}  {:.0} tokens/s",
                    line.step, line.loss, line.lr, line.grad_norm, line.tokens_per_second
                );
                // Without a bar, these lines are the only progress.
                if self.lines { say(text) } else { tracing::info!("{text}") }
            }
            Event::Validation(line) => say(validation(line)),
            Event::Checkpoint { step, path } => tracing::info!("checkpoint after step {step}: {}", path.display()),
            Event::Note(note) => tell("note", note),
        }
    }

    fn stop_requested(&self) -> bool {
        stop::requested()
    }
}

fn validation(line: &ValidationMetrics) -> String {
    let sources: Vec<String> = line.sources.iter().map(|(name, loss)| format!("{name} {loss:.4}")).collect();
    format!("step {:>6}  validation loss {:.4} ({})", line.step, line.loss, sources.join(", "))
}
