//! Marks of a record on its own answers: turns without loss, and answers of low preference.

use medley_mixture::spec::Columns;
use medley_reader::Problem;
use serde_json::{Map, Value};

use super::ColumnMask;
use super::columns::{Column, kind};
use super::fields::{Fields, Names};

/// Keys of a turn whose true or 1 means that it is learned: OpenAI's `weight`, LLaMA-Factory's `loss_weight`, Axolotl's `train`
/// and `training`, `loss` of AgentInstruct, XTuner and ms-swift, ms-swift's `loss_scale`, XTuner's `output_with_loss`, Megatron's `loss_mask`.
const LEARNED: [&str; 10] = [
    "weight",
    "loss_weight",
    "train",
    "training",
    "loss",
    "loss_scale",
    "output_with_loss",
    "loss_mask",
    "is_train",
    "trainable",
];
/// Keys of a turn whose true or 1 means that it is not learned.
const MASKED: [&str; 2] = ["mask", "masked"];
/// Keys of a record whose 0 means that it is not learned; the other keys of [`LEARNED`] also have other numbers, such as a loss.
const LEARNED_BY_NUMBER: [&str; 4] = ["weight", "loss_weight", "loss_scale", "loss_mask"];
/// Keys of a record whose false means that its answer is bad.
const GOOD: [&str; 3] = ["desirable", "is_desirable", "is_good"];
/// Words in the name of an unknown flag that may be such a mark.
const SUSPECT: [&str; 12] = [
    "loss",
    "train",
    "trained",
    "training",
    "trainable",
    "mask",
    "masked",
    "learn",
    "learned",
    "learnable",
    "supervise",
    "supervised",
];
/// Axolotl's list of marks for parts of a turn.
const PARTS: &str = "train_detail";

const HINT: &str = "write true or false (1 or 0); `columns = { train = \"KEY\" }` reads that key alone (false: not learned), \
                    `columns = { train = \"\" }` none: every answer is learned";

/// The truth value of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Truth {
    Yes,
    No,
    /// Null or an empty text.
    Nothing,
    Unclear,
}

/// Reads a flag as JSON, Python and tables write it: true, 1, 1.0, "True", "1".
fn truth(value: &Value) -> Truth {
    let number = |number: f64| match number {
        0.0 => Truth::No,
        1.0 => Truth::Yes,
        _ => Truth::Unclear,
    };
    match value {
        Value::Null => Truth::Nothing,
        Value::Bool(flag) => [Truth::No, Truth::Yes][usize::from(*flag)],
        Value::Number(found) => found.as_f64().map_or(Truth::Unclear, number),
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "" | "null" | "none" | "nan" => Truth::Nothing,
            "true" => Truth::Yes,
            "false" => Truth::No,
            other => other.parse().map_or(Truth::Unclear, number),
        },
        Value::Array(_) | Value::Object(_) => Truth::Unclear,
    }
}

/// Whether an assistant's turn is excluded from the loss, by the key that the recipe names or by the usual ones.
///
/// # Errors
/// A flag that is neither true nor false, or an unknown flag with a name like that of a mark.
pub(super) fn is_unlearned(turn: &Value, named: Option<&str>) -> Result<bool, String> {
    let Value::Object(turn) = turn else { return Ok(false) };
    let says_no = |key: &str, value: &Value| match truth(value) {
        Truth::Unclear => Err(unclear(key, value)),
        found => Ok(found == Truth::No),
    };
    if let Some(key) = named {
        return turn.get(key).map_or(Ok(false), |value| says_no(key, value));
    }
    let mut unlearned = false;
    for (key, value) in turn {
        let key = key.as_str();
        unlearned |= if LEARNED.contains(&key) {
            says_no(key, value)?
        } else if key == "label" {
            value == &Value::Bool(false)
        } else if MASKED.contains(&key) {
            !matches!(truth(value), Truth::Nothing) && !says_no(key, value)?
        } else if key == PARTS && !is_empty(value) {
            return Err(format!("`{PARTS}` marks parts of the turn, but a turn is learned wholly or not at all"));
        } else if is_suspect(key) && matches!(truth(value), Truth::Yes | Truth::No) {
            return Err(format!("`{key}` is {value}, and whether that means that the turn is learned is not known"));
        } else {
            false
        };
    }
    Ok(unlearned)
}

/// The problem of a flag in turn `number` of the list `list`.
pub(super) fn problem(number: usize, list: &str, what: &str) -> Problem {
    Problem::new(format!("turn {number} of `{list}`: {what}"), HINT)
}

