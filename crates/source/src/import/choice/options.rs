//! The options of a question: an object, a list, two parallel lists, columns of their own, or lines of one text.

use std::sync::LazyLock;

use medley_reader::Problem;
use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;

use super::super::columns::{is_blank, kind, text_of};
use super::Choice;
use super::python::python_literal;
use super::record::Get;

pub(super) const HINT: &str =
    "options are an object {\"A\": …}, a list of texts, or lines that begin with their letters";

/// Usual names of columns that hold one option each; a row is a naming scheme, in the options' order.
pub(super) static COLUMNS: LazyLock<Vec<Vec<String>>> = LazyLock::new(|| {
    let letters = || ('a'..='h').map(String::from).collect::<Vec<_>>();
    let numbers = |from: usize| (from..from + 8).map(|number| number.to_string()).collect::<Vec<_>>();
    let rows = ["op", "opt", "opt_", "option", "option_", "option ", "choice", "choice_", "选项"].into_iter().flat_map(
        |prefix| {
            [letters(), numbers(0), numbers(1)].map(|row| row.iter().map(|end| format!("{prefix}{end}")).collect())
        },
    );
    std::iter::once(letters()).chain(rows).collect()
});

/// Options in columns of their own, by the first naming scheme of which the record has the first two columns.
pub(super) fn in_columns(get: Get<'_, '_>) -> Result<Vec<Choice>, Problem> {
    let is_there = |row: &&Vec<String>| get(&row[0]).is_some() && get(&row[1]).is_some();
    let Some(row) = COLUMNS.iter().find(is_there) else { return Ok(Vec::new()) };
    let mut choices = Vec::new();
    for (index, name) in row.iter().enumerate() {
        let Some(value) = get(name) else { break };
        choices.push(Choice { label: name.clone(), ..Choice::at(index, option_text(value, name)?) });
    }
    Ok(choices.into_iter().filter(|choice| !is_blank(&choice.text)).collect())
}

/// The text of an option, which may be a number.
pub(super) fn option_text(value: &Value, name: &str) -> Result<String, Problem> {
    match value {
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        other => text_of(other, name),
    }
}

/// The options in a value of any layout, without empty ones.
pub(super) fn choices_of(value: &Value, name: &str) -> Result<Vec<Choice>, Problem> {
    let choices = match value {
        Value::Null => Vec::new(),
        Value::Object(options) => match parallel_lists(options, name)? {
            Some(choices) => choices,
            None => {
                let labelled = options.iter().map(|(label, text)| Ok((label.clone(), option_text(text, name)?)));
                with_labels(labelled.collect::<Result<_, Problem>>()?, name)?
            }
        },
        Value::Array(options) => of_list(options, name)?,
        Value::String(text) if text.trim_start().starts_with(['[', '{']) => {
            let parsed = serde_json::from_str(text).or_else(|error| python_literal(text).ok_or(error));
            let parsed: Value = parsed
                .map_err(|error| Problem::new(format!("`{name}` is a text that is not valid JSON: {error}"), HINT))?;
            return choices_of(&parsed, name);
        }
        Value::String(text) => lines(text),
        other => return Err(Problem::new(format!("`{name}` is {}; expected options", kind(other)), HINT)),
    };
    Ok(choices.into_iter().filter(|choice| !is_blank(&choice.text)).collect())
}

/// `{"text": ["…", "…"], "label": ["A", "B"]}`, as ARC and CommonsenseQA have it.
fn parallel_lists(options: &Map<String, Value>, name: &str) -> Result<Option<Vec<Choice>>, Problem> {
    let list = |keys: &[&str]| keys.iter().find_map(|key| options.get(*key)).and_then(Value::as_array);
    let Some(texts) = list(&["text", "texts"]) else { return Ok(None) };
    let texts = texts.iter().map(|text| option_text(text, name)).collect::<Result<Vec<_>, Problem>>()?;
    let Some(labels) = list(&["label", "labels"]) else {
        return Ok(Some(texts.into_iter().enumerate().map(|(index, text)| Choice::at(index, text)).collect()));
    };
    if labels.len() != texts.len() {
        let problem = format!("`{name}` has {} texts and {} labels", texts.len(), labels.len());
        return Err(Problem::new(problem, "give every option a text and a label"));
    }
    let labels = labels.iter().map(|label| option_text(label, name)).collect::<Result<Vec<_>, Problem>>()?;
    with_labels(labels.into_iter().zip(texts).collect(), name).map(Some)
}

