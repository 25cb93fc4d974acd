//! Filters and cleaning: what is left out, that it is counted, and that it never depends on the draw.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use medley_mixer::{Mix, MixContext, audit, mix};
use medley_mixture::{
    Boilerplate, Bounds, Columns, Contamination, ContaminationAction, ExamItem, FilterSpec, Html, KeywordSplit,
    Language, MixSpec, MixtureNode, MixtureRatio, NearDuplicates, OnShortage, Patterns, Rejection, SourceLedger,
    SourcePart, SourceSpec, Take, Validation,
};
use proptest::prelude::*;
use serde_json::json;

fn data() -> Option<PathBuf> {
    let data = std::env::var_os("MEDLEY_TEST_DATA").map(PathBuf::from);
    if data.is_none() {
        eprintln!("SKIPPED: MEDLEY_TEST_DATA is not set, so nothing was checked against real data");
    }
    data
}

/// A mix of as many records as there are (at most `size`) of these pools at equal weights, nothing held out.
fn spec(size: usize, pools: Vec<(&str, SourceSpec)>) -> MixSpec {
    let leaf = |name: &str| MixtureNode { name: name.to_owned(), ratio: MixtureRatio::Source(name.to_owned()) };
    MixSpec {
        size,
        seed: 7,
        ratio: MixtureRatio::Group(pools.iter().map(|(name, _)| (1, leaf(name))).collect()),
        on_shortage: OnShortage::Shrink,
        validation: Validation { fraction: 0.0, max_samples: 0 },
        sources: pools.into_iter().map(|(name, source)| (name.to_owned(), source)).collect(),
        ..MixSpec::default()
    }
}

fn filtered(path: &str, filter: FilterSpec) -> SourceSpec {
    let part = SourcePart { path: path.to_owned(), filter, ..SourcePart::default() };
    SourceSpec { parts: vec![part], ..SourceSpec::default() }
}

fn run(folder: &Path, spec: &MixSpec) -> Mix {
    let context = MixContext { threads: Some(2), ..MixContext::new(folder) };
    mix(spec, &context).unwrap_or_else(|error| panic!("{error}"))
}

fn line(mix: &Mix) -> &SourceLedger {
    let line = &mix.ledger.sources["a"];
    let gone = line.rejected_in_all()
        + line.exam_items.count
        + line.duplicates_within
        + line.near_duplicates.count
        + line.held_out
        + line.beyond_cap;
    assert_eq!(line.read, gone + line.duplicates_across_in_all() + line.available, "the counts add up");
    for counted in line.rejected.values() {
        assert!(counted.excerpts.is_empty() || counted.excerpts.len() == counted.examples.len());
    }
    line
}

fn rejected(mix: &Mix, reason: Rejection) -> u64 {
    line(mix).rejected.get(&reason).map_or(0, |counted| counted.count)
}

fn put(folder: &Path, name: &str, records: &[serde_json::Value]) {
    let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
    fs::write(folder.join(name), lines).expect("written");
}

#[test]
fn conditions_on_a_records_own_fields() {
    let folder = tempfile::tempdir().expect("a folder");
    let record = |number: usize, score: serde_json::Value| json!({"question": format!("问题{number}"), "answer": "答", "metadata": {"score": score}, "tags": ["x", "y"]});
    let records = [
        record(1, json!(5)),
        record(2, json!(3)),
        record(3, json!("4")),
        record(4, json!(null)),
        json!({"question": "问", "answer": "答"}),
    ];
    put(folder.path(), "a.jsonl", &records);
    let scores = || FilterSpec {
        conditions: Some(vec!["metadata.score >= 4".into(), "tags.1 == 'y'".into()]),
        ..FilterSpec::default()
    };
    let mix = run(folder.path(), &spec(9, vec![("a", filtered("a.jsonl", scores()))]));
    let line = line(&mix);
    assert_eq!((line.available, rejected(&mix, Rejection::ConditionNotMet)), (2, 1));
    let missing = &line.rejected[&Rejection::ConditionFieldMissing];
    assert_eq!(
        (missing.count, missing.examples.as_slice()),
        (2, ["a.jsonl:4".to_owned(), "a.jsonl:5".to_owned()].as_slice())
    );
    assert_eq!(missing.excerpts, ["问题4", "问"]);
    assert_eq!(missing.details["metadata.score >= 4"], 2);
    let told = |place: &str, spec: &MixSpec| {
        let context = MixContext::new(folder.path());
        medley_mixer::lineage::explain(place, spec, &context).unwrap_or_else(|error| panic!("{error}")).steps.join("\n")
    };
    let asked = spec(9, vec![("a", filtered("a.jsonl", scores()))]);
    assert_eq!(told("a.jsonl:2", &asked), "left out of `a`: not what `where` asks for [metadata.score >= 4]: 问题2");
    let shown = mix.ledger.to_string();
    assert!(shown.contains("a: 1 not what `where` asks for [metadata.score >= 4 1] (a.jsonl:2)"), "{shown}");
}

