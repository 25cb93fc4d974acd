//! Parity with transformers and PEFT on small random models: logits, loss, every gradient, greedy text.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};
use common::{ADAPTERS, Expected, MODELS, block_wise, difference, elements, fixture, load, one_graph, values};
use medley_model::{Decoder, GenerateOptions, LoraConfig, Pack, Parameter, generate};

const TOLERANCE: f32 = 1e-4;

fn compare(name: &str, way: &str, expected: &Expected, (loss, gradients): (f64, BTreeMap<String, Parameter>)) {
    let error = (loss - expected.loss).abs() / expected.loss;
    assert!(error <= f64::from(TOLERANCE), "{name}, {way}: loss {loss}, expected {}", expected.loss);
    let names: Vec<&String> = gradients.keys().collect();
    assert_eq!(names, expected.gradients.keys().collect::<Vec<_>>(), "{name}, {way}: trained weights");
    for (weight, gradient) in gradients {
        let error = difference(&values(gradient), &expected.gradients[&weight]);
        assert!(error <= TOLERANCE, "{name}, {way}: the gradient of {weight} is off by {error:e}");
    }
}

#[test]
fn logits_loss_and_every_gradient() {
    for name in MODELS {
        let (model, expected) = (load(name, &Device::flex()), Expected::read(name));
        let pack = expected.pack(&model);
        let error = difference(&elements(model.logits(&expected.input_ids, &pack)), &expected.logits);
        assert!(error <= TOLERANCE, "{name}: the logits are off by {error:e}");
        compare(name, "one graph", &expected, one_graph(&model, &expected, &pack));
        compare(name, "block-wise", &expected, block_wise(&model, &expected, &pack));
    }
}

#[test]
fn adapters_made_by_peft() {
    for (name, base) in ADAPTERS {
        let (mut model, expected) = (load(base, &Device::flex()), Expected::read(name));
        model.load_adapter(&fixture(name)).expect("the adapter loads");
        let pack = expected.pack(&model);
        let error = difference(&elements(model.logits(&expected.input_ids, &pack)), &expected.logits);
        assert!(error <= TOLERANCE, "{name}: the logits are off by {error:e}");
        compare(name, "one graph", &expected, one_graph(&model, &expected, &pack));
        compare(name, "block-wise", &expected, block_wise(&model, &expected, &pack));
        model.merge();
        let error = difference(&elements(model.logits(&expected.input_ids, &pack)), &expected.logits);
        assert!(error <= TOLERANCE, "{name}, merged: the logits are off by {error:e}");
    }
}

/// The composed operations, which GPUs run as well: bf16 has three decimal digits.
#[test]
fn logits_in_bf16_are_near() {
    for name in MODELS {
        let model = Decoder::load(&fixture(name), &Device::flex(), DType::BF16).expect("the fixture loads");
        let expected = Expected::read(name);
        let pack = Pack::new(&model.config, &expected.lengths, &model.device(), DType::BF16);
        let logits = model.logits(&expected.input_ids, &pack).cast(DType::F32);
        let error = difference(&elements(logits), &expected.logits);
        assert!(error <= 0.04, "{name}: the logits are off by {error:e}");
    }
}

#[test]
fn greedy_text_at_any_batch_size() {
    for name in MODELS {
        let (model, expected) = (load(name, &Device::flex()), Expected::read(name));
        let mut start = 0;
        let prompts: Vec<Vec<u32>> = expected
            .lengths
            .iter()
            .map(|length| {
                start += length;
                expected.input_ids[start - length..start].to_vec()
            })
            .collect();
        for batch_size in [1, 2, 3, 16] {
            let options = GenerateOptions { max_new_tokens: 12, batch_size, ..GenerateOptions::default() };
            assert_eq!(generate(&model, &prompts, &options), expected.greedy, "{name} in batches of {batch_size}");
        }
        let stop = expected.greedy[0][4];
        let options = GenerateOptions { max_new_tokens: 12, stop_ids: vec![stop], ..GenerateOptions::default() };
        let answers = generate(&model, &prompts, &options);
        for (answer, whole) in answers.iter().zip(&expected.greedy) {
            let end = whole.iter().position(|&id| id == stop).unwrap_or(whole.len());
            assert_eq!(answer, &whole[..end], "{name} stops at {stop}");
        }
    }
}

#[test]
fn ids_beyond_the_tokenizer_are_never_generated() {
    let (model, expected) = (load("untied", &Device::flex()), Expected::read("untied"));
    let prompts = vec![expected.input_ids[..11].to_vec()];
    let options = GenerateOptions { max_new_tokens: 40, vocab_limit: Some(20), ..GenerateOptions::default() };
    let answers = generate(&model, &prompts, &options);
    assert!(answers[0].iter().all(|&id| id < 20), "{answers:?}");
}

