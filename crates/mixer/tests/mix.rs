//! What a mix promises, over small pools made here.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use medley_chat::Role;
use medley_files::WithHelp as _;
use medley_hub::{DatasetHub, DatasetRequest, HubError, HubFiles};
use medley_mixer::{Mix, MixContext, Samples, mix};
use medley_mixture::{
    Columns, MixError, MixSpec, MixedRecord, MixtureNode, MixtureRatio, OnShortage, Rejection, SourcePart, SourceSpec,
    Validation, content_id,
};
use proptest::prelude::*;

fn source(paths: &[&str]) -> SourceSpec {
    let part = |path: &&str| SourcePart { path: (*path).to_owned(), ..SourcePart::default() };
    SourceSpec { parts: paths.iter().map(part).collect(), ..SourceSpec::default() }
}

/// A flat mix of pools, each a name, a weight and a path, in this order.
fn spec(size: usize, pools: &[(&str, u64, &str)]) -> MixSpec {
    let leaf = |name: &str| MixtureNode { name: name.to_owned(), ratio: MixtureRatio::Source(name.to_owned()) };
    MixSpec {
        size,
        seed: 1,
        ratio: MixtureRatio::Group(pools.iter().map(|(name, weight, _)| (*weight, leaf(name))).collect()),
        on_shortage: OnShortage::Error,
        validation: Validation { fraction: 0.0, max_samples: 0 },
        sources: pools.iter().map(|(name, _, path)| ((*name).to_owned(), source(&[path]))).collect(),
        ..MixSpec::default()
    }
}

fn run(folder: &Path, spec: &MixSpec) -> Result<Mix, MixError> {
    mix(spec, &MixContext { threads: Some(2), ..MixContext::new(folder) })
}

fn mixed(folder: &Path, spec: &MixSpec) -> Mix {
    run(folder, spec).unwrap_or_else(|error| panic!("{error}"))
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn line(question: &str, answer: &str) -> String {
    format!("{}\n", serde_json::json!({ "instruction": question, "input": "", "output": answer }))
}

fn numbered(name: &str, numbers: impl IntoIterator<Item = usize>) -> String {
    numbers.into_iter().map(|number| line(&format!("{name}问题{number}"), &format!("答案{number}"))).collect()
}

fn put(folder: &Path, name: &str, content: impl AsRef<[u8]>) {
    fs::write(folder.join(name), content).expect("written");
}

fn questions(samples: &Samples) -> Vec<String> {
    samples.iter().map(|record| record.messages[0].content.clone()).collect()
}

fn packed(content: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content.as_bytes()).expect("packs");
    encoder.finish().expect("packs")
}

#[test]
fn a_record_in_two_pools_belongs_to_the_first_whether_chosen_or_not() {
    let folder = folder();
    put(folder.path(), "a.jsonl", numbered("题", 0..100));
    put(folder.path(), "b.jsonl", numbered("题", 50..150) + &numbered("题", 140..150));
    let mix = mixed(folder.path(), &spec(20, &[("a", 1, "a.jsonl"), ("b", 1, "b.jsonl")]));
    let (a, b) = (&mix.ledger.sources["a"], &mix.ledger.sources["b"]);
    assert_eq!((a.read, a.available, a.duplicates_within, a.duplicates_across.len()), (100, 100, 0, 0));
    assert_eq!((b.read, b.available, b.duplicates_within, b.duplicates_across["a"]), (110, 50, 10, 50));
    let of_b = mix.train.iter().filter(|record| record.source == "b");
    let first = |record: MixedRecord| -> usize {
        record.messages[0].content.trim_start_matches("题问题").parse().expect("a number")
    };
    assert!(of_b.map(first).all(|number| number >= 100));
}

/// How many records a large file has is guessed from its first megabyte, and with it which keys are small enough. Here the guess
/// is far off: of a hundred records that it expects, one is none that was seen before, or all others are long.
#[test]
fn a_wrong_guess_of_how_many_records_there_are_changes_no_sample() {
    const COPIED: &str = "又是同一个问题";
    let folder = folder();
    let rare = numbered("题", 0..400);
    let copies = line(COPIED, &"同一个答案".repeat(20)).repeat(30_000);
    put(folder.path(), "rare.jsonl", &rare);
    put(folder.path(), "copies.jsonl", copies.clone() + &rare);
    let long: String = (0..400).map(|number| line(&format!("题问题{number}"), &"很长的答案".repeat(2_000))).collect();
    put(folder.path(), "uneven.jsonl", numbered("短", 0..20_000) + &long);
    put(folder.path(), "even.jsonl", long + &numbered("短", 0..20_000));

    let sample = |size: usize, file: &str| {
        let mix = mixed(folder.path(), &spec(size, &[("a", 1, file)]));
        questions(&mix.train).into_iter().collect::<BTreeSet<_>>()
    };
    assert_eq!(sample(300, "uneven.jsonl"), sample(300, "even.jsonl"));
    let (mut with_copies, of_the_rare) = (sample(300, "copies.jsonl"), sample(300, "rare.jsonl"));
    with_copies.retain(|question| question != COPIED);
    assert!(with_copies.is_subset(&of_the_rare) && with_copies.len() >= 299, "{} of 300", with_copies.len());
}

