//! Every shipped recipe: found, resolved, and mixed (scaled down) from a hub that serves its data sets in miniature.

#[path = "support/data_sets.rs"]
mod data_sets;
#[path = "support/hub_server.rs"]
#[expect(dead_code, reason = "the client's own tests use the rest of the hub")]
mod hub_server;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use assert_cmd::Command;
use hub_server::HubServer;
use medley_recipe::{Resolved, load, shipped};
use serde_json::Value;

/// The recipes of the paper's tables, the general and the two medical shares of each.
const TABLES: [(&str, usize, [u64; 3]); 13] = [
    ("ratio_9_1.toml", 100_000, [90, 5, 5]),
    ("ratio_4_1.toml", 100_000, [80, 10, 10]),
    ("ratio_1_1.toml", 100_000, [50, 25, 25]),
    ("ratio_1_4.toml", 100_000, [20, 40, 40]),
    ("ratio_1_9.toml", 100_000, [10, 45, 45]),
    ("size_10k.toml", 10_000, [0, 5, 5]),
    ("size_20k.toml", 20_000, [0, 10, 10]),
    ("size_50k.toml", 50_000, [0, 25, 25]),
    ("size_70k.toml", 70_000, [0, 35, 35]),
    ("size_80k.toml", 80_000, [0, 40, 40]),
    ("size_90k.toml", 90_000, [0, 45, 45]),
    ("size_100k.toml", 100_000, [0, 50, 50]),
    ("size_200k.toml", 200_000, [0, 100, 100]),
];

/// Recipes are mixed at this fraction of their size.
const SCALE: usize = 1000;

fn resolve(name: &str) -> Resolved {
    load(&format!("shipped:{name}"), &[] as &[&str])
        .unwrap_or_else(|errors| panic!("{:?}", miette::Report::new(errors)))
}

#[test]
fn every_recipe_in_the_folder_is_shipped_and_resolves() {
    fn toml_files(folder: &Path, root: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).expect("a readable folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                toml_files(&path, root, found);
            } else if path.extension().is_some_and(|extension| extension == "toml") {
                let name = path.strip_prefix(root).expect("below the root").to_string_lossy().replace('\\', "/");
                found.insert(name);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
    let mut in_folder = BTreeSet::new();
    toml_files(&root, &root, &mut in_folder);
    let carried: BTreeSet<String> = shipped().map(|recipe| recipe.name.to_owned()).collect();
    assert_eq!(carried, in_folder);
    // Thirteen for the tables, their base, the quickstart and the three stages of its base model.
    assert_eq!(carried.len(), TABLES.len() + 5, "{carried:?}");
    for name in TABLES.iter().map(|(name, ..)| *name).chain(["paper.toml", "quickstart.toml"]) {
        assert!(carried.contains(name), "{name} is missing");
    }
    let mut names = BTreeSet::new();
    for name in &carried {
        let resolved = resolve(name);
        assert!(resolved.warnings.is_empty(), "{name}: {:?}", resolved.warnings);
        assert!(resolved.recipe.description.is_some(), "{name} has no description");
        assert!(names.insert(resolved.recipe.name.clone()), "two recipes are called {}", resolved.recipe.name);
    }
}

#[test]
fn shipped_recipes_name_their_sources_licences_and_revisions() {
    let served: BTreeSet<&str> = data_sets::ids().collect();
    for (name, size, _) in TABLES {
        let recipe = resolve(name).recipe;
        assert_eq!(recipe.mix.size, size, "{name}");
        for part in recipe.mix.sources.values().flat_map(|source| &source.parts) {
            assert!(served.contains(part.path.as_str()), "{name}: {} has no fixture", part.path);
            assert!(part.licence.is_some() && part.files.is_some(), "{name}: {}", part.path);
            assert_eq!(part.revision.as_deref().map(str::len), Some(40), "{name}: {} is at a commit", part.path);
        }
    }
}

/// What `medley mix` made of a recipe.
struct Mixed {
    per_source: BTreeMap<String, u64>,
    ledger: Value,
    notes: String,
}

fn mix(name: &str, size: usize, endpoint: &str, home: &Path, out: &Path) -> Mixed {
    let run = Command::new(env!("CARGO_BIN_EXE_medley"))
        .args(["mix", "--recipe", name, "--json", "--set", &format!("mix.size={size}"), "--out"])
        .arg(out)
        // A shipped recipe is found from any folder.
        .current_dir(home)
        .env("HF_ENDPOINT", endpoint)
        .env("HF_HOME", home)
        .env_remove("HF_HUB_CACHE")
        .env_remove("HF_HUB_OFFLINE")
        .env_remove("HF_TOKEN")
        .output()
        .expect("medley runs");
    let notes = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success(), "{name}: {notes}");
    let mut per_source = BTreeMap::new();
    let text = fs::read_to_string(out.join("mix.jsonl")).expect("the mix is written");
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).expect("a record a line");
        *per_source.entry(record["source"].as_str().expect("its pool").to_owned()).or_insert(0) += 1;
    }
    assert!(out.join("manifest.json").is_file(), "{name} has a manifest");
    let ledger = serde_json::from_slice(&run.stdout).expect("the ledger, and nothing else, on standard output");
    Mixed { per_source, ledger, notes }
}