#[test]
fn a_cap_takes_the_smallest_keys_whatever_the_size() {
    let folder = tempfile::tempdir().expect("a folder");
    let records: Vec<_> = (0..50).map(|number| json!({"question": format!("问{number}"), "answer": "答"})).collect();
    put(folder.path(), "a.jsonl", &records);
    let capped = |size, max_records| {
        let source = SourceSpec { max_records, ..filtered("a.jsonl", FilterSpec::default()) };
        let mix = run(folder.path(), &spec(size, vec![("a", source)]));
        let keys: BTreeSet<_> = mix.train.iter().map(|record| record.key).collect();
        (keys, line(&mix).beyond_cap)
    };
    let (ten, beyond) = capped(40, Some(10));
    assert_eq!((ten.len(), beyond), (10, 40));
    assert_eq!(ten, capped(10, None).0, "the ten smallest keys of the pool");
    assert!(capped(5, Some(10)).0.is_subset(&ten));
}

#[test]
fn each_setting_changes_the_hash_and_the_default_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    put(folder.path(), "a.jsonl", &[json!({"question": "麻黄的功效？", "answer": "发汗解表，宣肺平喘", "score": 5})]);
    let hash = |source| run(folder.path(), &spec(1, vec![("a", source)])).manifest().mix_hash.clone();
    let bounds = Some(Bounds { min: Some(1), max: None });
    let none = FilterSpec::default();
    let patterns = || Some(Patterns { any: vec!["麻黄".into()], ..Patterns::default() });
    let settings = [
        none.clone(),
        FilterSpec { question_chars: bounds, ..none.clone() },
        FilterSpec { answer_chars: bounds, ..none.clone() },
        FilterSpec { chars: bounds, ..none.clone() },
        FilterSpec { language: Some(vec![Language::Zh]), ..none.clone() },
        FilterSpec { html: Some(Html::Strip), ..none.clone() },
        FilterSpec { html: Some(Html::Drop), ..none.clone() },
        FilterSpec { boilerplate: Some(Boilerplate::Drop), ..none.clone() },
        FilterSpec { require: patterns(), ..none.clone() },
        FilterSpec { reject: Some(Patterns { any: vec!["桂枝".into()], ..Patterns::default() }), ..none.clone() },
        FilterSpec { conditions: Some(vec!["score >= 4".into()]), ..none.clone() },
        FilterSpec { keywords: Some(KeywordSplit::default()), ..none.clone() },
    ];
    let mut hashes: Vec<String> = settings.into_iter().map(|filter| hash(filtered("a.jsonl", filter))).collect();
    hashes.push(hash(SourceSpec { max_records: Some(3), ..filtered("a.jsonl", none.clone()) }));
    assert_eq!(hashes.iter().collect::<HashSet<_>>().len(), hashes.len());
    assert_eq!(serde_json::to_value(filtered("a.jsonl", none)).expect("JSON").to_string().find("filter"), None);
}

const CASE: &str = "患者男性四十五岁反复上腹部疼痛三年加重一周伴黑便应当首选的检查方法是什么";

