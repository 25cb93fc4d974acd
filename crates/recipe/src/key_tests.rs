//! Keys of other trainers, exact ratios, values out of range, and messages about texts of any length.

use std::fs;

use miette::NarratableReportHandler;

use crate::tests::{read, render};
use crate::{load, parse};

const SMALL: &str = "[model]\nbase = \"some/model\"\n[mix]\nsize = 100\nratio = { general = 9, tcm = 1 }\n\
    [sources.general]\npath = \"g.jsonl\"\n[sources.tcm]\npath = \"t.jsonl\"\n[train]\nepochs = 1\n[exam]\nprompt = \"zh\"\n";

/// The only problem as the terminal shows it.
fn only_problem(text: &str, sets: &[&str]) -> String {
    let errors = read(text, sets).expect_err("the recipe has an error");
    assert_eq!(errors.problems().len(), 1, "{}", render(&errors));
    render(&errors)
}

#[test]
fn keys_of_other_trainers_are_answered_by_meaning() {
    for (key, answer) in [
        ("train.lr", "this is `train.learning_rate`"),
        ("train.lora_rank", "this is `train.lora.rank`"),
        ("train.lora_r", "this is `train.lora.rank`"),
        ("train.lora.r", "this is `train.lora.rank`"),
        ("train.lora_alpha", "this is `train.lora.alpha`"),
        ("train.lora_target", "this is `train.lora.target`"),
        ("train.lora.target_modules", "this is `train.lora.target`"),
        ("train.num_train_epochs", "this is `train.epochs`"),
        ("train.gradient_accumulation_steps", "see `train.batch_size`"),
        ("train.per_device_train_batch_size", "see `train.batch_size`"),
        ("train.micro_batch_size", "see `train.batch_size`"),
        ("train.cutoff_len", "this is `chat.max_tokens`"),
        ("chat.max_seq_length", "this is `chat.max_tokens`"),
        ("sequence_len", "this is `chat.max_tokens`"),
        ("train.packing", "not needed"),
        ("train.report_to", "not needed"),
        ("train.num_warmup_steps", "this is `train.warmup_steps`"),
        ("train.val_size", "see `mix.validation`"),
        ("train.bf16", "see `model.dtype`"),
        ("model.fp16", "see `model.dtype`"),
        ("train.flash_attn", "not needed"),
        ("train.lr_scheduler_type", "this is `train.schedule`"),
        ("train.optim", "this is `train.optimizer`"),
        ("train.gradient_checkpointing", "see `train.block_policy`"),
        ("train.quantization_bit", "not supported"),
        ("train.deepspeed", "not supported"),
        ("train.output_dir", "not needed"),
        ("train.random_state", "this is `train.seed`"),
        ("train.clip_grad_norm", "this is `train.max_grad_norm`"),
        ("model.model_name_or_path", "this is `model.base`"),
        ("base_model", "this is `model.base`"),
        ("dataset", "see `sources.NAME.path`"),
        ("train.use_dora", "not supported"),
        ("mix.interleave_probs", "see `mix.ratio`"),
        ("learning_rate", "`learning_rate` belongs in [train]"),
        ("train.rank", "`rank` belongs in [train.lora]"),
        ("train.max_tokens", "`max_tokens` belongs in [chat]"),
        ("train.lerning_rate", "did you mean `learning_rate`?"),
        ("TRAIN.lr", "did you mean `train`?"),
    ] {
        // With --set and in the file the answer is the same.
        let set = only_problem(SMALL, &[&format!("{key}=1")]);
        assert!(set.contains(answer), "{key}: {set}");
        let (section, inner) = key.split_once('.').unwrap_or(("", key));
        let header = format!("[{section}]\n");
        let file = if SMALL.contains(&header) {
            SMALL.replace(&header, &format!("{header}{inner} = 1\n"))
        } else {
            format!("{key} = 1\n{SMALL}")
        };
        let file = only_problem(&file, &[]);
        assert!(file.contains(answer), "{key}: {file}");
    }
    let packing = only_problem(SMALL, &["train.packing=true"]);
    assert!(packing.contains("help: samples are always packed"), "{packing}");
}

