use std::fs;
use std::path::Path;

use insta::assert_snapshot;
use miette::Diagnostic;

use super::{ImportOptions, Imported, import};
use crate::error::RecipeErrors;

/// Writes the files (empty ones where nothing is to be read) and imports the first.
fn imported(files: &[(&str, &str)], only: &[&str]) -> Result<Imported, RecipeErrors> {
    let folder = tempfile::tempdir().expect("temporary directory");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("has a parent")).expect("makes folders");
        fs::write(path, text).expect("writes");
    }
    let only: Vec<String> = only.iter().map(|name| (*name).to_owned()).collect();
    let options = ImportOptions { base: Some(folder.path()), only: &only, recipe_folder: folder.path() };
    import(&folder.path().join(files[0].0), &options)
}

fn toml(files: &[(&str, &str)]) -> String {
    imported(files, &[]).unwrap_or_else(|errors| panic!("{errors}: {:?}", errors.problems())).toml
}

fn wrong(text: &str, only: &[&str]) -> String {
    let errors = imported(&[("file.yml", text)], only).expect_err("must be refused");
    let problems = errors.problems().iter().map(|problem| {
        let line = problem.location().and_then(|place| place.rsplit(':').next().map(str::to_owned));
        format!("{}: {}", line.unwrap_or_default(), problem.message())
    });
    problems.collect::<Vec<_>>().join("\n")
}

/// Early files name every column of a text for pre-training, and know a file by its SHA-1.
#[test]
fn llama_factory_describes_texts_with_empty_names() {
    let info = r#"{"a": {"file_name": "a.json", "file_sha1": "96fa"},
  "wiki": {"file_name": "w.txt", "columns": {"prompt": "text", "query": "", "response": "", "history": ""}}}"#;
    let text = toml(&[("dataset_info.json", info), ("a.json", ""), ("w.txt", "")]);
    assert!(text.contains("# left out: the set `wiki`") && !text.contains("[sources.wiki]"), "{text}");
    assert!(text.contains("# not needed: `file_sha1: 96fa`"), "{text}");
}

#[test]
fn llama_factory_describes_sets() {
    let info = r#"{
  "demo": { "file_name": "demo.json" },
  "qa.zh": {
    "hf_hub_url": "owner/qa", "ms_hub_url": "other/qa", "subset": "zh", "split": "train[:100]", "folder": "v2",
    "columns": { "prompt": "question", "response": "answer", "tools": "tools" }
  },
  "chat": {
    "file_name": "chat.jsonl", "formatting": "sharegpt",
    "columns": { "messages": "dialog", "system": "persona" },
    "tags": { "role_tag": "speaker", "content_tag": "text", "user_tag": "患者", "assistant_tag": "gpt", "function_tag": "call" },
    "colour": "red"
  },
  "pictures": { "file_name": "p.json", "formatting": "sharegpt", "columns": { "messages": "messages", "images": "images" } },
  "ranked": { "hf_hub_url": "owner/dpo", "ranking": true, "columns": { "prompt": "q", "chosen": "c", "rejected": "r" } },
  "plain": { "file_name": "c4.jsonl", "columns": { "prompt": "text" } },
  "code": { "script_url": "loader" },
  "gone": { "file_name": "gone.json", "columns": { "prompt": "instruction", "query": "input", "response": "output", "history": "history" } }
}"#;
    assert_snapshot!(toml(&[("dataset_info.json", info), ("demo.json", ""), ("chat.jsonl", "")]), @r#"
    # Imported from dataset_info.json (LLaMA-Factory): 4 sets.

    [model]
    # The file names no model: put yours here.
    base = "Qwen/Qwen1.5-0.5B"

    [mix]
    # All of every set, once, as the file takes them. For shares of your own, write `size` and `ratio` in place of
    #   `epochs`.
    epochs = { demo = 1, qa_zh = 1, chat = 1, gone = 1 }

    # dataset_info.json:2
    [sources.demo]
    path = "demo.json"
    format = "alpaca"
    columns = { history = "", system = "" }

    # dataset_info.json:3
    # not needed: `ms_hub_url: other/qa` (dataset_info.json:4): `hf_hub_url` is used
    # assumed: `split: train[:100]` (dataset_info.json:4): `max_records` takes so many, but anywhere in the set
    #   and not its first rows
    # not carried over: `tools: tools` (dataset_info.json:5): tool definitions are not part of a prompt;
    #   conversations with tool turns are rejected and counted
    [sources.qa_zh]
    path = "owner/qa"
    format = "alpaca"
    columns = { instruction = "question", input = "", output = "answer", history = "", system = "" }
    files = "v2/*"
    config = "zh"
    split = "train"
    max_records = 100

    # dataset_info.json:7
    # not carried over: `function_tag: call` (dataset_info.json:10): function calls are not trained on: their
    #   conversations are rejected and counted
    # not carried over: `colour: red` (dataset_info.json:11): this option is not known to the importer
    [sources.chat]
    path = "chat.jsonl"
    columns = { system = "persona", messages = "dialog", role = "speaker", content = "text", roles = { user = ["患者"] } }

    # dataset_info.json:17
    # assumed: `path = "gone.json"` (dataset_info.json:17): `gone.json` is not there; --base says where relative
    #   paths start
    [sources.gone]
    path = "gone.json"
    format = "alpaca"
    columns = { instruction = "instruction", input = "input", output = "output", history = "history", system = "" }

    # left out: the set `pictures` (dataset_info.json:13): it has pictures, films or sounds; Medley trains on text
    # left out: the set `ranked` (dataset_info.json:14): it ranks answers, for preference training; to learn the
    #   chosen answers alone, write it as a source with `columns = { output = "chosen" }`
    # left out: the set `plain` (dataset_info.json:15): it has questions or texts without answers; Medley
    #   fine-tunes on answers
    # left out: the set `code` (dataset_info.json:16): its loading script is code, which Medley does not run: name
    #   its files with `path`
    "#);
}

