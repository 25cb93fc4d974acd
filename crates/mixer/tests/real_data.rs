//! The bars of the mixer over real Chinese Alpaca, TCM and Western sets. `MEDLEY_TEST_DATA` names their folder; without
//! it these tests are skipped, loudly.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

use medley_mixer::{Mix, MixContext, Samples, mix};
use medley_mixture::{
    Columns, MixSpec, MixedRecord, MixtureNode, MixtureRatio, OnShortage, SourcePart, SourceSpec, Validation,
};

fn data() -> Option<PathBuf> {
    let data = std::env::var_os("MEDLEY_TEST_DATA").map(PathBuf::from);
    if data.is_none() {
        eprintln!("SKIPPED: MEDLEY_TEST_DATA is not set, so nothing was checked against real data");
    }
    data
}

fn columns(instruction: &str, input: Option<&str>, output: &str) -> Columns {
    Columns {
        instruction: Some(instruction.into()),
        input: input.map(Into::into),
        output: Some(output.into()),
        ..Columns::default()
    }
}

fn part(path: &str, columns: Columns) -> SourcePart {
    SourcePart { path: path.into(), columns, ..SourcePart::default() }
}

fn plain(path: &str) -> SourcePart {
    part(path, Columns::default())
}

fn general() -> SourceSpec {
    SourceSpec {
        parts: vec![part(
            "general/alpaca_chinese_52k_v3.jsonl.gz",
            columns("zh_instruction", Some("zh_input"), "zh_output"),
        )],
        ..SourceSpec::default()
    }
}

fn tcm() -> SourceSpec {
    let nested = columns("generated_question.question", None, "generated_question.explanation");
    SourceSpec {
        parts: vec![
            part("medical-tcm/biancang_ChP_*.jsonl.gz", columns("query", None, "response")),
            part("medical-tcm/tcm_dataset_extracted.jsonl.gz", columns("query", None, "answers")),
            part("medical-tcm/tcm_dataset_generated.jsonl.gz", nested),
            plain("medical-tcm/tcmchat_rc.json.gz"),
            plain("medical-tcm/tcmchat_medical_case.json.gz"),
            plain("medical-tcm/tcmchat_recommend.json.gz"),
        ],
        ..SourceSpec::default()
    }
}

fn western() -> SourceSpec {
    let conversations = SourcePart {
        path: "medical-western/medicalgpt_sharegpt_1k.jsonl".into(),
        format: medley_mixture::SourceFormat::Messages,
        ..SourcePart::default()
    };
    SourceSpec {
        parts: vec![
            plain("medical-western/huatuo_llama_med.jsonl.gz"),
            plain("medical-western/huatuo26m_test.json.gz"),
            plain("medical-western/cmtmedqa_test_multiturn.json.gz"),
            conversations,
        ],
        ..SourceSpec::default()
    }
}

fn leaf(name: &str) -> MixtureNode {
    MixtureNode { name: name.into(), ratio: MixtureRatio::Source(name.into()) }
}

fn ratio(general: u64, medical: u64) -> MixtureRatio {
    let medicals = MixtureRatio::Group(vec![(1, leaf("tcm")), (1, leaf("western"))]);
    MixtureRatio::Group(vec![
        (general, leaf("general")),
        (medical, MixtureNode { name: "medical".into(), ratio: medicals }),
    ])
}

fn spec(size: usize, ratio: MixtureRatio) -> MixSpec {
    MixSpec {
        size,
        seed: 42,
        ratio,
        on_shortage: OnShortage::Error,
        validation: Validation::default(),
        sources: [("general".to_owned(), general()), ("tcm".to_owned(), tcm()), ("western".to_owned(), western())]
            .into_iter()
            .collect(),
        ..MixSpec::default()
    }
}

fn mixed(data: &Path, spec: &MixSpec, threads: usize) -> Mix {
    let context = MixContext { threads: Some(threads), ..MixContext::new(data) };
    mix(spec, &context).unwrap_or_else(|error| panic!("{error}"))
}

fn counts<'a>(sources: impl Iterator<Item = &'a str>) -> HashMap<&'a str, usize> {
    let mut counts = HashMap::new();
    sources.for_each(|source| *counts.entry(source).or_default() += 1);
    counts
}

