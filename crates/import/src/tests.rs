use std::fs;
use std::path::Path;

use insta::assert_snapshot;
use medley_recipe::RecipeErrors;
use miette::Diagnostic;

use super::{ImportOptions, Imported, import};

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
    # Imported from dataset_info.json (LLaMA-Factory): 5 sets.

    [model]
    # The file names no model: put yours here.
    base = "Qwen/Qwen1.5-0.5B"

    [mix]
    # All of every set, once, as the file takes them. For shares of your own, write `size` and `ratio` in place of
    #   `epochs`.
    epochs = { demo = 1, qa_zh = 1, chat = 1, pictures = 1, gone = 1 }

    # dataset_info.json:2
    [sources.demo]
    path = "demo.json"
    format = "alpaca"
    columns = { history = "", system = "" }

    # dataset_info.json:3
    # not needed: `ms_hub_url: other/qa` (dataset_info.json:4): `hf_hub_url` is used
    # assumed: `split: train[:100]` (dataset_info.json:4): `max_records` takes this number, but anywhere in the
    #   set and not its first rows
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

    # dataset_info.json:13
    # assumed: `path = "p.json"` (dataset_info.json:13): `p.json` is not there; --base says where relative paths
    #   start
    # not carried over: `images: images` (dataset_info.json:13): Medley trains on text: records with media are
    #   rejected and counted
    [sources.pictures]
    path = "p.json"
    columns = { system = "", messages = "messages" }

    # dataset_info.json:17
    # assumed: `path = "gone.json"` (dataset_info.json:17): `gone.json` is not there; --base says where relative
    #   paths start
    [sources.gone]
    path = "gone.json"
    format = "alpaca"
    columns = { instruction = "instruction", input = "input", output = "output", history = "history", system = "" }

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
    # assumed: `max_samples: 1000` (train.yaml:11): `max_records` takes this number, but anywhere in the set and
    #   not its first rows
    [sources.b]
    path = "sets/b.json"
    columns = { system = "", messages = "conversations" }
    supervise = "last"
    max_records = 1000

    # dataset_info.json:1
    # assumed: `max_samples: 1000` (train.yaml:11): `max_records` takes this number, but anywhere in the set and
    #   not its first rows
    [sources.a]
    path = "sets/a.json"
    format = "alpaca"
    columns = { history = "", system = "" }
    supervise = "last"
    max_records = 1000

    [train]
    method = "lora"
    learning_rate = 1e-4
    logging_steps = 10
    # LLaMA-Factory's defaults, where the file gives nothing:
    schedule = "linear"
    warmup_ratio = 0.0
    weight_decay = 0.0
    max_grad_norm = 1.0
    epochs = 3
    batch_size = 8

    [train.lora]
    # LLaMA-Factory's defaults, where the file gives nothing:
    rank = 8
    alpha = 16.0
    dropout = 0.0
    target = "all-linear"
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
    # assumed: `num_samples: 9000` (dataset_info.json:1): `max_records` takes this number, each once: where the
    #   set has fewer, none of them comes again
    # not carried over: `split: train[:50%]` (dataset_info.json:1): the whole set is drawn from; `max_records` or
    #   `mix.epochs` take less of it
    [sources.a]
    max_records = 9000
    # assumed: `split: train[:100]` (dataset_info.json:2): `max_records` takes this number, but anywhere in the
    #   set and not its first rows
    [sources.b]
    split = "train"
    max_records = 100
    # not needed: `subset: zh` (dataset_info.json:3): files have no configurations
    [sources.d]
    # assumed: `num_samples: 10` (dataset_info.json:3): `max_records` takes this number, each once: where the set
    #   has fewer, none of them comes again
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
    # assumed: `max_samples: 1000` (train.yaml:4): `max_records` takes this number, each once: where the set has
    #   fewer, none of them comes again
    [sources.a]
    max_records = 1000
    # assumed: `split: train[:100]` (dataset_info.json:2): `max_records` takes this number, but anywhere in the
    #   set and not its first rows
    # assumed: `max_samples: 1000` (train.yaml:4): `max_records` takes this number, but anywhere in the set and
    #   not its first rows
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
    # assumed: `max_samples: 1000` (train.yaml:4): `max_records` takes this number, each once: where the set has
    #   fewer, none of them comes again
    [sources.a]
    max_records = 1000
    # assumed: `split: train[:100]` (dataset_info.json:2): `max_records` takes this number, but anywhere in the
    #   set and not its first rows
    # assumed: `max_samples: 1000` (train.yaml:4): `max_records` takes this number, but anywhere in the set and
    #   not its first rows
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
    # assumed: `split: train[100:350]` (axolotl.yml:4): `max_records` takes this number, but anywhere in the set
    #   and not its first rows
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
    # assumed: `split: train[:500]` (axolotl.yml:29): `max_records` takes this number, but anywhere in the set and
    #   not its first rows
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

    [train]
    method = "lora"
    learning_rate = 2e-4
    # Axolotl's defaults, where the file gives nothing:
    schedule = "cosine"
    warmup_ratio = 0.03
    weight_decay = 0.0
    max_grad_norm = 1.0
    epochs = 1
    batch_size = 1

    [train.lora]
    # Axolotl's defaults, where the file gives nothing:
    rank = 8
    alpha = 8.0
    dropout = 0.0
    target = ["q_proj", "v_proj"]

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
    # not carried over: `data: files` (qwen.yaml:1): the nearest is `sources.NAME.path`: each pool of records is a
    #   table `[sources.NAME]` with a `path`
    # assumed: `train.batch_size = 2` (qwen.yaml:28): 2 per device x 1 accumulated, for one device: multiply it by
    #   the number of devices

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

    [train]
    batch_size = 2

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
    assert!(wrong("learning_rate: 1\n", &[]).contains("no description of data is recognised in "));
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
    assert!(wrong(shares, &[]).contains("2: `none/dataset_info.json` does not exist"));
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