#[test]
fn the_written_record_keeps_its_own_text_and_place() {
    let folder = folder();
    let record = serde_json::json!({ "instruction": "⽤药　Ａ", "input": "甲\r\n乙", "output": " 答 " });
    put(folder.path(), "a.json", serde_json::to_string_pretty(&[&record]).expect("json"));
    let mix = mixed(folder.path(), &spec(1, &[("a", 1, "a.json")]));
    let record = &mix.train.records()[0];
    assert_eq!(record.messages[0].content, "⽤药　Ａ\n甲\r\n乙");
    assert_eq!(
        record.messages[0].passage.as_ref().map(|range| &record.messages[0].content[range.clone()]),
        Some("甲\r\n乙")
    );
    assert_eq!((record.messages[1].role, record.messages[1].content.as_str()), (Role::Assistant, " 答 "));
    assert_eq!((record.file.as_str(), record.line, record.record), ("a.json", 2, 1));
}

/// As PubMedQA has it: the records are the entries of one object.
#[test]
fn an_object_of_records_is_a_pool() {
    let folder = folder();
    let entry = |number: usize| {
        (
            format!("{number}"),
            serde_json::json!({ "QUESTION": format!("问{number}"), "CONTEXTS": ["甲", "乙"], "LONG_ANSWER": "答" }),
        )
    };
    let records: serde_json::Map<String, serde_json::Value> = (0..5000).map(entry).collect();
    put(folder.path(), "a.json", serde_json::to_string_pretty(&records).expect("json"));
    let mut spec = spec(4000, &[("a", 1, "a.json")]);
    let unknown = run(folder.path(), &spec).expect_err("no known names").with_help();
    assert!(unknown.contains("a.json:2: record 1: no record has"), "{unknown}");
    spec.sources["a"].parts[0].columns = Columns {
        instruction: Some("QUESTION".to_owned()),
        input: Some("CONTEXTS".to_owned()),
        output: Some("LONG_ANSWER".to_owned()),
        ..Columns::default()
    };
    let mix = mixed(folder.path(), &spec);
    assert_eq!((mix.ledger.sources["a"].read, mix.train.len()), (5000, 4000));
    assert_eq!(mix.ledger.sources["a"].read_as[0].layout, "JSON object of records");
    let lines: BTreeSet<u64> = mix.train.iter().map(|record| (record.line - 2) % 8).collect();
    assert_eq!((mix.train.records()[0].messages[0].content.ends_with("\n甲\n乙"), lines.len()), (true, 1), "{lines:?}");
}

#[test]
fn shortage_is_an_error_a_smaller_mix_or_repeats() {
    let folder = folder();
    put(folder.path(), "general.jsonl", numbered("通", 0..100));
    put(folder.path(), "tcm.jsonl", numbered("中", 0..3) + &line("空", ""));
    let pools = [("general", 9, "general.jsonl"), ("tcm", 1, "tcm.jsonl")];
    let error = run(folder.path(), &spec(100, &pools)).expect_err("too small").with_help();
    assert!(
        error.contains("pool `tcm` has 3 records to choose from and its share needs 10 (4 read, 1 rejected (1 empty answer: tcm.jsonl:4))"),
        "{error}"
    );
    assert!(error.contains("on_shortage = \"repeat\""), "{error}");

    let shrunk = mixed(folder.path(), &MixSpec { on_shortage: OnShortage::Shrink, ..spec(100, &pools) });
    let chosen = |mix: &Mix| (mix.ledger.sources["general"].chosen, mix.ledger.sources["tcm"].chosen);
    assert_eq!((shrunk.ledger.requested, shrunk.ledger.chosen), (100, 39));
    assert_eq!(chosen(&shrunk), (36, 3));

    let repeated = mixed(folder.path(), &MixSpec { on_shortage: OnShortage::Repeat, ..spec(100, &pools) });
    assert_eq!((chosen(&repeated), repeated.ledger.sources["tcm"].repeated), ((90, 10), 7));
    let mut copies: BTreeMap<_, Vec<u32>> = BTreeMap::new();
    for record in repeated.train.iter().filter(|record| record.source == "tcm") {
        copies.entry(record.key).or_default().push(record.copy);
    }
    copies.values_mut().for_each(|copies| copies.sort_unstable());
    assert_eq!(copies.into_values().collect::<Vec<_>>(), [vec![0, 1, 2, 3], vec![0, 1, 2], vec![0, 1, 2]]);

    put(folder.path(), "tcm.jsonl", line("空", ""));
    let empty = run(folder.path(), &MixSpec { on_shortage: OnShortage::Repeat, ..spec(100, &pools) });
    assert!(empty.expect_err("nothing to repeat").with_help().contains("has 0 records"));
}