/// Options with labels. Their letters are the labels where all labels are letters, and follow the order otherwise.
fn with_labels(options: Vec<(String, String)>, name: &str) -> Result<Vec<Choice>, Problem> {
    let mut letters = Vec::new();
    for (label, _) in &options {
        match end_of_label(label).as_deref() {
            Some(end) if end.starts_with(|first: char| first.is_ascii_digit()) => {}
            Some(end) => letters.extend(end.chars().next()),
            None => {
                return Err(Problem::new(
                    format!("`{name}` has an option called `{label}`"),
                    "options are called A, B, C, … or 1, 2, 3, …",
                ));
            }
        }
    }
    let lettered = letters.len() == options.len();
    let choice = |(index, (label, text)): (usize, (String, String))| {
        let place = Choice::at(index, text);
        Choice { letter: if lettered { letters[index] } else { place.letter }, label, ..place }
    };
    Ok(options.into_iter().enumerate().map(choice).collect())
}

/// The distinguishing part of a label, a letter (upper case) or a number: `B` of `(b)`, `Option B`, `选项B`.
fn end_of_label(label: &str) -> Option<String> {
    let folded: String =
        label.nfkc().filter(|character| character.is_alphanumeric()).collect::<String>().to_lowercase();
    let words = ["option", "choice", "answer", "opt", "ans", "op", "选项"];
    let bare = words.iter().find_map(|word| folded.strip_prefix(word)).filter(|end| !end.is_empty()).unwrap_or(&folded);
    let is_number = !bare.is_empty() && bare.chars().all(|digit| digit.is_ascii_digit());
    let is_letter = bare.len() == 1 && bare.chars().all(|letter| letter.is_ascii_alphabetic());
    (is_number || is_letter).then(|| bare.to_ascii_uppercase())
}

/// Whether a value is an object of options by their letters or numbers, like `answers` of FrenchMedMCQA.
pub(in crate::import) fn is_lettered(value: &Value) -> bool {
    let Value::Object(options) = value else { return false };
    options.len() > 1 && options.keys().all(|label| end_of_label(label).is_some())
}

const TEXTS: [&str; 7] = ["text", "value", "content", "atext", "option", "choice", "answer"];
const LABELS: [&str; 7] = ["label", "letter", "key", "aid", "id", "index", "prefix"];

/// Whether a list is one of options and not of answers: several objects with a text each.
pub(super) fn is_list_of_options(value: &Value) -> bool {
    let Value::Array(list) = value else { return false };
    let is_option = |value: &Value| TEXTS.iter().any(|key| value.get(*key).is_some());
    list.len() > 1 && list.iter().all(is_option)
}

fn of_list(options: &[Value], name: &str) -> Result<Vec<Choice>, Problem> {
    let is_pair = |option: &Value| {
        let pair = option.as_array().map(Vec::as_slice);
        matches!(pair, Some([Value::String(label), _]) if end_of_label(label).is_some())
    };
    if !options.is_empty() && options.iter().all(is_pair) {
        let pair = |option: &Value| Ok((option_text(&option[0], name)?, option_text(&option[1], name)?));
        return with_labels(options.iter().map(pair).collect::<Result<_, Problem>>()?, name);
    }
    if options.iter().any(Value::is_object) {
        return of_objects(options, name);
    }
    let texts = options.iter().map(|option| option_text(option, name)).collect::<Result<Vec<_>, Problem>>()?;
    // Letters at the beginning are stripped only if all texts have theirs: "A fever" is a text.
    let bare = |(index, text): (usize, &String)| {
        if is_blank(text) { Some(String::new()) } else { after_letter(text, letter_at(index)).map(str::to_owned) }
    };
    let bare: Option<Vec<String>> = texts.iter().enumerate().map(bare).collect();
    let texts = bare.unwrap_or(texts);
    Ok(texts.into_iter().enumerate().map(|(index, text)| Choice::at(index, text)).collect())
}

