//! Stop tokens in the files of a trained model.
//!
//! A base model ends a text with `<|endoftext|>`, a model that was trained on a chat template ends a turn with the template's
//! token (`<|im_end|>`). transformers and vLLM take the stop ids from `generation_config.json`, other programs from `config.json`
//! or the tokenizer's `eos_token`. With the base's files, generation would continue past the end of every answer.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use medley_model::NAMED_TEMPLATES;
use serde_json::{Map, Value, json};

use crate::error::TrainError;

const GENERATION_CONFIG: &str = "generation_config.json";
const CONFIG: &str = "config.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const SPECIAL_TOKENS_MAP: &str = "special_tokens_map.json";
const CHAT_TEMPLATE: &str = "chat_template.jinja";

/// Puts `ids`, the trained one first, before the stop ids in the files of a model or adapter: in `generation_config.json`, which
/// is created if missing, and in `config.json`. The tokenizer's `eos_token` becomes `text`, the trained token, unless a chat
/// template or the tokenizer itself writes the `eos_token`: another one would then change the prompts.
///
/// # Errors
/// When a file cannot be read, is not a JSON object, or cannot be written.
pub(crate) fn write(folder: &Path, ids: &[u32], text: Option<&str>) -> Result<(), TrainError> {
    if ids.is_empty() {
        return Ok(());
    }
    let config = read(&folder.join(CONFIG))?;
    let generation = read(&folder.join(GENERATION_CONFIG))?;
    let named = [&generation, &config].into_iter().flatten().flat_map(stop_ids);
    let mut seen = BTreeSet::new();
    let all: Vec<u64> = ids.iter().map(|&id| id.into()).chain(named).filter(|id| seen.insert(*id)).collect();
    let eos = if let [only] = all.as_slice() { json!(only) } else { json!(all) };

    let mut settings = generation.unwrap_or_else(|| ids_of(config.as_ref()));
    settings.insert("eos_token_id".to_owned(), eos.clone());
    // With this flag, transformers may replace the settings by ones derived from config.json.
    settings.shift_remove("_from_model_config");
    replace(&folder.join(GENERATION_CONFIG), &settings)?;
    if let Some(mut config) = config {
        config.insert("eos_token_id".to_owned(), eos);
        replace(&folder.join(CONFIG), &config)?;
    }
    match text {
        Some(text) if !writes_eos(folder)? => name_token(folder, text),
        _ => Ok(()),
    }
}

/// Other special ids for a new `generation_config.json`: once it exists, transformers does not take them from `config.json`.
fn ids_of(config: Option<&Map<String, Value>>) -> Map<String, Value> {
    let named = ["bos_token_id", "pad_token_id"].into_iter().filter_map(|key| {
        let id = config?.get(key).filter(|id| !id.is_null())?;
        Some((key.to_owned(), id.clone()))
    });
    named.collect()
}

fn name_token(folder: &Path, text: &str) -> Result<(), TrainError> {
    for name in [TOKENIZER_CONFIG, SPECIAL_TOKENS_MAP] {
        let path = folder.join(name);
        let Some(mut settings) = read(&path)? else { continue };
        match settings.get_mut("eos_token") {
            Some(Value::Object(token)) => drop(token.insert("content".to_owned(), text.into())),
            Some(token) => *token = text.into(),
            None if name == TOKENIZER_CONFIG => drop(settings.insert("eos_token".to_owned(), text.into())),
            None => {}
        }
        replace(&path, &settings)?;
    }
    Ok(())
}

/// Whether prompts depend on the `eos_token`.
fn writes_eos(folder: &Path) -> Result<bool, TrainError> {
    let named = fs::read_dir(folder.join(NAMED_TEMPLATES)).into_iter().flatten().flatten().map(|entry| entry.path());
    let files = named.chain([folder.join(CHAT_TEMPLATE)]);
    let in_files = files.into_iter().any(|path| fs::read_to_string(path).is_ok_and(|text| text.contains("eos_token")));
    let settings = read(&folder.join(TOKENIZER_CONFIG))?.unwrap_or_default();
    let adds = settings.get("add_eos_token").and_then(Value::as_bool).unwrap_or(false);
    let in_settings = settings.get("chat_template").is_some_and(|template| template.to_string().contains("eos_token"));
    Ok(adds || in_files || in_settings)
}

