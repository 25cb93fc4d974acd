//! Two mixes compared from their folders alone, over small pools made here.

use std::fs;
use std::path::{Path, PathBuf};

use medley_mixer::{MixContext, mix};
use medley_mixture::MixSpec;
use medley_mixture::diff::{MixDiff, SampleCounts, diff};
use serde_json::json;

/// A mix of `general` and `tcm`, 3:1.
fn spec(size: usize, seed: u64) -> MixSpec {
    let part = |path: &str| json!({ "parts": [{ "path": path, "format": "auto", "columns": {} }] });
    let leaf = |name: &str| json!({ "name": name, "ratio": { "Source": name } });
    let spec = json!({
        "size": size, "seed": seed, "on_shortage": "error",
        "ratio": { "Group": [[3, leaf("general")], [1, leaf("tcm")]] },
        "validation": { "fraction": 0.2, "max_samples": 50 },
        "sources": { "general": part("general.jsonl"), "tcm": part("tcm.jsonl") },
    });
    serde_json::from_value(spec).expect("a mix's description")
}

fn pools(folder: &Path) {
    pool(folder, "general", 0..400);
    pool(folder, "tcm", 0..120);
}

fn pool(folder: &Path, name: &str, numbers: std::ops::Range<usize>) {
    let line = |number| {
        format!("{}\n", json!({ "instruction": format!("{name}问题{number}"), "output": format!("答案{number}") }))
    };
    fs::write(folder.join(format!("{name}.jsonl")), numbers.map(line).collect::<String>()).expect("written");
}

fn mixed(folder: &Path, name: &str, spec: &MixSpec) -> PathBuf {
    let out = folder.join(name);
    let mix = mix(spec, &MixContext::new(folder)).unwrap_or_else(|error| panic!("{error}"));
    mix.write(&out).expect("written");
    out
}

fn compared(a: &Path, b: &Path) -> MixDiff {
    diff(a, b).unwrap_or_else(|error| panic!("{error}"))
}

fn sums(counts: &MixDiff) -> SampleCounts {
    let mut all = SampleCounts::default();
    for line in counts.records.as_ref().expect("records").train.sources.values() {
        all.same += line.same;
        all.only_a += line.only_a;
        all.only_b += line.only_b;
        all.moved += line.moved;
    }
    all
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    pools(folder.path());
    folder
}

#[test]
fn the_same_mix_twice_is_identical() {
    let folder = folder();
    let [a, b] = ["a", "b"].map(|name| mixed(folder.path(), name, &spec(80, 1)));
    let found = compared(&a, &b);
    assert!(found.identical && found.settings.is_empty() && found.files.is_empty(), "{found:#?}");
    assert_eq!(sums(&found), SampleCounts { same: 80, ..SampleCounts::default() });
    assert!(found.to_string().contains("identical"));
}

#[test]
fn another_seed_draws_others_and_holds_out_the_same() {
    let folder = folder();
    let [a, b] = [1, 2].map(|seed| mixed(folder.path(), &format!("seed{seed}"), &spec(80, seed)));
    let found = compared(&a, &b);
    assert!(!found.identical && found.same_validation && !found.same_mix);
    let setting: Vec<_> = found.settings.iter().map(|setting| (setting.key.as_str(), setting.b.as_deref())).collect();
    assert_eq!(setting, [("mix.seed", Some("2"))]);
    let all = sums(&found);
    assert!(all.same > 0 && all.same + all.only_a == 80 && all.only_a == all.only_b && all.moved == 0, "{all:?}");
    let records = found.records.as_ref().expect("records");
    assert_eq!(records.train.only_a.len(), 6, "three of each source");
    assert!(records.train.only_a[0].place.ends_with(&format!(":{}", line_of(&records.train.only_a[0].question))));
    assert!(records.validation_a_in_train_b.sources.is_empty());
    let told = found.to_string();
    assert!(
        told.contains("mix.seed: 1 → 2") && told.contains("validation: all") && !told.contains("WARNING"),
        "{told}"
    );
}

/// The line of a pool's question.
fn line_of(question: &str) -> usize {
    let digits: String = question.chars().filter(char::is_ascii_digit).collect();
    digits.parse::<usize>().expect("a number") + 1
}

#[test]
fn a_larger_mix_holds_the_smaller_one() {
    let folder = folder();
    let [small, large] = [40, 120].map(|size| mixed(folder.path(), &format!("size{size}"), &spec(size, 1)));
    let found = compared(&small, &large);
    assert_eq!(sums(&found), SampleCounts { same: 40, only_a: 0, only_b: 80, moved: 0 });
    assert!(found.to_string().contains("All of A is in B, in the same order."), "{found}");
}

