//! `medley recipe import` and the mix of what it wrote, as a user runs them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{refused, run, succeeds, text};

/// A folder with small sets in the usual formats of the three tools.
fn sets() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(folder.path().join("sets")).expect("made");
    let answers = |count: u32| -> Vec<Value> {
        (0..count).map(|at| json!({ "question": format!("何为{at}？"), "answer": format!("{at}是数。") })).collect()
    };
    let conversation = |at: u32| {
        let turn = |from: &str, value: String| json!({ "from": from, "value": value });
        json!({ "conversations": [turn("human", format!("你好{at}")), turn("gpt", format!("好{at}。"))] })
    };
    let lines = |records: Vec<Value>| records.iter().map(|record| format!("{record}\n")).collect::<String>();
    write(folder.path(), "sets/qa.json", &Value::from(answers(9)).to_string());
    write(folder.path(), "sets/chat.jsonl", &lines((0..4).map(conversation).collect()));
    let alpaca = |at: u32| json!({ "instruction": format!("写{at}"), "input": "", "output": format!("{at}。") });
    write(folder.path(), "sets/alpaca.jsonl", &lines((0..6).map(alpaca).collect()));
    write(folder.path(), "sets/table.csv", "question,answer\n一加一？,二\n二加二？,四\n三加三？,六\n");
    folder
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("has a parent")).expect("made");
    fs::write(path, text).expect("written");
}

/// Imports `file` as `recipe.toml`; the notes, which must name all of `options`.
fn imported(folder: &Path, file: &str, options: &[&str]) -> String {
    let output = run(folder, &["recipe", "import", file, "--out", "recipe.toml"]);
    let said = text(&output.stderr);
    assert!(output.status.success(), "failed: {said}");
    assert!(output.stdout.is_empty(), "standard output is for a recipe without --out");
    for option in options {
        assert!(said.contains(option), "no «{option}» in: {said}");
    }
    said
}

/// Mixes `recipe.toml`; the number of samples of each source, equal in ledger and mix.
fn mixed(folder: &Path) -> Vec<(String, u64)> {
    succeeds(folder, &["mix", "--recipe", "recipe.toml", "--out", "mixed", "--set", "mix.validation.fraction=0.0"]);
    let ledger = fs::read_to_string(folder.join("mixed/ledger.json")).expect("a ledger");
    let ledger: Value = serde_json::from_str(&ledger).expect("JSON");
    let sources = ledger["sources"].as_object().expect("sources");
    let chosen = sources.iter().map(|(name, source)| (name.clone(), source["chosen"].as_u64().expect("a count")));
    let chosen: Vec<(String, u64)> = chosen.collect();
    let mix = fs::read_to_string(folder.join("mixed/mix.jsonl")).expect("a mix");
    assert_eq!(mix.lines().count() as u64, chosen.iter().map(|(_, count)| count).sum::<u64>());
    chosen
}

fn counts(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[test]
fn llama_factory_is_imported_and_mixed() {
    let folder = sets();
    let folder = folder.path();
    let info = r#"{
  "qa": {"file_name": "qa.json", "num_samples": 6, "columns": {"prompt": "question", "response": "answer", "tools": "tools"}},
  "chat": {"file_name": "chat.jsonl", "num_samples": 6, "formatting": "sharegpt", "colour": "red"},
  "pictures": {"file_name": "qa.json", "columns": {"prompt": "question", "response": "answer", "images": "picture_paths"}}
}"#;
    write(folder, "sets/dataset_info.json", info);
    let said = imported(
        folder,
        "sets/dataset_info.json",
        &[
            "not carried over: `tools: tools` (`qa`, dataset_info.json:2): tool definitions are not part of a prompt",
            "not carried over: `colour: red` (`chat`, dataset_info.json:3): this option is not known to the importer",
            "left out: the set `pictures`",
            "wrote 2 sources of LLaMA-Factory to recipe.toml",
        ],
    );
    assert!(!said.contains("num_samples"), "carried over: {said}");
    // Of `chat` there are four, so two come twice.
    assert_eq!(mixed(folder), counts(&[("qa", 6), ("chat", 6)]));
    let message = refused(folder, &["recipe", "import", "sets/dataset_info.json", "--out", "recipe.toml"]);
    assert!(message.contains("recipe.toml already exists") && message.contains("--force overwrites it"), "{message}");
    succeeds(
        folder,
        &["recipe", "import", "sets/dataset_info.json", "--only", "qa", "--out", "recipe.toml", "--force"],
    );
    assert_eq!(mixed(folder), counts(&[("qa", 6)]));
}

