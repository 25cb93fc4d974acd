//! Hints for a file without a recognised record: the name of its layout, or a `columns` line that was tried on a record.

use indexmap::IndexSet;
use medley_chat::Role;
use medley_mixture::Rejection;
use medley_mixture::spec::{Columns, Roles, SourcePart, usual_role};
use medley_reader::RawRecord;
use serde_json::Value;

use super::columns::{kind, text_of};
use super::messages::is_messages;
use super::{FileKeys, Imported, Importer};

const QUESTIONS: [&str; 8] = ["instruction", "query", "question", "prompt", "ask", "context", "input", "text"];
const INPUTS: [&str; 3] = ["input", "context", "passage"];
const ANSWERS: [&str; 9] =
    ["output", "response", "answer", "target", "completion", "answers", "reply", "solution", "chosen"];

/// Keys of a turn's speaker.
const SPEAKERS: [&str; 10] =
    ["role", "from", "speaker", "sender", "author", "participant", "identity", "说话人", "角色", "身份"];
/// Keys of a turn's text.
const SAID: [&str; 8] = ["content", "value", "message", "text", "utterance", "sentence", "内容", "文本"];
/// Words in the names of answering speakers.
const ANSWERING: [&str; 18] = [
    "assistant",
    "bot",
    "doctor",
    "physician",
    "agent",
    "counsel",
    "therapist",
    "teacher",
    "tutor",
    "expert",
    "医生",
    "医师",
    "大夫",
    "助手",
    "助理",
    "客服",
    "咨询师",
    "机器人",
];
/// Words in the names of asking speakers.
const ASKING: [&str; 11] =
    ["user", "human", "patient", "client", "customer", "student", "患者", "病人", "用户", "家属", "来访者"];

/// The hint for a record without the keys of a known layout.
pub(super) fn hint(record: RawRecord<'_>, entries: &[(String, Value)]) -> String {
    let known = preferences(entries).or_else(|| single_turn(entries)).or_else(|| paragraphs(entries));
    known.or_else(|| of_turns(record, entries)).unwrap_or_else(|| of_columns(record, entries))
}

fn value<'a>(entries: &'a [(String, Value)], names: &[&str]) -> Option<(&'a str, &'a Value)> {
    let same = |(key, _): &&(String, Value)| names.iter().any(|name| key.eq_ignore_ascii_case(name));
    entries.iter().find(same).map(|(key, value)| (key.as_str(), value))
}

/// Preference data: a chosen and a rejected answer.
fn preferences(entries: &[(String, Value)]) -> Option<String> {
    let ((chosen, answer), _) = (value(entries, &["chosen"])?, value(entries, &["rejected"])?);
    let whole = answer.as_array().is_some_and(|turns| turns.len() > 1) && is_messages(answer);
    let how = match value(entries, &["prompt", "question", "instruction"]) {
        Some((prompt, text)) if !is_messages(text) && !is_messages(answer) => {
            format!("`columns = {{ instruction = \"{prompt}\", output = \"{chosen}\" }}`")
        }
        None if whole => format!("`columns = {{ messages = \"{chosen}\" }}`"),
        _ => "write `chosen` behind `prompt` in a list `messages`".to_owned(),
    };
    Some(format!("answers are ranked, for preference training; to learn the chosen ones alone: {how}"))
}

/// SQuAD's nested paragraphs with questions.
fn paragraphs(entries: &[(String, Value)]) -> Option<String> {
    let has = |value: &Value| value.get("paragraphs").is_some();
    let nested = entries.iter().any(|(key, value)| key == "paragraphs" || value.get(0).is_some_and(has));
    nested.then(|| {
        "these are paragraphs with their questions, as SQuAD has them: write each question as a record, {\"question\": …, \
         \"context\": …, \"answer\": …}"
            .to_owned()
    })
}

