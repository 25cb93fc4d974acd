//! Columns of a source: those of questions and answers or those of conversations, never both.

use medley_mixture::Columns;

use crate::document::{Node, NodeValue};
use crate::error::Problem;
use crate::layers::entries;
use crate::resolve::papers;

const QUESTIONS: [&str; 7] = ["instruction", "input", "output", "history", "options", "explanation", "answers_from"];
const CONVERSATIONS: [&str; 5] = ["messages", "role", "content", "roles", "train"];

const HELP: &str = "a record is read as a question with its answer (`instruction`, `input`, `output`, `history`) or as a \
                    conversation (`messages`, `role`, `content`, `roles`, `train`); `system` goes with either";

const EXAM_HELP: &str = "an exam item has a question (`instruction`), its options (`options`: one column or a list of them), an \
                         answer (`output`), perhaps a passage (`input`) and an `explanation`; `answers_from` is the number of the \
                         first option";

/// Reports `columns` that name some of both, or what `format` does not read.
pub(crate) fn check(root: &Node, problems: &mut Vec<Problem>) {
    for (path, paper) in papers(root) {
        let Some(columns) = paper.get(&["columns"]) else { continue };
        if let Some(column) = named(columns, &CONVERSATIONS).first() {
            let message = format!("`{path}.columns` names `{}`, but a paper has exam items", column.key);
            let problem = Problem::at(&column.node.key, message, "not of exam items");
            problems.push(problem.with_help(EXAM_HELP));
        }
    }
    for (name, source) in entries(root, &["sources"]) {
        let path = format!("sources.{name}");
        let (columns, format) = (source.get(&["columns"]), source.get(&["format"]));
        let Some(NodeValue::Array(parts)) = source.get(&["path"]).map(|path| &path.value) else {
            check_pair(&path, columns, format, problems);
            continue;
        };
        // A part's own columns replace those beside `path` as a whole.
        let mut seen = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let own = part.get(&["columns"]);
            let path = if own.is_some() { format!("{path}.path.{index}") } else { path.clone() };
            let pair = (own.or(columns), part.get(&["format"]).or(format));
            let places = (pair.0.map(std::ptr::from_ref), pair.1.map(std::ptr::from_ref));
            if !seen.contains(&places) {
                seen.push(places);
                check_pair(&path, pair.0, pair.1, problems);
            }
        }
    }
}

fn check_pair(path: &str, columns: Option<&Node>, format: Option<&Node>, problems: &mut Vec<Problem>) {
    let Some(columns) = columns else { return };
    let questions = named(columns, &QUESTIONS);
    let conversations = named(columns, &CONVERSATIONS);
    if let (Some(question), Some(conversation)) = (questions.first(), conversations.first()) {
        // The one that came later is the one to look at.
        let position = |column: &Column<'_>| (column.node.layer, column.node.key.span.start);
        let is_question_first = position(question) < position(conversation);
        let (earlier, late) = if is_question_first { (&questions, conversation) } else { (&conversations, question) };
        let other = earlier[0].key;
        let message = format!("`{path}.columns` names `{other}` and `{}`, which exclude each other", late.key);
        let problem = Problem::at(&late.node.key, message, format!("not beside `{other}`"));
        problems.push(problem.with_help(format!("leave out one of the two: {HELP}{}", taken_back(earlier, late))));
        return;
    }
    let Some(format) = format else { return };
    let items = named(columns, &QUESTIONS[4..]);
    let unread = match format.string() {
        Some("alpaca") => conversations.first().or(items.first()),
        Some("messages") => questions.first(),
        _ => None,
    };
    if let (Some(column), Some(name)) = (unread, format.string()) {
        let message = format!("`{path}.columns` names `{}`, which `format = \"{name}\"` does not read", column.key);
        let problem = Problem::at(&column.node.key, message, format!("not with format \"{name}\""));
        problems.push(problem.with_help(format!("leave out one of the two: {HELP}")));
    }
}

/// Parses exam columns in recipe syntax: `columns = { … }`, `{ … }`, or the entries without braces.
///
/// # Errors
/// A message that names the entry at fault.
pub fn parse_columns(text: &str) -> Result<Columns, String> {
    let bare = text.trim();
    let bare = bare.strip_prefix("columns").and_then(|rest| rest.trim_start().strip_prefix('=')).unwrap_or(bare).trim();
    let inside = bare.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(bare);
    let table = format!("columns = {{ {} }}", inside.trim());
    #[derive(serde::Deserialize)]
    struct Line {
        columns: Columns,
    }
    let Line { columns } = toml::from_str(&table).map_err(|error| format!("{}; {EXAM_HELP}", error.message()))?;
    if columns.of_conversations() {
        return Err(format!("these are the columns of a conversation; {EXAM_HELP}"));
    }
    match columns.answers_from {
        Some(first @ 2..) => Err(format!("answers_from is {first}; the first option is 0 or 1")),
        _ => Ok(columns),
    }
}

struct Column<'a> {
    key: &'a str,
    node: &'a Node,
}

/// Those of the keys that name a column.
fn named<'a>(columns: &'a Node, keys: &[&'a str]) -> Vec<Column<'a>> {
    let named = keys.iter().filter_map(|key| Some(Column { key, node: columns.get(&[key])? }));
    named.filter(|column| says_something(column.node)).collect()
}

/// How columns of an earlier layer are taken back where another one is laid over them.
fn taken_back(earlier: &[Column<'_>], late: &Column<'_>) -> String {
    let below = earlier.iter().filter(|column| column.node.layer < late.node.layer && column.key != "roles");
    let empty: Vec<String> = below.map(|column| format!("`{} = \"\"`", column.key)).collect();
    if empty.is_empty() {
        return String::new();
    }
    format!("; what a base says is taken back with {}", empty.join(", "))
}

/// An empty name is a column that is not read.
fn says_something(node: &Node) -> bool {
    match &node.value {
        NodeValue::String(name) => !name.is_empty(),
        NodeValue::Table(roles) => !roles.is_empty(),
        _ => true,
    }
}
