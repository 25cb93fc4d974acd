//! `adapter_config.json` of PEFT: the settings that decide how an adapter's tensors are merged. Unsupported settings and unknown
//! keys are refused by name, because ignoring one would merge wrong weights silently.

use std::path::Path;

use serde_json::{Map, Value};

use super::targets::{LayerChoice, Names, Pattern, Targets};
use super::{HEAD, TABLE};
use crate::config::DecoderConfig;
use crate::error::Result;
use crate::keys::{Keys, read_object};
use crate::lora::ADAPTER_CONFIG;

/// Keys that do not affect merging.
///
/// `fan_in_fan_out` is for layers that store their weight transposed, and PEFT switches it off for linear ones; EVA
/// only chooses the initial A; `revision` is the base model's.
const IGNORED: [&str; 13] = [
    "auto_mapping",
    "base_model_name_or_path",
    "ephemeral_gpu_offload",
    "eva_config",
    "fan_in_fan_out",
    "inference_mode",
    "lora_dropout",
    "megatron_core",
    "merge_weights",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
];

/// Keys that are read below.
const READ: [&str; 19] = [
    "alpha_pattern",
    "bias",
    "ensure_weight_tying",
    "exclude_modules",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_alpha",
    "lora_bias",
    "modules_to_save",
    "peft_type",
    "r",
    "rank_pattern",
    "target_modules",
    "task_type",
    "trainable_token_indices",
    "use_dora",
    "use_rslora",
];

/// Unsupported keys of PEFT and the feature that each enables; null, false and empty values disable it and are accepted.
const UNSUPPORTED: [(&str, &str); 14] = [
    ("alora_invocation_tokens", "aLoRA, which is active only after its invocation tokens,"),
    ("arrow_config", "routing between adapters"),
    ("corda_config", "CorDA, whose initialisation depends on data that the adapter does not contain,"),
    ("enable_lora", "LoRA on fused projections"),
    ("kasa_config", "KaSA"),
    ("layer_replication", "a base with replicated layers"),
    ("lora_ga_config", "LoRA-GA, whose initialisation depends on gradients that the adapter does not contain,"),
    ("megatron_config", "Megatron's tensor parallelism"),
    ("monteclora_config", "MonteCLoRA"),
    ("target_parameters", "LoRA on parameters that are no linear layer"),
    ("use_bdlora", "BD-LoRA with block-diagonal factors"),
    ("use_qalora", "QA-LoRA, which pools its input,"),
    ("velora_config", "VeLoRA"),
    ("trainable_tokens_config", "the method Trainable Tokens"),
];

/// The frozen weight that the adapter was trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseWeight {
    /// The base model's weight.
    Plain,
    /// PiSSA's residual: the weight minus its best approximation of the adapter's rank (Meng et al. 2024).
    WithoutPrincipal,
    /// OLoRA's residual: the weight minus `scale * Q[:, :rank] R[:rank, :]` of its QR decomposition (Büyükakyüz 2024).
    WithoutFirstQr,
}

/// Biases of the base model that were trained and are in the adapter's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdapterBias {
    /// None.
    None,
    /// Those of the adapted projections.
    LoraOnly,
    /// All.
    All,
}

/// The settings of a PEFT adapter that affect merging.
#[derive(Clone, Debug)]
pub struct AdapterConfig {
    /// Rank of modules that no `rank_pattern` matches.
    pub rank: usize,
    /// Alpha of modules that no `alpha_pattern` matches.
    pub alpha: f64,
    /// Dropout probability of the adapter's input in training.
    pub dropout: f64,
    /// rsLoRA: the scale is `alpha / sqrt(rank)` instead of `alpha / rank` (Kalajdzievski 2023).
    pub rslora: bool,
    /// DoRA: every row of the merged weight is rescaled to a trained magnitude (Liu et al. 2024).
    pub dora: bool,
    /// B has a bias.
    pub lora_bias: bool,
    /// Biases of the base model that were trained.
    pub bias: AdapterBias,
    /// The frozen weight that the adapter was trained on.
    pub base_weight: BaseWeight,
    pub(super) targets: Targets,
    /// `modules_to_save`: modules whose weights are in the adapter's file as a whole.
    saved: Vec<String>,
    /// `trainable_token_indices`: names of tables (embedding or head) and their trained rows.
    pub(super) rows: Vec<(String, Vec<usize>)>,
    ranks: Vec<(Pattern, usize)>,
    alphas: Vec<(Pattern, f64)>,
}