/// A record that is one turn of a conversation.
fn single_turn(entries: &[(String, Value)]) -> Option<String> {
    let ((role, speaker), (said, text)) = (value(entries, &SPEAKERS)?, value(entries, &SAID)?);
    (speaker.is_string() && text.is_string()).then(|| {
        format!(
            "each record is one turn (`{role}`, `{said}`): write a conversation's turns as one record, {{\"messages\": \
             [{{\"role\": \"user\", \"content\": …}}, {{\"role\": \"assistant\", \"content\": …}}]}}"
        )
    })
}

/// Whether the last word of a key is `name`, singular or plural: `QUESTION`, `zh_question` and `userQuestions` for `question`.
fn ends_with_word(key: &str, name: &str) -> bool {
    let begins = |(at, character): (usize, char)| {
        let before = key[..at].chars().next_back()?;
        let border = !before.is_alphanumeric() || (before.is_lowercase() && character.is_uppercase());
        border.then_some(at)
    };
    let word = &key[key.char_indices().filter_map(begins).next_back().unwrap_or(0)..];
    word.to_lowercase().trim_end_matches('s') == name.trim_end_matches('s')
}

/// Imports a record by these columns.
fn try_columns(columns: &Columns, record: RawRecord<'_>) -> Option<Imported> {
    let importer = Importer::new(&SourcePart { columns: columns.clone(), ..SourcePart::default() });
    importer.import_of(record, &FileKeys::default()).ok().map(|read| read.imported)
}

/// The most plausible `columns` line for a record of texts.
fn of_columns(record: RawRecord<'_>, entries: &[(String, Value)]) -> String {
    let texts = entries.iter().filter(|(_, value)| text_of(value, "").is_ok());
    let keys: Vec<&str> = texts.map(|(key, _)| key.as_str()).collect();
    let find = |names: &[&str], beside: Option<&str>| {
        let free = |key: &&&str| Some(**key) != beside;
        let exact = names.iter().find_map(|name| keys.iter().filter(free).find(|key| key.eq_ignore_ascii_case(name)));
        let near = || names.iter().find_map(|name| keys.iter().filter(free).rfind(|key| ends_with_word(key, name)));
        exact.or_else(near).map(|key| (*key).to_owned())
    };
    let (instruction, output) = (find(&QUESTIONS, None), find(&ANSWERS, None));
    let input = find(&INPUTS, instruction.as_deref());
    let columns = Columns { instruction, input, output, ..Columns::default() };
    let is_whole = columns.instruction.is_some() && columns.output.is_some();
    // The record may be empty, but its columns must exist and be texts.
    let reads = match try_columns(&columns, record) {
        None | Some(Imported::Rejected(Rejection::MissingColumn | Rejection::ListsOfTexts)) => false,
        Some(_) => true,
    };
    let Columns { instruction, input, output, .. } = if is_whole && !reads { Columns::default() } else { columns };
    let input = input.map(|input| format!(" input = \"{input}\",")).unwrap_or_default();
    let or_dots = |name: Option<String>| name.unwrap_or_else(|| "…".to_owned());
    let (instruction, output) = (or_dots(instruction), or_dots(output));
    format!("name the columns: `columns = {{ instruction = \"{instruction}\",{input} output = \"{output}\" }}`")
}