#[test]
fn a_training_of_llama_factory_is_imported_and_mixed() {
    let folder = sets();
    let folder = folder.path();
    let info = r#"{"qa": {"file_name": "qa.json", "columns": {"prompt": "question", "response": "answer"}},
  "chat": {"file_name": "chat.jsonl", "formatting": "sharegpt"}, "alpaca": {"file_name": "alpaca.jsonl"}}"#;
    write(folder, "sets/dataset_info.json", info);
    let training = "stage: sft\ndataset: chat, alpaca\ndataset_dir: sets\ntemplate: qwen\ncutoff_len: 1024\npacking: true\n\
                    train_on_prompt: true\nlearning_rate: 1.0e-4\n";
    write(folder, "train.yaml", training);
    let noted = [
        "not needed: `template: qwen` (train.yaml:4)",
        "not needed: `packing: true` (train.yaml:6)",
        "not carried over: `train_on_prompt: true` (train.yaml:7): only answers are learned",
        "assumed: `train.epochs = 3`, `train.schedule = \"linear\"`",
    ];
    imported(folder, "train.yaml", &noted);
    assert_eq!(mixed(folder), counts(&[("chat", 4), ("alpaca", 6)]));
}

#[test]
fn as_much_is_mixed_as_the_tools_take() {
    let folder = sets();
    let folder = folder.path();
    // Of `chat` there are four: LLaMA-Factory takes all of them and some again.
    let info = r#"{"qa": {"file_name": "qa.json", "num_samples": 2, "columns": {"prompt": "question", "response": "answer"}},
  "chat": {"file_name": "chat.jsonl", "num_samples": 7, "formatting": "sharegpt"}, "alpaca": {"file_name": "alpaca.jsonl"}}"#;
    write(folder, "sets/dataset_info.json", info);
    let training = |names: &str| format!("dataset: {names}\ndataset_dir: sets\ntemplate: qwen\nmax_samples: 5\n");
    write(folder, "all.yaml", &training("qa, chat, alpaca"));
    write(folder, "numbered.yaml", &training("qa, chat"));
    let axolotl = "datasets:
  - {path: sets/alpaca.jsonl, type: alpaca, shards: 3, shards_idx: 1}
  - {path: sets/table.csv, type: {field_instruction: question, field_output: answer}, split: 'train[:2]'}
";
    write(folder, "axolotl.yml", axolotl);
    let torchtune = "dataset: {_component_: torchtune.datasets.alpaca_dataset, train_on_input: false, source: json, \
                     data_files: sets/alpaca.jsonl, split: 'train[50%:]'}\n";
    write(folder, "torchtune.yaml", torchtune);
    let first = "`max_records` takes this number, but anywhere in the set and not its first rows";
    for (file, said, expected) in [
        ("all.yaml", "where the set has fewer, none of them comes again", &[("qa", 2), ("chat", 4), ("alpaca", 5)][..]),
        ("numbered.yaml", "wrote 2 sources", &[("qa", 2), ("chat", 5)]),
        ("axolotl.yml", first, &[("alpaca", 2), ("table", 2)]),
        ("torchtune.yaml", "`mix.epochs` takes such a part", &[("alpaca", 3)]),
    ] {
        imported(folder, file, &[said]);
        assert_eq!(mixed(folder), counts(expected), "{file}");
        fs::remove_file(folder.join("recipe.toml")).expect("removed");
    }
}

#[test]
fn axolotl_is_imported_and_mixed() {
    let folder = sets();
    let folder = folder.path();
    let config = "base_model: NousResearch/Llama-3.2-1B
datasets:
  - path: sets/alpaca.jsonl
    type: alpaca
    field_tools: tools
  - path: sets/chat.jsonl
    type: chat_template
    field_messages: conversations
    message_property_mappings: {role: from, content: value}
  - path: sets/table.csv
    ds_type: csv
    type: {field_instruction: question, field_output: answer}
  - path: owner/text
    type: completion
sample_packing: true
adapter: lora
";
    write(folder, "axolotl.yml", config);
    let noted = [
        "not carried over: `field_tools: tools` (`alpaca`, axolotl.yml:5)",
        "not needed: `ds_type: csv` (`table`, axolotl.yml:11): files are recognised by their content",
        "left out: the set `owner/text`",
        "not needed: `sample_packing: true` (axolotl.yml:15)",
        "assumed: `train.epochs = 1`",
    ];
    imported(folder, "axolotl.yml", &noted);
    assert_eq!(mixed(folder), counts(&[("alpaca", 6), ("chat", 4), ("table", 3)]));
}

#[test]
fn torchtune_is_imported_and_mixed() {
    let folder = sets();
    let folder = folder.path();
    let config = "dataset:
  - _component_: torchtune.datasets.instruct_dataset
    source: json
    data_files: sets/qa.json
    column_map: {input: question, output: answer}
    packed: true
  - _component_: torchtune.datasets.chat_dataset
    source: json
    data_files: sets/chat.jsonl
    conversation_column: conversations
    conversation_style: sharegpt
    filter_fn: mine.only_long
  - _component_: mine.dataset
    source: json
    data_files: sets/alpaca.jsonl
batch_size: 4
";
    write(folder, "torchtune.yaml", config);
    let noted = [
        "not needed: `packed: true` (`qa`, torchtune.yaml:6)",
        "not carried over: `filter_fn: mine.only_long` (`chat`, torchtune.yaml:12): Medley runs no code of a data set",
        "left out: the set `sets/alpaca.jsonl`",
        "assumed: `train.batch_size = 4` (torchtune.yaml:16): 4 per device x 1 accumulated",
    ];
    imported(folder, "torchtune.yaml", &noted);
    assert_eq!(mixed(folder), counts(&[("qa", 9), ("chat", 4)]));
}