/// The sections of an imported recipe that say how it trains, without comments.
fn trained(files: &[(&str, &str)]) -> String {
    let text = toml(files);
    let (mut shown, mut is_shown) = (String::new(), true);
    for line in text.lines().filter(|line| !line.starts_with('#') || line.contains("where the file gives nothing")) {
        if line.starts_with('[') {
            is_shown = line.starts_with("[model") || line.starts_with("[chat") || line.starts_with("[train");
        }
        if is_shown && !line.is_empty() {
            shown += &format!("{line}\n");
        }
    }
    shown
}

fn notes(files: &[(&str, &str)]) -> Vec<String> {
    let imported = imported(files, &[]).unwrap_or_else(|errors| panic!("{errors}: {:?}", errors.problems()));
    imported.notes.iter().map(ToString::to_string).collect()
}

fn assert_noted(notes: &[String], parts: &[&str]) {
    assert!(notes.iter().any(|note| parts.iter().all(|part| note.contains(part))), "{parts:?}: {notes:#?}");
}

const INFO: (&str, &str) = ("data/dataset_info.json", r#"{"a": {"file_name": "a.json"}}"#);

/// As in LLaMA-Factory's examples/train_lora.
const FACTORY_LORA: &str = "### model
model_name_or_path: Qwen/Qwen2.5-0.5B-Instruct
trust_remote_code: true
### method
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 16
lora_alpha: 32
lora_dropout: 0.1
lora_target: q_proj,v_proj
### dataset
dataset: a
template: qwen
cutoff_len: 2048
max_samples: 1000
overwrite_cache: true
preprocessing_num_workers: 16
dataloader_num_workers: 4
### output
output_dir: saves/qwen/lora/sft
logging_steps: 5
save_steps: 500
plot_loss: true
overwrite_output_dir: true
save_only_model: false
report_to: none
### train
per_device_train_batch_size: 2
gradient_accumulation_steps: 8
learning_rate: 1.0e-4
num_train_epochs: 3.0
lr_scheduler_type: cosine
warmup_ratio: 0.1
bf16: true
ddp_timeout: 180000000
resume_from_checkpoint: null
seed: 7
weight_decay: 0.01
max_grad_norm: 0.5
optim: adamw_torch
### eval
val_size: 0.1
per_device_eval_batch_size: 1
eval_strategy: steps
eval_steps: 250
";

#[test]
fn a_training_of_llama_factory_keeps_its_settings() {
    let files = [("train.yaml", FACTORY_LORA), INFO, ("data/a.json", "")];
    assert_snapshot!(trained(&files), @r#"
    [model]
    base = "Qwen/Qwen2.5-0.5B-Instruct"
    dtype = "bf16"
    [chat]
    max_tokens = 2048
    [train]
    method = "lora"
    optimizer = "adamw"
    learning_rate = 1e-4
    schedule = "cosine"
    warmup_ratio = 0.1
    weight_decay = 0.01
    max_grad_norm = 0.5
    epochs = 3
    batch_size = 16
    seed = 7
    logging_steps = 5
    eval_steps = 250
    save_steps = 500
    [train.lora]
    rank = 16
    alpha = 32.0
    dropout = 0.1
    target = ["q_proj", "v_proj"]
    "#);
    let notes = notes(&files);
    assert_noted(&notes, &["assumed: `train.batch_size = 16`", "2 per device x 8 accumulated", "devices"]);
    assert_noted(&notes, &["not needed: `output_dir: saves/qwen/lora/sft`", "medley train --out DIR"]);
    assert_noted(&notes, &["not needed: ", "`report_to", "TensorBoard"]);
    assert_noted(&notes, &["not carried over: `ddp_timeout: 180000000`", "one device"]);
    assert!(notes.iter().all(|note| !note.contains("not known to the importer")), "{notes:#?}");
}

#[test]
fn what_a_training_leaves_to_its_tool_is_written_out() {
    let training = "model_name_or_path: a/b\ndataset: a\ntemplate: qwen\nlearning_rate: 1e-4\nlora_rank: 32\n";
    let files = [("train.yaml", training), INFO, ("data/a.json", "")];
    assert_snapshot!(trained(&files), @r#"
    [model]
    base = "a/b"
    [train]
    method = "lora"
    learning_rate = 1e-4
    # LLaMA-Factory's defaults, where the file gives nothing:
    schedule = "linear"
    warmup_ratio = 0.0
    weight_decay = 0.0
    max_grad_norm = 1.0
    epochs = 3
    batch_size = 8
    [train.lora]
    rank = 32
    # LLaMA-Factory's defaults, where the file gives nothing:
    alpha = 64.0
    dropout = 0.0
    target = "all-linear"
    "#);
    assert_noted(&notes(&files), &["assumed: ", "`train.epochs = 3`", "LLaMA-Factory's defaults"]);
    // Full fine-tuning has no adapters.
    let full = training.replace("lora_rank: 32", "finetuning_type: full\nlora_rank: 32");
    let files = [("train.yaml", full.as_str()), INFO, ("data/a.json", "")];
    assert!(trained(&files).contains("method = \"full\"") && !trained(&files).contains("rank"), "{}", trained(&files));
    assert_noted(&notes(&files), &["not needed: `lora_rank: 32`"]);
    // A description of data alone has no training.
    assert!(!toml(&[("dataset_info.json", r#"{"a": {"file_name": "a.json"}}"#), ("a.json", "")]).contains("[train]"));
}

#[test]
fn a_configuration_of_axolotl_keeps_its_settings() {
    let config = "base_model: NousResearch/Llama-3.2-1B
load_in_4bit: true
adapter: qlora
lora_r: 32
lora_alpha: 16
lora_dropout: 0.05
lora_target_linear: true
datasets:
  - path: o/a
    type: alpaca
val_set_size: 0.1
output_dir: ./outputs/qlora-out
sequence_len: 2048
sample_packing: true
wandb_project:
gradient_accumulation_steps: 4
micro_batch_size: 2
num_epochs: 1
optimizer: paged_adamw_8bit
lr_scheduler: cosine
learning_rate: 0.0002
bf16: auto
tf32: false
gradient_checkpointing: true
logging_steps: 1
attn_implementation: flash_attention_2
warmup_steps: 10
evals_per_epoch: 4
saves_per_epoch: 1
weight_decay: 0.0
special_tokens:
  pad_token: <|end_of_text|>
loss_watchdog_threshold: 5.0
";
    assert_snapshot!(trained(&[("axolotl.yml", config)]), @r#"
    [model]
    base = "NousResearch/Llama-3.2-1B"
    dtype = "auto"
    [chat]
    max_tokens = 2048
    [train]
    method = "lora"
    optimizer = "adamw"
    learning_rate = 2e-4
    schedule = "cosine"
    warmup_steps = 10
    weight_decay = 0.0
    epochs = 1
    batch_size = 8
    logging_steps = 1
    # Axolotl's defaults, where the file gives nothing:
    max_grad_norm = 1.0
    [train.lora]
    rank = 32
    alpha = 16.0
    dropout = 0.05
    target = "all-linear"
    "#);
    let notes = notes(&[("axolotl.yml", config)]);
    assert_noted(&notes, &["not carried over: `adapter: qlora`", "the base is not quantised"]);
    assert_noted(&notes, &["assumed: `optimizer: paged_adamw_8bit`", "full precision"]);
    assert_noted(&notes, &["not carried over: `evals_per_epoch: 4`", "`train.eval_steps`"]);
    assert_noted(&notes, &["not carried over: `saves_per_epoch: 1`", "`train.save_steps`"]);
    assert_noted(&notes, &["not needed: `gradient_checkpointing: true`", "`train.block_policy`"]);
    assert_noted(&notes, &["not needed: `attn_implementation: flash_attention_2`"]);
    // Without an adapter every weight is trained, and LoRA's keys are left from another run.
    let full = config.replace("adapter: qlora", "adapter:").replace("load_in_4bit: true", "load_in_4bit: false");
    assert!(trained(&[("axolotl.yml", &full)]).contains("method = \"full\""), "{}", trained(&[("axolotl.yml", &full)]));
}

#[test]
fn a_configuration_of_torchtune_keeps_its_settings() {
    let config = "output_dir: /tmp/out
model:
  _component_: torchtune.models.qwen2.lora_qwen2_0_5b
  lora_attn_modules: ['q_proj', 'v_proj', 'output_proj']
  apply_lora_to_mlp: True
  lora_rank: 32
  lora_alpha: 64
  lora_dropout: 0.0
tokenizer:
  _component_: torchtune.models.qwen2.qwen2_tokenizer
  max_seq_len: null
checkpointer:
  _component_: torchtune.training.FullModelHFCheckpointer
  checkpoint_dir: /tmp/Qwen2-0.5B-Instruct
  output_dir: ${output_dir}
dataset:
  _component_: torchtune.datasets.alpaca_cleaned_dataset
  packed: False
seed: 11
shuffle: True
batch_size: 4
optimizer:
  _component_: torch.optim.AdamW
  fused: True
  betas: [0.9, 0.95]
  lr: 2e-3
lr_scheduler:
  _component_: torchtune.training.lr_schedulers.get_cosine_schedule_with_warmup
  num_warmup_steps: 100
loss:
  _component_: torchtune.modules.loss.CEWithChunkedOutputLoss
epochs: 1
max_steps_per_epoch: 200
gradient_accumulation_steps: 8
clip_grad_norm: null
compile: False
metric_logger:
  _component_: torchtune.training.metric_logging.DiskLogger
log_every_n_steps: 1
device: cuda
dtype: bf16
enable_activation_checkpointing: True
profiler:
  _component_: torchtune.training.setup_torch_profiler
  enabled: False
";
    assert_snapshot!(trained(&[("qwen.yaml", config)]), @r#"
    [model]
    base = "/tmp/Qwen2-0.5B-Instruct"
    dtype = "bf16"
    [train]
    method = "lora"
    optimizer = "adamw"
    learning_rate = 0.002
    schedule = "cosine"
    warmup_steps = 100
    beta1 = 0.9
    beta2 = 0.95
    epochs = 1
    max_steps = 200
    batch_size = 32
    seed = 11
    logging_steps = 1
    # torchtune's defaults, where the file gives nothing:
    weight_decay = 0.01
    max_grad_norm = 0.0
    [train.lora]
    rank = 32
    alpha = 64.0
    dropout = 0.0
    target = ["q_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    "#);
    let notes = notes(&[("qwen.yaml", config)]);
    assert_noted(&notes, &["not needed: `optimizer.fused`"]);
    assert_noted(&notes, &["assumed: ", "`train.weight_decay = 0.01`", "`train.max_grad_norm = 0.0`"]);
    assert!(notes.iter().all(|note| !note.contains("not known to the importer")), "{notes:#?}");
    let full = config.replace("lora_qwen2_0_5b", "qwen2_0_5b").replace("epochs: 1", "epochs: 2");
    let notes = self::notes(&[("qwen.yaml", &full)]);
    assert!(trained(&[("qwen.yaml", &full)]).contains("method = \"full\""));
    assert_noted(&notes, &["`max_steps_per_epoch: 200`", "`train.max_steps`"]);
}

#[test]
fn trainings_of_trl_and_unsloth_are_read() {
    let trl = "model_name_or_path: Qwen/Qwen2-0.5B
dataset_name: trl-lib/Capybara
learning_rate: 2.0e-4
num_train_epochs: 1
packing: true
per_device_train_batch_size: 2
gradient_accumulation_steps: 8
gradient_checkpointing: true
eos_token: '<|im_end|>'
eval_strategy: 'no'
use_peft: true
lora_r: 32
lora_alpha: 16
max_length: 512
run_name: runs/first
";
    assert_snapshot!(toml(&[("sft.yaml", trl)]), @r#"
    # Imported from sft.yaml (TRL): 1 set.
    # assumed: answers only (sft.yaml:1): TRL also learns the questions of a conversation without
    #   `assistant_only_loss: true`
    # not needed: `packing: true` (sft.yaml:5): samples are always packed and never attend across one another
    # assumed: `train.batch_size = 16` (sft.yaml:6): 2 per device x 8 accumulated, for one device: multiply it by
    #   the number of devices
    # not needed: `gradient_checkpointing: true` (sft.yaml:8): `train.block_policy`: "auto" recomputes where
    #   memory needs it, with the same result
    # not needed: `eos_token: <|im_end|>` (sft.yaml:9): the vocabulary is the base model's

    name = "runs-first"

    [model]
    base = "Qwen/Qwen2-0.5B"

    [chat]
    max_tokens = 512

    [mix]
    # All of every set, once, as the file takes them. For shares of your own, write `size` and `ratio` in place of
    #   `epochs`.
    epochs = { Capybara = 1 }

    # sft.yaml:1
    [sources.Capybara]
    path = "trl-lib/Capybara"
    split = "train"

    [train]
    method = "lora"
    learning_rate = 2e-4
    epochs = 1
    batch_size = 16
    eval_steps = 0
    # TRL's defaults, where the file gives nothing:
    schedule = "linear"
    warmup_ratio = 0.0
    weight_decay = 0.0
    max_grad_norm = 1.0

    [train.lora]
    rank = 32
    alpha = 16.0
    # TRL's defaults, where the file gives nothing:
    dropout = 0.05
    target = ["q_proj", "v_proj"]
    "#);
    let listed =
        "model_name_or_path: a/b\ndatasets:\n  - path: o/a\n    split: train\n  - path: o/b\n    fraction: 0.5\n";
    let text = toml(&[("sft.yaml", listed)]);
    assert!(text.contains("(TRL): 2 sets") && text.contains("epochs = { a = 1, b = 0.5 }"), "{text}");
    let unsloth = "model_name: unsloth/llama-3-8b\nmax_seq_length: 2048\nload_in_4bit: true\ndataset: yahma/alpaca-cleaned\n\
        r: 16\ntarget_modules: [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]\nlora_alpha: 16\n\
        lora_dropout: 0\nbias: none\nuse_gradient_checkpointing: unsloth\nrandom_state: 3407\nuse_rslora: false\n\
        per_device_train_batch_size: 2\ngradient_accumulation_steps: 4\nwarmup_steps: 5\nmax_steps: 400\n\
        learning_rate: 2e-6\noptim: adamw_8bit\nweight_decay: 0.01\nlr_scheduler_type: linear\nseed: 3407\n";
    assert_snapshot!(trained(&[("unsloth.yaml", unsloth)]), @r#"
    [model]
    base = "unsloth/llama-3-8b"
    [chat]
    max_tokens = 2048
    [train]
    method = "lora"
    optimizer = "adamw"
    learning_rate = 2e-6
    schedule = "linear"
    warmup_steps = 5
    weight_decay = 0.01
    max_steps = 400
    batch_size = 8
    seed = 3407
    # TRL's defaults, where the file gives nothing:
    max_grad_norm = 1.0
    epochs = 3
    [train.lora]
    rank = 16
    alpha = 16.0
    dropout = 0.0
    target = "all-linear"
    "#);
    let arguments =
        r#"{"output_dir": "out", "per_device_train_batch_size": 4, "learning_rate": 3e-5, "num_train_epochs": 2}"#;
    let text = toml(&[("training_args.json", arguments)]);
    assert!(text.contains("the file names no data") && text.contains("learning_rate = 3e-5"), "{text}");
    assert!(text.contains("[chat]\nmax_tokens = 1024"), "TRL's default length: {text}");
}

#[test]
fn settings_that_a_recipe_cannot_have_are_named_with_its_range() {
    let training = "model_name_or_path: a/b\ndataset: a\ntemplate: qwen\nlearning_rate: 5\nnum_train_epochs: 2.5\n\
        lr_scheduler_type: polynomial\noptim: adafactor\nlora_target: c_attn,q_proj\nlora_dropout: 1.0\n\
        per_device_train_batch_size: auto\nsave_steps: 0.1\neval_strategy: epoch\nfp16: true\nquantization_bit: 4\n\
        neftune_noise_alpha: 5\nfinetuning_type: freeze\nstage: dpo\nwarmup_steps: 0.25\nlearning_rat: 1\n";
    let files = [("train.yaml", training), INFO, ("data/a.json", "")];
    let notes = notes(&files);
    for parts in [
        &["`learning_rate: 5`", "`train.learning_rate` is 5.0; expected a number above 0 and at most 1"][..],
        &["`num_train_epochs: 2.5`", "whole number of passes"],
        &["`lr_scheduler_type: polynomial`", "\"cosine\", \"linear\" or \"constant\""],
        &["`optim: adafactor`", "\"adamw\" or \"muon\""],
        &["`c_attn` of `lora_target`", "all-linear"],
        &["`lora_dropout: 1`", "`train.lora.dropout` is 1.0"],
        &["`per_device_train_batch_size: auto`", "not a number"],
        &["`save_steps: 0.1`", "`train.save_steps` counts optimizer steps"],
        &["`eval_strategy: epoch`", "`train.eval_steps` counts optimizer steps"],
        &["`fp16: true`", "`model.dtype`"],
        &["`quantization_bit: 4`", "not quantised"],
        &["`neftune_noise_alpha: 5`", "no noise"],
        &["`finetuning_type: freeze`", "`train.method`"],
        &["`stage: dpo`", "not preferences"],
        &["`learning_rat: 1`", "not known to the importer"],
    ] {
        assert_noted(&notes, parts);
    }
    let text = trained(&files);
    assert!(text.contains("target = [\"q_proj\"]") && text.contains("warmup_ratio = 0.25"), "{text}");
}

#[test]
fn zero_epochs_and_parts_of_steps_are_named_and_no_limit_is_none() {
    let training = |settings: &str| {
        let training = format!("model_name_or_path: a/b\ndataset: a\ntemplate: qwen\n{settings}\n");
        let files = [("train.yaml", training.as_str()), INFO, ("data/a.json", "")];
        (notes(&files), trained(&files))
    };
    let (noted, _) = training("num_train_epochs: 0");
    assert_noted(&noted, &["not carried over: `num_train_epochs: 0`", "`train.epochs` is 0"]);
    let (noted, text) = training("learning_rate: 1e-4\nmax_steps: 2.5");
    assert_noted(&noted, &["not carried over: `max_steps: 2.5`", "whole number"]);
    assert!(!text.contains("max_steps"), "{text}");
    let (noted, text) = training("learning_rate: 1e-4\nmax_steps: -1");
    assert!(!text.contains("max_steps") && noted.iter().all(|note| !note.contains("max_steps")), "{noted:#?}");
    let (noted, _) = training("per_device_train_batch_size: 0");
    assert_noted(&noted, &["not carried over: `per_device_train_batch_size: 0`", "`train.batch_size` is 0"]);
    assert!(noted.iter().all(|note| !note.contains("`train.batch_size = 0`")), "{noted:#?}");
}

#[test]
fn transformers_constant_schedule_has_no_warm_up() {
    let training =
        "model_name_or_path: a/b\ndataset: a\ntemplate: qwen\nlr_scheduler_type: constant\nwarmup_ratio: 0.1\n";
    let text = trained(&[("train.yaml", training), INFO, ("data/a.json", "")]);
    assert!(text.contains("schedule = \"constant\"\nwarmup_ratio = 0.0"), "{text}");
    let with = training.replace("constant", "constant_with_warmup");
    let text = trained(&[("train.yaml", &with), INFO, ("data/a.json", "")]);
    assert!(text.contains("schedule = \"constant\"\nwarmup_ratio = 0.1"), "{text}");
}

#[test]
fn misspelt_keys_of_a_set_are_named_also_where_it_is_left_out() {
    let info = r#"{"typo": {"file_name": "a.json", "format": "sharegpt", "columns": {"message": "turns"}, "tags": {"role": "from"}},
  "kept": {"file_name": "a.json", "num_sample": 3, "columns": {"promt": "q", "prompt": "q", "response": "a"}}}"#;
    let notes = notes(&[("dataset_info.json", info), ("a.json", "")]);
    assert_noted(&notes, &["left out: the set `typo`"]);
    assert_noted(&notes, &["`format: sharegpt`", "did you mean `formatting`?"]);
    assert_noted(&notes, &["`message: turns`", "did you mean `messages`?"]);
    assert_noted(&notes, &["`role: from`", "did you mean `role_tag`?"]);
    assert_noted(&notes, &["`num_sample: 3`", "did you mean `num_samples`?"]);
    assert_noted(&notes, &["`promt: q`", "did you mean `prompt`?"]);
    let axolotl = "datasets:\n  - path: o/a\n    type: completion\n    data_file: a.json\n  - path: o/b\n    type: alpaca\n    splits: x\n";
    let notes = self::notes(&[("axolotl.yml", axolotl)]);
    assert_noted(&notes, &["`data_file: a.json`", "did you mean `data_files`?"]);
    assert_noted(&notes, &["`splits: x`", "did you mean `split`?"]);
}

#[test]
fn a_set_with_a_column_of_pictures_is_taken_and_the_reader_rejects_those_with_any() {
    let info = r#"{"chat": {"file_name": "a.json", "formatting": "sharegpt", "columns": {"messages": "messages", "images": "images"}},
  "qa": {"file_name": "a.json", "columns": {"prompt": "q", "response": "a", "videos": "videos"}},
  "hidden": {"file_name": "a.json", "columns": {"prompt": "q", "response": "a", "images": "picture_paths"}}}"#;
    let text = toml(&[("dataset_info.json", info), ("a.json", "")]);
    assert!(text.contains("[sources.chat]") && text.contains("[sources.qa]"), "{text}");
    assert!(text.contains("# left out: the set `hidden`") && text.contains("rename it to `images`"), "{text}");
}

#[test]
fn online_and_inline_descriptions_name_sets() {
    let online = "dataset: shibing624/medical, owner/b\ndataset_dir: ONLINE\ntemplate: qwen\n";
    let text = toml(&[("online.yaml", online)]);
    assert!(text.contains("path = \"shibing624/medical\"") && text.contains("path = \"owner/b\""), "{text}");
    assert!(text.contains("# online.yaml:1\n[sources.shibing624_medical]"), "{text}");
    let listed = "dataset: [owner/a, owner/a, plain]\ndataset_dir: ONLINE\ntemplate: qwen\n";
    let notes = notes(&[("online.yaml", listed)]);
    assert_noted(&notes, &["assumed: `owner/a` is named twice"]);
    assert_noted(&notes, &["left out: the set `plain`", "owner/name"]);
    let inline =
        "dataset: a\ndataset_dir: {a: {hf_hub_url: owner/a, columns: {prompt: q, response: r}}}\ntemplate: qwen\n";
    let text = toml(&[("inline.yaml", inline)]);
    assert!(text.contains("path = \"owner/a\"") && text.contains("instruction = \"q\""), "{text}");
    let remote = wrong("dataset: a\ndataset_dir: REMOTE:nonsense\ntemplate: qwen\n", &[]);
    assert!(remote.contains("2: `dataset_info.json` of the hub data set `nonsense` cannot be read"), "{remote}");
}
