//! Files that are one JSON object of many records: a list under a key, a table by column, pandas' `split` and `columns`.

use std::cell::OnceCell;
use std::ops::Range;

use serde_json::{Map, Value};

use super::json::{object_length, string_length, without_nan};
use super::{BATCH, Batch, Problem, Span};

/// The records of such a file.
pub(super) struct Unfolded {
    pub batches: Vec<Batch>,
    /// The layout's name in messages.
    pub layout: String,
}

/// Whether an object, or a list of turns, is a record.
pub(super) type Knows<'a> = &'a dyn Fn(&[u8]) -> bool;

/// Objects inside each other, each the only entry of the one outside, that are searched for records.
const MAX_DEPTH: usize = 8;

/// Finds the records of a file that is `object`, which begins on `line`; `None` where it is a record, or has an unknown layout.
///
/// # Errors
/// Several lists of records, or rows that do not fit their columns.
pub(super) fn unfold(object: &[u8], line: u64, knows: Knows<'_>) -> Result<Option<Unfolded>, Problem> {
    let (mut object, mut line) = (object, line);
    for _ in 0..MAX_DEPTH {
        if knows(object) {
            return Ok(None);
        }
        let Some(entries) = children(object) else { return Ok(None) };
        let found = Found { object, line, entries: &entries, knows, parsed: OnceCell::new() };
        if let Some(records) = found.records()? {
            return Ok(Some(records));
        }
        match &entries[..] {
            [Child { value, .. }] if object[value.start] == b'{' => {
                line = line_of(object, line, value.start);
                object = &object[value.clone()];
            }
            _ => return Ok(None),
        }
    }
    Ok(None)
}

/// An entry of an object or an element of a list.
struct Child {
    /// Empty for an element.
    key: String,
    value: Range<usize>,
}

/// An object that may hold records.
struct Found<'a> {
    object: &'a [u8],
    line: u64,
    entries: &'a [Child],
    knows: Knows<'a>,
    /// The parsed object, once a layout needs it.
    parsed: OnceCell<Option<Map<String, Value>>>,
}

/// Keys of a text that a list of questions is about: an object with one of them is itself a record.
const CONTENT: [&str; 14] = [
    "context",
    "passage",
    "article",
    "paragraph",
    "text",
    "document",
    "content",
    "question",
    "query",
    "instruction",
    "input",
    "prompt",
    "title",
    "dialogue",
];

