//! What decides a stage's result, as a hash: two runs with the same hash would do the same thing.
//!
//! Names and paths do not decide a result; the contents they lead to do. So each hash takes the contents' hashes from
//! the stage that reads them, and of the recipe exactly the settings that matter:
//!
//! | stage | settings | contents |
//! |---|---|---|
//! | mix | `mix.size`, `seed`, the ratio tree, `on_shortage`, `validation.fraction`; order and `columns` of the sources | every source file, the exam items left out, the importer's version |
//! | train | `model.dtype`, `[chat]`, and of `[train]` all but what follows | the mix, base weights, tokenizer and template |
//! | exam | `answer`, `books`, `max_prompt_tokens`, `max_new_tokens` | model, papers, prompt template |
//!
//! Left out, because they change speed, memory or what is looked at, never the result: `name`, `description`,
//! `tokens_per_micro_batch`, `block_policy`, `logging_steps`, `eval_steps`, `save_steps`, `save_total_limit`,
//! `validation.max_samples`, `exam.batch_size`, licences.

use medley_mixer::MixtureRatio;
use serde_json::{Value, json};

use crate::typed::Recipe;

/// Changes when the same settings come to mean something else.
const VERSION: u32 = 1;

impl Recipe {
    /// Hash of what decides the mix. `contents`: source name and content hash of each of its files, the hash of the
    /// exam items that are left out, the importer's version; in a fixed order.
    pub fn mix_hash(&self, contents: &[&str]) -> String {
        let mix = &self.mix;
        let sources = mix.sources.iter().map(|(name, source)| {
            let parts = source.parts.iter().map(|part| json!({ "format": part.format, "columns": part.columns }));
            json!({ "name": name, "parts": parts.collect::<Value>() })
        });
        let settings = json!({
            "size": mix.size,
            "seed": mix.seed,
            "ratio": tree(&mix.ratio),
            "on_shortage": mix.on_shortage,
            "validation_fraction": mix.validation.fraction,
            "sources": sources.collect::<Value>(),
        });
        hash("mix", &settings, contents)
    }

    /// Hash of what decides the trained weights. `mix_hash` is the mix's; `base` stands for the base weights, `template`
    /// for tokenizer and chat template.
    pub fn train_hash(&self, mix_hash: &str, base: &str, template: &str) -> String {
        let train = &self.train;
        let settings = json!({
            "dtype": self.model.dtype,
            "chat": self.chat,
            "method": train.method,
            "optimizer": train.optimizer,
            "learning_rate": train.learning_rate,
            "schedule": train.schedule,
            "warmup_ratio": train.warmup_ratio,
            "weight_decay": train.weight_decay,
            "beta1": train.beta1,
            "beta2": train.beta2,
            "epsilon": train.epsilon,
            "max_grad_norm": train.max_grad_norm,
            "epochs": train.epochs,
            "max_steps": train.max_steps,
            "batch_size": train.batch_size,
            "seed": train.seed,
        });
        hash("train", &settings, &[mix_hash, base, template])
    }

    /// Hash of what decides the exam's answers and their grades. `model` is the train hash or a hash of the weights,
    /// `papers` one of the items, `prompt` one of the prompt template.
    pub fn exam_hash(&self, model: &str, papers: &str, prompt: &str) -> String {
        let exam = &self.exam;
        let settings = json!({
            "answer": exam.answer,
            "books": exam.books,
            "max_prompt_tokens": exam.max_prompt_tokens,
            "max_new_tokens": exam.max_new_tokens,
        });
        hash("exam", &settings, &[model, papers, prompt])
    }

    /// The run directory's name: `<name>-<first eight digits of the train hash>`.
    pub fn run_name(&self, train_hash: &str) -> String {
        format!("{}-{}", self.name, hash8(train_hash))
    }
}

/// The first eight digits of a hash.
pub fn hash8(hash: &str) -> &str {
    hash.get(..8).unwrap_or(hash)
}

/// The tree as nested pairs: order matters, because a record in two pools belongs to the first.
fn tree(ratio: &MixtureRatio) -> Value {
    match ratio {
        MixtureRatio::Source(name) => Value::String(name.clone()),
        MixtureRatio::Group(children) => {
            children.iter().map(|(weight, child)| json!([weight, child.name, tree(&child.ratio)])).collect()
        }
    }
}

/// Hexadecimal BLAKE3 of the settings and the contents; each part's length stands before it.
fn hash(stage: &str, settings: &Value, contents: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("medley recipe stage hash");
    hasher.update(&VERSION.to_le_bytes());
    for part in [stage, &settings.to_string()].iter().chain(contents) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}
