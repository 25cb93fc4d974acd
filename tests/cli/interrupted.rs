//! Runs that are killed, stopped, started twice, damaged or out of disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::support::{medley, refused, run, succeeds, text};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A short run of the quickstart, checkpoints at every step, no exam.
fn arguments<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["train", "--recipe", "quickstart.toml", "--device", "cpu", "--out", out];
    for setting in [
        "mix.size=160",
        "train.epochs=2",
        "train.save_steps=1",
        "train.save_total_limit=100",
        "train.eval_steps=7",
        "mix.validation.max_samples=4",
        "exam.papers=[]",
    ] {
        arguments.extend(["--set", setting]);
    }
    arguments.extend(more);
    arguments
}

fn hash(path: &Path) -> Vec<u8> {
    Sha256::digest(fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).to_vec()
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(arguments: &[&str]) -> Killed {
    let mut command = medley(root(), arguments);
    Killed(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts"))
}

fn wait_for(path: &Path) {
    let since = Instant::now();
    while !path.exists() {
        assert!(since.elapsed() < Duration::from_secs(120), "{} never came", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_killed_run_ends_with_the_same_bits() {
    for method in ["full", "lora"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let whole = folder.path().join("whole");
        let torn = folder.path().join("torn");
        let (whole_text, torn_text) = (whole.to_string_lossy(), torn.to_string_lossy());
        let setting = format!("train.method={method}");
        let more = ["--set", &setting];
        succeeds(root(), &arguments(&whole_text, &more));
        let mut child = start(&arguments(&torn_text, &more));
        wait_for(&torn.join("steps/3"));
        child.0.kill().expect("killed");
        drop(child);
        let resumed = [more.as_slice(), &["--resume"]].concat();
        let mut child = start(&arguments(&torn_text, &resumed));
        wait_for(&torn.join("steps/13"));
        child.0.kill().expect("killed");
        drop(child);
        let output = run(root(), &arguments(&torn_text, &resumed));
        let said = text(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("resumed from step 1"), "{said}");
        let weights = if method == "full" { "model.safetensors" } else { "adapter_model.safetensors" };
        assert_eq!(hash(&whole.join("model").join(weights)), hash(&torn.join("model").join(weights)), "{method}");
        assert_eq!(
            hash(&whole.join("steps/20/optimizer.safetensors")),
            hash(&torn.join("steps/20/optimizer.safetensors"))
        );
        assert_eq!(losses(&whole), losses(&torn));
    }
}

/// `metrics.jsonl` without what depends on the clock.
fn losses(run: &Path) -> Vec<(String, u64, String)> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).expect("metrics");
    let line = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
        (value["kind"].to_string(), value["step"].as_u64().expect("a step"), value["loss"].to_string())
    };
    text.lines().map(line).collect()
}

#[test]
#[cfg(unix)]
fn ctrl_c_checkpoints_and_ends_cleanly() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("run");
    let out_text = out.to_string_lossy();
    let mut child = start(&arguments(&out_text, &["--set", "train.epochs=50", "--set", "train.save_steps=0"]));
    wait_for(&out.join("metrics.jsonl"));
    std::thread::sleep(Duration::from_millis(300));
    let pid = child.0.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill runs").success());
    assert!(child.0.wait().expect("it ends").success());
    let state = fs::read_to_string(out.join("run.json")).expect("a state");
    assert!(state.contains("\"stopped\""), "{state}");
    assert_eq!(fs::read_dir(out.join("steps")).expect("steps").count(), 1);
}

#[test]
fn the_same_run_twice_at_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("run");
    let out_text = out.to_string_lossy();
    let arguments = arguments(&out_text, &["--set", "train.epochs=50"]);
    let child = start(&arguments);
    wait_for(&out.join("steps/1"));
    let message = refused(root(), &arguments);
    assert!(message.contains("another process") && message.contains("--out"), "{message}");
    drop(child);
}

/// A run that was stopped in its middle.
fn stopped(folder: &Path) -> PathBuf {
    let out = folder.join("run");
    let child = start(&arguments(&out.to_string_lossy(), &[]));
    wait_for(&out.join("steps/4"));
    drop(child);
    out
}

#[test]
fn checkpoints_of_other_runs_and_torn_ones() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = stopped(folder.path());
    let out_text = out.to_string_lossy();
    let other = refused(root(), &arguments(&out_text, &["--resume", "--set", "train.learning_rate=5e-4"]));
    assert!(other.contains("another run") && other.contains("--out"), "{other}");
    let again = refused(root(), &arguments(&out_text, &[]));
    assert!(again.contains("--resume"), "{again}");
    let newest = fs::read_dir(out.join("steps")).expect("steps").flatten();
    let newest =
        newest.filter_map(|entry| entry.file_name().to_str()?.parse::<usize>().ok()).max().expect("a checkpoint");
    let weights = out.join(format!("steps/{newest}/model.safetensors"));
    let mut bytes = fs::read(&weights).expect("weights");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    fs::write(&weights, bytes).expect("damaged");
    let output = run(root(), &arguments(&out_text, &["--resume"]));
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("damaged checkpoint") && said.contains(&format!("steps/{newest}")), "{said}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_keeps_the_last_good_checkpoint() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let place = folder.path().join("small");
    fs::create_dir(&place).expect("made");
    let place_text = place.to_string_lossy().into_owned();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=40m", "tmpfs", &place_text]).status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED a_full_disk_keeps_the_last_good_checkpoint: a small file system cannot be mounted here");
        return;
    }
    let out = place.join("run");
    let message = refused(root(), &arguments(&out.to_string_lossy(), &[]));
    let steps = fs::read_dir(out.join("steps"))
        .map(|entries| entries.flatten().map(|entry| entry.file_name()).collect::<Vec<_>>());
    let unmounted = || Command::new("umount").arg(&place_text).status();
    let steps = steps.unwrap_or_default();
    let whole = steps.iter().filter(|name| !name.to_string_lossy().starts_with('.')).count();
    let halves = steps.len() - whole;
    let _ = unmounted();
    assert!(message.contains("space"), "{message}");
    assert!(whole > 0 && halves == 0, "{steps:?}");
}