fn case() -> ExamItem {
    let option = |text: &str| text.to_owned();
    ExamItem {
        id: "physician-1".into(),
        options: vec![option("胃镜检查"), option("钡餐透视")],
        ..ExamItem::asking(CASE)
    }
}

fn examined(folder: &Path, spec: &MixSpec, items: &[ExamItem]) -> Mix {
    let context = MixContext { exam_items: items, threads: Some(2), ..MixContext::new(folder) };
    mix(spec, &context).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn records_that_share_text_with_the_exam_are_left_out_or_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let start: String = CASE.chars().take(25).collect();
    let records = [
        json!({"question": "请出一道题", "answer": format!("好的：{start}，怎么办？")}),
        json!({"question": format!("{CASE}？"), "answer": "胃镜"}),
        json!({"question": "上腹部疼痛怎么办", "answer": "患者男性四十五岁，反复上腹部疼痛"}),
    ];
    put(folder.path(), "a.jsonl", &records);
    let with =
        |contamination| MixSpec { contamination, ..spec(3, vec![("a", filtered("a.jsonl", FilterSpec::default()))]) };
    let dropped = examined(folder.path(), &with(Contamination::default()), &[case()]);
    assert_eq!((line(&dropped).exam_items.count, rejected(&dropped, Rejection::SharesExamText)), (1, 1));
    let counted = &line(&dropped).rejected[&Rejection::SharesExamText];
    assert_eq!(
        (counted.examples[0].as_str(), counted.excerpts[0].as_str()),
        ("a.jsonl:1", format!("好的：{start}，怎么办？").as_str())
    );
    let report = Contamination { action: ContaminationAction::Report, ..Contamination::default() };
    let reported = examined(folder.path(), &with(report), &[case()]);
    assert_eq!((line(&reported).available, line(&reported).noted[&Rejection::SharesExamText].count), (2, 1));
    let longer = Contamination { ngram_characters: 30, ..Contamination::default() };
    assert_eq!(rejected(&examined(folder.path(), &with(longer), &[case()]), Rejection::SharesExamText), 0);

    let pairs =
        audit(&with(report), &MixContext { exam_items: &[case()], ..MixContext::new(folder.path()) }).expect("audited");
    let found: Vec<_> = pairs.iter().map(|pair| (pair.line, pair.found, &pair.text[pair.shared.clone()])).collect();
    assert_eq!(found, [(1, "shared run", start.as_str()), (2, "same question", CASE)]);
    assert_eq!(&pairs[0].exam_text[pairs[0].exam_shared.clone()], start);
    assert_eq!((pairs[0].source.as_str(), pairs[0].exam_item.as_str(), pairs[0].characters), ("a", "physician-1", 25));
}

/// The exam's questions decide always, its other texts and the settings where they decided something.
#[test]
fn the_hash_follows_what_the_exam_decided() {
    let folder = tempfile::tempdir().expect("a folder");
    let start: String = CASE.chars().take(25).collect();
    put(
        folder.path(),
        "a.jsonl",
        &[json!({"question": "甲", "answer": start}), json!({"question": "乙", "answer": "丙"})],
    );
    put(
        folder.path(),
        "b.jsonl",
        &[json!({"question": "甲", "answer": "丁"}), json!({"question": "乙", "answer": "丙"})],
    );
    let hash = |path: &str, contamination, items: &[ExamItem]| {
        let spec = MixSpec { contamination, ..spec(2, vec![("a", filtered(path, FilterSpec::default()))]) };
        examined(folder.path(), &spec, items).manifest().mix_hash.clone()
    };
    let other_options = ExamItem { options: vec!["腹部平片".into()], ..case() };
    let default = Contamination::default();
    assert_eq!(hash("b.jsonl", default, &[case()]), hash("b.jsonl", default, std::slice::from_ref(&other_options)));
    let mut hashes = vec![
        hash("a.jsonl", default, &[case()]),
        hash("a.jsonl", default, &[other_options]),
        hash("a.jsonl", Contamination { ngram_words: 12, ..default }, &[case()]),
        hash("a.jsonl", Contamination { ngram_characters: 21, ..default }, &[case()]),
        hash("a.jsonl", Contamination { passages: true, ..default }, &[case()]),
        hash("a.jsonl", Contamination { action: ContaminationAction::Report, ..default }, &[case()]),
        hash("a.jsonl", default, &[]),
        hash("b.jsonl", default, &[case()]),
    ];
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), 8);
}

