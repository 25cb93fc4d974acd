//! `medley mix --shard` and `--merge` over the shipped data, as a user runs them.

use std::fs;
use std::path::Path;

use crate::support::{refused, succeeds};

#[test]
fn shards_are_made_and_merged() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let place = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let mix = ["mix", "--recipe", "recipes/quickstart.toml", "--set", "mix.size=400"];
    succeeds(root, &[&mix[..], &["--out", &place("whole")]].concat());
    for shard in ["1/2", "2/2"] {
        let json = succeeds(root, &[&mix[..], &["--out", &place(&shard[..1]), "--shard", shard, "--json"]].concat());
        assert!(json.contains("\"candidates\"") && json.contains("\"records\""), "{json}");
    }
    let (one, two, merged) = (place("1"), place("2"), place("merged"));
    succeeds(root, &[&mix[..], &["--out", &merged, "--merge", &one, &two]].concat());
    for file in ["mix.jsonl", "validation.jsonl", "ledger.json", "manifest.json"] {
        let [whole, merged] = ["whole", "merged"].map(|mix| fs::read(folder.path().join(mix).join(file)).expect(file));
        assert!(whole == merged, "{file} is not the same");
    }
    let message = refused(root, &[&mix[..], &["--out", &merged, "--merge", &one]].concat());
    assert!(message.contains("of its 2 shards these are missing: 2"), "{message}");
    let message =
        refused(root, &[&mix[..], &["--set", "mix.seed=9", "--out", &merged, "--merge", &one, &two]].concat());
    assert!(message.contains("the recipe's [mix] or [sources] of this shard differ"), "{message}");
    let message = refused(root, &[&mix[..], &["--out", &merged, "--shard", "3/2"]].concat());
    assert!(message.contains("a shard is named i/n"), "{message}");
}
