//! Exam items, recognised by their own keys; as training data question and options are asked, the right options (and the
//! explanation) answered.
//!
//! Options come as an object, a list of texts, a list of objects or lines of one text; the answer as letters, as the
//! options' texts, as a number or as a mark on the option.

use medley_chat::{Message, Role};
use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;

use super::Imported;
use super::columns::{is_blank, kind, text_of};
use crate::canonical::fold;
use crate::read::Problem;
use crate::rejection::Rejection;

/// Where the question may stand: under one of these keys.
pub(super) const QUESTIONS: [&str; 10] =
    ["instruction", "instruct", "query", "question", "prompt", "ask", "problem", "user", "human", "q"];
/// Where the options may stand.
pub(super) const OPTIONS: [&str; 3] = ["option", "options", "choices"];
/// Options that are columns of their own.
const LETTERS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// An option of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its letter, in capitals.
    pub letter: char,
    /// What it says.
    pub text: String,
    /// The record marks it as right.
    pub marked: bool,
}

/// A question with options as its record has it (CMB, CMExam, MedQA and their kin).
#[derive(Clone, Debug, PartialEq)]
pub struct ChoiceQuestion<'a> {
    /// What is asked.
    pub question: String,
    /// The options that say something, in the record's order.
    pub choices: Vec<Choice>,
    /// What holds the answer, the surest first.
    pub answers: [Option<&'a Value>; 2],
    /// Why the answer is right; empty where the record does not say.
    pub explanation: String,
    /// Whether several options may be right, where the record says it.
    pub multiple: Option<bool>,
}

/// Why a record cannot be read, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordProblem {
    /// What is wrong, with its key.
    pub problem: String,
    /// How to mend it.
    pub hint: String,
}

/// A record's value under a key, in capitals or not.
type Get<'g, 'a> = &'g dyn Fn(&str) -> Option<&'a Value>;

fn text_under(get: Get<'_, '_>, key: &str) -> Result<String, Problem> {
    get(key).map_or(Ok(String::new()), |value| text_of(value, key))
}

impl<'a> ChoiceQuestion<'a> {
    /// Reads a record by its own keys, whose capitals make no difference; `None` where it has no question with options.
    ///
    /// # Errors
    /// A question, an option or an explanation is no text.
    pub fn of(record: &'a Map<String, Value>) -> Result<Option<Self>, RecordProblem> {
        let get = |key: &str| {
            record.get(key).or_else(|| {
                let same = |(name, _): &(&String, &Value)| name.eq_ignore_ascii_case(key);
                record.iter().find(same).map(|(_, value)| value)
            })
        };
        Self::read(&get).map_err(|Problem { problem, hint }| RecordProblem { problem, hint })
    }

    /// The same from wherever the record's values are.
    pub(super) fn read(get: Get<'_, 'a>) -> Result<Option<Self>, Problem> {
        if let Some(Value::Object(inside)) = get("generated_question") {
            let text = |key: &str| inside.get(key).map_or(Ok(String::new()), |value| text_of(value, key));
            let choices = choices_of(inside.get("options").unwrap_or(&Value::Null), "options")?;
            let (question, explanation) = (text("question")?, text("explanation")?);
            let answers = [None, inside.get("answer")];
            return Ok(Some(Self { question, choices, answers, explanation, multiple: None }));
        }
        let Some((question, choices)) = question_and_choices(get)? else { return Ok(None) };
        let meta = |key: &str| get("meta").and_then(|meta| meta.get(key)).and_then(Value::as_str).unwrap_or_default();
        let explanations = ["explanation", "analysis", "parse"].map(|key| text_under(get, key));
        let explanations: Vec<String> = explanations.into_iter().collect::<Result<_, Problem>>()?;
        let explanation = explanations.into_iter().find(|text| !is_blank(text));
        let explanation = explanation.unwrap_or_else(|| meta("explanation").to_owned());
        let question_type = get("question_type").and_then(Value::as_str).unwrap_or_else(|| meta("question_type"));
        let first = |keys: [&str; 2]| keys.into_iter().find_map(get);
        let answers = [first(["answer_idx", "gt_answer"]), first(["answer", "answers"])];
        Ok(Some(Self { question, choices, answers, explanation, multiple: kind_of_question(question_type) }))
    }

    /// The letters that an answer names, be it letters, an option's text, a list of these or a number from 0; letters come
    /// before texts. `None` where some of it is no option.
    pub fn letters_of(&self, answer: &Value) -> Option<Vec<char>> {
        answer.as_str().and_then(|text| self.with_letters(text)).or_else(|| self.named_by(answer))
    }

