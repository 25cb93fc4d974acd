//! Conversations: `messages` (role, content) as OpenAI writes them, `conversations` (from, value) as ShareGPT does, lists of
//! `{human, assistant}` or XTuner's `{system, input, output}` pairs, TRL's `prompt` and `completion` of messages, and lists of
//! texts that take turns.

use std::borrow::Cow;

use medley_chat::{Message, Role};
use medley_mixture::Rejection;
use medley_mixture::spec::{Columns, Roles, usual_role};
use medley_reader::Problem;
use serde_json::Value;

use super::columns::{Column, is_blank, kind, text_of};
use super::conversation::unless_empty;
use super::fields::{Fields, Names};
use super::{ColumnMask, Imported, marks};

/// The keys that hold the turns.
pub(super) const KEYS: [&str; 3] = ["messages", "conversations", "conversation"];

/// The keys and roles of turns that the recipe names.
#[derive(Debug, Default)]
pub(super) struct Turns {
    role: Option<String>,
    content: Option<String>,
    roles: Roles,
    train: Option<String>,
}

/// The columns of conversations: the candidates for the turns, and a system message beside them.
pub(super) struct Conversations {
    pub columns: Vec<Column>,
    system: Column,
    turns: Turns,
}

impl Conversations {
    pub fn new(columns: &Columns, names: &mut Names) -> Self {
        let mut column = |key: &str| Column::new(None, key, false, names);
        let found = match &columns.messages {
            Some(key) => vec![column(key)],
            None => KEYS.iter().map(|key| column(key)).collect(),
        };
        let system = column(columns.system.as_deref().unwrap_or("system"));
        let Columns { role, content, roles, train, .. } = columns.clone();
        Self { columns: found, system, turns: Turns { role, content, roles: roles.unwrap_or_default(), train } }
    }

    /// Reads the first of the columns that the record has.
    pub fn read(&self, fields: &Fields) -> Result<(Imported, ColumnMask), Problem> {
        let Some((column, value)) = self.columns.iter().find_map(|column| Some((column, column.value(fields)?))) else {
            return Ok((Imported::Rejected(Rejection::MissingColumn), 0));
        };
        Ok((self.turns.import(value, column.name(), self.system.value(fields))?, 1))
    }
}

const HINT: &str = "a turn is {\"role\": …, \"content\": …} or {\"from\": …, \"value\": …}; `columns = { role = …, content = … \
                    }` names other keys";

/// Keys of a question and its answer in one element of the list.
const PAIRS: [(&str, &str); 9] = [
    ("human", "assistant"),
    ("input", "output"),
    ("user", "assistant"),
    ("human", "gpt"),
    ("user", "bot"),
    ("question", "answer"),
    ("query", "response"),
    ("prompt", "response"),
    ("instruction", "output"),
];

/// Reads the turns that the column `key` holds, written as usual.
pub(super) fn import(turns: &Value, key: &str, system: Option<&Value>) -> Result<Imported, Problem> {
    Turns::default().import(turns, key, system)
}

/// Messages, or why they cannot be trained on.
type Turned = Result<Vec<Message>, Rejection>;

/// Whether a value is a list of messages.
pub(super) fn is_messages(value: &Value) -> bool {
    let is_message = |turn: &Value| turn.get("role").or_else(|| turn.get("from")).is_some();
    value.as_array().is_some_and(|turns| !turns.is_empty() && turns.iter().all(is_message))
}

/// TRL's conversational prompt and completion, each a list of messages or a text. Answers in the prompt have no loss, as in TRL.
pub(super) fn prompt_and_completion(
    (question, prompt): (&str, &Value),
    (answer, completion): (&str, &Value),
    history: Vec<Message>,
    system: Option<&Value>,
) -> Result<Imported, Problem> {
    let side = |key: &str, value: &Value, role: Role| match value {
        Value::Array(turns) if is_messages(value) => Turns::default().messages(turns, key),
        text => Ok(Ok(vec![Message::new(role, text_of(text, key)?)])),
    };
    let (asked, answered) = (side(question, prompt, Role::User)?, side(answer, completion, Role::Assistant)?);
    let (Ok(mut messages), Ok(answered)) = (asked.clone(), answered.clone()) else {
        let reason = asked.err().or(answered.err()).unwrap_or(Rejection::UnsupportedRole);
        return Ok(Imported::Rejected(reason));
    };
    let first = usize::from(messages.first().is_some_and(|first| first.role == Role::System));
    messages.splice(first..first, history);
    messages.iter_mut().for_each(|message| message.unlearned = message.role == Role::Assistant);
    messages.extend(answered);
    Ok(checked(with_system(system, messages)?))
}

