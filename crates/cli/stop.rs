//! Ctrl-C, SIGTERM (a cluster's preemption) and SIGHUP (a closed terminal) end the process with status 128 + signal; during
//! training, after a checkpoint.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use miette::IntoDiagnostic;

use crate::progress::say;

/// Number of the last caught signal; 0 for none.
static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// Whether steps are being taken: then a signal waits for a checkpoint.
static TRAINING: AtomicBool = AtomicBool::new(false);

/// Whether the process was asked to stop.
pub fn requested() -> bool {
    SIGNAL.load(Ordering::SeqCst) != 0
}

/// Catches the signals from now on. Outside of [`with_a_checkpoint`] the first one ends the process: before the first step there
/// is nothing to lose, and the exam saves every answer at once.
///
/// # Errors
/// When they cannot be caught.
pub fn watch() -> miette::Result<()> {
    signals::watch(|signal| {
        let again = SIGNAL.swap(signal, Ordering::SeqCst) != 0;
        if again || !TRAINING.load(Ordering::SeqCst) {
            say("stopped; continue with --resume");
            end(signal);
        }
        say("stopping after this step, with a checkpoint (again to stop at once)");
    })
    .into_diagnostic()
}

/// Runs `training`, during which the first signal only sets [`requested`]; the second one ends the process.
pub fn with_a_checkpoint<R>(training: impl FnOnce() -> R) -> R {
    TRAINING.store(true, Ordering::SeqCst);
    let result = training();
    TRAINING.store(false, Ordering::SeqCst);
    result
}

/// Ends the process as [`end`] does, if a signal was caught.
pub fn end_if_requested() {
    match SIGNAL.load(Ordering::SeqCst) {
        0 => {}
        signal => end(signal),
    }
}

/// Ends with status 128 + signal. Ctrl-C at a terminal ends by the signal itself, which a shell reports as status 130, too: only
/// then does a shell end its running loop or script.
fn end(signal: i32) -> ! {
    signals::die_of_ctrl_c(signal);
    std::process::exit(128 + signal)
}

#[cfg(unix)]
mod signals {
    use std::io::{self, IsTerminal};
    use std::thread;

    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    /// Calls `caught` with the number of every signal that comes, in a thread of its own.
    pub fn watch(caught: impl Fn(i32) + Send + 'static) -> io::Result<()> {
        // `nohup` has SIGHUP ignored.
        let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|&signal| signal != SIGHUP || !is_ignored(signal));
        let mut signals = Signals::new(wanted)?;
        thread::Builder::new().name("signals".to_owned()).spawn(move || signals.forever().for_each(caught))?;
        Ok(())
    }

    fn is_ignored(signal: i32) -> bool {
        // SAFETY: an all-zero `sigaction` is a valid value; without a new action the call only fills in the present one.
        unsafe {
            let mut present: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &raw mut present) == 0 && present.sa_sigaction == libc::SIG_IGN
        }
    }

    pub fn die_of_ctrl_c(signal: i32) {
        if signal == SIGINT && (io::stdin().is_terminal() || io::stderr().is_terminal()) {
            // If this fails, the process exits with status 130.
            let _ = signal_hook::low_level::emulate_default_handler(SIGINT);
        }
    }
}

#[cfg(not(unix))]
mod signals {
    /// Only Ctrl-C is caught.
    const SIGINT: i32 = 2;

    pub fn watch(caught: impl Fn(i32) + Send + 'static) -> Result<(), ctrlc::Error> {
        ctrlc::set_handler(move || caught(SIGINT))
    }

    pub fn die_of_ctrl_c(_signal: i32) {}
}
