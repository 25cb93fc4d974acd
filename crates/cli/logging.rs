//! Notes to standard error, everything to the run's log.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// What was logged before the run's folder was known waits in memory.
enum RunLog {
    Waiting(Vec<u8>),
    Open(File),
}

static RUN_LOG: Mutex<RunLog> = Mutex::new(RunLog::Waiting(Vec::new()));

/// Starts logging: warnings (with -v: what each stage decides) to standard error, the latter always to the run's log.
pub fn start(verbose: u8) {
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
        .without_time()
        .with_ansi(console::colors_enabled_stderr())
        .with_filter(terminal);
    let file = fmt::layer()
        .with_writer(RunLogWriter)
        .with_ansi(false)
        .with_filter(EnvFilter::new(ours("debug")).add_directive(LevelFilter::WARN.into()));
    // A second subscriber in one process only happens in tests; the first stays.
    let _ = tracing_subscriber::registry().with(terminal).with(file).try_init();
}

fn crates_at(level: &str) -> String {
    let crates = ["chat", "mixer", "recipe", "experiment", "model", "ops", "trainer", "eval"];
    crates.map(|name| format!("medley_{name}={level}")).join(",")
}

/// Sends the log to `path` from now on, with what was logged before.
///
/// # Errors
/// When the file cannot be opened or written.
pub fn log_to(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let mut log = lock();
    if let RunLog::Waiting(bytes) = &*log {
        file.write_all(bytes)?;
    }
    *log = RunLog::Open(file);
    Ok(())
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
        match &mut *lock() {
            RunLog::Waiting(waiting) => waiting.write(bytes),
            RunLog::Open(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard error, without tearing the progress line.
struct Progressive;

impl Write for Progressive {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        crate::progress::bars().suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
