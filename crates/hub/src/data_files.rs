//! Data files by their names: formats, compression, descriptions without records.

/// Suffixes of data files in directories and hub data sets, before compression suffixes.
const JSON_FILES: [&str; 3] = [".json", ".jsonl", ".ndjson"];
const TABLES: [&str; 3] = [".csv", ".tsv", ".parquet"];
const PACKINGS: [&str; 3] = [".gz", ".zst", ".xz"];

/// JSON files of a model.
pub const MODEL_DESCRIPTIONS: [&str; 7] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "adapter_config.json",
];

/// JSON files that describe a data set or a training run.
const DESCRIPTIONS: [&str; 11] = [
    "dataset_infos.json",
    "dataset_info.json",
    "dataset_dict.json",
    "state.json",
    "metadata.json",
    "dataset-metadata.json",
    "datapackage.json",
    "croissant.json",
    "trainer_state.json",
    "package.json",
    "package-lock.json",
];

/// Whether a file of this name, packed or not, describes a data set or a model, and so has no records.
pub fn is_description(name: &str) -> bool {
    let base = unpacked(name.rsplit('/').next().unwrap_or(name)).to_lowercase();
    DESCRIPTIONS.contains(&base.as_str()) || MODEL_DESCRIPTIONS.contains(&base.as_str())
}

/// Files of one layout, since repositories often have the same records in several: JSON, else Parquet, else tables.
pub fn one_family<'n>(names: &[&'n str]) -> Vec<&'n str> {
    let of = |wanted: usize| names.iter().filter(move |name| family(name) == wanted).copied().collect::<Vec<_>>();
    (0..3).map(of).find(|family| !family.is_empty()).unwrap_or_default()
}

/// Rank of a file's format: JSON, Parquet, tables.
pub fn family(name: &str) -> usize {
    if is_json_file(name) {
        0
    } else if name.ends_with(".parquet") {
        1
    } else {
        2
    }
}

/// The file name without folder, suffixes and shard number: `train` of `data/train-00000-of-00002-0af3.parquet` and of
/// `train.jsonl.gz`.
pub fn stem(name: &str) -> &str {
    let base = unpacked(name.rsplit('/').next().unwrap_or(name));
    let base = base.rsplit_once('.').map_or(base, |(stem, _)| stem);
    let sharded = base.split_once("-of-").and_then(|(front, _)| front.rsplit_once('-'));
    match sharded {
        Some((front, number)) if number.len() == 5 && number.bytes().all(|byte| byte.is_ascii_digit()) => front,
        _ => base,
    }
}

/// Whether the glob `files` matches a file, by its whole path or by its name.
pub fn matches_file(pattern: &glob::Pattern, path: &str) -> bool {
    pattern.matches(path) || pattern.matches(path.rsplit('/').next().unwrap_or(path))
}

/// Whether a file is read without a `files` pattern, by the suffix of its name.
pub fn is_data_file(name: &str) -> bool {
    is_json_file(name) || TABLES.iter().any(|end| unpacked(name).ends_with(end))
}

/// Whether a file's name says that it is JSON.
pub fn is_json_file(name: &str) -> bool {
    JSON_FILES.iter().any(|end| unpacked(name).ends_with(end))
}

fn unpacked(name: &str) -> &str {
    PACKINGS.iter().find_map(|packing| name.strip_suffix(packing)).unwrap_or(name)
}

/// `owner/name`, as the hub allows them.
pub fn is_dataset_id(path: &str) -> bool {
    let allowed = |name: &str| {
        !name.is_empty()
            && !name.starts_with(['.', '-'])
            && name.chars().all(|character| character.is_ascii_alphanumeric() || "._-".contains(character))
    };
    path.split_once('/').is_some_and(|(owner, name)| allowed(owner) && allowed(name)) && !is_data_file(path)
}