#[test]
fn exam_items_are_left_out_and_counted() {
    let folder = folder();
    put(folder.path(), "a.jsonl", numbered("题", 0..50) + &line("麻黄汤的君药是？", "麻黄"));
    let questions = [medley_mixture::ExamItem::asking("麻黄汤的君药是（　）")];
    let context = MixContext { exam_items: &questions, ..MixContext::new(folder.path()) };
    let mix = mix(&spec(50, &[("a", 1, "a.jsonl")]), &context).expect("enough records");
    let line = &mix.ledger.sources["a"];
    assert_eq!((line.exam_items.count, line.available), (1, 50));
    assert_eq!(line.exam_items.examples, ["a.jsonl:51"]);
}

#[test]
fn validation_is_held_out_alike_for_every_seed_size_and_ratio() {
    let folder = folder();
    put(folder.path(), "a.jsonl", numbered("甲", 0..1000));
    put(folder.path(), "b.jsonl", numbered("乙", 0..1000));
    let validation = Validation { fraction: 0.1, max_samples: 40 };
    let of = |seed, size, weight| {
        let pools = [("a", weight, "a.jsonl"), ("b", 1, "b.jsonl")];
        mixed(folder.path(), &MixSpec { seed, validation, ..spec(size, &pools) })
    };
    let first = of(1, 100, 1);
    assert_eq!(first.validation.len(), 80);
    let held_out = first.ledger.sources["a"].held_out;
    assert!((70..130).contains(&held_out), "{held_out} of 1000 at a tenth");
    assert_eq!(first.ledger.sources["a"].available, 1000 - held_out);
    for other in [of(2, 100, 1), of(1, 900, 1), of(1, 100, 4)] {
        assert_eq!(other.validation, first.validation);
        let kept: HashSet<_> = questions(&other.validation).into_iter().collect();
        assert!(questions(&other.train).iter().all(|question| !kept.contains(question)));
    }
    assert_ne!(questions(&of(2, 100, 1).train), questions(&first.train), "another seed is another draw");
}

struct OneSet(PathBuf);

impl DatasetHub for OneSet {
    fn dataset_files(&self, request: &DatasetRequest<'_>) -> Result<HubFiles, HubError> {
        if request.id != "owner/name" || request.revision.is_some() {
            let (id, endpoint) = (request.id.to_owned(), "https://hub".to_owned());
            return Err(HubError::NotFound { kind: "data set", id, endpoint, nearest: Vec::new() });
        }
        Ok(HubFiles { commit: "c0ffee".to_owned(), files: vec![("data/a.jsonl".to_owned(), self.0.clone())] })
    }
}

#[test]
fn hub_data_sets_are_named_by_commit_and_local_paths_win() {
    let folder = folder();
    put(folder.path(), "elsewhere", numbered("枢", 0..3));
    let hub = OneSet(folder.path().join("elsewhere"));
    let context = MixContext { hub: Some(&hub), ..MixContext::new(folder.path()) };
    let take = |path| mix(&spec(2, &[("a", 1, path)]), &context);
    let fetched = take("owner/name").expect("fetched");
    assert_eq!(fetched.train.records()[0].file, "hub:owner/name@c0ffee/data/a.jsonl");
    assert_eq!(fetched.manifest().sources["a"].files[0].file, "hub:owner/name@c0ffee/data/a.jsonl");
    let error = take("owner/other").expect_err("unknown").with_help();
    assert!(error.contains("source `a`: there is no data set `owner/other` at https://hub"), "{error}");
    fs::create_dir_all(folder.path().join("owner/name")).expect("a folder");
    put(folder.path(), "owner/name/b.jsonl", numbered("地", 0..3));
    assert_eq!(take("owner/name").expect("local").train.records()[0].file, "owner/name/b.jsonl");
}

#[test]
fn a_directory_has_splits_and_a_file_has_none() {
    let folder = folder();
    fs::create_dir_all(folder.path().join("set")).expect("a folder");
    put(folder.path(), "set/train.jsonl", numbered("训", 0..6));
    put(folder.path(), "set/test.jsonl", numbered("试", 0..4));
    let mut of_split = spec(4, &[("a", 1, "set")]);
    of_split.sources["a"].parts[0].split = Some("test".to_owned());
    let mixed = mixed(folder.path(), &of_split);
    assert!(mixed.train.iter().all(|record| record.file == "set/test.jsonl"));
    assert_eq!(mixed.ledger.sources["a"].read, 4);
    of_split.sources["a"].parts[0].path = "set/test.jsonl".to_owned();
    let error = mix(&of_split, &MixContext::new(folder.path())).expect_err("one file").with_help();
    assert!(error.contains("`set/test.jsonl` is one file, which has no `split`"), "{error}");
}