impl AdapterConfig {
    /// Interprets the settings; `path` is named in errors.
    ///
    /// # Errors
    /// When a key is missing, mistyped, unknown or unsupported.
    pub(super) fn from_map(settings: &Map<String, Value>, path: &Path) -> Result<Self> {
        let keys = Keys { map: settings, path };
        refuse_unsupported(&keys)?;
        let config = Self {
            rank: keys.positive("r")?,
            alpha: keys.required("lora_alpha")?,
            dropout: keys.optional("lora_dropout")?.unwrap_or(0.0),
            rslora: keys.optional("use_rslora")?.unwrap_or(false),
            dora: keys.optional("use_dora")?.unwrap_or(false),
            lora_bias: keys.optional("lora_bias")?.unwrap_or(false),
            bias: bias(&keys)?,
            base_weight: base_weight(&keys)?,
            targets: targets(&keys)?,
            saved: keys.optional("modules_to_save")?.unwrap_or_default(),
            rows: rows(&keys)?,
            ranks: patterns(&keys, "rank_pattern", |rank| rank.as_u64()?.try_into().ok())?,
            alphas: patterns(&keys, "alpha_pattern", Value::as_f64)?,
        };
        if config.ranks.iter().any(|(_, rank)| *rank == 0) {
            return Err(keys.problem("rank_pattern", "has a rank of 0, expected at least 1"));
        }
        if config.dora && config.lora_bias {
            return Err(
                keys.problem("lora_bias", "is true together with use_dora, a combination that PEFT refuses, too")
            );
        }
        let tied = keys.optional("ensure_weight_tying")? == Some(true);
        if tied && !(config.saved.is_empty() && config.rows.is_empty()) {
            return Err(
                keys.problem("ensure_weight_tying", "is true together with trained tables, which is not supported")
            );
        }
        Ok(config)
    }

    /// Reads the settings of an adapter without its tensors.
    ///
    /// # Errors
    /// When the file cannot be read, or a key is missing, mistyped, unknown or unsupported.
    pub fn from_dir(directory: &Path) -> Result<Self> {
        let path = directory.join(ADAPTER_CONFIG);
        Self::from_map(&read_object(&path)?, &path)
    }

    /// Turns the shape of the base model into that of the merged one: tied tables are untied where the adapter changes only one.
    pub fn untie(&self, base: &mut DecoderConfig) {
        let changed = |path: &str| self.is_saved(path) || self.targets.has(path);
        if base.tie_word_embeddings && (changed(TABLE) || changed(HEAD)) {
            base.tie_word_embeddings = false;
            base.source.insert("tie_word_embeddings".to_owned(), false.into());
        }
    }

    /// The rank of a module's factors; the first matching pattern decides.
    pub(super) fn rank_of(&self, module: &str) -> usize {
        first_match(&self.ranks, module).unwrap_or(self.rank)
    }

    /// The factor of a module's `B A`.
    pub(super) fn scale_of(&self, module: &str) -> f64 {
        let (rank, alpha) = (self.rank_of(module) as f64, first_match(&self.alphas, module).unwrap_or(self.alpha));
        if self.rslora { alpha / rank.sqrt() } else { alpha / rank }
    }

    /// Whether `modules_to_save` names the module or one around it.
    pub(super) fn is_saved(&self, path: &str) -> bool {
        let around = path.match_indices('.').map(|(dot, _)| &path[..dot]).chain([path]);
        around.into_iter().any(|path| self.saved.iter().any(|name| path.ends_with(name.as_str())))
    }

