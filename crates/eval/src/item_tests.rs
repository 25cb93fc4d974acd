use medley_files::WithHelp as _;
use serde_json::json;

use super::*;

fn read(change: impl FnOnce(&mut Map<String, Value>)) -> Result<Item, String> {
    let Value::Object(mut record) = json!({
        "id": "p-1", "exam": "physician", "kind": "single", "question": "白术的归经是？",
        "options": {"A": "脾、胃经", "B": "肝经", "C": ""}, "answer": ["A"], "passages": ["白术归脾、胃经。"], "lure": "B",
    }) else {
        unreachable!("an object was written")
    };
    change(&mut record);
    let place = Place { file: "exams/p.jsonl".to_owned(), number: 7, in_array: false };
    Item::from_record(&record, &place).map_err(|error| error.with_help())
}

fn set(key: &'static str, value: Value) -> Result<Item, String> {
    read(|record| {
        record.insert(key.to_owned(), value);
    })
}

#[test]
fn a_good_item_is_read_and_options_without_text_are_left_out() {
    let item = read(|_| {}).expect("the item is good");
    assert_eq!(item.options.iter().map(|option| option.letter).collect::<String>(), "AB");
    assert_eq!(item.option('B'), Some("肝经"));
    assert_eq!(item.lure, Some('B'));
    let listed = set("options", json!(["脾、胃经", "肝经"])).expect("a list is as good");
    assert_eq!(listed, item);
    assert_eq!(set("answer", json!("A")).expect("a string of letters is as good"), item);
    assert_eq!(set("exam", json!("医师考试")).expect("CMB's names are known"), item);
    assert_eq!(set("remark", json!(3)).expect("other fields are the author's own"), item);
}

#[test]
fn every_fault_is_named_with_file_line_and_key() {
    let faults = [
        ("id", json!(""), "is empty"),
        ("id", json!(["x"]), "is a list"),
        ("exam", json!(null), "is null"),
        ("kind", json!("both"), "\"single\" or \"multiple\""),
        ("question", json!("  "), "is empty"),
        ("options", json!({"a": "x", "B": "y"}), "has the key \"a\""),
        ("options", json!(["x"]), "has 1 with text"),
        ("options", json!(["x", "x"]), "have the same text"),
        ("options", json!("A. x"), "is a string"),
        ("answer", json!(["C"]), "names C, but the options with text are AB"),
        ("answer", json!(["A", "B"]), "has 2 letters, but the kind is single"),
        ("answer", json!([]), "is empty"),
        ("answer", json!("AA"), "names A twice"),
        ("answer", json!("脾"), "is no option letter"),
        ("passages", json!("text"), "is a string"),
        ("passages", json!([""]), "holds an empty string"),
        ("lure", json!("A"), "is not a wrong option"),
    ];
    for (key, value, expected) in faults {
        let message = set(key, value.clone()).expect_err("the item is bad");
        let start = format!("exams/p.jsonl:7: `{key}");
        assert!(
            message.starts_with(&start) && message.contains(expected) && message.contains("help:"),
            "{value}: {message}"
        );
    }
    for key in ["id", "exam", "kind", "question", "options", "answer"] {
        let message = read(|record| {
            record.shift_remove(key);
        })
        .expect_err("a key is missing");
        assert!(message.contains(&format!("`{key}` is missing")), "{message}");
    }
}