#[test]
fn a_training_of_llama_factory_takes_its_sets_with_their_shares() {
    let training = "model_name_or_path: Qwen/Qwen2-7B\nstage: sft\ndataset: b, a\ndataset_dir: sets\ntemplate: qwen\n\
        cutoff_len: 4096\nmix_strategy: interleave_under\ninterleave_probs: 0.9,0.1\nmask_history: true\nval_size: 0.05\n\
        max_samples: 1000\nlearning_rate: 1.0e-4\nlogging_steps: 10\n";
    let info = r#"{"a": {"file_name": "a.json"}, "b": {"file_name": "b.json", "formatting": "sharegpt"}, "c": {"file_name": "c.json"}}"#;
    let files = [("train.yaml", training), ("sets/dataset_info.json", info), ("sets/a.json", ""), ("sets/b.json", "")];
    assert_snapshot!(toml(&files), @r#"
    # Imported from train.yaml (LLaMA-Factory): 2 sets.
    # not carried over: `stage`, `learning_rate`, `logging_steps` (train.yaml:2): not about data; `[model]`,
    #   `[train]` and `[exam]` are yours to write
    # not needed: `template: qwen` (train.yaml:5): the model's own chat template is used
    # not carried over: `mix_strategy: interleave_under` (train.yaml:7): shares are exact: `mix.ratio`, `mix.size`
    #   and `mix.on_shortage` say how much of what

    [model]
    base = "Qwen/Qwen2-7B"

    [chat]
    max_tokens = 4096

    [mix]
    # The file's shares. The size is yours to say; where a set has too few, the mix is smaller.
    size = 10000
    on_shortage = "shrink"
    ratio = { b = 9, a = 1 }
    validation = { fraction = 0.05 }

    # dataset_info.json:1
    # assumed: `max_samples: 1000` (train.yaml:11): `max_records` takes so many, but anywhere in the set and not
    #   its first rows
    [sources.b]
    path = "sets/b.json"
    columns = { system = "", messages = "conversations" }
    supervise = "last"
    max_records = 1000

    # dataset_info.json:1
    # assumed: `max_samples: 1000` (train.yaml:11): `max_records` takes so many, but anywhere in the set and not
    #   its first rows
    [sources.a]
    path = "sets/a.json"
    format = "alpaca"
    columns = { history = "", system = "" }
    supervise = "last"
    max_records = 1000
    "#);
    let counted =
        r#"{"a": {"file_name": "a.json", "num_samples": 9000}, "b": {"hf_hub_url": "o/b", "num_samples": 1000}}"#;
    let text = toml(&[("dataset_info.json", counted), ("a.json", "")]);
    assert!(text.contains("size = 10000\non_shortage = \"repeat\"\nratio = { a = 9, b = 1 }"), "{text}");
}

/// The part of an imported recipe that says how much of what is taken, and how often.
fn amounts(files: &[(&str, &str)]) -> String {
    let text = toml(files);
    let is_about = |line: &&str| {
        let keys = [
            "size",
            "epochs",
            "ratio",
            "on_shortage",
            "max_records",
            "config",
            "split",
            "[sources",
            "# assumed",
            "# not",
        ];
        keys.iter().any(|key| line.starts_with(key)) || line.starts_with("#   ")
    };
    text.lines().filter(is_about).map(|line| format!("{line}\n")).collect()
}

#[test]
fn llama_factory_says_how_much_is_taken() {
    let info = r#"{"a": {"file_name": "a.json", "num_samples": 9000, "split": "train[:50%]"},
  "b": {"hf_hub_url": "o/b", "split": "train[:100]"}, "c": {"file_name": "c.json", "num_samples": 0, "subset": "zh"},
  "d": {"file_name": "a.json", "subset": "zh", "split": "train"}, "e": {"hf_hub_url": "o/e", "num_samples": 10}}"#;
    assert_snapshot!(amounts(&[("dataset_info.json", info), ("a.json", "")]), @r#"
    #   `epochs`.
    epochs = { a = 1, b = 1, d = 1, e = 1 }
    # assumed: `num_samples: 9000` (dataset_info.json:1): `max_records` takes so many, each once: where the set
    #   has fewer, none of them comes again
    # not carried over: `split: train[:50%]` (dataset_info.json:1): the whole set is drawn from; `max_records` or
    #   `mix.epochs` take less of it
    [sources.a]
    max_records = 9000
    # assumed: `split: train[:100]` (dataset_info.json:2): `max_records` takes so many, but anywhere in the set
    #   and not its first rows
    [sources.b]
    split = "train"
    max_records = 100
    # not needed: `subset: zh` (dataset_info.json:3): files have no configurations
    [sources.d]
    # assumed: `num_samples: 10` (dataset_info.json:3): `max_records` takes so many, each once: where the set has
    #   fewer, none of them comes again
    [sources.e]
    split = "train"
    max_records = 10
    "#);
    let training = "dataset: a, b\ndataset_dir: .\ntemplate: x\nmax_samples: 1000\nmix_strategy: concat\n";
    let of = |training: &str| amounts(&[("train.yaml", training), ("dataset_info.json", info), ("a.json", "")]);
    assert_snapshot!(of(training), @r#"
    # not needed: `template: x` (train.yaml:3): the model's own chat template is used
    # not needed: `mix_strategy: concat` (train.yaml:5): all of every set is taken where nothing else is said
    #   `epochs`.
    epochs = { a = 1, b = 1 }
    # not carried over: `split: train[:50%]` (dataset_info.json:1): the whole set is drawn from; `max_records` or
    #   `mix.epochs` take less of it
    # assumed: `max_samples: 1000` (train.yaml:4): `max_records` takes so many, each once: where the set has
    #   fewer, none of them comes again
    [sources.a]
    max_records = 1000
    # assumed: `split: train[:100]` (dataset_info.json:2): `max_records` takes so many, but anywhere in the set
    #   and not its first rows
    # assumed: `max_samples: 1000` (train.yaml:4): `max_records` takes so many, but anywhere in the set and not
    #   its first rows
    [sources.b]
    split = "train"
    max_records = 100
    "#);
    assert_snapshot!(of(&training.replace("a, b", "a, e")), @r#"
    # not needed: `template: x` (train.yaml:3): the model's own chat template is used
    # not needed: `mix_strategy: concat` (train.yaml:5): all of every set is taken where nothing else is said
    size = 1010
    on_shortage = "repeat"
    ratio = { a = 100, e = 1 }
    # not carried over: `split: train[:50%]` (dataset_info.json:1): the whole set is drawn from; `max_records` or
    #   `mix.epochs` take less of it
    [sources.a]
    [sources.e]
    split = "train"
    "#);
    assert_snapshot!(of(&training.replace("a, b", "a, e").replace("max_samples: 1000", "streaming: true")), @r#"
    # not needed: `template: x` (train.yaml:3): the model's own chat template is used
    # not needed: `streaming: true` (train.yaml:4): every source is streamed
    # not needed: `mix_strategy: concat` (train.yaml:5): all of every set is taken where nothing else is said
    #   `epochs`.
    epochs = { a = 0.5, e = 1 }
    # not needed: `num_samples: 9000` (dataset_info.json:1): LLaMA-Factory passes over it where `streaming` is
    #   true
    # assumed: `split: train[:50%]` (dataset_info.json:1): `mix.epochs` takes such a part, but anywhere in the set
    #   and not these rows
    [sources.a]
    # not needed: `num_samples: 10` (dataset_info.json:3): LLaMA-Factory passes over it where `streaming` is true
    [sources.e]
    split = "train"
    "#);
    let shares = training.replace("concat", "interleave_under\ninterleave_probs: 0.75,0.25");
    assert_snapshot!(of(&shares), @r#"
    # not needed: `template: x` (train.yaml:3): the model's own chat template is used
    # not carried over: `mix_strategy: interleave_under` (train.yaml:5): shares are exact: `mix.ratio`, `mix.size`
    #   and `mix.on_shortage` say how much of what
    size = 10000
    on_shortage = "shrink"
    ratio = { a = 3, b = 1 }
    # not carried over: `split: train[:50%]` (dataset_info.json:1): the whole set is drawn from; `max_records` or
    #   `mix.epochs` take less of it
    # assumed: `max_samples: 1000` (train.yaml:4): `max_records` takes so many, each once: where the set has
    #   fewer, none of them comes again
    [sources.a]
    max_records = 1000
    # assumed: `split: train[:100]` (dataset_info.json:2): `max_records` takes so many, but anywhere in the set
    #   and not its first rows
    # assumed: `max_samples: 1000` (train.yaml:4): `max_records` takes so many, but anywhere in the set and not
    #   its first rows
    [sources.b]
    split = "train"
    max_records = 100
    "#);
    let refused = |text: &str| {
        let files = [("train.yaml", text), ("dataset_info.json", info)];
        let errors = imported(&files, &["f"]).expect_err("must be refused");
        errors.problems()[0].message().to_owned()
    };
    assert_eq!(refused("dataset: a\ndataset_dir: .\nstage: sft\n"), "no set is called `f`: `dataset` names `a`");
    assert!(
        wrong(r#"{"a": {"file_name": "x", "num_samples": -1}}"#, &[]).contains("`num_samples` is -1; expected a whole")
    );
}

#[test]
fn axolotl_and_torchtune_say_how_much_is_taken() {
    let axolotl = "datasets:
  - {path: o/a, type: alpaca, shards: 4, shards_idx: 1}
  - {path: o/b, type: alpaca, split: 'train[:10%]'}
  - {path: o/c, type: alpaca, split: 'train[100:350]', shards: 2}
  - {path: o/d, type: alpaca, split: 'train[:10%]+test'}
  - {path: folder, type: alpaca, split: validation, name: zh}
  - {path: folder/e.json, type: alpaca, split: 'train[5%:]'}
";
    assert_snapshot!(amounts(&[("axolotl.yml", axolotl), ("folder/e.json", "")]), @r#"
    #   `epochs`.
    epochs = { a = 0.25, b = 0.1, c = 1, d = 1, folder = 1, e = 0.95 }
    # not needed: `shards_idx: 1` (axolotl.yml:2): the part that `shards` takes is drawn by hashes
    [sources.a]
    split = "train"
    # assumed: `split: train[:10%]` (axolotl.yml:3): `mix.epochs` takes such a part, but anywhere in the set and
    #   not these rows
    [sources.b]
    split = "train"
    # assumed: `split: train[100:350]` (axolotl.yml:4): `max_records` takes so many, but anywhere in the set and
    #   not its first rows
    # not carried over: `shards: 2` (axolotl.yml:4): the whole set is drawn from; `max_records` or `mix.epochs`
    #   take less of it
    [sources.c]
    split = "train"
    max_records = 250
    # not carried over: `split: train[:10%]+test` (axolotl.yml:5): the whole set is drawn from; `max_records` or
    #   `mix.epochs` take less of it
    split = "train"
    split = "test"
    [sources.folder]
    config = "zh"
    split = "validation"
    # assumed: `split: train[5%:]` (axolotl.yml:7): `mix.epochs` takes such a part, but anywhere in the set and
    #   not these rows
    [sources.e]
    "#);
    let torchtune = "dataset:
  - {_component_: torchtune.datasets.alpaca_cleaned_dataset, train_on_input: false, split: 'train[:5%]'}
  - {_component_: torchtune.datasets.alpaca_dataset, train_on_input: false, source: json, data_files: e.json, split: 'train[:-7]'}
  - {_component_: torchtune.datasets.alpaca_dataset, train_on_input: false, source: folder, split: test}
";
    assert_snapshot!(amounts(&[("torchtune.yaml", torchtune), ("e.json", ""), ("folder/e.json", "")]), @r#"
    #   `epochs`.
    epochs = { alpaca-cleaned = 0.05, e = 1, folder = 1 }
    # assumed: `split: train[:5%]` (torchtune.yaml:2): `mix.epochs` takes such a part, but anywhere in the set and
    #   not these rows
    [sources.alpaca-cleaned]
    split = "train"
    # not carried over: `split: train[:-7]` (torchtune.yaml:3): the whole set is drawn from; `max_records` or
    #   `mix.epochs` take less of it
    [sources.e]
    [sources.folder]
    split = "test"
    "#);
}

#[test]
fn axolotl_lists_sets() {
    let config = "base_model: NousResearch/Llama-3.2-1B
sequence_len: 2048
sample_packing: true
val_set_size: 0.1
chat_template: chatml
datasets:
  - path: owner/chat
    name: [zh, en]
    revision: v1
    type: chat_template
    field_messages: conversations
    message_property_mappings:
      role: from
      content: text
      weight: weight
    roles:
      assistant: [gpt, doctor]
      tool: [ipython]
    roles_to_train: [assistant]
    train_on_eos: all
  - path: data
    data_files: [a.jsonl, b.jsonl]
    ds_type: json
    type:
      field_instruction: q
      field_output: a
      system_prompt: You are a doctor.
      format: '[INST] {instruction} [/INST]'
    split: train[:500]
    shards: 10
  - path: json
    data_files: data/a.jsonl
    type: alpaca:phi
  - path: last
    type: chat_template
    roles_to_train:
    train_on_eos:
  - path: owner/text
    type: completion
  - path: s3://bucket/a.jsonl
    type: alpaca
learning_rate: 0.0002
adapter: lora
";
    let files = [("axolotl.yml", config), ("data/a.jsonl", ""), ("data/b.jsonl", ""), ("last/x.jsonl", "")];
    assert_snapshot!(toml(&files), @r#"
    # Imported from axolotl.yml (Axolotl): 4 sets.
    # not needed: `sample_packing: true` (axolotl.yml:3): samples are always packed and never attend across one
    #   another
    # not needed: `chat_template: chatml` (axolotl.yml:5): the model's own chat template renders the turns
    # not carried over: `learning_rate`, `adapter` (axolotl.yml:42): not about data; `[model]`, `[train]` and
    #   `[exam]` are yours to write

    [model]
    base = "NousResearch/Llama-3.2-1B"

    [chat]
    max_tokens = 2048

    [mix]
    # All of every set, once, as the file takes them. For shares of your own, write `size` and `ratio` in place of
    #   `epochs`.
    epochs = { chat = 1, data = 1, a = 1, last = 1 }
    validation = { fraction = 0.1 }

    # axolotl.yml:7
    # not carried over: `weight: weight` (axolotl.yml:15): this option is not known to the importer
    # not carried over: `tool` (axolotl.yml:18): tool definitions are not part of a prompt; conversations with
    #   tool turns are rejected and counted
    # not carried over: `train_on_eos: all` (axolotl.yml:20): the token that ends a learned answer is learned, no
    #   other
    [[sources.chat.path]]
    path = "owner/chat"
    columns = { messages = "conversations", content = "text", roles = { assistant = ["doctor"] } }
    config = "zh"
    split = "train"
    revision = "v1"
    [[sources.chat.path]]
    path = "owner/chat"
    columns = { messages = "conversations", content = "text", roles = { assistant = ["doctor"] } }
    config = "en"
    split = "train"
    revision = "v1"

    # axolotl.yml:21
    # not carried over: the system message "You are a doctor." (axolotl.yml:21): `[chat] system` holds for every
    #   source; put this one into the records of the set
    # not needed: `ds_type: json` (axolotl.yml:23): files are recognised by their content
    # not carried over: `format: [INST] {instruction} [/INST]` (axolotl.yml:28): the model's own chat template
    #   renders the turns
    # assumed: `split: train[:500]` (axolotl.yml:29): `max_records` takes so many, but anywhere in the set and not
    #   its first rows
    # not carried over: `shards: 10` (axolotl.yml:30): the whole set is drawn from; `max_records` or `mix.epochs`
    #   take less of it
    [sources.data]
    max_records = 500
    [[sources.data.path]]
    path = "data/a.jsonl"
    format = "alpaca"
    columns = { instruction = "q", output = "a", history = "" }
    [[sources.data.path]]
    path = "data/b.jsonl"
    format = "alpaca"
    columns = { instruction = "q", output = "a", history = "" }

    # axolotl.yml:31
    # not needed: `type: alpaca:phi` (axolotl.yml:33): the model's own chat template renders the turns
    [sources.a]
    path = "data/a.jsonl"
    format = "alpaca"
    columns = { instruction = "instruction", output = "output", history = "", system = "" }

    # axolotl.yml:34
    [sources.last]
    path = "last"
    columns = { messages = "messages" }
    supervise = "last"
    split = "train"

    # left out: the set `owner/text` (axolotl.yml:38): it is plain text without answers; Medley fine-tunes on
    #   answers
    # left out: the set `s3://bucket/a.jsonl` (axolotl.yml:40): it lies at an address that Medley does not read:
    #   fetch it and name its files with `path`
    "#);
}

#[test]
fn torchtune_names_components() {
    let config = "data: files
tokenizer:
  _component_: torchtune.models.qwen2.qwen2_tokenizer
  max_seq_len: 1024
dataset:
  - _component_: torchtune.datasets.instruct_dataset
    source: csv
    data_files: ${data}/qa.csv
    column_map: {input: question, output: answer}
    new_system_prompt: Answer.
    split: train
    packed: False
  - _component_: torchtune.datasets.chat_dataset
    source: owner/chat
    conversation_column: turns
    conversation_style: sharegpt
    new_system_prompt: Answer.
    split: train[:5%]+validation
    packed: True
    data_dir: v1
  - _component_: torchtune.datasets.alpaca_cleaned_dataset
    new_system_prompt: Answer.
  - _component_: torchtune.datasets.text_completion_dataset
    source: owner/text
seed: null
checkpointer:
  checkpoint_dir: /tmp/Qwen2-0.5B
batch_size: 2
";
    assert_snapshot!(toml(&[("qwen.yaml", config), ("files/qa.csv", "")]), @r#"
    # Imported from qwen.yaml (torchtune): 3 sets.
    # not carried over: `data`, `batch_size` (qwen.yaml:1): not about data; `[model]`, `[train]` and `[exam]` are
    #   yours to write

    [model]
    base = "/tmp/Qwen2-0.5B"

    [chat]
    max_tokens = 1024
    system = "Answer."

    [mix]
    # All of every set, once, as the file takes them. For shares of your own, write `size` and `ratio` in place of
    #   `epochs`.
    epochs = { qa = 1, chat = 1, alpaca-cleaned = 1 }

    # qwen.yaml:6
    [sources.qa]
    path = "files/qa.csv"
    format = "alpaca"
    columns = { instruction = "question", input = "", output = "answer", history = "", system = "" }

    # qwen.yaml:13
    # not carried over: `split: train[:5%]+validation` (qwen.yaml:18): the whole set is drawn from; `max_records`
    #   or `mix.epochs` take less of it
    # not needed: `packed: true` (qwen.yaml:19): samples are always packed and never attend across one another
    [[sources.chat.path]]
    path = "owner/chat"
    columns = { system = "", messages = "turns" }
    files = "v1/*"
    split = "train"
    [[sources.chat.path]]
    path = "owner/chat"
    columns = { system = "", messages = "turns" }
    files = "v1/*"
    split = "validation"

    # qwen.yaml:21
    # assumed: answers only (qwen.yaml:21): torchtune also learns the prompt here (`train_on_input` is true by
    #   default); only answers are learned
    [sources.alpaca-cleaned]
    path = "yahma/alpaca-cleaned"
    format = "alpaca"
    columns = { instruction = "instruction", output = "output", history = "", system = "" }
    split = "train"

    # left out: the set `owner/text` (qwen.yaml:23): it is plain text without answers; Medley fine-tunes on
    #   answers
    "#);
    let one = "dataset:\n  _component_: torchtune.datasets.ConcatDataset\n  datasets:\n    - {_component_: torchtune.datasets.alpaca_dataset, train_on_input: true}\n";
    let imported = imported(&[("one.yaml", one)], &["alpaca"]).expect("good");
    assert!(imported.toml.contains("path = \"tatsu-lab/alpaca\"") && imported.sources == 1, "{}", imported.toml);
    assert!(imported.notes.iter().any(|note| note.what == "`train_on_input: true`"), "{:?}", imported.notes);
}

#[test]
fn what_is_wrong_is_said_with_its_line() {
    assert!(wrong("a: [1, 2\nb: 3\n", &[]).contains("neither JSON nor YAML"));
    assert!(wrong("learning_rate: 1\n", &[]).contains("no description of data is recognised here"));
    let info = "{\"a\": {\"file_name\": \"x.json\",\n\"formatting\": \"chatml\"},\n\"b\": {\"file_name\": 3, \"columns\": []},\n\"c\": {\"split\": \"train\"},\n\"d\": {\"file_name\": \"d\", \"formatting\": \"sharegpt\", \"columns\": {}}}";
    let errors = wrong(info, &[]);
    for expected in [
        "2: `formatting` is `chatml`; expected alpaca, sharegpt or openai",
        "3: `columns` is a list; expected a table",
        "4: `c` does not say where it is",
        "5: `columns` names no `messages`",
    ] {
        assert!(errors.contains(expected), "{expected}: {errors}");
    }
    let named = "{\"alpaca\": {\"file_name\": \"x.json\"}}";
    assert!(wrong(named, &["alpacca"]).contains("no set is called `alpacca`; did you mean `alpaca`?"));
    assert!(wrong("{\"a\": {\"file_name\": \"x\"}, \"a\": {}}", &[]).contains("`a` stands here twice"));
    let axolotl = "datasets:\n  - path: o/n\n    type: chat_template\n    roles: [1]\n  - type: alpaca\n";
    assert!(
        wrong(axolotl, &[]).contains("4: `roles` is a list")
            && wrong(axolotl, &[]).contains("5: `datasets[1]` has no `path`")
    );
    let nothing = wrong("datasets:\n  - path: owner/text\n    type: completion\n", &[]);
    assert!(nothing.contains("has no set that Medley can train on"), "{nothing}");
    let chat =
        "dataset:\n  _component_: torchtune.datasets.chat_dataset\n  source: o/n\n  conversation_style: chatml\n";
    let errors = wrong(chat, &[]);
    assert!(
        errors.contains("4: `conversation_style` is `chatml`") && errors.contains("no `conversation_column`"),
        "{errors}"
    );
    let shares = "dataset: a\ndataset_dir: none\ntemplate: x\n";
    assert!(wrong(shares, &[]).contains("2: `none/dataset_info.json` is not there"));
}

#[test]
fn a_file_that_is_not_there_is_an_error() {
    let options = ImportOptions { base: None, only: &[], recipe_folder: Path::new(".") };
    let errors = import(Path::new("nowhere/dataset_info.json"), &options).expect_err("not there");
    assert!(errors.problems()[0].message().contains("nowhere/dataset_info.json cannot be read"));
}

#[test]
fn control_characters_are_no_part_of_a_comment() {
    let info = "{\"a\": {\"file_name\": \"a.json\", \"colour\": \"red\\u0001\", \"si\\u007fze\": 1}}";
    let toml = toml(&[("dataset_info.json", info), ("a.json", "")]);
    assert!(toml.contains("`colour: red\u{fffd}`") && toml.contains("`si\u{fffd}ze: 1`"), "{toml}");
}

#[test]
fn a_set_that_is_not_described_is_told_beside_those_that_are() {
    let training = "dataset: zzz\ndataset_dir: .\ntemplate: qwen\n";
    for (info, expected) in [
        ("", "the file describes no set"),
        ("{\"a\": {\"file_name\": \"a.json\"}, \"b\": {}}", "the file describes `a`, `b`"),
    ] {
        let errors = imported(&[("train.yml", training), ("dataset_info.json", info)], &[]).expect_err("not there");
        let problem = &errors.problems()[0];
        assert_eq!(problem.message(), "no set is called `zzz`");
        let label = problem.labels().and_then(|mut labels| labels.next()?.label().map(str::to_owned));
        assert_eq!(label.as_deref(), Some(expected));
    }
}