/// The card's note on stop tokens. `base` is the directory of an adapter's base model, whose files decide where generation stops.
///
/// # Errors
/// When one of the base's files cannot be read.
pub(crate) fn card_note(ids: &[u32], text: Option<&str>, base: Option<&Path>) -> Result<Option<String>, TrainError> {
    let Some(&trained) = ids.first() else { return Ok(None) };
    let token = text.map_or_else(|| format!("token {trained}"), |text| format!("`{text}` (id {trained})"));
    let Some(base) = base else {
        let note = format!(
            "The model ends a turn with {token}. `generation_config.json` and `config.json` name this id and those of the base \
             model."
        );
        return Ok(Some(note));
    };
    let mut stops = Vec::new();
    for name in [GENERATION_CONFIG, CONFIG] {
        stops.extend(read(&base.join(name))?.iter().flat_map(stop_ids));
        if !stops.is_empty() {
            break;
        }
    }
    let advice = if stops.contains(&trained.into()) {
        "The base model's files name this id, so programs that load the adapter on it stop there.".to_owned()
    } else {
        let all: Vec<String> = std::iter::once(trained.into()).chain(stops).map(|id: u64| id.to_string()).collect();
        format!(
            "The base model's files do not name this id, and they decide where transformers and vLLM stop when they load the \
             adapter on it: pass `eos_token_id=[{}]` to `generate()`, or `stop_token_ids=[{trained}]` in vLLM's \
             `SamplingParams`; otherwise generation continues past the end of the answer.",
            all.join(", ")
        )
    };
    Ok(Some(format!("The adapter ends a turn with {token}. {advice}")))
}

/// The stop ids of a settings file: one id or a list.
fn stop_ids(settings: &Map<String, Value>) -> Vec<u64> {
    match settings.get("eos_token_id") {
        Some(Value::Array(ids)) => ids.iter().filter_map(Value::as_u64).collect(),
        Some(id) => id.as_u64().into_iter().collect(),
        None => Vec::new(),
    }
}

/// A JSON object; `None` where there is no such file.
fn read(path: &Path) -> Result<Option<Map<String, Value>>, TrainError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(TrainError::io(path)(error)),
    };
    let object = serde_json::from_str(text.trim_start_matches('\u{feff}'));
    object.map(Some).map_err(|error| TrainError::io(path)(error.into()))
}