    /// The first of the answers that says something.
    pub fn answer(&self) -> Option<&'a Value> {
        self.answers.into_iter().flatten().find(|value| !says_nothing(value))
    }

    pub(super) fn conversation(self) -> Imported {
        if is_blank(&self.question) {
            return Imported::Rejected(Rejection::EmptyQuestion);
        }
        if self.choices.len() < 2 {
            return self.without_options();
        }
        let right = match self.right() {
            Ok(right) => right,
            Err(reason) => return Imported::Rejected(reason),
        };
        let line = |choice: &Choice| format!("{}. {}", choice.letter, choice.text);
        let options: Vec<String> = self.choices.iter().map(line).collect();
        let mut answer = right.into_iter().map(line).collect::<Vec<_>>().join("\n");
        if !is_blank(&self.explanation) {
            answer = format!("{answer}\n\n{}", self.explanation.trim());
        }
        let question = format!("{}\n{}", self.question.trim(), options.join("\n"));
        Imported::Conversation(vec![Message::new(Role::User, question), Message::new(Role::Assistant, answer)])
    }

    /// One option alone is no choice, but where the answer is its text there is a question and its answer.
    fn without_options(self) -> Imported {
        let texts = self.answers.iter().flatten().filter_map(|answer| match answer {
            Value::Array(texts) => texts.first().and_then(Value::as_str),
            other => other.as_str(),
        });
        let answered = texts.filter(|text| self.with_text(text).is_some()).map(str::to_owned).next();
        answered.map_or(Imported::Rejected(Rejection::TooFewOptions), |answer| {
            Imported::Conversation(vec![Message::new(Role::User, self.question), Message::new(Role::Assistant, answer)])
        })
    }

    /// The right options, in their order.
    fn right(&self) -> Result<Vec<&Choice>, Rejection> {
        let marked: Vec<&Choice> = self.choices.iter().filter(|choice| choice.marked).collect();
        if !marked.is_empty() {
            return Ok(marked);
        }
        let answers: Vec<&Value> =
            self.answers.iter().flatten().copied().filter(|value| !says_nothing(value)).collect();
        if answers.is_empty() {
            return Err(Rejection::EmptyAnswer);
        }
        let found = answers.into_iter().find_map(|answer| self.named_by(answer));
        match found {
            None => Err(Rejection::AnswerNotAmongOptions),
            Some(letters) if self.multiple == Some(true) && letters.len() == 1 => Err(Rejection::KeyCutShort),
            Some(letters) => Ok(self.choices.iter().filter(|choice| letters.contains(&choice.letter)).collect()),
        }
    }

    /// The letters that an answer names; `None` where some of it is no option.
    fn named_by(&self, answer: &Value) -> Option<Vec<char>> {
        match answer {
            Value::Array(answers) => {
                let letters: Option<Vec<Vec<char>>> = answers.iter().map(|answer| self.named_by(answer)).collect();
                letters.map(|letters| letters.concat()).filter(|letters| !letters.is_empty())
            }
            Value::Number(number) => {
                let index = usize::try_from(number.as_u64()?).ok()?;
                self.choices.get(index).map(|choice| vec![choice.letter])
            }
            Value::String(text) => self.with_text(text).or_else(|| self.with_letters(text)),
            _ => None,
        }
    }

    fn with_text(&self, text: &str) -> Option<Vec<char>> {
        let text = fold(text);
        let mut same = self.choices.iter().filter(|choice| fold(&choice.text) == text);
        same.next().map(|choice| vec![choice.letter])
    }

    fn with_letters(&self, text: &str) -> Option<Vec<char>> {
        let ignored = |character: &char| character.is_whitespace() || "、,;.()（）[]\"'".contains(*character);
        let letters: Vec<char> = text.nfkc().filter(|character| !ignored(character)).collect();
        let known = |letter: &char| self.choices.iter().any(|choice| choice.letter == *letter);
        (!letters.is_empty() && letters.iter().all(known)).then_some(letters)
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => is_blank(text),
        Value::Array(list) => list.iter().all(says_nothing),
        _ => false,
    }
}