#[test]
fn values_of_other_trainers_are_answered_by_meaning() {
    for (set, answer) in [
        ("train.optimizer=adamw_torch", "`adamw`"),
        ("train.method=qlora", "`lora`"),
        ("train.schedule=constant_with_warmup", "`constant`"),
        ("model.dtype=bfloat16", "`bf16`"),
    ] {
        let shown = only_problem(SMALL, &[set]);
        assert!(shown.contains(&format!("did you mean {answer}?")), "{shown}");
    }
}

fn ratio(text: &str, sets: &[&str]) -> String {
    let recipe = read(text, sets).unwrap_or_else(|errors| panic!("{}", render(&errors))).recipe;
    let toml = recipe.to_toml();
    let again = parse("again.toml", &toml, None, &[] as &[&str]).expect("what is written can be read").recipe;
    assert_eq!(again, recipe);
    toml.lines().find_map(|line| line.strip_prefix("ratio = ")).expect("a ratio").to_owned()
}

#[test]
fn decimal_ratios_are_whole_numbers_of_a_common_denominator() {
    for (written, whole) in [
        ("{ general = 9, tcm = 0.5 }", "{ general = 18, tcm = 1 }"),
        ("{ general = 0.9, tcm = 0.1 }", "{ general = 9, tcm = 1 }"),
        ("{ general = 33.3, tcm = 66.7 }", "{ general = 333, tcm = 667 }"),
        ("{ general = 9.0, tcm = 1 }", "{ general = 9, tcm = 1 }"),
        ("{ general = 90, tcm = 10 }", "{ general = 90, tcm = 10 }"),
        ("{ general = 1e-3, tcm = 0.002 }", "{ general = 1, tcm = 2 }"),
    ] {
        assert_eq!(ratio(&SMALL.replace("{ general = 9, tcm = 1 }", written), &[]), whole);
    }
    assert_eq!(ratio(SMALL, &["mix.ratio.tcm=0.5"]), "{ general = 18, tcm = 1 }");
    assert_eq!(ratio(SMALL, &["mix.ratio={general=0.25,tcm=0.75}"]), "{ general = 1, tcm = 3 }");
    let groups = SMALL.replace("tcm = 1 }", "medical = 0.5 }\n[mix.medical]\nratio = { tcm = 0.1 }");
    assert!(read(&groups, &[]).is_ok());
}

#[test]
fn a_ratio_beyond_64_bits_is_refused() {
    for weights in [
        "general = 1, tcm = 1e-25",
        "general = 1.00000000000000000001, tcm = 3",
        "general = 9223372036854775807, tcm = 0.5",
        "general = 9000000000000000000, tcm = 9000000000000000001",
    ] {
        let shown = only_problem(&SMALL.replace("general = 9, tcm = 1", weights), &[]);
        assert!(shown.contains("the common denominator of the ratio of [mix] exceeds 64 bits"), "{shown}");
    }
    for (weight, range) in
        [("0", "above 0"), ("-1", "above 0"), ("-0.5", "above 0"), ("nan", "above 0"), ("inf", "above 0")]
    {
        let shown = only_problem(&SMALL.replace("tcm = 1 }", &format!("tcm = {weight} }}")), &[]);
        assert!(shown.contains(&format!("`mix.ratio.tcm` is {weight}; expected a number {range}")), "{shown}");
    }
}

