//! A model's tokenizer together with its chat template.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tokenizers::Tokenizer;

use crate::error::{ChatError, Rejection};
use crate::files::{Settings, tokenizer_files};
use crate::message::{Message, Role};
use crate::spans::{self, Layout, Rendered};
use crate::template::ChatTemplate;

/// Turns conversations into token ids the way the model was trained to read them, and ids back into text.
#[derive(Debug)]
pub struct ChatTokenizer {
    tokenizer: Tokenizer,
    template: ChatTemplate,
    system: Option<String>,
    /// Text that ends an assistant turn, up to and with its end-of-turn token.
    closing: Option<String>,
    end_of_turn: Vec<u32>,
    pad: u32,
    vocab_size: usize,
    /// Special tokens by their first character.
    specials: HashMap<char, Vec<String>>,
    files: Vec<PathBuf>,
}

/// Tokens of a text, with the bytes each came from.
pub(crate) struct Tokens {
    pub(crate) ids: Vec<u32>,
    pub(crate) offsets: Vec<(usize, usize)>,
}

impl ChatTokenizer {
    /// Reads `tokenizer.json` and what belongs to it from a model's directory: the chat template
    /// (`chat_template.jinja`, or `chat_template` in `tokenizer_config.json`), the special tokens
    /// (`tokenizer_config.json`, `special_tokens_map.json`) and the ids that end a text (`generation_config.json`).
    ///
    /// # Errors
    /// A file that is missing, unreadable or malformed, by its name and key.
    pub fn from_dir(directory: &Path) -> Result<Self, ChatError> {
        let path = directory.join("tokenizer.json");
        let tokenizer = read_tokenizer(&path)?;
        let settings = Settings::read(directory)?;
        let malformed = |path: &Path, message| ChatError::Malformed { path: path.to_owned(), message };
        let (source, template_path) = settings.template;
        let template = ChatTemplate::new(&source, &settings.special_tokens)
            .and_then(|template| template.check_bounds().map(|()| template))
            .map_err(|message| malformed(&template_path, format!("`chat_template`: {message}")))?;
        let config = directory.join("tokenizer_config.json");
        let id = |key: &str, token: &Option<String>| {
            let Some(token) = token else { return Ok(None) };
            let unknown =
                || malformed(&config, format!("`{key}` is {token:?}, which {} does not know", path.display()));
            tokenizer.token_to_id(token).map(Some).ok_or_else(unknown)
        };
        let eos = id("eos_token", &settings.eos_token)?;
        let pad = id("pad_token", &settings.pad_token)?;
        let specials = special_tokens(&tokenizer, settings.eos_token.as_deref());
        let (bos_token, eos_token) = (settings.bos_token.as_ref(), settings.eos_token.as_ref());
        // `bos_token` ends no turn, unless it is also the `eos_token`.
        let may_end = |token: &&String| Some(*token) != bos_token || bos_token == eos_token;
        let ends: Vec<String> = specials.iter().filter(may_end).cloned().collect();
        let closings = spans::closings(&template, &ends);
        // The longest first, as they are sorted.
        let closing_id = |text: &String| {
            let token = ends.iter().find(|token| text.ends_with(*token))?;
            tokenizer.token_to_id(token)
        };
        let closing_ids: Vec<u32> = closings.iter().filter_map(closing_id).collect();
        let mut end_of_turn: Vec<u32> = closing_ids.iter().copied().chain(eos).chain(settings.stop_ids).collect();
        let mut seen = std::collections::HashSet::new();
        end_of_turn.retain(|id| seen.insert(*id));
        let pad = pad.or(eos).or(closing_ids.first().copied()).unwrap_or(0);
        let vocab_size = tokenizer.get_vocab(true).into_values().max().map_or(0, |id| id as usize + 1);
        let mut by_first: HashMap<char, Vec<String>> = HashMap::new();
        for token in specials {
            by_first.entry(token.chars().next().unwrap_or_default()).or_default().push(token);
        }
        Ok(Self {
            tokenizer,
            template,
            system: None,
            closing: closings.into_iter().next(),
            end_of_turn,
            pad,
            vocab_size,
            specials: by_first,
            files: tokenizer_files(directory),
        })
    }

    /// Puts `system` before every conversation that does not begin with a system turn; `None` leaves that to the
    /// template.
    #[must_use]
    pub fn with_system(mut self, system: Option<String>) -> Self {
        self.system = system;
        self
    }

