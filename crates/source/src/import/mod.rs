//! Importers: from a raw record of a file to a conversation.

mod alpaca;
mod choice;
mod columns;
mod conversation;
mod fields;
mod file_keys;
mod identify;
mod keys;
mod marks;
mod messages;
mod moss;
mod packed;
mod pair;
mod shape;
mod suggest;

use medley_chat::{Message, Role};
use medley_mixture::Rejection;
use medley_mixture::canonical::Draft;
use medley_mixture::filter::{Condition, ConditionResult, Finding};
use medley_mixture::spec::{Columns, OptionColumns, SourceFormat, SourcePart, Supervise};
use medley_reader::{Problem, RawRecord};
use serde_json::Value;

pub use choice::{Choice, ChoiceQuestion, KeyEvidence, RecordProblem, Unanswered, named_letters};
use columns::Column;
pub use fields::all_fields;
use fields::{Fields, Names};
pub use file_keys::FileKeys;
pub use identify::Identified;
pub use marks::contradiction;
pub use shape::Shape;

/// Result of importing a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Imported {
    /// A conversation.
    Conversation(Vec<Message>),
    /// Left out, with the reason.
    Rejected(Rejection),
}

/// Mask of the columns found in records, a bit for each index in the importer.
pub type ColumnMask = u8;

/// The messages of a record that [`Importer::identify`] knows, by a shorter way than [`Importer::import_of`].
pub fn read_plain(record: &[u8]) -> Vec<Message> {
    // Identified records can be read.
    identify::messages(record).unwrap_or_default()
}

/// The columns of a record that [`Importer::identify`] recognises.
pub const PLAIN_SEEN: ColumnMask = 1;

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedRecord {
    /// The outcome.
    pub imported: Imported,
    /// Why a condition of the recipe leaves the conversation out.
    pub unmet: Option<Box<Finding>>,
    /// Columns that the record has.
    pub seen: ColumnMask,
    /// Layout that it was read as.
    pub shape: Shape,
}

/// Reads the records of one part of a source.
pub struct Importer {
    plan: Plan,
    names: Names,
    supervise: Supervise,
    /// The number of the first option in numeric answers of exam items, where the recipe sets it.
    answers_from: Option<u8>,
    /// The recipe's conditions on fields of the record.
    conditions: Vec<(Column, Condition)>,
    /// Preference marks, unless the recipe uses their columns.
    marks: Option<marks::AnswerMarks>,
    /// Whether the recipe names the columns `prompt` and `completion` (KTO).
    names_preferences: bool,
}

/// How records are read.
enum Plan {
    /// Each by its own keys.
    Recognise,
    /// By these columns; packed questions are taken apart.
    Named(Vec<Column>),
    /// By these columns, texts unchanged.
    Alpaca(Vec<Column>),
    /// As conversations.
    Messages(messages::Conversations),
    /// As exam items, by these columns.
    Items(ItemColumns),
}

/// The named columns of exam items: question, answer, options, then passage and explanation.
struct ItemColumns {
    columns: Columns,
    paths: Vec<Column>,
}

/// Named columns of exam items that a file must have: question, answer and two options.
const CHECKED_COLUMNS: usize = 4;

impl ItemColumns {
    fn new(columns: &Columns, names: &mut Names) -> Self {
        let Columns { instruction, output, input, explanation, options, .. } = columns;
        let mut column = |name: Option<&str>, default: &str, always| Column::new(name, default, always, names);
        let mut paths =
            vec![column(instruction.as_deref(), "question", true), column(output.as_deref(), "answer", true)];
        let options = options.as_ref().map(OptionColumns::names).unwrap_or_default();
        paths.extend(options.iter().map(|name| column(Some(name), "", true)));
        paths.push(column(input.as_deref(), "", false));
        paths.push(column(explanation.as_deref(), "explanation", false));
        // Every question has two options; a file may lack the columns of the others.
        paths.iter_mut().skip(CHECKED_COLUMNS).for_each(|column| column.required = false);
        Self { columns: columns.clone(), paths }
    }

    fn read<'a>(&self, fields: &'a Fields) -> Result<ChoiceQuestion<'a>, Problem> {
        ChoiceQuestion::read_columns(&self.columns, &|name| {
            self.paths.iter().find(|column| column.name() == name)?.value(fields)
        })
    }

    /// The mask of the columns that a file must have.
    fn seen(&self, fields: &Fields) -> ColumnMask {
        let is_there = |(_, column): &(usize, &Column)| column.value(fields).is_some();
        self.paths
            .iter()
            .take(CHECKED_COLUMNS)
            .enumerate()
            .filter(is_there)
            .fold(0, |seen, (index, _)| seen | 1 << index)
    }
}

