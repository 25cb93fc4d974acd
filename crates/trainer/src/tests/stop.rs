//! What stops a run, and what it says.

use std::fs;

use medley_files::WithHelp as _;
use medley_model::{Decoder, Parameter};

use super::{Watcher, samples, spec, tiny_base, train, train_from};
use crate::{Base, Silent, TrainError};
use burn::tensor::{DType, Device};

#[test]
fn a_loss_that_is_not_finite_names_its_samples() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (base, run) = (folder.path().join("base"), folder.path().join("run"));
    // Token 150 occurs in one sample only, and only its embedding has a non-zero first feature, which overflows the queries of layer 0.
    let mut decoder = Decoder::load(&tiny_base(), &Device::flex(), DType::F32).expect("the fixture loads");
    decoder.lm_head = Some(decoder.embed_tokens.clone());
    for mut slot in decoder.slots() {
        let mut data = slot.get().into_data();
        let values = data.as_mut_slice::<f32>().expect("f32");
        match slot.name.as_str() {
            medley_model::EMBED_TOKENS => {
                values.chunks_exact_mut(32).for_each(|row| row[0] = 0.0);
                values[150 * 32] = 10.0;
            }
            "model.layers.0.self_attn.q_proj.weight" => {
                values.chunks_exact_mut(32).for_each(|row| row[0] = f32::MAX);
            }
            _ => continue,
        }
        slot.set(Parameter::from_data(data, &Device::flex(), DType::F32));
    }
    decoder.config.tie_word_embeddings = false;
    decoder.config.source.insert("tie_word_embeddings".into(), false.into());
    decoder.save(&base, DType::F32).expect("saved");
    let mut samples = samples(11);
    samples[6].input_ids[1] = 150;
    let base = Base::Model { directory: base, name: "broken".into() };
    let watcher = Watcher::default();
    let error = train_from(base, &run, &spec(), &samples, false, &watcher, &Device::flex()).expect_err("not finite");
    let TrainError::NonFinite { what: "loss", offenders, .. } = &error else { panic!("{error}") };
    assert_eq!(offenders, &[samples[6].origin.clone()]);
    assert!(error.to_string().contains("train.jsonl:7 (source general, key "), "{error}");
    assert!(!run.join("model").exists());
}

#[test]
fn a_base_that_is_not_finite_is_refused_before_the_first_step() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (base, run) = (folder.path().join("base"), folder.path().join("run"));
    let mut decoder = Decoder::load(&tiny_base(), &Device::flex(), DType::F32).expect("the fixture loads");
    let mut data = decoder.norm.weight.clone().into_data();
    data.as_mut_slice::<f32>().expect("f32")[3] = f32::INFINITY;
    decoder.norm.weight = burn::Tensor::from_data(data, &Device::flex());
    decoder.save(&base, DType::F32).expect("saved");
    let base = Base::Model { directory: base, name: "broken".into() };
    let watcher = Watcher::default();
    let error = train_from(base, &run, &spec(), &samples(11), false, &watcher, &Device::flex()).expect_err("refused");
    let message = error.to_string();
    assert!(
        message.contains("the base model's weights are not finite: 1 of 32 elements of model.norm.weight"),
        "{message}"
    );
    assert!(message.contains("model.safetensors") && !message.contains("learning_rate"), "{message}");
    assert!(watcher.losses.borrow().is_empty() && !run.join("model").exists());
}

#[test]
fn the_learning_rate_is_not_blamed_before_a_weight_has_changed() {
    let error = |step| {
        let offenders = samples(3).into_iter().map(|sample| sample.origin).collect();
        TrainError::NonFinite { step, what: "loss", offenders, looked_at: 3 }.with_help()
    };
    assert!(error(1).contains("the learning rate is not the cause") && error(1).contains("base model"), "{}", error(1));
    assert!(error(2).contains("lower `train.learning_rate`"), "{}", error(2));
}

#[test]
fn a_finished_run_leaves_model_card_and_metrics() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = folder.path().join("run");
    let watcher = Watcher::default();
    let outcome = train(&run, &spec(), &samples(11), false, &watcher).expect("trains");
    let losses = watcher.losses.borrow();
    assert_eq!(losses.len(), 9);
    assert!(losses[8] < 0.8 * losses[0], "{losses:?}");
    for file in ["model/config.json", "model/model.safetensors", "model/README.md", "metrics.jsonl"] {
        assert!(run.join(file).exists(), "{file}");
    }
    let sources = fs::read_to_string(run.join("metrics.jsonl")).expect("readable");
    assert!(sources.contains("\"general\"") && sources.contains("\"medical\""), "{sources}");
    assert_eq!(outcome.validation.expect("validated").0, 9);
    assert!(train(&run, &spec(), &samples(11), true, &Silent).expect("nothing left to do").finished);
}

#[test]
fn training_goes_on_from_an_adapter_and_from_fresh_weights() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lora = medley_recipe::TrainSpec { method: super::lora(), max_steps: Some(2), ..spec() };
    let first = folder.path().join("first");
    train(&first, &lora, &samples(11), false, &Silent).expect("trains");
    // PEFT finds a local base from any working directory.
    let named = medley_model::adapter_base(&first.join("model")).expect("named");
    assert_eq!(std::path::PathBuf::from(named), tiny_base().canonicalize().expect("there"));
    let second = folder.path().join("second");
    let merged = Base::Merged { model: tiny_base(), adapter: first.join("model") };
    train_from(merged, &second, &lora, &samples(11), false, &Silent, &Device::flex()).expect("trains");
    // The second adapter stands on the sum of base and first adapter, which was written down.
    let base = medley_model::adapter_base(&second.join("model")).expect("named");
    let mut sum = Decoder::load(std::path::Path::new(&base), &Device::flex(), DType::F32).expect("a whole model");
    sum.load_adapter(&second.join("model")).expect("fits");
    let config = folder.path().join("fresh.json");
    fs::copy(tiny_base().join("config.json"), &config).expect("copied");
    let fresh = Base::Fresh { config };
    let spec = medley_recipe::TrainSpec { max_steps: Some(2), ..spec() };
    let run = folder.path().join("fresh");
    train_from(fresh, &run, &spec, &samples(11), false, &Silent, &Device::flex()).expect("trains");
    Decoder::load(&run.join("model"), &Device::flex(), DType::F32).expect("a whole model");
}