impl Found<'_> {
    /// The records, in the first layout that fits.
    fn records(&self) -> Result<Option<Unfolded>, Problem> {
        // First: column names, index and rows of equal number would look like columns.
        if let Some(rows) = self.split()? {
            return Ok(Some(rows));
        }
        if let Some(rows) = self.by_column(true) {
            return Ok(Some(rows));
        }
        if let Some(list) = self.list()? {
            return Ok(Some(list));
        }
        Ok(self.by_column(false).or_else(|| self.by_index()).or_else(|| self.values()))
    }

    fn bytes(&self, child: &Child) -> &[u8] {
        &self.object[child.value.clone()]
    }

    fn parsed(&self) -> Option<&Map<String, Value>> {
        let parse = || {
            let text = std::str::from_utf8(self.object).ok()?;
            serde_json::from_str(text).ok().or_else(|| serde_json::from_str(&without_nan(text)?).ok())
        };
        self.parsed.get_or_init(parse).as_ref()
    }

    /// The only list of objects, or of lists of turns: `{"version": 1, "data": [{…}, …]}`.
    fn list(&self) -> Result<Option<Unfolded>, Problem> {
        let is_content = |child: &Child| CONTENT.contains(&child.key.to_lowercase().as_str());
        if self.entries.iter().any(is_content) {
            return Ok(None);
        }
        let lists = self.entries.iter().filter_map(|entry| {
            let elements = children(self.bytes(entry)).filter(|_| self.object[entry.value.start] == b'[')?;
            let start = |child: &Child| self.object[entry.value.start + child.value.start];
            let all_begin = |byte| !elements.is_empty() && elements.iter().all(|child| start(child) == byte);
            (all_begin(b'{') || all_begin(b'[')).then_some((entry, elements))
        });
        let lists: Vec<(&Child, Vec<Child>)> = lists.collect();
        let is_known =
            |(entry, elements): &&(&Child, Vec<Child>)| (self.knows)(&self.bytes(entry)[elements[0].value.clone()]);
        let known: Vec<&(&Child, Vec<Child>)> = lists.iter().filter(is_known).collect();
        let objects = |(entry, elements): &&(&Child, Vec<Child>)| self.bytes(entry)[elements[0].value.start] == b'{';
        let (entry, elements) = match (&known[..], &lists[..]) {
            ([one], _) => one,
            ([], [one]) if objects(&one) && has_two_texts(&self.bytes(one.0)[one.1[0].value.clone()]) => one,
            ([first, ..], _) => {
                let names: Vec<String> =
                    known.iter().map(|(entry, list)| format!("`{}` ({})", entry.key, list.len())).collect();
                let problem =
                    format!("the file is one JSON object with several lists of records: {}", names.join(", "));
                let key = &first.0.key;
                let hint =
                    format!("write the list to train on to a file of its own: `jq '.[\"{key}\"]' FILE > {key}.json`");
                return Err(Problem::new(problem, hint));
            }
            _ => return Ok(None),
        };
        let list = self.bytes(entry);
        let mut line = Lines { line: line_of(self.object, self.line, entry.value.start), at: 0 };
        let records =
            elements.iter().map(|child| (line.to(list, child.value.start), list[child.value.clone()].to_vec()));
        Ok(Some(unfolded(records, format!("JSON object, records in `{}`", entry.key))))
    }

    /// A table by column: lists of the same length, and values that all rows share. `known`: its rows are records; otherwise every
    /// entry must be a list of plain values.
    fn by_column(&self, known: bool) -> Option<Unfolded> {
        let is_list = |child: &&Child| self.object[child.value.start] == b'[';
        let lists = self.entries.iter().filter(is_list).count();
        if lists == 0 || (!known && lists < self.entries.len().max(2)) {
            return None;
        }
        let columns = self.parsed()?;
        let mut lengths = columns.values().filter_map(Value::as_array).map(Vec::len);
        let length = lengths.next().filter(|length| *length > 0)?;
        let nested = |list: &Vec<Value>| list.iter().any(|value| value.is_object() || value.is_array());
        if lengths.any(|other| other != length)
            || (!known && (length < 2 || columns.values().filter_map(Value::as_array).any(nested)))
        {
            return None;
        }
        let cell = |value: &Value, row: usize| match value {
            Value::Array(list) => Some(list[row].clone()),
            Value::Object(_) => None,
            same => Some(same.clone()),
        };
        let row = |row: usize| -> Map<String, Value> {
            columns.iter().filter_map(|(name, value)| Some((name.clone(), cell(value, row)?))).collect()
        };
        if known && !(self.knows)(text(&row(0)).as_bytes()) {
            return None;
        }
        Some(self.rows((0..length).map(row), "JSON by column"))
    }

    /// pandas' orient="split": names of the columns, and rows as lists.
    fn split(&self) -> Result<Option<Unfolded>, Problem> {
        let has = |key: &str| self.entries.iter().any(|child| child.key == key);
        if !has("columns") || !has("data") {
            return Ok(None);
        }
        let list = |key: &str| self.parsed()?.get(key)?.as_array();
        let (Some(names), Some(rows)) = (list("columns"), list("data")) else { return Ok(None) };
        let names: Option<Vec<&str>> = names.iter().map(Value::as_str).collect();
        let (Some(names), false) = (names, rows.is_empty() || !rows.iter().all(Value::is_array)) else {
            return Ok(None);
        };
        let mut records = Vec::with_capacity(rows.len());
        for (number, row) in rows.iter().filter_map(Value::as_array).enumerate() {
            if row.len() != names.len() {
                let problem =
                    format!("row {} of `data` has {} values for {} columns", number + 1, row.len(), names.len());
                return Err(Problem::new(problem, "write it with orient=\"records\""));
            }
            records.push(names.iter().map(|name| (*name).to_owned()).zip(row.iter().cloned()).collect());
        }
        Ok(Some(self.rows(records.into_iter(), "JSON of pandas, split")))
    }

    /// pandas' orient="columns": an object for each column, with the rows' numbers as keys.
    fn by_index(&self) -> Option<Unfolded> {
        let columns = self.parsed()?;
        let columns: Option<Vec<(String, &Map<String, Value>)>> =
            columns.iter().map(|(name, column)| Some((name.clone(), column.as_object()?))).collect();
        let columns = columns.filter(|columns| columns.len() > 1)?;
        let is_number = |key: &String| key.bytes().all(|byte| byte.is_ascii_digit());
        if !columns.iter().all(|(_, column)| !column.is_empty() && column.keys().all(is_number)) {
            return None;
        }
        let cell = |column: &Map<String, Value>, row: &str| column.get(row).cloned().unwrap_or_default();
        let row = |row: &String| columns.iter().map(|(name, column)| (name.clone(), cell(column, row))).collect();
        Some(self.rows(columns[0].1.keys().map(row), "JSON of pandas, columns"))
    }

    /// Records as the values of the entries, where [`super::json::holds_records`] leaves it open.
    fn values(&self) -> Option<Unfolded> {
        let is_object = |child: &Child| self.object[child.value.start] == b'{';
        let all = !self.entries.is_empty() && self.entries.iter().all(is_object);
        let known = all && (self.knows)(self.bytes(self.entries.first()?));
        let mut line = Lines { line: self.line, at: 0 };
        let records =
            self.entries.iter().map(|child| (line.to(self.object, child.value.start), self.bytes(child).to_vec()));
        known.then(|| unfolded(records, "JSON object of records".to_owned()))
    }

    fn rows(&self, rows: impl Iterator<Item = Map<String, Value>>, layout: &str) -> Unfolded {
        unfolded(rows.map(|row| (self.line, text(&row).into_bytes())), layout.to_owned())
    }
}