fn unclear(key: &str, value: &Value) -> String {
    let found = match value {
        Value::Array(_) | Value::Object(_) => kind(value).to_owned(),
        other => other.to_string(),
    };
    format!("`{key}` is {found}, but a turn is learned wholly or not at all")
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

fn is_suspect(key: &str) -> bool {
    let mut words = key.split(|character: char| !character.is_alphanumeric());
    words.any(|word| SUSPECT.iter().any(|suspect| word.eq_ignore_ascii_case(suspect)))
}

/// Bits of [`ColumnMask`]: `label` was read as a mark although it is not a boolean; `label` is a class.
const SPELLED: ColumnMask = 1 << 6;
const CLASS: ColumnMask = 1 << 7;
/// The bits above.
pub(super) const LABELS: ColumnMask = SPELLED | CLASS;

/// The columns that mark a whole record: its answer as good or bad (`label` of TRL and ms-swift, `kto_tag` of LLaMA-Factory,
/// [`GOOD`]), or the record as not learned ([`LEARNED`], [`MASKED`]).
pub(super) struct AnswerMarks {
    label: Column,
    kto_tag: Column,
    good: Vec<Column>,
    learned: Vec<Column>,
    masked: Vec<Column>,
}

/// The fields of a record on which the meaning of `label` depends.
pub(super) struct Beside<'a> {
    /// The record is a conversation or has `prompt` and `completion`, where `label` is a preference mark (TRL, ms-swift).
    pub preferences: bool,
    /// The last answer.
    pub answer: &'a str,
}

impl AnswerMarks {
    /// `None` where the recipe uses these fields in `columns` or in a condition.
    pub fn new<'a>(columns: &'a Columns, conditions: impl Iterator<Item = &'a str>, names: &mut Names) -> Option<Self> {
        let Columns { instruction, input, output, history, system, messages, .. } = columns;
        let named = [instruction, input, output, history, system, messages].into_iter().flatten().map(String::as_str);
        let used: Vec<String> = named.chain(conditions).map(str::to_ascii_lowercase).collect();
        let is_used = |name: &str| used.iter().any(|used| used == name);
        if is_used("label") || is_used("kto_tag") {
            return None;
        }
        let mut column = |name| Column::new(None, name, false, names);
        let (label, kto_tag) = (column("label"), column("kto_tag"));
        let mut unused = |keys: &[&'static str]| -> Vec<Column> {
            keys.iter().filter(|key| !is_used(key)).map(|key| column(key)).collect()
        };
        let good = unused(&GOOD);
        // `columns.train` names the only key that is read.
        let is_named = columns.train.is_some();
        let (learned, masked) = if is_named { (Vec::new(), Vec::new()) } else { (unused(&LEARNED), unused(&MASKED)) };
        Some(Self { label, kto_tag, good, learned, masked })
    }

    /// Whether the record as a whole is marked as not learned. Only true and false count, and 0 where it has no other meaning.
    pub fn is_unlearned(&self, fields: &Fields) -> bool {
        let is = |column: &Column, flag: bool| column.value(fields) == Some(&Value::Bool(flag));
        let is_zero = |column: &Column| {
            let number = column.value(fields).and_then(Value::as_f64);
            LEARNED_BY_NUMBER.contains(&column.name()) && number == Some(0.0)
        };
        self.learned.iter().any(|column| is(column, false) || is_zero(column))
            || self.masked.iter().any(|column| is(column, true))
    }

    /// Whether the record's answer is marked as bad, with the bits of [`LABELS`].
    ///
    /// # Errors
    /// `kto_tag` is neither true nor false.
    pub fn is_bad(&self, fields: &Fields, beside: &Beside<'_>) -> Result<(bool, ColumnMask), Problem> {
        if let Some(tag) = self.kto_tag.value(fields) {
            match truth(tag) {
                Truth::No => return Ok((true, 0)),
                Truth::Unclear => {
                    let hint = "true marks a good answer, false a bad one, which is left out";
                    return Err(Problem::new(format!("`kto_tag` is {tag}; expected true or false"), hint));
                }
                Truth::Yes | Truth::Nothing => {}
            }
        }
        if self.good.iter().any(|column| column.value(fields) == Some(&Value::Bool(false))) {
            return Ok((true, 0));
        }
        let Some(label) = self.label.value(fields) else { return Ok((false, 0)) };
        if label.is_boolean() || !beside.preferences {
            return Ok((label == &Value::Bool(false), 0));
        }
        // A label equal to the answer is the class to predict, and no mark.
        let text = label.as_str().map_or_else(|| label.to_string(), str::to_owned);
        let is_answer = text.trim().eq_ignore_ascii_case(beside.answer.trim());
        Ok(match truth(label) {
            Truth::Nothing | Truth::Yes => (false, 0),
            Truth::No if !is_answer => (true, SPELLED),
            Truth::No | Truth::Unclear => (false, CLASS),
        })
    }
}

