//! Full fine-tuning: every weight is trained.

use medley_model::Decoder;

use crate::error::TrainError;
use crate::observer::Observer;
use crate::optimizer::Optimizer;
use crate::parameters;
use crate::rehearsal::rehearse;
use crate::run::{OPTIMIZER_FILE, Run, TrainInput, TrainOutcome};
use crate::step::{GradientContext, clip_factor};

/// Trains every weight of the base.
///
/// # Errors
/// Data, base or checkpoint that cannot be used, a loss that is not finite, or a file that cannot be written.
pub fn train(input: &TrainInput<'_>, observer: &dyn Observer) -> Result<TrainOutcome, TrainError> {
    // The weights of the newest good checkpoint, or the base's.
    let resumed = input.resume_point(observer)?;
    let mut decoder = match &resumed {
        Some(checkpoint) => Decoder::load(&checkpoint.path, input.device, input.dtype)?,
        None => input.load_base()?,
    };
    input.check(&decoder)?;

    let parameters = parameters::list(&decoder);
    let mut optimizer = Optimizer::new(input.spec, &parameters);
    if let Some(checkpoint) = &resumed {
        optimizer.load(&checkpoint.path.join(OPTIMIZER_FILE), &parameters, input.dtype, input.device)?;
    }

    // Out of memory now rather than in the middle of the run.
    let first_step = resumed.as_ref().map_or(0, |checkpoint| checkpoint.position.step);
    rehearse(input, &decoder, &mut optimizer, first_step, observer)?;

    let context = GradientContext { spec: input.spec };
    let mut run = Run::start(input, observer, resumed, &parameters, &decoder)?;
    while let Some(batch) = run.next_batch() {
        // Gradient of the mean loss of the batch's supervised tokens, cut into micro-batches under the token budget.
        let (summary, norm) = if input.spec.optimizer_in_backward {
            context.step_in_backward(&mut decoder, &mut optimizer, &batch.samples, batch.step, batch.lr)?
        } else {
            let gradient = context.gradient(&decoder, &batch.samples, batch.step)?;
            let norm = context.global_norm(&gradient.gradients, &decoder, &batch.samples, batch.step)?;
            optimizer.step(&mut decoder, gradient.gradients, batch.lr, clip_factor(norm, input.spec.max_grad_norm));
            (gradient.summary, norm)
        };

        run.log(summary, batch.lr, norm)?;
        run.validate_when_due(&decoder)?;
        run.save_when_due(|folder| {
            decoder.save(folder, input.dtype)?;
            optimizer.save(&folder.join(OPTIMIZER_FILE))
        })?;
        if run.stopped() {
            return Ok(run.outcome());
        }
    }
    drop(optimizer);

    // With `result = "best"`, the weights with the lowest validation loss.
    if let Some(best) = run.best_checkpoint()? {
        drop(decoder);
        decoder = Decoder::load(&best, input.device, input.dtype)?;
    }
    let dtype = input.save_dtype()?;
    run.finish(|folder| Ok(decoder.save(folder, dtype)?))
}
