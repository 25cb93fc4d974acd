//! Shards merged are the mix of everything, byte for byte, or are refused by name.

use std::fs;
use std::path::{Path, PathBuf};

use medley_files::WithHelp as _;
use medley_mixer::{BLOCK, MixContext, ShardNumber, merge_shards, mix, mix_shard};
use medley_mixture::{MixError, MixSpec, MixtureNode, MixtureRatio, OnShortage, SourcePart, SourceSpec, Validation};
use proptest::prelude::*;
use serde_json::json;

const FILES: [&str; 4] = ["mix.jsonl", "validation.jsonl", "ledger.json", "manifest.json"];

/// Two pools, each every file of a folder.
fn spec(size: usize, on_shortage: OnShortage) -> MixSpec {
    let node = |name: &str| MixtureNode { name: name.to_owned(), ratio: MixtureRatio::Source(name.to_owned()) };
    let source = |path: &str| SourceSpec {
        parts: vec![SourcePart { path: path.to_owned(), ..SourcePart::default() }],
        ..SourceSpec::default()
    };
    MixSpec {
        size,
        seed: 7,
        ratio: MixtureRatio::Group(vec![(3, node("b")), (1, node("a"))]),
        on_shortage,
        validation: Validation { fraction: 0.1, max_samples: 4 },
        sources: [("a".to_owned(), source("a")), ("b".to_owned(), source("b"))].into_iter().collect(),
        ..MixSpec::default()
    }
}

/// Writes a pool's records, by their numbers, to some files; every seventh record is rejected.
fn put(folder: &Path, pool: &str, numbers: &[u32], files: usize) {
    fs::create_dir_all(folder.join(pool)).expect("a folder");
    for file in 0..files {
        let part = &numbers[numbers.len() * file / files..numbers.len() * (file + 1) / files];
        let line = |number: &u32| {
            let answer = if number % 7 == 3 { String::new() } else { format!("答{number}") };
            json!({"instruction": format!("问{number}"), "output": answer}).to_string() + "\n"
        };
        // A file without records would be refused.
        let lines: String = part.iter().chain([&(9_000_000 + file as u32)]).map(line).collect();
        fs::write(folder.join(pool).join(format!("{file}.jsonl")), lines).expect("written");
    }
}

fn shards(folder: &Path, spec: &MixSpec, of: usize, margin: f64) -> Vec<PathBuf> {
    let shard = |number| {
        let out = folder.join(format!("shards-{of}/{number}"));
        mix_shard(spec, &MixContext::new(folder), ShardNumber { number, of }, margin, &out).expect("a shard");
        out
    };
    (1..=of).map(shard).collect()
}

fn merged(folder: &Path, spec: &MixSpec, shards: &[PathBuf]) -> Result<(), MixError> {
    merge_shards(spec, &MixContext::new(folder), shards)?.write(&folder.join("merged"))
}