    /// Whether it is plain LoRA with one rank and alpha, the only kind that training can continue.
    pub(super) fn is_uniform(&self) -> bool {
        let variant = self.rslora || self.dora || self.lora_bias || self.bias != AdapterBias::None;
        let patterns = !self.ranks.is_empty() || !self.alphas.is_empty();
        let beside = !self.saved.is_empty() || !self.rows.is_empty();
        self.base_weight == BaseWeight::Plain && !variant && !patterns && !beside
    }
}

fn first_match<T: Copy>(patterns: &[(Pattern, T)], module: &str) -> Option<T> {
    patterns.iter().find(|(pattern, _)| pattern.matches(module)).map(|(_, value)| *value)
}

/// Whether a value disables its feature.
fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// Refuses other methods than LoRA, unsupported features and unknown keys.
fn refuse_unsupported(keys: &Keys<'_>) -> Result<()> {
    let kind: String = keys.required("peft_type")?;
    if kind != "LORA" {
        return Err(keys.problem("peft_type", format!("is \"{kind}\", only \"LORA\" is supported")));
    }
    let task: Option<String> = keys.optional("task_type")?;
    if let Some(task) = task.filter(|task| task != "CAUSAL_LM") {
        return Err(keys.problem("task_type", format!("is \"{task}\", only \"CAUSAL_LM\" is supported")));
    }
    for (key, value) in keys.map {
        if IGNORED.contains(&key.as_str()) || READ.contains(&key.as_str()) || value.is_null() {
            continue;
        }
        match UNSUPPORTED.iter().find(|(name, _)| name == key) {
            Some(_) if is_unset(value) => {}
            Some((_, feature)) => return Err(keys.problem(key, format!("is {value}: {feature} is not supported"))),
            None => {
                let problem = format!(
                    "is {value}, an unknown key that may change how the weights are merged; if it does not, remove it from \
                     the file or set it to null"
                );
                return Err(keys.problem(key, problem));
            }
        }
    }
    if keys.map.get("loftq_config").is_some_and(|value| !is_unset(value)) {
        let problem = "is set: LoftQ replaces the base weights by quantised ones, which is not supported";
        return Err(keys.problem("loftq_config", problem));
    }
    Ok(())
}

fn bias(keys: &Keys<'_>) -> Result<AdapterBias> {
    let bias: Option<String> = keys.optional("bias")?;
    match bias.as_deref() {
        None | Some("none") => Ok(AdapterBias::None),
        Some("lora_only") => Ok(AdapterBias::LoraOnly),
        Some("all") => Ok(AdapterBias::All),
        Some(other) => {
            Err(keys.problem("bias", format!("is \"{other}\", expected \"none\", \"lora_only\" or \"all\"")))
        }
    }
}

/// The initialisation of the factors, which decides whether a part of the base weight was moved into them.
fn base_weight(keys: &Keys<'_>) -> Result<BaseWeight> {
    let key = "init_lora_weights";
    let name = match keys.map.get(key) {
        None | Some(Value::Null | Value::Bool(_)) => return Ok(BaseWeight::Plain),
        Some(Value::String(name)) => name,
        Some(other) => return Err(keys.problem(key, format!("is {other}, expected a boolean or a name"))),
    };
    match name.as_str() {
        "pissa" => Ok(BaseWeight::WithoutPrincipal),
        // These three leave the base weights unchanged.
        "orthogonal" | "eva" => Ok(BaseWeight::Plain),
        name if name.eq_ignore_ascii_case("gaussian") => Ok(BaseWeight::Plain),
        name if name.eq_ignore_ascii_case("olora") => Ok(BaseWeight::WithoutFirstQr),
        name if name.starts_with("pissa_niter_") => Err(keys.problem(
            key,
            format!(
                "is \"{name}\": a randomised decomposition that cannot be reproduced changed the base weights; save the \
                 adapter as plain LoRA (PEFT's save_pretrained with path_initial_model_for_weight_conversion)"
            ),
        )),
        name => Err(keys.problem(
            key,
            format!(
                "is \"{name}\", an initialisation that is not supported; expected true, false, \"gaussian\", \
                 \"orthogonal\", \"eva\", \"pissa\" or \"olora\""
            ),
        )),
    }
}