#[test]
fn changed_renamed_and_new_files_are_named() {
    let folder = folder();
    let a = mixed(folder.path(), "a", &spec(80, 1));
    pool(folder.path(), "general", 0..401);
    fs::rename(folder.path().join("tcm.jsonl"), folder.path().join("herbs.jsonl")).expect("renamed");
    let mut changed = spec(80, 1);
    changed.sources["tcm"].parts[0].path = "herbs.jsonl".to_owned();
    changed.sources["tcm"].parts[0].licence = Some("MIT".to_owned());
    let b = mixed(folder.path(), "b", &changed);
    let found = compared(&a, &b);
    let files: Vec<_> = found.files.iter().map(|file| (file.source.as_str(), file.what())).collect();
    assert_eq!(files, [("general", "changed"), ("tcm", "renamed")]);
    let keys: Vec<&str> = found.settings.iter().map(|setting| setting.key.as_str()).collect();
    assert_eq!(keys, ["sources.tcm.path", "sources.tcm.licence"]);
    assert_eq!(found.records.as_ref().expect("records").train.sources["tcm"].same, 20);
    assert!(found.to_string().contains("tcm.jsonl → herbs.jsonl"), "{found}");
}

#[test]
fn what_one_holds_out_and_the_other_trains_on_is_warned_of() {
    let folder = folder();
    let a = mixed(folder.path(), "a", &spec(80, 1));
    let mut unheld = spec(400, 1);
    unheld.validation.fraction = 0.0;
    let b = mixed(folder.path(), "b", &unheld);
    let found = compared(&a, &b);
    let records = found.records.as_ref().expect("records");
    let leak = &records.validation_a_in_train_b;
    assert!(leak.sources["general"] > 10 && leak.sources["tcm"] > 3, "{leak:?}");
    assert!(!leak.examples.is_empty() && records.validation_b_in_train_a.sources.is_empty());
    assert!(found.to_string().contains("WARNING"), "{found}");
    let back = compared(&b, &a);
    assert_eq!(back.records.expect("records").validation_b_in_train_a.sources, leak.sources);
}

#[test]
fn order_and_sources_are_told_apart_from_contents() {
    let folder = folder();
    let a = mixed(folder.path(), "a", &spec(80, 1));
    let b = mixed(folder.path(), "b", &spec(80, 1));
    let path = b.join("mix.jsonl");
    let text = fs::read_to_string(&path).expect("a mix");
    let reversed: String = text.lines().rev().map(|line| format!("{line}\n")).collect();
    fs::write(&path, &reversed).expect("written");
    let found = compared(&a, &b);
    let records = found.records.as_ref().expect("records");
    assert!(!found.identical && !records.train.same_order && records.validation.same_order);
    assert_eq!(sums(&found).same, 80);
    assert!(found.notes[0].contains("changed after it was mixed"), "{:?}", found.notes);

    fs::write(&path, text.replacen("\"source\":\"tcm\"", "\"source\":\"general\"", 1)).expect("written");
    let all = sums(&compared(&a, &b));
    assert_eq!(all, SampleCounts { same: 79, only_a: 1, only_b: 1, moved: 1 });
}

#[test]
fn folders_that_keep_no_records_are_compared_by_their_manifests() {
    let folder = folder();
    let run = folder.path().join("run");
    let a = mixed(folder.path(), "a", &spec(80, 1));
    let b = mixed(folder.path(), "run/mix", &spec(80, 1));
    fs::remove_file(b.join("mix.jsonl")).expect("there");
    fs::remove_file(b.join("validation.jsonl")).expect("there");
    let found = compared(&a, &run);
    assert!(found.identical && found.records.is_none() && found.notes[0].contains("keeps no records"), "{found:#?}");
    let other = mixed(folder.path(), "other", &spec(80, 2));
    let told = compared(&run, &other).to_string();
    assert!(told.contains("samples: different") && told.contains("validation: the same to the byte"), "{told}");
}

#[test]
fn torn_folders_are_refused_by_name() {
    let folder = folder();
    let a = mixed(folder.path(), "a", &spec(80, 1));
    let b = mixed(folder.path(), "b", &spec(80, 1));
    let message = |b: &Path| diff(&a, b).expect_err("no mix").to_string();
    assert!(message(&folder.path().join("gone")).contains("gone: there is no mix here"));
    let path = b.join("mix.jsonl");
    let text = fs::read_to_string(&path).expect("a mix");
    fs::write(&path, &text[..text.len() / 2]).expect("written");
    assert!(message(&b).contains("mix.jsonl:") && message(&b).contains("no record of a mix"), "{}", message(&b));
}