#[test]
fn near_duplicates_belong_to_the_pool_named_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let long =
        "麻黄汤由麻黄桂枝杏仁甘草四味药组成，功能发汗解表，宣肺平喘，主治外感风寒表实证，恶寒发热，头身疼痛，无汗而喘";
    put(
        folder.path(),
        "a.jsonl",
        &[json!({"question": "麻黄汤", "answer": long}), json!({"question": "桂枝汤", "answer": "解肌发表"})],
    );
    let near = [
        json!({"question": "麻黄汤", "answer": format!("{long}。舌苔薄白")}),
        json!({"question": "银翘散", "answer": "辛凉透表"}),
    ];
    put(folder.path(), "b.jsonl", &near);
    let pools =
        || vec![("a", filtered("a.jsonl", FilterSpec::default())), ("b", filtered("b.jsonl", FilterSpec::default()))];
    let with = MixSpec { near_duplicates: Some(NearDuplicates::default()), ..spec(4, pools()) };
    let mixed = run(folder.path(), &with);
    let b = &mixed.ledger.sources["b"];
    assert_eq!((mixed.ledger.sources["a"].near_duplicates.count, b.near_duplicates.count, b.available), (0, 1, 1));
    assert_eq!(
        (b.near_duplicates.examples[0].as_str(), b.near_duplicates.excerpts[0].as_str()),
        ("b.jsonl:1", "like a.jsonl:1")
    );
    assert!(mixed.ledger.to_string().contains("b: 1 near-duplicates (b.jsonl:1 like a.jsonl:1"), "{}", mixed.ledger);
    let told = medley_mixer::lineage::explain("b.jsonl:1", &with, &MixContext::new(folder.path())).expect("explained");
    assert_eq!((told.in_mix, told.steps[0].starts_with("left out as a near-duplicate")), (false, true), "{told:?}");
    let without = run(folder.path(), &spec(4, pools()));
    assert_eq!(without.ledger.sources["b"].available, 2);
    let other = MixSpec { near_duplicates: Some(NearDuplicates { threshold: 0.9 }), ..spec(4, pools()) };
    let hashes = [&mixed, &without, &run(folder.path(), &other)].map(|mix| mix.manifest().mix_hash.clone());
    assert_eq!(hashes.iter().collect::<HashSet<_>>().len(), 3);
}

