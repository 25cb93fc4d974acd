//! Conditions on a record's own fields: `metadata.score >= 4`.

use serde_json::Value;

/// Right-hand side of a condition.
#[derive(Clone, Debug, PartialEq)]
enum Literal {
    Text(String),
    Number(f64),
    Boolean(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
    In,
    NotIn,
    Contains,
}

/// The longer of two with a common prefix comes first.
const OPERATORS: [(&str, Operator); 9] = [
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    (">=", Operator::AtLeast),
    ("<=", Operator::AtMost),
    (">", Operator::Greater),
    ("<", Operator::Less),
    ("not in", Operator::NotIn),
    ("in", Operator::In),
    ("contains", Operator::Contains),
];

/// A condition that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// As the recipe writes it.
    pub text: String,
    /// The field, as `columns` names it.
    pub path: String,
    operator: Operator,
    literals: Vec<Literal>,
}

/// Whether a record meets a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionResult {
    /// The field has the value.
    Yes,
    /// The field has another value.
    No,
    /// The record lacks the field, or it is null.
    Missing,
}

const EXPECTED: &str = "write a condition as `metadata.score >= 4`, `lang == 'zh'`, `topic in ['tcm', 'herbs']` or \
                        `tags contains 'exam'`";

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// What is wrong, and how to mend it.
    pub fn parse(text: &str) -> Result<Self, (String, String)> {
        let wrong = |problem: String| (problem, EXPECTED.to_owned());
        let trimmed = text.trim();
        let end = trimmed.find(|c: char| c.is_whitespace() || "=!<>".contains(c)).unwrap_or(trimmed.len());
        let (path, rest) = (&trimmed[..end], trimmed[end..].trim_start());
        if path.is_empty() {
            return Err(wrong(format!("`{text}` does not begin with a field")));
        }
        let operator = OPERATORS.iter().find(|(sign, _)| {
            rest.strip_prefix(sign).is_some_and(|after| {
                !sign.ends_with(char::is_alphabetic) || after.starts_with([' ', '[', '\'', '"', '\t'])
            })
        });
        let Some((sign, operator)) = operator else {
            let hint = if rest.starts_with('=') { "equality is written `==`".to_owned() } else { EXPECTED.to_owned() };
            return Err((format!("`{text}` has no comparison behind `{path}`"), hint));
        };
        let literals = literals(rest[sign.len()..].trim(), matches!(operator, Operator::In | Operator::NotIn))
            .map_err(|problem| wrong(format!("`{text}`: {problem}")))?;
        let orders = matches!(operator, Operator::Less | Operator::AtMost | Operator::Greater | Operator::AtLeast);
        if orders && matches!(literals[..], [Literal::Boolean(_)]) {
            return Err(wrong(format!("`{text}`: true and false have no order")));
        }
        Ok(Self { text: trimmed.to_owned(), path: path.to_owned(), operator: *operator, literals })
    }

    /// Whether the field's value meets it.
    pub fn met(&self, value: Option<&Value>) -> ConditionResult {
        let Some(value) = value.filter(|value| !value.is_null()) else { return ConditionResult::Missing };
        let same = || self.literals.iter().any(|literal| equal(value, literal));
        let order = || self.literals.first().and_then(|literal| order(value, literal));
        let met = match self.operator {
            Operator::Equal | Operator::In => same(),
            Operator::NotEqual | Operator::NotIn => !same(),
            Operator::Less => order().is_some_and(|order| order.is_lt()),
            Operator::AtMost => order().is_some_and(|order| order.is_le()),
            Operator::Greater => order().is_some_and(|order| order.is_gt()),
            Operator::AtLeast => order().is_some_and(|order| order.is_ge()),
            Operator::Contains => self.literals.iter().any(|literal| contains(value, literal)),
        };
        if met { ConditionResult::Yes } else { ConditionResult::No }
    }
}

/// A value, or for `in` a list of them.
fn literals(text: &str, list: bool) -> Result<Vec<Literal>, String> {
    if !list {
        return Ok(vec![literal(text)?]);
    }
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let inside = inside.ok_or_else(|| format!("`in` wants a list in brackets, not `{text}`"))?;
    let (mut items, mut start, mut quote) = (Vec::new(), 0, None);
    for (at, character) in inside.char_indices() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (None, '\'' | '"') => quote = Some(character),
            (None, ',') => {
                items.push(literal(inside[start..at].trim())?);
                start = at + 1;
            }
            _ => {}
        }
    }
    let last = inside[start..].trim();
    if !last.is_empty() {
        items.push(literal(last)?);
    }
    if items.is_empty() { Err("the list is empty".to_owned()) } else { Ok(items) }
}

