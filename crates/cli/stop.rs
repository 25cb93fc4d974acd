//! Ctrl-C, SIGTERM (a cluster's preemption) and SIGHUP (a closed terminal).

use std::sync::atomic::{AtomicBool, Ordering};

use miette::IntoDiagnostic;

use crate::progress::say;

/// Set by the first signal.
static STOP: AtomicBool = AtomicBool::new(false);

/// Whether steps are being taken: then a signal waits for a checkpoint.
static TRAINING: AtomicBool = AtomicBool::new(false);

/// Whether the process was asked to stop.
pub fn requested() -> bool {
    STOP.load(Ordering::SeqCst)
}

/// Runs `training`, during which the first signal only sets [`requested`] and the second one ends the process. Afterwards the
/// first one ends it too, because the exam writes every answer down as it comes.
///
/// # Errors
/// When the signals cannot be caught.
pub fn with_a_checkpoint<R>(training: impl FnOnce() -> R) -> miette::Result<R> {
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::SeqCst) || !TRAINING.load(Ordering::SeqCst) {
            say("stopped; go on with --resume");
            std::process::exit(130);
        }
        say("stopping after this step, with a checkpoint (again to stop at once)");
    })
    .into_diagnostic()?;
    TRAINING.store(true, Ordering::SeqCst);
    let result = training();
    TRAINING.store(false, Ordering::SeqCst);
    Ok(result)
}
