//! MOSS's conversations: an object of turns, each an object of utterances, inner thoughts, tool calls and tool responses.

use medley_chat::{Message, Role};
use medley_mixture::Rejection;
use medley_reader::Problem;
use serde_json::Value;

use super::Imported;
use super::columns::{is_blank, kind};
use super::messages::checked;

const HINT: &str = "MOSS writes {\"turn_1\": {\"Human\": …, \"MOSS\": …}, …}";

/// Reads `chat`, with `meta_instruction` as the system message. Conversations with tool calls are rejected.
pub(super) fn import(chat: &Value, meta_instruction: Option<&Value>) -> Result<Imported, Problem> {
    let mut messages = Vec::new();
    if let Some(system) = meta_instruction.and_then(Value::as_str).filter(|text| !is_blank(text)) {
        messages.push(Message::new(Role::System, system));
    }
    for (name, turn) in turns(chat)? {
        let text = |key: &str| turn.get(key).and_then(Value::as_str).map(bare);
        let (Some(question), Some(answer)) = (text("Human"), text("MOSS")) else {
            return Err(Problem::new(format!("`{name}` of `chat` lacks `Human` or `MOSS`"), HINT));
        };
        let calls = |key: &str| text(key).is_some_and(|text| !matches!(text, "" | "None"));
        if calls("Commands") || calls("Tool Responses") {
            return Ok(Imported::Rejected(Rejection::UnsupportedRole));
        }
        messages.push(Message::new(Role::User, question));
        messages.push(Message::new(Role::Assistant, answer));
    }
    Ok(checked(messages))
}

/// The turns with their names, sorted by the number in the name.
fn turns(chat: &Value) -> Result<Vec<(String, &Value)>, Problem> {
    match chat {
        Value::Object(turns) => {
            let number = |name: &str| name.rsplit('_').next().and_then(|number| number.parse::<u64>().ok());
            let mut turns: Vec<_> = turns.iter().map(|(name, turn)| (name.clone(), turn)).collect();
            turns.sort_by_key(|(name, _)| number(name));
            Ok(turns)
        }
        Value::Array(turns) => {
            Ok(turns.iter().enumerate().map(|(index, turn)| (format!("turn {}", index + 1), turn)).collect())
        }
        other => Err(Problem::new(format!("`chat` is {}; expected turns", kind(other)), HINT)),
    }
}

/// A text without the speaker tag and the end token: `<|Human|>: …<eoh>`.
fn bare(text: &str) -> &str {
    let text = text.trim();
    let behind_mark = text.strip_prefix("<|").and_then(|rest| rest.split_once("|>:")).map_or(text, |(_, rest)| rest);
    let ends = ["<eoh>", "<eom>", "<eot>", "<eoc>", "<eor>"];
    ends.iter().find_map(|end| behind_mark.strip_suffix(end)).unwrap_or(behind_mark).trim()
}

/// Whether a value is a MOSS conversation.
pub(super) fn is_chat(chat: &Value) -> bool {
    let first = match chat {
        Value::Object(turns) => turns.values().next(),
        Value::Array(turns) => turns.first(),
        _ => None,
    };
    first.is_some_and(|turn| turn.get("Human").is_some() && turn.get("MOSS").is_some())
}
