//! `train.result`, early stopping, `train.save_dtype` and `train.keep`.

use std::fs;
use std::path::Path;

use burn::tensor::{DType, Device};
use medley_model::{Decoder, stored_dtype};
use medley_recipe::{EarlyStopping, Keep, Method, SaveDtype, TrainResult, TrainSpec};
use medley_run::RunDir;

use super::resume::{same_files, timeless};
use super::{Watcher, identity, lora, samples, spec, tiny_base, train, train_from, train_validated};
use crate::metrics::{self, Metrics};
use crate::{Base, Silent, keep_checkpoints};

/// Settings with which the validation loss rises again: a high learning rate on few samples.
fn overfitting(method: Method) -> TrainSpec {
    TrainSpec {
        method,
        learning_rate: 5e-2,
        epochs: 8,
        eval_steps: 1,
        save_steps: 7,
        save_total_limit: 1,
        result: TrainResult::Best,
        ..spec()
    }
}

fn validations(run: &Path) -> Vec<(usize, f64)> {
    let lines = metrics::read(&run.join("metrics.jsonl")).expect("readable");
    let validation = |line: Metrics| match line {
        Metrics::Validation(line) => Some((line.step, line.loss)),
        Metrics::Train(_) => None,
    };
    lines.into_iter().filter_map(validation).collect()
}

fn lowest(run: &Path) -> usize {
    let lowest = validations(run).into_iter().min_by(|a, b| a.1.total_cmp(&b.1));
    lowest.expect("a validation").0
}

#[test]
fn the_best_weights_become_the_model_between_two_regular_checkpoints() {
    for (method, weights) in [(Method::Full, "model.safetensors"), (lora(), "adapter_model.safetensors")] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (best, last) = (folder.path().join("best"), folder.path().join("last"));
        let spec = overfitting(method);
        let outcome = train(&best, &spec, &samples(11), false, &Silent).expect("trains");
        let step = lowest(&best);
        assert!(
            step < outcome.step && !step.is_multiple_of(spec.save_steps),
            "step {step}: this test needs a best step before the last one and without a regular checkpoint"
        );
        same_files(&best.join("model"), &best.join("steps").join(step.to_string()), &[weights]);
        let card = fs::read_to_string(best.join("model/README.md")).expect("a card");
        assert!(card.contains(&format!("| weights | after step {step}, with the lowest")), "{card}");
        train(&last, &TrainSpec { result: TrainResult::Last, ..spec }, &samples(11), false, &Silent).expect("trains");
        let [best, last] = [best, last].map(|run| fs::read(run.join("model").join(weights)).expect("weights"));
        assert_ne!(best, last);
    }
}

#[test]
fn early_stopping_counts_validations_without_improvement() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = folder.path().join("run");
    // Validations after steps 3, 6 and 9: the first is always an improvement, and no other is one of a million.
    let early_stopping = Some(EarlyStopping { patience: 1, min_delta: 1e6 });
    let spec = TrainSpec { early_stopping, ..spec() };
    let outcome = train(&run, &spec, &samples(11), false, &Silent).expect("trains");
    assert_eq!((outcome.step, outcome.total_steps, outcome.finished, outcome.stopped_early), (6, 9, true, true));
    assert!(run.join("steps/6").exists() && run.join("model/model.safetensors").exists());
    let card = fs::read_to_string(run.join("model/README.md")).expect("a card");
    assert!(card.contains("| optimizer steps | 6 of 9: stopped early"), "{card}");
    let again = train(&run, &spec, &samples(11), true, &Silent).expect("nothing left to do");
    assert_eq!((again.step, again.resumed_from, again.stopped_early), (6, Some(6), true));
    let patient = TrainSpec { early_stopping: Some(EarlyStopping { patience: 3, min_delta: 0.0 }), ..spec };
    let outcome = train(&folder.path().join("patient"), &patient, &samples(11), false, &Silent).expect("trains");
    assert_eq!((outcome.step, outcome.stopped_early), (9, false));
}

