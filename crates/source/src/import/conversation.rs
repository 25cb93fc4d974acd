//! Question, answer and earlier turns as a conversation that can be trained on, or why not.

use medley_chat::{Message, Role};
use medley_mixture::Rejection;
use medley_reader::Problem;
use serde_json::Value;

use super::columns::{is_blank, kind, text_of};
use super::{Imported, messages};

/// The parts of a record that asks one thing and answers it.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub system: String,
    pub history: Vec<Message>,
    pub instruction: String,
    /// Put below the instruction; what is cut first when the sample is too long.
    pub input: String,
    pub output: String,
}

impl Parts {
    /// The whole conversation, unless one of its turns says nothing.
    pub fn conversation(self) -> Imported {
        let mut messages = Vec::with_capacity(self.history.len() + 3);
        if !is_blank(&self.system) {
            messages.push(Message::new(Role::System, self.system));
        }
        messages.extend(self.history);
        // A part of nothing but white space is none.
        let instruction = if is_blank(&self.instruction) { "" } else { &self.instruction };
        let input = if is_blank(&self.input) { "" } else { &self.input };
        messages.push(Message::ask(instruction, input));
        messages.push(Message::new(Role::Assistant, self.output));
        unless_empty(messages)
    }
}

/// The conversation, unless one of its turns says nothing.
pub(super) fn unless_empty(messages: Vec<Message>) -> Imported {
    match messages.iter().find(|message| is_blank(&message.content)) {
        Some(message) if message.role == Role::User => Imported::Rejected(Rejection::EmptyQuestion),
        Some(_) => Imported::Rejected(Rejection::EmptyAnswer),
        None => Imported::Conversation(messages),
    }
}

/// Earlier turns: a list of `[user, assistant]` pairs or of messages; in a table, as JSON text.
pub(super) fn earlier_turns(history: &Value, name: &str) -> Result<Vec<Message>, Problem> {
    let hint = "earlier turns are a list of [user, assistant] pairs";
    let turns = match history {
        Value::Null => return Ok(Vec::new()),
        // Some sets write an empty text where there is no history.
        Value::String(text) if is_blank(text) => return Ok(Vec::new()),
        Value::String(text) if text.trim_start().starts_with('[') => {
            let turns: Value = serde_json::from_str(text).map_err(|error| messages::not_json(name, &error))?;
            return earlier_turns(&turns, name);
        }
        Value::Array(_) if messages::is_messages(history) => return earlier_messages(history, name),
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

/// Earlier turns as messages, alternating and ending with the assistant.
fn earlier_messages(history: &Value, name: &str) -> Result<Vec<Message>, Problem> {
    match messages::import(history, name, None)? {
        Imported::Conversation(messages) if messages.iter().all(|message| message.role != Role::System) => Ok(messages),
        Imported::Rejected(reason) => {
            let problem = format!("`{name}` cannot be read as messages: {}", reason.as_str());
            Err(Problem::new(problem, "earlier turns alternate between user and assistant and end with the assistant"))
        }
        Imported::Conversation(_) => {
            let problem = format!("`{name}` has a system message");
            Err(Problem::new(problem, "a system message is a field of its own, `system`"))
        }
    }
}