#[test]
fn globs_directories_and_overlapping_paths() {
    let folder = folder();
    fs::create_dir_all(folder.path().join("set/deep")).expect("folders");
    put(folder.path(), "set/one.json", numbered("一", 0..5));
    put(folder.path(), "set/deep/two.jsonl.gz", packed(&numbered("二", 0..5)));
    put(folder.path(), "set/readme.md", "not data");
    let read = |paths: &[&str]| {
        let mut spec = spec(1, &[("a", 1, "")]);
        spec.sources["a"] = source(paths);
        mixed(folder.path(), &spec).ledger.sources["a"].read
    };
    assert_eq!(read(&["set"]), 10);
    assert_eq!(read(&["set/*.json"]), 5);
    assert_eq!(read(&["set/**/*.gz"]), 5);
    assert_eq!(read(&["set", "set/one.json", "./set/*.json"]), 10, "a file named twice is read once");
}

#[test]
fn bad_input_names_the_place_and_the_remedy() {
    let folder = folder();
    let good = numbered("题", 0..3);
    put(folder.path(), "empty.jsonl", "");
    put(folder.path(), "truncated.jsonl.gz", &packed(&numbered("题", 0..5000))[..2000]);
    put(folder.path(), "corrupt.jsonl.gz", [&packed(&good)[..10], &[0xff; 40]].concat());
    put(folder.path(), "cut.jsonl", &good[..good.len() - 10]);
    put(
        folder.path(),
        "gbk.jsonl",
        [good.as_bytes(), b"{\"instruction\":\"\xc4\xe3\xba\xc3\",\"output\":\"a\"}\n"].concat(),
    );
    put(folder.path(), "number.jsonl", good.clone() + "{\"instruction\":\"q\",\"output\":7}\n");
    put(folder.path(), "other.jsonl", "{\"topic\":\"q\",\"response\":\"a\"}\n");
    put(folder.path(), "prose.txt", "Once upon a time\nthere was.\n");
    put(folder.path(), "header.csv", "question,answer\n");
    put(folder.path(), "ragged.csv", "question,answer\n1,2\n1,2,3\n");
    fs::create_dir(folder.path().join("nothing")).expect("a folder");
    for (path, place, remedy) in [
        ("empty.jsonl", "empty.jsonl: the file is empty", "fetch it again"),
        ("header.csv", "header.csv: the file holds no records", "fetch it again"),
        ("truncated.jsonl.gz", "the gzip stream ends early: the file is truncated", "fetch or copy the file again"),
        (
            "corrupt.jsonl.gz",
            "corrupt.jsonl.gz:1: record 1: the gzip stream is corrupt",
            "fetch or copy the file again",
        ),
        ("cut.jsonl", "cut.jsonl:3: record 3: not valid JSON", "truncated"),
        ("gbk.jsonl", "gbk.jsonl:4: record 4: not UTF-8 (byte 17", "encoding = \"gb18030\""),
        ("number.jsonl", "number.jsonl:4: record 4: `output` is a number", "write it as a string"),
        (
            "other.jsonl",
            "other.jsonl:1: record 1: no record has the keys of a known layout; this one has `topic`, `response`",
            "output = \"response\"",
        ),
        ("prose.txt", "neither JSON nor a table with a header", "JSON Lines (one object a line)"),
        ("ragged.csv", "ragged.csv:3: record 2: the row has 3 fields, the header 2", "double quotes"),
        ("nothing", "source `a`: the directory `nothing` holds no data files", ".jsonl"),
        ("missing.jsonl", "source `a`: `missing.jsonl` does not exist", "relative to the recipe's folder"),
        ("*.parquet", "source `a`: `*.parquet` matches no file", "relative to the recipe's folder"),
        ("owner/name", "`owner/name` is not a local path, and there is no hub", "local path"),
    ] {
        let error = run(folder.path(), &spec(1, &[("a", 1, path)])).expect_err(path).with_help();
        let (problem, hint) = error.split_once("\n  help: ").expect("a hint");
        assert!(problem.contains(place), "{path}: {problem}");
        assert!(hint.contains(remedy), "{path}: {hint}");
        assert!(!problem.contains("/tmp/") || path == "missing.jsonl", "{problem}");
    }
    let mut unknown = spec(1, &[("a", 1, "cut.jsonl")]);
    unknown.sources.clear();
    assert!(run(folder.path(), &unknown).expect_err("no source").with_help().contains("[sources.a]"));
}

