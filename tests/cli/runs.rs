//! `medley runs` on real small runs: complete, killed and failed ones, and a folder that is not a run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{medley, refused, run, succeeds, text};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn arguments<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["train", "--recipe", "quickstart.toml", "--device", "cpu", "--out", out];
    for setting in ["mix.size=160", "train.logging_steps=1", "train.eval_steps=5", "train.save_steps=2"] {
        arguments.extend(["--set", setting]);
    }
    for setting in ["mix.validation.max_samples=8", "exam.papers=[\"nursing.jsonl\"]", "exam.books=[\"open\"]"] {
        arguments.extend(["--set", setting]);
    }
    arguments.extend(more);
    arguments
}

/// Ten questions of a shipped exam beside the working directory.
pub fn paper(folder: &Path) {
    let exam = fs::read_to_string(root().join("data/exams/nursing.jsonl")).expect("a shipped exam");
    let lines: Vec<&str> = exam.lines().take(10).collect();
    fs::write(folder.join("nursing.jsonl"), lines.join("\n")).expect("written");
}

pub fn list(folder: &Path, more: &[&str]) -> Vec<Value> {
    let json = succeeds(folder, &[&["runs", "checkpoints", "--json"], more].concat());
    serde_json::from_str(&json).expect("a JSON array on standard output")
}

pub fn find<'a>(runs: &'a [Value], path: &str) -> &'a Value {
    runs.iter().find(|run| run["path"] == path).unwrap_or_else(|| panic!("no {path} in {runs:#?}"))
}

/// Starts a long run, lists it while it trains, kills it.
fn killed(folder: &Path) {
    let more = ["--set", "train.epochs=500", "--set", "exam.papers=[]"];
    let mut command = medley(folder, &arguments("checkpoints/group/killed", &more));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
    let since = Instant::now();
    while !folder.join("checkpoints/group/killed/steps/2").exists() {
        assert!(since.elapsed() < Duration::from_secs(120), "no checkpoint came");
        std::thread::sleep(Duration::from_millis(20));
    }
    let runs = list(folder, &["--status", "training"]);
    let alive = find(&runs, "checkpoints/group/killed");
    assert_eq!((&alive["total_steps"], alive["worker"].is_string()), (&Value::from(5000), true), "{alive:#}");
    assert!(alive["seconds_left"].as_f64().is_some_and(|left| left > 0.0), "{alive:#}");
    let shown = succeeds(folder, &["runs", "show", "group/killed", "--html", "alive.html"]);
    assert!(shown.contains("of 5000") && shown.contains("left"), "{shown}");
    let more = ["runs", "show", "group/killed", "--watch", "--html", "watched.html"];
    let mut watch = medley(folder, &more);
    let mut watch = watch.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
    let watched = folder.join("watched.html");
    while !watched.exists() {
        assert!(since.elapsed() < Duration::from_secs(180), "no page came");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(fs::read_to_string(&watched).expect("a page").contains("http-equiv=\"refresh\""));
    child.kill().expect("killed");
    child.wait().expect("gone");
    assert!(watch.wait().expect("it ends with the run").success());
    let last = fs::read_to_string(&watched).expect("a page");
    assert!(last.contains("--resume") && !last.contains("http-equiv=\"refresh\""), "the last page is at rest");
}

/// A run whose exam settings cannot work is refused before it begins; one that fails later says why in its state.
fn failed(folder: &Path) {
    let refused = run(folder, &arguments("checkpoints/refused", &["--set", "exam.prompt=gone.jinja"]));
    let said = text(&refused.stderr);
    assert!(!refused.status.success() && said.contains("gone.jinja") && !said.contains("step"), "{said}");
    assert!(!folder.join("checkpoints/refused").exists(), "no run was begun");
    succeeds(folder, &arguments("checkpoints/failed", &["--set", "exam.papers=[]"]));
    let path = folder.join("checkpoints/failed/run.json");
    let mut state: Value = serde_json::from_slice(&fs::read(&path).expect("a state")).expect("JSON");
    state["status"] = "failed".into();
    state["error"] = "the disk is full".into();
    fs::write(path, state.to_string()).expect("written");
}

#[test]
fn listed_shown_and_written_as_a_page() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    paper(folder);
    succeeds(folder, &arguments("checkpoints/whole", &[]));
    killed(folder);
    failed(folder);
    fs::create_dir_all(folder.join("checkpoints/torn")).expect("made");
    fs::write(folder.join("checkpoints/torn/run.json"), "{\"name\": \"to").expect("written");
    fs::create_dir_all(folder.join("checkpoints/thesis")).expect("made");

    let runs = list(folder, &[]);
    let status = |path: &str| find(&runs, path)["status"].clone();
    assert_eq!(status("checkpoints/whole"), "complete");
    assert_eq!(status("checkpoints/group/killed"), "killed");
    assert_eq!(status("checkpoints/torn"), "damaged");
    let failed = find(&runs, "checkpoints/failed");
    assert_eq!(failed["status"], "failed");
    assert!(failed["error"].as_str().is_some_and(|error| error.contains("disk is full")), "{failed:#}");
    let whole = find(&runs, "checkpoints/whole");
    assert!(whole["exam"]["value"].is_number() && whole["validation_loss"].is_number(), "{whole:#}");
    assert_eq!(list(folder, &["--status", "complete,damaged"]).len(), 2);

    let table = run(folder, &["runs"]);
    let (out, said) = (String::from_utf8_lossy(&table.stdout).into_owned(), text(&table.stderr));
    assert!(out.contains("checkpoints/whole") && out.contains("--resume"), "{out}");
    assert!(said.contains("checkpoints/thesis: no run in it"), "{said}");
    check_page(folder);
    check_hint(folder, &runs);
    let compared = succeeds(folder, &["runs", "compare", "whole", "group/killed", "--html", "both.html"]);
    assert!(compared.contains("Validation loss, tcm") && compared.contains("tokens"), "{compared}");
    let both = fs::read_to_string(folder.join("both.html")).expect("a page");
    assert!(both.contains("Settings that differ") && both.contains("train.epochs"), "{both}");
    assert!(compared.contains("Settings that differ") && compared.contains("train.epochs"), "{compared}");
    assert!(compared.contains("Exam, open book") && compared.contains('●'), "{compared}");
    assert!(both.contains("Exam, open book") && both.contains("class=\"forest\""), "{both}");
    let json = succeeds(folder, &["runs", "compare", "whole", "group/killed", "--json"]);
    let json: Value = serde_json::from_str(&json).expect("JSON on standard output");
    assert!(json["exams"][0]["rows"][0]["results"][0][1]["low"].is_number(), "{json:#}");
    // A damaged run's file is quoted, and cannot drive the terminal.
    fs::write(folder.join("checkpoints/torn/run.json"), "{\"name\": \"x\", \"status\": \"\\u001b[2Jx\"}")
        .expect("written");
    for command in [&["runs", "show", "torn"][..], &["runs"], &["runs", "compare", "torn", "whole"]] {
        let output = run(folder, command);
        assert!(![output.stdout, output.stderr].concat().contains(&0x1b), "{command:?}");
    }
    let missing = refused(folder, &["runs", "show", "gone"]);
    assert!(missing.contains("medley runs"), "{missing}");
}

