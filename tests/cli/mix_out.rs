//! `medley mix --out`: its output folder, concurrent runs, and limits on threads and memory.

use std::fs;
use std::path::Path;

use crate::support::{medley, refused, run, succeeds, text};

const RECIPE: &str = "name = \"small\"\n[model]\nbase = \"none\"\n[mix]\nsize = 20\nratio = { a = 1 }\n\
                      validation = { fraction = 0.1, max_samples = 4 }\n[sources.a]\npath = \"rows.jsonl\"\n";

fn world(records: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let row =
        |number: usize| format!("{{\"instruction\":\"问{number}\",\"output\":\"{}\"}}\n", "答".repeat(number % 90 + 1));
    fs::write(folder.path().join("rows.jsonl"), (0..records).map(row).collect::<String>()).expect("written");
    fs::write(folder.path().join("r.toml"), RECIPE).expect("written");
    folder
}

const MIX: [&str; 4] = ["mix", "--recipe", "r.toml", "--out"];

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn other_files_are_never_lost() {
    let world = world(100);
    let out = world.path().join("out");
    fs::create_dir(&out).expect("made");
    fs::write(out.join("validation.jsonl"), "mine").expect("written");
    let arguments = [&MIX[..], &["out"]].concat();
    for more in [&[][..], &["--shard", "1/1"], &["--report"], &["--json"]] {
        let message = refused(world.path(), &[&arguments[..], more].concat());
        assert!(message.contains("validation.jsonl") && message.contains("--out"), "{message}");
        assert_eq!(names(&out), ["validation.jsonl"]);
    }
    assert_eq!(fs::read_to_string(out.join("validation.jsonl")).expect("there"), "mine");
    // A page of another program is kept, one of this program is replaced.
    let arguments = [&MIX[..], &["mixed"]].concat();
    let mixed = world.path().join("mixed");
    succeeds(world.path(), &[&arguments[..], &["--report"]].concat());
    succeeds(world.path(), &["mix", "--report-of", "mixed"]);
    succeeds(world.path(), &arguments);
    assert_eq!(
        names(&mixed),
        ["ledger.json", "manifest.json", "mix.jsonl", "validation.jsonl"],
        "the page would be old"
    );
    fs::write(mixed.join("report.html"), "<!doctype html><title>Thesis</title>").expect("written");
    for arguments in [&arguments[..], &["mix", "--report-of", "mixed"]] {
        let message = refused(world.path(), arguments);
        assert!(message.contains("report.html") && message.contains("another program"), "{message}");
        assert!(fs::read_to_string(mixed.join("report.html")).expect("there").contains("Thesis"));
    }
}

#[test]
fn of_two_mixes_at_once_one_is_refused() {
    let world = world(60_000);
    let arguments = [&MIX[..], &["out", "--set", "mix.size=30000"]].concat();
    let first = medley(world.path(), &arguments).stderr(std::process::Stdio::piped()).spawn().expect("starts");
    while !world.path().join("out/.lock").exists() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let second = run(world.path(), &arguments);
    let first = first.wait_with_output().expect("ends");
    assert!(first.status.success() || second.status.success());
    for ended in [&first, &second] {
        let message = text(&ended.stderr);
        assert!(ended.status.success() || message.contains("works in this folder"), "{message}");
    }
    assert_eq!(names(&world.path().join("out")), ["ledger.json", "manifest.json", "mix.jsonl", "validation.jsonl"]);
}

#[test]
fn absurd_numbers_end_in_a_message() {
    let world = world(100);
    let arguments = [&MIX[..], &["out", "--threads"]].concat();
    for threads in ["0", "1025", "65535", "99999999999"] {
        let message = refused(world.path(), &[&arguments[..], &[threads]].concat());
        assert!(message.contains("--threads"), "{message}");
    }
    let repeated = ["--set", "mix.on_shortage=repeat", "--set", "mix.size=9000000000"];
    let message = refused(world.path(), &[&MIX[..], &["out"], &repeated[..]].concat());
    assert!(message.contains("a mix of 9000000000 samples takes at least"), "{message}");
    assert!(!world.path().join("out").exists());
}

/// A lack of memory is reported at whatever stage it occurs.
#[test]
#[cfg(target_os = "linux")]
fn a_limit_on_memory_ends_in_a_message() {
    let world = world(60_000);
    let run = |mebibytes: u32, arguments: &str| {
        let script = format!("ulimit -v {}; exec \"$0\" {arguments}", mebibytes << 10);
        std::process::Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_medley")])
            .current_dir(world.path())
            .env("NO_COLOR", "1")
            .output()
            .expect("runs")
    };
    // From the smallest address space in which the program can be loaded: threads for signals and progress fail first.
    let least = (32..400).find(|mebibytes| run(*mebibytes, "--version").status.success()).expect("it starts");
    for mebibytes in (least..least + 12).chain([120, 150, 200, 250, 300]) {
        let output = run(mebibytes, "mix --recipe r.toml --out out --set mix.size=50000");
        let message = text(&output.stderr);
        let status = output.status.code();
        assert!(matches!(status, Some(0 | 1)), "{mebibytes} MiB: {:?}: {message}", output.status);
        assert!(!message.contains("panicked"), "{mebibytes} MiB: {message}");
        if status == Some(1) {
            let is_explained = message.contains("memory") || message.contains("cannot start");
            assert!(is_explained, "{mebibytes} MiB: {message}");
        }
    }
}