/// Writes a file unless it has this content already.
fn replace(path: &Path, settings: &Map<String, Value>) -> Result<(), TrainError> {
    if read(path)?.as_ref() == Some(settings) {
        return Ok(());
    }
    let text = serde_json::to_string_pretty(settings).expect("a JSON object has string keys") + "\n";
    fs::write(path, text).map_err(TrainError::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}";

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in files {
            fs::write(folder.path().join(name), text).expect("written");
        }
        folder
    }

    fn json_of(folder: &tempfile::TempDir, name: &str) -> Value {
        serde_json::from_slice(&fs::read(folder.path().join(name)).expect("readable")).expect("JSON")
    }

    #[test]
    fn the_trained_stop_id_comes_before_the_bases() {
        let folder = folder(&[
            (CONFIG, r#"{"eos_token_id": 900, "model_type": "qwen2"}"#),
            (
                GENERATION_CONFIG,
                r#"{"_from_model_config": true, "eos_token_id": 900, "pad_token_id": 900, "top_p": 0.8}"#,
            ),
            (
                TOKENIZER_CONFIG,
                r#"{"eos_token": {"content": "<|endoftext|>", "special": true}, "pad_token": "<|endoftext|>"}"#,
            ),
            (SPECIAL_TOKENS_MAP, r#"{"eos_token": "<|endoftext|>"}"#),
            (CHAT_TEMPLATE, TEMPLATE),
        ]);
        write(folder.path(), &[902, 900], Some("<|im_end|>")).expect("written");
        let generation = json_of(&folder, GENERATION_CONFIG);
        assert_eq!(generation, json!({"eos_token_id": [902, 900], "pad_token_id": 900, "top_p": 0.8}));
        assert_eq!(json_of(&folder, CONFIG), json!({"eos_token_id": [902, 900], "model_type": "qwen2"}));
        let tokenizer = json_of(&folder, TOKENIZER_CONFIG);
        assert_eq!(tokenizer["eos_token"], json!({"content": "<|im_end|>", "special": true}));
        assert_eq!(tokenizer["pad_token"], "<|endoftext|>");
        assert_eq!(json_of(&folder, SPECIAL_TOKENS_MAP)["eos_token"], "<|im_end|>");
    }

    #[test]
    fn missing_generation_settings_are_created() {
        let folder = folder(&[(CONFIG, r#"{"bos_token_id": 1, "eos_token_id": [2, 7], "pad_token_id": null}"#)]);
        write(folder.path(), &[32007], None).expect("written");
        assert_eq!(json_of(&folder, GENERATION_CONFIG), json!({"bos_token_id": 1, "eos_token_id": [32007, 2, 7]}));
    }

    #[test]
    fn files_with_the_right_stop_ids_are_not_rewritten() {
        let files = [
            (CONFIG, r#"{"eos_token_id":2}"#),
            (GENERATION_CONFIG, r#"{ "eos_token_id" : 2 }"#),
            (TOKENIZER_CONFIG, r#"{"eos_token": "</s>"}"#),
        ];
        let folder = folder(&files);
        write(folder.path(), &[2], Some("</s>")).expect("nothing to write");
        for (name, text) in files {
            assert_eq!(fs::read_to_string(folder.path().join(name)).expect("readable"), text);
        }
    }

    #[test]
    fn an_eos_token_that_prompts_contain_is_not_renamed() {
        for files in [
            [(TOKENIZER_CONFIG, r#"{"eos_token": "</s>"}"#), (CHAT_TEMPLATE, "{{ bos_token }}x<|end|>{{ eos_token }}")],
            [(TOKENIZER_CONFIG, r#"{"eos_token": "</s>", "chat_template": "{{ eos_token }}"}"#), ("x", "")],
            [(TOKENIZER_CONFIG, r#"{"eos_token": "</s>", "add_eos_token": true}"#), (CHAT_TEMPLATE, TEMPLATE)],
        ] {
            let folder = folder(&files);
            write(folder.path(), &[5, 2], Some("<|end|>")).expect("written");
            assert_eq!(json_of(&folder, TOKENIZER_CONFIG)["eos_token"], "</s>");
            assert_eq!(json_of(&folder, GENERATION_CONFIG)["eos_token_id"], json!([5, 2]));
        }
        let folder = folder(&[(TOKENIZER_CONFIG, r#"{"eos_token": "</s>"}"#), (CHAT_TEMPLATE, TEMPLATE)]);
        fs::create_dir(folder.path().join(NAMED_TEMPLATES)).expect("made");
        fs::write(folder.path().join(NAMED_TEMPLATES).join("default.jinja"), "{{ eos_token }}").expect("written");
        write(folder.path(), &[5, 2], Some("<|end|>")).expect("written");
        assert_eq!(json_of(&folder, TOKENIZER_CONFIG)["eos_token"], "</s>");
    }

    #[test]
    fn the_card_of_an_adapter_names_stop_ids_that_its_base_lacks() {
        let bare = folder(&[(CONFIG, r#"{"eos_token_id": 900}"#)]);
        let note = card_note(&[902, 900], Some("<|im_end|>"), Some(bare.path())).expect("read").expect("a note");
        assert!(note.contains("`<|im_end|>` (id 902)") && note.contains("eos_token_id=[902, 900]"), "{note}");
        let chat =
            folder(&[(CONFIG, r#"{"eos_token_id": 900}"#), (GENERATION_CONFIG, r#"{"eos_token_id": [902, 900]}"#)]);
        let note = card_note(&[902, 900], None, Some(chat.path())).expect("read").expect("a note");
        assert!(note.contains("token 902") && note.contains("stop there") && !note.contains("pass"), "{note}");
        let note = card_note(&[902], Some("<|im_end|>"), None).expect("read").expect("a note");
        assert!(note.contains("generation_config.json"), "{note}");
    }
}
