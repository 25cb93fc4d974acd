//! Errors name their place and a remedy, and leave no partial files behind.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::{medley, refused, run, succeeds, text};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn root() -> &'static Path {
    Path::new(ROOT)
}

/// `medley train` of the quickstart with these settings must fail and leave `out` as it was.
fn train_refused(settings: &[&str], more: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("run");
    let out_text = out.to_string_lossy();
    let mut arguments = vec!["train", "--recipe", "quickstart.toml", "--device", "cpu", "--out", &out_text];
    for setting in settings {
        arguments.extend(["--set", setting]);
    }
    arguments.extend(more);
    let message = refused(root(), &arguments);
    assert!(!out.exists(), "{} was left behind", out.display());
    message
}

/// `medley mix` over one file with this content must fail; the message is returned, and nothing may be written.
fn mix_refused(name: &str, content: &[u8]) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join(name), content).expect("written");
    mix_one(folder.path(), name)
}

fn mix_one(folder: &Path, path: &str) -> String {
    let recipe = format!(
        "name = \"x\"\n[model]\nbase = \"none\"\n[mix]\nsize = 2\nratio = {{ pool = 1 }}\nvalidation = {{ fraction = 0.0, max_samples = 1 }}\n\
         [sources.pool]\npath = \"{path}\"\n"
    );
    fs::write(folder.join("recipe.toml"), recipe).expect("written");
    let message = refused(folder, &["mix", "--recipe", "recipe.toml", "--out", "mixed"]);
    let written: Vec<_> = fs::read_dir(folder.join("mixed")).into_iter().flatten().flatten().collect();
    assert!(written.is_empty(), "left behind: {written:?}");
    message
}

fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "no «{part}» in: {message}");
    }
}

#[test]
fn recipes() {
    says(&train_refused(&["train.learning_rat=1"], &[]), &["learning_rat", "learning_rate"]);
    says(&train_refused(&["train.learning_rate=\"fast\""], &[]), &["train.learning_rate", "fast"]);
    says(&train_refused(&["mix.size=0"], &[]), &["size"]);
    says(&refused(root(), &["train", "--recipe", "quikstart"]), &["quikstart", "quickstart"]);
}

#[test]
fn a_pool_that_is_too_small() {
    says(&train_refused(&["mix.size=10000000"], &[]), &["general", "9000000"]);
}

#[test]
fn devices_and_number_formats() {
    says(&train_refused(&["model.dtype=bf16"], &[]), &["bf16", "f32"]);
    if !cfg!(feature = "cuda") {
        says(&train_refused(&[], &["--device", "cuda"]), &["--device"]);
        says(
            &refused(root(), &["train", "--recipe", "quickstart.toml", "--device", "cuda"]),
            &["cuda", "--features cuda"],
        );
    }
    says(&refused(root(), &["train", "--recipe", "quickstart.toml", "--device", "tpu"]), &["tpu", "auto"]);
}

#[test]
fn models() {
    says(&train_refused(&["model.base=./no/such/model"], &[]), &["no/such/model"]);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let base = folder.path().join("base");
    fs::create_dir(&base).expect("made");
    for entry in fs::read_dir(root().join("data/base")).expect("the bundled model").flatten() {
        fs::copy(entry.path(), base.join(entry.file_name())).expect("copied");
    }
    let weights = base.join("model.safetensors");
    let bytes = fs::read(&weights).expect("readable");
    let setting = format!("model.base={}", base.display());
    fs::write(&weights, &bytes[..bytes.len() / 2]).expect("written");
    let torn = train_refused_with_run(&setting, folder.path());
    says(&torn, &["model.safetensors"]);
    fs::remove_file(&weights).expect("removed");
    says(&train_refused_with_run(&setting, folder.path()), &["safetensors"]);
}

/// Weights are read after the run has begun: its folder is kept, with the status "failed".
fn train_refused_with_run(setting: &str, folder: &Path) -> String {
    let out = folder.join("run");
    let out_text = out.to_string_lossy();
    let message = refused(
        root(),
        &["train", "--recipe", "quickstart.toml", "--device", "cpu", "--out", &out_text, "--set", setting],
    );
    let _ = fs::remove_dir_all(&out);
    message
}