#[test]
fn shards_are_the_same_model() {
    let (single, sharded) = (load("untied", &Device::flex()), load("sharded", &Device::flex()));
    for ((name, one), (other_name, other)) in single.parameters().into_iter().zip(sharded.parameters()) {
        assert_eq!((name, values(one)), (other_name, values(other)));
    }
}

#[test]
fn dropout_is_the_same_in_one_graph_and_block_wise() {
    let (mut model, expected) = (load("grouped", &Device::flex()), Expected::read("adapter"));
    model.load_adapter(&fixture("adapter")).expect("the adapter loads");
    let without = block_wise(&model, &expected, &expected.pack(&model)).0;
    for layer in &mut model.layers {
        for module in medley_model::Module::ALL {
            if let Some(lora) = &mut layer.projection(module).lora {
                lora.dropout = 0.3;
            }
        }
    }
    let pack = expected.dropout_pack(&model);
    let (loss, gradients) = one_graph(&model, &expected, &pack);
    let (block_loss, block_gradients) = block_wise(&model, &expected, &pack);
    assert!((loss - block_loss).abs() <= 1e-5 * loss, "{loss} and {block_loss}");
    assert!((loss - without).abs() > 1e-3, "nothing dropped out: {loss} and {without}");
    for (name, gradient) in gradients {
        let error = difference(&values(block_gradients[&name].clone()), &values(gradient));
        assert!(error <= 1e-5, "{name} is off by {error:e}");
    }
}

/// Saved models with the fixtures that they must equal, and their adapters, for `tests/parity/check_saved.py` with the
/// interpreter that `MEDLEY_PEER_PYTHON` names.
#[derive(Default)]
struct PeerCheck(Vec<PathBuf>);

impl PeerCheck {
    fn add(&mut self, model: &Path, expected: &str, adapter: Option<&Path>) {
        self.0.extend((!self.0.is_empty()).then(|| "--".into()));
        self.0.extend([model.to_owned(), fixture(expected).join("expected.safetensors")]);
        self.0.extend(adapter.map(Path::to_owned));
    }

    fn run(self) {
        let Ok(python) = std::env::var("MEDLEY_PEER_PYTHON") else {
            eprintln!("SKIPPED: MEDLEY_PEER_PYTHON names no Python with torch, transformers and peft");
            return;
        };
        let mut command = std::process::Command::new(python);
        let output = command.arg(fixture("../check_saved.py")).args(self.0).output().expect("the interpreter runs");
        let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{printed}");
    }
}

#[test]
fn transformers_and_peft_load_what_is_saved() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut check = PeerCheck::default();
    for name in MODELS {
        let directory = place.path().join(name);
        load(name, &Device::flex()).save(&directory, DType::F32).expect("the model is saved");
        let again = Decoder::load(&directory, &Device::flex(), DType::F32).expect("it loads again");
        for ((name, one), (_, other)) in load(name, &Device::flex()).parameters().into_iter().zip(again.parameters()) {
            assert_eq!(values(one), values(other), "{name}");
        }
        check.add(&directory, name, None);
    }
    for (name, base) in ADAPTERS {
        let adapter = place.path().join(name);
        let mut model = load(base, &Device::flex());
        model.load_adapter(&fixture(name)).expect("the adapter loads");
        model.save_adapter(&adapter, base).expect("the adapter is saved");
        check.add(&place.path().join(base), name, Some(&adapter));
        let mut again = load(base, &Device::flex());
        let config = again.load_adapter(&adapter).expect("it loads again");
        assert_eq!(config, LoraConfig { rank: 3, alpha: 6.0, dropout: 0.0, target: config.target.clone() });
        for ((name, one), (_, other)) in model.trainable().into_iter().zip(again.trainable()) {
            assert_eq!(values(one), values(other), "{name}");
        }
    }
    check.run();
}

#[test]
fn half_precision_files() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let model = load("tied", &Device::flex());
    for (dtype, tolerance) in [(DType::F16, 1e-3), (DType::BF16, 8e-3)] {
        let directory = place.path().join(format!("{dtype:?}"));
        model.save(&directory, dtype).expect("the model is saved");
        let again = Decoder::load(&directory, &Device::flex(), DType::F32).expect("it loads again");
        for ((name, one), (_, other)) in model.parameters().into_iter().zip(again.parameters()) {
            let error = difference(&values(other), &values(one));
            assert!(error > 0.0 || name.contains("bias"), "{name} did not lose a bit");
            assert!(error < tolerance, "{name} is off by {error:e} in {dtype:?}");
        }
    }
}
