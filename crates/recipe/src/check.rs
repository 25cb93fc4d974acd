//! Checks a tree against the JSON schema and reports every violation.

use serde_json::{Map, Value};

use crate::aliases::{self, Answer};
use crate::document;
use crate::document::{Node, NodeValue};
use crate::emit::inline;
use crate::error::SourceText;
use crate::error::{Problem, key_name, nearest, quoted, quoted_list};
use crate::schema::SCHEMA;

/// Every unknown key, mistyped value and value out of range.
pub(crate) fn check(root: &Node, schema: &Value) -> Vec<Problem> {
    let mut checker = Checker { schema, path: Vec::new(), problems: Vec::new() };
    checker.value(schema, root);
    checker.problems
}

struct Checker<'a> {
    schema: &'a Value,
    path: Vec<String>,
    problems: Vec<Problem>,
}

impl<'a> Checker<'a> {
    fn value(&mut self, schema: &'a Value, node: &Node) {
        let forms = forms(schema);
        let Some(form) = forms.iter().copied().find(|form| accepts(form, node)) else {
            return self.mistyped(&forms, node);
        };
        match &node.value {
            NodeValue::Table(entries) => {
                for (key, child) in entries {
                    self.entry(form, key, child);
                }
                self.count(form, "minProperties", entries.len(), node);
            }
            NodeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.path.push(index.to_string());
                    self.value(&form["items"], item);
                    self.path.pop();
                }
                self.count(form, "minItems", items.len(), node);
            }
            NodeValue::String(text) => self.text(form, text, node),
            NodeValue::Integer(number) => self.range(form, *number as f64, &number.to_string(), node),
            NodeValue::Float(number) => self.range(form, *number, node.written(), node),
            NodeValue::Boolean(_) => {}
        }
    }

    fn entry(&mut self, form: &'a Value, key: &str, child: &Node) {
        let named = form["properties"].get(key);
        let other = form.get("additionalProperties").filter(|schema| schema.is_object());
        // In [mix] any further table is a group; a further value is a key that is not known.
        let other = other.filter(|schema| form.get("properties").is_none() || accepts(schema, child));
        let Some(schema) = named.or(other) else { return self.unknown(form, key, child) };
        self.path.push(key.to_owned());
        self.value(schema, child);
        self.path.pop();
    }

    fn unknown(&mut self, form: &'a Value, key: &str, child: &Node) {
        let known: Vec<&str> =
            form["properties"].as_object().into_iter().flat_map(Map::keys).map(String::as_str).collect();
        let section = self.section();
        let whereabouts = if self.path.is_empty() { format!("at {section}") } else { format!("in {section}") };
        let message = format!("unknown key `{}` {whereabouts}", key_name(key));
        let expected = || format!("{section} takes {}", quoted_list(known.iter().copied()));
        let (label, help) = match (aliases::answer(key), self.section_of(key)) {
            // Another trainer's key, unless another section of the recipe has a key of exactly this name.
            (Some(answer), None) => explained(answer),
            (_, Some(home)) if !is_near(key, &known) => (format!("hint: `{key}` belongs in {home}"), expected()),
            _ => match nearest(key, known.iter().copied()) {
                Some(near) => (format!("hint: did you mean `{near}`?"), expected()),
                None => ("not known here".to_owned(), expected()),
            },
        };
        self.problems.push(Problem::at(&child.key, message, label).with_help(help));
    }

    /// Section whose schema has a key of exactly this name.
    fn section_of(&self, key: &str) -> Option<String> {
        if self.schema["properties"].get(key).is_some() {
            return Some("the top level".to_owned());
        }
        section_with(self.schema, key, &mut Vec::new()).map(|section| format!("[{section}]"))
    }

    fn section(&self) -> String {
        if self.path.is_empty() { "the top level".to_owned() } else { format!("[{}]", self.path.join(".")) }
    }

    fn mistyped(&mut self, forms: &[&'a Value], node: &Node) {
        let expected = alternatives(forms);
        let label = hint_for_type(forms, node).unwrap_or_else(|| "wrong type".to_owned());
        let message = format!("`{}` is {}; expected {expected}", self.path.join("."), describe_node(node));
        self.problems.push(Problem::at(&node.place, message, label));
    }

    fn text(&mut self, form: &Value, text: &str, node: &Node) {
        let choices = choices(form);
        if choices.is_empty() {
            if form.get("minLength").is_some() && text.trim().is_empty() {
                let message = format!("`{}` is empty", self.path.join("."));
                self.problems.push(Problem::at(&node.place, message, "write a value, or leave the key out"));
            }
        } else if !choices.contains(&text) {
            let message = format!("`{}` is {}; expected {}", self.path.join("."), quoted(text), describe(form));
            let meant = aliases::value(&self.path.join("."), text);
            let label = match meant.or_else(|| nearest(text, choices.iter().copied())) {
                Some(near) => format!("hint: did you mean `{near}`?"),
                None => "not one of them".to_owned(),
            };
            self.problems.push(Problem::at(&node.place, message, label));
        }
    }

    fn range(&mut self, form: &Value, number: f64, written: &str, node: &Node) {
        let bound = |name: &str| form.get(name).and_then(Value::as_f64);
        if !number.is_finite() {
            let message = format!("`{}` is {}; expected {}", self.path.join("."), key_name(written), describe(form));
            return self.problems.push(Problem::at(&node.place, message, "not a finite number"));
        }
        let too_small = bound("minimum").is_some_and(|minimum| number < minimum)
            || bound("exclusiveMinimum").is_some_and(|minimum| number <= minimum);
        let too_large = bound("maximum").is_some_and(|maximum| number > maximum)
            || bound("exclusiveMaximum").is_some_and(|maximum| number >= maximum);
        if too_small || too_large {
            let written = key_name(written);
            let message = format!("`{}` is {written}; expected {}", self.path.join("."), describe(form));
            let label = if too_small { "too small" } else { "too large" };
            self.problems.push(Problem::at(&node.place, message, label));
        }
    }

    fn count(&mut self, form: &Value, name: &str, count: usize, node: &Node) {
        if form.get(name).and_then(Value::as_u64).is_some_and(|minimum| (count as u64) < minimum) {
            let message = format!("`{}` is empty", self.path.join("."));
            self.problems.push(Problem::at(&node.place, message, "name at least one"));
        }
    }
}

