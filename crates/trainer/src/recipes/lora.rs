//! LoRA: low-rank factors beside frozen weights are trained (Hu et al. 2021), in PEFT's layout.

use medley_model::LoraConfig;
use medley_recipe::LoraSpec;

use crate::error::TrainError;
use crate::observer::Observer;
use crate::optimizer::Optimizer;
use crate::parameters;
use crate::rehearsal::rehearse;
use crate::run::{OPTIMIZER_FILE, Run, TrainInput, TrainOutcome};
use crate::step::{GradientContext, clip_factor};

/// Trains adapters on the base.
///
/// # Errors
/// Data, base or checkpoint that cannot be used, a loss that is not finite, or a file that cannot be written.
pub fn train(input: &TrainInput<'_>, lora: &LoraSpec, observer: &dyn Observer) -> Result<TrainOutcome, TrainError> {
    // The frozen base, and beside it the factors of the newest good checkpoint, or fresh ones: B = 0, so nothing changes yet.
    let resumed = input.resume_point(observer)?;
    let mut decoder = input.load_base()?;
    match &resumed {
        Some(checkpoint) => drop(decoder.load_adapter(&checkpoint.path)?),
        None => decoder.apply_lora(&config(lora), input.spec.seed)?,
    }
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
        let gradient = context.gradient(&decoder, &batch.samples, batch.step)?;
        let norm = context.global_norm(&gradient.gradients, &decoder, &batch.samples, batch.step)?;
        optimizer.step(&mut decoder, gradient.gradients, batch.lr, clip_factor(norm, input.spec.max_grad_norm));

        run.log(gradient.summary, batch.lr, norm)?;
        run.validate_when_due(&decoder)?;
        run.save_when_due(|folder| {
            decoder.save_adapter(folder, &input.adapter_base(&decoder)?)?;
            optimizer.save(&folder.join(OPTIMIZER_FILE))
        })?;
        if run.stopped() {
            return Ok(run.outcome());
        }
    }
    drop(optimizer);

    // With `result = "best"`, the adapters with the lowest validation loss.
    if let Some(best) = run.best_checkpoint()? {
        drop(decoder);
        decoder = input.load_base()?;
        decoder.load_adapter(&best)?;
    }
    let base = input.adapter_base(&decoder)?;
    let dtype = input.save_dtype()?;
    run.finish(|folder| Ok(decoder.save_adapter_in(folder, &base, dtype)?))
}

fn config(lora: &LoraSpec) -> LoraConfig {
    LoraConfig { rank: lora.rank, alpha: lora.alpha, dropout: lora.dropout, target: lora.target.clone() }
}
