//! Alpaca's layout: instruction, input, output, and earlier turns in `history`.

use medley_chat::{Message, Role};
use serde_json::{Map, Value};

use super::columns::{Column, kind, text_of};
use super::{Imported, Rejection, Seen};
use crate::read::Problem;
use crate::spec::Columns;

const INSTRUCTION: usize = 0;
const OUTPUT: usize = 1;
const HISTORY: usize = 4;

/// The columns by the indices above; instruction, output, input and system are the texts.
pub(super) fn columns(columns: &Columns) -> Vec<Column> {
    vec![
        Column::new(columns.instruction.as_deref(), "instruction", true),
        Column::new(columns.output.as_deref(), "output", true),
        Column::new(columns.input.as_deref(), "input", false),
        Column::new(columns.system.as_deref(), "system", false),
        Column::new(columns.history.as_deref(), "history", false),
    ]
}

pub(super) fn import(record: &Map<String, Value>, columns: &[Column]) -> Result<(Imported, Seen), Problem> {
    let mut texts = [const { String::new() }; 4];
    let mut seen = 0;
    for (index, column) in columns.iter().enumerate() {
        let Some(value) = column.value(record) else { continue };
        seen |= 1 << index;
        if index != HISTORY {
            texts[index] = text_of(value, column.name())?;
        }
    }
    let required = 1 << INSTRUCTION | 1 << OUTPUT;
    if seen & required != required {
        return Ok((Imported::Rejected(Rejection::MissingColumn), seen));
    }
    let history =
        columns[HISTORY].value(record).map(|value| earlier_turns(value, columns[HISTORY].name())).transpose()?;
    Ok((conversation(texts, history.unwrap_or_default()), seen))
}

fn conversation([instruction, output, input, system]: [String; 4], history: Vec<Message>) -> Imported {
    let mut messages = Vec::with_capacity(history.len() + 3);
    if !is_blank(&system) {
        messages.push(Message::new(Role::System, system));
    }
    messages.extend(history);
    // A part of nothing but white space is none.
    let instruction = if is_blank(&instruction) { "" } else { &instruction };
    let input = if is_blank(&input) { "" } else { &input };
    messages.push(Message::ask(instruction, input));
    messages.push(Message::new(Role::Assistant, output));
    match messages.iter().find(|message| is_blank(&message.content)) {
        Some(message) if message.role == Role::User => Imported::Rejected(Rejection::EmptyQuestion),
        Some(_) => Imported::Rejected(Rejection::EmptyAnswer),
        None => Imported::Conversation(messages),
    }
}

fn earlier_turns(history: &Value, name: &str) -> Result<Vec<Message>, Problem> {
    let hint = "earlier turns are a list of [user, assistant] pairs";
    let turns = match history {
        Value::Null => return Ok(Vec::new()),
        // Some sets write an empty text where there is no history.
        Value::String(text) if is_blank(text) => return Ok(Vec::new()),
        Value::Array(turns) => turns,
        other => return Err(Problem::new(format!("`{name}` is {}; expected a list", kind(other)), hint)),
    };
    let mut messages = Vec::with_capacity(turns.len() * 2);
    for (number, turn) in turns.iter().enumerate() {
        let Some([user, assistant]) = turn.as_array().map(Vec::as_slice) else {
            return Err(Problem::new(format!("turn {} of `{name}` is not a pair", number + 1), hint));
        };
        messages.push(Message::new(Role::User, text_of(user, name)?));
        messages.push(Message::new(Role::Assistant, text_of(assistant, name)?));
    }
    Ok(messages)
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}
