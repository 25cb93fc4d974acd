use std::path::PathBuf;

use medley_mixture::SourcePart;

use crate::{letter_leak, load_papers};

/// The folder of real data, or a loud skip.
fn real_data() -> Option<PathBuf> {
    let folder = std::env::var_os("MEDLEY_TEST_DATA").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("SKIPPED: set MEDLEY_TEST_DATA to the folder of real data to run this test");
    }
    folder
}

fn load(folder: &std::path::Path, name: &str) -> crate::Papers {
    let part = SourcePart { path: format!("exams/{name}"), ..SourcePart::default() };
    load_papers(&[part], folder, None).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_labelled_cmb_item_loads_into_the_six_exams() {
    let Some(folder) = real_data() else { return };
    let papers = load(&folder, "cmb_exam_labelled.jsonl.gz");
    eprintln!("{:?}", papers.files);
    assert_eq!(papers.items.len(), 1158);
    let count = |exam: &str| papers.items.iter().filter(|item| item.exam == exam).count();
    assert_eq!(medley_run::report::EXAMS.map(count), [763, 27, 43, 40, 205, 80]);
    assert!(papers.items.iter().flat_map(|item| &item.options).all(|option| !option.text.is_empty()));
}

#[test]
fn the_cut_keys_of_the_cmb_sample_are_refused() {
    let Some(folder) = real_data() else { return };
    let papers = load(&folder, "cmb_train_sample_1000.jsonl");
    eprintln!("{:?}", papers.files);
    assert_eq!(papers.files[0].refused.get(super::CUT_KEY), Some(&95));
}

#[test]
fn no_real_explanation_keeps_a_letter_that_leaks() {
    let Some(folder) = real_data() else { return };
    for name in ["cmb_exam_labelled.jsonl.gz", "cmexam_val.csv.gz", "yaojishi_2021.json"] {
        let papers = load(&folder, name);
        let file = &papers.files[0];
        eprintln!("{name}: {} items, mended {:?}, refused {:?}", file.items, file.mended, file.refused);
        let leaks: Vec<_> =
            papers.items.iter().flat_map(|item| &item.passages).filter_map(|text| letter_leak(text)).collect();
        assert_eq!(leaks, Vec::<String>::new(), "{name}");
        let stripped = file.mended.get(super::STRIPPED).copied().unwrap_or(0);
        let dropped = file.mended.get(super::LEAKING).copied().unwrap_or(0);
        assert!(stripped > 100, "{name}: {stripped}");
        assert!(50 * dropped <= stripped, "{name}: {dropped} passages dropped, {stripped} cleaned");
    }
}