impl Importer {
    /// An importer for the records of `part`.
    pub fn new(part: &SourcePart) -> Self {
        let mut names = Names::default();
        let plan = match part.format {
            SourceFormat::Alpaca => Plan::Alpaca(alpaca::columns(&part.columns, &mut names)),
            SourceFormat::Messages => Plan::Messages(messages::Conversations::new(&part.columns, &mut names)),
            _ if part.columns.of_conversations() => {
                Plan::Messages(messages::Conversations::new(&part.columns, &mut names))
            }
            _ if part.columns.options.is_some() => Plan::Items(ItemColumns::new(&part.columns, &mut names)),
            _ if part.columns.name_fields() => Plan::Named(alpaca::columns(&part.columns, &mut names)),
            _ => {
                names = keys::names();
                Plan::Recognise
            }
        };
        let conditions = part.filter.conditions.iter().flatten().filter_map(|text| Condition::parse(text).ok());
        let conditions =
            conditions.map(|condition| (Column::new(Some(&condition.path), "", false, &mut names), condition));
        let conditions: Vec<(Column, Condition)> = conditions.collect();
        let asked = conditions.iter().map(|(column, _)| column.name());
        let marks = marks::AnswerMarks::new(&part.columns, asked, &mut names);
        let Columns { instruction, output, .. } = &part.columns;
        let names_preferences = (instruction.as_deref(), output.as_deref()) == (Some("prompt"), Some("completion"));
        let answers_from = part.columns.answers_from;
        Self { plan, names, supervise: part.supervise, answers_from, conditions, marks, names_preferences }
    }

    /// Whether the importer reads the column.
    pub fn wants(&self, column: &str) -> bool {
        self.names.find(column).is_some()
    }

    /// Reads one record by itself.
    #[cfg(test)]
    pub fn import(&self, record: RawRecord<'_>) -> Result<ImportedRecord, Problem> {
        self.import_of(record, &FileKeys::default())
    }

    /// Adds a record to the evidence of how its file's answers name options.
    pub fn observe(&self, record: RawRecord<'_>, evidence: &mut KeyEvidence) {
        // A record that cannot be read is reported by its import.
        let Ok(fields) = Fields::read(record, &self.names) else { return };
        match &self.plan {
            Plan::Recognise => {
                let none = KeyEvidence::default();
                let exam = keys::Exam { answers_from: self.answers_from, evidence: &|| &none };
                shape::observe(&fields, &self.names, exam, evidence);
            }
            Plan::Items(columns) => {
                if let Ok(question) = columns.read(&fields) {
                    evidence.observe(&question);
                }
            }
            Plan::Named(_) | Plan::Alpaca(_) | Plan::Messages(_) => {}
        }
    }

    /// Reads one record of a file.
    pub fn import_of(&self, record: RawRecord<'_>, file: &FileKeys<'_>) -> Result<ImportedRecord, Problem> {
        let mut read = self.read(record, file)?;
        if let Imported::Conversation(messages) = &mut read.imported {
            if self.supervise == Supervise::Last {
                let earlier = messages.len().saturating_sub(1);
                messages[..earlier].iter_mut().for_each(|message| message.unlearned = message.role == Role::Assistant);
            }
            if messages.iter().all(|message| message.role != Role::Assistant || message.unlearned) {
                read.imported = Imported::Rejected(Rejection::NothingLearned);
            }
        }
        Ok(read)
    }

    /// Writes the canonical content of a plain record, a JSON object of valid UTF-8 in the first `length` bytes of `text`: what
    /// [`Self::import_of`] reads as a conversation with the columns of [`PLAIN_SEEN`]. `None` says nothing about the record.
    #[inline]
    pub fn identify(&self, text: &[u8], length: usize, draft: &mut Draft<'_>) -> Option<Identified> {
        let recognises = matches!(self.plan, Plan::Recognise) && self.conditions.is_empty();
        let identified = recognises.then(|| identify::identify(text, length, &self.names, draft))??;
        // Where the last answer alone is learned, turns are more than their texts.
        (identified.shape == Shape::Alpaca || self.supervise == Supervise::All).then_some(identified)
    }

