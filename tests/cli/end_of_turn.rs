//! A trained model stops where its chat template ends a turn, also outside of Medley.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::interrupted::{arguments, root};
use crate::support::succeeds;

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).expect("JSON")
}

/// The bundled base as base models are published: `eos_token` (`<|pad|>`, 1) differs from the token that ends a turn in the
/// template (`<|end|>`, 2).
fn base(folder: &Path, generation_config: bool) -> String {
    fs::create_dir(folder).expect("made");
    for entry in fs::read_dir(root().join("data/base")).expect("readable").flatten() {
        fs::copy(entry.path(), folder.join(entry.file_name())).expect("copied");
    }
    for (name, key, value) in [
        ("config.json", "eos_token_id", json!(1)),
        ("generation_config.json", "eos_token_id", json!(1)),
        ("tokenizer_config.json", "eos_token", json!("<|pad|>")),
    ] {
        let path = folder.join(name);
        let mut settings = read(&path);
        settings[key] = value;
        fs::write(path, settings.to_string()).expect("written");
    }
    if !generation_config {
        fs::remove_file(folder.join("generation_config.json")).expect("removed");
    }
    folder.to_string_lossy().into_owned()
}

fn assert_stops_at_the_end_of_a_turn(model: &Path) {
    assert_eq!(read(&model.join("generation_config.json"))["eos_token_id"], json!([2, 1]));
    assert_eq!(read(&model.join("generation_config.json"))["pad_token_id"], json!(1));
    assert_eq!(read(&model.join("tokenizer_config.json"))["eos_token"], json!("<|end|>"));
    assert_eq!(read(&model.join("config.json"))["eos_token_id"], json!([2, 1]));
}

/// The text that transformers generates with the model; `None` without that Python.
fn generated(words: &[&str]) -> Option<Value> {
    let Ok(python) = std::env::var("MEDLEY_PEER_PYTHON") else {
        eprintln!("SKIPPED: MEDLEY_PEER_PYTHON names no Python with torch, transformers and peft");
        return None;
    };
    let script = root().join("tests/parity/generate_saved.py");
    let output = Command::new(python).arg(script).args(words).output().expect("the interpreter runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

fn assert_ended_by_the_turn(answer: &Value) {
    let new = answer["new"].as_array().expect("token ids");
    let ends = new.iter().filter(|id| **id == json!(2)).count();
    assert!(ends == 1 && new.last() == Some(&json!(2)) && new.len() < 60, "runs past the end of its turn: {answer}");
}

#[test]
fn a_trained_base_stops_where_the_template_ends_a_turn() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, generation_config) in [("published", true), ("bare", false)] {
        let setting = format!("model.base={}", base(&folder.path().join(name), generation_config));
        let out = folder.path().join(format!("{name}-run"));
        let out_text = out.to_string_lossy();
        succeeds(root(), &arguments(&out_text, &["--set", &setting, "--set", "train.method=full"]));
        let model = out.join("model");
        assert_stops_at_the_end_of_a_turn(&model);
        let card = fs::read_to_string(model.join("README.md")).expect("a card");
        assert!(card.contains("ends a turn with `<|end|>` (id 2)"), "{card}");
        if let Some(answer) = generated(&[&model.to_string_lossy(), "what is the capital?"]) {
            assert_eq!((&answer["stops"], &answer["eos_token"]), (&json!([2, 1]), &json!("<|end|>")));
            assert_ended_by_the_turn(&answer);
        }
    }
}

#[test]
fn the_card_of_an_adapter_names_the_ids_that_its_base_lacks() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let place = base(&folder.path().join("base"), true);
    let setting = format!("model.base={place}");
    let out = folder.path().join("run");
    let out_text = out.to_string_lossy();
    succeeds(root(), &arguments(&out_text, &["--set", &setting, "--set", "train.method=lora"]));
    let card = fs::read_to_string(out.join("model/README.md")).expect("a card");
    assert!(card.contains("`eos_token_id=[2, 1]`") && card.contains("`stop_token_ids=[2]`"), "{card}");
    let adapter = out.join("model").to_string_lossy().into_owned();
    if let Some(answer) = generated(&[&place, "what is the capital?", &adapter, "2", "1"]) {
        assert_ended_by_the_turn(&answer);
    }
    // A run from the adapter saves the merged base, which must stop as well.
    let second = folder.path().join("second");
    let second_text = second.to_string_lossy();
    let setting = format!("model.base={out_text}");
    succeeds(root(), &arguments(&second_text, &["--set", &setting, "--set", "train.method=lora"]));
    assert_stops_at_the_end_of_a_turn(&second.join("base"));
}