/// Whether an object has two texts, like a question and an answer: lists of numbers and names describe other files.
fn has_two_texts(object: &[u8]) -> bool {
    let entries = children(object).unwrap_or_default();
    entries.iter().filter(|entry| object[entry.value.start] == b'"').count() > 1
}

fn text(row: &Map<String, Value>) -> String {
    serde_json::to_string(row).unwrap_or_default()
}

/// Line numbers of increasing positions.
struct Lines {
    line: u64,
    at: usize,
}

impl Lines {
    fn to(&mut self, bytes: &[u8], at: usize) -> u64 {
        self.line = line_of(&bytes[self.at..], self.line, at - self.at);
        self.at = at;
        self.line
    }
}

fn line_of(bytes: &[u8], line: u64, at: usize) -> u64 {
    line + memchr::memchr_iter(b'\n', &bytes[..at]).count() as u64
}

/// Puts records, each with its line, into batches.
fn unfolded(records: impl Iterator<Item = (u64, Vec<u8>)>, layout: String) -> Unfolded {
    let mut batches = vec![Batch::default()];
    for (index, (line, record)) in records.enumerate() {
        if batches.last().is_some_and(|batch| batch.bytes.len() > BATCH) {
            batches.push(Batch::default());
        }
        if let Some(batch) = batches.last_mut() {
            let start = batch.bytes.len();
            batch.bytes.extend_from_slice(&record);
            batch.spans.push(Span { range: start..batch.bytes.len(), line, record: index as u64 + 1 });
        }
    }
    Unfolded { batches, layout }
}