#[test]
fn a_record_without_a_column_that_others_have_is_rejected() {
    let folder = folder();
    put(folder.path(), "a.jsonl", numbered("题", 0..3) + "{\"topic\":\"q\",\"output\":\"a\"}\n");
    let mix = mixed(folder.path(), &spec(3, &[("a", 1, "a.jsonl")]));
    let rejected = &mix.ledger.sources["a"].rejected[&Rejection::Unrecognised];
    assert_eq!((rejected.count, rejected.examples.as_slice()), (1, ["a.jsonl:4".to_owned()].as_slice()));
}

#[test]
fn written_files_agree_with_the_manifest() {
    let folder = folder();
    put(folder.path(), "a.jsonl", numbered("题", 0..50));
    let validation = Validation { fraction: 0.2, max_samples: 5 };
    let mut spec = MixSpec { validation, ..spec(10, &[("a", 1, "a.jsonl")]) };
    spec.sources["a"].parts[0].licence = Some("CC BY-NC 4.0".to_owned());
    spec.sources["a"].parts[0].commercial_use = Some(false);
    let mix = mixed(folder.path(), &spec);
    let out = folder.path().join("out/mix");
    for _ in 0..2 {
        mix.write(&out).expect("written");
    }
    let hash = |path: &Path| blake3::hash(&fs::read(path).expect("readable")).to_hex().to_string();
    assert_eq!(mix.manifest().mix.blake3, hash(&out.join("mix.jsonl")));
    assert_eq!(mix.manifest().validation.blake3, hash(&out.join("validation.jsonl")));
    assert_eq!(mix.manifest().sources["a"].files[0].blake3, hash(&folder.path().join("a.jsonl")));
    assert_eq!(mix.manifest().sources["a"].parts[0].commercial_use, Some(false));
    let read: Vec<MixedRecord> = fs::read_to_string(out.join("mix.jsonl"))
        .expect("readable")
        .lines()
        .map(|line| serde_json::from_str(line).expect("a record"))
        .collect();
    assert_eq!(read, mix.train.records());
    let json = fs::read_to_string(out.join("manifest.json")).expect("readable");
    assert_eq!(serde_json::from_str::<medley_mixture::Manifest>(&json).expect("a manifest"), *mix.manifest());
    let mut names: Vec<_> =
        fs::read_dir(&out).expect("readable").map(|entry| entry.expect("entry").file_name()).collect();
    names.sort();
    assert_eq!(names, ["ledger.json", "manifest.json", "mix.jsonl", "validation.jsonl"]);
}

#[test]
fn the_mix_hash_follows_what_decides_and_nothing_else() {
    let folder = folder();
    put(folder.path(), "a.jsonl", numbered("题", 0..50));
    let base = spec(10, &[("a", 1, "a.jsonl")]);
    let hash = |spec: &MixSpec| mixed(folder.path(), spec).manifest().mix_hash.clone();
    let first = hash(&base);
    let mut renamed = base.clone();
    fs::copy(folder.path().join("a.jsonl"), folder.path().join("b.jsonl")).expect("copied");
    renamed.sources["a"].parts[0].path = "b.jsonl".to_owned();
    renamed.sources["a"].parts[0].licence = Some("MIT".to_owned());
    assert_eq!(hash(&renamed), first);
    assert_ne!(hash(&MixSpec { size: 11, ..base.clone() }), first);
    assert_ne!(hash(&MixSpec { seed: 2, ..base.clone() }), first);
    put(folder.path(), "a.jsonl", numbered("题", 0..51));
    assert_ne!(hash(&base), first);
}

#[test]
fn the_ledger_reads_well() {
    let folder = folder();
    put(folder.path(), "general.jsonl", numbered("通", 0..2000) + &line("空", "").repeat(4) + &numbered("通", 0..2));
    put(folder.path(), "tcm.jsonl", numbered("中", 0..300) + &numbered("通", 0..7));
    let pools = [("general", 9, "general.jsonl"), ("tcm", 1, "tcm.jsonl")];
    let text = mixed(folder.path(), &spec(1500, &pools)).ledger.to_string();
    assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
    insta::assert_snapshot!(text, @r"
    source    read  rejected  exam  copies  elsewhere  held out  available  asked  chosen     share
    ────────────────────────────────────────────────────────────────────────────────────────────────
    general  2,006         4     0       2          0         0      2,000  1,350   1,350   90.00 %
    tcm        307         0     0       0          7         0        300    150     150   10.00 %
    in all   2,313         4     0       2          7         0      2,300  1,500   1,500  100.00 %
    general: 2,006 read as Alpaca (JSON Lines; 1 file)
    general: 4 empty answer (general.jsonl:2001, 2002, 2003, …)
    tcm: 307 read as Alpaca (JSON Lines; 1 file)
    tcm: 7 belong to `general`, which is named first
    ");
}

/// Each record of a pool is as likely to be chosen as any other, however long it is and however often it occurs.
#[test]
fn samples_are_uniform() {
    let folder = folder();
    let (records, size, seeds) = (60usize, 20usize, 300u64);
    let record = |number: usize| line(&"长".repeat(1 + number * 7), "答").repeat(1 + number % 5 * 4);
    put(folder.path(), "a.jsonl", (0..records).map(record).collect::<String>());
    let mut hits: HashMap<String, f64> = HashMap::new();
    for seed in 0..seeds {
        let mix = mixed(folder.path(), &MixSpec { seed, ..spec(size, &[("a", 1, "a.jsonl")]) });
        for question in questions(&mix.train) {
            *hits.entry(question.to_owned()).or_default() += 1.0;
        }
    }
    let share = size as f64 / records as f64;
    let (expected, variance) = (seeds as f64 * share, seeds as f64 * share * (1.0 - share));
    let squares: f64 = hits.values().map(|hits| (hits - expected).powi(2) / variance).sum();
    let chi_square = squares * (records - 1) as f64 / records as f64;
    assert_eq!(hits.len(), records);
    // The 0.01 % and 99.99 % quantiles of chi-square with 59 degrees of freedom.
    assert!((26.0..106.0).contains(&chi_square), "{chi_square}");
}

/// A pool as numbers; equal numbers are copies.
fn pool() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(0..120usize, 60..160)
}