/// A `columns` line for a record with a list of turns under unknown keys, each with a speaker and a text.
pub(super) fn of_turns(record: RawRecord<'_>, entries: &[(String, Value)]) -> Option<String> {
    entries.iter().find_map(|(name, value)| {
        let turns = value.as_array()?;
        let texts = |key: &String| -> Option<(String, Vec<&str>)> {
            let texts = turns.iter().map(|turn| turn.get(key)?.as_str()).collect::<Option<Vec<_>>>()?;
            Some((key.clone(), texts))
        };
        let fields: Vec<_> = turns.first()?.as_object()?.keys().filter_map(texts).collect();
        let (role, speakers) = fields.iter().find_map(|(key, texts)| Some((key, speakers(key, texts)?)))?;
        let length = |texts: &[&str]| texts.iter().map(|text| text.len()).sum::<usize>();
        let (content, _) = fields.iter().filter(|(key, _)| key != role).max_by_key(|(_, texts)| length(texts))?;
        let usual = speakers.iter().all(|speaker| usual_role(speaker).is_some());
        let [asking, _] = speakers;
        let [user, assistant] = speakers.map(|speaker| vec![speaker.to_owned()]);
        let roles = (!usual).then(|| Roles { user, assistant, ..Roles::default() });
        let line = roles.as_ref().map_or_else(String::new, |Roles { user, assistant, .. }| {
            format!(", roles = {{ user = [\"{}\"], assistant = [\"{}\"] }}", user[0], assistant[0])
        });
        let line = format!("columns = {{ messages = \"{name}\", role = \"{role}\", content = \"{content}\"{line} }}");
        let columns = Columns {
            messages: Some(name.clone()),
            role: Some(role.clone()),
            content: Some(content.clone()),
            roles,
            ..Columns::default()
        };
        // A conversation may end with the user, but not begin with the assistant.
        let asks_first = fields.iter().any(|(key, texts)| key == role && texts.first() == Some(&asking));
        let reads = match try_columns(&columns, record) {
            Some(Imported::Conversation(_)) => true,
            Some(Imported::Rejected(Rejection::TurnsOutOfOrder)) => asks_first,
            _ => false,
        };
        reads.then(|| format!("name the keys of the conversation: `{line}`"))
    })
}

/// The asking and the answering speaker, if `texts` are the names of two speakers: short, and either known words or repeated under a
/// speaker's key.
fn speakers<'a>(key: &str, texts: &[&'a str]) -> Option<[&'a str; 2]> {
    let names: IndexSet<&str> = texts.iter().copied().collect();
    let (first, second) = (names.get_index(0)?, names.get_index(1)?);
    let short = |name: &&str| !name.is_empty() && name.chars().count() <= 16 && !name.contains(['\n', '?', '？', '。']);
    let [one, other] = [*first, *second].map(side);
    let known = one.is_some() && other.is_some();
    let has_key = SPEAKERS.iter().any(|speaker| key.eq_ignore_ascii_case(speaker)) || ends_with_word(key, "role");
    if names.len() != 2
        || !names.iter().all(short)
        || !(known || (has_key && texts.len() > 2))
        || (known && one == other)
    {
        return None;
    }
    // The first speaker asks, unless the names say otherwise.
    let swapped = one == Some(Role::Assistant) || other == Some(Role::User);
    Some(if swapped { [second, first] } else { [first, second] })
}

/// The role of a speaker, if the name shows it.
fn side(name: &str) -> Option<Role> {
    let name = name.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    match (usual_role(&name), has(&ANSWERING), has(&ASKING)) {
        (Some(role @ (Role::User | Role::Assistant)), ..) => Some(role),
        (_, true, false) => Some(Role::Assistant),
        (_, false, true) => Some(Role::User),
        _ => None,
    }
}

/// The problem of a list that is not a conversation.
pub(super) fn list_problem(list: &Value) -> (String, &'static str) {
    let first = list.get(0).map_or("nothing", kind);
    let is_plain = |value: &Value| !value.is_object() && !value.is_array();
    if list.as_array().is_some_and(|values| values.len() > 1 && values.iter().all(is_plain)) {
        return (
            "the record is a list of values, and nothing says what each of them is".to_owned(),
            "rows without names are what pandas writes with orient=\"values\": write them with orient=\"records\"; a dialogue is \
             {\"messages\": [{\"role\": …, \"content\": …}, …]}",
        );
    }
    let hint = "a record is a JSON object, or a list of turns: [{\"role\": …, \"content\": …}, …]";
    (format!("the record is a list that begins with {first}"), hint)
}
