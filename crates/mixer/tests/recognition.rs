//! Real sets in the formats their publishers chose, imported by recognition alone. `MEDLEY_TEST_DATA` names their folder;
//! without it these tests are skipped, loudly.

use std::path::PathBuf;

use medley_mixer::{MixContext, mix};
use medley_mixture::Rejection::{
    AnswerNotAmongOptions, EmptyAnswer, EmptyQuestion, FailedGeneration, KeyCutShort, TooFewOptions,
};
use medley_mixture::{
    Columns, MixSpec, MixtureNode, MixtureRatio, OnShortage, Rejection, SourceLedger, SourcePart, SourceSpec,
    Validation,
};

fn data() -> Option<PathBuf> {
    let data = std::env::var_os("MEDLEY_TEST_DATA").map(PathBuf::from);
    if data.is_none() {
        eprintln!("SKIPPED: MEDLEY_TEST_DATA is not set, so no real file was recognised");
    }
    data
}

/// What the mixer makes of one part.
fn ledger(data: &std::path::Path, part: SourcePart) -> SourceLedger {
    let name = part.path.clone();
    let node = MixtureNode { name: "set".to_owned(), ratio: MixtureRatio::Source("set".to_owned()) };
    let spec = MixSpec {
        size: 1,
        seed: 1,
        ratio: MixtureRatio::Group(vec![(1, node)]),
        on_shortage: OnShortage::Error,
        validation: Validation { fraction: 0.0, max_samples: 0 },
        sources: [("set".to_owned(), SourceSpec { parts: vec![part], ..SourceSpec::default() })].into_iter().collect(),
        ..MixSpec::default()
    };
    let mixed = mix(&spec, &MixContext::new(data)).unwrap_or_else(|error| panic!("{name}: {error}"));
    mixed.ledger.sources["set"].clone()
}

fn plain(path: &str) -> SourcePart {
    SourcePart { path: path.to_owned(), ..SourcePart::default() }
}