/// The messages below the system message of the record's own column, where they do not begin with one.
fn with_system(system: Option<&Value>, mut messages: Vec<Message>) -> Result<Vec<Message>, Problem> {
    let system = system.map_or(Ok(String::new()), |system| text_of(system, "system"))?;
    let says_one = |first: &Message| first.role == Role::System && !is_blank(&first.content);
    if !is_blank(&system) && !messages.first().is_some_and(says_one) {
        if messages.first().is_some_and(|first| first.role == Role::System) {
            messages.remove(0);
        }
        messages.insert(0, Message::new(Role::System, system));
    }
    Ok(messages)
}

impl Turns {
    fn import(&self, turns: &Value, key: &str, system: Option<&Value>) -> Result<Imported, Problem> {
        match self.messages(&list(turns, key)?, key)? {
            Ok(messages) => Ok(checked(with_system(system, messages)?)),
            Err(reason) => Ok(Imported::Rejected(reason)),
        }
    }

    fn messages(&self, turns: &[Value], key: &str) -> Result<Turned, Problem> {
        let mut messages = Vec::with_capacity(turns.len() + 1);
        for (number, turn) in turns.iter().enumerate() {
            let unlearned = || {
                let named = self.train.as_deref();
                marks::is_unlearned(turn, named).map_err(|what| marks::problem(number + 1, key, &what))
            };
            if let Some((question, answer)) = self.pair(turn) {
                self.system_of_pair(turn, &mut messages);
                messages.push(Message::new(Role::User, text_of(question, key)?));
                let answer = Message::new(Role::Assistant, text_of(answer, key)?);
                messages.push(Message { unlearned: unlearned()?, ..answer });
                continue;
            }
            let (Some(role), Some(content)) = (self.role(turn), self.content(turn)) else {
                return Err(Problem::new(format!("turn {} of `{key}` lacks its role or its text", number + 1), HINT));
            };
            let Some(role) = self.role_of(role) else { return Ok(Err(Rejection::UnsupportedRole)) };
            let Some(text) = content_text(content, key)? else { return Ok(Err(Rejection::UnsupportedContent)) };
            let unlearned = role == Role::Assistant && unlearned()?;
            messages.push(Message { unlearned, ..Message::new(role, text) });
        }
        Ok(Ok(messages))
    }

    /// Question and answer of an element that has both.
    fn pair<'a>(&self, turn: &'a Value) -> Option<(&'a Value, &'a Value)> {
        if self.role(turn).is_some() {
            return None;
        }
        if let Value::Array(texts) = turn {
            return match &texts[..] {
                [Value::String(name), _] if usual_role(name).is_some() => None,
                [question @ Value::String(_), answer @ Value::String(_)] => Some((question, answer)),
                _ => None,
            };
        }
        PAIRS.into_iter().find_map(|(question, answer)| Some((turn.get(question)?, turn.get(answer)?)))
    }

    /// Adds the system message of a pair (XTuner), unless it repeats the first one.
    fn system_of_pair(&self, turn: &Value, messages: &mut Vec<Message>) {
        let system = turn.as_object().and_then(|turn| marks::text_under(turn, "system"));
        let is_new = |system: &&str| {
            messages.first().is_none_or(|first| first.role != Role::System || first.content.trim() != system.trim())
        };
        if let Some(system) = system.filter(is_new) {
            messages.push(Message::new(Role::System, system));
        }
    }

    fn role<'a>(&self, turn: &'a Value) -> Option<&'a str> {
        match &self.role {
            Some(key) => turn.get(key)?.as_str(),
            None => turn.get("role").or_else(|| turn.get("from"))?.as_str(),
        }
    }

    fn content<'a>(&self, turn: &'a Value) -> Option<&'a Value> {
        match &self.content {
            Some(key) => turn.get(key),
            None => turn.get("content").or_else(|| turn.get("value")),
        }
    }

    fn role_of(&self, name: &str) -> Option<Role> {
        let named = [
            (&self.roles.user, Role::User),
            (&self.roles.assistant, Role::Assistant),
            (&self.roles.system, Role::System),
        ];
        let own = named.into_iter().find(|(names, _)| names.iter().any(|known| known == name));
        own.map(|(_, role)| role).or_else(|| usual_role(name))
    }
}

