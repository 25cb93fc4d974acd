//! The command that `medley runs` offers for an unfinished run completes it, from every state.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::runs::{arguments, find, list, paper};
use crate::support::{medley, succeeds};

/// Changes a run's `run.json`.
fn state(run: &Path, change: impl FnOnce(&mut Value)) {
    let path = run.join("run.json");
    let mut state: Value = serde_json::from_str(&fs::read_to_string(&path).expect("a state")).expect("JSON");
    change(&mut state);
    fs::write(path, state.to_string()).expect("written");
}

/// Runs the command that the list offers in a shell, as a user who copies it.
fn continue_run(folder: &Path, run: &str) -> String {
    let runs = list(folder, &[]);
    let hint = find(&runs, run)["hint"].as_str().unwrap_or_else(|| panic!("no command: {runs:#?}")).to_owned();
    let binary = Path::new(env!("CARGO_BIN_EXE_medley")).parent().expect("a folder");
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("sh");
    shell.args(["-c", &hint]).current_dir(folder).env("PATH", path).env("HF_HUB_OFFLINE", "1").stdin(Stdio::null());
    let output = shell.output().expect("a shell");
    assert!(output.status.success(), "{hint}\n{}", String::from_utf8_lossy(&output.stderr));
    hint
}

fn complete(folder: &Path, run: &str) -> bool {
    find(&list(folder, &[]), run)["status"] == "complete"
}

#[test]
fn the_offered_command_succeeds_from_every_state() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    paper(folder);
    let name = "checkpoints/it's a run";
    // A recipe of the user's own, with its template, which are gone afterwards.
    fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("data/exams/prompt.jinja"), folder.join("mine.jinja"))
        .expect("copied");
    let recipe = "extends = \"quickstart.toml\"\nname = \"own\"\n[exam]\nprompt = \"mine.jinja\"\n";
    fs::write(folder.join("own.toml"), recipe).expect("written");
    let mut words = arguments(name, &["--skip-base-exam", "--set", "train.epochs=400"]);
    words[2] = "own.toml";
    let mut child = medley(folder, &words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let since = Instant::now();
    while !folder.join(name).join("steps/2").exists() {
        assert!(since.elapsed() < Duration::from_secs(120), "no checkpoint came");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().expect("killed");
    child.wait().expect("gone");
    fs::remove_file(folder.join("own.toml")).expect("removed");
    let runs = list(folder, &[]);
    let killed = find(&runs, name)["hint"].as_str().expect("a command").to_owned();
    assert!(killed.contains("--resume --skip-base-exam --device cpu") && killed.contains(r"it'\''s"), "{killed}");
    // A short run goes through all states: continuing the long one would take too long.
    let name = "checkpoints/short";
    succeeds(folder, &arguments(name, &["--set", &format!("exam.prompt={}", folder.join("mine.jinja").display())]));
    let root = folder.join(name);
    let steps = fs::read_dir(root.join("steps")).map(|entries| entries.count()).unwrap_or(0);
    for status in ["trained", "failed", "stopped"] {
        state(&root, |state| {
            state["status"] = status.into();
            if status != "trained" {
                state["error"] = "no space left on device".into();
            }
        });
        fs::remove_dir_all(root.join("exam")).expect("removed");
        let hint = continue_run(folder, name);
        assert!(complete(folder, name), "{status}, {steps} checkpoints: {hint}");
    }
    // Without its template the run would fail again: the offered command replaces it.
    fs::remove_file(folder.join("mine.jinja")).expect("removed");
    state(&root, |state| state["status"] = "failed".into());
    fs::remove_dir_all(root.join("exam")).expect("removed");
    let text = succeeds(folder, &["runs"]);
    assert!(text.contains("built-in exam prompt") && text.lines().all(|line| line.chars().count() <= 100), "{text}");
    assert!(continue_run(folder, name).contains("--set exam.prompt=zh") && complete(folder, name));
}