/// The whole and the merged mix must be the same bytes, or the same shortage.
fn check(folder: &Path, spec: &MixSpec, of: usize) {
    let mut shards = shards(folder, spec, of, 0.05);
    shards.reverse();
    let whole = mix(spec, &MixContext::new(folder)).and_then(|mix| mix.write(&folder.join("whole")));
    let merged = merged(folder, spec, &shards);
    match (whole, merged) {
        (Ok(()), Ok(())) => {
            for file in FILES {
                let [whole, merged] =
                    ["whole", "merged"].map(|mix| fs::read(folder.join(mix).join(file)).expect("written"));
                assert_eq!(String::from_utf8_lossy(&whole), String::from_utf8_lossy(&merged), "{file} of {of} shards");
            }
        }
        (whole, merged) => assert_eq!(whole.map_err(|e| e.to_string()), merged.map_err(|e| e.to_string())),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// With copies within and across pools and shards, held-out records, and pools that are too small.
    #[test]
    fn merged_shards_are_the_whole(
        a in proptest::collection::vec(0..120u32, 0..120),
        b in proptest::collection::vec(0..160u32, 0..160),
        files in (1..6usize, 1..6usize),
        size in 1..120usize,
        of in 1..6usize,
        shortage in prop_oneof![Just(OnShortage::Error), Just(OnShortage::Repeat), Just(OnShortage::Shrink)],
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        put(folder.path(), "a", &a, files.0);
        put(folder.path(), "b", &b, files.1);
        check(folder.path(), &spec(size, shortage), of);
    }
}

/// Files that are divided between shards by blocks.
#[test]
fn files_are_divided_by_blocks() {
    let folder = tempfile::tempdir().expect("a folder");
    let many: Vec<u32> = (0..5 * BLOCK as u32 + 100).map(|number| number * 3 % 17_000).collect();
    put(folder.path(), "a", &many[..BLOCK as usize + 500], 1);
    put(folder.path(), "b", &many, 2);
    // In the smaller mix the shards keep less than they read.
    for (of, size) in [(3, 9000), (4, 9000), (3, 1000)] {
        check(folder.path(), &spec(size, OnShortage::Error), of);
        assert!(folder.path().join("merged/manifest.json").exists());
    }
}

fn refused(folder: &Path, spec: &MixSpec, shards: &[PathBuf]) -> String {
    merged(folder, spec, shards).expect_err("refused").with_help()
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    put(folder, "a", &(0..60).collect::<Vec<_>>(), 2);
    put(folder, "b", &(50..150).collect::<Vec<_>>(), 2);
    let spec = spec(40, OnShortage::Error);
    let (two, three) = (shards(folder, &spec, 2, 0.05), shards(folder, &spec, 3, 0.05));
    merged(folder, &spec, &two).expect("all is well");
    let message = refused(folder, &spec, &two[..1]);
    assert!(message.contains("shards-2/1: of its 2 shards these are missing: 2"), "{message}");
    let message = refused(folder, &spec, &[two[0].clone(), two[0].clone()]);
    assert!(message.contains("shard 1/2 is named twice"), "{message}");
    let message = refused(folder, &spec, &[two[0].clone(), three[1].clone()]);
    assert!(message.contains("shards-3/2: this is shard 2/3, but"), "{message}");
    let message = refused(folder, &MixSpec { seed: 8, ..spec.clone() }, &two);
    assert!(message.contains("shards-2/1: the recipe's [mix] or [sources] of this shard differ"), "{message}");
    let questions = [medley_mixture::ExamItem::asking("问？")];
    let context = MixContext { exam_items: &questions, ..MixContext::new(folder) };
    let message = merge_shards(&spec, &context, &two).expect_err("other exam").with_help();
    assert!(message.contains("the exam's questions"), "{message}");
    assert!(refused(folder, &spec, &[folder.join("a")]).contains("no shard (shard.json"));

    let sample = two[1].join("sample-0.jsonl");
    let bytes = fs::read(&sample).expect("there");
    fs::write(&sample, &bytes[..bytes.len() / 2]).expect("written");
    let message = refused(folder, &spec, &two);
    assert!(message.contains("shards-2/2: sample-0.jsonl has ") && message.contains("damaged"), "{message}");
    fs::write(&sample, bytes.iter().map(|byte| if *byte == b'5' { b'6' } else { *byte }).collect::<Vec<_>>())
        .expect("written");
    assert!(refused(folder, &spec, &two).contains("sample-0.jsonl is not what was written"));
    fs::remove_file(two[1].join("contents-1.bin")).expect("removed");
    fs::write(&sample, bytes).expect("written");
    assert!(refused(folder, &spec, &two).contains("contents-1.bin cannot be read"));

    put(folder, "a", &(0..61).collect::<Vec<_>>(), 1);
    fs::rename(folder.join("a/0.jsonl"), folder.join("a/1.jsonl")).expect("renamed");
    put(folder, "a", &(0..60).collect::<Vec<_>>(), 1);
    let number = ShardNumber { number: 2, of: 3 };
    mix_shard(&spec, &MixContext::new(folder), number, 0.05, &three[1]).expect("a shard");
    let message = refused(folder, &spec, &three);
    assert!(message.contains("jsonl changed: it was another when") || message.contains("had other files"), "{message}");
}

/// A mix of two pools in two shards.
fn two_shards() -> (tempfile::TempDir, MixSpec, Vec<PathBuf>) {
    let folder = tempfile::tempdir().expect("a folder");
    put(folder.path(), "a", &(0..60).collect::<Vec<_>>(), 2);
    put(folder.path(), "b", &(50..150).collect::<Vec<_>>(), 2);
    let spec = spec(40, OnShortage::Error);
    let shards = shards(folder.path(), &spec, 2, 0.05);
    (folder, spec, shards)
}

/// Counts, keys and names of files are in `shard.json`: no byte of it may be another.
#[test]
fn a_damaged_manifest_is_refused() {
    let (folder, spec, shards) = two_shards();
    let folder = folder.path();
    let manifest = shards[0].join("shard.json");
    let written = fs::read_to_string(&manifest).expect("written");
    for (from, to) in
        [("\"importable\": ", "\"importable\": 1"), ("\"count\": ", "\"count\": 1"), ("jsonl:", "jsonl:1")]
    {
        assert!(written.contains(from), "{from}");
        fs::write(&manifest, written.replacen(from, to, 1)).expect("written");
        let message = refused(folder, &spec, &shards);
        assert!(message.contains("shard.json is damaged"), "{to}: {message}");
    }
}

/// Replaces a file's content and seals the shard again, as only who means harm would do.
fn forge(shard: &Path, file: &str, content: &[u8]) {
    let manifest = shard.join("shard.json");
    let mut json: serde_json::Value =
        serde_json::from_slice(&fs::read(&manifest).expect("written")).expect("as it was written");
    let hash = |bytes: &[u8]| blake3::hash(bytes).to_hex().to_string();
    json["files"][file] = json!({"bytes": content.len(), "blake3": hash(content)});
    json["checksum"] = json!("");
    json["checksum"] = json!(hash(json.to_string().as_bytes()));
    fs::write(shard.join(file), content).expect("written");
    fs::write(manifest, json.to_string()).expect("written");
}

#[test]
fn a_forged_shard_is_refused() {
    let (folder, spec, shards) = two_shards();
    let folder = folder.path();
    let sample = fs::read_to_string(shards[0].join("sample-0.jsonl")).expect("written");
    forge(&shards[0], "sample-0.jsonl", sample.replace("\"file\":0", "\"file\":7").as_bytes());
    let message = refused(folder, &spec, &shards);
    assert!(message.contains("sample-0.jsonl names file 7 of 2"), "{message}");
    forge(&shards[0], "sample-0.jsonl", sample.as_bytes());
    merged(folder, &spec, &shards).expect("as before");
    let mut contents = fs::read(shards[0].join("contents-0.bin")).expect("written");
    (0..1000u128).for_each(|content| contents.extend(content.to_be_bytes()));
    forge(&shards[0], "contents-0.bin", &contents);
    let message = refused(folder, &spec, &shards);
    assert!(message.contains("of pool `a` there are more contents than records"), "{message}");
}

#[test]
fn the_missing_ones_of_many_shards_are_named_in_short() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    put(folder, "a", &[1, 2], 1);
    put(folder, "b", &[3, 4], 1);
    let (spec, shard) = (spec(4, OnShortage::Error), ShardNumber { number: 1, of: usize::MAX });
    mix_shard(&spec, &MixContext::new(folder), shard, 0.05, &folder.join("1")).expect("a shard");
    let message = refused(folder, &spec, &[folder.join("1")]);
    assert!(message.contains("shards these are missing: 2, 3, 4, 5, 6, 7, 8, 9, …"), "{message}");
}

/// Most of a pool belongs to one named earlier, so that its candidates are not its own.
#[test]
fn too_few_candidates_are_refused_and_a_margin_helps() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    put(folder, "a", &(0..20_000).collect::<Vec<_>>(), 2);
    put(folder, "b", &(0..23_000).collect::<Vec<_>>(), 2);
    let spec = spec(800, OnShortage::Error);
    let message = refused(folder, &spec, &shards(folder, &spec, 2, 0.05));
    assert!(
        message.contains("source `b`: its shards kept too few candidates") && message.contains("--margin"),
        "{message}"
    );
    let whole = mix(&spec, &MixContext::new(folder)).expect("mixed");
    let merged = merge_shards(&spec, &MixContext::new(folder), &shards(folder, &spec, 2, 40.0)).expect("merged");
    assert_eq!(whole, merged);
}
