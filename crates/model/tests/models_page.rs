//! `docs/models.md` lists every family with what the parity tests compare, and nothing else.
//!
//! `MEDLEY_WRITE_DOCS=1` writes the table into the page.

#[expect(dead_code, reason = "parity.rs uses the rest")]
mod common;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

use common::{ADAPTERS, MODELS, fixture};
use medley_model::{Activation, DecoderConfig, FAMILIES, Family, PositionEncoding, RopeScaling};

const BEGIN: &str = "<!-- table:begin -->\n";
const END: &str = "<!-- table:end -->\n";

fn config(model: &str) -> DecoderConfig {
    DecoderConfig::from_dir(&fixture(model)).expect("the fixture is there")
}

fn heads(config: &DecoderConfig) -> &'static str {
    match (config.num_attention_heads, config.num_key_value_heads) {
        (queries, keys) if queries == keys => "multi-head",
        (_, 1) => "multi-query",
        _ => "grouped",
    }
}

fn rotation(config: &DecoderConfig) -> &'static str {
    let PositionEncoding::Rope(rope) = config.position;
    match rope.scaling {
        RopeScaling::Default => "default",
        RopeScaling::Linear { .. } => "linear",
        RopeScaling::Dynamic { .. } => "dynamic",
        RopeScaling::Llama3 { .. } => "llama3",
        RopeScaling::Yarn { .. } => "yarn",
    }
}

/// Options of the family that a random model has.
fn options(config: &DecoderConfig) -> Vec<&'static str> {
    let bias = config.attention_bias;
    let windowed = config.windows.iter().flatten().count();
    let options = [
        (config.qk_norm, "norms of q and k"),
        (config.layer_norms.count() > 2, "norms on the branches"),
        (config.window_rope.is_some(), "another rotary base in windows"),
        (config.embedding_scale.is_some(), "scaled embedding"),
        (config.activation == Activation::GeluTanh, "GeGLU"),
        (bias.qkv && !bias.output, "biases on q, k, v"),
        (bias.qkv && bias.output, "biases on q, k, v, o"),
        (config.mlp_bias, "biases in the feed-forward layer"),
        (windowed == config.num_hidden_layers, "sliding window"),
        (0 < windowed && windowed < config.num_hidden_layers, "sliding window in some layers"),
    ];
    options.into_iter().filter_map(|(present, name)| present.then_some(name)).collect()
}

/// Distinct values over the models of a family, sorted.
fn distinct<T: Ord + ToString>(models: &[DecoderConfig], value: impl Fn(&DecoderConfig) -> T) -> String {
    let values: BTreeSet<T> = models.iter().map(value).collect();
    values.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

/// Whether the trainer's tests have a 20-step run of the family.
fn has_run(family: &Family) -> bool {
    let runs = fixture("../runs");
    let folders = [runs.join("base"), runs.join(family.model_type).join("base")];
    folders.iter().filter_map(|folder| DecoderConfig::from_dir(folder).ok()).any(|config| config.family == *family)
}

fn row(family: &Family) -> String {
    let of_family = |config: &DecoderConfig| config.family == *family;
    let models: Vec<DecoderConfig> = MODELS.map(config).into_iter().filter(of_family).collect();
    let adapters = ADAPTERS.map(|(_, base)| config(base)).iter().filter(|config| of_family(config)).count();
    let ties: BTreeSet<bool> = models.iter().map(|model| model.tie_word_embeddings).collect();
    assert!(models.len() >= 2 && ties.len() == 2, "{}: random models, tied and untied", family.model_type);
    assert!(models.iter().any(|model| heads(model) != "multi-head"), "{}: grouped heads", family.model_type);
    assert!(adapters > 0 && has_run(family), "{}: an adapter of PEFT and a run", family.model_type);
    let all: BTreeSet<&str> = models.iter().flat_map(options).collect();
    let all: Vec<&str> = all.into_iter().collect();
    format!(
        "| `{}` | {} | {} | {} | {} | tied, untied | {} | {} | {adapters} | full, LoRA |\n",
        family.model_type,
        family.models,
        models.len(),
        distinct(&models, heads),
        distinct(&models, |model| model.head_dim),
        if all.is_empty() { "-".to_owned() } else { all.join(", ") },
        distinct(&models, rotation),
    )
}

fn table() -> String {
    let mut table = String::new();
    let columns = [
        "`model_type`",
        "published models",
        "random models",
        "heads",
        "features of a head",
        "head and embedding",
        "options",
        "rotary positions",
        "adapters of PEFT",
        "20 steps",
    ];
    writeln!(table, "| {} |\n|{}", columns.join(" | "), "---|".repeat(columns.len())).expect("a string takes all");
    FAMILIES.iter().for_each(|family| table.push_str(&row(family)));
    table
}

#[test]
fn the_page_lists_what_is_compared() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/models.md");
    let page = std::fs::read_to_string(&path).expect("the page is there");
    let (before, rest) = page.split_once(BEGIN).expect("the table begins");
    let (found, after) = rest.split_once(END).expect("the table ends");
    let table = table();
    if std::env::var_os("MEDLEY_WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).expect("writable");
        return;
    }
    assert_eq!(found, table, "docs/models.md is out of date: run this test with MEDLEY_WRITE_DOCS=1");
}
