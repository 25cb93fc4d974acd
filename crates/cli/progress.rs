//! Progress lines on standard error.

use std::sync::OnceLock;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// All progress lines of the process; nothing is drawn where standard error is not a terminal.
pub fn bars() -> &'static MultiProgress {
    static BARS: OnceLock<MultiProgress> = OnceLock::new();
    BARS.get_or_init(MultiProgress::new)
}

/// A bar over `total` units of `what`; `{msg}` is free.
pub fn bar(what: &str, total: u64) -> ProgressBar {
    let bar = bars().add(ProgressBar::new(total).with_prefix(what.to_owned()));
    bar.set_style(style("{prefix:>9} {wide_bar:.cyan/blue} {pos}/{len} {msg} ETA {eta}"));
    bar
}

/// A spinner for work of unknown length.
pub fn spinner(what: &str) -> ProgressBar {
    let spinner = bars().add(ProgressBar::new_spinner().with_prefix(what.to_owned()));
    spinner.set_style(style("{prefix:>9} {spinner} {msg} {elapsed}"));
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}

/// A line to the reader, above any progress.
pub fn say(line: impl AsRef<str>) {
    bars().suspend(|| eprintln!("{}", line.as_ref()));
    tracing::debug!("{}", console::strip_ansi_codes(line.as_ref()));
}

fn style(template: &str) -> ProgressStyle {
    // The templates above are constants; the default bar is a fair stand-in for a mistyped one.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
