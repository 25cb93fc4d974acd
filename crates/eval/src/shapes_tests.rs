//! Papers in the layouts of public exams (`tests/papers/make.py`): each is read with the right key, or refused with a `columns`
//! line that reads it.

use std::path::{Path, PathBuf};

use medley_files::WithHelp as _;
use medley_mixture::{Columns, SourcePart};

use crate::item::Kind;
use crate::{Papers, load_papers};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("papers")
}

fn part(path: &str, columns: Columns) -> SourcePart {
    SourcePart { path: path.to_owned(), columns, ..SourcePart::default() }
}

fn load(name: &str, columns: &str) -> Result<Papers, String> {
    let columns = medley_recipe::parse_columns(columns)?;
    load_papers(&[part(name, columns)], &folder(), None).map_err(|error| error.with_help())
}

fn keys(papers: &Papers) -> String {
    let key = |item: &crate::Item| item.answer.iter().collect::<String>();
    papers.items.iter().map(key).collect::<Vec<_>>().join(" ")
}

const CHINESE: &str = "A B D";
const ENGLISH: &str = "A C D";

#[test]
fn papers_of_public_layouts_are_read_with_their_keys() {
    for (name, expected, options) in [
        ("cmb.jsonl", "A B D DE", 5),
        ("cmb_gb18030.jsonl", CHINESE, 5),
        ("cmb_lower.json", CHINESE, 5),
        ("cmb_by_id.json", CHINESE, 5),
        ("cmb_whole.jsonl.zst", CHINESE, 5),
        ("cmexam.csv", CHINESE, 5),
        ("cmexam_gb18030.csv", CHINESE, 5),
        ("cmexam.tsv", CHINESE, 5),
        ("medqa_us.jsonl", ENGLISH, 4),
        ("medqa_tw_big5.jsonl", CHINESE, 4),
        ("mtcmb.jsonl", CHINESE, 5),
        ("mtcmb_list.jsonl", CHINESE, 5),
        ("mtcmb_lines.jsonl", CHINESE, 5),
        ("ceval_val.csv", CHINESE, 4),
        ("ceval_dev.csv.xz", CHINESE, 4),
        ("cmmlu.csv", CHINESE, 4),
        ("mmlu_test.csv", ENGLISH, 4),
        ("mmlu.parquet", ENGLISH, 4),
        ("mmlu_pro.parquet", ENGLISH, 4),
        ("medmcqa_from1.jsonl", ENGLISH, 4),
        ("medmcqa_from0.parquet", ENGLISH, 4),
        ("pubmedqa.json", "B A C", 3),
        ("pubmedqa.parquet", "B A C", 3),
        ("kormedmcqa.csv", "A C E", 5),
        ("kormedmcqa.parquet", "A C E", 5),
        ("headqa.jsonl", ENGLISH, 4),
        ("headqa.parquet", ENGLISH, 4),
        ("afrimedqa.csv", ENGLISH, 4),
        ("frenchmedmcqa.jsonl", "AB C D", 4),
        ("arc.parquet", ENGLISH, 4),
        ("commonsenseqa.jsonl", ENGLISH, 4),
    ] {
        let papers = load(name, "").unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(keys(&papers), expected, "{name}");
        assert!(papers.files[0].refused.is_empty(), "{name}: {:?}", papers.files[0].refused);
        for item in &papers.items {
            assert_eq!(item.options.len(), options, "{name}");
            let several = if item.answer.len() > 1 { Kind::Multiple } else { Kind::Single };
            assert_eq!(item.kind, several, "{name}");
            assert!(item.id.starts_with(name.split('.').next().unwrap_or_default()), "{name}: {}", item.id);
        }
    }
}

#[test]
fn passages_exclude_the_conclusion() {
    for name in ["pubmedqa.json", "pubmedqa.parquet"] {
        let papers = load(name, "").expect("read");
        assert_eq!(papers.items[0].passages, ["Rest was tried.\nIn ten people."], "{name}");
        assert_eq!(papers.items[0].option('C'), Some("maybe"));
    }
    assert_eq!(load("cmexam.csv", "").expect("read").items[0].passages, ["健脾。"]);
}

#[test]
fn numeric_answers_of_unclear_base_need_answers_from() {
    let refusal = load("ambiguous.jsonl", "").expect_err("nobody knows");
    assert!(refusal.contains("ambiguous.jsonl:1: the file's answers are numbers (1 to 2 of 4 options)"), "{refusal}");
    assert!(refusal.contains("`columns = { answers_from = 1 }`"), "{refusal}");
    assert_eq!(keys(&load("ambiguous.jsonl", "columns = { answers_from = 1 }").expect("said")), "A B A");
    assert_eq!(keys(&load("ambiguous.jsonl", "answers_from = 0").expect("said")), "B C B");
}

#[test]
fn unknown_names_are_refused_with_a_columns_line_that_reads_them() {
    let refusal = load("unknown.jsonl", "").expect_err("nobody knows the names");
    let line = "columns = { instruction = \"Vraag\", options = [\"Keuze1\", \"Keuze2\", \"Keuze3\", \"Keuze4\"], output = \"Juiste_sleutel\" }";
    assert!(refusal.contains(line), "{refusal}");
    assert!(refusal.contains("reads 3 of the 3 records"), "{refusal}");
    assert_eq!(keys(&load("unknown.jsonl", line).expect("as the line says")), ENGLISH);
}

#[test]
fn files_of_one_name_in_several_folders_have_distinct_ids() {
    let folder = tempfile::tempdir().expect("a folder");
    let line = r#"{"question": "？", "options": ["甲", "乙"], "answer": "B"}"#;
    for place in ["anatomy", "biology"] {
        std::fs::create_dir(folder.path().join(place)).expect("made");
        std::fs::write(folder.path().join(place).join("test.jsonl"), line).expect("written");
    }
    std::fs::write(folder.path().join("alone.jsonl"), line).expect("written");
    let papers = load_papers(&[part(".", Columns::default())], folder.path(), None).expect("read");
    let ids: Vec<&str> = papers.items.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(ids, ["alone-1", "anatomy/test-1", "biology/test-1"]);
}
