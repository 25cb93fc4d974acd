//! Tokenizer settings of a model's directory beside `tokenizer.json`: chat template, special tokens, stop ids.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::ChatError;

/// The tokenizer's files in a model directory, copied along with a trained model.
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
    /// Special tokens by their variable name in templates.
    pub(crate) special_tokens: Vec<(&'static str, String)>,
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
        let special_tokens = special_tokens(directory, &config, &map)?;
        Ok(Self {
            template: read_template(directory, &config)?,
            special_tokens,
            bos_token: token("bos_token")?,
            eos_token: token("eos_token")?,
            pad_token: token("pad_token")?,
            stop_ids: JsonFile::read(directory.join("generation_config.json"))?.ids("eos_token_id")?,
        })
    }
}

/// Special tokens that transformers passes to templates, in its order.
const SPECIAL_TOKENS: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// Defaults of transformers' tokenizer classes for tokens that `tokenizer_config.json` does not set.
const CLASS_DEFAULTS: [(&str, &[(&str, &str)]); 3] = [
    (
        "Qwen2Tokenizer",
        &[("eos_token", "<|endoftext|>"), ("unk_token", "<|endoftext|>"), ("pad_token", "<|endoftext|>")],
    ),
    ("LlamaTokenizer", &[("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>")]),
    (
        "GemmaTokenizer",
        &[
            ("bos_token", "<bos>"),
            ("eos_token", "<eos>"),
            ("unk_token", "<unk>"),
            ("pad_token", "<pad>"),
            ("mask_token", "<mask>"),
        ],
    ),
];

/// Special tokens for templates: from `tokenizer_config.json`, `special_tokens_map.json`, then the tokenizer class's default.
fn special_tokens(
    directory: &Path,
    config: &JsonFile,
    map: &JsonFile,
) -> Result<Vec<(&'static str, String)>, ChatError> {
    let named = config.get("tokenizer_class").and_then(Value::as_str).unwrap_or_default();
    let named = named.strip_suffix("Fast").unwrap_or(named);
    // transformers loads every tokenizer of a qwen2 model with this class.
    let is_qwen2 =
        JsonFile::read(directory.join("config.json")).is_ok_and(|model| model.value["model_type"] == "qwen2");
    let class = if is_qwen2 { "Qwen2Tokenizer" } else { named };
    let defaults = CLASS_DEFAULTS.iter().find(|(known, _)| *known == class).map_or(&[][..], |(_, tokens)| *tokens);
    let mut tokens = Vec::new();
    for name in SPECIAL_TOKENS {
        // An explicit null overrides the class's default.
        let silent = config.value.get(name).is_none();
        let default =
            || defaults.iter().find(|(known, _)| *known == name && silent).map(|(_, token)| (*token).to_owned());
        let token = match config.token(name)? {
            Some(token) => Some(token),
            None => map.token(name)?,
        };
        tokens.extend(token.or_else(default).map(|token| (name, token)));
    }
    Ok(tokens)
}

/// transformers' directory of additional templates, one file per name.
const NAMED_TEMPLATES: &str = "additional_chat_templates";

/// As in transformers, a template file takes precedence over `tokenizer_config.json`; of several templates, `default` is used.
fn read_template(directory: &Path, config: &JsonFile) -> Result<(String, PathBuf), ChatError> {
    let path = directory.join("chat_template.jinja");
    let files = [directory.join(NAMED_TEMPLATES).join("default.jinja"), path.clone()];
    if let Some(path) = files.into_iter().find(|path| path.is_file()) {
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
        Some(Value::String(source)) => Some(source.clone()),
        Some(Value::Array(named)) => default_template(named),
        Some(Value::Object(named)) => named.get("default").and_then(Value::as_str).map(str::to_owned),
        Some(other) => {
            return Err(config.malformed(&format!("`chat_template` should be a string or a list, not {other}")));
        }
    };
    let template = template.ok_or_else(|| {
        config.malformed("`chat_template` is a list without an entry {\"name\": \"default\", \"template\": …}")
    })?;
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
    use medley_files::WithHelp as _;

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
    fn of_several_templates_the_default_is_used() {
        let config = ("tokenizer_config.json", r#"{"chat_template": {"default": "d", "tool_use": "t"}}"#);
        let with = |files: &[(&str, &str)]| {
            let directory = directory(&[config]);
            std::fs::create_dir(directory.path().join(NAMED_TEMPLATES)).expect("creates");
            for (name, text) in files {
                std::fs::write(directory.path().join(name), text).expect("writes");
            }
            Settings::read(directory.path()).expect("reads").template.0
        };
        assert_eq!(with(&[]), "d");
        let tool_use = ("additional_chat_templates/tool_use.jinja", "named");
        assert_eq!(with(&[tool_use, ("chat_template.jinja", "file")]), "file");
        assert_eq!(
            with(&[tool_use, ("additional_chat_templates/default.jinja", "default"), ("chat_template.jinja", "file")]),
            "default"
        );
    }

    #[test]
    fn a_template_sees_the_special_tokens_of_the_files_and_of_the_class() {
        let tokens = |config: &str, model: &str| {
            let directory = directory(&[("tokenizer_config.json", config), ("config.json", model)]);
            Settings::read(directory.path()).expect("reads").special_tokens
        };
        let named = |pairs: &[(&'static str, &str)]| -> Vec<(&'static str, String)> {
            pairs.iter().map(|(name, token)| (*name, (*token).to_owned())).collect()
        };
        let plain =
            r#"{"chat_template": "x", "bos_token": "<s>", "pad_token": null, "mask_token": {"content": "<m>"}}"#;
        assert_eq!(tokens(plain, "{}"), named(&[("bos_token", "<s>"), ("mask_token", "<m>")]));
        let end = "<|endoftext|>";
        let qwen = r#"{"chat_template": "x", "eos_token": "<|im_end|>", "bos_token": null, "pad_token": null}"#;
        assert_eq!(
            tokens(qwen, r#"{"model_type": "qwen2"}"#),
            named(&[("eos_token", "<|im_end|>"), ("unk_token", end)])
        );
        let fast = r#"{"chat_template": "x", "tokenizer_class": "Qwen2TokenizerFast"}"#;
        assert_eq!(tokens(fast, "{}"), named(&[("eos_token", end), ("unk_token", end), ("pad_token", end)]));
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
            let message = Settings::read(directory.path()).expect_err(config).with_help();
            assert!(message.contains(expected) && message.contains("tokenizer_config.json"), "{config}: {message}");
        }
    }
}