/// The words decide, not the file that they come from.
#[test]
fn a_list_in_a_file_is_its_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let records = [json!({"question": "麻黄", "answer": "答"}), json!({"question": "青霉素", "answer": "答"})];
    put(folder.path(), "a.jsonl", &records);
    let of = |list, take| {
        let keywords = Some(KeywordSplit { list, take, at_least: 1 });
        run(folder.path(), &spec(1, vec![("a", filtered("a.jsonl", FilterSpec { keywords, ..FilterSpec::default() }))]))
    };
    fs::write(folder.path().join("words.txt"), "# 药\n麻黄\n 桂枝 \n").expect("written");
    let named = |name: &str| medley_mixture::KeywordList::Named(name.to_owned());
    let inline = medley_mixture::KeywordList::Words(vec!["桂枝".into(), "麻黄".into()]);
    let (file, words) = (of(named("words.txt"), Take::Matching), of(inline, Take::Matching));
    assert_eq!(file.manifest().mix_hash, words.manifest().mix_hash);
    assert_eq!(file.train, words.train);
    assert_eq!(file.manifest().sources["a"].parts[0].keywords, ["桂枝", "麻黄"]);
    assert!(
        file.ledger.to_string().contains("a: heuristic: records that hold at least 1 of the 2 words of `words.txt`")
    );
    fs::write(folder.path().join("words.txt"), "桂枝").expect("written");
    let others = of(named("words.txt"), Take::Others);
    assert_eq!(line(&others).available, 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// Filters run before the draw: a smaller sample lies inside a larger one, and the order of records is nothing.
    #[test]
    fn filtered_samples_are_nested(
        rows in proptest::collection::vec(("[麻黄桂枝头痛a-c]{1,9}", "[发汗解表休息<>]{1,12}", 0..6u8), 20..60),
        small in 1..10usize,
        more in 1..10usize,
        shuffle: u64,
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut records: Vec<_> =
            rows.iter().map(|(q, a, score)| json!({"question": q, "answer": a, "score": score})).collect();
        put(folder.path(), "a.jsonl", &records);
        records.sort_by_key(|record| blake3_of(&record.to_string(), shuffle));
        put(folder.path(), "shuffled.jsonl", &records);
        let filter = FilterSpec {
            question_chars: Some(Bounds { min: Some(2), max: Some(8) }),
            reject: Some(Patterns { answer: vec!["[<>]{2}".into()], ..Patterns::default() }),
            conditions: Some(vec!["score != 3".into()]),
            keywords: Some(KeywordSplit::default()),
            ..FilterSpec::default()
        };
        let keys = |path: &str, size| -> Option<BTreeSet<_>> {
            let context = MixContext { threads: Some(2), ..MixContext::new(folder.path()) };
            let mix = mix(&spec(size, vec![("a", filtered(path, filter.clone()))]), &context).ok()?;
            line(&mix);
            Some(mix.train.iter().map(|record| record.key).collect())
        };
        let (Some(fewer), Some(all)) = (keys("a.jsonl", small), keys("a.jsonl", small + more)) else {
            return Ok(());
        };
        prop_assert!(fewer.is_subset(&all));
        prop_assert_eq!(Some(all), keys("shuffled.jsonl", small + more));
    }
}

fn blake3_of(text: &str, seed: u64) -> u64 {
    text.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(23))
}

fn columns(instruction: &str, input: &str, output: &str) -> Columns {
    let name = |text: &str| Some(text.to_owned());
    Columns { instruction: name(instruction), input: name(input), output: name(output), ..Columns::default() }
}

/// The README of the data counts the scores: 40,701 of 5 and 6,784 of 4, of which 50 have no answer.
#[test]
fn real_scores() {
    let Some(data) = data() else { return };
    let filter = FilterSpec { conditions: Some(vec!["metadata.score >= 4".into()]), ..FilterSpec::default() };
    let mut source = filtered("general/alpaca_chinese_52k_v3.jsonl.gz", filter);
    source.parts[0].columns = columns("zh_instruction", "zh_input", "zh_output");
    let mix = run(&data, &spec(1000, vec![("a", source)]));
    eprintln!("{}", mix.ledger);
    let line = line(&mix);
    let kept = line.read - line.rejected_in_all();
    assert!((47_400..=40_701 + 6_784).contains(&kept), "{kept}");
    assert!(rejected(&mix, Rejection::ConditionFieldMissing) <= 200, "null scores");
    assert!(rejected(&mix, Rejection::ConditionNotMet) >= 4_300);
}

#[test]
fn real_html() {
    let Some(data) = data() else { return };
    let html = |action| FilterSpec { html: Some(action), ..FilterSpec::default() };
    let of = |path: &str, action| run(&data, &spec(100_000, vec![("a", filtered(path, html(action)))]));
    let huatuo = of("medical-western/huatuo26m_test.json.gz", Html::Drop);
    assert_eq!(rejected(&huatuo, Rejection::HtmlRemnant), 8, "seven with <br>, one with &quot;");
    let stripped = of("medical-western/huatuo26m_test.json.gz", Html::Strip);
    assert_eq!(line(&stripped).noted[&Rejection::HtmlRemnant].count, 8);
    let mut texts = stripped.train.iter().flat_map(|record| record.messages);
    assert!(!texts.any(|message| message.content.contains("<br") || message.content.contains("&quot;")));
    let mut classics = filtered("knowledge/tcm_classics_14.jsonl.gz", html(Html::Drop));
    classics.parts[0].columns =
        Columns { instruction: Some("title".into()), output: Some("text".into()), ..Columns::default() };
    let classics = run(&data, &spec(14, vec![("a", classics)]));
    assert_eq!(rejected(&classics, Rejection::HtmlRemnant), 0, "<篇名> is no HTML");

    let mut alpaca = filtered("general/alpaca_chinese_52k_v3.jsonl.gz", html(Html::Drop));
    alpaca.parts[0].columns = columns("zh_instruction", "zh_input", "zh_output");
    let alpaca = run(&data, &spec(1000, vec![("a", alpaca)]));
    eprintln!("{}", alpaca.ledger);
    assert!(rejected(&alpaca, Rejection::HtmlRemnant) <= 12, "its 115 tasks about HTML are none");
}

