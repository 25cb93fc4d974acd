//! Recognises configuration files of other training tools by their keys.

use medley_files::yaml::{Yaml, YamlEntry};

/// LLaMA-Factory's name.
pub const LLAMA_FACTORY: &str = "LLaMA-Factory";
/// Axolotl's name.
pub const AXOLOTL: &str = "Axolotl";
/// torchtune's name.
pub const TORCHTUNE: &str = "torchtune";
/// TRL's name.
pub const TRL: &str = "TRL";

/// Keys of LLaMA-Factory that say where a data set is; the first that is given counts.
pub const LOCATION_KEYS: [&str; 6] =
    ["hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name", "file_name"];

/// Keys of TRL that name a data set.
pub const DATASET_KEYS: [&str; 2] = ["dataset_name", "dataset"];

/// Keys that identify a training configuration, as opposed to a data set description.
pub const TRAINING_KEYS: [&str; 22] = [
    "learning_rate",
    "num_train_epochs",
    "num_epochs",
    "max_steps",
    "finetuning_type",
    "adapter",
    "lora_rank",
    "lora_r",
    "lora_alpha",
    "lora_target",
    "lora_target_modules",
    "lora_target_linear",
    "use_peft",
    "lr_scheduler_type",
    "lr_scheduler",
    "per_device_train_batch_size",
    "micro_batch_size",
    "gradient_accumulation_steps",
    "warmup_ratio",
    "warmup_steps",
    "weight_decay",
    "optimizer",
];

/// Tool that a configuration file belongs to; `None` if it is not YAML or JSON, or the tool is unknown.
pub fn tool_of(text: &str) -> Option<&'static str> {
    let root = Yaml::parse(text).ok()?;
    let entries = root.entries()?;
    if is_dataset_info(entries) || is_llama_factory(entries) {
        return Some(LLAMA_FACTORY);
    }
    if is_torchtune(entries) {
        return Some(TORCHTUNE);
    }
    if is_trl(entries) {
        return Some(TRL);
    }
    is_axolotl(entries).then_some(AXOLOTL)
}

/// Whether a table describes data sets.
pub fn is_dataset_info(root: &[YamlEntry]) -> bool {
    let describes = |entry: &YamlEntry| LOCATION_KEYS.iter().any(|place| entry.value.get(place).is_some());
    root.iter().any(describes)
}

/// Whether a table is a training of LLaMA-Factory.
pub fn is_llama_factory(root: &[YamlEntry]) -> bool {
    let has = |key: &str| root.iter().any(|entry| entry.key == key);
    let names = root.iter().find(|entry| entry.key == "dataset").map(|entry| &entry.value);
    let are_names = names.is_some_and(|names| {
        names.text().is_some() || names.items().is_some_and(|items| items.iter().all(|item| item.text().is_some()))
    });
    are_names && ["dataset_dir", "template", "finetuning_type", "stage", "cutoff_len"].into_iter().any(has)
}

/// Whether a table is a configuration of Axolotl.
pub fn is_axolotl(root: &[YamlEntry]) -> bool {
    let sets = root.iter().find(|entry| entry.key == "datasets").and_then(|entry| entry.value.items());
    sets.is_some_and(|sets| sets.iter().any(|set| set.get("path").is_some()))
}

/// Whether a table is a configuration of torchtune.
pub fn is_torchtune(root: &[YamlEntry]) -> bool {
    let dataset = root.iter().find(|entry| entry.key == "dataset").map(|entry| &entry.value);
    let items = dataset.map(|dataset| dataset.items().unwrap_or(std::slice::from_ref(dataset))).unwrap_or_default();
    items.iter().any(|item| item.get("_component_").is_some())
}

/// Whether a file configures a training: it names a data set by one key, lists some beside `model_name_or_path`, or has
/// several of transformers' `TrainingArguments`.
pub fn is_trl(root: &[YamlEntry]) -> bool {
    let get = |key: &str| root.iter().find(|entry| entry.key == key).map(|entry| &entry.value);
    let has = |key: &str| get(key).is_some();
    let named = DATASET_KEYS.iter().any(|key| get(key).is_some_and(|name| name.text().is_some()));
    let listed =
        get("datasets").and_then(Yaml::items).is_some_and(|sets| sets.iter().any(|set| set.get("path").is_some()));
    // Tables of these names are those of other files, such as DeepSpeed's.
    let says = |key: &&&str| get(key).and_then(Yaml::scalar_text).is_some_and(|value| value != "auto");
    let marks = TRAINING_KEYS.iter().filter(says).count();
    let model = ["model_name_or_path", "model_name", "max_seq_length"].into_iter().any(has);
    if has("base_model") || has("datasets") && !listed {
        return false;
    }
    if listed { has("model_name_or_path") } else { named && (model || marks > 0) || marks > 1 && !has("dataset") }
}
