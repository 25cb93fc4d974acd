//! What a model's directory says about its tokenizer, apart from `tokenizer.json`.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::ChatError;

/// Every file of a model directory that belongs to the tokenizer; what a shipped model must carry along.
const TOKENIZER_FILES: [&str; 10] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "qwen.tiktoken",
];

/// The tokenizer's files that `directory` has.
pub(crate) fn tokenizer_files(directory: &Path) -> Vec<PathBuf> {
    TOKENIZER_FILES.iter().map(|name| directory.join(name)).filter(|path| path.is_file()).collect()
}

/// Chat template and special tokens.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The template and the file it came from.
    pub(crate) template: (String, PathBuf),
    pub(crate) bos_token: Option<String>,
    pub(crate) eos_token: Option<String>,
    pub(crate) pad_token: Option<String>,
    /// Ids that `generation_config.json` stops at.
    pub(crate) stop_ids: Vec<u32>,
}

impl Settings {
    /// Reads `tokenizer_config.json`, `special_tokens_map.json`, `chat_template.jinja` and `generation_config.json` of
    /// `directory`, as far as they are there.
    pub(crate) fn read(directory: &Path) -> Result<Self, ChatError> {
        let config = JsonFile::read(directory.join("tokenizer_config.json"))?;
        let map = JsonFile::read(directory.join("special_tokens_map.json"))?;
        let token = |key: &str| -> Result<Option<String>, ChatError> {
            for file in [&config, &map] {
                if let Some(token) = file.token(key)? {
                    return Ok(Some(token));
                }
            }
            Ok(None)
        };
        Ok(Self {
            template: read_template(directory, &config)?,
            bos_token: token("bos_token")?,
            eos_token: token("eos_token")?,
            pad_token: token("pad_token")?,
            stop_ids: JsonFile::read(directory.join("generation_config.json"))?.ids("eos_token_id")?,
        })
    }
}

/// `chat_template.jinja` wins over the configuration's key, as in transformers.
fn read_template(directory: &Path, config: &JsonFile) -> Result<(String, PathBuf), ChatError> {
    let path = directory.join("chat_template.jinja");
    if path.is_file() {
        let source = std::fs::read_to_string(&path).map_err(|source| ChatError::Read { path: path.clone(), source })?;
        return Ok((source, path));
    }
    let template = match config.get("chat_template") {
        None => {
            return Err(ChatError::Missing {
                path,
                hint: format!(
                    "and {} has no `chat_template` either: take both from the chat version of the model, or write one",
                    config.path.display()
                ),
            });
        }
        Some(Value::String(source)) => source.clone(),
        Some(Value::Array(named)) => default_template(named).ok_or_else(|| {
            config.malformed("`chat_template` is a list without an entry {\"name\": \"default\", \"template\": …}")
        })?,
        Some(other) => {
            return Err(config.malformed(&format!("`chat_template` should be a string or a list, not {other}")));
        }
    };
    Ok((template, config.path.clone()))
}

fn default_template(named: &[Value]) -> Option<String> {
    let entry = named.iter().find(|entry| entry["name"] == "default")?;
    Some(entry["template"].as_str()?.to_owned())
}

/// A JSON object from a file; empty where there is no such file.
struct JsonFile {
    path: PathBuf,
    value: Value,
}

impl JsonFile {
    fn read(path: PathBuf) -> Result<Self, ChatError> {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => "{}".to_owned(),
            Err(source) => return Err(ChatError::Read { path, source }),
        };
        let parsed = serde_json::from_str(text.trim_start_matches('\u{feff}'));
        let file = Self { path, value: parsed.as_ref().cloned().unwrap_or_default() };
        match parsed {
            Err(error) => Err(file.malformed(&format!("not valid JSON: {error}"))),
            Ok(Value::Object(_)) => Ok(file),
            Ok(_) => Err(file.malformed("should hold a JSON object")),
        }
    }

    fn malformed(&self, message: &str) -> ChatError {
        ChatError::Malformed { path: self.path.clone(), message: message.to_owned() }
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.value.get(key).filter(|value| !value.is_null())
    }

    /// A special token: a string, or an object with `content`.
    fn token(&self, key: &str) -> Result<Option<String>, ChatError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let text = value.as_str().or_else(|| value["content"].as_str());
        let wrong = || self.malformed(&format!("`{key}` should be a string or an object with `content`, not {value}"));
        text.map(|text| Some(text.to_owned())).ok_or_else(wrong)
    }

    /// One id or a list of them.
    fn ids(&self, key: &str) -> Result<Vec<u32>, ChatError> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let wrong = || self.malformed(&format!("`{key}` should be a token id or a list of them, not {value}"));
        let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(wrong);
        match value {
            Value::Array(values) => values.iter().map(id).collect(),
            value => Ok(vec![id(value)?]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("temporary directory");
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).expect("writes");
        }
        directory
    }

    #[test]
    fn tokens_may_be_strings_or_objects_and_templates_named() {
        let directory = directory(&[
            (
                "tokenizer_config.json",
                r#"{"chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}],
                    "bos_token": null, "eos_token": {"content": "</s>"}}"#,
            ),
            ("special_tokens_map.json", r#"{"bos_token": "<s>", "eos_token": "other"}"#),
            ("generation_config.json", r#"{"eos_token_id": [3, 5]}"#),
        ]);
        let settings = Settings::read(directory.path()).expect("reads");
        assert_eq!(settings.template.0, "d");
        assert_eq!(settings.bos_token.as_deref(), Some("<s>"));
        assert_eq!(settings.eos_token.as_deref(), Some("</s>"));
        assert_eq!(settings.stop_ids, [3, 5]);
    }

    #[test]
    fn a_template_file_wins_over_the_configuration() {
        let directory =
            directory(&[("tokenizer_config.json", r#"{"chat_template": "old"}"#), ("chat_template.jinja", "new")]);
        assert_eq!(Settings::read(directory.path()).expect("reads").template.0, "new");
    }

    #[test]
    fn errors_name_file_and_key() {
        for (config, expected) in [
            (r#"{"chat_template": 5}"#, "`chat_template` should be"),
            (r#"{"chat_template": [{"name": "rag", "template": "x"}]}"#, "without an entry"),
            (r#"{"chat_template": "x", "eos_token": 7}"#, "`eos_token` should be"),
            (r#"{"#, "not valid JSON"),
            ("[]", "JSON object"),
            ("{}", "no such file"),
        ] {
            let directory = directory(&[("tokenizer_config.json", config)]);
            let message = Settings::read(directory.path()).expect_err(config).to_string();
            assert!(message.contains(expected) && message.contains("tokenizer_config.json"), "{config}: {message}");
        }
    }
}
