//! Suggestion of a `columns` line for papers with unknown column names, verified on all records.
//!
//! Beside the suggestion for training data (`medley_mixer`'s `import/suggest`), which judges one record by its texts: options and
//! keys can only be recognised over many records.

use std::collections::BTreeMap;

use medley_mixture::{Columns, OptionColumns};
use medley_source::{ChoiceQuestion, KeyEvidence};
use serde_json::{Map, Value};

type Record = Map<String, Value>;

/// Number of records searched for candidates.
const SAMPLE: usize = 200;
/// Share of the records that a line must read to be suggested.
const ENOUGH: f64 = 0.9;

const ANSWERS: [&str; 13] = [
    "answer", "correct", "right", "gold", "key", "label", "target", "truth", "solution", "ans", "答案", "正确", "解答",
];
const QUESTIONS: [&str; 10] = ["question", "query", "stem", "prompt", "problem", "ask", "题目", "题干", "问题", "题"];

/// The inside of a `columns` table and the number of records it reads; `None` if no line reads [`ENOUGH`] of them.
pub(crate) fn suggested_columns(records: &[&Record]) -> Option<(String, usize)> {
    let sample = &records[..records.len().min(SAMPLE)];
    let keys: Vec<&String> = sample.first()?.keys().collect();
    for options in option_candidates(sample, &keys) {
        let is_free = |key: &&&String| !options.names().contains(**key);
        let named = |names: &[&str], key: &str| names.iter().any(|name| key.to_lowercase().contains(name));
        let free: Vec<&String> = keys.iter().filter(is_free).copied().collect();
        let mut answers: Vec<&String> = free.iter().filter(|key| named(&ANSWERS, key)).copied().collect();
        if answers.is_empty() {
            answers.clone_from(&free);
        }
        let mut read: Vec<(usize, &String)> = Vec::new();
        for answer in answers {
            read.extend(read_with(sample, &options, answer).map(|count| (count, answer)));
        }
        read.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        // Ties go to the first column (the sort is stable).
        let best = match read.as_slice() {
            [(best, answer), ..] if *best as f64 >= ENOUGH * sample.len() as f64 => *answer,
            _ => continue,
        };
        let rest: Vec<&String> = free.iter().filter(|key| **key != best).copied().collect();
        let question = rest.iter().find(|key| named(&QUESTIONS, key)).or_else(|| {
            rest.iter().max_by_key(|key| {
                sample.iter().filter_map(|record| record.get(**key)?.as_str()).map(str::len).sum::<usize>()
            })
        })?;
        let columns = columns(question, &options, best);
        let count = count_read(records, &columns)?;
        if count as f64 >= ENOUGH * records.len() as f64 {
            return Some((line(question, &options, best), count));
        }
    }
    None
}

fn columns(question: &str, options: &OptionColumns, answer: &str) -> Columns {
    Columns {
        instruction: Some(question.to_owned()),
        options: Some(options.clone()),
        output: Some(answer.to_owned()),
        ..Columns::default()
    }
}

fn line(question: &str, options: &OptionColumns, answer: &str) -> String {
    let quoted = |name: &String| format!("{name:?}");
    let options = match options {
        OptionColumns::All(name) => quoted(name),
        OptionColumns::Each(names) => format!("[{}]", names.iter().map(quoted).collect::<Vec<_>>().join(", ")),
    };
    format!("instruction = {question:?}, options = {options}, output = {answer:?}")
}

fn read_with(records: &[&Record], options: &OptionColumns, answer: &str) -> Option<usize> {
    // The question is chosen later.
    count_read(
        records,
        &Columns { options: Some(options.clone()), output: Some(answer.to_owned()), ..Columns::default() },
    )
}

/// Number of records whose key can be read; `None` if the file needs settings beyond column names.
fn count_read(records: &[&Record], columns: &Columns) -> Option<usize> {
    let asked: Vec<_> =
        records.iter().filter_map(|record| ChoiceQuestion::of(record, columns).ok().flatten()).collect();
    let mut evidence = KeyEvidence::default();
    asked.iter().for_each(|question| evidence.observe(question));
    let mut count = 0;
    for question in asked.iter().filter(|question| question.choices.len() > 1) {
        match question.right(|| &evidence) {
            Ok(_) => count += usize::from(columns.instruction.is_none() || !question.question.trim().is_empty()),
            Err(medley_source::Unanswered::File(_)) => return None,
            Err(medley_source::Unanswered::Record(_)) => {}
        }
    }
    Some(count)
}