#[test]
fn every_shipped_recipe_mixes_at_its_ratio() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let hub = HubServer::start();
    data_sets::serve(&hub, &folder.path().join("hub"));
    let home = folder.path().join("home");
    fs::create_dir(&home).expect("a folder for the cache");
    for (name, size, shares) in TABLES {
        let out = folder.path().join(name);
        let mixed = mix(name, size / SCALE, &hub.endpoint(), &home, &out);
        let expected: BTreeMap<String, u64> = ["general", "tcm", "western"]
            .into_iter()
            .zip(shares)
            .filter(|(_, count)| *count > 0)
            .map(|(pool, count)| (pool.to_owned(), count))
            .collect();
        assert_eq!(mixed.per_source, expected, "{name}");
        check_ledger(name, &mixed.ledger);
        assert!(mixed.notes.contains("not for commercial use"), "{name} says so at the start: {}", mixed.notes);
    }
    let requests = hub.requests();
    for unread in ["test_datasets", "validation_datasets", "structGeneral", "traditionalTrans", "dataset_info"] {
        assert!(!requests.iter().any(|request| request.contains(unread)), "{unread} was asked for");
    }
}

/// Every pool was read whole: its duplicates and its empty answers are counted, once for each of its files.
fn check_ledger(name: &str, ledger: &Value) {
    let sources = ledger["sources"].as_object().expect("sources by name");
    for (pool, line) in sources {
        let files: u64 = if pool == "western" { 1 } else { 2 };
        let records = data_sets::RECORDS as u64;
        assert_eq!(line["read"], files * (records + 2), "{name}: {pool} {line}");
        assert_eq!(line["duplicates_within"], files, "{name}: {pool} {line}");
        let rejected: u64 =
            line["rejected"].as_object().into_iter().flatten().filter_map(|(_, why)| why["count"].as_u64()).sum();
        assert_eq!(rejected, files, "{name}: {pool} {line}");
        let held_out = line["held_out"].as_u64().expect("a count");
        assert_eq!(line["available"].as_u64().expect("a count") + held_out, files * records, "{name}: {pool} {line}");
    }
}

#[test]
fn the_quickstart_mixes_without_a_hub() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let closed = "http://127.0.0.1:9";
    let mixed = mix("quickstart.toml", 200, closed, folder.path(), &folder.path().join("out"));
    assert_eq!(mixed.per_source.values().sum::<u64>(), 200);
    assert_eq!(mixed.per_source["general"], 180);
    assert!(!mixed.notes.contains("not for commercial use"), "{}", mixed.notes);
}