fn targets(keys: &Keys<'_>) -> Result<Targets> {
    let included = names(keys, "target_modules")?;
    let included = included.ok_or_else(|| keys.problem("target_modules", "names no modules"))?;
    let excluded = names(keys, "exclude_modules")?;
    if matches!(&excluded, Some(Names::AllLinear)) {
        return Err(keys.problem("exclude_modules", "is \"all-linear\", expected names or a regular expression"));
    }
    let key = "layers_to_transform";
    let layers: Option<Vec<usize>> = match keys.map.get(key) {
        Some(Value::Number(_)) => Some(vec![keys.required(key)?]),
        _ => keys.optional(key)?,
    };
    let layers = layers.filter(|layers| !layers.is_empty());
    let patterns: Vec<String> = match keys.map.get("layers_pattern") {
        Some(Value::String(pattern)) if pattern.is_empty() => Vec::new(),
        Some(Value::String(pattern)) => vec![pattern.clone()],
        _ => keys.optional("layers_pattern")?.unwrap_or_default(),
    };
    if layers.is_some() && !matches!(included, Names::List(_)) {
        return Err(keys.problem(key, "is set although target_modules is no list, which PEFT refuses"));
    }
    let problem = |problem: String| keys.problem("layers_pattern", problem);
    let layers = layers.map(|layers| LayerChoice::new(layers, &patterns).map_err(problem)).transpose()?;
    let saved: Vec<String> = keys.optional("modules_to_save")?.unwrap_or_default();
    Targets::new(included, excluded, layers, &saved).map_err(|problem| keys.problem("modules_to_save", problem))
}

/// Module names: a list, or a string with a regular expression.
fn names(keys: &Keys<'_>, key: &str) -> Result<Option<Names>> {
    Ok(match keys.map.get(key) {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if text.eq_ignore_ascii_case("all-linear") => Some(Names::AllLinear),
        Some(Value::String(text)) => {
            Some(Names::Pattern(Pattern::whole(text).map_err(|problem| keys.problem(key, problem))?))
        }
        Some(_) => {
            let list: Vec<String> = keys.required(key)?;
            if list.is_empty() { None } else { Some(Names::List(list)) }
        }
    })
}

/// Values by regular expression of the module's path, in the order of the file.
fn patterns<T>(keys: &Keys<'_>, key: &str, read: impl Fn(&Value) -> Option<T>) -> Result<Vec<(Pattern, T)>> {
    let map: Map<String, Value> = keys.optional(key)?.unwrap_or_default();
    map.iter()
        .map(|(text, value)| {
            let pattern = Pattern::end_of_path(text).map_err(|problem| keys.problem(key, problem))?;
            let value = read(value)
                .ok_or_else(|| keys.problem(key, format!("gives \"{text}\" the value {value}, expected a number")))?;
            Ok((pattern, value))
        })
        .collect()
}

/// Trained rows: a list for the embedding, or lists by table name.
fn rows(keys: &Keys<'_>) -> Result<Vec<(String, Vec<usize>)>> {
    let key = "trainable_token_indices";
    match keys.map.get(key) {
        Some(Value::Object(tables)) => {
            let tables = tables.iter().map(|(table, rows)| {
                let rows = serde_json::from_value(rows.clone());
                Ok((table.clone(), rows.map_err(|error| keys.problem(key, format!("has {table}: {error}")))?))
            });
            tables.collect()
        }
        _ => {
            let rows: Option<Vec<usize>> = keys.optional(key)?;
            Ok(rows.filter(|rows| !rows.is_empty()).map(|rows| ("embed_tokens".to_owned(), rows)).into_iter().collect())
        }
    }
}
