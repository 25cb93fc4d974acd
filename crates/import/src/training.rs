//! Converts training settings of other tools that have a counterpart in a recipe.
//!
//! LLaMA-Factory, TRL and Unsloth forward transformers' `TrainingArguments`, and Axolotl maps its own keys to them: one
//! reader with several names per setting covers all four. Tool defaults that affect the trained weights are written out,
//! because recipe defaults differ.

use indexmap::IndexMap;
use medley_files::yaml::YamlEntry;
use medley_recipe::{SCHEMA, refusal, tools};
use serde_json::Value;

use super::document::{Fate, Reading};
use super::plan::Plan;
use super::settings::Settings;
use super::table::Table;

/// Recipe settings derived from a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Training {
    /// Settings given in the file, by dotted path.
    pub given: IndexMap<&'static str, Value>,
    /// Tool defaults for settings that the file omits.
    pub defaults: IndexMap<&'static str, Value>,
    /// Run name.
    pub name: Option<String>,
}

/// Default values of a tool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Defaults {
    pub tool: &'static str,
    pub learning_rate: Option<f64>,
    pub epochs: Option<u64>,
    pub schedule: &'static str,
    pub warmup_ratio: f64,
    /// Micro-batch size in samples.
    pub micro_batch: u64,
    pub weight_decay: f64,
    pub max_grad_norm: f64,
    pub rank: u64,
    /// `None`: twice the rank.
    pub alpha: Option<f64>,
    pub dropout: f64,
    pub target: &'static [&'static str],
    /// Whether LoRA is the default method.
    pub lora: bool,
}

/// LLaMA-Factory 0.9.5: `LoraArguments` over transformers' `TrainingArguments`.
pub(super) const LLAMA_FACTORY: Defaults = Defaults {
    tool: "LLaMA-Factory",
    learning_rate: Some(5e-5),
    epochs: Some(3),
    schedule: "linear",
    warmup_ratio: 0.0,
    micro_batch: 8,
    weight_decay: 0.0,
    max_grad_norm: 1.0,
    rank: 8,
    alpha: None,
    dropout: 0.0,
    target: &["all-linear"],
    lora: true,
};

/// Axolotl 0.19: `HyperparametersConfig` and `LoraConfig`.
pub(super) const AXOLOTL: Defaults = Defaults {
    tool: "Axolotl",
    learning_rate: None,
    epochs: Some(1),
    schedule: "cosine",
    warmup_ratio: 0.03,
    micro_batch: 1,
    alpha: Some(8.0),
    target: &["q_proj", "v_proj"],
    lora: false,
    ..LLAMA_FACTORY
};

/// TRL 1.16: `SFTConfig` and `ModelConfig` over transformers' `TrainingArguments`.
pub(super) const TRL: Defaults = Defaults {
    tool: "TRL",
    learning_rate: Some(2e-5),
    rank: 16,
    alpha: Some(32.0),
    dropout: 0.05,
    target: &["q_proj", "v_proj"],
    lora: false,
    ..LLAMA_FACTORY
};

/// torchtune 0.6 with torch's AdamW: no clipping and a constant rate by default.
pub(super) const TORCHTUNE: Defaults = Defaults {
    tool: "torchtune",
    learning_rate: Some(1e-3),
    epochs: None,
    schedule: "constant",
    micro_batch: 1,
    weight_decay: 0.01,
    max_grad_norm: 0.0,
    alpha: Some(16.0),
    target: &["q_proj", "v_proj"],
    lora: false,
    ..LLAMA_FACTORY
};

/// Comment above written-out defaults.
pub(super) const LEFT_TO_TOOL: &str = "defaults, as the file does not give them";

impl Training {
    pub fn is_empty(&self) -> bool {
        self.given.is_empty() && self.defaults.is_empty()
    }

    /// The settings of a section by their bare names: the tool's defaults, or those that the file gives.
    pub fn section(&self, section: &str, defaults: bool) -> Vec<(&'static str, &Value)> {
        let settings = if defaults { &self.defaults } else { &self.given };
        let name = |key: &'static str| key.strip_prefix(section)?.strip_prefix('.').filter(|key| !key.contains('.'));
        let mut found: Vec<_> = settings.iter().filter_map(|(key, value)| Some((name(key)?, value))).collect();
        // In the order of the schema, as `recipe show` writes them.
        let schema = section.split('.').fold(&*SCHEMA, |schema, key| &schema["properties"][key]);
        let order = schema["properties"].as_object();
        found.sort_by_key(|(key, _)| order.and_then(|order| order.keys().position(|name| name == key)));
        found
    }

    pub fn has(&self, key: &str) -> bool {
        self.given.contains_key(key)
    }

    /// Takes over a setting of the file; a value that the recipe's schema refuses becomes a note.
    pub fn set(&mut self, key: &'static str, value: Value, entry: &YamlEntry, reading: &mut Reading<'_>) {
        match refusal(key, &value) {
            Some(why) => reading.note(Fate::NotCarriedOver, None, entry, &why),
            None => {
                self.given.insert(key, value);
            }
        }
    }

    /// A default of the tool, where the file does not give the setting.
    pub fn or(&mut self, key: &'static str, value: Value) {
        if !self.has(key) {
            self.defaults.insert(key, value);
        }
    }
}

/// Sets `max_tokens` of a training whose file does not: the tool's default, with a note.
pub(super) fn longest(plan: &mut Plan, table: &Table<'_>, names: &[&str], tokens: u64, reading: &mut Reading<'_>) {
    if plan.max_tokens.is_none() && !plan.training.is_empty() && !names.iter().any(|name| table.has(name)) {
        plan.max_tokens = Some(tokens);
        let why = format!("{}'s {LEFT_TO_TOOL}", plan.tool);
        reading.add(Fate::Assumed, None, format!("`chat.max_tokens = {tokens}`"), why, &table.span);
    }
}

/// The training that a file of LLaMA-Factory, Axolotl, TRL or Unsloth describes; empty where it describes data alone.
pub(super) fn of_transformers(table: &Table<'_>, defaults: Defaults, reading: &mut Reading<'_>) -> Training {
    if !tools::TRAINING_KEYS.iter().any(|key| table.has(key)) {
        return Training::default();
    }
    let mut settings = Settings { table, reading, training: Training::default(), defaults };
    settings.method();
    settings.dtype();
    settings.optimizer(&["optim", "optimizer"]);
    settings.carry("train.learning_rate", &["learning_rate"]);
    settings.schedule(&["lr_scheduler_type", "lr_scheduler"]);
    settings.warmup(&["warmup_steps"], &["warmup_ratio"]);
    settings.carry("train.weight_decay", &["weight_decay"]);
    settings.carry("train.beta1", &["adam_beta1"]);
    settings.carry("train.beta2", &["adam_beta2"]);
    settings.carry("train.epsilon", &["adam_epsilon"]);
    settings.carry("train.max_grad_norm", &["max_grad_norm"]);
    settings.epochs(&["num_train_epochs", "num_epochs", "epochs"]);
    settings.batch(
        &["per_device_train_batch_size", "micro_batch_size"],
        &["gradient_accumulation_steps"],
        &["batch_size", "train_batch_size"],
    );
    settings.carry_whole("train.seed", &["seed", "random_state"]);
    settings.intervals();
    settings.lora();
    if let Some((_, name)) = settings.text(&["run_name"]) {
        settings.training.name = Some(name.replace(['/', '\\'], "-")).filter(|name| !name.is_empty());
    }
    settings.fill();
    settings.training
}
