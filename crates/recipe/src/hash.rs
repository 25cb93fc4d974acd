//! Hash of everything that decides a run's weights: two runs with the same hash would end with the same weights.
//!
//! Names and paths do not decide a result; the contents they lead to do. So the hash takes the mix's own hash (in its
//! manifest), one of the base weights and one of tokenizer and template, and of the recipe exactly what matters:
//! `model.dtype`, `[chat]`, and of `[train]` all but `tokens_per_micro_batch`, `block_policy`, `optimizer_in_backward`,
//! `logging_steps`, `eval_steps`, `save_steps`, `save_total_limit` and `keep`, which change speed, memory, disk or output.
//! Where the validation loss decides (`early_stopping`, `result = "best"`), `eval_steps` is hashed as well.

use serde_json::{Value, json};

use crate::typed::{Recipe, SaveDtype, TrainResult};

/// Changes when the same settings come to mean something else.
const VERSION: u32 = 1;

impl Recipe {
    /// Hash of everything that determines the trained weights. `mix_hash` identifies the mix, `base` the base weights,
    /// `template` the tokenizer and chat template.
    pub fn train_hash(&self, mix_hash: &str, base: &str, template: &str) -> String {
        hash("train", &self.deciding_settings(), &[mix_hash, base, template])
    }

    /// Settings that affect the weights and differ from `earlier`, each with both values.
    pub fn deciding_differences(&self, earlier: &Self) -> Vec<String> {
        let all = |recipe: &Self| json!({"mix": recipe.mix, "train": recipe.deciding_settings()});
        let mut differences = Vec::new();
        collect_differences("", &all(earlier), &all(self), &mut differences);
        differences
    }

    fn deciding_settings(&self) -> Value {
        let train = &self.train;
        let mut settings = json!({
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
        // Absent settings are not hashed, so existing hashes stay valid.
        if let Some(steps) = train.warmup_steps {
            settings["warmup_steps"] = steps.into();
        }
        if train.save_dtype != SaveDtype::default() {
            settings["save_dtype"] = json!(train.save_dtype);
        }
        if train.result == TrainResult::Best {
            settings["result"] = json!(train.result);
        }
        if let Some(early_stopping) = train.early_stopping {
            settings["early_stopping"] = json!(early_stopping);
        }
        if train.result == TrainResult::Best || train.early_stopping.is_some() {
            settings["eval_steps"] = json!(train.eval_steps);
        }
        settings
    }

    /// The run directory's name: `<name>-<first eight digits of the train hash>`.
    pub fn run_name(&self, train_hash: &str) -> String {
        format!("{}-{}", self.name, hash8(train_hash))
    }
}

fn collect_differences(path: &str, earlier: &Value, now: &Value, differences: &mut Vec<String>) {
    match (earlier, now) {
        (Value::Object(old), Value::Object(new)) => {
            for key in old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))) {
                let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let value = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
                collect_differences(&inner, &value(old), &value(new), differences);
            }
        }
        _ if earlier != now => differences.push(format!("{} was {earlier}, is {now}", setting_name(path))),
        _ => {}
    }
}

/// The setting as a recipe writes it.
fn setting_name(path: &str) -> String {
    match (path.strip_prefix("train.method."), path.strip_prefix("train.chat.")) {
        (Some("method"), _) => "train.method".to_owned(),
        (Some(setting), _) => format!("train.lora.{setting}"),
        (_, Some(setting)) => format!("chat.{setting}"),
        _ if path == "train.dtype" => "model.dtype".to_owned(),
        _ => path.to_owned(),
    }
}

/// The first eight digits of a hash.
pub fn hash8(hash: &str) -> &str {
    hash.get(..8).unwrap_or(hash)
}

/// Hexadecimal BLAKE3 of the settings and the contents; each part is prefixed with its length.
fn hash(stage: &str, settings: &Value, contents: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("medley recipe stage hash");
    hasher.update(&VERSION.to_le_bytes());
    for part in [stage, &settings.to_string()].iter().chain(contents) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}