fn sources(samples: &Samples) -> impl Iterator<Item = &str> {
    samples.origins().map(|(source, _)| source)
}

/// What the mix says, without where it was found.
fn texts(samples: &Samples) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in samples.iter() {
        let line = MixedRecord { file: String::new(), line: 0, record: 0, ..record };
        bytes.extend(serde_json::to_vec(&line).expect("a record serialises"));
        bytes.push(b'\n');
    }
    bytes
}

#[test]
fn nine_to_one_is_exact_and_nested() {
    let Some(data) = data() else { return };
    let start = Instant::now();
    let whole = mixed(&data, &spec(2000, ratio(9, 1)), 2);
    eprintln!("mixed in {:?}: {}", start.elapsed(), serde_json::to_string_pretty(&whole.ledger).expect("json"));
    assert_eq!(counts(sources(&whole.train)), HashMap::from([("general", 1800), ("tcm", 100), ("western", 100)]));
    let half = mixed(&data, &spec(1000, ratio(9, 1)), 2);
    let keys: HashSet<_> = whole.train.iter().map(|record| record.key).collect();
    assert_eq!(half.train.len(), 1000);
    assert!(half.train.iter().all(|record| keys.contains(&record.key)));
    assert_eq!(half.validation, whole.validation);
}

#[test]
fn the_general_part_of_four_to_one_lies_inside_that_of_nine_to_one() {
    let Some(data) = data() else { return };
    let of = |mix: &Mix| -> HashSet<_> {
        mix.train.iter().filter(|record| record.source == "general").map(|record| record.key).collect()
    };
    let (nine, four) = (mixed(&data, &spec(2000, ratio(9, 1)), 2), mixed(&data, &spec(2000, ratio(4, 1)), 2));
    assert_eq!((of(&nine).len(), of(&four).len()), (1800, 1600));
    assert!(of(&four).is_subset(&of(&nine)));
}

/// Unpacks, shuffles and splits every file of the sources into parts, some of them packed.
fn reshuffled(data: &Path, to: &Path, spec: &MixSpec) -> MixSpec {
    let mut spec = spec.clone();
    for source in spec.sources.values_mut() {
        for (number, part) in source.parts.iter_mut().enumerate() {
            let pattern = data.join(&part.path);
            let mut records = Vec::new();
            for file in glob::glob(&pattern.to_string_lossy()).expect("a pattern") {
                records.extend(records_of(&file.expect("a file")));
            }
            records.sort_by_cached_key(|record| *blake3::hash(record.to_string().as_bytes()).as_bytes());
            let folder = format!("{}-{number}", part.path.replace(['/', '*', '.'], "_"));
            fs::create_dir(to.join(&folder)).expect("a folder");
            for (index, chunk) in records.chunks(records.len().div_ceil(3)).enumerate() {
                write_chunk(&to.join(&folder), index, chunk);
            }
            part.path = folder;
        }
    }
    spec
}

fn records_of(file: &Path) -> Vec<serde_json::Value> {
    let bytes = fs::read(file).expect("readable");
    let mut text = String::new();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        flate2::read::GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).expect("gzip of UTF-8");
    } else {
        text = String::from_utf8(bytes).expect("UTF-8");
    }
    if text.starts_with('[') {
        return serde_json::from_str(&text).expect("an array");
    }
    text.lines().map(|line| serde_json::from_str(line).expect("a record a line")).collect()
}

/// The first chunk as a pretty array, the second as JSON Lines named .json, the third packed.
fn write_chunk(folder: &Path, index: usize, chunk: &[serde_json::Value]) {
    let lines = chunk.iter().map(|record| format!("{record}\n")).collect::<String>();
    match index {
        0 => fs::write(folder.join("z.json"), serde_json::to_vec_pretty(chunk).expect("json")).expect("written"),
        1 => fs::write(folder.join("a.json"), format!("\u{feff}{lines}")).expect("written"),
        _ => {
            let file = fs::File::create(folder.join("m.jsonl.gz")).expect("created");
            let mut packed = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
            std::io::Write::write_all(&mut packed, lines.as_bytes()).expect("written");
            packed.finish().expect("written");
        }
    }
}