fn what_it_says(mix: &Mix) -> Vec<(String, String, u128)> {
    let said = |record: MixedRecord| {
        let text = record.messages.iter().map(|message| message.content.clone()).collect::<Vec<_>>().join("|");
        (record.source, text, record.key.0)
    };
    mix.train.iter().chain(mix.validation.iter()).map(said).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn order_files_threads_and_packing_change_nothing(
        a in pool(), b in pool(), seed: u64, size in 1..40usize, cut in 0..60usize, threads in 1..5usize,
    ) {
        let folder = folder();
        let path = folder.path();
        put(path, "a.jsonl", numbered("题", a.clone()));
        put(path, "b.jsonl", numbered("题", b.clone()));
        let pools = [("a", 3, "a.jsonl"), ("b", 1, "b.jsonl")];
        let validation = Validation { fraction: 0.1, max_samples: 3 };
        let settings = MixSpec { seed, validation, on_shortage: OnShortage::Shrink, ..spec(size, &pools) };
        let first = mixed(path, &settings);

        fs::create_dir(path.join("split")).expect("a folder");
        let mut shuffled = a.clone();
        shuffled.sort_by_key(|number| (number * 7919 + seed as usize % 1009) % 127);
        let (head, tail) = shuffled.split_at(cut);
        put(path, "split/x.jsonl.gz", packed(&numbered("题", tail.to_vec())));
        if !head.is_empty() {
            let values: Vec<serde_json::Value> =
                numbered("题", head.to_vec()).lines().map(|line| serde_json::from_str(line).expect("json")).collect();
            put(path, "split/y.json", format!("\u{feff}{}", serde_json::to_string_pretty(&values).expect("json")));
        }
        let mut split = settings.clone();
        split.sources["a"] = source(&["split"]);
        let other = mix(&split, &MixContext { threads: Some(threads), ..MixContext::new(path) }).expect("as before");
        prop_assert_eq!(what_it_says(&other), what_it_says(&first));
    }

    #[test]
    fn counts_add_up_and_samples_are_nested(a in pool(), b in pool(), size in 2..40usize) {
        let folder = folder();
        put(folder.path(), "a.jsonl", numbered("题", a) + &line("空", ""));
        put(folder.path(), "b.jsonl", numbered("题", b));
        let pools = [("a", 2, "a.jsonl"), ("b", 1, "b.jsonl")];
        let validation = Validation { fraction: 0.1, max_samples: 3 };
        let of = |size| mixed(folder.path(), &MixSpec { validation, on_shortage: OnShortage::Shrink, ..spec(size, &pools) });
        let (small, large) = (of(size / 2), of(size));
        for line in large.ledger.sources.values() {
            let sum = line.rejected_in_all() + line.exam_items.count + line.duplicates_within
                + line.duplicates_across_in_all() + line.held_out + line.available;
            prop_assert_eq!(line.read, sum);
        }
        prop_assert_eq!(large.train.len() as u64, large.ledger.chosen);
        let inside: HashSet<_> = large.train.iter().map(|record| (record.source, record.key)).collect();
        prop_assert!(small.train.iter().all(|record| inside.contains(&(record.source, record.key))));
        let order: Vec<_> = large.train.iter().map(|record| record.key).filter(|key| small.train.iter().any(|r| r.key == *key)).collect();
        prop_assert_eq!(order, small.train.iter().map(|record| record.key).collect::<Vec<_>>(), "the order is nested too");
        let different: HashSet<_> = large.train.iter().map(|record| content_id(&record.messages)).collect();
        prop_assert_eq!(different.len(), large.train.len());
    }
}

