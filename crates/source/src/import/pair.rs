//! Records of one question and one answer, under whatever keys; both may pack more: a dialogue, a passage, a list.

use std::borrow::Cow;

use medley_reader::Problem;
use serde_json::Value;

use super::columns::{is_blank, text_of};
use super::conversation::{Parts, earlier_turns};
use super::keys::{ANSWERED, ASKED, KEYS, Keyed, PAIRS, range_bits};
use super::{Imported, messages, packed};

/// The indices of the one key of a question and the one of an answer; `None` where there are several, for it is not known which
/// is meant.
pub(super) fn keys(record: &Keyed<'_>) -> Option<(usize, usize)> {
    if !record.has_any(range_bits(&ASKED) | range_bits(&ANSWERED)) {
        let has = |name: &str| record.get(name).is_some();
        let mut found = PAIRS.into_iter().filter(|(question, answer)| has(question) && has(answer));
        let (question, answer) = found.next().filter(|_| found.next().is_none())?;
        let index = |name: &str| KEYS.iter().position(|key| *key == name);
        return Some((index(question)?, index(answer)?));
    }
    let answer = record.only(ANSWERED)?;
    if record.has_any(range_bits(&ASKED)) {
        return record.only(ASKED).map(|question| (question, answer));
    }
    let fallback = ["input", "inputs", "questions", "context", "title"];
    let question = fallback.into_iter().find(|key| record.get(key).is_some())?;
    KEYS.iter().position(|key| *key == question).map(|question| (question, answer))
}

/// Question and answer under these keys, with the input, the earlier turns and the system message beside them.
pub(super) fn read(record: &Keyed<'_>, question: &str, answer: &str) -> Result<Imported, Problem> {
    let beside = |key: &str| if key == question { Ok(String::new()) } else { record.text(key) };
    let input = match (beside("input")?, beside("context")?) {
        (input, context) if is_blank(&input) => context,
        (input, _) => input,
    };
    let history = record.get("history").map(|history| earlier_turns(history, "history")).transpose()?;
    if is_blank(&input)
        && let (Some(asked), Some(answered)) = (record.get(question), record.get(answer))
        && let Some((asked, answered)) = conversational((question, asked), answered)
    {
        let history = history.unwrap_or_default();
        return messages::prompt_and_completion((question, &asked), (answer, &answered), history, record.get("system"));
    }
    let asked = record.get(question).map_or(Ok(String::new()), |value| question_text(value, question))?;
    let instruction = if question == "ask" { with_title(&record.text("title")?, asked) } else { asked };
    let output = record.get(answer).map_or(Ok(String::new()), |value| answer_text(value, answer))?;
    let system = record.text("system")?;
    Ok(unpacked(Parts { system, history: history.unwrap_or_default(), instruction, input, output }))
}

/// A question and an answer of which one is a list of messages (TRL's conversational format). In a table's cells, both must be.
fn conversational<'a>(
    (question, asked): (&str, &'a Value),
    answered: &'a Value,
) -> Option<(Cow<'a, Value>, Cow<'a, Value>)> {
    if messages::is_messages(asked) || messages::is_messages(answered) {
        return Some((Cow::Borrowed(asked), Cow::Borrowed(answered)));
    }
    let cell = |value: &Value| {
        let text = value.as_str().filter(|text| text.trim_start().starts_with('['))?;
        serde_json::from_str(text).ok().filter(messages::is_messages)
    };
    // An instruction may be about such a list.
    let cells = (question != "instruction").then(|| Some((cell(asked)?, cell(answered)?)))??;
    Some((Cow::Owned(cells.0), Cow::Owned(cells.1)))
}

/// The conversation of a record whose question may be packed in one of the known ways.
pub(super) fn unpacked(mut parts: Parts) -> Imported {
    if let Some(question) = packed::wrapped_question(&parts.instruction) {
        parts.instruction = question.to_owned();
        return parts.conversation();
    }
    if let Some((passage, question)) = packed::passage_and_question(&parts.input) {
        parts.instruction = [parts.instruction.trim_end(), question].join("\n").trim_start().to_owned();
        parts.input = passage.to_owned();
        return parts.conversation();
    }
    if let Some(mut turns) = packed::dialogue(&parts.instruction) {
        match (turns.len() % 2, packed::marked_question(&parts.input)) {
            (1, None) if !packed::has_mark(&parts.input) => {
                parts.instruction = turns.pop().map(|turn| turn.content).unwrap_or_default();
                parts.history.extend(turns);
            }
            (0, Some(question)) => {
                parts.instruction = question.to_owned();
                parts.input.clear();
                parts.history.extend(turns);
            }
            // Neither side's turn would be whole: the text stays as it is.
            _ => {}
        }
    }
    parts.conversation()
}

/// The question; of a list of wordings (a list of lists) the first.
fn question_text(value: &Value, name: &str) -> Result<String, Problem> {
    match value.get(0).and_then(|wordings| wordings.get(0)) {
        Some(first) => text_of(first, name),
        None => text_of(value, name),
    }
}

/// A question below its title, as in forums. 无 ("none") is an empty question.
fn with_title(title: &str, asked: String) -> String {
    match (title.trim(), asked.trim()) {
        ("", _) => asked,
        (title, "" | "无" | "无。") => title.to_owned(),
        (title, text) if text.contains(title) => asked,
        (title, text) => format!("{title}\n{text}"),
    }
}

/// The answer: a text, a list of texts, or an object's entries a line each.
pub(super) fn answer_text(value: &Value, name: &str) -> Result<String, Problem> {
    match value {
        Value::Object(object) => match object.get("text") {
            Some(text) => text_of(text, name),
            None => entries(value, name),
        },
        Value::String(text) => Ok(packed::printed_list(text).unwrap_or_else(|| text.clone())),
        other => text_of(other, name),
    }
}

/// An object's entries, a line each.
pub(super) fn entries(value: &Value, name: &str) -> Result<String, Problem> {
    let Value::Object(object) = value else { return text_of(value, name) };
    let line = |(key, value): (&String, &Value)| Ok(format!("{key}：{}", text_of(value, &format!("{name}.{key}"))?));
    Ok(object.iter().map(line).collect::<Result<Vec<_>, Problem>>()?.join("\n"))
}
