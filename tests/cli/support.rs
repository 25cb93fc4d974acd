//! The `medley` binary as a user runs it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A command in `folder`, not yet started, without colours, the hub, or the caller's terminal.
pub fn medley(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medley"));
    command.args(arguments).current_dir(folder).stdin(Stdio::null());
    command.env("NO_COLOR", "1").env("HF_HUB_OFFLINE", "1").env_remove("RUST_LOG");
    command
}

/// Runs the command to its end.
pub fn run(folder: &Path, arguments: &[&str]) -> Output {
    medley(folder, arguments).output().expect("the binary starts")
}

/// Standard error of a command that must fail, on one line and without drawing, for searches.
pub fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    let text = text(&output.stderr);
    assert!(!output.status.success(), "must be refused, but printed:\n{text}");
    assert!(!text.contains("panicked"), "a panic is not an error message:\n{text}");
    text
}

/// Standard output of a command that must succeed.
pub fn succeeds(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(output.status.success(), "failed:\n{}", text(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Printed text in one line, without the bars that frame a wrapped message.
pub fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace(['│', '╭', '╰', '─', '×'], " ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