#[test]
fn best_and_early_stopping_survive_interruptions_to_the_bit() {
    for (method, weights) in [(Method::Full, "model.safetensors"), (lora(), "adapter_model.safetensors")] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
        let early_stopping = Some(EarlyStopping { patience: 4, min_delta: 1e-3 });
        let spec = TrainSpec { early_stopping, ..overfitting(method) };
        let outcome = train(&whole, &spec, &samples(11), false, &Silent).expect("trains");
        assert!(outcome.stopped_early, "this test needs a run that stops early: {outcome:?}");
        for stop in 1..outcome.step {
            let watcher = Watcher { stop_after: Some(stop), ..Watcher::default() };
            let part = train(&parts, &spec, &samples(11), true, &watcher).expect("trains");
            assert_eq!((part.step, part.finished), (stop, false));
        }
        let last = train(&parts, &spec, &samples(11), true, &Silent).expect("trains");
        assert_eq!(
            (last.step, last.stopped_early, last.best_validation),
            (outcome.step, true, outcome.best_validation)
        );
        same_files(&whole.join("model"), &parts.join("model"), &[weights, "README.md"]);
        let step = outcome.step.to_string();
        let (a, b) = (whole.join("steps").join(&step), parts.join("steps").join(&step));
        same_files(&a, &b, &[weights, "optimizer.safetensors"]);
        assert_eq!(timeless(&whole.join("metrics.jsonl")), timeless(&parts.join("metrics.jsonl")));
    }
}

#[test]
fn settings_that_need_the_validation_loss_need_held_out_samples() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for spec in [
        TrainSpec { result: TrainResult::Best, ..spec() },
        TrainSpec { early_stopping: Some(EarlyStopping::default()), ..spec() },
    ] {
        let base = Base::Model { directory: tiny_base(), name: "tiny".into() };
        let run = folder.path().join("run");
        let error = train_validated(base, &run, &spec, &samples(11), &[], false, &Silent, &Device::flex());
        let error = error.expect_err("no sample is held out").to_string();
        assert!(error.contains("mix.validation.fraction"), "{error}");
        assert!(!run.join("steps").exists(), "refused before the first step");
    }
}

#[test]
fn a_damaged_best_checkpoint_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = folder.path().join("run");
    let spec = overfitting(Method::Full);
    train(&run, &spec, &samples(11), false, &Silent).expect("trains");
    let best = run.join("steps").join(lowest(&run).to_string());
    fs::write(best.join("model.safetensors"), "torn").expect("written");
    let error = train(&run, &spec, &samples(11), true, &Silent).expect_err("damaged").to_string();
    assert!(error.contains("lowest validation loss") && error.contains("model.safetensors is damaged"), "{error}");
}

#[test]
fn a_model_is_written_in_the_format_of_its_base_or_of_save_dtype() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tiny = Decoder::load(&tiny_base(), &Device::flex(), DType::F32).expect("the fixture loads");
    let short = TrainSpec { max_steps: Some(1), ..spec() };
    for (stored, save_dtype, written, name) in [
        (DType::BF16, SaveDtype::Base, DType::BF16, "bfloat16"),
        (DType::F16, SaveDtype::Base, DType::F16, "float16"),
        (DType::BF16, SaveDtype::F32, DType::F32, "float32"),
        (DType::F32, SaveDtype::Bf16, DType::BF16, "bfloat16"),
    ] {
        let base = folder.path().join(format!("{stored:?}"));
        tiny.save(&base, stored).expect("saved");
        let run = folder.path().join(format!("{stored:?}-{save_dtype:?}"));
        let spec = TrainSpec { save_dtype, ..short.clone() };
        let base = Base::Model { directory: base, name: "tiny".into() };
        train_from(base, &run, &spec, &samples(11), false, &Silent, &Device::flex()).expect("trains");
        assert_eq!(stored_dtype(&run.join("model")).expect("readable"), written);
        let config = fs::read_to_string(run.join("model/config.json")).expect("a configuration");
        assert!(config.contains(&format!("\"torch_dtype\": \"{name}\"")), "{config}");
        // Checkpoints are never rounded to the format of the model.
        assert_eq!(stored_dtype(&run.join("steps/1")).expect("readable"), DType::F32);
    }
}

#[test]
fn a_finished_run_keeps_the_checkpoints_of_train_keep() {
    for keep in [Keep::All, Keep::Last, Keep::Model] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        train(folder.path(), &spec(), &samples(11), false, &Silent).expect("trains");
        let run = RunDir::open(folder.path()).expect("a run directory");
        let all = run.saved_steps();
        assert!(all.len() > 1, "{all:?}");
        let kept = match keep {
            Keep::All => all,
            Keep::Last => vec![9],
            Keep::Model => Vec::new(),
        };
        for _ in 0..2 {
            keep_checkpoints(&run, keep, &identity()).expect("removed");
            assert_eq!(run.saved_steps(), kept, "{keep:?}");
        }
        assert!(run.model().join("model.safetensors").exists());
    }
}
