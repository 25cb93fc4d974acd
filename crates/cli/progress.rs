//! Progress on standard error: bars on a terminal, occasional lines elsewhere.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle, TermLike};
use medley_view::wrapped;

use crate::logging;

/// Redraws per second on a terminal.
const REDRAWS_PER_SECOND: u8 = 15;

/// All progress lines of the process.
pub fn bars() -> &'static MultiProgress {
    static BARS: OnceLock<MultiProgress> = OnceLock::new();
    BARS.get_or_init(|| {
        let target = match drawn() {
            true => ProgressDrawTarget::term_like_with_hz(Box::new(Screen::default()), REDRAWS_PER_SECOND),
            false => ProgressDrawTarget::term_like_with_hz(Box::new(Lines::default()), 1),
        };
        MultiProgress::with_draw_target(target)
    })
}

/// Whether bars are drawn: standard error is a terminal with cursor movement.
pub fn drawn() -> bool {
    static DRAWN: OnceLock<bool> = OnceLock::new();
    *DRAWN.get_or_init(|| {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        io::stderr().is_terminal() && !dumb
    })
}

/// A bar over `total` units of `what`; `{msg}` is free.
pub fn bar(what: &str, total: u64) -> ProgressBar {
    let bar = bars().add(ProgressBar::new(total).with_prefix(what.to_owned()));
    bar.set_style(match drawn() {
        true => style("{prefix:9}{wide_bar:.cyan/blue} {pos}/{len} {msg} ETA {eta}"),
        false => style("{prefix:9}{elapsed} so far{left}{done} {msg}").with_key("done", done).with_key("left", left),
    });
    tick(&bar, Duration::from_secs(1));
    bar
}

/// A spinner for work of unknown length.
pub fn spinner(what: &str) -> ProgressBar {
    let spinner = bars().add(ProgressBar::new_spinner().with_prefix(what.to_owned()));
    spinner.set_style(match drawn() {
        true => style("{prefix:9}{spinner} {msg} {elapsed}"),
        false => style("{prefix:9}{elapsed} so far {msg}"),
    });
    tick(&spinner, Duration::from_millis(120));
    spinner
}

/// A bar over the bytes of a download; nothing moves it but the caller.
pub fn download(file: &str, size: Option<u64>) -> ProgressBar {
    let bar = bars().add(ProgressBar::new(size.unwrap_or(0)).with_message(file.to_owned()));
    bar.set_style(match drawn() {
        true => style("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} ETA {eta}"),
        false => style("{msg} {bytes} of {total_bytes}"),
    });
    bar
}

/// Redraws a bar regularly, if the system can start another thread: `enable_steady_tick` panics where it cannot.
fn tick(bar: &ProgressBar, interval: Duration) {
    if thread::Builder::new().spawn(|| ()).is_ok_and(|probe| probe.join().is_ok()) {
        bar.enable_steady_tick(interval);
    }
}

/// Width of notices in columns, and of the label before them.
const WIDTH: usize = 100;
const LABEL: usize = 9;

/// Prints a labelled text above any progress, wrapped at 100 columns.
pub fn tell(label: &str, text: impl AsRef<str>) {
    let label = console::style(format!("{label:LABEL$}")).bold().for_stderr();
    for (at, line) in wrapped(text.as_ref(), WIDTH - LABEL, 0).split('\n').enumerate() {
        match at {
            0 => say(format!("{label}{line}")),
            _ => say(format!("{:LABEL$}{line}", "")),
        }
    }
}

/// Prints text above any progress, wrapped at 100 columns; further lines begin with `indent` blanks.
pub fn say_wrapped(text: impl AsRef<str>, indent: usize) {
    wrapped(text.as_ref(), WIDTH, indent).lines().for_each(say);
}

/// Prints a line above any progress.
pub fn say(line: impl AsRef<str>) {
    clock().said();
    bars().suspend(|| eprintln!("{}", line.as_ref()));
    tracing::debug!("{}", console::strip_ansi_codes(line.as_ref()));
}

