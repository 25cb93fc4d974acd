//! A mix is verified from its sources and must match its lock.

use std::fs;
use std::path::Path;

use medley_files::WithHelp as _;
use medley_mixer::lineage::{Explanation, Lock, Verification, explain, verify};
use medley_mixer::{MixContext, mix};
use medley_mixture::{MixSpec, MixtureNode, MixtureRatio, SourcePart, SourceSpec, Validation};
use proptest::prelude::*;

fn spec(size: usize) -> MixSpec {
    let leaf = |name: &str| MixtureNode { name: name.to_owned(), ratio: MixtureRatio::Source(name.to_owned()) };
    let source = |name: &str| SourceSpec {
        parts: vec![SourcePart { path: format!("{name}*.jsonl"), ..SourcePart::default() }],
        ..SourceSpec::default()
    };
    MixSpec {
        size,
        ratio: MixtureRatio::Group(vec![(2, leaf("a")), (1, leaf("b"))]),
        validation: Validation { fraction: 0.1, max_samples: 5 },
        sources: ["a", "b"].map(|name| (name.to_owned(), source(name))).into_iter().collect(),
        ..MixSpec::default()
    }
}

fn lines(name: &str, count: usize) -> Vec<String> {
    let line = |number: usize| {
        serde_json::json!({ "instruction": format!("{name}问题{number}"), "output": format!("答案{number}") })
            .to_string()
    };
    (0..count).map(line).collect()
}

fn put(folder: &Path, name: &str, lines: &[String]) {
    fs::write(folder.join(name), lines.iter().map(|line| format!("{line}\n")).collect::<String>()).expect("written");
}

fn written(folder: &Path, spec: &MixSpec) {
    put(folder, "a.jsonl", &lines("甲", 60));
    put(folder, "b1.jsonl", &lines("乙", 20));
    put(folder, "b2.jsonl", &lines("丙", 20));
    let mixed = mix(spec, &MixContext::new(folder)).expect("mixed");
    mixed.write(&folder.join("mix")).expect("written");
}

fn checked(folder: &Path, spec: &MixSpec) -> Verification {
    verify(&folder.join("mix"), spec, &MixContext::new(folder)).expect("readable")
}

#[test]
fn what_changed_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    written(folder, &spec(30));
    let found = checked(folder, &spec(30));
    assert!(found.verified && found.problems.is_empty() && found.checked.len() == 2, "{found:?}");
    let other = checked(folder, &MixSpec { seed: 7, ..spec(30) });
    assert!(!other.verified && other.problems[0] == "mix.seed was 42, is 7", "{other:?}");
    let exam = [medley_mixture::ExamItem::asking("甲问题3是什么东西")];
    let asked = MixContext { exam_items: &exam, ..MixContext::new(folder) };
    assert!(!verify(&folder.join("mix"), &spec(30), &asked).expect("readable").verified);
    put(folder, "b2.jsonl", &lines("丙", 21));
    let found = checked(folder, &spec(30));
    assert!(found.problems[0].starts_with("b: b2.jsonl changed (blake3 "), "{found:?}");
    assert!(found.problems[0].ends_with("20 records before, 21 now)"), "{found:?}");
    put(folder, "b2.jsonl", &lines("丙", 20));
    put(folder, "b3.jsonl", &lines("丁", 3));
    assert!(checked(folder, &spec(30)).problems.contains(&"b: b3.jsonl is new".to_owned()));
    fs::remove_file(folder.join("b3.jsonl")).expect("removed");
    assert!(checked(folder, &spec(30)).verified);
    let mixed = fs::read_to_string(folder.join("mix/mix.jsonl")).expect("there");
    fs::write(folder.join("mix/mix.jsonl"), mixed.replacen("问题", "問題", 1)).expect("written");
    let found = checked(folder, &spec(30));
    assert!(found.problems.iter().any(|problem| problem.ends_with("mix.jsonl was changed after it was written")));
}

#[test]
fn a_lock_holds_the_sources() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    written(folder, &spec(30));
    let lock = Lock::read(&folder.join("mix/manifest.json")).expect("a lock");
    // Other settings over the same sources are no business of the lock's.
    let again = mix(&spec(12), &MixContext::new(folder)).expect("mixed");
    lock.check(again.manifest()).expect("the same sources");
    fs::rename(folder.join("b2.jsonl"), folder.join("b9.jsonl")).expect("renamed");
    let renamed = mix(&spec(30), &MixContext::new(folder)).expect("mixed");
    lock.check(renamed.manifest()).expect("the same bytes under another name");
    put(folder, "a.jsonl", &lines("甲", 61));
    let changed = mix(&spec(30), &MixContext::new(folder)).expect("mixed");
    let error = lock.check(changed.manifest()).expect_err("another file").with_help();
    assert!(error.contains("a: a.jsonl changed") && error.contains("help: "), "{error}");
    assert!(!error.contains("b9.jsonl"), "{error}");
}

#[test]
fn a_lock_pins_hub_data_sets() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    written(folder.path(), &spec(30));
    let path = folder.path().join("mix/manifest.json");
    let manifest = fs::read_to_string(&path).expect("there");
    fs::write(&path, manifest.replace("\"b1.jsonl\"", "\"hub:owner/name@0a1b2c/data/b1.jsonl\"")).expect("written");
    let mut spec = spec(30);
    spec.sources["b"].parts[0].path = "owner/name".to_owned();
    Lock::read(&folder.path().join("mix")).expect("a lock").pin(&mut spec);
    assert_eq!(spec.sources["b"].parts[0].revision.as_deref(), Some("0a1b2c"));
    assert_eq!(spec.sources["a"].parts[0].revision, None);
}

