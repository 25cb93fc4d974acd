//! `medley mix` over real Chinese Alpaca, TCM and Western sets, as an engineer runs it. `MEDLEY_TEST_DATA` names their
//! folder; without it the test is skipped, loudly. What the mixer promises beyond this is tested in its own crate.

#![cfg(unix)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;

const RECIPE: &str = r#"
name = "real-9-1"

[model]
base = "init:none.json"

[mix]
size = 2000
seed = 42
ratio = { general = 9, medical = 1 }
[mix.medical]
ratio = { tcm = 1, western = 1 }

[sources.general]
path = "general/alpaca_chinese_52k_v3.jsonl.gz"
columns = { instruction = "zh_instruction", input = "zh_input", output = "zh_output" }
licence = "CC BY-NC 4.0"
commercial_use = false

[sources.tcm]
path = [
    { path = "medical-tcm/biancang_ChP_*.jsonl.gz", columns = { instruction = "query", output = "response" } },
    { path = "medical-tcm/tcm_dataset_extracted.jsonl.gz", columns = { instruction = "query", output = "answers" } },
]

[sources.western]
path = ["medical-western/huatuo_llama_med.jsonl.gz", "medical-western/huatuo26m_test.json.gz"]

[exam]
papers = "exam.jsonl"
"#;

const ITEM: &str = r#"{"id": "1", "exam": "pharmacist", "kind": "single", "question": "1. 大蒜的性状有哪些（ ）", "options": {"A": "甲", "B": "乙"}, "answer": ["A"], "passages": []}"#;

fn data() -> Option<PathBuf> {
    let data = std::env::var_os("MEDLEY_TEST_DATA").map(PathBuf::from);
    if data.is_none() {
        eprintln!("SKIPPED: MEDLEY_TEST_DATA is not set, so `medley mix` was not run on real data");
    }
    data
}

/// A recipe beside links to the data, and an exam that asks one of the TCM questions.
fn kitchen(data: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for set in ["general", "medical-tcm", "medical-western"] {
        std::os::unix::fs::symlink(data.join(set), folder.path().join(set)).expect("a link");
    }
    fs::write(folder.path().join("recipe.toml"), RECIPE).expect("written");
    fs::write(folder.path().join("exam.jsonl"), ITEM).expect("written");
    fs::write(folder.path().join("none.json"), "{}").expect("written");
    folder
}

fn medley(folder: &Path, arguments: &[&str]) -> std::process::Output {
    let mut command = Command::cargo_bin("medley").expect("the binary");
    command.current_dir(folder).args(["mix", "--recipe", "recipe.toml"]).args(arguments);
    let output = command.output().expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    output
}

fn records(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("mix.jsonl")).expect("mix.jsonl");
    text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
}

fn keys(records: &[Value]) -> BTreeSet<&str> {
    records.iter().map(|record| record["key"].as_str().expect("a key")).collect()
}

#[test]
fn real_sets_nine_to_one() {
    let Some(data) = data() else { return };
    let kitchen = kitchen(&data);
    let folder = kitchen.path();
    let output = medley(folder, &["--out", "one", "--threads", "1"]);
    let (table, notes) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    eprintln!("{table}");
    assert!(table.contains("medical/tcm") && table.contains("90.00 %"), "{table}");
    assert!(table.contains("tcm: 1 exam item (medical-tcm/biancang_ChP_Knowledge_QA_test.jsonl.gz:"), "{table}");
    assert!(notes.contains("is not for commercial use (CC BY-NC 4.0)"), "{notes}");

    let first = records(&folder.join("one"));
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for record in &first {
        *counts.entry(record["source"].as_str().expect("a source")).or_default() += 1;
    }
    assert_eq!(counts, BTreeMap::from([("general", 1800), ("tcm", 100), ("western", 100)]));

    for threads in ["2", "4"] {
        medley(folder, &["--out", threads, "--threads", threads]);
        for file in ["mix.jsonl", "validation.jsonl", "manifest.json", "ledger.json"] {
            let read = |out: &str| fs::read(folder.join(out).join(file)).expect("written");
            assert!(read(threads) == read("one"), "{file} differs with {threads} threads");
        }
    }

    let output = medley(folder, &["--out", "half", "--set", "mix.size=1000", "--json"]);
    let ledger: Value = serde_json::from_slice(&output.stdout).expect("the ledger as JSON and nothing else");
    assert_eq!(ledger["sources"]["general"]["chosen"], 900);
    let half = records(&folder.join("half"));
    assert!(half.len() == 1000 && keys(&half).is_subset(&keys(&first)));
}

#[test]
fn a_mix_that_cannot_be_made_leaves_nothing() {
    let Some(data) = data() else { return };
    let kitchen = kitchen(&data);
    let mut command = Command::cargo_bin("medley").expect("the binary");
    let arguments = ["mix", "--recipe", "recipe.toml", "--out", "out", "--set", "mix.size=600000"];
    let output = command.current_dir(kitchen.path()).args(arguments).output().expect("it runs");
    let errors = String::from_utf8_lossy(&output.stderr).replace('\n', " ");
    assert!(!output.status.success());
    for expected in ["pool `general`", "pool `tcm`", "pool `western`", "on_shortage"] {
        assert!(errors.contains(expected), "{errors}");
    }
    assert!(output.stdout.is_empty());
    assert!(!kitchen.path().join("out").exists());
}