#[test]
fn data_files() {
    let good = r#"{"instruction": "何为甲？", "input": "", "output": "甲为一。"}"#;
    let folder = tempfile::tempdir().expect("a temporary folder");
    says(&mix_one(folder.path(), "nowhere.jsonl"), &["nowhere.jsonl"]);
    says(&mix_refused("empty.jsonl", b""), &["empty.jsonl"]);
    says(&mix_refused("list.json", br#"["text", "text"]"#), &["list.json"]);
    says(&mix_refused("number.jsonl", br#"{"instruction": 3, "output": {"a": 1}}"#), &["number.jsonl", "1"]);
    says(&mix_refused("keys.jsonl", br#"{"left": "a", "right": "b"}"#), &["keys.jsonl", "left", "columns"]);
    says(&mix_refused("broken.jsonl", format!("{good}\n{{\"instruction\": \n").as_bytes()), &["broken.jsonl", "2"]);
    // A byte that is invalid in every encoding, after valid UTF-8.
    let text = [good.as_bytes(), b"\n{\"instruction\": \"", &[0xff, 0xff][..], b"\", \"output\": \"x\"}\n"].concat();
    says(&mix_refused("bytes.jsonl", &text), &["bytes.jsonl", "UTF-8"]);
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    let lines = (0..200).map(|number| good.replace("甲", &number.to_string())).collect::<Vec<_>>().join("\n");
    packed.write_all(lines.as_bytes()).expect("packed");
    let packed = packed.finish().expect("packed");
    says(&mix_refused("torn.jsonl.gz", &packed[..packed.len() - 20]), &["torn.jsonl.gz"]);
}

#[test]
fn exam_papers() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let paper = folder.path().join("paper.jsonl");
    let item = r#"{"id": "1", "exam": "nursing", "kind": "single", "question": "q", "options": {"A": "a", "B": "b"}, "answer": ["C"], "passages": []}"#;
    fs::write(&paper, item).expect("written");
    let paper = paper.to_string_lossy();
    let message = refused(root(), &["exam", "--model", "data/base", "--papers", &paper]);
    says(&message, &["paper.jsonl:1", "answer", "C"]);
    says(&refused(root(), &["exam", "--model", "data/base", "--papers", "none-*.jsonl"]), &["none-*.jsonl"]);
    says(&refused(root(), &["exam", "--model", "data/none", "--papers", &paper]), &["data/none"]);
}

/// A run whose exam settings cannot work is refused before its first step, and so is its plan.
#[test]
fn exam_settings_are_checked_before_training() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("written");
        path.to_string_lossy().into_owned()
    };
    let options = "{% for option in options %}{{ option.letter }}. {{ option.text }} {% endfor %}";
    let drops = write("drops.jinja", &format!("{{{{ passages }}}} {options}"));
    let closed = write(
        "closed.jinja",
        &format!("{{% if passages %}}{{{{ passages }}}} {{{{ question }}}}{{% endif %}} {options}"),
    );
    let broken = write("broken.jsonl", "{\"question\": \n");
    let empty = folder.path().join("no-papers");
    fs::create_dir(&empty).expect("made");
    for (setting, expected) in [
        ("exam.prompt=\"none.jinja\"".to_owned(), &["none.jinja"][..]),
        (format!("exam.prompt={drops:?}"), &["does not show `question`"]),
        (format!("exam.prompt={closed:?}"), &["item ", "does not show its question (closed book)"]),
        ("exam.max_prompt_tokens=16".to_owned(), &["item ", "exam.max_prompt_tokens = 16"]),
        ("exam.papers=[\"none-*.jsonl\"]".to_owned(), &["none-*.jsonl"]),
        ("exam.papers=[\"\"]".to_owned(), &["exam.papers.0", "is empty"]),
        (format!("exam.papers=[{:?}]", empty.to_string_lossy()), &["no-papers"]),
        (format!("exam.papers=[{broken:?}]"), &["broken.jsonl:1"]),
    ] {
        says(&train_refused(&[&setting], &[]), expected);
        let plan = ["plan", "--recipe", "quickstart.toml", "--device", "cpu", "--set", &setting];
        says(&refused(root(), &plan), expected);
    }
}

#[test]
fn exam_prompts_are_shown_as_the_model_reads_them() {
    let preview = |more: &[&str]| {
        succeeds(root(), &[&["preview", "--recipe", "quickstart.toml", "--exam", "-n", "2"], more].concat())
    };
    let shown = preview(&[]);
    says(&shown, &["1 · open book · ", "1 · closed book · ", "2 · open book · ", "of at most 256 tokens", "<|user|>"]);
    assert_eq!(preview(&["--json"]).lines().count(), 4);
    assert!(!preview(&["--set", "exam.books=\"closed\""]).contains("open book"));
    let none = refused(root(), &["preview", "--recipe", "quickstart.toml", "--exam", "--set", "exam.papers=[]"]);
    says(&none, &["has no exam"]);
}

#[test]
fn a_shipped_recipe_is_found_from_anywhere() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let shown = succeeds(folder.path(), &["recipe", "show", "ratio_9_1.toml"]);
    says(&shown, &["general = 9", "ratio_9_1.toml (shipped):"]);
    let listed = succeeds(folder.path(), &["recipe", "list"]);
    says(&listed, &["quickstart", "size_200k"]);
}

/// Training on such samples is refused, so a preview of them is no success.
#[test]
fn a_preview_without_learned_tokens_fails() {
    let passages = ["--source", "general", "--set", "chat.max_tokens=16"];
    let arguments = [&["preview", "--recipe", "quickstart.toml", "-n", "1"], &passages[..]].concat();
    let output = run(root(), &arguments);
    let (shown, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(shown.contains("left out: ") && output.status.code() == Some(1), "{shown}{error}");
    assert!(error.contains("no token of the samples shown is learned"), "{error}");
}

/// As in `medley preview --recipe quickstart | head`.
#[test]
#[cfg(unix)]
fn a_reader_that_leaves_is_no_error() {
    use std::io::Read;
    let mut command = medley(root(), &["preview", "--recipe", "quickstart.toml", "--step", "1-40", "--json"]);
    let mut child =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().expect("starts");
    let mut first = [0; 64];
    child.stdout.take().expect("piped").read_exact(&mut first).expect("something is printed");
    let output = child.wait_with_output().expect("ends");
    assert!(!text(&output.stderr).contains("panicked"), "{}", text(&output.stderr));
}

#[test]
fn steps_that_are_shown() {
    let preview = |steps: &str| run(root(), &["preview", "--recipe", "quickstart.toml", "--json", "--step", steps]);
    let lines = |steps: &str| String::from_utf8(preview(steps).stdout).expect("UTF-8").lines().count();
    assert_eq!((lines("125"), lines("1-3")), (16, 48), "125 steps of 16 samples an epoch");
    for (steps, why) in
        [("0", "count from 1"), ("9-3", "goes up"), ("x", "not the number"), ("376", "trains 375 steps")]
    {
        let output = preview(steps);
        assert!(!output.status.success() && text(&output.stderr).contains(why), "{steps}: {}", text(&output.stderr));
    }
}

#[test]
fn a_training_that_does_not_fit_is_refused_with_what_would() {
    let plan = succeeds(root(), &["plan", "--recipe", "quickstart.toml", "--device", "cpu", "--json"]);
    let plan: serde_json::Value = serde_json::from_str(&plan).expect("JSON");
    let peak = plan["peak"].as_u64().expect("a number");
    // Slightly less memory than needed: smaller micro-batches fit.
    let tight = train_refused(&[], &["--budget", &(peak * 94 / 100).to_string()]);
    says(&tight, &["this training needs", "this would fit: train.tokens_per_micro_batch = ", "--ignore-"]);
    let hopeless = train_refused(&[], &["--budget", "1MiB"]);
    says(&hopeless, &["no setting that is known would fit", "smaller model"]);
    let unit = refused(root(), &["train", "--recipe", "quickstart.toml", "--budget", "8 apples"]);
    says(&unit, &["apples", "GiB"]);
}

#[test]
fn a_plan_reads_no_weights() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let base = root().join("data/base");
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
        fs::copy(base.join(name), folder.path().join(name)).expect("copied");
    }
    let set = format!("model.base={}", folder.path().display());
    let arguments = ["plan", "--recipe", "quickstart.toml", "--device", "cpu", "--set", &set];
    let table = succeeds(root(), &arguments);
    for part in ["weights", "gradients", "optimizer", "workspace", "375 micro-batches", "operations", "disk"] {
        assert!(table.contains(part), "no «{part}» in:\n{table}");
    }
    assert!(table.lines().all(|line| line.chars().count() <= 80), "wider than 80 columns:\n{table}");
    let plan: serde_json::Value =
        serde_json::from_str(&succeeds(root(), &[&arguments[..], &["--json", "--budget", "40MiB"]].concat()))
            .expect("JSON");
    assert_eq!((plan["steps"].as_u64(), plan["fits"].as_bool()), (Some(375), Some(false)));
    assert_eq!(plan["block_policy"], "recompute", "there is no room to keep graphs");
}

/// An empty mix is an error, for every reason that the records were rejected.
#[test]
fn a_mix_without_samples() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let recipe =
        "name = \"x\"\n[model]\nbase = \"none\"\n[mix]\nepochs = { pool = 1 }\n[sources.pool]\npath = \"a.jsonl\"\n";
    fs::write(folder.path().join("recipe.toml"), recipe).expect("written");
    for (record, reason) in [
        (
            r#"{"messages":[{"role":"doctor","content":"甲"},{"role":"patient","content":"乙"}]}"#,
            "1 unsupported role: a.jsonl:1",
        ),
        (r#"{"prompt":"甲","completion":"乙","label":false}"#, "1 answer marked as bad: a.jsonl:1"),
    ] {
        fs::write(folder.path().join("a.jsonl"), record).expect("written");
        let message = refused(folder.path(), &["mix", "--recipe", "recipe.toml", "--out", "mixed"]);
        says(&message, &["the mix has no samples", "pool `pool`: 1 read, 1 rejected", reason]);
        assert!(!folder.path().join("mixed").exists(), "nothing may be written");
    }
}
