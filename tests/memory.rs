//! Planned against measured memory: each training in a process of its own, its peak from the kernel (`VmHWM`).
//!
//! The real size takes minutes: `cargo test --release --test memory -- --ignored --nocapture`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// How far the plan may be from what is measured.
const TOLERANCE: f64 = 0.1;

/// A decoder and its data.
struct Size {
    model_type: &'static str,
    /// Features of a head.
    head_dim: usize,
    layers: usize,
    hidden: usize,
    intermediate: usize,
    heads: usize,
    vocabulary: usize,
    tokens_per_micro_batch: usize,
    /// Characters of a short and of a long record, and samples of a step: somewhat more than a micro-batch, so that gradients
    /// are kept from one to the next.
    records: [(usize, usize); 2],
}

const SMALL: Size = Size {
    model_type: "qwen2",
    head_dim: 64,
    layers: 4,
    hidden: 256,
    intermediate: 688,
    heads: 4,
    vocabulary: 60_000,
    tokens_per_micro_batch: 2048,
    records: [(60, 60), (900, 4)],
};

/// With norms of queries and keys, and heads wider together than the residual stream.
const SMALL_QWEN3: Size = Size { model_type: "qwen3", head_dim: 128, ..SMALL };

const REAL: Size = Size {
    model_type: "qwen2",
    head_dim: 64,
    layers: 12,
    hidden: 512,
    intermediate: 1376,
    heads: 8,
    vocabulary: 151_936,
    tokens_per_micro_batch: 4096,
    records: [(120, 60), (1750, 4)],
};

/// What is changed from one configuration to the next.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    long: bool,
    settings: &'static [&'static str],
}

const LORA: &str = "train.method=lora";
const FULL: &str = "train.method=full";
const KEEP: &str = "train.block_policy=keep";
const RECOMPUTE: &str = "train.block_policy=recompute";

/// A step of half the samples is a single micro-batch.
const IN_BACKWARD: [&str; 4] = [FULL, RECOMPUTE, "train.optimizer_in_backward=true", "train.batch_size=2"];

const CASES: [Case; 8] = [
    Case { name: "LoRA, short, recompute", long: false, settings: &[LORA, RECOMPUTE] },
    Case { name: "LoRA, long, recompute", long: true, settings: &[LORA, RECOMPUTE] },
    Case { name: "LoRA, short, keep", long: false, settings: &[LORA, KEEP] },
    Case { name: "LoRA, long, keep", long: true, settings: &[LORA, KEEP] },
    Case { name: "full, short, recompute", long: false, settings: &[FULL, RECOMPUTE] },
    Case { name: "full, long, recompute", long: true, settings: &[FULL, RECOMPUTE] },
    Case { name: "full, short, keep", long: false, settings: &[FULL, KEEP] },
    Case { name: "full, long, keep", long: true, settings: &[FULL, KEEP] },
];

/// Bytes planned and measured.
#[derive(Clone, Copy)]
struct Peaks {
    planned: f64,
    measured: f64,
}

impl Peaks {
    fn error(self) -> f64 {
        self.planned / self.measured - 1.0
    }
}

fn write_model(folder: &Path, size: &Size) {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/base");
    for name in ["tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
        fs::copy(base.join(name), folder.join(name)).expect("copied");
    }
    let config = json!({
        "model_type": size.model_type, "head_dim": size.head_dim, "vocab_size": size.vocabulary, "hidden_size": size.hidden,
        "intermediate_size": size.intermediate, "num_hidden_layers": size.layers, "num_attention_heads": size.heads,
        "num_key_value_heads": size.heads, "max_position_embeddings": 8192, "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0, "tie_word_embeddings": true, "hidden_act": "silu"
    });
    fs::write(folder.join("config.json"), config.to_string()).expect("written");
}

/// Records of about so many characters out of the bundled data, the answer a sixth of them.
fn write_records(path: &Path, characters: usize) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/general");
    let mut files: Vec<_> = fs::read_dir(file).expect("bundled").flatten().map(|entry| entry.path()).collect();
    files.sort();
    let text: String = files.iter().map(|file| fs::read_to_string(file).expect("readable")).collect();
    let text: Vec<char> = text.lines().filter_map(instruction).collect::<String>().chars().collect();
    let record = |number: usize| {
        let length = characters * (70 + number * 7 % 31) / 100;
        let start = number * 997 % (text.len() - 2 * characters);
        let part = |from: usize, count: usize| text[from..from + count].iter().collect::<String>();
        json!({"instruction": format!("{number} {}", part(start, length)), "output": part(start + length, length / 6)})
    };
    let lines: String = (0..400).map(|number| record(number).to_string() + "\n").collect();
    fs::write(path, lines).expect("written");
}

fn instruction(line: &str) -> Option<String> {
    let record: Value = serde_json::from_str(line).ok()?;
    Some(record["instruction"].as_str()?.to_owned())
}

