//! `medley mix --verify`, `--locked` and `--explain`, and mixes by tokens and in other orders, as a user runs them.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{refused, run, succeeds, text};

/// A folder with pools of its own, so that they can be changed.
fn pools() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (source, copy) in [("data/general", "general.jsonl"), ("data/tcm", "tcm.jsonl")] {
        let mut files: Vec<_> =
            fs::read_dir(root.join(source)).expect("bundled").flatten().map(|entry| entry.path()).collect();
        files.sort();
        let text: String = files.iter().map(|file| fs::read_to_string(file).expect("readable")).collect();
        fs::write(folder.path().join(copy), text).expect("written");
    }
    let recipe = format!(
        "[model]\nbase = {:?}\n[mix]\nsize = 200\nratio = {{ general = 9, tcm = 1 }}\n[sources.general]\npath = \"general.jsonl\"\n\
         [sources.tcm]\npath = \"tcm.jsonl\"\n",
        root.join("data/base")
    );
    fs::write(folder.path().join("recipe.toml"), recipe).expect("written");
    folder
}

fn records(folder: &Path, name: &str) -> Vec<Value> {
    let mixed = fs::read_to_string(folder.join(name).join("mix.jsonl")).expect("mixed");
    mixed.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
}

#[test]
fn a_mix_is_verified_locked_and_explained() {
    let folder = pools();
    let folder = folder.path();
    let recipe = ["mix", "--recipe", "recipe.toml"];
    let with = |more: &[&'static str]| [&recipe[..], more].concat();
    succeeds(folder, &with(&["--out", "mixed"]));
    let verified = run(folder, &with(&["--verify", "mixed"]));
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified.stderr));
    assert!(text(&verified.stdout).contains("mix.jsonl: 200 records, the same bytes on the disk and made again"));

    let first = records(folder, "mixed")[0]["key"].as_str().expect("a key").to_owned();
    let explained = run(folder, &[&recipe[..], &["--explain", &first]].concat());
    assert!(text(&explained.stdout).ends_with("in the mix, line 1 of mix.jsonl"), "{}", text(&explained.stdout));
    assert!(refused(folder, &with(&["--explain", "general.jsonl:99999"])).contains("no source has a record"));

    let path = folder.join("tcm.jsonl");
    let more = fs::read_to_string(&path).expect("there") + "{\"instruction\":\"新问\",\"output\":\"新答\"}\n";
    fs::write(&path, more).expect("written");
    let changed = run(folder, &with(&["--verify", "mixed"]));
    assert_eq!(changed.status.code(), Some(1));
    assert!(text(&changed.stdout).contains("tcm: tcm.jsonl changed (blake3 "), "{}", text(&changed.stdout));
    let before = fs::read(folder.join("mixed/mix.jsonl")).expect("there");
    for locked in [with(&["--out", "mixed", "--locked"]), with(&["--out", "other", "--locked", "mixed/manifest.json"])]
    {
        let message = refused(folder, &locked);
        assert!(message.contains("tcm.jsonl changed") && message.contains("--locked"), "{message}");
    }
    assert_eq!(fs::read(folder.join("mixed/mix.jsonl")).expect("there"), before, "nothing was written");
    assert!(!folder.join("other").exists());
    let missing = run(folder, &with(&["--verify", "nothing"]));
    assert_eq!(missing.status.code(), Some(2), "{}", text(&missing.stderr));
}

#[test]
fn tokens_and_orders_as_the_recipe_asks() {
    let folder = pools();
    let folder = folder.path();
    let mixed = |name: &str, settings: &[&str]| {
        let mut arguments = vec!["mix", "--recipe", "recipe.toml", "--out", name];
        settings.iter().for_each(|setting| arguments.extend(["--set", setting]));
        succeeds(folder, &arguments);
        records(folder, name)
    };
    let sources = |records: &[Value]| -> Vec<String> {
        records.iter().map(|record| record["source"].as_str().expect("a source").to_owned()).collect()
    };
    let last = sources(&mixed("last", &["mix.order=tcm-last"]));
    assert!(last[..180].iter().all(|source| source == "general") && last[180..].iter().all(|source| source == "tcm"));
    mixed("tokens", &["mix.size=20000", "mix.size_in=tokens", "mix.ratio_in=tokens"]);
    let ledger: Value =
        serde_json::from_slice(&fs::read(folder.join("tokens/ledger.json")).expect("there")).expect("JSON");
    let tokens = |source: &str| ledger["sources"][source]["tokens"]["tokens"].as_u64().expect("counted") as f64;
    let share = tokens("tcm") / (tokens("tcm") + tokens("general"));
    assert!((share - 0.1).abs() < 0.005, "{share}");
    assert!((19_800.0..=20_000.0).contains(&(tokens("tcm") + tokens("general"))));
    let message = refused(folder, &["mix", "--recipe", "recipe.toml", "--out", "x", "--set", "mix.order=law-last"]);
    assert!(message.contains("`law` is no source or group of the mixture"), "{message}");
}