/// Path, records read, what they are read as (shape, layout), and what is rejected.
type Expected = (&'static str, u64, &'static [(&'static str, &'static str, u64)], &'static [(Rejection, u64)]);

const QUERY: &str = "`query` and `response`";
const QUESTION: &str = "`question` and `answer`";

#[rustfmt::skip]
const SETS: &[Expected] = &[
    ("general/hikariming_alpaca_zh.jsonl.gz", 17_476, &[("Alpaca", "JSON Lines, gzip", 17_476)], &[(EmptyAnswer, 8)]),
    ("general/hikariming_supplement_zh.jsonl.gz", 10_282, &[("Alpaca", "JSON Lines, gzip", 10_282)], &[(EmptyQuestion, 1), (EmptyAnswer, 1)]),
    ("general/alpaca_zh_demo.json", 1_000, &[("Alpaca", "JSON array", 1_000)], &[]),
    ("medical-western/huatuo_llama_med.jsonl.gz", 8_658, &[("Alpaca", "JSON Lines, gzip", 8_658)], &[]),
    ("medical-western/huatuo_liver_cancer.json.gz", 1_000, &[("Alpaca", "JSON array, gzip", 1_000)], &[]),
    ("medical-western/med_chatglm_train.jsonl.gz", 7_622, &[("`context` and `target`", "JSON Lines, gzip", 7_622)], &[]),
    ("medical-western/toyhom_internal_medicine_sample.gbk.csv.gz", 7_644, &[("`ask` and `answer`", "CSV, gzip, GB18030", 7_644)], &[]),
    ("medical-western/cmtmedqa_test_multiturn.json.gz", 1_144, &[("Alpaca", "JSON array, gzip", 1_000), ("`instruct` and `output`", "JSON array, gzip", 144)], &[]),
    ("medical-western/huatuo26m_test.json.gz", 6_000, &[("Alpaca", "JSON array, gzip", 6_000)], &[]),
    ("medical-western/medicalgpt_sharegpt_1k.jsonl", 1_000, &[("conversations", "JSON Lines", 1_000)], &[]),
    ("medical-western/medquad_en.jsonl.gz", 16_407, &[(QUESTION, "JSON Lines, gzip", 16_407)], &[]),
    ("medical-tcm/tcm_dataset_extracted.jsonl.gz", 11_349, &[("exam items", "JSON Lines, gzip", 11_349)], &[]),
    ("medical-tcm/tcm_dataset_generated.jsonl.gz", 2_401, &[("exam items", "JSON Lines, gzip", 2_374), ("failed generations", "JSON Lines, gzip", 27)], &[(FailedGeneration, 27)]),
    ("medical-tcm/biancang_ChP_*.jsonl.gz", 2_602, &[(QUERY, "JSON Lines, gzip", 2_602)], &[]),
    ("medical-tcm/tcmchat_rc.json.gz", 500, &[("Alpaca", "JSON array, gzip", 500)], &[]),
    ("medical-tcm/tcmchat_medical_case.json.gz", 500, &[("Alpaca", "JSON array, gzip", 500)], &[]),
    ("medical-tcm/tcmchat_recommend.json.gz", 500, &[("Alpaca", "JSON array, gzip", 500)], &[]),
    ("medical-tcm/mtcmb_TCM-CHGD.jsonl", 100, &[("cases", "JSON Lines", 100)], &[]),
    ("medical-tcm/mtcmb_TCM-Diagnosis.jsonl", 200, &[(QUESTION, "JSON Lines", 200)], &[]),
    ("medical-tcm/mtcmb_TCM-FRD.jsonl", 200, &[(QUESTION, "JSON Lines", 200)], &[]),
    ("medical-tcm/mtcmb_TCM-FT.jsonl", 100, &[("`question` and `points`", "JSON Lines", 100)], &[]),
    ("medical-tcm/mtcmb_TCM-LitData.jsonl", 100, &[("passages with questions", "JSON Lines", 100)], &[]),
    ("medical-tcm/mtcmb_TCM-MSDD.jsonl", 100, &[("cases", "JSON Lines", 100)], &[]),
    ("medical-tcm/mtcmb_TCM-PR.jsonl", 100, &[("cases", "JSON Lines", 100)], &[]),
    ("exams/cmb_exam_labelled.jsonl.gz", 1_158, &[("exam items", "JSON Lines, gzip", 1_158)], &[]),
    ("exams/cmb_train_sample_1000.jsonl", 1_000, &[("exam items", "JSON Lines", 1_000)], &[(AnswerNotAmongOptions, 1), (KeyCutShort, 95)]),
    ("exams/cmexam_val.csv.gz", 6_811, &[("exam items", "CSV, gzip", 6_811)], &[(AnswerNotAmongOptions, 1), (TooFewOptions, 2)]),
    ("exams/medqa_mainland_test.jsonl.gz", 3_426, &[("exam items", "JSON Lines, gzip", 3_426)], &[]),
    ("exams/mtcmb_TCM-ED-A.jsonl", 1_200, &[("exam items", "JSON Lines", 1_200)], &[]),
    ("exams/tcmchat_choice_formula_500.csv", 500, &[("exam items", "CSV", 500)], &[]),
    ("exams/yaojishi_2021.json", 480, &[("exam items", "JSON array", 480)], &[(TooFewOptions, 9)]),
    ("exams/cmb_clin_qa_74.json", 74, &[("passages with questions", "JSON array", 74)], &[]),
];

#[test]
fn every_training_set_imports_with_its_publishers_counts() {
    let Some(data) = data() else { return };
    let mut wrong = Vec::new();
    for (path, read, shapes, rejected) in SETS {
        let line = ledger(&data, plain(path));
        let found: Vec<_> =
            line.read_as.iter().map(|as_| (as_.shape.as_str(), as_.layout.as_str(), as_.records)).collect();
        let reasons: Vec<_> = line.rejected.iter().map(|(reason, counted)| (*reason, counted.count)).collect();
        if (line.read, found.as_slice(), reasons.as_slice()) != (*read, *shapes, *rejected) {
            wrong.push(format!("{path}: {} read as {found:?}, rejected {:?}", line.read, line.rejected));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// GB18030 is recognised in Chinese texts of every kind, from lists of rare herbs to exams and dialogues.
#[test]
fn every_chinese_set_is_recognised_in_gb18030() {
    let Some(data) = data() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mut wrong = Vec::new();
    for (path, read, ..) in
        SETS.iter().filter(|(path, ..)| !path.contains('*') && !path.contains("_en") && !path.contains("gbk"))
    {
        let mut text = String::new();
        let file = std::fs::File::open(data.join(path)).expect("the set");
        let mut file: Box<dyn std::io::Read> =
            if path.ends_with(".gz") { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) };
        std::io::Read::read_to_string(&mut file, &mut text).expect("UTF-8");
        let (bytes, _, lost) = encoding_rs::GB18030.encode(&text);
        assert!(!lost, "{path}");
        let name = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".gz");
        std::fs::write(folder.path().join(name), &bytes).expect("written");
        let line = ledger(folder.path(), plain(name));
        let is_ascii = text.is_ascii();
        let encoded = line.read_as.iter().all(|read_as| is_ascii || read_as.layout.contains("GB18030"));
        if line.read != *read || !encoded {
            wrong.push(format!("{path}: {} of {read} read as {:?}", line.read, line.read_as));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Both languages of a bilingual set, by one line each.
#[test]
fn a_columns_line_reads_what_cannot_be_recognised() {
    let Some(data) = data() else { return };
    for (language, empty) in [("zh", 50), ("en", 49)] {
        let name = |column: &str| Some(format!("{language}_{column}"));
        let columns = Columns {
            instruction: name("instruction"),
            input: name("input"),
            output: name("output"),
            ..Columns::default()
        };
        let line = ledger(&data, SourcePart { columns, ..plain("general/alpaca_chinese_52k_v3.jsonl.gz") });
        assert_eq!((line.read, line.rejected[&EmptyAnswer].count), (52_002, empty), "{language}");
    }
}