    /// Whether a file that is this object alone holds one record, sound or broken, and not several in a layout of one object.
    pub fn knows(&self, object: &[u8]) -> bool {
        let record = RawRecord::Json(object);
        match self.import_of(record, &FileKeys::default()).map(|read| read.imported) {
            Ok(Imported::Rejected(Rejection::Unrecognised)) => {
                suggest::of_turns(record, &fields::entries(record)).is_some()
            }
            Ok(Imported::Rejected(Rejection::MissingColumn | Rejection::ListsOfTexts)) => false,
            Ok(_) => true,
            Err(_) => self.is_broken_record(record),
        }
    }

    /// Whether an object that cannot be imported is a record all the same: it has a key twice, or a list of turns.
    fn is_broken_record(&self, record: RawRecord<'_>) -> bool {
        let Ok(fields) = Fields::parse(record, &self.names) else { return false };
        let is_list = |value: &Value| value.get(0).is_some_and(Value::is_object);
        let has_turns = match &self.plan {
            Plan::Messages(turns) => turns.columns.iter().filter_map(|column| column.value(&fields)).any(is_list),
            _ => messages::KEYS.iter().filter_map(|key| fields.get(self.names.find(key)?)).any(is_list),
        };
        has_turns || fields.has_repeated_key()
    }

    fn read(&self, record: RawRecord<'_>, file: &FileKeys<'_>) -> Result<ImportedRecord, Problem> {
        let wrapped = self.object_of_list(record)?;
        let record = wrapped.as_deref().map_or(record, RawRecord::Json);
        let fields = Fields::read(record, &self.names)?;
        let mut read = self.converted(&fields, file)?;
        let Imported::Conversation(messages) = &read.imported else { return Ok(read) };
        if let Some(marks) = &self.marks {
            let preferences = self.names_preferences || shape::has_preferences(read.shape);
            let answer = messages.last().map_or("", |message| &message.content);
            let (is_bad, seen) = match read.shape {
                Shape::ExamItem | Shape::Reading | Shape::Case => (false, 0),
                _ => marks.is_bad(&fields, &marks::Beside { preferences, answer })?,
            };
            read.seen |= seen;
            if marks.is_unlearned(&fields) {
                read.imported = Imported::Rejected(Rejection::NothingLearned);
                return Ok(read);
            }
            if is_bad {
                read.imported = Imported::Rejected(Rejection::MarkedBad);
                return Ok(read);
            }
        }
        read.unmet = self.unmet(&fields, messages);
        Ok(read)
    }