/// `None` where the record has no options.
fn question_and_choices(get: Get<'_, '_>) -> Result<Option<(String, Vec<Choice>)>, Problem> {
    let mut asked = QUESTIONS.into_iter().filter(|key| get(key).is_some());
    let (Some(question), None) = (asked.next(), asked.next()) else { return Ok(None) };
    let question = text_under(get, question)?;
    if get("gt_answer").is_some() {
        return Ok(Some(question_and_lines(&question)));
    }
    let choices = match OPTIONS.into_iter().find_map(|key| Some((key, get(key)?))) {
        Some((key, options)) => choices_of(options, key)?,
        None if get("a").is_some() && get("b").is_some() => {
            let choices = ('A'..).zip(LETTERS).map(|(letter, key)| Ok(Choice::new(letter, text_under(get, key)?)));
            let mut choices = choices.collect::<Result<Vec<_>, Problem>>()?;
            choices.retain(|choice| !is_blank(&choice.text));
            choices
        }
        None => Vec::new(),
    };
    Ok((!choices.is_empty()).then_some((question, choices)))
}

/// Whether an answer is letters of options that must stand somewhere.
pub(super) fn is_letters(answer: &Value) -> bool {
    let letters = |text: &str| !is_blank(text) && text.trim().chars().all(|letter| letter.is_ascii_uppercase());
    answer.as_str().is_some_and(letters)
}

/// Whether a question's type says that several options may be right.
fn kind_of_question(name: &str) -> Option<bool> {
    (!is_blank(name)).then(|| name.contains('多') || name.to_ascii_lowercase().contains("multi"))
}

/// The options that a value holds; empty ones are none.
fn choices_of(value: &Value, name: &str) -> Result<Vec<Choice>, Problem> {
    let choices = match value {
        Value::Null => Vec::new(),
        Value::Object(options) => {
            let one = |(label, text): (&String, &Value)| Ok(Choice::new(letter_of(label, name)?, text_of(text, name)?));
            options.iter().map(one).collect::<Result<_, Problem>>()?
        }
        Value::Array(options) => {
            let one = |(index, option): (usize, &Value)| one_of_list(index, option, name);
            options.iter().enumerate().map(one).collect::<Result<_, Problem>>()?
        }
        Value::String(text) if text.trim_start().starts_with(['[', '{']) => {
            let parsed: Value = serde_json::from_str(text)
                .map_err(|error| Problem::new(format!("`{name}` is a text that is not valid JSON: {error}"), HINT))?;
            return choices_of(&parsed, name);
        }
        Value::String(text) => lines(text),
        other => return Err(Problem::new(format!("`{name}` is {}; expected options", kind(other)), HINT)),
    };
    Ok(choices.into_iter().filter(|choice| !is_blank(&choice.text)).collect())
}

const HINT: &str = "options are an object {\"A\": …}, a list of texts, or lines that begin with their letters";

impl Choice {
    fn new(letter: char, text: String) -> Self {
        Self { letter, text: text.trim().to_owned(), marked: false }
    }
}

fn letter_of(label: &str, name: &str) -> Result<char, Problem> {
    let mut characters = label.nfkc().filter(|character| character.is_ascii_alphanumeric());
    match (characters.next(), characters.next()) {
        (Some(letter), None) if letter.is_ascii_alphabetic() => Ok(letter.to_ascii_uppercase()),
        _ => Err(Problem::new(format!("`{name}` has an option called `{label}`"), "options are called A, B, C, …")),
    }
}

/// The letter of an option by its place in a list.
fn letter_at(index: usize) -> char {
    char::from(b'A' + (index % 26) as u8)
}

fn one_of_list(index: usize, option: &Value, name: &str) -> Result<Choice, Problem> {
    let letter = letter_at(index);
    match option {
        Value::Object(fields) => {
            let field = |keys: &[&str]| keys.iter().find_map(|key| fields.get(*key));
            let text = field(&["text", "value", "content"])
                .ok_or_else(|| Problem::new(format!("option {} of `{name}` has no text", index + 1), HINT))?;
            let label = field(&["label", "letter", "key", "id"]).and_then(Value::as_str);
            let letter = label.map_or(Ok(letter), |label| letter_of(label, name))?;
            let marked = field(&["correct", "is_correct"]).and_then(Value::as_bool) == Some(true);
            Ok(Choice { marked, ..Choice::new(letter, text_of(text, name)?) })
        }
        other => {
            let text = text_of(other, name)?;
            // The text may begin with its own letter.
            let bare = after_letter(&text, letter).unwrap_or(&text).to_owned();
            Ok(Choice::new(letter, bare))
        }
    }
}

