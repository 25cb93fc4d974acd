//! Terminals that close, pipes whose reader ends, full devices: a training loses no steps.

use std::ffi::c_int;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::interrupted::{Killed, arguments, root, signal, wait_for};
use crate::support::{medley, run, text};

/// A pseudo-terminal: its controlling side, and the side that is a process's terminal.
fn pseudo_terminal() -> (OwnedFd, OwnedFd) {
    let (mut ours, mut theirs): (c_int, c_int) = (-1, -1);
    let none = std::ptr::null_mut();
    // SAFETY: both pointers are valid for writes; name, attributes and size are null.
    let opened = unsafe { libc::openpty(&raw mut ours, &raw mut theirs, none, none.cast(), none.cast()) };
    assert_eq!(opened, 0, "a pseudo-terminal opens");
    // SAFETY: both descriptors were just opened and have no other owner. Ours must not be inherited.
    unsafe {
        libc::fcntl(ours, libc::F_SETFD, libc::FD_CLOEXEC);
        (OwnedFd::from_raw_fd(ours), OwnedFd::from_raw_fd(theirs))
    }
}

/// Starts `command` as the only process of a session on a terminal; without `signals` it ignores SIGHUP, as under `nohup`.
fn start_on_a_terminal(mut command: Command, signals: bool) -> (Killed, OwnedFd) {
    let (ours, theirs) = pseudo_terminal();
    let end = || Stdio::from(theirs.try_clone().expect("another descriptor"));
    command.stdin(end()).stdout(end()).stderr(end());
    // SAFETY: only async-signal-safe functions are called between fork and exec.
    unsafe {
        command.pre_exec(move || {
            libc::setsid();
            libc::ioctl(0, libc::TIOCSCTTY, 0);
            libc::signal(libc::SIGHUP, if signals { libc::SIG_DFL } else { libc::SIG_IGN });
            Ok(())
        });
    }
    let child = Killed(command.spawn().expect("the binary starts"));
    (child, ours)
}

/// Drains a terminal, so that writes to it do not block.
fn watch(ours: &OwnedFd) {
    let mut screen = File::from(ours.try_clone().expect("another descriptor"));
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while screen.read(&mut bytes).is_ok_and(|read| read > 0) {}
    });
}

fn state(out: &Path) -> Value {
    serde_json::from_slice(&fs::read(out.join("run.json")).expect("a state")).expect("JSON")
}

fn log(out: &Path) -> String {
    fs::read_to_string(out.join("log.txt")).expect("a log")
}

fn assert_complete(out: &Path, status: ExitStatus, context: &str) {
    assert!(status.success(), "{context}: {status}");
    assert_eq!(state(out)["status"], "complete", "{context}");
    assert!(out.join("model/README.md").exists(), "{context}");
}

#[test]
fn a_closed_terminal_ends_training_with_a_checkpoint() {
    for method in ["full", "lora"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let out = folder.path().join("run");
        let out_text = out.to_string_lossy();
        let setting = format!("train.method={method}");
        let more = ["--set", &setting, "--set", "train.epochs=50", "--set", "train.save_steps=0"];
        let (mut child, terminal) = start_on_a_terminal(medley(root(), &arguments(&out_text, &more)), true);
        wait_for(&out.join("events.out.tfevents.1.medley"));
        std::thread::sleep(Duration::from_millis(200));
        // The output is still unread; closing our side hangs up the terminal.
        drop(terminal);
        let status = child.0.wait().expect("it ends");
        assert_eq!(status.code(), Some(129), "{method}: {status}\n{}", log(&out));
        let state = state(&out);
        assert_eq!(state["status"], "stopped", "{method}");
        let step = state["step"].as_u64().expect("a step");
        assert!(out.join(format!("steps/{step}/state.json")).exists(), "{method}: step {step}");
        assert!(!log(&out).contains("panicked"), "{}", log(&out));
    }
}

#[test]
fn under_nohup_training_goes_on_without_its_terminal() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("run");
    let (mut child, terminal) = start_on_a_terminal(medley(root(), &arguments(&out.to_string_lossy(), &[])), false);
    wait_for(&out.join("events.out.tfevents.1.medley"));
    drop(terminal);
    assert_complete(&out, child.0.wait().expect("it ends"), "nohup");
    assert!(log(&out).contains("standard error cannot be written"), "{}", log(&out));
}

