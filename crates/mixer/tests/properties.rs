//! What holds whatever the data: one pool in every layout, packing and encoding gives one mix; broken bytes give errors.

use std::fs;
use std::io::Write;
use std::path::Path;

use medley_files::WithHelp as _;
use medley_mixer::{Mix, MixContext, mix};
use medley_mixture::{MixError, MixSpec, MixtureNode, MixtureRatio, OnShortage, SourcePart, SourceSpec, Validation};
use proptest::prelude::*;
use serde_json::{Value, json};

/// A pool of one file, a quarter of the mix from another.
fn spec(path: &str, size: usize, seed: u64) -> MixSpec {
    let node = |name: &str| MixtureNode { name: name.to_owned(), ratio: MixtureRatio::Source(name.to_owned()) };
    let source = |path: &str| SourceSpec {
        parts: vec![SourcePart { path: path.to_owned(), ..SourcePart::default() }],
        ..SourceSpec::default()
    };
    MixSpec {
        size,
        seed,
        ratio: MixtureRatio::Group(vec![(3, node("a")), (1, node("b"))]),
        on_shortage: OnShortage::Shrink,
        validation: Validation { fraction: 0.1, max_samples: 3 },
        sources: [("a".to_owned(), source(path)), ("b".to_owned(), source("other.jsonl"))].into_iter().collect(),
        ..MixSpec::default()
    }
}

fn run(folder: &Path, spec: &MixSpec, threads: usize) -> Result<Mix, MixError> {
    mix(spec, &MixContext { threads: Some(threads), ..MixContext::new(folder) })
}

fn put(folder: &Path, name: &str, content: impl AsRef<[u8]>) {
    fs::write(folder.join(name), content).expect("written");
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).expect("packs");
    encoder.finish().expect("packs")
}

fn zstandard(content: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(content, 1).expect("packs")
}

fn lines(rows: &[(String, String)]) -> String {
    rows.iter().map(|(question, answer)| format!("{}\n", json!({"question": question, "answer": answer}))).collect()
}

fn table(rows: &[(String, String)], delimiter: char) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let row = |(question, answer): &(String, String)| format!("{}{delimiter}{}\r\n", quoted(question), quoted(answer));
    format!("question{delimiter}answer\n{}", rows.iter().map(row).collect::<String>())
}

/// The pool as files of every kind; each is one path.
fn files(rows: &[(String, String)]) -> Vec<(&'static str, Vec<u8>)> {
    let values: Vec<Value> = rows.iter().map(|(q, a)| json!({"answer": a, "id": 7, "question": q})).collect();
    let pretty = |value: &Value| serde_json::to_string_pretty(value).expect("JSON") + "\n";
    let gb18030 = |text: &str| encoding_rs::GB18030.encode(text).0.into_owned();
    let text = lines(rows);
    vec![
        ("lines.txt", text.clone().into_bytes()),
        ("marked.json", format!("\u{feff}{text}").into_bytes()),
        ("array.json", serde_json::to_vec(&values).expect("JSON")),
        ("pretty.json", pretty(&Value::from(values.clone())).into_bytes()),
        ("objects.json", values.iter().map(pretty).collect::<String>().into_bytes()),
        ("table.csv", table(rows, ',').into_bytes()),
        ("table.tsv", table(rows, '\t').into_bytes()),
        ("table", table(rows, ';').into_bytes()),
        ("lines.jsonl.gz", gzip(text.as_bytes())),
        ("lines.jsonl.zst", zstandard(text.as_bytes())),
        ("gb18030.csv", gb18030(&table(rows, ','))),
        ("gb18030.jsonl.gz", gzip(&gb18030(&text))),
        ("utf16.jsonl", std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()),
    ]
}

/// What a mix says, without where it was found.
fn said(mix: &Mix) -> Vec<(String, u128, Vec<String>)> {
    let record = |record: medley_mixture::MixedRecord| {
        let texts = record.messages.iter().map(|message| message.content.clone()).collect();
        (record.source, record.key.0, texts)
    };
    mix.train.iter().chain(mix.validation.iter()).map(record).collect()
}

fn adds_up(mix: &Mix) {
    for line in mix.ledger.sources.values() {
        let gone = line.rejected_in_all() + line.exam_items.count + line.duplicates_within;
        assert_eq!(line.read, gone + line.duplicates_across_in_all() + line.held_out + line.available);
        assert_eq!(line.read, line.read_as.iter().map(|read| read.records).sum::<u64>());
    }
    assert_eq!(mix.ledger.chosen, mix.train.len() as u64);
}

