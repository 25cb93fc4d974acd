//! Shards of which one file is not what was written: they are refused, or merged into the same mix.
//!
//! Where the first byte is odd, contents or candidates are then sealed again, as only who means harm would do: nothing may panic.
#![no_main]

#[path = "common.rs"]
mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::{Value, json};
use medley_mixture::{MixSpec, MixtureNode, MixtureRatio, OnShortage, SourcePart, SourceSpec, Validation};
use medley_mixer::{Mix, MixContext, ShardNumber, merge_shards, mix, mix_shard};
use miette::Diagnostic as _;

/// The mix, and every file of its shards as it was written.
struct Written {
    mix: Mix,
    files: Vec<(String, Vec<u8>)>,
}

const SHARDS: [&str; 2] = ["1", "2"];
const MANIFEST: &str = "shard.json";

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let [how, which, rest @ ..] = bytes else { return };
    common::in_folder(|folder| {
        static WRITTEN: OnceLock<Written> = OnceLock::new();
        let Written { mix, files } = WRITTEN.get_or_init(|| write(folder));
        let (name, content) = &files[usize::from(*which) % files.len()];
        let altered = alter(how / 2, content, rest, files);
        fs::write(folder.join(name), &altered).expect("written");
        let sealed_again = how % 2 == 1 && !name.ends_with(MANIFEST);
        if sealed_again {
            seal(folder, name, &altered);
        }
        let merged = merge_shards(&spec(), &MixContext::new(folder), &shards(folder));
        match merged {
            Ok(merged) => assert!(sealed_again || merged == *mix, "{name} was altered, and so was the mix"),
            Err(error) => assert!(error.help().is_some(), "{error}"),
        }
        let manifest = manifest_of(name);
        for (name, content) in files.iter().filter(|(other, _)| other == name || *other == manifest) {
            fs::write(folder.join(name), content).expect("written");
        }
    });
});

fn shards(folder: &Path) -> Vec<PathBuf> {
    SHARDS.map(|shard| folder.join(shard)).to_vec()
}

fn manifest_of(name: &str) -> String {
    format!("{}/{MANIFEST}", &name[..1])
}

/// Three pools of small files; some records stand twice, some are rejected.
fn write(folder: &Path) -> Written {
    let line = |number: u32| match number % 7 {
        3 => "{\"instruction\":\"问\",\"output\":\"\"}\n".to_owned(),
        5 => format!(
            "{{\"messages\":[{{\"role\":\"user\",\"content\":\"{number}\"}},{{\"role\":\"assistant\",\"content\":\"b\"}}]}}\n"
        ),
        _ => format!("{{\"instruction\":\"问{}\",\"output\":\"答\"}}\n", number % 25),
    };
    for (name, numbers) in [("a0", 0..12), ("a1", 8..20), ("b0", 15..30), ("c0", 40..44)] {
        fs::write(folder.join(format!("{name}.jsonl")), numbers.map(line).collect::<String>()).expect("written");
    }
    let context = MixContext::new(folder);
    let mut files = Vec::new();
    for (number, name) in (1..).zip(SHARDS) {
        let shard = ShardNumber { number, of: SHARDS.len() };
        mix_shard(&spec(), &context, shard, 0.05, &folder.join(name)).expect("a shard");
        for entry in fs::read_dir(folder.join(name)).expect("a folder") {
            let path = entry.expect("an entry").path();
            let file = path.file_name().expect("a name").to_string_lossy();
            files.push((format!("{name}/{file}"), fs::read(&path).expect("read")));
        }
    }
    files.sort();
    let whole = mix(&spec(), &context).expect("mixed");
    assert_eq!(merge_shards(&spec(), &context, &shards(folder)).expect("merged"), whole);
    Written { mix: whole, files }
}

fn spec() -> MixSpec {
    let node = |name: &str| MixtureNode { name: name.to_owned(), ratio: MixtureRatio::Source(name.to_owned()) };
    let source = |name: &str| {
        let part = SourcePart { path: format!("{name}*.jsonl"), ..SourcePart::default() };
        (name.to_owned(), SourceSpec { parts: vec![part], ..SourceSpec::default() })
    };
    MixSpec {
        size: 12,
        seed: 7,
        ratio: MixtureRatio::Group(vec![(3, node("a")), (2, node("b")), (1, node("c"))]),
        on_shortage: OnShortage::Shrink,
        validation: Validation { fraction: 0.2, max_samples: 4 },
        sources: ["a", "b", "c"].map(source).into_iter().collect(),
        ..MixSpec::default()
    }
}

/// Another content: bytes flipped or replaced, an end cut off, another file's content, or the fuzzer's own.
fn alter(how: u8, content: &[u8], rest: &[u8], files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let place = |bytes: &[u8]| usize::from(bytes[0]) << 8 | usize::from(bytes[1]);
    let mut altered = content.to_vec();
    match how % 5 {
        0 => {
            for change in rest.chunks_exact(3).filter(|_| !content.is_empty()) {
                altered[place(change) % content.len()] ^= change[2];
            }
        }
        1 if rest.len() >= 2 => altered.truncate(place(rest) % (content.len() + 1)),
        2 if rest.len() >= 4 => {
            let start = place(rest) % (content.len() + 1);
            let end = (start + usize::from(rest[2])).min(content.len());
            drop(altered.splice(start..end, rest[3..].iter().copied()));
        }
        3 if !rest.is_empty() => altered.clone_from(&files[usize::from(rest[0]) % files.len()].1),
        _ => altered = rest.to_vec(),
    }
    altered
}

/// Enters what `name` now holds into its shard's manifest, and seals that.
fn seal(folder: &Path, name: &str, content: &[u8]) {
    let path = folder.join(manifest_of(name));
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).expect("read")).expect("as it was written");
    let hash = |bytes: &[u8]| blake3::hash(bytes).to_hex().to_string();
    manifest["files"][&name[2..]] = json!({"bytes": content.len(), "blake3": hash(content)});
    manifest["checksum"] = json!("");
    manifest["checksum"] = json!(hash(manifest.to_string().as_bytes()));
    fs::write(path, manifest.to_string()).expect("written");
}
