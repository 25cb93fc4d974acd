//! From a record as it stands in its file to a conversation.

mod alpaca;
mod columns;
mod messages;
mod wanted;

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
    /// Keys of a record that are looked at; the rest is checked but not kept.
    wanted: Vec<String>,
}

impl Importer {
    pub fn new(part: &SourcePart) -> Self {
        let columns = match part.format {
            SourceFormat::Alpaca => alpaca::columns(&part.columns),
            SourceFormat::Messages => vec![messages::column()],
        };
        let wanted = match part.format {
            SourceFormat::Alpaca => columns.iter().flat_map(Column::keys).collect(),
            SourceFormat::Messages => messages::keys(),
        };
        Self { format: part.format, columns, wanted }
    }

    /// Reads one record and says which columns it has.
    pub fn import(&self, bytes: &[u8]) -> Result<(Imported, Seen), Problem> {
        let record = wanted::parse(text(bytes)?, &self.wanted).map_err(|error| invalid(&error))?;
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

/// Every key and value of a record.
fn parse(bytes: &[u8]) -> Result<Map<String, Value>, Problem> {
    serde_json::from_str(text(bytes)?).map_err(|error| invalid(&error))
}

fn text(bytes: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(bytes).map_err(|error| {
        Problem::new(
            format!("not UTF-8 (byte {} of the record)", error.valid_up_to() + 1),
            "convert the file to UTF-8; Chinese files are often GB18030 (`iconv -f GB18030 -t UTF-8`)",
        )
    })
}

fn invalid(error: &serde_json::Error) -> Problem {
    let hint = if error.is_eof() {
        "the record ends early: the file is truncated, or its objects span lines without being in an array"
    } else if error.is_data() {
        "a record is a JSON object"
    } else {
        "mend the JSON; a source is a JSON array of objects or JSON Lines (one object a line)"
    };
    Problem::new(format!("not valid JSON: {error}"), hint)
}

#[cfg(test)]
mod tests {
    use medley_chat::Role::{Assistant, System, User};

    use super::*;
    use crate::spec::Columns;

    fn importer(columns: Columns) -> Importer {
        Importer::new(&SourcePart { columns, ..SourcePart::default() })
    }

    fn named(instruction: &str, output: &str) -> Importer {
        let (instruction, output) = (Some(instruction.to_owned()), Some(output.to_owned()));
        importer(Columns { instruction, output, ..Columns::default() })
    }

    fn turns(importer: &Importer, record: &str) -> Vec<(medley_chat::Role, String)> {
        match importer.import(record.as_bytes()).expect("a good record").0 {
            Imported::Conversation(messages) => messages.into_iter().map(|m| (m.role, m.content)).collect(),
            Imported::Rejected(reason) => panic!("rejected: {reason:?}"),
        }
    }

    fn rejected(importer: &Importer, record: &str) -> Rejection {
        match importer.import(record.as_bytes()).expect("a good record").0 {
            Imported::Rejected(reason) => reason,
            Imported::Conversation(messages) => panic!("accepted: {messages:?}"),
        }
    }

    fn wrong(importer: &Importer, record: &[u8]) -> String {
        let Problem { problem, hint } = importer.import(record).expect_err("a bad record");
        format!("{problem} | {hint}")
    }

    #[test]
    fn alpaca() {
        let plain = importer(Columns::default());
        let record = r#"{"instruction":"译","input":"hi","output":"你好","history":[["一","二"]],"system":"译者"}"#;
        let expected = [(System, "译者"), (User, "一"), (Assistant, "二"), (User, "译\nhi"), (Assistant, "你好")];
        assert_eq!(turns(&plain, record), expected.map(|(role, text)| (role, text.to_owned())));
        let bare = r#"{"instruction":" 问 ","output":"答","input":null,"history":null}"#;
        assert_eq!(turns(&plain, bare), [(User, " 问 ".to_owned()), (Assistant, "答".to_owned())]);
    }

    #[test]
    fn columns_descend_and_join() {
        let nested = named("item.q", "answer.1.text");
        let record = r#"{"item":{"q":["甲","乙"]},"answer":[{"text":"0"},{"text":["是"]}]}"#;
        assert_eq!(turns(&nested, record), [(User, "甲\n乙".to_owned()), (Assistant, "是".to_owned())]);
        let literal = r#"{"item.q":"字面","item":{"q":"下层"},"answer.1.text":"答"}"#;
        assert_eq!(turns(&nested, literal)[0].1, "字面");
    }

    #[test]
    fn what_cannot_be_trained_on_is_rejected() {
        let plain = importer(Columns::default());
        assert_eq!(rejected(&plain, r#"{"instruction":" ","input":"","output":"答"}"#), Rejection::EmptyQuestion);
        assert_eq!(rejected(&plain, r#"{"instruction":"问","output":"\n"}"#), Rejection::EmptyAnswer);
        assert_eq!(rejected(&plain, r#"{"instruction":"问","output":[]}"#), Rejection::EmptyAnswer);
        assert_eq!(rejected(&plain, r#"{"instruction":"问"}"#), Rejection::MissingColumn);
        assert_eq!(
            rejected(&plain, r#"{"instruction":"问","output":"答","history":[["问",""]]}"#),
            Rejection::EmptyAnswer
        );
    }

    #[test]
    fn conversations() {
        let chat = Importer::new(&SourcePart { format: SourceFormat::Messages, ..SourcePart::default() });
        let openai = r#"{"messages":[{"role":"system","content":""},{"role":"user","content":"问"},
            {"role":"assistant","content":"答"}]}"#;
        assert_eq!(turns(&chat, openai), [(User, "问".to_owned()), (Assistant, "答".to_owned())]);
        let sharegpt = r#"{"conversations":[{"from":"human","value":"问"},{"from":"gpt","value":"答"}],"system":"医"}"#;
        assert_eq!(turns(&chat, sharegpt)[0], (System, "医".to_owned()));
        let tool = r#"{"messages":[{"role":"user","content":"问"},{"role":"tool","content":"1"}]}"#;
        assert_eq!(rejected(&chat, tool), Rejection::UnsupportedRole);
        let unanswered = r#"{"messages":[{"role":"user","content":"问"}]}"#;
        assert_eq!(rejected(&chat, unanswered), Rejection::TurnsOutOfOrder);
        assert_eq!(rejected(&chat, r#"{"messages":[]}"#), Rejection::EmptyQuestion);
        let silent = r#"{"messages":[{"role":"user","content":"问"},{"role":"assistant","content":null}]}"#;
        assert_eq!(rejected(&chat, silent), Rejection::EmptyAnswer);
        assert!(wrong(&chat, br#"{"messages":"hi"}"#).starts_with("`messages` is a text; expected a list of turns"));
        assert!(wrong(&chat, br#"{"messages":[{"content":"hi"}]}"#).starts_with("turn 1 of `messages` lacks"));
    }

    #[test]
    fn wrong_types_say_how_to_mend_them() {
        let plain = importer(Columns::default());
        let message = wrong(&plain, br#"{"instruction":"q","output":3}"#);
        assert!(message.starts_with("`output` is a number; expected text or a list of texts | "), "{message}");
        let message = wrong(&plain, br#"{"instruction":"q","output":{"text":"a"}}"#);
        assert!(message.ends_with("a dot descends into it: `output.text`"), "{message}");
        let message = wrong(&plain, br#"{"instruction":["q",1],"output":"a"}"#);
        assert!(message.starts_with("`instruction` is a list that holds a number"), "{message}");
        let message = wrong(&plain, br#"{"instruction":"q","output":"a","history":[["q"]]}"#);
        assert!(message.starts_with("turn 1 of `history` is not a pair"), "{message}");
        let message = wrong(&plain, b"{\"instruction\":\"q\",\"output\":\"\xc4\xe3\"}");
        assert!(message.starts_with("not UTF-8 (byte 30 of the record)"), "{message}");
        assert!(message.contains("GB18030"), "{message}");
        assert!(wrong(&plain, b"{\"instruction\":\"q\"").contains("the record ends early"));
        assert!(wrong(&plain, b"[1]").contains("a record is a JSON object"));
        assert!(wrong(&plain, b"{'a':1}").contains("mend the JSON"));
        let bomb = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
        assert!(wrong(&plain, &[b"{\"output\":".as_slice(), &bomb, b"}"].concat()).contains("recursion limit"));
    }

    #[test]
    fn a_column_that_no_record_has_names_those_there_are() {
        let plain = importer(Columns::default());
        let check = |importer: &Importer, record: &[u8]| {
            let (_, seen) = importer.import(record).expect("a record");
            importer.check_columns(seen, record).map_err(|Problem { problem, hint }| format!("{problem} | {hint}"))
        };
        assert_eq!(
            check(&plain, br#"{"query":"q","response":"a"}"#).expect_err("no Alpaca"),
            "no record has `instruction`; this one has `query`, `response` | say which columns hold what: \
             `columns = { instruction = \"query\", output = \"response\" }`"
        );
        assert!(check(&plain, br#"{"conversations":[]}"#).expect_err("no Alpaca").contains("format = \"messages\""));
        assert!(check(&plain, br#"{"zh_instruction":"q","zh_output":"a"}"#).expect_err("no").contains("\"zh_output\""));
        let input = importer(Columns { input: Some("contxt".to_owned()), ..Columns::default() });
        let record = br#"{"instruction":"q","output":"a","context":"c"}"#;
        assert!(check(&input, record).expect_err("mistyped").starts_with("no record has `contxt`"));
        assert_eq!(check(&plain, record), Ok(()));
    }
}