fn of_objects(options: &[Value], name: &str) -> Result<Vec<Choice>, Problem> {
    let mut labelled = Vec::new();
    let mut marks = Vec::new();
    for (index, option) in options.iter().enumerate() {
        let field = |keys: &[&str]| keys.iter().find_map(|key| option.get(*key));
        let single = option.as_object().filter(|fields| fields.len() == 1).and_then(|fields| fields.iter().next());
        let (label, text) = match (field(&TEXTS), single) {
            (Some(text), _) => (field(&LABELS).cloned().unwrap_or_default(), text),
            (None, Some((label, text))) => (Value::String(label.clone()), text),
            (None, None) => return Err(Problem::new(format!("option {} of `{name}` has no text", index + 1), HINT)),
        };
        labelled.push((option_text(&label, name)?, option_text(text, name)?));
        let mark = field(&["correct", "is_correct", "isCorrect", "is_answer", "is_right"]);
        marks.push(mark.is_some_and(is_yes));
    }
    let choices = if labelled.iter().all(|(label, _)| end_of_label(label).is_some()) {
        with_labels(labelled, name)?
    } else if labelled.iter().any(|(label, _)| end_of_label(label).is_some_and(|end| end.len() == 1)) {
        // Some options have a letter, and the letters of the others are unknown.
        let (odd, _) = labelled.iter().find(|(label, _)| end_of_label(label).is_none()).cloned().unwrap_or_default();
        return Err(Problem::new(format!("`{name}` has an option called `{odd}`"), "options are called A, B, C, …"));
    } else {
        let at = |(index, (_, text)): (usize, (String, String))| Choice::at(index, text);
        labelled.into_iter().enumerate().map(at).collect()
    };
    Ok(choices.into_iter().zip(marks).map(|(choice, marked)| Choice { marked, ..choice }).collect())
}

fn is_yes(value: &Value) -> bool {
    match value {
        Value::Bool(yes) => *yes,
        Value::Number(number) => number.as_f64() == Some(1.0),
        Value::String(text) => ["true", "yes", "1"].iter().any(|yes| text.trim().eq_ignore_ascii_case(yes)),
        _ => false,
    }
}

/// The letter of the option at an index.
pub(super) fn letter_at(index: usize) -> char {
    char::from(b'A' + (index % 26) as u8)
}

/// The text behind `letter` and its delimiter: `A.…`, `A、…`, `(A) …`, `A …`. White space delimits an upper-case letter only.
fn after_letter(line: &str, letter: char) -> Option<&str> {
    let line = line.trim_start();
    let small = letter.to_ascii_lowercase();
    let bracketed = line.strip_prefix(['(', '（', '[', '【']).and_then(|line| line.strip_prefix([letter, small]));
    if let Some(rest) = bracketed {
        return rest.strip_prefix([')', '）', ']', '】']).map(str::trim_start);
    }
    let stops = ['.', '．', '、', ':', '：', ')', '）', ' ', '\t', '\u{3000}'];
    if let Some(rest) = line.strip_prefix(letter) {
        return rest.starts_with(stops).then(|| rest.trim_start_matches(stops));
    }
    let rest = line.strip_prefix(small)?;
    rest.starts_with(&stops[..7]).then(|| rest.trim_start_matches(stops))
}

/// The text behind the number of an option and its delimiter: `1. …`, `2) …`.
fn after_number(line: &str, index: usize) -> Option<&str> {
    let rest = line.trim_start().strip_prefix(&(index + 1).to_string())?;
    let rest = rest.strip_prefix(['.', '．', '、', ')', '）', ':', '：'])?;
    (!rest.starts_with(|next: char| next.is_ascii_digit())).then(|| rest.trim_start())
}

/// Options as lines of a text that begin with A, B, …; other lines continue the option before. Options on one line are split.
fn lines(text: &str) -> Vec<Choice> {
    let choices = question_and_lines(text).1;
    if choices.len() > 1 {
        return choices;
    }
    let numbered = numbered_lines(text);
    if numbered.len() > 1 { numbered } else { on_one_line(text).unwrap_or(choices) }
}

fn numbered_lines(text: &str) -> Vec<Choice> {
    let mut choices = Vec::<Choice>::new();
    for line in text.lines() {
        match (after_number(line, choices.len()), choices.last_mut()) {
            (Some(text), _) => {
                let index = choices.len();
                choices.push(Choice { label: (index + 1).to_string(), ..Choice::at(index, text.to_owned()) });
            }
            (None, Some(last)) => last.text = format!("{}\n{}", last.text, line.trim_end()),
            (None, None) if is_blank(line) => {}
            (None, None) => return Vec::new(),
        }
    }
    choices
}

/// `A. … B. … C. …`
fn on_one_line(text: &str) -> Option<Vec<Choice>> {
    let mut rest = after_letter(text, 'A')?;
    let mut choices = Vec::new();
    loop {
        let next = letter_at(choices.len() + 1);
        let begins =
            rest.char_indices().filter(|(_, character)| character.is_whitespace() || ";；|,，".contains(*character));
        let border = begins.filter_map(|(at, character)| {
            let behind = &rest[at + character.len_utf8()..];
            let stop = behind
                .trim_start()
                .trim_start_matches(['(', '（', next])
                .starts_with(['.', '．', '、', ':', '：', ')', '）']);
            Some((at, after_letter(behind, next).filter(|_| stop)?))
        });
        let found = border.min_by_key(|(at, _)| *at);
        let own = found.map_or(rest, |(at, _)| &rest[..at]);
        let own = own.trim_end_matches(|character: char| character.is_whitespace() || ";；|,，".contains(character));
        choices.push(Choice::at(choices.len(), own.to_owned()));
        match found {
            Some((_, behind)) => rest = behind,
            None => return (choices.len() > 1).then_some(choices),
        }
    }
}

