//! Imported recipes read what the other tools load: descriptions of real sets are imported and mixed, and the ledger's
//! records are counted beside those of `datasets`. `MEDLEY_TEST_DATA` names the folder of the sets, `MEDLEY_PEER_PYTHON`
//! a Python with `datasets` and `yaml`; without them these tests are skipped, loudly.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use medley_import::{ImportOptions, import};
use medley_mixer::{MixContext, mix};
use medley_mixture::Ledger;
use medley_recipe::parse;

/// Real sets, unpacked under the names that the descriptions use.
const SETS: [(&str, &str); 10] = [
    ("general/alpaca_zh_demo.json", "sets/alpaca.json"),
    ("general/hikariming_supplement_zh.jsonl.gz", "sets/supplement.jsonl"),
    ("medical-western/huatuo_llama_med.jsonl.gz", "sets/huatuo.jsonl"),
    ("medical-western/med_chatglm_train.jsonl.gz", "sets/context.jsonl"),
    ("medical-western/cmtmedqa_test_multiturn.json.gz", "sets/multiturn.json"),
    ("medical-western/medicalgpt_sharegpt_1k.jsonl", "sets/sharegpt.jsonl"),
    ("medical-western/medquad_en.jsonl.gz", "sets/medquad.jsonl"),
    ("medical-tcm/biancang_ChP_Prescription_test.jsonl.gz", "sets/chp/prescription.jsonl"),
    ("medical-tcm/biancang_ChP_Knowledge_QA_test.jsonl.gz", "sets/chp/knowledge.jsonl"),
    ("exams/cmexam_val.csv.gz", "sets/cmexam.csv"),
];

const DATASET_INFO: &str = r#"{
  "alpaca": {"file_name": "sets/alpaca.json"},
  "supplement": {"file_name": "sets/supplement.jsonl", "columns": {"prompt": "instruction", "query": "input", "response": "output", "history": "history"}},
  "context": {"file_name": "sets/context.jsonl", "columns": {"prompt": "context", "response": "target"}},
  "multiturn": {"file_name": "sets/multiturn.json", "columns": {"prompt": "instruction", "query": "input", "response": "output", "history": "history"}},
  "sharegpt": {"file_name": "sets/sharegpt.jsonl", "formatting": "sharegpt", "tags": {"role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt"}},
  "chp": {"file_name": "sets/chp", "columns": {"prompt": "query", "response": "response"}},
  "cmexam": {"file_name": "sets/cmexam.csv", "columns": {"prompt": "Question", "query": "Options", "response": "Answer"}}
}"#;

const AXOLOTL: &str = "datasets:
  - path: sets/huatuo.jsonl
    type: alpaca
  - path: sets/sharegpt.jsonl
    type: chat_template
    field_messages: conversations
    message_property_mappings: {role: from, content: value}
  - path: sets/medquad.jsonl
    type: {field_instruction: question, field_output: answer}
  - path: sets/cmexam.csv
    ds_type: csv
    type: {field_instruction: Question, field_input: Options, field_output: Answer}
  - path: sets/chp
    ds_type: json
    data_files: [sets/chp/knowledge.jsonl, sets/chp/prescription.jsonl]
    type: {field_instruction: query, field_output: response}
  - path: sets/multiturn.json
    type: alpaca
";

const TORCHTUNE: &str = "dataset:
  - _component_: torchtune.datasets.alpaca_dataset
    source: json
    data_files: sets/alpaca.json
    train_on_input: False
  - _component_: torchtune.datasets.instruct_dataset
    source: csv
    data_files: sets/cmexam.csv
    column_map: {input: Question, output: Explanation}
  - _component_: torchtune.datasets.instruct_dataset
    source: json
    data_files: [sets/chp/knowledge.jsonl, sets/chp/prescription.jsonl]
    column_map: {input: query, output: response}
  - _component_: torchtune.datasets.chat_dataset
    source: json
    data_files: sets/sharegpt.jsonl
    conversation_column: conversations
    conversation_style: sharegpt
";

/// A folder with the real sets; nothing where they are not here.
fn unpacked() -> Option<(tempfile::TempDir, PathBuf)> {
    let variables = ["MEDLEY_TEST_DATA", "MEDLEY_PEER_PYTHON"].map(std::env::var_os);
    let [Some(data), Some(python)] = variables.map(|path| path.map(PathBuf::from)) else {
        eprintln!(
            "SKIPPED: MEDLEY_TEST_DATA or MEDLEY_PEER_PYTHON is not set, so nothing was counted beside `datasets`"
        );
        return None;
    };
    let modules = Command::new(&python).args(["-c", "import datasets, yaml"]).output().expect("Python starts");
    if !modules.status.success() {
        eprintln!("SKIPPED: {} lacks `datasets` or `yaml`, so nothing was counted beside them", python.display());
        return None;
    }
    let folder = tempfile::tempdir().expect("temporary directory");
    for (from, to) in SETS {
        let bytes = fs::read(data.join(from)).expect("a real set");
        let mut text = Vec::new();
        if from.ends_with(".gz") {
            flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut text).expect("unpacks");
        } else {
            text = bytes;
        }
        let path = folder.path().join(to);
        fs::create_dir_all(path.parent().expect("has a parent")).expect("makes folders");
        fs::write(path, text).expect("writes");
    }
    Some((folder, python))
}

/// The ledger of the imported recipe.
fn ledger(folder: &Path, file: &str) -> Ledger {
    let options = ImportOptions { base: Some(folder), only: &[], recipe_folder: folder };
    let imported = import(&folder.join(file), &options).unwrap_or_else(|errors| panic!("{:?}", errors.problems()));
    let resolved = parse::<&str>("imported.toml", &imported.toml, Some(folder), &[])
        .unwrap_or_else(|errors| panic!("{:?}\n{}", errors.problems(), imported.toml));
    mix(&resolved.recipe.mix, &MixContext::new(folder))
        .unwrap_or_else(|error| panic!("{error}\n{}", imported.toml))
        .ledger
}

fn loaded(folder: &Path, python: &Path, file: &str) -> Vec<u64> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/load_with_datasets.py");
    let output = Command::new(python)
        .arg(script)
        .arg(file)
        .current_dir(folder)
        .envs([("HF_HOME", folder.join("cache").as_os_str()), ("HF_HUB_OFFLINE", "1".as_ref())])
        .env("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
        .output()
        .expect("Python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("a list of numbers")
}

#[test]
fn the_ledger_counts_what_the_tools_load() {
    let Some((folder, python)) = unpacked() else { return };
    for (file, text) in [("dataset_info.json", DATASET_INFO), ("axolotl.yml", AXOLOTL), ("torchtune.yaml", TORCHTUNE)] {
        fs::write(folder.path().join(file), text).expect("writes");
        let ledger = ledger(folder.path(), file);
        let read: Vec<u64> = ledger.sources.values().map(|source| source.read).collect();
        assert_eq!(read, loaded(folder.path(), &python, file), "{file}: {:?}", ledger.sources.keys());
        for (name, source) in &ledger.sources {
            let reasons: Vec<String> = source
                .rejected
                .iter()
                .map(|(reason, counted)| format!("{} {}", counted.count, reason.as_str()))
                .collect();
            eprintln!("{file}: {name}: {} read; rejected: {}", source.read, reasons.join(", "));
            assert!(source.rejected_in_all() * 4 <= source.read, "{name}: {reasons:?}");
        }
    }
}