fn write_recipe(folder: &Path, size: &Size, long: bool) {
    let (length, batch) = size.records[usize::from(long)];
    write_records(&folder.join("records.jsonl"), length);
    let recipe = format!(
        "name = \"memory\"\n[model]\nbase = \"init:{}\"\ndtype = \"f32\"\n[chat]\nmax_tokens = 4096\n[mix]\nsize = {}\n\
         validation = {{ fraction = 0.05, max_samples = 1 }}\n[sources.text]\npath = \"{}\"\n[train]\nbatch_size = {batch}\n\
         tokens_per_micro_batch = {}\nmax_steps = 2\nlogging_steps = 1\nsave_steps = 0\n",
        folder.join("config.json").display(),
        2 * batch,
        folder.join("records.jsonl").display(),
        size.tokens_per_micro_batch
    );
    fs::write(folder.join("recipe.toml"), recipe).expect("written");
}

fn medley(folder: &Path, verb: &str, case: &Case, rest: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_medley"));
    command.args([verb, "--recipe", "recipe.toml", "--device", "cpu"]).args(rest);
    for setting in case.settings {
        command.args(["--set", setting]);
    }
    command.current_dir(folder).stdin(Stdio::null()).env("NO_COLOR", "1").env_remove("RUST_LOG");
    command
}

/// The plan as JSON.
fn planned(folder: &Path, case: &Case) -> Value {
    let output = medley(folder, "plan", case, &["--json"]).output().expect("the binary starts");
    assert!(output.status.success(), "{}: {}", case.name, String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The most that was resident in the training's process, in bytes, looked at until it ends.
fn measured(folder: &Path, case: &Case) -> f64 {
    let log = fs::File::create(folder.join("train.log")).expect("made");
    let mut command = medley(folder, "train", case, &["--out", "run"]);
    let mut process = command.stdout(Stdio::null()).stderr(log).spawn().expect("the binary starts");
    let status = format!("/proc/{}/status", process.id());
    let mut peak = 0.0;
    while process.try_wait().expect("a child of ours").is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
        peak = kilobytes.map_or(peak, |kilobytes| kilobytes * 1024.0);
        std::thread::sleep(Duration::from_millis(20));
    }
    let ended = process.wait().expect("a child of ours");
    let log = fs::read_to_string(folder.join("train.log")).expect("readable");
    assert!(ended.success(), "{}: {log}", case.name);
    peak
}

fn peaks(size: &Size, case: &Case) -> Peaks {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_model(folder.path(), size);
    write_recipe(folder.path(), size, case.long);
    let plan = planned(folder.path(), case);
    let peaks = Peaks { planned: plan["peak"].as_f64().expect("a number"), measured: measured(folder.path(), case) };
    eprintln!(
        "{:24} planned {:6.0} MiB, measured {:6.0} MiB: {:+.1} % ({})",
        case.name,
        peaks.planned / 1048576.0,
        peaks.measured / 1048576.0,
        100.0 * peaks.error(),
        plan["moment"].as_str().unwrap_or_default()
    );
    peaks
}

#[test]
#[cfg(target_os = "linux")]
fn the_plan_is_close_to_what_a_small_training_takes() {
    let cases = [(&SMALL, 1), (&SMALL, 3), (&SMALL, 5), (&SMALL_QWEN3, 3), (&SMALL_QWEN3, 5), (&SMALL_QWEN3, 7)];
    for (size, case) in cases {
        let case = CASES[case];
        let error = peaks(size, &case).error();
        assert!(error.abs() <= TOLERANCE, "{}, {}: {error:+.3}", size.model_type, case.name);
    }
}

#[test]
#[ignore = "minutes: the real size"]
fn the_plan_is_close_to_what_a_training_takes() {
    let measured = CASES.map(|case| (case, peaks(&REAL, &case)));
    for (case, peaks) in measured {
        assert!(peaks.error().abs() <= TOLERANCE, "{}: {:+.3}", case.name, peaks.error());
        let most = if case.settings.contains(&LORA) { 2.5 } else { 5.0 };
        assert!(peaks.measured <= most * 1024f64.powi(3), "{}: {} bytes", case.name, peaks.measured);
    }
}

#[test]
#[ignore = "minutes: the real size"]
fn a_layer_adds_its_weights_its_state_and_its_block_input() {
    let deep = Size { layers: 24, ..REAL };
    let in_backward = Case { name: "full, in backward", long: true, settings: &IN_BACKWARD };
    // Weights, two moments, and where all of it is alive at once the gradient.
    for (case, copies) in [(CASES[1], 1.0), (CASES[5], 4.0), (in_backward, 3.0)] {
        let [twelve, twenty_four] = [&REAL, &deep].map(|size| peaks(size, &case).measured);
        let (hidden, intermediate) = (REAL.hidden as f64, REAL.intermediate as f64);
        let weights = 4.0 * (4.0 * hidden * hidden + 3.0 * hidden * intermediate + 5.0 * hidden);
        // Factors of rank 8 with gradient and two moments.
        let adapters = 4.0 * 4.0 * 8.0 * (8.0 * hidden + 3.0 * (hidden + intermediate));
        let input = 4.0 * hidden * REAL.tokens_per_micro_batch as f64;
        let (layer, most) = ((twenty_four - twelve) / 12.0, copies * weights + adapters + 1.5 * input);
        eprintln!("{}: a layer adds {:.1} MiB, at most {:.1}", case.name, layer / 1048576.0, most / 1048576.0);
        assert!(layer <= most, "{}: {layer} is more than {most}", case.name);
    }
}
