//! Bad models and adapters get errors that name the file and all that is wrong.

#[expect(dead_code, reason = "parity.rs uses the rest")]
mod common;

use std::fs;
use std::path::Path;

use burn::tensor::{DType, Device};
use common::{fixture, load};
use medley_model::{Decoder, InitConfig, LoraConfig, is_adapter, open_model};
use serde_json::{Value, json};

fn copy(name: &str, to: &Path) {
    for file in fs::read_dir(fixture(name)).expect("the fixture is there").flatten() {
        fs::copy(file.path(), to.join(file.file_name())).expect("it is copied");
    }
}

fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_str(&fs::read_to_string(path).expect("readable")).expect("JSON");
    change(&mut value);
    fs::write(path, value.to_string()).expect("writable");
}

fn error(directory: &Path) -> String {
    Decoder::load(directory, &Device::flex(), DType::F32).expect_err("it must not load").to_string()
}

#[test]
fn every_tensor_that_does_not_fit_is_named_at_once() {
    let place = tempfile::tempdir().expect("a temporary directory");
    copy("untied", place.path());
    edit(&place.path().join("config.json"), |config| {
        config["num_hidden_layers"] = json!(1);
        config["intermediate_size"] = json!(41);
        config["layer_types"] = json!(null);
    });
    let told = error(place.path());
    assert!(told.contains("unexpected: model.layers.1.self_attn.q_proj.weight"), "{told}");
    assert!(told.contains("misshapen: model.layers.0.mlp.gate_proj.weight is [40, 32], expected [41, 32]"), "{told}");
    edit(&place.path().join("config.json"), |config| {
        config["num_hidden_layers"] = json!(3);
        config["intermediate_size"] = json!(40);
    });
    let told = error(place.path());
    assert!(told.contains("missing: model.layers.2.mlp.down_proj.weight [32, 40]"), "{told}");
}

#[test]
fn a_tied_model_accepts_its_own_copy_of_the_head_only() {
    let place = tempfile::tempdir().expect("a temporary directory");
    copy("untied", place.path());
    edit(&place.path().join("config.json"), |config| config["tie_word_embeddings"] = json!(true));
    let told = error(place.path());
    assert!(told.contains("lm_head.weight differs from model.embed_tokens.weight"), "{told}");
    let mut model = load("untied", &Device::flex());
    model.lm_head = Some(model.embed_tokens.clone());
    model.save(place.path(), DType::F32).expect("saved");
    edit(&place.path().join("config.json"), |config| config["tie_word_embeddings"] = json!(true));
    let model = Decoder::load(place.path(), &Device::flex(), DType::F32).expect("an identical head is fine");
    assert!(model.lm_head.is_none());
}

#[test]
fn unsupported_settings_are_refused_by_key() {
    let cases = [
        ("model_type", json!("llama"), "expected one of: \"qwen2\""),
        ("hidden_act", json!("gelu"), "only \"silu\""),
        ("rope_parameters", json!({"rope_type": "yarn", "rope_theta": 1e6}), "\"yarn\""),
        ("layer_types", json!(["full_attention", "sliding_attention"]), "\"sliding_attention\""),
        ("num_key_value_heads", json!(3), "expected a divisor"),
        ("hidden_size", json!("big"), "\"big\""),
        ("vocab_size", json!(null), "is missing"),
        ("head_dim", json!(7), "expected an even number"),
    ];
    for (key, value, told) in cases {
        let place = tempfile::tempdir().expect("a temporary directory");
        copy("untied", place.path());
        edit(&place.path().join("config.json"), |config| config[key] = value);
        let error = error(place.path());
        assert!(error.contains("config.json") && error.contains(key) && error.contains(told), "{key}: {error}");
    }
    let place = tempfile::tempdir().expect("a temporary directory");
    copy("untied", place.path());
    edit(&place.path().join("config.json"), |config| {
        config["use_sliding_window"] = json!(true);
        config["sliding_window"] = json!(16);
        config["max_window_layers"] = json!(1);
    });
    assert!(error(place.path()).contains("use_sliding_window"));
}

