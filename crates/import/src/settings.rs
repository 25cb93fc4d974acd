//! Readers of single training settings, shared by tools with common names.

use medley_files::yaml::Yaml;
use medley_files::yaml::{YamlEntry, YamlValue};
use medley_recipe::LoraTarget;
use medley_recipe::aliases::NO_QUANTISATION;
use medley_recipe::emit::inline;
use serde_json::{Value, json};

use super::document::{Fate, Reading};
use super::table::Table;
use super::training::{Defaults, LEFT_TO_TOOL, Training};

const EVAL_EPOCH: &str = "`train.eval_steps` counts optimizer steps; `medley plan` shows the steps of an epoch";
const SAVE_EPOCH: &str = "`train.save_steps` counts optimizer steps; `medley plan` shows the steps of an epoch";
const METHODS: &str = "`train.method` is \"lora\" or \"full\"";
pub(super) const SCHEDULES: &str = "`train.schedule` is \"cosine\", \"linear\" or \"constant\"";
const OPTIMIZERS: &str = "`train.optimizer` is \"adamw\" or \"muon\"";
const TARGETS: &str = "`train.lora.target` names linear layers of the blocks: q_proj, k_proj, v_proj, o_proj, gate_proj, \
                       up_proj, down_proj, or all-linear";
const FULL: &str = "it concerns adapters, and every weight is trained";

/// Reads training settings from the tables of a file.
pub(super) struct Settings<'t, 'a, 'r, 'd> {
    pub table: &'t Table<'a>,
    pub reading: &'r mut Reading<'d>,
    pub training: Training,
    pub defaults: Defaults,
}