/// Label and help line for another trainer's key.
fn explained(answer: Answer) -> (String, String) {
    match answer {
        Answer::Key(key) => (format!("hint: this is `{key}`"), format!("`{key}` means the same{}", written_as(key))),
        Answer::Near(key, how) => (format!("hint: see `{key}`"), how.to_owned()),
        Answer::NotNeeded(why) => ("not needed: leave it out".to_owned(), why.to_owned()),
        Answer::Unsupported(why) => ("not supported".to_owned(), why.to_owned()),
    }
}

/// Source span of the key at a dotted path.
fn written_as(key: &str) -> String {
    match key.rsplit_once('.') {
        Some((section, name)) => format!(": `{name}` in [{section}], or `--set {key}=…`"),
        None => String::new(),
    }
}

fn is_near(key: &str, known: &[&str]) -> bool {
    nearest(key, known.iter().copied()).is_some()
}

/// The dotted path of the first section, outer ones first, whose settings include `key`. Names that a recipe gives
/// (sources, groups) are not searched.
fn section_with(schema: &Value, key: &str, path: &mut Vec<String>) -> Option<String> {
    let sections = schema["properties"].as_object()?;
    if !path.is_empty() && sections.contains_key(key) {
        return Some(path.join("."));
    }
    let mut inner: Vec<(&String, &Value)> = sections.iter().collect();
    inner.sort_by_key(|(_, section)| section["properties"].as_object().is_none_or(|keys| !keys.contains_key(key)));
    inner.into_iter().find_map(|(name, section)| {
        path.push(name.clone());
        let found = section_with(section, key, path);
        path.pop();
        found
    })
}

/// The forms a value may have: a schema, or each of its `anyOf`.
fn forms(schema: &Value) -> Vec<&Value> {
    match schema.get("anyOf").and_then(Value::as_array) {
        Some(choices) => choices.iter().flat_map(forms).collect(),
        None => vec![schema],
    }
}

fn accepts(form: &Value, node: &Node) -> bool {
    let name = type_name(form);
    match node.value {
        NodeValue::String(_) => name == "string",
        NodeValue::Integer(_) => name == "integer" || name == "number",
        NodeValue::Float(_) => name == "number",
        NodeValue::Boolean(_) => name == "boolean",
        NodeValue::Array(_) => name == "array",
        NodeValue::Table(_) => name == "object",
    }
}

fn type_name(form: &Value) -> &str {
    match form.get("type").and_then(Value::as_str) {
        Some(name) => name,
        // An enumeration of documented strings is a `oneOf` of constants.
        None if form.get("oneOf").is_some() => "string",
        None => "",
    }
}