#[test]
fn real_boilerplate() {
    let Some(data) = data() else { return };
    let filter = || FilterSpec { boilerplate: Some(Boilerplate::Drop), ..FilterSpec::default() };
    let of = |path: &str| run(&data, &spec(100_000, vec![("a", filtered(path, filter()))]));
    for (path, least, most) in [
        ("general/alpaca_zh_demo.json", 25, 60),
        ("general/hikariming_supplement_zh.jsonl.gz", 8, 40),
        ("medical-western/huatuo26m_test.json.gz", 0, 1),
        ("medical-western/toyhom_internal_medicine_sample.gbk.csv.gz", 0, 1),
        ("medical-western/cmtmedqa_test_multiturn.json.gz", 0, 5),
    ] {
        let mix = of(path);
        eprintln!("{}", mix.ledger);
        let found = line(&mix).rejected.get(&Rejection::Boilerplate);
        for excerpt in found.iter().flat_map(|counted| &counted.excerpts) {
            eprintln!("    {excerpt}");
        }
        let count = found.map_or(0, |counted| counted.count);
        assert!((least..=most).contains(&count), "{path}: {count}");
    }
}

/// Matching and others part a file exactly.
#[test]
fn real_split_by_keywords() {
    let Some(data) = data() else { return };
    let side = |take| {
        let keywords = Some(KeywordSplit { take, ..KeywordSplit::default() });
        let source = filtered("medical-western/*_m*.json*.gz", FilterSpec { keywords, ..FilterSpec::default() });
        let mix = run(&data, &spec(100_000, vec![("a", source)]));
        let line = line(&mix);
        let keys: HashSet<_> = mix.train.iter().map(|record| record.key).collect();
        (line.read, line.read - line.rejected_in_all(), keys, mix.ledger.to_string())
    };
    let (matching, others) = (side(Take::Matching), side(Take::Others));
    eprintln!("{}\n{}", matching.3, others.3);
    assert!(matching.2.is_disjoint(&others.2));
    let both = {
        let source = filtered("medical-western/*_m*.json*.gz", FilterSpec::default());
        let mix = run(&data, &spec(100_000, vec![("a", source)]));
        mix.train.iter().map(|record| record.key).collect::<HashSet<_>>()
    };
    assert_eq!(matching.2.union(&others.2).copied().collect::<HashSet<_>>(), both);
    assert!(matching.1 > 0 && others.1 > 0);
}

#[test]
fn real_languages() {
    let Some(data) = data() else { return };
    let of = |path: &str, languages: &[Language]| {
        let filter = FilterSpec { language: Some(languages.to_vec()), ..FilterSpec::default() };
        let mix = run(&data, &spec(100_000, vec![("a", filtered(path, filter))]));
        eprintln!("{path}: {}", mix.ledger);
        let rejected = rejected(&mix, Rejection::OtherLanguage);
        (rejected, line(&mix).read)
    };
    let (rejected, read) = of("medical-western/medquad_en.jsonl.gz", &[Language::En]);
    assert!(rejected * 1000 < read, "{rejected} of {read} English records are taken for others");
    let none = FilterSpec { language: Some(vec![Language::Zh]), ..FilterSpec::default() };
    let none = spec(1, vec![("a", filtered("medical-western/medquad_en.jsonl.gz", none))]);
    let error = mix(&none, &MixContext::new(&data)).expect_err("no English record is Chinese").to_string();
    assert!(error.contains("16407 read, 16407 rejected"), "{error}");
    let (rejected, read) = of("medical-western/huatuo26m_test.json.gz", &[Language::Zh]);
    assert!(rejected * 1000 < read, "{rejected} of {read} Chinese records are taken for others");
}