#[test]
fn absurd_values_are_refused_with_key_and_range() {
    for (set, key) in [
        ("mix.size=99999999999999999999", "mix.size"),
        ("mix.size=9000000000000000000", "mix.size"),
        ("mix.size=200000000000", "mix.size"),
        ("mix.size=-5", "mix.size"),
        ("mix.size=inf", "mix.size"),
        ("mix.seed=-1", "mix.seed"),
        ("mix.seed=0xffffffffffffffffff", "mix.seed"),
        ("mix.tolerance=nan", "mix.tolerance"),
        ("train.seed=18446744073709551616", "train.seed"),
        ("train.epochs=1000000000000", "train.epochs"),
        ("train.epochs=-1", "train.epochs"),
        ("train.learning_rate=nan", "train.learning_rate"),
        ("train.learning_rate=-inf", "train.learning_rate"),
        ("train.learning_rate=1e999", "train.learning_rate"),
        ("train.max_grad_norm=inf", "train.max_grad_norm"),
        ("train.lora.rank=99999999999", "train.lora.rank"),
        ("train.lora.alpha=inf", "train.lora.alpha"),
        ("train.batch_size=9000000000000000000", "train.batch_size"),
        ("train.warmup_steps=-3", "train.warmup_steps"),
        ("chat.max_tokens=1e30", "chat.max_tokens"),
        ("exam.max_new_tokens=0", "exam.max_new_tokens"),
    ] {
        let shown = only_problem(SMALL, &[set]);
        assert!(shown.contains(&format!("`{key}` is")) && shown.contains("expected a"), "{set}: {shown}");
    }
    assert!(read(SMALL, &["mix.size_in=tokens", "mix.size=200000000000"]).is_ok(), "more tokens than samples fit");
}

/// serde derives structs that also accept a list of their fields' values.
#[test]
fn a_list_in_place_of_a_table_is_the_wrong_type() {
    for (set, key) in [
        ("exam.papers=[[]]", "exam.papers.0"),
        ("exam.papers=[[\"a.jsonl\"]]", "exam.papers.0"),
        ("exam.books=[[\"open\"]]", "exam.books.0"),
        ("sources.general.path=[[]]", "sources.general.path.0"),
        ("sources.general.path=[[\"a.jsonl\", \"json\"]]", "sources.general.path.0"),
        ("sources.general.columns=[\"question\", \"context\", \"answer\"]", "sources.general.columns"),
        ("sources.general.columns.options=[[\"a\"]]", "sources.general.columns.options.0"),
        ("sources.general.columns.roles=[[\"user\"]]", "sources.general.columns.roles"),
        ("sources.general.filter=[]", "sources.general.filter"),
        ("mix.filter.chars=[1, 2]", "mix.filter.chars"),
        ("mix.filter.keywords=[\"tcm\"]", "mix.filter.keywords"),
        ("mix.validation=[0.1, 5]", "mix.validation"),
        ("mix.contamination=[]", "mix.contamination"),
        ("mix.near_duplicates=[]", "mix.near_duplicates"),
        ("train.early_stopping=[3, 0.0]", "train.early_stopping"),
        ("train.lora=[8, 16.0]", "train.lora"),
        ("model=[\"some/model\"]", "model"),
    ] {
        let shown = render(&read(SMALL, &[set]).expect_err(set));
        assert!(shown.contains(&format!("`{key}` is a list; expected")), "{set}: {shown}");
    }
}

#[test]
fn empty_paths_are_refused_by_key() {
    for (set, key) in [
        ("sources.general.path=\"\"", "sources.general.path"),
        ("sources.general.path=\" \"", "sources.general.path"),
        ("sources.general.path=[\"a.jsonl\", \"\"]", "sources.general.path.1"),
        ("sources.general.path=[]", "sources.general.path"),
        ("sources.general.path=[{path=\"\"}]", "sources.general.path.0.path"),
        ("sources.general.filter={keywords={list=\"\"}}", "sources.general.filter.keywords.list"),
        ("mix.filter.keywords.list=\"\"", "mix.filter.keywords.list"),
        ("exam.papers=\"\"", "exam.papers"),
        ("exam.papers=[\"a.jsonl\", \"\"]", "exam.papers.1"),
        ("exam.prompt=\"\"", "exam.prompt"),
        ("model.base=\"\"", "model.base"),
    ] {
        let errors = read(SMALL, &[set]).expect_err(set);
        let found: Vec<&str> = errors.problems().iter().map(|problem| problem.message()).collect();
        assert_eq!(found, [format!("`{key}` is empty")], "{set}");
    }
}

