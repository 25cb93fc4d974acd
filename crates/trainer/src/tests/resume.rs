//! A resumed run ends with the same bits as one that was never interrupted.

use std::fs;
use std::path::Path;

use burn::tensor::{DType, Device};
use medley_files::WithHelp as _;
use medley_model::{DecoderConfig, open_model};
use medley_recipe::{Optimizer, TrainSpec};

use super::{Watcher, fixtures, lora, samples, spec, train, train_from};
use crate::checkpoint::{Checkpoints, RunPosition};
use crate::metrics::{self, Metrics};
use crate::{Base, Identity, Observer, Sample, Silent, TrainError};

/// Metrics without what depends on the clock.
pub(super) fn timeless(path: &Path) -> Vec<Metrics> {
    let mut lines = metrics::read(path).expect("readable");
    for line in &mut lines {
        match line {
            Metrics::Train(line) => {
                (line.tokens_per_second, line.seconds, line.time) = (0.0, 0.0, 0.0);
                (line.memory_bytes, line.peak_memory_bytes) = (0, 0);
            }
            Metrics::Validation(line) => (line.seconds, line.time) = (0.0, 0.0),
        }
    }
    lines
}

pub(super) fn same_files(a: &Path, b: &Path, names: &[&str]) {
    for name in names {
        let (a, b) = (fs::read(a.join(name)).expect("readable"), fs::read(b.join(name)).expect("readable"));
        assert!(a == b, "{name} differs");
    }
}

/// Trains on the model in a folder of `tests/parity/runs`; Qwen2's is the folder itself.
fn interrupted_equals_whole(family: &str, spec: &TrainSpec, weights: &str) {
    let train = |folder: &Path, spec: &TrainSpec, samples: &[Sample], resume, observer: &dyn Observer| {
        let base = Base::Model { directory: fixtures().join(family).join("base"), name: "tiny".into() };
        train_from(base, folder, spec, samples, resume, observer, &Device::flex())
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    // 11 samples in steps of 4: three steps an epoch, the last of them smaller.
    let samples = samples(11);
    let outcome = train(&whole, spec, &samples, false, &Silent).expect("trains");
    assert_eq!((outcome.step, outcome.finished), (9, true));
    // Stopped in the first epoch, at its end, and in the last one.
    for (stop, resumed_from) in [(2, None), (3, Some(2)), (7, Some(3))] {
        let watcher = Watcher { stop_after: Some(stop), ..Watcher::default() };
        let outcome = train(&parts, spec, &samples, true, &watcher).expect("trains");
        assert_eq!((outcome.step, outcome.finished, outcome.resumed_from), (stop, false, resumed_from));
    }
    let last = train(&parts, spec, &samples, true, &Silent).expect("trains");
    assert_eq!((last.step, last.finished, last.resumed_from), (9, true, Some(7)));
    assert_eq!((last.validation, last.best_validation), (outcome.validation, outcome.best_validation));
    same_files(&whole.join("steps/9"), &parts.join("steps/9"), &[weights, "optimizer.safetensors"]);
    same_files(&whole.join("model"), &parts.join("model"), &[weights, "README.md"]);
    assert_eq!(timeless(&whole.join("metrics.jsonl")), timeless(&parts.join("metrics.jsonl")));
    let trained = open_model(&whole.join("model"), None, &Device::flex(), DType::F32).expect("the result opens").model;
    let base = DecoderConfig::from_dir(&fixtures().join(family).join("base")).expect("the fixture is there");
    assert_eq!(trained.config.family, base.family);
}

#[test]
fn every_family() {
    for family in ["qwen3", "llama", "mistral", "gemma3_text"] {
        interrupted_equals_whole(family, &spec(), "model.safetensors");
        let lora = TrainSpec { method: lora(), ..spec() };
        interrupted_equals_whole(family, &lora, "adapter_model.safetensors");
    }
}

#[test]
fn full() {
    interrupted_equals_whole("", &spec(), "model.safetensors");
}

#[test]
fn full_with_muon() {
    interrupted_equals_whole("", &TrainSpec { optimizer: Optimizer::Muon, ..spec() }, "model.safetensors");
}

#[test]
fn lora_with_dropout() {
    interrupted_equals_whole("", &TrainSpec { method: lora(), ..spec() }, "adapter_model.safetensors");
}

#[test]
fn checkpoints_are_not_overwritten_unasked_and_torn_ones_are_passed_over() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = folder.path().join("run");
    let samples = samples(11);
    let stop = Watcher { stop_after: Some(4), ..Watcher::default() };
    train(&run, &spec(), &samples, true, &stop).expect("trains");
    assert!(stop.notes.borrow()[0].contains("no checkpoint yet"));
    let refused = train(&run, &spec(), &samples, false, &Silent).expect_err("holds checkpoints").with_help();
    assert!(refused.contains("--resume"), "{refused}");
    fs::write(run.join("steps/4/optimizer.safetensors"), "torn").expect("written");
    let watcher = Watcher { stop_after: Some(5), ..Watcher::default() };
    let outcome = train(&run, &spec(), &samples, true, &watcher).expect("trains");
    assert_eq!(outcome.resumed_from, Some(2));
    let notes = watcher.notes.borrow().join("\n");
    assert!(notes.contains("steps/4: optimizer.safetensors is damaged") && notes.contains("steps/2"), "{notes}");
}

#[test]
fn optimizer_state_must_be_complete() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = folder.path().join("run");
    let watcher = Watcher { stop_after: Some(2), ..Watcher::default() };
    train(&run, &spec(), &samples(11), true, &watcher).expect("trains");
    let path = run.join("steps/2/optimizer.safetensors");
    let bytes = fs::read(&path).expect("readable");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("whole");
    let kept = file.tensors().into_iter().filter(|(name, _)| name != "model.norm.weight.second");
    let step = std::collections::HashMap::from([("step".to_owned(), "2".to_owned())]);
    safetensors::serialize_to_file(kept, Some(step), &path).expect("written");
    // A checkpoint that is whole by its own account, but of a program that forgot a moment.
    save_again(&run, 2);
    let error = train(&run, &spec(), &samples(11), true, &Silent).expect_err("incomplete");
    assert!(matches!(&error, TrainError::OptimizerState { .. }), "{error}");
    assert!(error.to_string().contains("model.norm.weight.second is missing"), "{error}");
}

/// Saves the files of a checkpoint anew, as they stand now.
fn save_again(run: &Path, step: usize) {
    let (steps, aside) = (run.join("steps"), run.join("aside"));
    fs::rename(steps.join(step.to_string()), &aside).expect("moved");
    let identity = Identity { data: "data".into(), weights: "weights".into(), recipe: "recipe".into() };
    let position = RunPosition { step, ..RunPosition::default() };
    let fill = |folder: &Path| {
        for entry in fs::read_dir(&aside).expect("readable").flatten() {
            fs::copy(entry.path(), folder.join(entry.file_name())).expect("copied");
        }
        fs::remove_file(folder.join("state.json")).map_err(TrainError::io(folder))
    };
    Checkpoints::new(&steps, identity, 9).save(&position, None, fill).expect("saved");
}