/// The list, which a table holds as JSON text.
fn list<'a>(turns: &'a Value, key: &str) -> Result<Cow<'a, [Value]>, Problem> {
    match turns {
        Value::Array(turns) => Ok(Cow::Borrowed(turns)),
        Value::String(text) if text.trim_start().starts_with('[') => {
            serde_json::from_str(text).map(Cow::Owned).map_err(|error| not_json(key, &error))
        }
        Value::Object(columns) if !columns.is_empty() => turns_of_columns(columns).map(Cow::Owned).ok_or_else(|| {
            Problem::new(format!("`{key}` is an object; expected a list of turns, or lists of the same length"), HINT)
        }),
        other => Err(Problem::new(format!("`{key}` is {}; expected a list of turns", kind(other)), HINT)),
    }
}

/// The problem of a table's cell with invalid JSON.
pub(super) fn not_json(key: &str, error: &serde_json::Error) -> Problem {
    let hint = "a list in a table's cell is JSON, with double quotes: Python's `json.dumps` writes it, `str` does not";
    Problem::new(format!("`{key}` is a text that is not valid JSON: {error}"), hint)
}

/// Turns as Parquet often holds them: an object of lists, `{"from": [...], "value": [...]}`.
fn turns_of_columns(columns: &serde_json::Map<String, Value>) -> Option<Vec<Value>> {
    let lists: Option<Vec<(&String, &Vec<Value>)>> =
        columns.iter().map(|(name, list)| list.as_array().map(|list| (name, list))).collect();
    let lists = lists?;
    let length = lists.first()?.1.len();
    let turn = |index: usize| lists.iter().map(|(name, list)| ((*name).clone(), list[index].clone())).collect();
    lists.iter().all(|(_, list)| list.len() == length).then(|| (0..length).map(turn).map(Value::Object).collect())
}

/// The text of a turn; `None` where it holds more than text.
fn content_text(content: &Value, key: &str) -> Result<Option<String>, Problem> {
    let Value::Array(parts) = content else { return text_of(content, key).map(Some) };
    if parts.iter().all(Value::is_string) {
        return text_of(content, key).map(Some);
    }
    let text = |part: &Value| -> Option<String> {
        let is_text = part.get("type").and_then(Value::as_str) == Some("text");
        part.get("text").or_else(|| part.get("value")).filter(|_| is_text)?.as_str().map(str::to_owned)
    };
    Ok(parts.iter().map(text).collect::<Option<Vec<_>>>().map(|texts| texts.join("\n")))
}

/// A conversation of at most one system turn, first, then user and assistant alternating, ending with the assistant. An equal
/// second system turn is dropped.
pub(super) fn checked(mut messages: Vec<Message>) -> Imported {
    if messages.first().is_some_and(|first| first.role == Role::System && is_blank(&first.content)) {
        messages.remove(0);
    }
    while let [first, second, ..] = &messages[..]
        && first.role == Role::System
        && second.role == Role::System
        && first.content.trim() == second.content.trim()
    {
        messages.remove(1);
    }
    if messages.iter().filter(|message| message.role == Role::System).count() > 1 {
        return Imported::Rejected(Rejection::TwoSystemMessages);
    }
    let turns = match messages.first() {
        Some(first) if first.role == Role::System => &messages[1..],
        _ => &messages[..],
    };
    if turns.is_empty() {
        return Imported::Rejected(Rejection::EmptyQuestion);
    }
    let in_order =
        |(index, turn): (usize, &Message)| turn.role == if index % 2 == 0 { Role::User } else { Role::Assistant };
    if turns.len() % 2 == 1 || !turns.iter().enumerate().all(in_order) {
        return Imported::Rejected(Rejection::TurnsOutOfOrder);
    }
    unless_empty(messages)
}

/// Prefixes of the user's and the assistant's texts in a list of texts.
const MARKS: [[&str; 2]; 2] = [["问：", "问:"], ["答：", "答:"]];

/// Whether a value is a list of alternating texts, each with its prefix.
pub(super) fn are_marked_texts(texts: &Value) -> bool {
    let has_mark = |(index, text): (usize, &Value)| {
        text.as_str().is_some_and(|text| MARKS[index % 2].iter().any(|mark| text.trim_start().starts_with(mark)))
    };
    texts.as_array().is_some_and(|texts| texts.len() > 1 && texts.iter().enumerate().all(has_mark))
}

/// A list of alternating texts, the user's first, with or without 问： and 答： before them.
pub(super) fn texts_in_turn(texts: &[Value]) -> Option<Imported> {
    let mut messages = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        let role = if index % 2 == 0 { Role::User } else { Role::Assistant };
        let text = text.as_str()?;
        let bare = MARKS[index % 2].iter().find_map(|mark| text.trim_start().strip_prefix(mark)).unwrap_or(text);
        messages.push(Message::new(role, bare));
    }
    Some(checked(messages))
}