#[test]
fn damaged_and_foreign_directories() {
    let place = tempfile::tempdir().expect("a temporary directory");
    assert!(error(place.path()).contains("has no config.json"));
    copy("untied", place.path());
    fs::write(place.path().join("model.safetensors"), b"not at all").expect("writable");
    assert!(error(place.path()).contains("model.safetensors is not a readable safetensors file"));
    fs::remove_file(place.path().join("model.safetensors")).expect("removable");
    assert!(error(place.path()).contains("neither model.safetensors nor"));
    fs::write(place.path().join("config.json"), "{").expect("writable");
    assert!(error(place.path()).contains("config.json is not valid JSON"));
}

#[test]
fn adapters_that_cannot_be_used() {
    assert!(is_adapter(&fixture("adapter")) && !is_adapter(&fixture("tied")));
    let opened = open_model(&fixture("adapter"), None, &Device::flex(), DType::F32).expect("its base is beside it");
    assert!(opened.adapter.is_some() && !opened.model.is_adapted());
    for (key, value) in [
        ("use_rslora", json!(true)),
        ("use_dora", json!(true)),
        ("bias", json!("all")),
        ("rank_pattern", json!({"q_proj": 4})),
        ("peft_type", json!("IA3")),
        ("target_modules", json!(["lm_head"])),
    ] {
        let place = tempfile::tempdir().expect("a temporary directory");
        copy("adapter", place.path());
        edit(&place.path().join("adapter_config.json"), |config| config[key] = value);
        let error = load("grouped", &Device::flex()).load_adapter(place.path()).expect_err("refused").to_string();
        assert!(error.contains("adapter_config.json") && error.contains(key), "{key}: {error}");
    }
    let error =
        load("tied", &Device::flex()).load_adapter(&fixture("adapter")).expect_err("another model's").to_string();
    assert!(error.contains("misshapen: model.layers.0.self_attn.q_proj.lora_A.weight"), "{error}");
    let place = tempfile::tempdir().expect("a temporary directory");
    copy("adapter", place.path());
    edit(&place.path().join("adapter_config.json"), |config| config["base_model_name_or_path"] = json!("Qwen/Nowhere"));
    let error = open_model(place.path(), None, &Device::flex(), DType::F32).expect_err("no base").to_string();
    assert!(error.contains("base_model_name_or_path") && error.contains("Qwen/Nowhere"), "{error}");
}

#[test]
fn lora_settings() {
    let mut model = load("tied", &Device::flex());
    let config = |rank, target: &str| LoraConfig { rank, alpha: 4.0, dropout: 0.0, target: vec![target.to_owned()] };
    assert!(model.apply_lora(&config(0, "q_proj"), 1).expect_err("no rank").to_string().contains("rank is 0"));
    assert!(model.apply_lora(&config(2, "query"), 1).expect_err("no such").to_string().contains("\"query\""));
    model.apply_lora(&config(2, "all-linear"), 1).expect("applied");
    assert_eq!(model.trainable().len(), 2 * 7 * 2);
    assert_eq!(model.lora_config().map(|config| config.target.len()), Some(7));
}

#[test]
fn init_files() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let path = place.path().join("model.json");
    fs::copy(fixture("untied").join("config.json"), &path).expect("copied");
    edit(&path, |config| config["medley_init"] = json!({"std": 0.02, "offset_heads": [[0, 9, 1]]}));
    let error = InitConfig::from_file(&path).expect_err("no head 9").to_string();
    assert!(error.contains("medley_init") && error.contains("[0, 9, 1]"), "{error}");
    edit(&path, |config| config["medley_init"] = json!({"stdev": 0.02}));
    assert!(InitConfig::from_file(&path).expect_err("unknown").to_string().contains("stdev"));
}