#[test]
fn a_broken_file_is_refused_with_its_place_and_nothing_is_left() {
    let folder = sets();
    let folder = folder.path();
    for (name, broken, place, caret) in [
        ("broken.json", "{\"a\": {\"file_name\": \"x.json\",\n  \"columns\": {\"prompt\" \"q\"}}}", "2:24", "\"q\"}}}"),
        ("broken.yaml", "datasets:\n  - path: [a\n    type: alpaca\n", "3:9", "type: alpaca"),
        ("wrong.json", "{\"a\": {\"file_name\": \"x.json\",\n  \"formatting\": \"chatml\"}}", "2:17", "\"chatml\""),
    ] {
        write(folder, name, broken);
        let message = refused(folder, &["recipe", "import", name, "--out", "new/recipe.toml"]);
        let place = format!("[{name}:{place}]");
        assert!(
            message.contains(&place) && message.contains(caret) && message.contains(['▲', '┬']),
            "{place}: {message}"
        );
        assert!(!folder.join("new").exists(), "a folder was left behind");
    }
    let message = refused(folder, &["recipe", "import", "nowhere.json", "--out", "new/recipe.toml"]);
    assert!(message.contains("nowhere.json cannot be read"), "{message}");
}

/// Training settings arrive in the resolved recipe.
#[test]
fn the_settings_of_a_training_are_imported() {
    let folder = sets();
    let folder = folder.path();
    write(folder, "data/dataset_info.json", r#"{"alpaca": {"file_name": "../sets/alpaca.jsonl"}}"#);
    let training = "model_name_or_path: Qwen/Qwen2-0.5B\ndataset: alpaca\ntemplate: qwen\ncutoff_len: 512\nlora_rank: 4\n\
                    learning_rate: 3e-5\nper_device_train_batch_size: 2\ngradient_accumulation_steps: 3\nwarmup_steps: 7\n\
                    flash_attn: fa2\nreport_to: wandb\n";
    write(folder, "train.yaml", training);
    let noted = [
        "assumed: `train.batch_size = 6` (train.yaml:7): 2 per device x 3 accumulated",
        "not needed: `flash_attn: fa2` (train.yaml:10)",
        "not needed: `report_to: wandb` (train.yaml:11)",
    ];
    imported(folder, "train.yaml", &noted);
    let shown = succeeds(folder, &["recipe", "show", "recipe.toml"]);
    for setting in
        ["max_tokens = 512", "rank = 4", "alpha = 8.0", "learning_rate = 3e-5", "batch_size = 6", "warmup_steps = 7"]
    {
        assert!(shown.contains(setting), "{setting}: {shown}");
    }
}

/// A file of another tool in place of a recipe: one error, and the command that makes a recipe of it.
#[test]
fn a_file_of_another_tool_is_no_recipe_and_says_what_to_run() {
    let folder = sets();
    let folder = folder.path();
    write(folder, "train.yaml", "base_model: a/b\ndatasets:\n  - {path: sets/alpaca.jsonl, type: alpaca}\n");
    for command in [&["train"][..], &["mix", "--out", "mixed"], &["plan"], &["preview"]] {
        let message = refused(folder, &[command, &["--recipe", "train.yaml"]].concat());
        assert!(message.contains("it is a file of Axolotl"), "{message}");
        assert!(message.contains("medley recipe import train.yaml --out train.toml"), "{message}");
        assert_eq!(message.matches("is not a recipe").count(), 1, "one error: {message}");
    }
}

#[test]
fn recipes_of_the_working_directory_are_listed_by_the_names_that_find_them() {
    let folder = sets();
    let folder = folder.path();
    let recipe = "description = \"Mine.\"\n[model]\nbase = \"a/b\"\n[mix]\nsize = 1\n[sources.a]\npath = \"sets/alpaca.jsonl\"\n";
    write(folder, "here.toml", recipe);
    write(folder, "recipes/mine.toml", recipe);
    write(folder, "recipes/quickstart.toml", recipe);
    write(folder, "broken.toml", "[model]\nbass = 1\n");
    write(folder, "Cargo.toml", "[package]\nname = \"x\"\n");
    let listed = succeeds(folder, &["recipe", "list"]);
    for line in [
        "here.toml",
        "recipes/mine.toml",
        "recipes/quickstart.toml",
        "shipped:quickstart.toml",
        "broken.toml",
        "ratio_9_1.toml",
    ] {
        assert!(listed.lines().any(|listed| listed.starts_with(line)), "{line}: {listed}");
    }
    assert!(!listed.contains("Cargo.toml"), "{listed}");
    let names =
        listed.lines().filter(|line| !line.ends_with(':')).map(|line| line.split(' ').next().unwrap_or_default());
    for name in names.filter(|name| *name != "broken.toml") {
        succeeds(folder, &["recipe", "show", name]);
    }
}