fn style(template: &str) -> ProgressStyle {
    // Templates are constants; an invalid one falls back to the default bar.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// `, 12 % (120 of 1000)`; nothing while the total is not known.
fn done(state: &ProgressState, out: &mut dyn std::fmt::Write) {
    if let Some(total) = state.len().filter(|&total| total > 0) {
        let percent = state.pos().min(total) as f64 / total as f64 * 100.0;
        let _ = write!(out, ", {percent:.0} % ({} of {total})", state.pos());
    }
}

/// `, 5m left`, once it can be estimated.
fn left(state: &ProgressState, out: &mut dyn std::fmt::Write) {
    let left = state.eta();
    if left > Duration::ZERO {
        let _ = write!(out, ", {} left", indicatif::HumanDuration(left));
    }
}

/// A terminal that reports no errors: it may be closed at any time, and indicatif panics on errors.
#[derive(Debug, Default)]
struct Screen {
    frame: Mutex<String>,
}

impl Screen {
    fn put(&self, text: &str) -> io::Result<()> {
        lock(&self.frame).push_str(text);
        Ok(())
    }

    fn move_cursor(&self, count: usize, direction: char) -> io::Result<()> {
        if count == 0 { Ok(()) } else { self.put(&format!("\x1b[{count}{direction}")) }
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        Term::stderr().size().1
    }

    fn height(&self) -> u16 {
        Term::stderr().size().0
    }

    fn move_cursor_up(&self, count: usize) -> io::Result<()> {
        self.move_cursor(count, 'A')
    }

    fn move_cursor_down(&self, count: usize) -> io::Result<()> {
        self.move_cursor(count, 'B')
    }

    fn move_cursor_right(&self, count: usize) -> io::Result<()> {
        self.move_cursor(count, 'C')
    }

    fn move_cursor_left(&self, count: usize) -> io::Result<()> {
        self.move_cursor(count, 'D')
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)?;
        self.put("\n")
    }

    /// Screened: messages of bars contain file names.
    fn write_str(&self, text: &str) -> io::Result<()> {
        self.put(&medley_chat::screened(text, true))
    }

    fn clear_line(&self) -> io::Result<()> {
        self.put("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        let frame = std::mem::take(&mut *lock(&self.frame));
        let mut stderr = io::stderr().lock();
        // A lost frame is followed by the next; the next line of text notes that the terminal is gone.
        let _ = stderr.write_all(frame.as_bytes()).and_then(|()| stderr.flush());
        Ok(())
    }
}

/// First and longest pause between lines of progress off a terminal; each pause is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Schedule of progress lines off a terminal.
struct Clock {
    last: Instant,
    pause: Duration,
}

impl Clock {
    fn new(now: Instant) -> Self {
        Self { last: now, pause: FIRST_PAUSE }
    }

    /// Any printed line is a sign of progress and restarts the pause.
    fn said(&mut self) {
        self.last = Instant::now();
    }

    fn due(&mut self, now: Instant) -> bool {
        let due = now.duration_since(self.last) >= self.pause;
        if due {
            *self = Self { last: now, pause: (2 * self.pause).min(LONGEST_PAUSE) };
        }
        due
    }
}

fn clock() -> MutexGuard<'static, Clock> {
    static CLOCK: OnceLock<Mutex<Clock>> = OnceLock::new();
    lock(CLOCK.get_or_init(|| Mutex::new(Clock::new(Instant::now()))))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Columns of a line of progress off a terminal.
const LINE_WIDTH: u16 = 100;

/// Collects what would be drawn, and prints it as plain lines when one is due.
#[derive(Debug, Default)]
struct Lines {
    frame: Mutex<Vec<String>>,
}

impl TermLike for Lines {
    fn width(&self) -> u16 {
        LINE_WIDTH
    }

    fn move_cursor_up(&self, _count: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _count: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _count: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _count: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        let text = console::strip_ansi_codes(text);
        if !text.trim().is_empty() {
            lock(&self.frame).push(text.trim().to_owned());
        }
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let frame = std::mem::take(&mut *lock(&self.frame));
        if !frame.is_empty() && clock().due(Instant::now()) {
            for line in frame {
                // Neither `say` nor `tracing`: both would draw, and the bars are locked here.
                eprintln!("{line}");
                logging::note(&line);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_progress_come_after_growing_pauses() {
        let start = Instant::now();
        let mut clock = Clock::new(start);
        let due: Vec<u64> = (0..120).filter(|&second| clock.due(start + Duration::from_secs(second))).collect();
        assert_eq!(due, [5, 15, 35, 65, 95]);
    }
}