/// A pool that shares nothing with the others.
fn others() -> Vec<(String, String)> {
    (0..20).map(|number| (format!("另问{number}"), "答".to_owned())).collect()
}

/// Common Chinese text with what each layout must quote.
fn text() -> impl Strategy<Value = String> {
    "[药方病人气血阴阳寒热虚实问答的是在有和，。]{4,12}[,;\t\"\n|{}\\[\\]a-z]{0,4}[中医诊治]{2,6}"
}

fn pool() -> impl Strategy<Value = Vec<(String, String)>> {
    proptest::collection::vec((text(), text()), 20..60).prop_map(|rows| {
        // Heavy duplicates: every third row occurs again, some of them often.
        let copies = rows.iter().enumerate().filter(|(index, _)| index % 3 == 0);
        let copies = copies.flat_map(|(index, row)| std::iter::repeat_n(row.clone(), 1 + index % 5));
        rows.iter().cloned().chain(copies.collect::<Vec<_>>()).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn layout_packing_and_encoding_change_nothing(rows in pool(), seed: u64, size in 1..30usize, threads in 1..4usize) {
        let folder = tempfile::tempdir().expect("a folder");
        put(folder.path(), "other.jsonl", lines(&others()));
        let mut first: Option<Vec<_>> = None;
        for (name, content) in files(&rows) {
            put(folder.path(), name, content);
            let mixed = run(folder.path(), &spec(name, size, seed), threads);
            let mixed = mixed.unwrap_or_else(|error| panic!("{name}: {error}"));
            adds_up(&mixed);
            prop_assert_eq!(mixed.ledger.sources["a"].read, rows.len() as u64, "{}", name);
            let first = first.get_or_insert_with(|| said(&mixed));
            prop_assert_eq!(&*first, &said(&mixed), "{}", name);
        }
    }

    /// A pool spread over files of different kinds is the same pool.
    #[test]
    fn a_pool_in_files_of_several_kinds_is_one_pool(rows in pool(), seed: u64, cut in 1..20usize) {
        let folder = tempfile::tempdir().expect("a folder");
        put(folder.path(), "other.jsonl", lines(&rows[..3]) + &lines(&others()));
        put(folder.path(), "whole.jsonl", lines(&rows));
        fs::create_dir(folder.path().join("parts")).expect("a folder");
        let (head, tail) = rows.split_at(cut);
        let (middle, tail) = tail.split_at(tail.len() / 2);
        put(folder.path(), "parts/2.csv", table(head, ','));
        put(folder.path(), "parts/1.jsonl.gz", gzip(lines(middle).as_bytes()));
        put(folder.path(), "parts/3.jsonl.zst", zstandard(lines(tail).as_bytes()));
        let whole = run(folder.path(), &spec("whole.jsonl", 12, seed), 1).expect("mixed");
        let parts = run(folder.path(), &spec("parts", 12, seed), 3).expect("mixed");
        prop_assert_eq!(said(&whole), said(&parts));
        adds_up(&parts);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever bytes of a file are changed, left out or doubled, there is a mix whose numbers add up, or an error with a
    /// place and a remedy.
    #[test]
    fn broken_files_end_in_a_mix_or_an_error(
        kind in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..5),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let rows: Vec<_> = (0..12).map(|number| (format!("问题，{number}？"), format!("答\"案\"\n{number}"))).collect();
        put(folder.path(), "other.jsonl", lines(&rows));
        let files = files(&rows);
        let (name, mut content) = files[kind.index(files.len())].clone();
        for (place, byte, what) in changes {
            let at = place.index(content.len().max(1)).min(content.len().saturating_sub(1));
            match what {
                0 => content[at] = byte,
                1 => drop(content.drain(at..(at + usize::from(byte)).min(content.len()))),
                _ => content = [&content[..at], &content[at / 2..]].concat(),
            }
            if content.is_empty() {
                break;
            }
        }
        put(folder.path(), name, &content);
        match run(folder.path(), &spec(name, 4, 1), 1) {
            Ok(mixed) => adds_up(&mixed),
            Err(MixError::Shortage(_)) => {}
            Err(error) => {
                let error = error.with_help();
                prop_assert!(error.starts_with(name) && error.contains("\n  help: "), "{}", error);
            }
        }
    }
}