/// What follows `letter` and its stop: `A.…`, `A、…`, `(A) …`, `A …`.
fn after_letter(line: &str, letter: char) -> Option<&str> {
    let line = line.trim_start();
    let bracketed = line.strip_prefix(['(', '（']).and_then(|line| line.strip_prefix(letter));
    if let Some(rest) = bracketed {
        return rest.strip_prefix([')', '）']).map(str::trim_start);
    }
    let rest = line.strip_prefix(letter)?;
    let stops = ['.', '．', '、', ':', '：', ')', '）', ' ', '\t', '\u{3000}'];
    rest.starts_with(stops).then(|| rest.trim_start_matches(stops))
}

/// Options as the lines of a text, in the alphabet's order; a line that begins no option belongs to the one before.
fn lines(text: &str) -> Vec<Choice> {
    question_and_lines(text).1
}

/// A question followed by its options.
fn question_and_lines(text: &str) -> (String, Vec<Choice>) {
    let (mut question, mut choices) = (String::new(), Vec::<Choice>::new());
    for line in text.lines() {
        let letter = letter_at(choices.len());
        match (after_letter(line, letter), choices.last_mut()) {
            (Some(text), _) => choices.push(Choice::new(letter, text.to_owned())),
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

    fn asked(options: &Value, answer: &Value, multiple: Option<bool>) -> Result<String, Rejection> {
        let item = ChoiceQuestion {
            question: "问？".to_owned(),
            choices: choices_of(options, "options").expect("options"),
            answers: [None, Some(answer)],
            explanation: String::new(),
            multiple,
        };
        match item.conversation() {
            Imported::Conversation(messages) => {
                Ok(messages.into_iter().map(|m| m.content).collect::<Vec<_>>().join("|"))
            }
            Imported::Rejected(reason) => Err(reason),
        }
    }

    #[test]
    fn options_and_answers_of_every_form() {
        let expected = Ok("问？\nA. 甲\nB. 乙|B. 乙".to_owned());
        for (options, answer) in [
            (json!({"A": "甲", "B": "乙"}), json!("B")),
            (json!({"A": "甲", "B": "乙", "C": ""}), json!("（B）")),
            (json!(["甲", "乙"]), json!(["乙"])),
            (json!(["甲", "乙"]), json!(1)),
            (json!(["A.甲", "B.乙"]), json!(["B"])),
            (json!("A 甲\nB 乙"), json!("B")),
            (json!("(A) 甲\n(B) 乙"), json!("Ｂ")),
            (json!([{"label": "A", "text": "甲"}, {"label": "B", "text": "乙", "correct": true}]), json!(null)),
            (json!("[\"甲\", \"乙\"]"), json!("乙")),
        ] {
            assert_eq!(asked(&options, &answer, None), expected, "{options} {answer}");
        }
        let several = Ok("问？\nA. 甲\nB. 乙\nC. 丙|A. 甲\nC. 丙".to_owned());
        let options = json!({"A": "甲", "B": "乙", "C": "丙"});
        for answer in [json!("AC"), json!("C、A"), json!(["甲", "丙"]), json!(["A", "C"])] {
            assert_eq!(asked(&options, &answer, Some(true)), several, "{answer}");
        }
    }

    #[test]
    fn items_without_a_right_option_are_rejected() {
        let options = json!({"A": "甲", "B": "乙"});
        assert_eq!(asked(&options, &json!("C"), None), Err(Rejection::AnswerNotAmongOptions));
        assert_eq!(asked(&options, &json!(["甲", "丙"]), None), Err(Rejection::AnswerNotAmongOptions));
        assert_eq!(asked(&options, &json!(""), None), Err(Rejection::EmptyAnswer));
        assert_eq!(asked(&options, &json!("B"), Some(true)), Err(Rejection::KeyCutShort));
        assert_eq!(asked(&json!(["甲"]), &json!("A"), None), Err(Rejection::TooFewOptions));
        assert_eq!(asked(&json!(["甲"]), &json!(["甲"]), None), Ok("问？|甲".to_owned()), "the answer stands there");
        assert!(choices_of(&json!(3), "options").expect_err("a number").problem.contains("`options` is a number"));
        assert!(choices_of(&json!({"one": "甲"}), "options").expect_err("a name").problem.contains("called `one`"));
    }

    #[test]
    fn a_prompt_is_question_and_options() {
        let (question, choices) = question_and_lines("甲？\n乙\nA. 一\nB. 二\n三\nC. 四");
        assert_eq!(question, "甲？\n乙");
        assert_eq!(choices.iter().map(|choice| choice.text.as_str()).collect::<Vec<_>>(), ["一", "二\n三", "四"]);
    }
}
