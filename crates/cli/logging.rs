//! Notes to standard error, everything to the run's log.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// The run's log; failures to write it never stop the run.
struct RunLog {
    place: Place,
    /// Lines lost since the last successful write.
    missing: usize,
}

enum Place {
    /// Lines logged before the run's folder is known, in memory.
    Waiting(Vec<u8>),
    Open(File),
    /// The file cannot be opened.
    Nowhere,
}

static RUN_LOG: Mutex<RunLog> = Mutex::new(RunLog { place: Place::Waiting(Vec::new()), missing: 0 });

impl RunLog {
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        match &mut self.place {
            Place::Waiting(waiting) => waiting.extend_from_slice(line),
            Place::Nowhere => {}
            Place::Open(file) => {
                if self.missing > 0 {
                    // Begins with a line feed: a full disk may have cut the last line.
                    let note = format!("\n{} lines are missing here: the log could not be written\n", self.missing);
                    self.missing += 1;
                    file.write_all(note.as_bytes())?;
                }
                self.missing = 1;
                file.write_all(line)?;
                self.missing = 0;
            }
        }
        Ok(())
    }
}

/// Number of `-v` flags.
static VERBOSITY: AtomicU8 = AtomicU8::new(0);

/// Whether `-v` was given.
pub fn is_verbose() -> bool {
    VERBOSITY.load(Ordering::Relaxed) > 0
}

/// Starts logging: warnings to standard error (with -v the decisions of each stage), all of it to the run's log.
pub fn start(verbose: u8) {
    VERBOSITY.store(verbose, Ordering::Relaxed);
    let level = match verbose {
        0 => "warn",
        1 => "info",
        _ => "debug",
    };
    let ours = |level: &str| format!("warn,medley={level},{}", crates_at(level));
    let terminal = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(ours(level)));
    let terminal = fmt::layer()
        .with_writer(|| Progressive)
        .with_target(verbose > 1)
        .log_internal_errors(false)
        .without_time()
        .with_ansi(console::colors_enabled_stderr())
        .with_filter(terminal);
    let file = fmt::layer()
        .with_writer(RunLogWriter)
        .log_internal_errors(false)
        .with_ansi(false)
        .with_filter(EnvFilter::new(ours("debug")).add_directive(LevelFilter::WARN.into()));
    // Setting the subscriber a second time, as tests do, keeps the first.
    let _ = tracing_subscriber::registry().with(terminal).with(file).try_init();
}

fn crates_at(level: &str) -> String {
    let crates = ["chat", "mixer", "recipe", "experiment", "model", "ops", "trainer", "eval"];
    crates.map(|name| format!("medley_{name}={level}")).join(",")
}

/// Writes the log to `path` from now on, beginning with the lines logged before. A failure is reported once on standard
/// error and does not stop the run.
pub fn log_to(path: &Path) {
    let opened = OpenOptions::new().create(true).append(true).open(path);
    let before = {
        let mut log = lock();
        let (place, failure) = match opened {
            Ok(file) => (Place::Open(file), None),
            Err(error) => (Place::Nowhere, Some(error)),
        };
        let before = std::mem::replace(&mut log.place, place);
        if let Some(error) = failure {
            drop(log);
            return say_lost(&error);
        }
        before
    };
    if let Place::Waiting(bytes) = before {
        append(&bytes);
    }
}

/// Writes a line to the run's log only.
pub fn note(line: &str) {
    let mut text = String::new();
    let _ = SystemTime.format_time(&mut fmt::format::Writer::new(&mut text));
    append(format!("{text}  NOTE {line}\n").as_bytes());
}

fn append(bytes: &[u8]) {
    let appended = lock().append(bytes);
    if let Err(error) = appended {
        say_lost(&error);
    }
}

/// Called without the lock: a failing standard error is noted in the log, which takes the lock.
fn say_lost(error: &io::Error) {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Ordering::SeqCst) {
        eprintln!("note: the run's log.txt cannot be written ({error}); the run continues");
    }
}

fn lock() -> MutexGuard<'static, RunLog> {
    RUN_LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Copy)]
struct RunLogWriter;

impl<'a> MakeWriter<'a> for RunLogWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self::Writer {
        *self
    }
}

impl Write for RunLogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        append(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard error, without tearing the progress line.
struct Progressive;

impl Write for Progressive {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        crate::progress::bars().suspend(|| eprint!("{}", String::from_utf8_lossy(bytes)));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