#[test]
fn a_warm_up_is_given_once_and_a_later_layer_decides() {
    let of = |text: &str, sets: &[&str]| {
        let train = read(text, sets).unwrap_or_else(|errors| panic!("{}", render(&errors))).recipe.train;
        (train.warmup_ratio, train.warmup_steps)
    };
    let steps = SMALL.replace("epochs = 1", "warmup_steps = 10");
    assert_eq!(of(&steps, &[]), (0.0, Some(10)));
    assert_eq!(of(&steps, &["train.warmup_ratio=0.25"]), (0.25, None));
    assert_eq!(of(SMALL, &["train.warmup_ratio=0.25", "train.warmup_steps=0"]), (0.0, Some(0)));
    let both = only_problem(&SMALL.replace("epochs = 1", "warmup_steps = 10\nwarmup_ratio = 0.1"), &[]);
    assert!(both.contains("both give the length of the warm-up"), "{both}");
    let recipe = read(&steps, &[]).expect("a sound recipe").recipe;
    let again = parse("again.toml", &recipe.to_toml(), None, &[] as &[&str]).expect("a sound recipe").recipe;
    assert_eq!(again, recipe);
    let hash = |sets: &[&str]| read(SMALL, sets).expect("a sound recipe").recipe.train_hash("", "", "");
    assert_ne!(hash(&["train.warmup_steps=10"]), hash(&["train.warmup_steps=11"]));
}