/// The problem of a file in which `label` is a preference mark in some records and a class in others.
pub fn contradiction(seen: ColumnMask) -> Option<Problem> {
    (seen & LABELS == LABELS).then(|| {
        Problem::new(
            "`label` is 0 or \"false\" in some records, as for bad answers, and neither 0 nor 1 in others, as for classes",
            "choose the records to learn: `where = [\"label == 1\"]` takes the good answers, `where = [\"label != -1\"]` \
             every class",
        )
    })
}

/// Whether a question and an answer are columns of a table: lists of several texts, also of unequal length.
pub(super) fn is_by_column(question: &Value, answer: &Value) -> bool {
    match (question, answer) {
        (Value::Array(questions), Value::Array(answers)) => {
            let are_texts = |list: &[Value]| list.iter().all(Value::is_string);
            let is_table = questions.len() == answers.len() || are_texts(answers);
            questions.len() > 1 && answers.len() > 1 && is_table && are_texts(questions)
        }
        _ => false,
    }
}

/// The text under a key of a turn; `None` where it is blank or missing.
pub(super) fn text_under<'a>(turn: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    turn.get(key).and_then(Value::as_str).filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn flags_are_read_in_every_spelling() {
        for yes in [json!(true), json!(1), json!(1.0), json!("1"), json!(" True "), json!("1.0")] {
            assert_eq!(truth(&yes), Truth::Yes, "{yes}");
        }
        for no in [json!(false), json!(0), json!(0.0), json!(-0.0), json!("0"), json!("False"), json!("0.00")] {
            assert_eq!(truth(&no), Truth::No, "{no}");
        }
        for nothing in [json!(null), json!(""), json!(" "), json!("None"), json!("NaN")] {
            assert_eq!(truth(&nothing), Truth::Nothing, "{nothing}");
        }
        for unclear in [json!(0.5), json!(2), json!(-1), json!("no idea"), json!([]), json!({}), json!([0, 1])] {
            assert_eq!(truth(&unclear), Truth::Unclear, "{unclear}");
        }
    }

    #[test]
    fn every_usual_key_says_that_a_turn_is_not_learned() {
        for key in LEARNED {
            for no in [json!(false), json!(0), json!(0.0), json!("0"), json!("false")] {
                assert_eq!(is_unlearned(&json!({ key: no }), None), Ok(true), "{key} {no}");
            }
            for yes in [json!(true), json!(1), json!("true"), json!(null), json!("")] {
                assert_eq!(is_unlearned(&json!({ key: yes }), None), Ok(false), "{key} {yes}");
            }
            for odd in [json!(0.5), json!("maybe"), json!([0, 1])] {
                let problem = is_unlearned(&json!({ key: odd }), None).expect_err("unclear");
                assert!(problem.starts_with(&format!("`{key}` is ")), "{problem}");
            }
        }
        for key in MASKED {
            for yes in [json!(true), json!(1), json!("True")] {
                assert_eq!(is_unlearned(&json!({ key: yes }), None), Ok(true), "{key} {yes}");
            }
            for no in [json!(false), json!(0), json!(null)] {
                assert_eq!(is_unlearned(&json!({ key: no }), None), Ok(false), "{key} {no}");
            }
        }
        assert_eq!(is_unlearned(&json!({"loss": true, "weight": 0}), None), Ok(true), "one of them is enough");
    }

    #[test]
    fn a_flag_that_is_not_known_is_named() {
        for (turn, named) in [
            (json!({"no_loss": true}), Some("`no_loss` is true")),
            (json!({"Skip_Train": 0}), Some("`Skip_Train` is 0")),
            (json!({"train_detail": [{"begin_offset": 0, "end_offset": 3, "train": false}]}), Some("`train_detail`")),
            (json!({"train_detail": []}), None),
            (json!({"attention_mask": [1, 0]}), None),
            (json!({"training_note": "x"}), None),
            (json!({"constrain": false}), None),
        ] {
            match (is_unlearned(&turn, None), named) {
                (Ok(unlearned), None) => assert!(!unlearned, "{turn}"),
                (Err(problem), Some(named)) => assert!(problem.starts_with(named), "{problem}"),
                (found, _) => panic!("{turn}: {found:?}"),
            }
            assert_eq!(is_unlearned(&turn, Some("")), Ok(false), "nothing is read");
        }
        assert_eq!(
            is_unlearned(&json!({"mask": 0}), Some("mask")),
            Ok(true),
            "a key that is named is read as it stands"
        );
    }
}