/// A question followed by its options.
pub(super) fn question_and_lines(text: &str) -> (String, Vec<Choice>) {
    let (mut question, mut choices) = (String::new(), Vec::<Choice>::new());
    for line in text.lines() {
        let letter = letter_at(choices.len());
        match (after_letter(line, letter), choices.last_mut()) {
            (Some(text), _) => choices.push(Choice::at(choices.len(), text.to_owned())),
            (None, Some(last)) => last.text = format!("{}\n{}", last.text, line.trim_end()),
            (None, None) if question.is_empty() => line.clone_into(&mut question),
            (None, None) => question = format!("{question}\n{line}"),
        }
    }
    choices.iter_mut().for_each(|choice| choice.text.truncate(choice.text.trim_end().len()));
    (question, choices)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(options: &Value) -> String {
        let choices = choices_of(options, "options").expect("options");
        choices.iter().map(|choice| format!("{}={}", choice.letter, choice.text)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn options_of_every_form() {
        for options in [
            json!({"A": "甲", "B": "乙"}),
            json!({"a": "甲", "b": "乙", "c": ""}),
            json!({"(A)": "甲", "(B)": "乙"}),
            json!({"option1": "甲", "option2": "乙"}),
            json!({"1": "甲", "2": "乙"}),
            json!({"text": ["甲", "乙"], "label": ["A", "B"]}),
            json!({"label": ["1", "2"], "text": ["甲", "乙"]}),
            json!({"text": ["甲", "乙"]}),
            json!(["甲", "乙", null]),
            json!(["A.甲", "B.乙"]),
            json!(["a) 甲", "b) 乙"]),
            json!([["A", "甲"], ["B", "乙"]]),
            json!([{"A": "甲"}, {"B": "乙"}]),
            json!([{"label": "A", "text": "甲"}, {"label": "B", "text": "乙"}]),
            json!([{"aid": 1, "atext": "甲"}, {"aid": 2, "atext": "乙"}]),
            json!([{"text": "甲"}, {"text": "乙"}]),
            json!("A 甲\nB 乙"),
            json!("a. 甲\nb. 乙"),
            json!("1. 甲\n2. 乙"),
            json!("(A) 甲\n(B) 乙"),
            json!("A. 甲 B. 乙"),
            json!("A.甲；B.乙"),
            json!("[\"甲\", \"乙\"]"),
            json!("['甲', '乙']"),
            json!("{'A': '甲', 'B': '乙', 'C': None}"),
            json!("{\"option1\": \"甲\", \"option2\": \"乙\"}"),
        ] {
            assert_eq!(read(&options), "A=甲 B=乙", "{options}");
        }
        assert_eq!(read(&json!(["A fever", "chills"])), "A=A fever B=chills", "an article is no letter");
        assert_eq!(read(&json!({"A": 5, "B": 7.5})), "A=5 B=7.5");
        assert_eq!(read(&json!(["1.5 mg", "2.5 mg"])), "A=1.5 mg B=2.5 mg");
        assert_eq!(read(&json!({"B": "乙", "D": "丁"})), "B=乙 D=丁");
        assert_eq!(read(&json!("['it\\'s', \"o'clock\"]")), "A=it's B=o'clock");
    }

    #[test]
    fn what_holds_no_options_is_said() {
        let problem = |options: Value| choices_of(&options, "options").expect_err("no options").problem;
        assert!(problem(json!(3)).contains("`options` is a number"));
        assert!(problem(json!({"one": "甲"})).contains("called `one`"));
        assert!(problem(json!({"text": ["甲", "乙"], "label": ["A"]})).contains("2 texts and 1 labels"));
        assert!(problem(json!("[1,")).contains("not valid JSON"));
        assert!(problem(json!([{"label": "A"}, {"x": 1, "y": 2}])).contains("has no text"));
    }

    #[test]
    fn a_prompt_is_question_and_options() {
        let (question, choices) = question_and_lines("甲？\n乙\nA. 一\nB. 二\n三\nC. 四");
        assert_eq!(question, "甲？\n乙");
        assert_eq!(choices.iter().map(|choice| choice.text.as_str()).collect::<Vec<_>>(), ["一", "二\n三", "四"]);
    }
}
