//! `answers.jsonl`: what was answered, item by item, so that a killed exam goes on where it stopped.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::EvalError;
use crate::grade::Failure;

/// The first line: everything that decides the answers. Another value of any of them is another exam.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// Inputs by name.
    pub inputs: BTreeMap<String, String>,
}

/// A later line: one item's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AnswerRecord {
    /// The item.
    pub id: String,
    /// Its exam.
    pub exam: String,
    /// Hash of the prompt's tokens.
    pub prompt_hash: String,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// True where its passages were cut.
    pub truncated: bool,
    /// The prompt with special tokens, if `exam.keep_prompts` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// What was written.
    pub answer: String,
    /// Options chosen.
    pub chosen: String,
    /// The key.
    pub key: String,
    /// Right in content and form.
    pub right: bool,
    /// Why not.
    pub failure: Option<Failure>,
}

/// An open answer file.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    file: File,
    answers: HashMap<(String, String), String>,
}

impl Journal {
    /// Opens or begins the answer file in `folder`. A last line that a killed process left unfinished is taken out.
    ///
    /// # Errors
    /// The file is of another exam, is damaged, or cannot be written.
    pub fn open(folder: &Path, header: &Header) -> Result<Self, EvalError> {
        let path = folder.join("answers.jsonl");
        let io = |error: std::io::Error| {
            EvalError::file(&path, error, "check the folder's permissions and the disk's free space")
        };
        fs::create_dir_all(folder).map_err(io)?;
        let text = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(io(error)),
        };
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let answers = parse(&path, &text[..whole], header)?;
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(io)?;
        file.set_len(whole as u64).map_err(io)?;
        let mut journal = Self { path, file, answers };
        if whole == 0 {
            journal.append(header)?;
        }
        Ok(journal)
    }

    /// What was answered to this prompt of this item.
    pub fn answer(&self, id: &str, prompt_hash: &str) -> Option<&str> {
        self.answers.get(&(id.to_owned(), prompt_hash.to_owned())).map(String::as_str)
    }

    /// Adds an answer: it is on disk when this returns.
    pub fn record(&mut self, record: &AnswerRecord) -> Result<(), EvalError> {
        self.append(record)
    }

    fn append(&mut self, line: &impl Serialize) -> Result<(), EvalError> {
        let failed = |error: String| EvalError::file(&self.path, error, "check the disk's free space");
        let mut bytes = serde_json::to_vec(line).map_err(|error| failed(error.to_string()))?;
        bytes.push(b'\n');
        // One write a line: a line is whole or is the last.
        self.file.write_all(&bytes).and_then(|()| self.file.flush()).map_err(|error| failed(error.to_string()))
    }
}

fn parse(path: &Path, text: &[u8], header: &Header) -> Result<HashMap<(String, String), String>, EvalError> {
    let Some((found, records)) = read_lines(path, text)? else {
        return Ok(HashMap::new());
    };
    if let Some(reason) = header.difference(&found) {
        return Err(EvalError::Foreign { path: path.to_path_buf(), reason });
    }
    Ok(records.into_iter().map(|record| ((record.id, record.prompt_hash), record.answer)).collect())
}

/// The header and the answers of a file's whole lines; `None` for a file without any.
fn read_lines(path: &Path, text: &[u8]) -> Result<Option<(Header, Vec<AnswerRecord>)>, EvalError> {
    let damaged = |line: usize, error: serde_json::Error| {
        EvalError::file(path, format!("line {line} is damaged: {error}"), "remove the file to sit the exam anew")
    };
    let mut lines = text.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
    let Some((_, first)) = lines.next() else {
        return Ok(None);
    };
    let header = serde_json::from_slice(first).map_err(|error| damaged(1, error))?;
    let record = |(index, line)| serde_json::from_slice(line).map_err(|error| damaged(index + 1, error));
    Ok(Some((header, lines.map(record).collect::<Result<_, _>>()?)))
}

impl Header {
    /// The first input in which an answer file differs from what is to be sat.
    fn difference(&self, found: &Self) -> Option<String> {
        let names = self.inputs.keys().chain(found.inputs.keys());
        let differing = names.into_iter().find(|name| self.inputs.get(*name) != found.inputs.get(*name))?;
        let show = |header: &Self| header.inputs.get(differing).cloned().unwrap_or_else(|| "unset".to_owned());
        Some(format!("these answers were given with {differing} = {}, now it is {}", show(found), show(self)))
    }
}