/// Candidate option columns: one with all options, or several whose names differ in a letter or digit.
fn option_candidates(sample: &[&Record], keys: &[&String]) -> Vec<OptionColumns> {
    let holds_all = |name: &String| {
        let columns = Columns { options: Some(OptionColumns::All(name.clone())), ..Columns::default() };
        let has = |record: &&&Record| {
            ChoiceQuestion::of(record, &columns).ok().flatten().is_some_and(|question| question.choices.len() > 1)
        };
        sample.iter().filter(has).count() as f64 >= ENOUGH * sample.len() as f64
    };
    let nested = keys.iter().flat_map(|key| {
        let inside = sample.first().and_then(|record| record.get(*key)).and_then(Value::as_object);
        inside.into_iter().flat_map(|object| object.keys()).map(|inner| format!("{key}.{inner}")).collect::<Vec<_>>()
    });
    let names = keys.iter().map(|key| (*key).clone()).chain(nested);
    let mut candidates: Vec<OptionColumns> = names.filter(holds_all).map(OptionColumns::All).collect();
    let mut rows: BTreeMap<(String, String), Vec<(u32, String)>> = BTreeMap::new();
    for key in keys {
        for (at, place, width) in ends(key) {
            let around = (key[..at].to_lowercase(), key[at + width..].to_lowercase());
            rows.entry(around).or_default().push((place, (*key).clone()));
        }
    }
    for mut row in rows.into_values() {
        row.sort();
        let follows = row.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0);
        if row.len() > 1 && follows && row[0].0 <= 1 {
            candidates.push(OptionColumns::Each(row.into_iter().map(|(_, key)| key).collect()));
        }
    }
    candidates
}

/// Letters and digits at either end of a name that may number options: byte offset, the letter's index or the digit's value, length in
/// bytes.
fn ends(key: &str) -> Vec<(usize, u32, usize)> {
    let place = |character: char| match character {
        'a'..='h' => Some(character as u32 - 'a' as u32),
        'A'..='H' => Some(character as u32 - 'A' as u32),
        '0'..='9' => Some(character as u32 - '0' as u32),
        _ => None,
    };
    let last = key.char_indices().last();
    let first = key.chars().next().map(|character| (0, character));
    let found = [last, first].into_iter().flatten();
    let mut ends: Vec<_> =
        found.filter_map(|(at, character)| Some((at, place(character)?, character.len_utf8()))).collect();
    ends.dedup();
    ends
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn suggested(records: &[Value]) -> Option<(String, usize)> {
        let records: Vec<&Record> = records.iter().map(|record| record.as_object().expect("an object")).collect();
        suggested_columns(&records)
    }

    #[test]
    fn a_line_that_reads_the_records_is_suggested() {
        let columns = json!([
            {"Vraag": "Welk van deze?", "Keuze1": "w", "Keuze2": "x", "Keuze3": "y", "Juist_key": "3"},
            {"Vraag": "En deze dan?", "Keuze1": "w", "Keuze2": "x", "Keuze3": "y", "Juist_key": "1"},
        ]);
        let line = "instruction = \"Vraag\", options = [\"Keuze1\", \"Keuze2\", \"Keuze3\"], output = \"Juist_key\"";
        assert_eq!(suggested(columns.as_array().expect("a list")), Some((line.to_owned(), 2)));
        let nested = json!([{"text": "which of these?", "data": {"opts": ["w", "x"]}, "gold": "x"}]);
        let line = "instruction = \"text\", options = \"data.opts\", output = \"gold\"";
        assert_eq!(suggested(nested.as_array().expect("a list")), Some((line.to_owned(), 1)));
    }

    #[test]
    fn no_line_is_suggested_that_does_not_read_them() {
        for records in [
            json!([{"text": "which?", "opts": ["w", "x"], "gold": "z"}]),
            json!([{"text": "which?", "gold": "z"}]),
            // Numbers that may count from 0 or from 1.
            json!([{"text": "which?", "opts": ["w", "x", "y"], "gold": 1}]),
        ] {
            assert_eq!(suggested(records.as_array().expect("a list")), None, "{records}");
        }
    }
}