/// The strings that an enumeration allows; none where any string will do.
fn choices(form: &Value) -> Vec<&str> {
    let listed = form.get("enum").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let documented = form.get("oneOf").and_then(Value::as_array).into_iter().flatten().flat_map(|choice| {
        let constant = choice.get("const").and_then(Value::as_str);
        constant.into_iter().chain(choices(choice))
    });
    listed.chain(documented).collect()
}

fn alternatives(forms: &[&Value]) -> String {
    let mut described: Vec<String> = forms.iter().map(|form| describe(form)).collect();
    described.dedup();
    let last = described.pop().unwrap_or_default();
    if described.is_empty() { last } else { format!("{} or {last}", described.join(", ")) }
}

/// The expected form, in words.
fn describe(form: &Value) -> String {
    match type_name(form) {
        "string" => match choices(form).as_slice() {
            [] => "a string".to_owned(),
            [only] => format!("`{only}`"),
            several => format!("one of {}", quoted_list(several.iter().copied())),
        },
        "integer" => format!("a whole number{}", describe_range(form)),
        "number" => format!("a number{}", describe_range(form)),
        "boolean" => "true or false".to_owned(),
        "array" => format!("a list (each {})", alternatives(&forms(&form["items"]))),
        _ => "a table".to_owned(),
    }
}

fn describe_range(form: &Value) -> String {
    let bound = |name: &str| form.get(name).and_then(Value::as_f64);
    let low = bound("minimum").map(|low| format!("of at least {low}"));
    let low = low.or_else(|| bound("exclusiveMinimum").map(|low| format!("above {low}")));
    let high = bound("maximum").map(|high| format!("at most {high}"));
    let high = high.or_else(|| bound("exclusiveMaximum").map(|high| format!("below {high}")));
    match (low, high) {
        (None, Some(high)) if !high.starts_with("below") => format!(" of {high}"),
        (Some(low), Some(high)) => format!(" {low} and {high}"),
        (Some(bound), None) | (None, Some(bound)) => format!(" {bound}"),
        (None, None) => String::new(),
    }
}

fn describe_node(node: &Node) -> String {
    match &node.value {
        NodeValue::String(text) => format!("the string {}", quoted(text)),
        NodeValue::Integer(_) | NodeValue::Float(_) => format!("the number {}", key_name(node.written())),
        NodeValue::Boolean(value) => format!("the value {value}"),
        NodeValue::Array(_) => "a list".to_owned(),
        NodeValue::Table(_) => "a table".to_owned(),
    }
}

/// Probable intention of a value of the wrong type.
fn hint_for_type(forms: &[&Value], node: &Node) -> Option<String> {
    let wants = |name: &str| forms.iter().any(|form| type_name(form) == name);
    match &node.value {
        NodeValue::String(text) if wants("number") && text.parse::<f64>().is_ok() => {
            Some(format!("hint: without quotes: {text}"))
        }
        NodeValue::String(text) if wants("integer") && text.replace('_', "").parse::<i64>().is_ok() => {
            Some(format!("hint: without quotes: {text}"))
        }
        NodeValue::String(text) if wants("boolean") && matches!(text.as_str(), "true" | "false") => {
            Some(format!("hint: without quotes: {text}"))
        }
        NodeValue::Float(number) if wants("integer") && number.fract() == 0.0 && number.abs() < 1e15 => {
            Some(format!("hint: write {number:.0}"))
        }
        NodeValue::Float(number) if wants("integer") && number.fract() == 0.0 => Some("beyond 64 bits".to_owned()),
        NodeValue::Float(number) if wants("integer") && !number.is_finite() => Some("not a finite number".to_owned()),
        NodeValue::Integer(_) | NodeValue::Float(_) | NodeValue::Boolean(_) if wants("string") => {
            Some("hint: put it in quotes".to_owned())
        }
        _ => None,
    }
}

/// Why the schema refuses a value for the setting at a dotted path; `None` if it accepts it.
pub fn refusal(key: &str, value: &Value) -> Option<String> {
    let text = format!("{key} = {}\n", inline(value));
    let source = SourceText { name: String::new(), text, folder: None, shipped: None, is_set: false };
    match document::parse(&std::sync::Arc::new(source), 0) {
        Ok(root) => check(&root, &SCHEMA).first().map(|problem| problem.message().to_owned()),
        Err(problems) => problems.first().map(|problem| problem.message().to_owned()),
    }
}