    /// A record that is a list of turns, as an object with the list under `messages`, or under `data` for texts with prefixes.
    fn object_of_list(&self, record: RawRecord<'_>) -> Result<Option<Vec<u8>>, Problem> {
        let RawRecord::Json(bytes) = record else { return Ok(None) };
        let Some(b'[') = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) else { return Ok(None) };
        let list: Value = serde_json::from_slice(bytes).map_err(|error| fields::invalid(&error))?;
        let is_turn =
            |turn: &Value| turn.is_object() || (turn.is_array() && list[0].get(0).is_some_and(Value::is_string));
        let are_turns = list.as_array().is_some_and(|turns| !turns.is_empty() && turns.iter().all(is_turn));
        let key = match &self.plan {
            Plan::Recognise if are_turns => "messages",
            Plan::Recognise if messages::are_marked_texts(&list) => "data",
            Plan::Messages(conversations) if are_turns => conversations.columns[0].name(),
            _ => {
                let (problem, hint) = suggest::list_problem(&list);
                return Err(Problem::new(problem, hint));
            }
        };
        // The bytes themselves: a parsed list no longer shows repeated keys.
        Ok(Some([b"{", Value::from(key).to_string().as_bytes(), b":", bytes, b"}"].concat()))
    }

    /// The first condition that a record does not meet.
    fn unmet(&self, fields: &Fields, messages: &[Message]) -> Option<Box<Finding>> {
        self.conditions.iter().find_map(|(column, condition)| {
            let reason = match condition.met(column.value(fields)) {
                ConditionResult::Yes => return None,
                ConditionResult::No => Rejection::ConditionNotMet,
                ConditionResult::Missing => Rejection::ConditionFieldMissing,
            };
            Some(Finding::of_record(reason, condition.text.as_str(), messages))
        })
    }

    fn converted(&self, fields: &Fields, file: &FileKeys<'_>) -> Result<ImportedRecord, Problem> {
        match &self.plan {
            Plan::Recognise => {
                let exam = keys::Exam { answers_from: self.answers_from, evidence: &|| file.evidence() };
                let (imported, shape) = shape::import(fields, &self.names, exam)?;
                Ok(ImportedRecord { imported, unmet: None, seen: ColumnMask::from(shape != Shape::Unknown), shape })
            }
            Plan::Named(columns) | Plan::Alpaca(columns) => {
                if let Some(seen) = alpaca::by_column(fields, columns) {
                    let imported = Imported::Rejected(Rejection::ListsOfTexts);
                    return Ok(ImportedRecord { imported, unmet: None, seen, shape: Shape::Columns });
                }
                let (parts, seen) = alpaca::parts(fields, columns)?;
                let named = matches!(self.plan, Plan::Named(_));
                let conversation = if named { pair::unpacked } else { conversation::Parts::conversation };
                let imported = parts.map_or(Imported::Rejected(Rejection::MissingColumn), conversation);
                Ok(ImportedRecord {
                    imported,
                    unmet: None,
                    seen,
                    shape: if named { Shape::Columns } else { Shape::Alpaca },
                })
            }
            Plan::Messages(conversations) => {
                let (imported, seen) = conversations.read(fields)?;
                Ok(ImportedRecord { imported, unmet: None, seen, shape: Shape::Conversation })
            }
            Plan::Items(columns) => {
                let imported = columns.read(fields)?.conversation(|| file.evidence())?;
                Ok(ImportedRecord { imported, unmet: None, seen: columns.seen(fields), shape: Shape::ExamItem })
            }
        }
    }

    /// Checks the columns of a file, `seen` being the union of its records' masks and `record` the first record.
    pub fn check_columns(&self, seen: ColumnMask, record: RawRecord<'_>) -> Result<(), Problem> {
        match self.lacks(seen) {
            Some(missing) => Err(self.missing_everywhere(&missing, record)),
            None => contradiction(seen).map_or(Ok(()), Err),
        }
    }

    /// The column that no record of a file has, `seen` being the union of the records' masks.
    pub fn lacks(&self, seen: ColumnMask) -> Option<String> {
        let seen = seen & !marks::LABELS;
        match &self.plan {
            Plan::Recognise => (seen == 0).then(|| "the keys of a known layout".to_owned()),
            Plan::Messages(conversations) => (seen == 0).then(|| format!("`{}`", conversations.columns[0].name())),
            Plan::Items(ItemColumns { paths: columns, .. }) | Plan::Named(columns) | Plan::Alpaca(columns) => {
                let mut columns = columns.iter().enumerate();
                let missing = columns.find(|(index, column)| column.required && seen & (1 << index) == 0);
                missing.map(|(_, column)| format!("`{}`", column.name()))
            }
        }
    }

    fn missing_everywhere(&self, missing: &str, record: RawRecord<'_>) -> Problem {
        let entries = fields::entries(record);
        let mut list: Vec<String> = entries.iter().take(KEYS_SHOWN).map(|(key, _)| format!("`{key}`")).collect();
        if entries.len() > KEYS_SHOWN {
            list.push(format!("and {} more", entries.len() - KEYS_SHOWN));
        }
        let hint = match &self.plan {
            Plan::Items(_) => "name the question (`instruction`), the options and the answer (`output`) in `columns`".to_owned(),
            Plan::Messages(_) => "leave `format` out, or name the question and the answer in `columns`".to_owned(),
            Plan::Alpaca(_) if entries.iter().any(|(key, _)| messages::KEYS.contains(&key.as_str())) => {
                "leave `format` out: conversations are recognised".to_owned()
            }
            _ if describes_data_sets(&entries) => {
                "this is a list of data sets as LLaMA-Factory keeps it: `medley recipe import FILE` makes a recipe of it".to_owned()
            }
            _ => suggest::hint(record, &entries),
        };
        Problem::new(format!("no record has {missing}; this one has {}", list.join(", ")), hint)
    }
}

/// Keys of a record that an error names.
const KEYS_SHOWN: usize = 12;

/// Whether a record is LLaMA-Factory's `dataset_info.json`, or an entry of it.
fn describes_data_sets(entries: &[(String, Value)]) -> bool {
    let places = ["file_name", "hf_hub_url", "ms_hub_url", "script_url"];
    let has_place = |value: &Value| places.iter().any(|place| value.get(place).is_some());
    entries.iter().any(|(key, value)| places.contains(&key.as_str()) || has_place(value))
}

#[cfg(test)]
mod tests;