    /// Ids of `text` without a template; a control token that is spelled in it is read as one.
    ///
    /// # Errors
    /// The tokenizer's error.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, ChatError> {
        Ok(self.tokens(text)?.ids)
    }

    /// The conversation as the template writes it; with `generation_prompt` up to where the model goes on.
    ///
    /// # Errors
    /// The template's own refusal.
    pub fn render(&self, messages: &[Message], generation_prompt: bool) -> Result<String, ChatError> {
        Ok(self.template.render(&self.complete(messages), generation_prompt)?)
    }

    /// Ids of a conversation that the model is to go on with.
    ///
    /// # Errors
    /// The template's own refusal, or a message that spells a control token.
    pub fn encode_prompt(&self, messages: &[Message]) -> Result<Vec<u32>, ChatError> {
        let messages = self.complete(messages);
        self.check_messages(&messages)?;
        let ids = self.tokens(&self.template.render(&messages, true)?)?.ids;
        Self::check_prompt(&ids)?;
        Ok(ids)
    }

    /// Refuses an empty prompt.
    pub(crate) fn check_prompt(ids: &[u32]) -> Result<(), Rejection> {
        if ids.is_empty() {
            return Err(Rejection::TemplateRefused {
                message: "it writes nothing for it; is the template empty?".to_owned(),
            });
        }
        Ok(())
    }

    /// Text of `ids` without special tokens. Ids beyond the vocabulary (an embedding often has more rows than the
    /// tokenizer has tokens) give nothing; bytes that are not UTF-8 give U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        self.decode_with(ids, true)
    }

    /// As [`decode`](Self::decode), with the special tokens spelled out.
    pub fn decode_with_special_tokens(&self, ids: &[u32]) -> String {
        self.decode_with(ids, false)
    }

    fn decode_with(&self, ids: &[u32], skip_special_tokens: bool) -> String {
        // Only a decoder that is broken in itself fails, never one that meets odd ids.
        self.tokenizer.decode(ids, skip_special_tokens).unwrap_or_else(|_| "\u{fffd}".to_owned())
    }

    /// Stop ids: the template's end of an assistant turn first, then `eos_token` and the ids of `generation_config.json`.
    pub fn end_of_turn(&self) -> &[u32] {
        &self.end_of_turn
    }

    /// Id to fill up batches with.
    pub fn pad(&self) -> u32 {
        self.pad
    }

    /// Largest id plus one: how many rows an embedding needs.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The chat template's source, part of what decides a training's result.
    pub fn template(&self) -> &str {
        self.template.source()
    }

    /// The tokenizer's files, to be copied beside a saved model.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// `messages` with the system turn that samples without one get.
    pub(crate) fn complete(&self, messages: &[Message]) -> Vec<Message> {
        let lacks = messages.first().is_none_or(|message| message.role != Role::System);
        let system = self.system.as_ref().filter(|_| lacks).map(|text| Message::new(Role::System, text));
        system.into_iter().chain(messages.iter().cloned()).collect()
    }

    /// Refuses messages that spell control tokens or have an invalid passage.
    pub(crate) fn check_messages(&self, messages: &[Message]) -> Result<(), Rejection> {
        for (place, message) in messages.iter().enumerate() {
            if let Some(token) = self.control_token(&message.content) {
                return Err(Rejection::ControlToken { token: token.to_owned(), message: place });
            }
            if let Some(passage) = &message.passage
                && message.content.get(passage.clone()).is_none()
            {
                return Err(Rejection::BadPassage { message: place, start: passage.start, end: passage.end });
            }
        }
        Ok(())
    }

    /// The first special token that `text` spells.
    fn control_token(&self, text: &str) -> Option<&str> {
        text.char_indices().find_map(|(start, character)| {
            let tokens = self.specials.get(&character)?;
            tokens.iter().find(|token| text[start..].starts_with(*token)).map(String::as_str)
        })
    }

    pub(crate) fn tokens(&self, text: &str) -> Result<Tokens, Rejection> {
        let encoding =
            self.tokenizer.encode(text, false).map_err(|error| Rejection::Tokenizer { message: error.to_string() })?;
        Ok(Tokens { ids: encoding.get_ids().to_vec(), offsets: encoding.get_offsets().to_vec() })
    }

    /// Renders a training conversation and locates its answers.
    pub(crate) fn rendered<'a>(&self, messages: &'a [Message]) -> Result<Rendered<'a>, Rejection> {
        spans::rendered(&self.template, messages, self.closing.as_deref())
    }

    pub(crate) fn layout(&self, rendered: Rendered<'_>) -> Layout {
        spans::complete(&self.template, rendered, self.closing.as_deref())
    }

    pub(crate) fn render_prompt(&self, messages: &[Message]) -> Result<String, Rejection> {
        self.template.render(messages, true)
    }
}

fn read_tokenizer(path: &Path) -> Result<Tokenizer, ChatError> {
    if !path.is_file() {
        let hint = "Medley reads the fast tokenizer's file; save one with transformers: \
                    `AutoTokenizer.from_pretrained(…).save_pretrained(…)`";
        return Err(ChatError::Missing { path: path.to_owned(), hint: hint.to_owned() });
    }
    let bytes = std::fs::read(path).map_err(|source| ChatError::Read { path: path.to_owned(), source })?;
    let malformed = |message: String| ChatError::Malformed { path: path.to_owned(), message };
    let mut tokenizer = Tokenizer::from_bytes(bytes)
        .map_err(|error| malformed(format!("not a tokenizer that this version can read: {error}")))?;
    // Cutting and padding are ours.
    tokenizer.with_truncation(None).map_err(|error| malformed(error.to_string()))?;
    tokenizer.with_padding(None);
    Ok(tokenizer)
}

/// All special tokens, longest first so that a match is never a mere prefix of a longer token.
fn special_tokens(tokenizer: &Tokenizer, eos: Option<&str>) -> Vec<String> {
    let added = tokenizer.get_added_tokens_decoder();
    let mut tokens: Vec<String> = added
        .into_values()
        .filter(|token| token.special && !token.content.is_empty())
        .map(|token| token.content)
        .chain(eos.map(str::to_owned))
        .collect();
    tokens.sort_by(|left, right| right.len().cmp(&left.len()).then_with(|| left.cmp(right)));
    tokens.dedup();
    tokens
}
