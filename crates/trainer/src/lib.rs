//! Full and LoRA fine-tuning: batching, step, recompute, optimizers, checkpoints.
//!
//! | file | what it does |
//! |---|---|
//! | `recipes/{full,lora}.rs` | the whole story of a run, top to bottom |
//! | `run.rs` | where a run starts, when it logs, validates, saves and stops |
//! | `batching.rs` | which samples a step trains, and how it is cut into micro-batches |
//! | `recompute.rs` | loss and gradients, one block at a time |
//! | `step.rs` | the gradient of a batch, its norm, clipping, numbers that are not finite |
//! | `in_backward.rs` | the same batch, each block updated as soon as its gradient exists |
//! | `optimizer/` | AdamW, Muon, and their state in files |
//! | `schedule.rs` | learning rates |
//! | `validation.rs` | loss on held-out samples, per source |
//! | `checkpoint.rs` | `steps/<n>/`, whole or not at all; which one to resume from |
//! | `end_of_turn.rs` | stop tokens in the files of a trained model |
//! | `metrics.rs`, `tensorboard.rs` | `metrics.jsonl` and TensorBoard events |
//! | `base.rs` | what a run starts from |
//! | `rehearsal.rs` | the micro-batch that takes most memory, before the first step |
//! | `plan/` | what a run will take: memory by part, disk, operations; which settings would fit |

pub mod base;
pub mod batching;
pub mod card;
pub mod checkpoint;
mod end_of_turn;
mod error;
mod heap;
mod in_backward;
mod journal;
pub mod metrics;
pub mod observer;
pub mod optimizer;
pub mod parameters;
pub mod plan;
pub mod recipes;
pub mod recompute;
mod rehearsal;
mod run;
pub mod sample;
pub mod schedule;
pub mod step;
pub mod tensorboard;
pub mod validation;

#[cfg(test)]
mod tests;

pub use base::Base;
pub use card::{Card, CardSource, HubModel, short_path};
pub use checkpoint::Identity;
pub use error::TrainError;
pub use observer::{Event, Observer, Silent, StepProgress};
pub use run::{TrainInput, TrainOutcome, keep_checkpoints};
pub use sample::{Sample, SampleOrigin};

use medley_recipe::Method;

/// Trains as the recipe's method says.
///
/// # Errors
/// Data, base or checkpoint that cannot be used, a loss that is not finite, or a file that cannot be written.
pub fn train(input: &TrainInput<'_>, observer: &dyn Observer) -> Result<TrainOutcome, TrainError> {
    if input.spec.optimizer_in_backward {
        heap::give_back_large_blocks();
    }
    match &input.spec.method {
        Method::Full => recipes::full::train(input, observer),
        Method::Lora(lora) => recipes::lora::train(input, lora, observer),
    }
}
