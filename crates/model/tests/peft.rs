//! PEFT adapters of every kind (`tests/parity/make_adapters.py`): parity with PEFT's logits, or an error that names the key.

#[expect(dead_code, reason = "parity.rs uses the rest")]
mod common;

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};
use common::{elements, fixture, load};
use medley_model::{
    ADAPTER_CONFIG, ADAPTER_WEIGHTS, Decoder, DecoderConfig, OpenedModel, Pack, PeftAdapter, Result, describe_model,
    open_model,
};
use safetensors::SafeTensors;
use serde_json::{Value, json};

/// Largest difference of a logit, relative to the largest expected one if that is above 1.
const TOLERANCE: f32 = 1e-5;

fn adapter(name: &str) -> PathBuf {
    fixture("../adapters").join(name)
}

fn expected() -> Vec<u8> {
    fs::read(adapter("expected.safetensors")).expect("the fixture is there")
}

fn open(directory: &Path) -> Result<OpenedModel> {
    open_model(directory, None, &Device::flex(), DType::F32)
}

/// Logits for the fixture's `ids`.
fn logits(model: &Decoder, tensors: &SafeTensors<'_>) -> Vec<f32> {
    let ids = tensors.tensor("ids").expect("ids").data();
    let ids: Vec<u32> = ids.chunks_exact(8).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let pack = Pack::new(&model.config, &[ids.len()], &model.device(), DType::F32);
    elements(model.logits(&ids, &pack))
}

fn floats(tensors: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let data = tensors.tensor(name).expect("the fixture holds it").data();
    data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

#[track_caller]
fn assert_logits(what: &str, model: &Decoder, tensors: &SafeTensors<'_>, name: &str) {
    let (actual, expected) = (logits(model, tensors), floats(tensors, name));
    let largest = expected.iter().fold(1.0f32, |largest, value| largest.max(value.abs()));
    let worst = actual.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max) / largest;
    assert!(actual.len() == expected.len() && worst <= TOLERANCE, "{what}: the logits are off by {worst:e}");
}

/// Copies an adapter with edited settings and the absolute path of its base.
fn edited(name: &str, place: &Path, change: impl FnOnce(&mut Value)) {
    for file in fs::read_dir(adapter(name)).expect("the fixture is there").flatten() {
        fs::copy(file.path(), place.join(file.file_name())).expect("it is copied");
    }
    let path = place.join(ADAPTER_CONFIG);
    let mut settings: Value = serde_json::from_str(&fs::read_to_string(&path).expect("readable")).expect("JSON");
    let base = settings["base_model_name_or_path"].as_str().expect("a path").to_owned();
    settings["base_model_name_or_path"] = json!(adapter(name).join(base));
    change(&mut settings);
    fs::write(path, settings.to_string()).expect("writable");
}

fn refusal(name: &str, change: impl FnOnce(&mut Value)) -> String {
    let place = tempfile::tempdir().expect("a temporary directory");
    edited(name, place.path(), change);
    open(place.path()).expect_err("it must be refused").to_string()
}