/// Exam items from a file of JSON objects: an array, or one a line.
fn exam_of(path: &Path, question: &str, options: &str) -> Vec<ExamItem> {
    let bytes = fs::read(path).expect("readable");
    let mut text = String::new();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).expect("gzip");
    } else {
        text = String::from_utf8(bytes).expect("UTF-8");
    }
    let records: Vec<serde_json::Value> = match serde_json::from_str(&text) {
        Ok(records) => records,
        Err(_) => text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect(),
    };
    let item = |(number, record): (usize, &serde_json::Value)| ExamItem {
        id: number.to_string(),
        question: record[question].as_str().unwrap_or_default().to_owned(),
        options: record[options].as_object().map_or_else(Vec::new, |options| {
            options.values().filter_map(|text| text.as_str().map(str::to_owned)).collect()
        }),
        passages: Vec::new(),
    };
    records.iter().enumerate().map(item).collect()
}

/// The README of the data counts stems of eight characters that sets share; a run must be longer, and options count.
#[test]
fn real_contamination() {
    let Some(data) = data() else { return };
    for (exam, question, options, pool, shared) in [
        ("exams/medqa_mainland_test.jsonl.gz", "question", "options", "exams/cmexam_val.csv.gz", 60),
        ("exams/yaojishi_2021.json", "question", "option", "exams/cmexam_val.csv.gz", 36),
        ("exams/mtcmb_TCM-ED-A.jsonl", "question", "options", "medical-tcm/tcm_dataset_extracted.jsonl.gz", 43),
    ] {
        let items = exam_of(&data.join(exam), question, options);
        let with = spec(100_000, vec![("a", filtered(pool, FilterSpec::default()))]);
        let context = MixContext { exam_items: &items, ..MixContext::new(&data) };
        let pairs = audit(&with, &context).unwrap_or_else(|error| panic!("{error}"));
        let same = pairs.iter().filter(|pair| pair.found == "same question").count();
        eprintln!(
            "{exam} in {pool}: {same} ask the same, {} share a run ({shared} stems by the README)",
            pairs.len() - same
        );
        for pair in pairs.iter().filter(|pair| pair.found == "shared run").take(6) {
            eprintln!("    {} characters, {} words: {}", pair.characters, pair.words, &pair.text[pair.shared.clone()]);
        }
        assert!(pairs.len() >= shared / 2, "{exam}: {} found", pairs.len());
        let mixed = examined(&data, &with, &items);
        assert_eq!(line(&mixed).exam_items.count as usize, same);
        assert_eq!(rejected(&mixed, Rejection::SharesExamText) as usize, pairs.len() - same);
    }
}

/// Two sets of one origin: what is near is found, in either order of the files, and nothing that is far.
#[test]
fn real_near_duplicates() {
    let Some(data) = data() else { return };
    let source = |paths: &[&str]| SourceSpec {
        parts: paths.iter().map(|path| SourcePart { path: (*path).to_owned(), ..SourcePart::default() }).collect(),
        ..SourceSpec::default()
    };
    let paths = ["medical-western/huatuo_llama_med.jsonl.gz", "medical-western/med_chatglm_train.jsonl.gz"];
    let of = |paths: &[&str]| {
        let near_duplicates = Some(NearDuplicates::default());
        let mix = run(&data, &MixSpec { near_duplicates, ..spec(100_000, vec![("a", source(paths))]) });
        eprintln!("{}", mix.ledger);
        let texts: BTreeSet<_> = mix.train.iter().map(|record| record.key).collect();
        (line(&mix).near_duplicates.count, texts)
    };
    let (count, kept) = of(&paths);
    assert!(count > 0);
    assert_eq!((count, kept), of(&[paths[1], paths[0]]));
}
