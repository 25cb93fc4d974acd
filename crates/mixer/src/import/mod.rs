//! From a record as it stands in its file to a conversation.

mod alpaca;
mod columns;
mod messages;

use medley_chat::Message;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::read::Problem;
use crate::spec::{SourceFormat, SourcePart};
use columns::Column;

/// Version of the importers, in every manifest: another version may read a file otherwise.
pub const IMPORTER_VERSION: u32 = 1;

/// Why a readable record is not part of its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// Nothing is asked.
    EmptyQuestion,
    /// Nothing is answered.
    EmptyAnswer,
    /// The record lacks a column that other records of its file have.
    MissingColumn,
    /// A turn of a role that cannot be trained on, such as a tool's.
    UnsupportedRole,
    /// Turns that are not user and assistant by turns, or do not end with the assistant.
    TurnsOutOfOrder,
}

impl Rejection {
    /// In words, for tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EmptyQuestion => "empty question",
            Self::EmptyAnswer => "empty answer",
            Self::MissingColumn => "missing column",
            Self::UnsupportedRole => "unsupported role",
            Self::TurnsOutOfOrder => "turns out of order",
        }
    }
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Imported {
    Conversation(Vec<Message>),
    Rejected(Rejection),
}

/// The columns that were met, as bits by their index in the importer.
pub(crate) type Seen = u8;

/// Reads the records of one part of a source.
pub(crate) struct Importer {
    format: SourceFormat,
    columns: Vec<Column>,
}

impl Importer {
    pub fn new(part: &SourcePart) -> Self {
        let columns = match part.format {
            SourceFormat::Alpaca => alpaca::columns(&part.columns),
            SourceFormat::Messages => vec![messages::column()],
        };
        Self { format: part.format, columns }
    }

    /// Reads one record and says which columns it has.
    pub fn import(&self, bytes: &[u8]) -> Result<(Imported, Seen), Problem> {
        let record = parse(bytes)?;
        match self.format {
            SourceFormat::Alpaca => alpaca::import(&record, &self.columns),
            SourceFormat::Messages => messages::import(&record),
        }
    }

    /// What is wrong with a file whose records have the columns `seen` between them, `bytes` being the first of them.
    pub fn check_columns(&self, seen: Seen, bytes: &[u8]) -> Result<(), Problem> {
        let mut columns = self.columns.iter().enumerate();
        match columns.find(|(index, column)| column.required && seen & (1 << index) == 0) {
            Some((_, column)) => Err(self.missing_everywhere(column, bytes)),
            None => Ok(()),
        }
    }

    fn missing_everywhere(&self, column: &Column, bytes: &[u8]) -> Problem {
        let keys: Vec<String> = parse(bytes).map(|record| record.keys().cloned().collect()).unwrap_or_default();
        let list = keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        let problem = format!("no record has `{}`; this one has {list}", column.name());
        let hint = match self.format {
            SourceFormat::Alpaca if keys.iter().any(|key| messages::KEYS.contains(&key.as_str())) => {
                "say `format = \"messages\"`".to_owned()
            }
            SourceFormat::Alpaca => columns::suggestion(&keys),
            SourceFormat::Messages => "leave `format` out and name the question and the answer in `columns`".to_owned(),
        };
        Problem::new(problem, hint)
    }
}

fn parse(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        Problem::new(
            format!("not UTF-8 (byte {} of the record)", error.valid_up_to() + 1),
            "convert the file to UTF-8; Chinese files are often GB18030 (`iconv -f GB18030 -t UTF-8`)",
        )
    })?;
    serde_json::from_str(text).map_err(|error| {
        let hint = if error.is_eof() {
            "the record ends early: the file is truncated, or its objects span lines without being in an array"
        } else if error.is_data() {
            "a record is a JSON object"
        } else {
            "mend the JSON; a source is a JSON array of objects or JSON Lines (one object a line)"
        };
        Problem::new(format!("not valid JSON: {error}"), hint)
    })
}
