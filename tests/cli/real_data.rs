//! End to end on real data: Alpaca, TCM and Western sets 9:1 with the Qwen tokenizer, a small model of random weights
//! trained, stopped, resumed, and examined with CMB questions whose explanations are the passages.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use crate::support::{run, succeeds, text};

const CONFIG: &str = r#"{
  "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 64, "intermediate_size": 128,
  "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 151936,
  "max_position_embeddings": 4096, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "tie_word_embeddings": true,
  "hidden_act": "silu", "bos_token_id": 151643, "eos_token_id": 151645
}"#;

fn recipe(data: &Path) -> String {
    let data = data.display();
    format!(
        r#"name = "real"
[model]
base = "init:init/config.json"
[chat]
max_tokens = 512
[mix]
size = 600
ratio = {{ general = 9, medical = 1 }}
validation = {{ fraction = 0.01, max_samples = 8 }}
[mix.medical]
ratio = {{ tcm = 1, western = 1 }}
[sources.general]
path = "{data}/general/alpaca_chinese_52k_v3.jsonl.gz"
columns = {{ instruction = "zh_instruction", input = "zh_input", output = "zh_output" }}
[[sources.tcm.path]]
path = "{data}/medical-tcm/biancang_ChP_*.jsonl.gz"
columns = {{ instruction = "query", output = "response" }}
[[sources.tcm.path]]
path = "{data}/medical-tcm/tcm_dataset_extracted.jsonl.gz"
columns = {{ instruction = "query", input = "choices", output = "answers" }}
[[sources.western.path]]
path = "{data}/medical-western/huatuo_llama_med.jsonl.gz"
[[sources.western.path]]
path = "{data}/medical-western/huatuo26m_test.json.gz"
[train]
learning_rate = 1e-3
batch_size = 8
tokens_per_micro_batch = 1024
max_steps = 6
logging_steps = 1
save_steps = 2
[exam]
papers = "paper.jsonl"
books = ["open", "closed"]
max_prompt_tokens = 1024
max_new_tokens = 4
"#
    )
}

fn unpack(from: &Path, to: &Path) {
    let packed = fs::File::open(from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    std::io::copy(&mut GzDecoder::new(packed), &mut fs::File::create(to).expect("writable")).expect("unpacked");
}

/// The first `count` lines of the real exam that fit the prompt's limit.
fn paper(from: &Path, to: &Path, count: usize) {
    let packed = fs::File::open(from).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    let mut paper = fs::File::create(to).expect("writable");
    let lines = BufReader::new(GzDecoder::new(packed)).lines().map(|line| line.expect("UTF-8"));
    for line in lines.filter(|line| line.len() < 4000).take(count) {
        writeln!(paper, "{line}").expect("written");
    }
}

fn data() -> Option<PathBuf> {
    let data = std::env::var_os("MEDLEY_TEST_DATA").map(PathBuf::from);
    if data.is_none() {
        eprintln!("SKIPPED real_data: MEDLEY_TEST_DATA does not name a folder of real data sets");
    }
    data
}

#[test]
fn from_real_records_to_an_exam_score() {
    let Some(data) = data() else { return };
    for method in ["lora", "full"] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let folder = folder.path();
        fs::create_dir(folder.join("init")).expect("made");
        unpack(&data.join("tokenizers/qwen1.5/tokenizer.json.gz"), &folder.join("init/tokenizer.json"));
        let config = data.join("tokenizers/qwen1.5/tokenizer_config.json");
        fs::copy(config, folder.join("init/tokenizer_config.json")).expect("copied");
        fs::write(folder.join("init/config.json"), CONFIG).expect("written");
        fs::write(folder.join("recipe.toml"), recipe(&data)).expect("written");
        paper(&data.join("exams/cmb_exam_labelled.jsonl.gz"), &folder.join("paper.jsonl"), 24);
        let method_setting = format!("train.method={method}");
        let train = |more: &[&str]| {
            let fixed = ["train", "--recipe", "recipe.toml", "--device", "cpu", "--set", &method_setting];
            let fixed = [&fixed[..], &["--set", "train.keep=all"]].concat();
            run(folder, &[&fixed, more].concat())
        };
        let whole = train(&["--out", "whole"]);
        assert!(whole.status.success(), "{}", text(&whole.stderr));
        let said = text(&whole.stderr);
        assert!(said.contains("540") && said.contains("24 items"), "{said}");
        check_mix(folder);
        check_exam(&folder.join("whole"));
        interrupt_and_resume(folder, &train);
        let weights = if method == "full" { "model.safetensors" } else { "adapter_model.safetensors" };
        let read = |run: &str| fs::read(folder.join(run).join("model").join(weights)).expect("weights");
        assert!(read("whole") == read("torn"), "{method}: the resumed run ended with other weights");
    }
}

fn check_mix(folder: &Path) {
    let ledger: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("whole/mix/ledger.json")).expect("a ledger")).expect("JSON");
    for (source, chosen) in [("general", 540), ("tcm", 30), ("western", 30)] {
        assert_eq!(ledger["sources"][source]["chosen"], chosen, "{source}");
        assert!(ledger["sources"][source]["tokens"]["supervised_tokens"].as_u64().is_some_and(|tokens| tokens > 0));
    }
}

/// The weights are random: the test checks that every item was asked, graded and given a reason.
fn check_exam(run: &Path) {
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(run.join("exam/report.json")).expect("a report")).expect("JSON");
    assert_eq!(report["items"], 24);
    for book in ["open", "closed"] {
        let answers = fs::read_to_string(run.join("exam").join(book).join("answers.jsonl")).expect("answers");
        assert!(answers.lines().count() >= 24, "{book}");
    }
    assert!(report["guess"]["average"]["value"].as_f64().is_some_and(|guess| guess > 0.0 && guess < 0.5), "{report:#}");
}

/// As if killed after step 4: only the checkpoints up to there are left.
fn interrupt_and_resume(folder: &Path, train: &dyn Fn(&[&str]) -> std::process::Output) {
    let torn = folder.join("torn");
    fs::create_dir_all(torn.join("steps")).expect("made");
    copy_folder(&folder.join("whole/steps/4"), &torn.join("steps/4"));
    fs::copy(folder.join("whole/metrics.jsonl"), torn.join("metrics.jsonl")).expect("copied");
    let state = fs::read_to_string(folder.join("whole/run.json")).expect("a state");
    let mut state: serde_json::Value = serde_json::from_str(&state).expect("JSON");
    (state["status"], state["trained"]) = ("training".into(), false.into());
    fs::write(torn.join("run.json"), state.to_string()).expect("written");
    let resumed = train(&["--out", "torn", "--resume"]);
    let said = text(&resumed.stderr);
    assert!(resumed.status.success() && said.contains("resumed from step 4"), "{said}");
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("readable").flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}

#[test]
fn a_ledger_for_machines() {
    let Some(data) = data() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    fs::write(folder.join("recipe.toml"), recipe(&data)).expect("written");
    let json =
        succeeds(folder, &["mix", "--recipe", "recipe.toml", "--set", "exam.papers=[]", "--out", "mixed", "--json"]);
    let ledger: serde_json::Value = serde_json::from_str(&json).expect("JSON on standard output");
    assert_eq!(ledger["chosen"], 600);
}
