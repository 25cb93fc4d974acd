//! Conversations: `messages` (role, content) as OpenAI writes them, or `conversations` (from, value) as ShareGPT does.

use medley_chat::{Message, Role};
use serde_json::{Map, Value};

use super::columns::{Column, kind, text_of};
use super::{Imported, Rejection, Seen};
use crate::read::Problem;

/// The keys that hold the turns.
pub(super) const KEYS: [&str; 2] = ["messages", "conversations"];
/// A system message beside the turns.
const SYSTEM: &str = "system";

/// Every key of a record that is looked at.
pub(super) fn keys() -> Vec<String> {
    KEYS.iter().copied().chain([SYSTEM]).map(str::to_owned).collect()
}

pub(super) fn column() -> Column {
    Column::new(None, "messages", true)
}

pub(super) fn import(record: &Map<String, Value>) -> Result<(Imported, Seen), Problem> {
    let Some((key, turns)) = KEYS.iter().find_map(|key| record.get(*key).map(|turns| (*key, turns))) else {
        return Ok((Imported::Rejected(Rejection::MissingColumn), 0));
    };
    let hint = "a turn is {\"role\": …, \"content\": …} or {\"from\": …, \"value\": …}";
    let Value::Array(turns) = turns else {
        return Err(Problem::new(format!("`{key}` is {}; expected a list of turns", kind(turns)), hint));
    };
    let mut messages = Vec::with_capacity(turns.len() + 1);
    if let Some(system) = record.get(SYSTEM).and_then(Value::as_str).filter(|text| !text.trim().is_empty()) {
        messages.push(Message::new(Role::System, system));
    }
    for (number, turn) in turns.iter().enumerate() {
        let role = turn.get("role").or_else(|| turn.get("from")).and_then(Value::as_str);
        let content = turn.get("content").or_else(|| turn.get("value"));
        let (Some(role), Some(content)) = (role, content) else {
            return Err(Problem::new(format!("turn {} of `{key}` lacks its role or its text", number + 1), hint));
        };
        let Some(role) = role_of(role) else { return Ok((Imported::Rejected(Rejection::UnsupportedRole), 1)) };
        messages.push(Message::new(role, text_of(content, key)?));
    }
    Ok((checked(messages), 1))
}

fn role_of(name: &str) -> Option<Role> {
    match name {
        "system" => Some(Role::System),
        "user" | "human" => Some(Role::User),
        "assistant" | "gpt" | "bot" | "model" => Some(Role::Assistant),
        _ => None,
    }
}

/// At most one system turn, first; then user and assistant by turns, ending with the assistant.
fn checked(mut messages: Vec<Message>) -> Imported {
    let is_empty = |message: &Message| message.content.trim().is_empty();
    if messages.first().is_some_and(|first| first.role == Role::System && is_empty(first)) {
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
    match turns.iter().find(|turn| is_empty(turn)) {
        Some(turn) if turn.role == Role::User => Imported::Rejected(Rejection::EmptyQuestion),
        Some(_) => Imported::Rejected(Rejection::EmptyAnswer),
        None => Imported::Conversation(messages),
    }
}
