//! The prompt: passages, question and options in the wording of a template, cut to fit without losing the question.

use std::path::{Path, PathBuf};

use medley_chat::{ChatError, TextTemplate};
use medley_recipe::{AnswerForm, Book};
use medley_run::paired::book_folder;
use serde::Serialize;

use crate::error::{EvalError, PromptLimit};
use crate::item::{AnswerOption, Item, Kind};

/// Turns a prompt's wording into the model's tokens and tokens into an answer.
pub trait Codec {
    /// Tokens of one user turn with the generation prompt.
    ///
    /// # Errors
    /// The refusal of the tokenizer or the chat template.
    fn encode(&self, prompt: &str) -> Result<Vec<u32>, String>;

    /// The text of an answer's tokens, without special tokens.
    fn decode(&self, tokens: &[u32]) -> String;

    /// The text of a prompt's tokens, with special tokens.
    fn show(&self, tokens: &[u32]) -> String {
        self.decode(tokens)
    }
}

/// The wording of a question: a Jinja template.
///
/// Its variables are `passages` (a list, empty closed-book), `question`, `options` (each with `letter` and `text`), `kind`
/// (`single` or `multiple`), `answer` (`letter` or `text`) and `exam`.
#[derive(Debug)]
pub struct PromptTemplate {
    name: String,
    hash: String,
    template: TextTemplate,
}

#[derive(Serialize)]
struct PromptValues<'a> {
    passages: &'a [String],
    question: &'a str,
    options: &'a [AnswerOption],
    kind: Kind,
    answer: AnswerForm,
    exam: &'a str,
}

/// A prompt that fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// What the model reads.
    pub input_ids: Vec<u32>,
    /// True where passages were cut.
    pub truncated: bool,
    /// Hash of the tokens.
    pub hash: String,
}

impl PromptTemplate {
    /// A built-in template (`zh`, `en`), or a file, looked for in `base_dir` and then in the working directory.
    ///
    /// # Errors
    /// No such file, a template that does not compile or render, or one that omits question, options or passages.
    pub fn load(name: &str, base_dir: &Path) -> Result<Self, EvalError> {
        match name {
            "zh" => Self::parse(name, include_str!("../templates/zh.txt.jinja")),
            "en" => Self::parse(name, include_str!("../templates/en.txt.jinja")),
            _ => {
                let beside = base_dir.join(name);
                let path = if beside.exists() { beside } else { PathBuf::from(name) };
                let hint = "exam.prompt is `zh`, `en` or the path of a template file";
                let text = std::fs::read_to_string(&path).map_err(|error| EvalError::file(&path, error, hint))?;
                Self::parse(name, &text)
            }
        }
    }

    fn parse(name: &str, text: &str) -> Result<Self, EvalError> {
        let template = TextTemplate::new(text).map_err(|error| template_error(name, &error))?;
        let hash = blake3::hash(text.as_bytes()).to_hex().to_string();
        let template = Self { name: name.to_owned(), hash, template };
        template.prove()?;
        Ok(template)
    }

    /// Renders a probe: a template that drops a part of the question would otherwise only show in the score.
    fn prove(&self) -> Result<(), EvalError> {
        let option = |letter, text: &str| AnswerOption { letter, text: text.to_owned() };
        let item = Item {
            id: "probe".to_owned(),
            exam: "physician".to_owned(),
            kind: Kind::Single,
            question: "{question}".to_owned(),
            options: vec![option('A', "{first}"), option('B', "{second}")],
            answer: ['A'].into(),
            passages: vec!["{passage}".to_owned()],
            lure: None,
        };
        let shown = self.render(&item, &item.passages, AnswerForm::Letter)?;
        let parts =
            [("question", "{question}"), ("options", "{first}"), ("options", "{second}"), ("passages", "{passage}")];
        match parts.into_iter().find(|(_, probe)| !shown.contains(probe)) {
            None => Ok(()),
            Some((part, _)) => Err(EvalError::file(
                &self.name,
                format!("the prompt does not show `{part}`"),
                "write it into the template",
            )),
        }
    }

