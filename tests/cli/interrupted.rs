//! Runs that are killed, stopped, started twice, damaged or out of disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::support::{medley, refused, run, succeeds, text};

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A short run of the quickstart, checkpoints at every step, no exam.
pub fn arguments<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["train", "--recipe", "quickstart.toml", "--device", "cpu", "--out", out];
    for setting in [
        "mix.size=160",
        "train.epochs=2",
        "train.save_steps=1",
        "train.save_total_limit=100",
        "train.eval_steps=7",
        "mix.validation.max_samples=4",
        "exam.papers=[]",
        "train.keep=all",
    ] {
        arguments.extend(["--set", setting]);
    }
    arguments.extend(more);
    arguments
}

fn hash(path: &Path) -> Vec<u8> {
    Sha256::digest(fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).to_vec()
}

pub struct Killed(pub Child);

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

pub fn wait_for(path: &Path) {
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

#[cfg(unix)]
pub fn signal(child: &Killed, name: &str) {
    let pid = child.0.id().to_string();
    assert!(Command::new("kill").args([name, &pid]).status().expect("kill runs").success());
}

/// Ctrl-C, a cluster's preemption, a closed terminal: `train && report` must not run the report.
#[test]
#[cfg(unix)]
fn signals_checkpoint_and_end_with_128_and_the_signal() {
    for (name, status) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let out = folder.path().join("run");
        let out_text = out.to_string_lossy();
        let more = ["--set", "train.epochs=50", "--set", "train.save_steps=0"];
        let mut child = start(&arguments(&out_text, &more));
        wait_for(&out.join("events.out.tfevents.1.medley"));
        std::thread::sleep(Duration::from_millis(300));
        signal(&child, name);
        assert_eq!(child.0.wait().expect("it ends").code(), Some(status), "{name}");
        let state = fs::read_to_string(out.join("run.json")).expect("a state");
        assert!(state.contains("\"stopped\""), "{name}: {state}");
        let log = fs::read_to_string(out.join("log.txt")).expect("a log");
        assert!(log.contains("stopping after this step") && log.contains("continue with --resume"), "{name}: {log}");
        let step = fs::read_dir(out.join("steps")).expect("steps").flatten().next().expect("one").file_name();
        // It continues from there.
        let child = start(&arguments(&out_text, &[&more[..], &["--resume"]].concat()));
        let resumed = format!("resumed from step {}", step.to_string_lossy());
        let since = Instant::now();
        while !fs::read_to_string(out.join("log.txt")).expect("a log").contains(&resumed) {
            assert!(since.elapsed() < Duration::from_secs(60), "{name}: never {resumed}");
            std::thread::sleep(Duration::from_millis(20));
        }
        drop(child);
    }
}

/// Reductions have a fixed order, whatever the number of threads.
#[test]
fn a_run_may_be_resumed_with_another_number_of_threads() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let weights = |out: &str, threads: &[&str]| {
        let out = folder.path().join(out);
        let out_text = out.to_string_lossy();
        for (at, count) in threads.iter().enumerate() {
            let settings =
                ["--set", "train.max_steps=12", "--set", "train.eval_steps=0", "--set", "train.save_steps=6"];
            let resume: &[&str] = if at == 0 { &[] } else { &["--resume"] };
            let mut command = medley(root(), &arguments(&out_text, &[&settings[..], resume].concat()));
            command.env("RAYON_NUM_THREADS", count).stdout(Stdio::null()).stderr(Stdio::null());
            let mut child = Killed(command.spawn().expect("the binary starts"));
            if at + 1 < threads.len() {
                wait_for(&out.join("steps/6"));
            } else {
                assert!(child.0.wait().expect("it ends").success());
            }
        }
        hash(&out.join("steps/12/optimizer.safetensors"))
    };
    let one = weights("one", &["1"]);
    assert_eq!(one, weights("three", &["3"]));
    assert_eq!(one, weights("both", &["3", "1"]));
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

/// A run that was stopped before its last step.
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
    assert!(other.contains("made from another recipe (train.learning_rate was 0.001, is 0.0005)"), "{other}");
    assert!(other.contains("--out"), "{other}");
    let data = refused(root(), &arguments(&out_text, &["--resume", "--set", "mix.seed=5"]));
    assert!(data.contains("made from other data and another recipe (mix.seed was 42, is 5)"), "{data}");
    let base = folder.path().join("base");
    copy_with_another_weight(&root().join("data/base"), &base);
    let setting = format!("model.base={}", base.display());
    let weights = refused(root(), &arguments(&out_text, &["--resume", "--set", &setting]));
    assert!(weights.contains("made from other base weights"), "{weights}");
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

fn copy_with_another_weight(from: &Path, to: &Path) {
    fs::create_dir(to).expect("made");
    for entry in fs::read_dir(from).expect("readable").flatten() {
        let mut bytes = fs::read(entry.path()).expect("readable");
        if entry.file_name() == "model.safetensors" {
            *bytes.last_mut().expect("weights") ^= 1;
        }
        fs::write(to.join(entry.file_name()), bytes).expect("written");
    }
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
    let out_text = out.to_string_lossy().into_owned();
    let unmount = Unmount(place_text.clone());
    let foreseen = refused(root(), &arguments(&out_text, &[]));
    assert!(foreseen.contains("--ignore-plan"), "{foreseen}");
    let message = refused(root(), &arguments(&out_text, &["--ignore-plan"]));
    let steps = fs::read_dir(out.join("steps")).expect("steps").flatten();
    let steps: Vec<String> = steps.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    assert!(message.contains("last good checkpoint is kept") && message.contains("--resume"), "{message}");
    let last = steps.iter().filter_map(|name| name.parse::<usize>().ok()).max().expect("a whole checkpoint");
    assert!(steps.iter().all(|name| !name.starts_with('.')), "nothing half-written is left: {steps:?}");
    let roomier = Command::new("mount").args(["-o", "remount,size=400m", &place_text]).status();
    assert!(roomier.expect("mount runs").success());
    let output = run(root(), &arguments(&out_text, &["--ignore-plan", "--resume"]));
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains(&format!("resumed from step {last}")), "{said}");
    drop(unmount);
}

#[cfg(target_os = "linux")]
struct Unmount(String);

#[cfg(target_os = "linux")]
impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