/// The entries of an object or the elements of a list; `None` for malformed JSON.
fn children(bytes: &[u8]) -> Option<Vec<Child>> {
    let is_object = *bytes.first()? == b'{';
    let close = if is_object { b'}' } else { b']' };
    let skip = |from: usize| from + bytes[from..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let mut children = Vec::new();
    let mut at = skip(1);
    if *bytes.get(at)? == close {
        return Some(children);
    }
    loop {
        let mut key = String::new();
        if is_object {
            let length = (*bytes.get(at)? == b'"').then(|| string_length(&bytes[at..]))??;
            key = serde_json::from_slice(&bytes[at..at + length]).ok()?;
            at = skip(at + length);
            at = (*bytes.get(at)? == b':').then(|| skip(at + 1))?;
        }
        let end = at + value_length(bytes.get(at..)?)?;
        children.push(Child { key, value: at..end });
        at = skip(end);
        match *bytes.get(at)? {
            b',' => at = skip(at + 1),
            byte if byte == close => return Some(children),
            _ => return None,
        }
    }
}

fn value_length(bytes: &[u8]) -> Option<usize> {
    match bytes.first()? {
        b'{' | b'[' => object_length(bytes),
        b'"' => string_length(bytes),
        _ => bytes.iter().position(|byte| b",]} \t\r\n".contains(byte)).filter(|length| *length > 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records have `q` and `a`, both texts, or are lists of objects.
    fn knows(object: &[u8]) -> bool {
        match serde_json::from_slice(object) {
            Ok(Value::Object(record)) => ["q", "a"].iter().all(|key| record.get(*key).is_some_and(Value::is_string)),
            Ok(Value::Array(turns)) => turns.iter().all(Value::is_object),
            _ => false,
        }
    }

    fn records(object: &str) -> Option<(String, Vec<(u64, String)>)> {
        let Unfolded { batches, layout } = unfold(object.as_bytes(), 1, &knows).expect("readable")?;
        let record = |batch: &Batch, span: &Span| {
            (span.line, String::from_utf8(batch.bytes[span.range.clone()].to_vec()).expect("UTF-8"))
        };
        let records = batches.iter().flat_map(|batch| batch.spans.iter().map(|span| record(batch, span)));
        Some((layout, records.collect()))
    }

    #[test]
    fn one_object_holds_the_records_of_a_file() {
        let two = [r#"{"q":"1","a":"2"}"#, r#"{"q":"3","a":"4"}"#];
        for (object, layout) in [
            (r#"{"q":["1","3"],"a":["2","4"]}"#, "JSON by column"),
            (r#"{"q":{"0":"1","1":"3"},"a":{"0":"2","1":"4"}}"#, "JSON of pandas, columns"),
            (r#"{"columns":["q","a"],"index":[0,1],"data":[["1","2"],["3","4"]]}"#, "JSON of pandas, split"),
            (
                r#"{"schema":{"fields":[{"name":"q"}]},"data":[{"q":"1","a":"2"},{"q":"3","a":"4"}]}"#,
                "JSON object, records in `data`",
            ),
            (r#"{"info":[{"x":1}],"rows":[{"q":"1","a":"2"},{"q":"3","a":"4"}]}"#, "JSON object, records in `rows`"),
            (r#"{"7":{"q":"1","a":"2"},"8":{"q":"3","a":"4"}}"#, "JSON object of records"),
            (r#"{"train":{"q":["1","3"],"a":["2","4"]}}"#, "JSON by column"),
        ] {
            let expected = two.iter().map(|record| (1, (*record).to_owned())).collect();
            assert_eq!(records(object), Some((layout.to_owned(), expected)), "{object}");
        }
    }

    #[test]
    fn what_holds_for_all_rows_is_in_each() {
        let (_, rows) = records(r#"{"s":"x","meta":{"v":1},"q":["1","3"],"a":["2","4"]}"#).expect("rows");
        assert_eq!(rows[1].1, r#"{"s":"x","q":"3","a":"4"}"#);
        let (_, rows) = records(r#"{"n":[NaN,1],"q":["NaN","3"],"a":["2","4"]}"#).expect("rows");
        assert_eq!(rows[0].1, r#"{"n":null,"q":"NaN","a":"2"}"#);
    }

    #[test]
    fn records_have_their_lines() {
        let (_, records) =
            records("{\n\"v\": 1,\n\"data\": [\n{\"q\":\"1\",\n\"a\":\"2\"},\n\n{\"x\":3}]\n}").expect("a list");
        assert_eq!(records.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [4, 7]);
    }

    /// Objects in objects need neither stack nor time in proportion to their depth.
    #[test]
    fn deep_objects_are_given_up() {
        for depth in [MAX_DEPTH + 1, 300_000] {
            let object = format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
            assert_eq!(records(&object), None, "{depth}");
        }
        let wrapped =
            |depth| format!(r#"{}{{"q":["1","3"],"a":["2","4"]}}{}"#, r#"{"x":"#.repeat(depth), "}".repeat(depth));
        assert_eq!(records(&wrapped(MAX_DEPTH - 1)).map(|(_, records)| records.len()), Some(2));
        assert_eq!(records(&wrapped(MAX_DEPTH)), None);
    }

    #[test]
    fn records_and_unknown_layouts_are_left_alone() {
        for object in [
            r#"{"q":"1","a":"2","data":[{"q":"1","a":"2"}]}"#,
            r#"{"context":"…","qas":[{"q":"1","a":"2"}]}"#,
            r#"{"x":["1","2"],"y":["3"]}"#,
            r#"{"_data_files":[{"filename":"data-00000-of-00001.arrow"}],"_split":"train"}"#,
            r#"{"log_history":[{"epoch":1,"loss":0.5},{"epoch":2,"loss":0.4}]}"#,
            r#"{"x":1}"#,
            r#"{"x":[]}"#,
            "{}",
            r#"{"x":[{]}"#,
            r#"{"x":"#,
        ] {
            assert_eq!(records(object), None, "{object}");
        }
    }

    #[test]
    fn several_lists_are_named() {
        let object = br#"{"train":[{"q":"1","a":"2"},{"q":"1","a":"2"}],"test":[{"q":"3","a":"4"}]}"#;
        let problem = unfold(object, 1, &knows).err().expect("two lists");
        assert!(problem.problem.ends_with("several lists of records: `train` (2), `test` (1)"), "{}", problem.problem);
        assert!(problem.hint.contains("jq '.[\"train\"]' FILE > train.json"), "{}", problem.hint);
        let ragged = br#"{"columns":["q","a"],"data":[["1","2"],["3"]]}"#;
        let problem = unfold(ragged, 1, &knows).err().expect("ragged").problem;
        assert_eq!(problem, "row 2 of `data` has 1 values for 2 columns");
    }
}