#[test]
fn the_message_columns_of_a_part_override_nothing_else() {
    let folder = folder();
    put(folder.path(), "a.jsonl", numbered("题", 0..5));
    put(folder.path(), "b.jsonl", "{\"q\":\"问\",\"a\":{\"text\":[\"一\",\"二\"]}}\n");
    let columns = Columns { instruction: Some("q".into()), output: Some("a.text".into()), ..Columns::default() };
    let mut spec = spec(6, &[("a", 1, "a.jsonl")]);
    spec.sources["a"].parts.push(SourcePart { path: "b.jsonl".into(), columns, ..SourcePart::default() });
    let mix = mixed(folder.path(), &spec);
    let answer =
        mix.train.iter().find(|record| record.file == "b.jsonl").map(|record| record.messages[1].content.clone());
    assert_eq!(answer.as_deref(), Some("一\n二"));
    assert_eq!(mix.manifest().sources["a"].files.iter().map(|file| file.part).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn an_empty_text_is_no_history() {
    let folder = folder();
    put(folder.path(), "a.jsonl", "{\"instruction\":\"甲？\",\"output\":\"乙\",\"history\":\"\"}\n");
    let mix = mixed(folder.path(), &spec(1, &[("a", 1, "a.jsonl")]));
    assert_eq!(mix.train.records()[0].messages.len(), 2);
    put(folder.path(), "a.jsonl", "{\"instruction\":\"甲？\",\"output\":\"乙\",\"history\":\"丙\"}\n");
    let error = run(folder.path(), &spec(1, &[("a", 1, "a.jsonl")])).expect_err("no list").with_help();
    assert!(error.contains("a.jsonl:1") && error.contains("`history` is a text"), "{error}");
}

/// The records of one file in its order, their turns joined by `|`, and the recognised layout.
fn read_of(name: &str, content: &str) -> Result<(Vec<String>, String), String> {
    let folder = folder();
    put(folder.path(), name, content);
    let epochs = [("a".to_owned(), 1.0)].into_iter().collect();
    let mix =
        run(folder.path(), &MixSpec { epochs, ..spec(0, &[("a", 1, name)]) }).map_err(|error| error.with_help())?;
    let mut records = mix.train.records();
    records.sort_by_key(|record| record.record);
    let turns = |record: &MixedRecord| {
        record.messages.iter().map(|message| message.content.as_str()).collect::<Vec<_>>().join("|")
    };
    let layouts = mix.ledger.sources["a"].read_as.iter().map(|as_| as_.layout.clone());
    Ok((records.iter().map(turns).collect(), layouts.collect::<Vec<_>>().join("; ")))
}

/// Files of one object as other programs write them, and records that are lists.
#[test]
fn files_of_one_object_and_of_lists_are_read() {
    let pairs = vec!["一|二".to_owned(), "三|四".to_owned()];
    for (content, layout) in [
        (r#"{"instruction":["一","三"],"output":["二","四"]}"#, "JSON by column"),
        (r#"{"question":["一","三"],"input":["",""],"answer":["二","四"],"id":[1,2]}"#, "JSON by column"),
        (r#"{"prompt":{"0":"一","1":"三"},"completion":{"0":"二","1":"四"}}"#, "JSON of pandas, columns"),
        (
            r#"{"columns":["question","answer"],"index":[0,1],"data":[["一","二"],["三","四"]]}"#,
            "JSON of pandas, split",
        ),
        (
            r#"{"schema":{"fields":[]},"data":[{"index":0,"query":"一","response":"二"},{"query":"三","response":"四"}]}"#,
            "JSON object, records in `data`",
        ),
        (
            r#"{"version":"1","data":[{"instruction":"一","output":"二"},{"instruction":"三","output":"四"}]}"#,
            "JSON object, records in `data`",
        ),
        (
            r#"{"train":[{"messages":[{"role":"user","content":"一"},{"role":"assistant","content":"二"}]},
                {"messages":[{"role":"user","content":"三"},{"role":"assistant","content":"四"}]}]}"#,
            "JSON object, records in `train`",
        ),
        (
            r#"{"messages":[[{"role":"user","content":"一"},{"role":"assistant","content":"二"}],
                [{"role":"user","content":"三"},{"role":"assistant","content":"四"}]]}"#,
            "JSON by column",
        ),
        (
            "[{\"role\":\"user\",\"content\":\"一\"},{\"role\":\"assistant\",\"content\":\"二\"}]\n\
             [{\"role\":\"user\",\"content\":\"三\"},{\"role\":\"assistant\",\"content\":\"四\"}]\n",
            "JSON Lines",
        ),
        (
            "[[{\"from\":\"human\",\"value\":\"一\"},{\"from\":\"gpt\",\"value\":\"二\"}],
              [{\"from\":\"human\",\"value\":\"三\"},{\"from\":\"gpt\",\"value\":\"四\"}]]",
            "JSON array",
        ),
        (
            "{\n\"x\": {\"instruction\":\"一\",\"output\":\"二\"},\n\"y\": {\"instruction\":\"三\",\"output\":\"四\"}}",
            "JSON object of records",
        ),
    ] {
        assert_eq!(read_of("a.json", content), Ok((pairs.clone(), layout.to_owned())), "{content}");
    }
    let one =
        r#"{"id": 7, "description":"文","QA_pairs":[{"question":"一","answer":"二"},{"question":"三","answer":"四"}]}"#;
    assert_eq!(read_of("a.json", one).expect("one record").0, ["一\n文|二|三|四"], "a record of its own");
    let history = "instruction,output,history\n三,四,\"[[\"\"一\"\",\"\"二\"\"]]\"\n";
    assert_eq!(read_of("a.csv", history).expect("a cell of JSON").0, ["一|二|三|四"]);
}

/// An object longer than the sample by which the layout is recognised.
#[test]
fn a_large_file_of_one_object_is_read_whole() {
    let question = |number: usize| format!("{number}{}", "问".repeat(1000));
    let rows: Vec<_> =
        (0..400).map(|number| serde_json::json!({"instruction": question(number), "output": "答"})).collect();
    let wrapped = serde_json::json!({ "version": 1, "data": rows }).to_string();
    assert!(wrapped.len() > 1 << 20);
    let (turns, _) = read_of("a.json", &wrapped).expect("a wrapper");
    assert_eq!((turns.len(), turns[399].starts_with("399问")), (400, true));
    let first = serde_json::json!({"instruction": "长".repeat(200_000), "output": "答"}).to_string();
    let (turns, layout) = read_of("a.jsonl", &format!("{first}\n{}", line("一", "二"))).expect("lines");
    assert_eq!((turns.len(), layout.as_str()), (2, "JSON Lines"), "a long first record is no file of one object");
}

#[test]
fn what_no_record_can_be_made_of_is_named_for_what_it_is() {
    for (name, content, expected) in [
        (
            "a.json",
            r#"{"train":[{"instruction":"一","output":"二"}],"test":[{"instruction":"三","output":"四"}]}"#,
            "one JSON object with several lists of records: `train` (1), `test` (1)",
        ),
        ("a.json", r#"[["一","二"],["三","四"]]"#, "a list of values, and nothing says what each of them is"),
        (
            "a.jsonl",
            r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a","loss_scale":0.3}]}"#,
            "turn 2 of `messages`: `loss_scale` is 0.3",
        ),
        ("a.csv", "c_id,role,message\n0,user,甲\n0,assistant,乙\n", "each record is one turn (`role`, `message`)"),
        ("a.jsonl", "{\"prompt\":\"q\",\"chosen\":\"a\",\"rejected\":\"b\"}\n", "output = \"chosen\""),
        (
            "a.jsonl",
            "{\"instruction\":[\"一\",\"三\"],\"output\":[\"二\",\"四\"]}\n{\"instruction\":[\"五\",\"七\"],\"output\":[\"六\",\"八\"]}\n",
            "2 lists of questions and answers in one record: a.jsonl:1, 2",
        ),
        (
            "a.jsonl",
            "{\"prompt\":\"q\",\"completion\":\"a\",\"label\":0}\n{\"prompt\":\"q\",\"completion\":\"a\",\"label\":2}\n",
            "`label` is 0 or \"false\" in some records",
        ),
    ] {
        let message = read_of(name, content).expect_err("refused");
        assert!(message.contains(expected), "{content}: {message}");
    }
}

/// A mix without samples is an error, whatever the reason.
#[test]
fn a_mix_without_samples_is_refused() {
    let folder = folder();
    put(folder.path(), "bad.jsonl", line("问", "") + &line("", "答"));
    put(folder.path(), "one.jsonl", line("问", "答"));
    let epochs = |share: f64| [("a".to_owned(), share)].into_iter().collect();
    let of = |path| spec(0, &[("a", 1, path)]);
    let shrinks = MixSpec { on_shortage: OnShortage::Shrink, ..spec(5, &[("a", 1, "bad.jsonl")]) };
    let held_out = Validation { fraction: 1.0, max_samples: 1 };
    for (spec, expected) in [
        (MixSpec { epochs: epochs(1.0), ..of("bad.jsonl") }, "pool `a`: 2 read, 2 rejected (1 empty question"),
        (MixSpec { epochs: epochs(0.1), ..of("one.jsonl") }, "pool `a`: 1 read"),
        (MixSpec { epochs: epochs(1.0), validation: held_out, ..of("one.jsonl") }, "1 held out for validation"),
        (shrinks, "pool `a` has 0 records to choose from"),
    ] {
        let message = run(folder.path(), &spec).expect_err("nothing is left").with_help();
        assert!(message.contains(expected), "{message}");
    }
}