#[test]
fn a_reader_that_ends_costs_no_step() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("run");
    let mut command = medley(root(), &arguments(&out.to_string_lossy(), &[]));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let mut line = String::new();
    BufReader::new(child.stderr.take().expect("piped")).read_line(&mut line).expect("a first line");
    drop(child.stdout.take());
    let mut child = Killed(child);
    assert_complete(&out, child.0.wait().expect("it ends"), &line);
    let log = log(&out);
    assert_eq!(log.matches("standard error cannot be written").count(), 1, "{log}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_log_device_costs_no_step() {
    let full = || Stdio::from(OpenOptions::new().write(true).open("/dev/full").expect("a full device"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, verbose, log_is_full) in [("streams", "-v", false), ("log", "-vv", true)] {
        let out = folder.path().join(name);
        if log_is_full {
            // A folder of a killed process, whose log is a full device.
            fs::create_dir(&out).expect("made");
            fs::write(out.join(".lock"), "").expect("written");
            symlink("/dev/full", out.join("log.txt")).expect("linked");
        }
        let mut command = medley(root(), &arguments(&out.to_string_lossy(), &[verbose]));
        let status = command.stdout(full()).stderr(full()).status().expect("the binary starts");
        assert_complete(&out, status, name);
    }
    assert!(log(&folder.path().join("streams")).contains("standard error cannot be written"));
}

#[test]
fn what_only_prints_ends_quietly_with_its_reader() {
    let mut command = medley(root(), &["recipe", "show", "paper"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.signal(), Some(libc::SIGPIPE), "{}", output.status);
    assert_eq!(text(&output.stderr), "");
}

#[test]
#[cfg(target_os = "linux")]
fn data_that_cannot_be_written_is_an_error() {
    let full = OpenOptions::new().write(true).open("/dev/full").expect("a full device");
    let output = medley(root(), &["recipe", "list"]).stdout(full).output().expect("the binary starts");
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("standard output cannot be written") && !said.contains("panicked"), "{said}");
}

#[test]
fn signals_end_every_phase_with_128_and_the_signal() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("run");
    let out_text = out.to_string_lossy();
    // After the first line: before training.
    let mut command = medley(root(), &arguments(&out_text, &[]));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let mut line = String::new();
    BufReader::new(child.stderr.take().expect("piped")).read_line(&mut line).expect("a first line");
    let mut child = Killed(child);
    signal(&child, "-TERM");
    assert_eq!(child.0.wait().expect("it ends").code(), Some(143), "{line}");
    // In the exam: the model is written, and the status is not that of a complete run.
    let exam: Vec<&str> = arguments(&out_text, &["--resume", "--skip-base-exam"]);
    let no_papers = exam.iter().position(|word| word.starts_with("exam.papers")).expect("a run without an exam");
    let exam = [&exam[..no_papers - 1], &exam[no_papers + 1..]].concat();
    let mut command = medley(root(), &exam);
    let mut child = Killed(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts"));
    wait_for(&out.join("exam/open/answers.jsonl"));
    signal(&child, "-INT");
    assert_eq!(child.0.wait().expect("it ends").code(), Some(130));
    assert_eq!((&state(&out)["status"], &state(&out)["trained"]), (&"trained".into(), &true.into()));
    let output = run(root(), &exam);
    assert_complete(&out, output.status, &text(&output.stderr));
}

/// A shell ends its loop only if the process it waits for was killed by SIGINT.
#[test]
fn ctrl_c_at_a_terminal_ends_the_shells_loop() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("run");
    let out_text = out.to_string_lossy();
    let (mut child, terminal) =
        start_on_a_terminal(medley(root(), &arguments(&out_text, &["--set", "train.epochs=50"])), true);
    watch(&terminal);
    wait_for(&out.join("steps/1"));
    // SAFETY: one byte is written from an array of one.
    let written = unsafe { libc::write(terminal.as_raw_fd(), [3u8].as_ptr().cast(), 1) };
    assert_eq!(written, 1);
    let status = child.0.wait().expect("it ends");
    assert_eq!(status.signal(), Some(libc::SIGINT), "{status}");
    assert_eq!(state(&out)["status"], "stopped");
}

/// A run that failed after its training is continued without training again, although no checkpoint is kept.
#[test]
fn an_exam_that_failed_is_made_up_for_without_training() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("run");
    let out_text = out.to_string_lossy();
    let plain = arguments(&out_text, &["--set", "train.keep=model"]);
    let output = run(root(), &plain);
    assert_complete(&out, output.status, &text(&output.stderr));
    assert!(fs::read_dir(out.join("steps")).is_ok_and(|mut steps| steps.next().is_none()), "no checkpoint is kept");
    let mut earlier = state(&out);
    earlier["status"] = "failed".into();
    earlier["error"] = "the exam failed".into();
    fs::write(out.join("run.json"), earlier.to_string()).expect("written");
    let output = run(root(), &[&plain[..], &["--resume"]].concat());
    let said = text(&output.stderr);
    assert_complete(&out, output.status, &said);
    assert!(!said.contains("steps,") && state(&out).get("error").is_none(), "{said}");
}