fn literal(text: &str) -> Result<Literal, String> {
    for quote in ['\'', '"'] {
        if let Some(inside) = text.strip_prefix(quote) {
            let inside = inside.strip_suffix(quote).filter(|inside| !inside.contains(quote));
            return inside
                .map(|inside| Literal::Text(inside.to_owned()))
                .ok_or_else(|| format!("{text} is not closed"));
        }
    }
    match text {
        "true" => Ok(Literal::Boolean(true)),
        "false" => Ok(Literal::Boolean(false)),
        "" => Err("nothing to compare with".to_owned()),
        _ => match text.replace('_', "").parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Literal::Number(number)),
            _ => Err(format!("`{text}` is neither a number nor in quotes")),
        },
    }
}

/// A number, also one that a table holds as text.
fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok().filter(|number: &f64| number.is_finite()))
}

fn equal(value: &Value, literal: &Literal) -> bool {
    match literal {
        Literal::Text(text) => value.as_str() == Some(text),
        Literal::Number(wanted) => number(value) == Some(*wanted),
        Literal::Boolean(wanted) => {
            value.as_bool() == Some(*wanted)
                || value
                    .as_str()
                    .is_some_and(|text| text.trim().eq_ignore_ascii_case(if *wanted { "true" } else { "false" }))
        }
    }
}

fn order(value: &Value, literal: &Literal) -> Option<std::cmp::Ordering> {
    match literal {
        Literal::Text(text) => value.as_str().map(|value| value.cmp(text)),
        Literal::Number(wanted) => number(value)?.partial_cmp(wanted),
        Literal::Boolean(_) => None,
    }
}

fn contains(value: &Value, literal: &Literal) -> bool {
    match (value, literal) {
        (Value::Array(list), literal) => list.iter().any(|value| equal(value, literal)),
        (Value::String(text), Literal::Text(part)) => text.contains(part.as_str()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn met(condition: &str, value: Value) -> ConditionResult {
        Condition::parse(condition).unwrap_or_else(|error| panic!("{error:?}")).met(Some(&value))
    }

    #[test]
    fn conditions_compare_numbers_texts_and_lists() {
        for (condition, value, expected) in [
            ("metadata.score >= 4", json!(4), true),
            ("score>=4", json!("4.5"), true),
            ("score >= 4", json!("high"), false),
            ("score < 1e3", json!(999), true),
            ("lang == 'zh'", json!("zh"), true),
            ("source != \"x\"", json!("x"), false),
            ("source != 'x'", json!("y"), true),
            ("topic in ['tcm', 'a, b']", json!("a, b"), true),
            ("topic not in ['tcm']", json!("tcm"), false),
            ("level in [1, 2]", json!(2), true),
            ("tags contains 'exam'", json!(["x", "exam"]), true),
            ("title contains '麻黄'", json!("麻黄汤"), true),
            ("translated == true", json!(true), true),
            ("translated == false", json!("False"), true),
            ("date >= '2020-01-01'", json!("2021-03-04"), true),
        ] {
            assert_eq!(
                met(condition, value),
                if expected { ConditionResult::Yes } else { ConditionResult::No },
                "{condition}"
            );
        }
        assert_eq!(met("score >= 4", Value::Null), ConditionResult::Missing);
        assert_eq!(Condition::parse("a.0.b > 1").expect("reads").met(None), ConditionResult::Missing);
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for (text, problem) in [
            ("score", "has no comparison"),
            ("score = 4", "has no comparison"),
            (">= 4", "does not begin with a field"),
            ("lang == zh", "neither a number nor in quotes"),
            ("lang == 'zh", "is not closed"),
            ("topic in 'tcm'", "wants a list"),
            ("topic in []", "the list is empty"),
            ("score >=", "nothing to compare with"),
            ("ok > true", "have no order"),
        ] {
            let (found, hint) = Condition::parse(text).expect_err(text);
            assert!(found.contains(problem), "{text}: {found}");
            assert!(!hint.is_empty());
        }
    }
}