fn explained(folder: &Path, target: &str) -> Explanation {
    explain(target, &spec(30), &MixContext::new(folder)).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_record_of_a_mix_and_every_one_that_is_not_is_explained() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    put(
        folder,
        "a.jsonl",
        &[lines("甲", 60), lines("甲", 3), vec![r#"{"instruction":"空","output":""}"#.to_owned()]].concat(),
    );
    put(folder, "b.jsonl", &[lines("乙", 20), lines("甲", 1)].concat());
    let mixed = mix(&spec(30), &MixContext::new(folder)).expect("mixed");
    for (number, record) in mixed.train.iter().enumerate() {
        let found = explained(folder, &record.key.to_string());
        let last = found.steps.last().expect("steps");
        assert!(found.in_mix && *last == format!("in the mix, line {} of mix.jsonl", number + 1), "{found:?}");
        assert_eq!(found.messages, record.messages);
        assert_eq!((&found.places[0].source, found.places[0].line), (&record.source, record.line), "{found:?}");
    }
    for record in mixed.validation.iter() {
        let found = explained(folder, &record.key.to_string());
        assert!(!found.in_mix && found.steps[found.steps.len() - 2].starts_with("held out for validation, as 10 %"));
    }
    // Every record of a pool that could be chosen and is not has a rank beyond what is taken.
    let taken = mixed.ledger.sources["b"].chosen as usize;
    let lines_of_b: Vec<u64> =
        mixed.train.iter().chain(mixed.validation.iter()).filter(|r| r.source == "b").map(|r| r.line).collect();
    let left = (1..=20u64).filter(|line| !lines_of_b.contains(line));
    let mut ranks: Vec<usize> = left
        .filter_map(|line| {
            let found = explained(folder, &format!("b.jsonl:{line}"));
            assert_eq!(found.steps.last().map(String::as_str), Some("not in the mix"), "{found:?}");
            let step = &found.steps[0];
            step.starts_with("key ").then(|| step.split("number ").nth(1)?.split(' ').next()?.parse().ok()).flatten()
        })
        .collect();
    ranks.sort_unstable();
    let available = mixed.ledger.sources["b"].available as usize;
    assert_eq!(ranks, (taken + 1..=available).collect::<Vec<_>>());
    let copy = explained(folder, "b.jsonl:21");
    assert!(copy.steps[1] == "it belongs to `a`, which is named before `b`" && copy.places.len() == 3, "{copy:?}");
    let empty = explained(folder, "a.jsonl:64");
    assert_eq!(empty.steps, ["left out of `a`: empty answer"]);
    let by_path = explained(folder, &format!("{}:64", folder.join("a.jsonl").display()));
    assert_eq!(by_path, empty);
    for (target, message) in
        [("a.jsonl:99", "no source has"), ("nonsense", "no key and no place"), ("a.jsonl:x", "no place")]
    {
        let error = explain(target, &spec(30), &MixContext::new(folder)).expect_err("nothing there").to_string();
        assert!(error.contains(message), "{error}");
    }
}

/// An editor shows the line of a text, not the first line of its record.
#[test]
fn a_record_is_found_by_any_of_its_lines() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let record = |number: usize| format!("  {{\n    \"instruction\": \"问{number}\",\n    \"output\": \"答\"\n  }}");
    let records: Vec<String> = (0..40).map(record).collect();
    fs::write(folder.join("a.jsonl"), format!("[\n{}\n]\n", records.join(",\n"))).expect("written");
    put(folder, "b.jsonl", &lines("乙", 40));
    for line in 2..=161u64 {
        let found = explained(folder, &format!("a.jsonl:{line}"));
        let number = (line - 2) / 4;
        assert_eq!(found.messages[0].content, format!("问{number}"), "line {line}: {found:?}");
        assert_eq!(found.places[0].line, 2 + 4 * number, "line {line}");
    }
    let behind = explain("a.jsonl:163", &spec(30), &MixContext::new(folder)).expect_err("behind the array");
    assert!(behind.to_string().starts_with("no source has"), "{behind}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Any change of any byte of any source is found; without one the mix verifies.
    #[test]
    fn only_the_same_data_verify(
        file in 0..3usize,
        at in any::<prop::sample::Index>(),
        change in 0..4usize,
        size in 1..40usize,
    ) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let folder = folder.path();
        written(folder, &spec(size));
        prop_assert!(checked(folder, &spec(size)).verified);
        let path = folder.join(["a.jsonl", "b1.jsonl", "b2.jsonl"][file]);
        let mut lines: Vec<String> = fs::read_to_string(&path).expect("there").lines().map(str::to_owned).collect();
        let line = at.index(lines.len());
        match change {
            0 => lines[line] = lines[line].replace("答案", "答复"),
            1 => drop(lines.remove(line)),
            2 => lines.push(lines[line].clone()),
            _ => lines[line].push(' '),
        }
        fs::write(&path, lines.join("\n") + "\n").expect("written");
        let found = checked(folder, &spec(size));
        prop_assert!(!found.verified);
        prop_assert!(found.problems.iter().any(|problem| problem.contains("changed (blake3")), "{:?}", found.problems);
    }
}