/// A file of another tool where a recipe is expected: one error with the command that makes a recipe of it.
#[test]
fn a_file_of_another_tool_is_answered_with_the_import() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let factory = "model_name_or_path: a/b\ndataset: x\ntemplate: qwen\ncutoff_len: 1024\n";
    let axolotl = "base_model: a/b\ndatasets:\n  - path: o/a\n    type: alpaca\n";
    for (name, text, tool) in [
        ("my run.yaml", factory, "LLaMA-Factory"),
        ("config.yml", axolotl, "Axolotl"),
        ("named.toml", axolotl, "Axolotl"),
        ("torch.yaml", "dataset:\n  _component_: torchtune.datasets.alpaca_dataset\n", "torchtune"),
        ("dataset_info.json", r#"{"a": {"file_name": "a.json"}}"#, "LLaMA-Factory"),
        ("trl.yaml", "model_name_or_path: a/b\ndataset_name: o/a\nlearning_rate: 1e-4\n", "TRL"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("writable");
        let errors = load(path.to_str().expect("UTF-8"), &[] as &[&str]).expect_err("no recipe");
        assert_eq!(errors.problems().len(), 1, "{name}");
        let shown = render(&errors);
        assert!(shown.contains(&format!("it is a file of {tool}")), "{shown}");
        assert!(shown.contains("medley recipe import ") && shown.contains("--out "), "{shown}");
    }
    let deepspeed = r#"{"optimizer": {"type": "AdamW"}, "gradient_accumulation_steps": "auto"}"#;
    fs::write(folder.path().join("ds.json"), deepspeed).expect("writable");
    let other = load(folder.path().join("ds.json").to_str().expect("UTF-8"), &[] as &[&str]).expect_err("no recipe");
    assert!(render(&other).contains("it is JSON, and a recipe is TOML"));
    fs::write(folder.path().join("other.yaml"), "apiVersion: v1\nkind: Pod\n").expect("writable");
    let other = load(folder.path().join("other.yaml").to_str().expect("UTF-8"), &[] as &[&str]).expect_err("no recipe");
    assert!(render(&other).contains("it is YAML, and a recipe is TOML"));
    let extending = format!("extends = \"config.yml\"\n{SMALL}");
    fs::write(folder.path().join("r.toml"), extending).expect("writable");
    let base = load(folder.path().join("r.toml").to_str().expect("UTF-8"), &[] as &[&str]).expect_err("no recipe");
    assert!(render(&base).contains("medley recipe import "), "{}", render(&base));
    // TOML with an error stays TOML with an error.
    fs::write(folder.path().join("broken.toml"), "[model\nbase = 1\n").expect("writable");
    let broken = load(folder.path().join("broken.toml").to_str().expect("UTF-8"), &[] as &[&str]).expect_err("broken");
    assert!(render(&broken).contains("not TOML"));
}

/// The renderer pads to the column it points at: no length of a line, of a key, of a value or of a `--set` breaks it.
#[test]
fn errors_in_texts_of_any_length_and_letters_are_rendered() {
    let fillings = ["x", "\t", "汉", "👩‍⚕️", "e\u{301}", "\u{202e}", "\u{1b}[2J"];
    for filling in fillings {
        for length in [0, 1, 59, 60, 61, 199, 200, 201, 70_000].into_iter().take(if filling == "x" { 9 } else { 8 }) {
            let long = filling.repeat(length);
            let quoted = toml::Value::String(long.clone()).to_string();
            let texts = [
                format!("{filling} = {filling}\n").repeat(length),
                format!("description = {quoted}\nname = 1 {long}"),
                format!("model = {{ base = {quoted}, bass = 1 }}"),
                format!("model = {{ bass = {quoted} }}"),
                format!("{quoted} = {quoted}"),
                format!("# {long}\nsede = 1\n# {long}"),
                format!("[model]\nbase = 1 # {long}"),
                format!("train = {{ schedule = {quoted} }}"),
                format!("mix = {{ order = {quoted}, size = 1 }}"),
                format!("description = \"\"\"\n{long}\n\"\"\"\nname = 5"),
                format!("name = \"\"\"\n{}\n\"\"\"\nmodel = 5", format!("{long}\n").repeat(3)),
                long.clone(),
            ];
            for text in texts {
                for text in [text.replace('\n', "\r\n"), format!("\u{feff}{text}"), text]
                    .iter()
                    .skip(if length > 1_000 { 2 } else { 0 })
                {
                    let errors = read(text, &[]).expect_err("no recipe");
                    let shown = render(&errors);
                    assert!(shown.lines().all(|line| line.chars().count() < 600), "{length} x {filling:?}");
                    assert!(!shown.contains('\u{1b}'), "{shown:?}");
                    let mut narrated = String::new();
                    NarratableReportHandler::new().render_report(&mut narrated, &errors).expect("rendering");
                }
            }
            if !long.contains(['\t', '\u{1b}']) {
                let errors = read(SMALL, &[&format!("train.schedule={long}"), &format!("{long}=1")]);
                render(&errors.expect_err("no such setting"));
            }
        }
    }
}

#[test]
fn a_shortened_excerpt_keeps_line_and_column() {
    let text = format!("# first\nmodel = {{ base = \"{}\", bass = 1 }}\n# last", "b".repeat(100_000));
    let errors = read(&text, &[]).expect_err("an unknown key");
    let shown = errors.problems().iter().map(|problem| render(problem)).find(|shown| shown.contains("bass"));
    let shown = shown.expect("the unknown key");
    assert!(shown.contains("[recipe.toml:2:100022]"), "{shown}");
    assert!(shown.contains("…bbbb") && shown.contains("bass = 1") && shown.contains("1 │ # first"), "{shown}");
    assert!(shown.contains("did you mean `base`?"), "{shown}");
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_do_not_move_a_place() {
    let text = SMALL.replace("epochs = 1", "epcohs = 1").replace('\n', "\r\n");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("r.toml");
    fs::write(&path, format!("\u{feff}{text}")).expect("writable");
    let errors = load(path.to_str().expect("UTF-8"), &[] as &[&str]).expect_err("an unknown key");
    assert!(errors.problems()[0].location().expect("a place").ends_with("r.toml:11"), "{}", render(&errors));
}
