//! From a record as it stands in its file to a conversation.

mod alpaca;
mod choice;
mod columns;
mod conversation;
mod fields;
mod identify;
mod messages;
mod packed;
mod shape;

use medley_chat::{Message, Role};
use serde_json::Value;

use crate::canonical::Draft;
use crate::filter::{Condition, Finding, Met};
use crate::read::{Problem, RawRecord};
use crate::rejection::Rejection;
use crate::spec::{Columns, SourceFormat, SourcePart, Supervise};
pub use choice::{Choice, ChoiceQuestion, RecordProblem};
use columns::Column;
use fields::{Fields, Names};
pub(crate) use identify::Identified;
pub(crate) use shape::Shape;

/// Version of the importers, in every manifest: another version may read a file otherwise.
pub const IMPORTER_VERSION: u32 = 4;

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Imported {
    Conversation(Vec<Message>),
    Rejected(Rejection),
}

/// The columns that were met, as bits by their index in the importer.
pub(crate) type Seen = u8;

/// The messages of a record that [`Importer::identify`] knows, by a shorter way than [`Importer::import`].
pub(crate) fn read_plain(record: &[u8]) -> Vec<Message> {
    // What was identified can be read.
    identify::messages(record).unwrap_or_default()
}

/// What is seen of a record that [`Importer::identify`] knows.
pub(crate) const PLAIN_SEEN: Seen = 1;

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub imported: Imported,
    /// Why a condition of the recipe leaves the conversation out.
    pub unmet: Option<Box<Finding>>,
    pub seen: Seen,
    pub shape: Shape,
}

/// Reads the records of one part of a source.
pub(crate) struct Importer {
    plan: Plan,
    names: Names,
    supervise: Supervise,
    /// What the recipe asks of the record's own fields.
    conditions: Vec<(Column, Condition)>,
}

/// How records are read.
enum Plan {
    /// Each by its own keys.
    Recognise,
    /// By these columns; packed questions are taken apart.
    Named(Vec<Column>),
    /// By these columns, as they stand.
    Alpaca(Vec<Column>),
    /// As conversations.
    Messages(messages::Conversations),
}

impl Importer {
    pub fn new(part: &SourcePart) -> Self {
        let mut names = Names::default();
        let plan = match part.format {
            SourceFormat::Alpaca => Plan::Alpaca(alpaca::columns(&part.columns, &mut names)),
            SourceFormat::Messages => Plan::Messages(messages::Conversations::new(&part.columns, &mut names)),
            _ if part.columns.of_conversations() => {
                Plan::Messages(messages::Conversations::new(&part.columns, &mut names))
            }
            _ if part.columns != Columns::default() => Plan::Named(alpaca::columns(&part.columns, &mut names)),
            _ => {
                names = shape::names();
                Plan::Recognise
            }
        };
        let conditions = part.filter.conditions.iter().flatten().filter_map(|text| Condition::parse(text).ok());
        let conditions =
            conditions.map(|condition| (Column::new(Some(&condition.path), "", false, &mut names), condition));
        let conditions = conditions.collect();
        Self { plan, names, supervise: part.supervise, conditions }
    }

    /// Whether the column is looked at.
    pub fn wants(&self, column: &str) -> bool {
        self.names.find(column).is_some()
    }

    /// Reads one record.
    pub fn import(&self, record: RawRecord<'_>) -> Result<Read, Problem> {
        let mut read = self.read(record)?;
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
    /// [`Self::import`] reads as a conversation with the columns of [`PLAIN_SEEN`]. `None` says nothing about the record.
    pub fn identify(&self, text: &[u8], length: usize, draft: &mut Draft<'_>) -> Option<Identified> {
        let recognises = matches!(self.plan, Plan::Recognise) && self.conditions.is_empty();
        let identified = recognises.then(|| identify::identify(text, length, &self.names, draft))??;
        // Where the last answer alone is learned, turns are more than their texts.
        (identified.shape == Shape::Alpaca || self.supervise == Supervise::All).then_some(identified)
    }

    fn read(&self, record: RawRecord<'_>) -> Result<Read, Problem> {
        let fields = Fields::read(record, &self.names)?;
        let mut read = self.converted(&fields)?;
        if let Imported::Conversation(messages) = &read.imported {
            read.unmet = self.unmet(&fields, messages);
        }
        Ok(read)
    }

    /// The first condition that a record does not meet.
    fn unmet(&self, fields: &Fields, messages: &[Message]) -> Option<Box<Finding>> {
        self.conditions.iter().find_map(|(column, condition)| {
            let reason = match condition.met(column.value(fields)) {
                Met::Yes => return None,
                Met::No => Rejection::ConditionNotMet,
                Met::Missing => Rejection::ConditionFieldMissing,
            };
            Some(Finding::of_record(reason, condition.text.as_str(), messages))
        })
    }

    fn converted(&self, fields: &Fields) -> Result<Read, Problem> {
        match &self.plan {
            Plan::Recognise => {
                let (imported, shape) = shape::import(fields, &self.names)?;
                Ok(Read { imported, unmet: None, seen: Seen::from(shape != Shape::Unknown), shape })
            }
            Plan::Named(columns) | Plan::Alpaca(columns) => {
                let (parts, seen) = alpaca::parts(fields, columns)?;
                let named = matches!(self.plan, Plan::Named(_));
                let conversation = if named { shape::unpacked } else { conversation::Parts::conversation };
                let imported = parts.map_or(Imported::Rejected(Rejection::MissingColumn), conversation);
                Ok(Read { imported, unmet: None, seen, shape: if named { Shape::Columns } else { Shape::Alpaca } })
            }
            Plan::Messages(conversations) => {
                let (imported, seen) = conversations.read(fields)?;
                Ok(Read { imported, unmet: None, seen, shape: Shape::Conversation })
            }
        }
    }

    /// What is wrong with a file whose records have the columns `seen` between them, `record` being the first of them.
    pub fn check_columns(&self, seen: Seen, record: RawRecord<'_>) -> Result<(), Problem> {
        self.lacks(seen).map_or(Ok(()), |missing| Err(self.missing_everywhere(&missing, record)))
    }

    /// What is in no record of a file whose records have the columns `seen` between them.
    pub fn lacks(&self, seen: Seen) -> Option<String> {
        match &self.plan {
            Plan::Recognise => (seen == 0).then(|| "the keys of a known layout".to_owned()),
            Plan::Messages(conversations) => (seen == 0).then(|| format!("`{}`", conversations.columns[0].name())),
            Plan::Named(columns) | Plan::Alpaca(columns) => {
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
            Plan::Messages(_) => "leave `format` out, or name the question and the answer in `columns`".to_owned(),
            Plan::Alpaca(_) if entries.iter().any(|(key, _)| messages::KEYS.contains(&key.as_str())) => {
                "leave `format` out: conversations are recognised".to_owned()
            }
            _ if describes_data_sets(&entries) => {
                "this is a list of data sets as LLaMA-Factory keeps it: `medley recipe import FILE` makes a recipe of it".to_owned()
            }
            _ => columns::suggestion_of_turns(&entries).unwrap_or_else(|| {
                let texts = entries.into_iter().filter(|(_, value)| columns::text_of(value, "").is_ok());
                columns::suggestion(&texts.map(|(key, _)| key).collect::<Vec<_>>())
            }),
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