#[test]
fn order_split_compression_and_threads_do_not_matter() {
    let Some(data) = data() else { return };
    let spec = spec(2000, ratio(9, 1));
    let expected = mixed(&data, &spec, 1);
    for threads in [2, 4] {
        let again = mixed(&data, &spec, threads);
        assert_eq!(again, expected, "{threads} threads");
    }
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let reshuffled = reshuffled(&data, elsewhere.path(), &spec);
    let other = mixed(elsewhere.path(), &reshuffled, 3);
    assert!(texts(&other.train) == texts(&expected.train), "another mix after shuffling and splitting");
    assert!(texts(&other.validation) == texts(&expected.validation), "another validation split");
}

#[test]
fn every_tenth_holds_its_share_of_each_source() {
    let Some(data) = data() else { return };
    let mixed = mixed(&data, &spec(2000, ratio(9, 1)), 2);
    let all = counts(sources(&mixed.train));
    for index in 0..10 {
        let here = counts(sources(&mixed.train).skip(index * 200).take(200));
        for (source, total) in &all {
            let (low, high) = hypergeometric_band(2000, *total, 200, 0.999);
            let count = here.get(source).copied().unwrap_or_default();
            assert!((low..=high).contains(&count), "tenth {index}: {count} of {source}, expected {low} to {high}");
        }
    }
}

/// The smallest interval around the middle that holds `level` of the hypergeometric distribution: `draws` out of
/// `population`, of which `marked` are marked.
fn hypergeometric_band(population: usize, marked: usize, draws: usize, level: f64) -> (usize, usize) {
    let ln_factorials: Vec<f64> = (0..=population)
        .scan(0.0, |sum, n| {
            *sum += if n > 0 { (n as f64).ln() } else { 0.0 };
            Some(*sum)
        })
        .collect();
    let ln_choose = |n: usize, k: usize| ln_factorials[n] - ln_factorials[k] - ln_factorials[n - k];
    let probability = |k: usize| {
        let possible = k <= marked && draws - k <= population - marked;
        let ln = || ln_choose(marked, k) + ln_choose(population - marked, draws - k) - ln_choose(population, draws);
        if possible { ln().exp() } else { 0.0 }
    };
    let tail = (1.0 - level) / 2.0;
    let quantile = |values: Vec<usize>| {
        let mut sum = 0.0;
        let beyond_the_tail = |k: &usize| {
            sum += probability(*k);
            sum > tail
        };
        values.into_iter().find(beyond_the_tail).expect("the distribution sums to 1")
    };
    let low = quantile((0..=draws).collect());
    let high = quantile((0..=draws).rev().collect());
    (low, high)
}

/// Nine tenths of Med-ChatGLM's questions stand in Huatuo-Llama as well, wrapped in "问题：…\n回答: ". Unwrapped, every
/// pair that is the same in both sets is found.
#[test]
fn a_set_inside_another_shows_as_duplicates() {
    let Some(data) = data() else { return };
    let elsewhere = tempfile::tempdir().expect("a temporary folder");
    let mut unwrapped = String::new();
    for record in records_of(&data.join("medical-western/med_chatglm_train.jsonl.gz")) {
        let context = record["context"].as_str().expect("a context");
        let question = context.trim_start_matches("问题：").trim_end_matches("\n回答: ");
        unwrapped += &format!("{}\n", serde_json::json!({ "question": question, "answer": record["target"] }));
    }
    fs::write(elsewhere.path().join("chatglm.jsonl"), unwrapped).expect("written");
    let huatuo = data.join("medical-western/huatuo_llama_med.jsonl.gz");
    let parts = |part: SourcePart| SourceSpec { parts: vec![part], ..SourceSpec::default() };
    let spec = MixSpec {
        sources: [
            ("huatuo".to_owned(), parts(plain(&huatuo.to_string_lossy()))),
            ("chatglm".to_owned(), parts(part("chatglm.jsonl", columns("question", None, "answer")))),
        ]
        .into_iter()
        .collect(),
        ..spec(200, MixtureRatio::Group(vec![(1, leaf("chatglm")), (1, leaf("huatuo"))]))
    };
    let mixed = mixed(elsewhere.path(), &spec, 2);
    let line = &mixed.ledger.sources["chatglm"];
    let across = line.duplicates_across["huatuo"];
    eprintln!("chatglm: {line:?}");
    assert!(across * 10 > line.read * 8, "{across} of {}", line.read);
}