    /// Checks that an item's prompt contains its question and all of its options.
    ///
    /// # Errors
    /// [`EvalError::PartNotShown`] with the missing part.
    pub(crate) fn shows(&self, item: &Item, book: Book, answer: AnswerForm) -> Result<(), EvalError> {
        let passages = if book == Book::Open { item.passages.as_slice() } else { &[] };
        let shown = self.render(item, passages, answer)?;
        let hidden = |part: String| EvalError::PartNotShown {
            id: item.id.clone(),
            template: self.name.clone(),
            part,
            book: book_folder(book),
        };
        if !shown.contains(item.question.trim()) {
            return Err(hidden("question".to_owned()));
        }
        match item.options.iter().find(|option| !shown.contains(option.text.trim())) {
            Some(option) => Err(hidden(format!("option {}", option.letter))),
            None => Ok(()),
        }
    }

    /// `zh`, `en` or the path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Hash of the template's text.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The wording of one question with these passages.
    ///
    /// # Errors
    /// The template does not render, e.g. for an undefined variable.
    pub fn render(&self, item: &Item, passages: &[String], answer: AnswerForm) -> Result<String, EvalError> {
        let values = PromptValues {
            passages,
            question: &item.question,
            options: &item.options,
            kind: item.kind,
            answer,
            exam: &item.exam,
        };
        let shown = self.template.render(&values).map_err(|error| template_error(&self.name, &error))?;
        Ok(shown.trim().to_owned())
    }

    /// The tokens of one question, its passages cut from the end until at most `max_tokens` are left.
    ///
    /// # Errors
    /// The prompt is too long even without passages, or does not render or encode.
    pub fn build(
        &self,
        item: &Item,
        book: Book,
        answer: AnswerForm,
        codec: &dyn Codec,
        max_tokens: usize,
    ) -> Result<Prompt, EvalError> {
        let passages = if book == Book::Open { item.passages.as_slice() } else { &[] };
        let encode = |passages: &[String]| {
            let refused = |reason| EvalError::Encode { id: item.id.clone(), reason };
            codec.encode(&self.render(item, passages, answer)?).map_err(refused)
        };
        let whole = encode(passages)?;
        if whole.len() <= max_tokens {
            return Ok(Prompt::new(whole, false));
        }
        let bare = encode(&[])?;
        if bare.len() > max_tokens {
            let (tokens, limit) = (bare.len(), max_tokens);
            return Err(EvalError::PromptTooLong { id: item.id.clone(), tokens, limit, bound: PromptLimit::Setting });
        }
        // The longest start of the passages that fits: nearly proportional to tokens, so bisect over characters.
        let (mut fits, mut too_long) = (0, passages.iter().map(|passage| passage.chars().count()).sum());
        let mut best = bare;
        while too_long - fits > 1 {
            let middle = fits + (too_long - fits) / 2;
            let candidate = encode(&first_characters(passages, middle))?;
            if candidate.len() <= max_tokens {
                (fits, best) = (middle, candidate);
            } else {
                too_long = middle;
            }
        }
        Ok(Prompt::new(best, true))
    }
}

fn template_error(name: &str, error: &ChatError) -> EvalError {
    let hint = "a template is Jinja with the variables passages, question, options, kind, answer and exam";
    EvalError::file(name, error, hint)
}

impl Prompt {
    fn new(input_ids: Vec<u32>, truncated: bool) -> Self {
        let bytes: Vec<u8> = input_ids.iter().flat_map(|token| token.to_le_bytes()).collect();
        Self { input_ids, truncated, hash: blake3::hash(&bytes).to_hex()[..16].to_owned() }
    }
}

/// The first `count` characters of the passages taken together.
fn first_characters(passages: &[String], mut count: usize) -> Vec<String> {
    let mut kept = Vec::new();
    for passage in passages {
        if count == 0 {
            break;
        }
        let start: String = passage.chars().take(count).collect();
        count -= start.chars().count();
        kept.push(start);
    }
    kept
}

#[cfg(test)]
#[path = "prompt_tests.rs"]
mod tests;