fn check_page(folder: &Path) {
    let shown = succeeds(folder, &["runs", "show", "whole"]);
    assert!(shown.lines().all(|line| line.chars().count() <= 100), "wider than 100 columns:\n{shown}");
    for part in ["Loss", "Gradient norm", "Tokens per second", "medical/tcm", "string"] {
        assert!(shown.contains(part), "no «{part}» in:\n{shown}");
    }
    let page: PathBuf = folder.join("checkpoints/whole/report.html");
    let html = fs::read_to_string(&page).expect("a page");
    for part in ["Validation loss by source", "<svg", "Exam", "open book", "medical/western", "Recipe, every default"] {
        assert!(html.contains(part), "no «{part}» in the page");
    }
    assert!(html.len() < 300_000 && !html.contains("http-equiv=\"refresh\""), "{} bytes", html.len());
    let alive = fs::read_to_string(folder.join("alive.html")).expect("a page");
    assert!(alive.contains("The run is in progress"), "{alive}");
}

/// The command in the list continues the run.
fn check_hint(folder: &Path, runs: &[Value]) {
    let hint = find(runs, "checkpoints/group/killed")["hint"].as_str().expect("a command").to_owned();
    assert!(hint.ends_with("--device cpu"), "the run computed on the CPU: {hint}");
    let words: Vec<&str> = hint.split(' ').skip(1).collect();
    let mut command = medley(folder, &words);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
    let since = Instant::now();
    let resumed = || {
        let runs = list(folder, &[]);
        find(&runs, "checkpoints/group/killed")["resumed"][0]["step"].as_u64()
    };
    while resumed().is_none() {
        assert!(since.elapsed() < Duration::from_secs(120), "it never continued: {hint}");
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().expect("killed");
    child.wait().expect("gone");
    assert!(resumed().is_some_and(|step| step >= 2));
}
