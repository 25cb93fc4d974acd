//! Unsupported models and adapters are refused before any weight is read, by every command that opens one.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::refused;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A copy of a fixture under `tests/parity` with changes to one of its JSON files.
fn changed(name: &str, file: &str, changes: &[(&str, &str)]) -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("a temporary folder");
    for entry in fs::read_dir(root().join("tests/parity").join(name)).expect("the fixture is there").flatten() {
        fs::copy(entry.path(), place.path().join(entry.file_name())).expect("copied");
    }
    let path = place.path().join(file);
    let mut text = fs::read_to_string(&path).expect("readable");
    for (from, to) in changes {
        assert!(text.contains(from), "{from} is not in {file}");
        text = text.replace(from, to);
    }
    fs::write(path, text).expect("written");
    place
}

/// The errors of chat, exam and a training from that model.
fn refusals(model: &Path, base: &Path) -> [String; 3] {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let item = r#"{"id": "1", "exam": "nursing", "kind": "single", "question": "q", "options": {"A": "a", "B": "b"}, "answer": ["A"], "passages": []}"#;
    fs::write(folder.path().join("paper.jsonl"), item).expect("written");
    let (model, base) = (model.to_string_lossy(), base.to_string_lossy());
    let open = ["--model", &model, "--base", &base, "--device", "cpu"];
    let chat = refused(folder.path(), &[&["chat", "--prompt", "hello"][..], &open].concat());
    let exam = refused(folder.path(), &[&["exam", "--papers", "paper.jsonl"][..], &open].concat());
    let out = folder.path().join("run");
    let setting = format!("model.base=\"{model}\"");
    let out = out.to_string_lossy();
    let train =
        refused(root(), &["train", "--recipe", "quickstart.toml", "--device", "cpu", "--out", &out, "--set", &setting]);
    let plan = refused(root(), &["plan", "--recipe", "quickstart.toml", "--device", "cpu", "--set", &setting]);
    assert!(plan.contains(&train[train.find('/').unwrap_or(0)..][..20]), "plan and train differ: {plan} | {train}");
    [chat, exam, train]
}

#[test]
fn an_adapter_that_is_not_computed_is_refused_by_key_everywhere() {
    let base = root().join("tests/parity/fixtures/grouped");
    let named = format!("\"base_model_name_or_path\": \"{}\"", base.display());
    let own = ("\"base_model_name_or_path\": \"../../fixtures/grouped\"", named.as_str());
    for (change, key) in [
        (("\"init_lora_weights\": true", "\"init_lora_weights\": \"corda\""), "init_lora_weights"),
        (("\"alora_invocation_tokens\": null", "\"alora_invocation_tokens\": [3, 4]"), "alora_invocation_tokens"),
        (("\"use_bdlora\": null", "\"use_something_new\": true"), "use_something_new"),
    ] {
        let adapter = changed("adapters/plain", "adapter_config.json", &[own, change]);
        for told in refusals(adapter.path(), &base) {
            assert!(told.contains("adapter_config.json") && told.contains(key), "{key}: {told}");
        }
    }
}

#[test]
fn sizes_of_a_configuration_are_held_against_the_weights_before_anything_is_allocated() {
    for (from, to, told_by) in [
        ("\"hidden_size\": 48", "\"hidden_size\": 1000000", "misshapen"),
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 4000", "num_hidden_layers"),
        ("\"vocab_size\": 67", "\"vocab_size\": 99999999999999", "vocab_size"),
    ] {
        let model = changed("fixtures/grouped", "config.json", &[(from, to)]);
        let adapter: PathBuf = root().join("tests/parity/adapters/plain");
        for told in refusals(model.path(), model.path()) {
            assert!(told.contains(told_by), "{to}: {told}");
        }
        let chat = ["chat", "--prompt", "hello", "--device", "cpu", "--model"];
        let (adapter, base) = (adapter.to_string_lossy(), model.path().to_string_lossy());
        let told = refused(root(), &[&chat[..], &[&adapter, "--base", &base]].concat());
        assert!(told.contains(told_by), "{to} under an adapter: {told}");
    }
}

#[test]
fn plan_and_train_refuse_the_same_number_format() {
    let told = ["plan", "train"].map(|command| {
        refused(root(), &[command, "--recipe", "quickstart.toml", "--device", "cpu", "--set", "model.dtype=\"bf16\""])
    });
    assert!(told.iter().all(|told| told.contains("bf16 is supported on CUDA GPUs only")), "{told:?}");
}