#[test]
fn every_kind_of_adapter_gives_the_logits_of_peft() {
    let bytes = expected();
    let tensors = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let names: Vec<&str> = tensors.names().into_iter().filter(|name| *name != "ids" && !name.contains('.')).collect();
    assert!(names.len() >= 33, "{names:?}");
    for name in names {
        let opened = open(&adapter(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_logits(name, &opened.model, &tensors, name);
        assert!(opened.adapter.is_some() && !opened.model.is_adapted());
    }
}

#[test]
fn every_form_of_file_holds_the_same_adapter() {
    let bytes = expected();
    let tensors = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    for form in ["bin", "named", "float64", "saved-embeddings"] {
        let opened = open(&adapter(form)).unwrap_or_else(|error| panic!("{form}: {error}"));
        assert_logits(form, &opened.model, &tensors, "plain");
    }
    let rounded = logits(&open(&adapter("bin-bf16")).expect("it opens").model, &tensors);
    let worst = rounded.iter().zip(floats(&tensors, "plain")).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
    assert!(worst > TOLERANCE && worst < 0.1, "bf16 factors are off by {worst:e}");
}

#[test]
fn merging_into_bf16_rounds_once_as_peft_does() {
    let bytes = expected();
    let tensors = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let mut compared = 0;
    for name in tensors.names().into_iter().filter_map(|name| name.strip_prefix("merged.")) {
        let model = open_model(&adapter(name), None, &Device::flex(), DType::BF16).expect("it opens").model;
        let mine = elements(model.layers[1].self_attn.q_proj.weight.clone().cast(DType::F32));
        let peft = tensors.tensor(&format!("merged.{name}")).expect("bf16").data();
        let peft: Vec<f32> =
            peft.chunks_exact(2).map(|b| f32::from_bits(u32::from(u16::from_le_bytes([b[0], b[1]])) << 16)).collect();
        let differing = mine.iter().zip(&peft).filter(|(a, b)| a != b).count();
        // The decompositions differ from LAPACK's in the last bits, so a residual near a tie is rounded the other way.
        let allowed = if name.contains("issa") || name.contains("olora") { mine.len() / 50 } else { 0 };
        assert!(
            mine.len() == peft.len() && differing <= allowed,
            "{name}: {differing} of {} bf16 weights differ",
            mine.len()
        );
        compared += 1;
    }
    assert!(compared >= 20);
}

#[test]
fn a_merged_model_is_saved_and_read_as_what_it_computes() {
    let bytes = expected();
    let tensors = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    for name in ["pissa", "dora", "tied-head", "tied-table", "tied-embedding", "tied-rows", "lora-bias"] {
        let place = tempfile::tempdir().expect("a temporary directory");
        open(&adapter(name)).expect("it opens").model.save(place.path(), DType::F32).expect("saved");
        let again = Decoder::load(place.path(), &Device::flex(), DType::F32).expect("it loads");
        assert_logits(name, &again, &tensors, name);
    }
}

#[test]
fn unsupported_and_unknown_settings_are_refused_by_key() {
    let cases = [
        ("alora_invocation_tokens", json!([3, 4])),
        ("init_lora_weights", json!("corda")),
        ("init_lora_weights", json!("lora_ga")),
        ("init_lora_weights", json!("loftq")),
        ("init_lora_weights", json!("mica")),
        ("init_lora_weights", json!("pissa_niter_16")),
        ("init_lora_weights", json!("PiSSA")),
        ("init_lora_weights", json!(3)),
        ("loftq_config", json!({"loftq_bits": 4})),
        ("corda_config", json!({"corda_method": "kpm"})),
        ("lora_ga_config", json!({"scale": "stable"})),
        ("kasa_config", json!({"beta": 1e-4})),
        ("monteclora_config", json!({"num_samples": 2})),
        ("velora_config", json!({"num_groups": 2})),
        ("arrow_config", json!({"top_k": 3})),
        ("use_bdlora", json!({"nblocks": 2})),
        ("use_qalora", json!(true)),
        ("layer_replication", json!([[0, 2], [1, 2]])),
        ("target_parameters", json!(["mlp.weight"])),
        ("megatron_config", json!({"tensor_model_parallel_size": 2})),
        ("some_future_key", json!(false)),
        ("some_future_key", json!(0)),
        ("some_future_key", json!([])),
        ("peft_type", json!("IA3")),
        ("task_type", json!("SEQ_CLS")),
        ("bias", json!("some")),
        ("use_dora", json!("yes")),
        ("r", json!(0)),
        ("r", json!(-4)),
        ("rank_pattern", json!({"(": 4})),
        ("rank_pattern", json!({"q_proj": 0})),
        ("alpha_pattern", json!({"q_proj": "many"})),
        ("target_modules", json!(null)),
        ("target_modules", json!([])),
        ("target_modules", json!(["query"])),
        ("target_modules", json!("q_proj")),
        ("target_modules", json!(".*(")),
        ("layers_to_transform", json!("all")),
        ("layers_to_transform", json!([-1])),
        ("trainable_token_indices", json!([67])),
        ("trainable_token_indices", json!({"norm": [1]})),
    ];
    for (key, value) in cases {
        let told = refusal("plain", |settings| settings[key] = value.clone());
        assert!(told.contains(ADAPTER_CONFIG) && told.contains(&format!("`{key}`")), "{key} = {value}: {told}");
    }
    for name in ["alora", "pissa-niter"] {
        let told = open(&adapter(name)).expect_err("refused").to_string();
        assert!(told.contains("`alora_invocation_tokens`") || told.contains("`init_lora_weights`"), "{name}: {told}");
    }
    let told = refusal("lora-bias", |settings| settings["target_modules"] = json!(["q_proj", "o_proj"]));
    assert!(told.contains("`lora_bias`") && told.contains("o_proj"), "{told}");
    let told = refusal("regex", |settings| settings["layers_to_transform"] = json!([1]));
    assert!(told.contains("`layers_to_transform`"), "{told}");
}

#[test]
fn keys_without_an_effect_do_not_matter() {
    let bytes = expected();
    let tensors = SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let changes: [fn(&mut Value); 6] = [
        |settings| settings["auto_mapping"] = json!({"base_model_class": "Qwen2ForCausalLM", "unsloth_fixed": true}),
        |settings| settings["some_future_key"] = json!(null),
        |settings| settings["fan_in_fan_out"] = json!(true),
        |settings| settings["init_lora_weights"] = json!("Gaussian"),
        |settings| settings["layers_to_transform"] = json!([0, 1]),
        |settings| {
            // As PEFT 0.3 wrote it.
            let keep = ["base_model_name_or_path", "r", "lora_alpha", "peft_type", "target_modules"];
            settings.as_object_mut().expect("an object").retain(|key, _| keep.contains(&key.as_str()));
            settings["enable_lora"] = json!(null);
            settings["merge_weights"] = json!(false);
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let place = tempfile::tempdir().expect("a temporary directory");
        edited("plain", place.path(), change);
        let opened = open(place.path()).unwrap_or_else(|error| panic!("change {number}: {error}"));
        assert_logits(&format!("change {number}"), &opened.model, &tensors, "plain");
    }
}

#[test]
fn every_tensor_that_does_not_fit_the_settings_is_named() {
    let told = refusal("one-layer", |settings| settings["layers_to_transform"] = json!(null));
    assert!(told.contains("missing: model.layers.0.self_attn.q_proj.lora_A.weight [4, 48]"), "{told}");
    let told = refusal("plain", |settings| settings["layers_to_transform"] = json!([1]));
    assert!(told.contains("unexpected: base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"), "{told}");
    let told = refusal("dora", |settings| settings["use_dora"] = json!(false));
    assert!(told.contains("unexpected: ") && told.contains("lora_magnitude_vector"), "{told}");
    let told = refusal("head", |settings| settings["modules_to_save"] = json!(["embed_tokens", "lm_head"]));
    assert!(told.contains("missing: model.embed_tokens.weight"), "{told}");
    let told = refusal("bias-all", |settings| settings["bias"] = json!("none"));
    assert!(told.contains("unexpected: ") && told.contains("k_proj.bias"), "{told}");
    let told = refusal("patterns", |settings| settings["rank_pattern"] = json!({"q_proj": 2}));
    assert!(
        told.contains("misshapen: model.layers.0.self_attn.q_proj.lora_A.weight is [3, 48], expected [2, 48]"),
        "{told}"
    );
}

#[test]
fn absurd_ranks_and_shapes_take_no_memory() {
    for rank in [1u64 << 40, u64::MAX / 2] {
        let told = refusal("plain", |settings| settings["r"] = json!(rank));
        assert!(told.contains("misshapen") && told.contains(&rank.to_string()), "{told}");
    }
    for (key, value) in [
        ("num_hidden_layers", 1u64 << 50),
        ("num_hidden_layers", 4096),
        ("vocab_size", 1 << 60),
        ("vocab_size", 1 << 24),
        ("hidden_size", 1 << 20),
        ("intermediate_size", u64::MAX),
        ("num_attention_heads", 1 << 45),
        ("head_dim", 1 << 50),
    ] {
        let place = tempfile::tempdir().expect("a temporary directory");
        for file in fs::read_dir(fixture("grouped")).expect("the fixture is there").flatten() {
            fs::copy(file.path(), place.path().join(file.file_name())).expect("it is copied");
        }
        let path = place.path().join("config.json");
        let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).expect("readable")).expect("JSON");
        config[key] = json!(value);
        fs::write(&path, config.to_string()).expect("writable");
        let told = open(place.path()).expect_err("it must be refused").to_string();
        assert!(told.contains(key) || told.contains("misshapen"), "{key} = {value}: {told}");
        let told = open_model(&adapter("plain"), Some(place.path()), &Device::flex(), DType::F32).expect_err("refused");
        assert!(told.to_string().contains(key) || told.to_string().contains("misshapen"), "{key} = {value}: {told}");
    }
}

#[test]
fn factors_that_are_not_finite_are_named() {
    let place = tempfile::tempdir().expect("a temporary directory");
    edited("plain", place.path(), |_| {});
    let path = place.path().join(ADAPTER_WEIGHTS);
    let mut file = fs::read(&path).expect("readable");
    let end = file.len();
    file[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, file).expect("writable");
    let told = open(place.path()).expect_err("refused").to_string();
    assert!(
        told.contains(ADAPTER_WEIGHTS) && told.contains("weights are not finite: ") && told.contains("lora_"),
        "{told}"
    );
    let told = refusal("plain", |settings| settings["lora_alpha"] = json!(1e300));
    assert!(told.contains("not finite"), "{told}");
    // Finite in f32, beyond the range of f16.
    let place = tempfile::tempdir().expect("a temporary directory");
    edited("plain", place.path(), |settings| settings["lora_alpha"] = json!(1e9));
    assert!(open(place.path()).is_ok());
    let told = open_model(place.path(), None, &Device::flex(), DType::F16).expect_err("refused").to_string();
    assert!(told.contains("not finite") && told.contains("after merging"), "{told}");
}

#[test]
fn training_goes_on_with_plain_adapters_alone() {
    for name in ["plain", "all-linear", "bin", "suffix"] {
        let mut model = load("grouped", &Device::flex());
        let loaded = model.load_adapter(&adapter(name));
        assert_eq!(loaded.is_ok(), name != "suffix", "{name}: {loaded:?}");
    }
    for name in ["rslora", "pissa", "dora", "patterns", "head", "one-layer", "embedding", "rows", "bias-all"] {
        let error = load("grouped", &Device::flex()).load_adapter(&adapter(name)).expect_err(name).to_string();
        assert!(error.contains("plain LoRA"), "{name}: {error}");
    }
}

#[test]
fn a_description_reads_no_weights() {
    let described = describe_model(&adapter("pissa"), None).expect("it fits");
    assert!(described.adapter.is_some());
    assert_eq!(described.weight_bytes(DType::F32), 4 * load("grouped", &Device::flex()).config.parameter_count());
    for (name, unties) in [("tied-head", true), ("tied-table", true), ("tied-embedding", true), ("tied-rows", false)] {
        let described = describe_model(&adapter(name), None).expect("it fits");
        let tied = described.config.parameter_count();
        let bytes = described.weight_bytes(DType::F32);
        let merged = described.load(&Device::flex(), DType::F32).expect("it loads").model.config;
        assert_eq!(bytes, 4 * merged.parameter_count(), "{name}");
        assert_eq!(merged.parameter_count() > tied, unties, "{name}");
    }
    let config = DecoderConfig::from_dir(&fixture("tied")).expect("a configuration");
    let error = PeftAdapter::open(&adapter("plain"), &config).expect_err("another model's").to_string();
    assert!(error.contains("misshapen"), "{error}");
}

/// Further adapters: `MEDLEY_ADAPTERS` names a directory with `base`, adapters, and `expected_logits.json` (`ids`, and rows of
/// logits by the adapter's name), all made by PEFT.
#[test]
fn adapters_of_another_directory() {
    let Ok(place) = std::env::var("MEDLEY_ADAPTERS") else {
        eprintln!("SKIPPED: MEDLEY_ADAPTERS names no directory of adapters");
        return;
    };
    let place = PathBuf::from(place);
    let text = fs::read_to_string(place.join("expected_logits.json")).expect("readable");
    let expected: serde_json::Map<String, Value> = serde_json::from_str(&text).expect("JSON");
    let numbers = |value: &Value| -> Vec<f64> {
        value.as_array().expect("an array").iter().map(|number| number.as_f64().expect("a number")).collect()
    };
    let ids: Vec<u32> = numbers(&expected["ids"]).into_iter().map(|id| id as u32).collect();
    for (name, rows) in expected.iter().filter(|(name, _)| *name != "ids") {
        match open_model(&place.join(name), Some(&place.join("base")), &Device::flex(), DType::F32) {
            Err(error) => {
                let told = error.to_string();
                println!("{name}: refused: {told}");
                assert!(told.contains(ADAPTER_CONFIG) && told.contains('`'), "{name}: {told}");
            }
            Ok(OpenedModel { model, .. }) => {
                let pack = Pack::new(&model.config, &[ids.len()], &model.device(), DType::F32);
                let actual = elements(model.logits(&ids, &pack));
                let rows: Vec<f64> = rows.as_array().expect("rows").iter().flat_map(numbers).collect();
                let worst = actual.iter().zip(&rows).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
                println!("{name}: off by {worst:.1e}");
                assert!(actual.len() == rows.len() && worst <= f64::from(TOLERANCE), "{name}: off by {worst:e}");
            }
        }
    }
}
