//! Standard output and standard error. Failed writes are noted in the run's log and never panic; text from data, recipes, models
//! and file names cannot drive the terminal.
//!
//! The macros of this module replace the standard library's `print!`, `println!`, `eprint!` and `eprintln!` in this crate: those
//! panic when the terminal is closed, the reader of a pipe has ended or the device is full, which would lose a training's
//! unsaved steps. All text passes [`medley_chat::screened`]: the only control sequences that are kept are our own colours, if
//! the stream has colours.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::logging;

macro_rules! print {
    ($($argument:tt)*) => { $crate::output::data(format_args!($($argument)*)) };
}

macro_rules! println {
    () => { $crate::output::data(format_args!("\n")) };
    ($($argument:tt)*) => { $crate::output::data(format_args!("{}\n", format_args!($($argument)*))) };
}

macro_rules! eprint {
    ($($argument:tt)*) => { $crate::output::notice(format_args!($($argument)*)) };
}

macro_rules! eprintln {
    () => { $crate::output::notice(format_args!("\n")) };
    ($($argument:tt)*) => { $crate::output::notice(format_args!("{}\n", format_args!($($argument)*))) };
}

/// Whether the command's result is on disk, so that it continues without its terminal.
static LONG: AtomicBool = AtomicBool::new(false);

/// First error of standard output.
static STDOUT_FAILURE: Mutex<Option<io::Error>> = Mutex::new(None);

/// Restores the default action of SIGPIPE: a command that only prints ends silently with its reader, as in
/// `medley preview --recipe R | head`. Called before anything is printed.
pub fn end_with_the_reader() {
    set_sigpipe(true);
}

/// From now on failed writes to the standard streams do not stop the command, whose result is on disk.
pub fn outlive_the_reader() {
    LONG.store(true, Ordering::SeqCst);
    set_sigpipe(false);
}

#[cfg(unix)]
fn set_sigpipe(default: bool) {
    let action = if default { libc::SIG_DFL } else { libc::SIG_IGN };
    // SAFETY: the process has just started; one of the two predefined actions replaces another, no handler of ours runs.
    unsafe {
        libc::signal(libc::SIGPIPE, action);
    }
}

#[cfg(not(unix))]
fn set_sigpipe(_default: bool) {}

/// Writes data to standard output.
pub fn data(text: fmt::Arguments<'_>) {
    let written = bytes_to(&mut io::stdout().lock(), text, console::colors_enabled());
    let Err(error) = written else { return };
    if !LONG.load(Ordering::SeqCst) {
        // Windows has no SIGPIPE: there a reader that ended is an error, which is not reported.
        if error.kind() != ErrorKind::BrokenPipe {
            eprintln!("medley: standard output cannot be written: {error}");
        }
        std::process::exit(1);
    }
    let mut failure = STDOUT_FAILURE.lock().unwrap_or_else(PoisonError::into_inner);
    if failure.is_none() {
        logging::note(&format!("standard output cannot be written ({error}); the command continues without it"));
        *failure = Some(error);
    }
}

/// Writes a notice to standard error; the first failure is noted in the run's log.
pub fn notice(text: fmt::Arguments<'_>) {
    static NOTED: AtomicBool = AtomicBool::new(false);
    if let Err(error) = bytes_to(&mut io::stderr().lock(), text, console::colors_enabled_stderr())
        && !NOTED.swap(true, Ordering::SeqCst)
    {
        logging::note(&format!("standard error cannot be written ({error}); the command and this log continue"));
    }
}

/// One write for each text, so that lines of several processes do not interleave.
fn bytes_to(stream: &mut dyn Write, text: fmt::Arguments<'_>, styled: bool) -> io::Result<()> {
    stream.write_all(medley_chat::screened(&text.to_string(), styled).as_bytes())?;
    stream.flush()
}

/// Exit status of a command whose result is its standard output: failure where that could not be written in full, unless its
/// reader ended.
pub fn judged(code: ExitCode) -> ExitCode {
    let failure = STDOUT_FAILURE.lock().unwrap_or_else(PoisonError::into_inner);
    match failure.as_ref() {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("medley: standard output cannot be written: {error}; the files are complete");
            ExitCode::FAILURE
        }
        _ => code,
    }
}