impl<'a> Settings<'_, 'a, '_, '_> {
    /// First of these keys with a value; marks all of them as handled.
    pub fn find(&self, names: &[&str]) -> Option<&'a YamlEntry> {
        let found: Vec<&YamlEntry> = names.iter().filter_map(|name| self.table.take(name)).collect();
        found.into_iter().next()
    }

    fn refuse(&mut self, entry: &YamlEntry, why: &str) {
        self.reading.note(Fate::NotCarriedOver, None, entry, why);
    }

    /// A number; YAML parses `1e-4` as a string, which is accepted.
    pub fn number(&mut self, names: &[&str]) -> Option<(&'a YamlEntry, f64)> {
        let entry = self.find(names)?;
        let number = match &entry.value.value {
            YamlValue::Integer(number) => Some(*number as f64),
            YamlValue::Float(number) => Some(*number),
            YamlValue::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        match number.filter(|number: &f64| number.is_finite()) {
            Some(number) => Some((entry, number)),
            None => {
                self.refuse(entry, "it is not a number");
                None
            }
        }
    }

    /// An integer; `3.0` is accepted.
    pub fn whole(&mut self, names: &[&str], otherwise: &str) -> Option<(&'a YamlEntry, u64)> {
        let (entry, number) = self.number(names)?;
        if number.fract() == 0.0 && (0.0..1e15).contains(&number) {
            return Some((entry, number as u64));
        }
        self.refuse(entry, otherwise);
        None
    }

    /// Copies a number.
    pub fn carry(&mut self, key: &'static str, names: &[&str]) {
        if let Some((entry, number)) = self.number(names) {
            self.training.set(key, json!(number), entry, self.reading);
        }
    }

    /// Copies an integer.
    pub fn carry_whole(&mut self, key: &'static str, names: &[&str]) {
        let otherwise = format!("`{key}` is a whole number");
        if let Some((entry, number)) = self.whole(names, &otherwise) {
            self.training.set(key, json!(number), entry, self.reading);
        }
    }

    pub fn text(&mut self, names: &[&str]) -> Option<(&'a YamlEntry, String)> {
        let entry = self.find(names)?;
        Some((entry, entry.value.scalar_text()?))
    }

    pub fn is_true(&self, name: &str) -> Option<&'a YamlEntry> {
        self.table.take(name).filter(|entry| entry.value.value == YamlValue::Boolean(true))
    }

    /// Learning-rate schedule and warm-up; transformers' `constant` ignores warm-up.
    pub fn schedule(&mut self, names: &[&str]) {
        let Some((entry, name)) = self.text(names) else { return };
        let known = match name.to_lowercase().as_str() {
            "cosine" | "cosine_with_restarts" => Some("cosine"),
            "linear" => Some("linear"),
            "constant" | "constant_with_warmup" => Some("constant"),
            _ => None,
        };
        let Some(schedule) = known else { return self.refuse(entry, SCHEDULES) };
        self.training.set("train.schedule", json!(schedule), entry, self.reading);
        if name.eq_ignore_ascii_case("constant") {
            self.training.set("train.warmup_ratio", json!(0.0), entry, self.reading);
            for key in ["warmup_steps", "warmup_ratio"] {
                if let Some(entry) = self.table.take(key) {
                    self.reading.note(Fate::NotNeeded, None, entry, "the schedule `constant` has no warm-up");
                }
            }
        }
    }

    /// `warmup_steps` takes precedence over `warmup_ratio`; transformers reads steps below 1 as a ratio.
    pub fn warmup(&mut self, steps: &[&str], ratio: &[&str]) {
        if self.training.has("train.warmup_ratio") {
            return;
        }
        if let Some((entry, steps)) = self.number(steps).filter(|(_, steps)| *steps > 0.0) {
            if steps < 1.0 {
                self.training.set("train.warmup_ratio", json!(steps), entry, self.reading);
            } else {
                self.training.set("train.warmup_steps", json!(steps.ceil() as u64), entry, self.reading);
            }
            if let Some(other) = self.find(ratio) {
                self.reading.note(Fate::NotNeeded, None, other, "the number of warm-up steps takes precedence");
            }
            return;
        }
        self.carry("train.warmup_ratio", ratio);
    }

    pub fn optimizer(&mut self, names: &[&str]) {
        if self.is_true("use_muon").is_some() {
            self.training.given.insert("train.optimizer", json!("muon"));
        }
        let Some((entry, name)) = self.text(names) else { return };
        let name = name.to_lowercase();
        let last = name.rsplit('.').next().unwrap_or(&name).to_owned();
        match last.as_str() {
            "muon" => self.training.set("train.optimizer", json!("muon"), entry, self.reading),
            "adamw"
            | "adamw_torch"
            | "adamw_torch_fused"
            | "adamw_hf"
            | "adamw_apex_fused"
            | "adamw_torch_xla"
            | "adamw_torch_npu_fused"
            | "paged_adamw"
            | "paged_adamw_32bit" => {
                self.training.set("train.optimizer", json!("adamw"), entry, self.reading);
            }
            "adamw8bit" | "pagedadamw8bit" | "pagedadamw" | "adamw_8bit" | "adamw_bnb_8bit" | "paged_adamw_8bit"
            | "adamw_torch_8bit" | "adamw_torch_4bit" => {
                self.training.set("train.optimizer", json!("adamw"), entry, self.reading);
                self.reading.note(Fate::Assumed, None, entry, "AdamW, with its moments in full precision");
            }
            _ => self.refuse(entry, OPTIMIZERS),
        }
    }

    /// Effective batch size: micro-batch times accumulation steps.
    pub fn batch(&mut self, micro: &[&str], accumulation: &[&str], total: &[&str]) {
        const WHOLE: &str = "`train.batch_size` is a whole number: samples in an optimizer step";
        let micro = self.whole(micro, WHOLE);
        let accumulation = self.whole(accumulation, WHOLE);
        let total = self.whole(total, WHOLE);
        if let (None, Some((entry, total))) = (accumulation, total) {
            return self.training.set("train.batch_size", json!(total), entry, self.reading);
        }
        let Some(entry) = micro.or(accumulation).map(|(entry, _)| entry) else { return };
        let per_device = micro.map_or(self.defaults.micro_batch, |(_, number)| number);
        let steps = accumulation.map_or(1, |(_, number)| number.max(1));
        let batch = per_device.saturating_mul(steps);
        self.training.set("train.batch_size", json!(batch), entry, self.reading);
        if !self.training.has("train.batch_size") {
            return;
        }
        let why = format!(
            "{per_device} per device x {steps} accumulated, for one device: multiply it by the number of devices"
        );
        self.reading.add(Fate::Assumed, None, format!("`train.batch_size = {batch}`"), why, &entry.key_span);
    }

    pub fn epochs(&mut self, names: &[&str]) {
        let otherwise = "`train.epochs` is a whole number of passes over the mix; `mix.epochs` takes parts of a source";
        if let Some((entry, epochs)) = self.whole(names, otherwise) {
            self.training.set("train.epochs", json!(epochs), entry, self.reading);
        }
        // transformers' default -1, and 0, set no limit.
        let Some((entry, steps)) = self.number(&["max_steps"]).filter(|(_, steps)| *steps > 0.0) else { return };
        if steps.fract() != 0.0 {
            return self.refuse(entry, "`train.max_steps` is a whole number");
        }
        self.training.set("train.max_steps", json!(steps as u64), entry, self.reading);
        if self.training.has("train.max_steps") {
            let why = "training ends after these steps or after `train.epochs`, whichever comes first";
            self.reading.note(Fate::Assumed, None, entry, why);
        }
    }

    /// LoRA target modules.
    pub fn targets(&mut self, entry: &YamlEntry, names: &[String]) {
        let names = names.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|name| !name.is_empty());
        let (mut found, mut unknown) = (Vec::new(), Vec::new());
        for name in names {
            match name {
                "all" | "all-linear" | "all_linear" | "*" => found.extend(LoraTarget::ALL),
                "output_proj" => found.push(LoraTarget::OProj),
                name => match LoraTarget::ALL.into_iter().find(|target| target.name() == name) {
                    Some(target) => found.push(target),
                    None => unknown.push(name.to_owned()),
                },
            }
        }
        if !unknown.is_empty() {
            let what = format!("{} of `{}`", medley_recipe::quoted_list(unknown.iter().map(String::as_str)), entry.key);
            self.reading.add(Fate::NotCarriedOver, None, what, TARGETS.to_owned(), &entry.key_span);
        }
        self.set_targets(entry, &found);
    }

    pub fn set_targets(&mut self, entry: &YamlEntry, found: &[LoraTarget]) {
        let named: Vec<&str> =
            LoraTarget::ALL.iter().filter(|target| found.contains(target)).map(|target| target.name()).collect();
        let value = if named.len() == LoraTarget::ALL.len() { json!("all-linear") } else { json!(named) };
        if !named.is_empty() {
            self.training.set("train.lora.target", value, entry, self.reading);
        }
    }

    /// LoRA settings under the names of LLaMA-Factory, PEFT and Axolotl.
    pub fn lora(&mut self) {
        const RANK: [&str; 3] = ["lora_rank", "lora_r", "r"];
        const TARGET: [&str; 3] = ["lora_target", "lora_target_modules", "target_modules"];
        if self.training.given.get("train.method") == Some(&json!("full")) {
            let keys = RANK.iter().chain(&TARGET).chain(&["lora_alpha", "lora_dropout", "lora_target_linear"]);
            for entry in keys.filter_map(|key| self.table.take(key)) {
                self.reading.note(Fate::NotNeeded, None, entry, FULL);
            }
            return;
        }
        self.carry_whole("train.lora.rank", &RANK);
        self.carry("train.lora.alpha", &["lora_alpha"]);
        self.carry("train.lora.dropout", &["lora_dropout"]);
        let named = self.find(&TARGET);
        if let Some(entry) = self.is_true("lora_target_linear") {
            self.set_targets(entry, &LoraTarget::ALL);
        } else if let Some(entry) = named {
            let items = entry.value.items().unwrap_or(std::slice::from_ref(&entry.value));
            let names: Vec<String> = items.iter().filter_map(Yaml::scalar_text).collect();
            self.targets(entry, &names);
        }
    }

    /// Full fine-tuning or LoRA.
    pub fn method(&mut self) {
        let (found, name) = match self.text(&["finetuning_type", "adapter"]) {
            Some((entry, name)) => (Some(entry), Some(name.to_lowercase())),
            None => (None, None),
        };
        let quantised = ["load_in_4bit", "load_in_8bit"].iter().find_map(|key| self.is_true(key));
        if let Some(entry) = quantised.filter(|_| name.as_deref() != Some("qlora")) {
            self.refuse(entry, NO_QUANTISATION);
        }
        let peft = self.table.take("use_peft").map(|entry| (entry, entry.value.value == YamlValue::Boolean(true)));
        let unsloth = self.table.has("r") || self.table.has("target_modules");
        let method = match (name.as_deref(), peft) {
            (Some("lora"), _) => "lora",
            (Some("qlora"), _) => {
                if let Some(entry) = found {
                    self.refuse(entry, NO_QUANTISATION);
                }
                "lora"
            }
            (Some("full" | "none" | "false" | ""), _) => "full",
            (Some(_), _) => {
                if let Some(entry) = found {
                    self.refuse(entry, METHODS);
                }
                return;
            }
            (None, Some((_, true))) => "lora",
            (None, Some((_, false))) => "full",
            (None, None) if self.defaults.lora || unsloth => "lora",
            (None, None) => "full",
        };
        self.training.given.insert("train.method", json!(method));
    }

    /// Number format of weights and activations.
    pub fn dtype(&mut self) {
        let bf16 = self.find(&["bf16", "bfloat16"]);
        match bf16.map(|entry| (&entry.value.value, entry)) {
            Some((YamlValue::Boolean(true), entry)) => {
                self.training.set("model.dtype", json!("bf16"), entry, self.reading)
            }
            Some((YamlValue::String(text), entry)) if text == "auto" => {
                self.training.set("model.dtype", json!("auto"), entry, self.reading);
            }
            _ => {}
        }
        if let Some((entry, name)) = self.text(&["torch_dtype", "dtype"]) {
            match name.trim_start_matches("torch.") {
                "bfloat16" | "bf16" => self.training.set("model.dtype", json!("bf16"), entry, self.reading),
                "float32" | "fp32" => self.training.set("model.dtype", json!("f32"), entry, self.reading),
                "auto" => self.training.set("model.dtype", json!("auto"), entry, self.reading),
                _ => self.refuse(entry, "`model.dtype` is \"bf16\", \"f32\" or \"auto\""),
            }
        }
    }

    /// Step intervals of validation, checkpoints and logging.
    pub fn intervals(&mut self) {
        self.interval("train.eval_steps", &["eval_strategy", "evaluation_strategy"], "eval_steps", EVAL_EPOCH);
        self.interval("train.save_steps", &["save_strategy"], "save_steps", SAVE_EPOCH);
        self.carry_whole("train.logging_steps", &["logging_steps"]);
        self.carry_whole("train.save_total_limit", &["save_total_limit"]);
    }

    fn interval(&mut self, key: &'static str, strategy: &[&str], steps: &str, otherwise: &str) {
        let strategy = self.text(strategy);
        match strategy.as_ref().map(|(entry, name)| (*entry, name.as_str())) {
            // YAML 1.1 parses a bare `no` as false.
            Some((entry, "no" | "false")) => {
                self.training.set(key, json!(0), entry, self.reading);
                self.table.take(steps);
                return;
            }
            Some((entry, "epoch" | "best")) => self.refuse(entry, otherwise),
            _ => {}
        }
        if let Some((entry, steps)) = self.whole(&[steps], otherwise) {
            self.training.set(key, json!(steps), entry, self.reading);
        }
    }

    /// Writes the tool's defaults for unset settings that affect the weights.
    pub fn fill(&mut self) {
        let Defaults { learning_rate, epochs, schedule, warmup_ratio, micro_batch, .. } = self.defaults;
        let Defaults { weight_decay, max_grad_norm, rank, alpha, dropout, target, .. } = self.defaults;
        let training = &mut self.training;
        learning_rate.into_iter().for_each(|rate| training.or("train.learning_rate", json!(rate)));
        epochs.into_iter().for_each(|epochs| training.or("train.epochs", json!(epochs)));
        training.or("train.schedule", json!(schedule));
        if !training.has("train.warmup_steps") {
            training.or("train.warmup_ratio", json!(warmup_ratio));
        }
        training.or("train.batch_size", json!(micro_batch));
        training.or("train.weight_decay", json!(weight_decay));
        training.or("train.max_grad_norm", json!(max_grad_norm));
        if training.given.get("train.method") == Some(&json!("lora")) {
            training.or("train.lora.rank", json!(rank));
            let rank = training.given.get("train.lora.rank").and_then(Value::as_f64).unwrap_or(rank as f64);
            training.or("train.lora.alpha", json!(alpha.unwrap_or(rank * 2.0)));
            training.or("train.lora.dropout", json!(dropout));
            let target = if let [only] = target { json!(only) } else { json!(target) };
            training.or("train.lora.target", target);
        }
        if training.defaults.is_empty() {
            return;
        }
        let named = training.defaults.iter().map(|(key, value)| format!("`{key} = {}`", inline(value)));
        let what = named.collect::<Vec<_>>().join(", ");
        let why = format!("{}'s {LEFT_TO_TOOL}", self.defaults.tool);
        self.reading.add(Fate::Assumed, None, what, why, &self.table.span.clone());
    }
}
