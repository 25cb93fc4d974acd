//! Filters: the lines up to the first empty one are settings, a letter and a value each; the rest is the file.
#![no_main]

#[path = "common.rs"]
mod common;

use serde_json::{Map, Value, json};
use medley_mixture::{Counted, FilterSpec};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| -> libfuzzer_sys::Corpus {
    let border = bytes.windows(2).position(|pair| pair == b"\n\n");
    let (settings, file) = border.map_or((bytes, &[][..]), |at| (&bytes[..at], &bytes[at + 2..]));
    let Ok(settings) = std::str::from_utf8(settings) else { return libfuzzer_sys::Corpus::Reject };
    let filter = filter(settings);
    let json = serde_json::to_string(&filter).expect("written");
    assert_eq!(serde_json::from_str::<FilterSpec>(&json).expect("what was written is read"), filter);
    common::in_folder(|folder| check(folder, file, filter));
    libfuzzer_sys::Corpus::Keep
});

/// What a filter takes is a part of what there is.
fn check(folder: &std::path::Path, file: &[u8], filter: FilterSpec) {
    std::fs::write(folder.join("a.txt"), file).expect("written");
    let is_wrong = !filter.problems().is_empty();
    let whole = common::filtered(folder, "a.txt", FilterSpec::default());
    let part = common::filtered(folder, "a.txt", filter);
    assert!(!is_wrong || part.is_err(), "a wrong filter was taken");
    let (Ok(whole), Ok(part)) = (whole, part) else { return };
    let (whole, part) = (common::ledger(&whole), common::ledger(&part));
    assert_eq!(whole.read, part.read);
    assert!(part.available + part.held_out <= whole.available + whole.held_out);
    let counted = |counts: &Counted| counts.details.values().all(|count| *count <= counts.count);
    assert!(part.rejected.values().all(counted));
}

/// The filter that the lines ask for, read as a recipe's is.
fn filter(settings: &str) -> FilterSpec {
    let mut filter = Map::new();
    for line in settings.lines() {
        let mut characters = line.chars();
        let Some(letter) = characters.next() else { continue };
        set(&mut filter, letter, characters.as_str());
    }
    serde_json::from_value(Value::Object(filter)).expect("only what a filter has was set")
}

fn set(filter: &mut Map<String, Value>, letter: char, value: &str) {
    const LANGUAGES: [&str; 16] =
        ["zh", "en", "ja", "ko", "ar", "de", "es", "fr", "hi", "it", "nl", "pt", "ru", "sv", "tr", "vi"];
    let number = |text: &str| text.bytes().map(usize::from).sum::<usize>();
    let choice = |choices: &[&str]| json!(choices[number(value) % choices.len()]);
    match letter {
        'q' | 'a' | 'c' => {
            let (min, max) = value.split_once(' ').unwrap_or((value, ""));
            let bound = |text: &str| text.parse::<usize>().ok();
            let name = match letter {
                'q' => "question_chars",
                'a' => "answer_chars",
                _ => "chars",
            };
            filter.insert(name.to_owned(), json!({"min": bound(min), "max": bound(max)}));
        }
        'l' => {
            let languages: Vec<&str> = value.bytes().map(|byte| LANGUAGES[usize::from(byte) % 16]).collect();
            filter.insert("language".to_owned(), json!(languages));
        }
        'h' => drop(filter.insert("html".to_owned(), choice(&["keep", "strip", "drop"]))),
        'b' => drop(filter.insert("boilerplate".to_owned(), choice(&["keep", "drop"]))),
        'r' | 'R' => {
            let name = if letter == 'r' { "reject" } else { "require" };
            let place = ["question", "answer", "any"][value.len() % 3];
            push(&mut filter.entry(name).or_insert_with(|| json!({}))[place], value);
        }
        'w' => push(filter.entry("where").or_insert(Value::Null), value),
        'k' => {
            let (take, words) = value.split_at(value.chars().next().map_or(0, char::len_utf8));
            let list = if words.is_empty() { json!("tcm") } else { json!(words.split(',').collect::<Vec<_>>()) };
            let take = number(take);
            let side = if take % 2 == 0 { "matching" } else { "others" };
            filter.insert("keywords".to_owned(), json!({"list": list, "take": side, "at_least": take / 2 % 4}));
        }
        _ => {}
    }
}

fn push(list: &mut Value, value: &str) {
    if list.is_null() {
        *list = json!([]);
    }
    if let Some(list) = list.as_array_mut() {
        list.push(json!(value));
    }
}
