//! Whether a file's numeric answers count from 0 or from 1 is decided once for the file: alike in every thread, batch and shard.

use std::fs;
use std::path::{Path, PathBuf};

use medley_files::WithHelp as _;
use medley_mixer::{BLOCK, MixContext, ShardNumber, merge_shards, mix, mix_shard};
use medley_mixture::{Columns, MixSpec, MixtureNode, MixtureRatio, OnShortage, SourcePart, SourceSpec, Validation};
use medley_source::read_records;
use serde_json::json;

fn spec(size: usize, columns: Columns) -> MixSpec {
    let node = MixtureNode { name: "set".to_owned(), ratio: MixtureRatio::Source("set".to_owned()) };
    let part = SourcePart { path: "set".to_owned(), columns, ..SourcePart::default() };
    MixSpec {
        size,
        ratio: MixtureRatio::Group(vec![(1, node)]),
        on_shortage: OnShortage::Shrink,
        validation: Validation { fraction: 0.0, max_samples: 0 },
        sources: [("set".to_owned(), SourceSpec { parts: vec![part], ..SourceSpec::default() })].into_iter().collect(),
        ..MixSpec::default()
    }
}

fn put(folder: &Path, answers: impl Iterator<Item = u64>) {
    fs::create_dir_all(folder.join("set")).expect("a folder");
    let line = |(number, answer): (usize, u64)| {
        json!({"question": format!("问{number}"), "A": "甲", "B": "乙", "C": "丙", "D": "丁", "answer": answer})
            .to_string()
            + "\n"
    };
    let lines: String = answers.enumerate().map(line).collect();
    fs::write(folder.join("set").join("items.jsonl"), lines).expect("written");
}

fn answers(mixed: &medley_mixer::Mix) -> std::collections::BTreeSet<String> {
    mixed.train.iter().map(|record| record.messages[1].content.clone()).collect()
}

/// Only the last record shows that numbers count from 1; the shard with the first blocks does not contain it.
#[test]
fn every_shard_counts_as_the_whole_file_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let length = 2 * BLOCK + 10;
    put(folder, (0..length).map(|number| if number + 1 == length { 4 } else { 2 }));
    let spec = spec(100, Columns::default());
    let whole = mix(&spec, &MixContext::new(folder)).expect("the last record tells");
    assert_eq!(answers(&whole).into_iter().collect::<Vec<_>>(), ["B. 乙"]);
    for threads in [1, 3] {
        let context = MixContext { threads: Some(threads), ..MixContext::new(folder) };
        assert!(mix(&spec, &context).expect("mixed") == whole);
    }
    let shard = |number| -> PathBuf {
        let out = folder.join(format!("shard-{number}"));
        mix_shard(&spec, &MixContext::new(folder), ShardNumber { number, of: 3 }, 0.05, &out).expect("a shard");
        out
    };
    let shards: Vec<PathBuf> = (1..=3).map(shard).collect();
    let merged = merge_shards(&spec, &MixContext::new(folder), &shards).expect("merged");
    assert!(merged == whole);
}

#[test]
fn a_file_that_does_not_tell_is_refused_until_the_recipe_says_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    put(folder, (0..50).map(|number| 1 + number % 3));
    let refused = mix(&spec(10, Columns::default()), &MixContext::new(folder)).expect_err("nobody knows").with_help();
    assert!(
        refused.starts_with("set/items.jsonl:1: record 1: the file's answers are numbers (1 to 3 of 4 options)"),
        "{refused}"
    );
    assert!(refused.contains("`columns = { answers_from = 0 }`"), "{refused}");
    for (first, expected) in [(0, ["B. 乙", "C. 丙", "D. 丁"]), (1, ["A. 甲", "B. 乙", "C. 丙"])] {
        let columns = Columns { answers_from: Some(first), ..Columns::default() };
        let mixed = mix(&spec(50, columns), &MixContext::new(folder)).expect("said");
        assert_eq!(answers(&mixed).into_iter().collect::<Vec<_>>(), expected, "from {first}");
    }
    put(folder, [0, 1, 4].into_iter());
    let refused = mix(&spec(10, Columns::default()), &MixContext::new(folder)).expect_err("both").with_help();
    assert!(refused.contains("from 0 in some records and from 1 in others"), "{refused}");
}

/// A file of one object is one record, also if the record has a key twice; it is not taken for a table by column.
#[test]
fn a_file_of_one_item_with_a_key_twice_is_a_broken_record() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    fs::create_dir(folder.join("set")).expect("a folder");
    for item in [
        r#"{"question": "?", "options": ["甲", "乙"], "answer": "A", "answer": "B"}"#,
        r#"{"question": ["?", "!"], "options": ["甲", "乙"], "answer": "A", "Answer": "B"}"#,
        "{\n  \"题目\": \"?\",\n  \"选项\": {\"A\": \"甲\", \"B\": \"乙\"},\n  \"answer\": \"A\",\n  \"answer\": \"B\"\n}\n",
    ] {
        fs::write(folder.join("set/item.json"), item).expect("written");
        let expected = "set/item.json:1: record 1: `answer` appears twice in the record";
        let source = mix(&spec(1, Columns::default()), &MixContext::new(folder)).expect_err(item).with_help();
        assert!(source.starts_with(expected), "{source}");
        if item.contains("\"Answer\"") {
            // As fields of a paper, the two keys differ.
            continue;
        }
        let part = SourcePart { path: "set".to_owned(), ..SourcePart::default() };
        let paper = read_records(&[part], folder, None).expect_err(item).with_help();
        assert!(paper.starts_with(expected), "{paper}");
    }
}
