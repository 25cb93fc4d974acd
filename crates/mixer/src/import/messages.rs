//! Conversations: `messages` (role, content) as OpenAI writes them, `conversations` (from, value) as ShareGPT does,
//! lists of `{human, assistant}` pairs, and lists of texts that take turns.

use std::borrow::Cow;

use medley_chat::{Message, Role};
use serde_json::Value;

use super::columns::{Column, is_blank, kind, text_of};
use super::conversation::unless_empty;
use super::fields::{Fields, Names};
use super::{Imported, Seen};
use crate::read::Problem;
use crate::rejection::Rejection;
use crate::spec::{Columns, Roles, usual_role};

/// The keys that hold the turns.
pub(super) const KEYS: [&str; 3] = ["messages", "conversations", "conversation"];

/// How the recipe says that conversations are written.
#[derive(Debug, Default)]
pub(super) struct Turns {
    role: Option<String>,
    content: Option<String>,
    roles: Roles,
    train: Option<String>,
}

/// The columns that [`read`] looks at: those that may hold the turns, and a system message beside them.
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
    pub fn read(&self, fields: &Fields) -> Result<(Imported, Seen), Problem> {
        let Some((column, value)) = self.columns.iter().find_map(|column| Some((column, column.value(fields)?))) else {
            return Ok((Imported::Rejected(Rejection::MissingColumn), 0));
        };
        Ok((self.turns.import(value, column.name(), self.system.value(fields))?, 1))
    }
}

const HINT: &str = "a turn is {\"role\": …, \"content\": …} or {\"from\": …, \"value\": …}; `columns = { role = …, content = … \
                    }` names other keys";

/// Reads the turns that the column `key` holds, written as usual.
pub(super) fn import(turns: &Value, key: &str, system: Option<&Value>) -> Result<Imported, Problem> {
    Turns::default().import(turns, key, system)
}

impl Turns {
    fn import(&self, turns: &Value, key: &str, system: Option<&Value>) -> Result<Imported, Problem> {
        let turns = list(turns, key)?;
        let mut messages = Vec::with_capacity(turns.len() + 1);
        if let Some(system) = system.and_then(Value::as_str).filter(|text| !is_blank(text)) {
            messages.push(Message::new(Role::System, system));
        }
        for (number, turn) in turns.iter().enumerate() {
            if let (Some(human), Some(assistant)) = (turn.get("human"), turn.get("assistant")) {
                messages.push(Message::new(Role::User, text_of(human, key)?));
                messages.push(Message::new(Role::Assistant, text_of(assistant, key)?));
                continue;
            }
            let (Some(role), Some(content)) = (self.role(turn), self.content(turn)) else {
                return Err(Problem::new(format!("turn {} of `{key}` lacks its role or its text", number + 1), HINT));
            };
            let Some(role) = self.role_of(role) else { return Ok(Imported::Rejected(Rejection::UnsupportedRole)) };
            let Some(text) = content_text(content, key)? else {
                return Ok(Imported::Rejected(Rejection::UnsupportedContent));
            };
            let unlearned = role == Role::Assistant && self.is_unlearned(turn);
            messages.push(Message { unlearned, ..Message::new(role, text) });
        }
        Ok(checked(messages))
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

    /// Whether a turn says that it is not to be learned: by the key that the recipe names, or by OpenAI's `weight`,
    /// LLaMA-Factory's `loss_weight` or Axolotl's `train`.
    fn is_unlearned(&self, turn: &Value) -> bool {
        let says_no =
            |key: &str| turn.get(key).is_some_and(|flag| flag == &Value::Bool(false) || flag.as_f64() == Some(0.0));
        match &self.train {
            Some(key) => says_no(key),
            None => {
                let weighs_nothing = |key: &str| turn.get(key).and_then(Value::as_f64) == Some(0.0);
                ["weight", "loss_weight"].into_iter().any(weighs_nothing)
                    || turn.get("train") == Some(&Value::Bool(false))
            }
        }
    }
}

/// The list, which a table holds as JSON text.
fn list<'a>(turns: &'a Value, key: &str) -> Result<Cow<'a, [Value]>, Problem> {
    match turns {
        Value::Array(turns) => Ok(Cow::Borrowed(turns)),
        Value::String(text) if text.trim_start().starts_with('[') => serde_json::from_str(text)
            .map(Cow::Owned)
            .map_err(|error| Problem::new(format!("`{key}` is a text that is not valid JSON: {error}"), HINT)),
        Value::Object(columns) if !columns.is_empty() => turns_of_columns(columns).map(Cow::Owned).ok_or_else(|| {
            Problem::new(format!("`{key}` is an object; expected a list of turns, or lists of the same length"), HINT)
        }),
        other => Err(Problem::new(format!("`{key}` is {}; expected a list of turns", kind(other)), HINT)),
    }
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

/// At most one system turn, first; then user and assistant by turns, ending with the assistant.
pub(super) fn checked(mut messages: Vec<Message>) -> Imported {
    if messages.first().is_some_and(|first| first.role == Role::System && is_blank(&first.content)) {
        messages.remove(0);
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

/// Texts that take turns, the user first: `["…", "…"]`, also with 问： and 答： before them.
pub(super) fn texts_in_turn(texts: &[Value]) -> Option<Imported> {
    let mut messages = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        let (role, marks) = match index % 2 {
            0 => (Role::User, ["问：", "问:"]),
            _ => (Role::Assistant, ["答：", "答:"]),
        };
        let text = text.as_str()?;
        let bare = marks.iter().find_map(|mark| text.trim_start().strip_prefix(mark)).unwrap_or(text);
        messages.push(Message::new(role, bare));
    }
    Some(checked(messages))
}
