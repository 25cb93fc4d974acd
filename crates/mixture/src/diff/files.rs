//! Which source files two mixes were made of.

use serde::Serialize;

use crate::manifest::{Manifest, ManifestFile};

/// A source file that is not the same in two mixes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileDifference {
    /// Its source.
    pub source: String,
    /// In A; `None` where only B read it.
    pub a: Option<ManifestFile>,
    /// In B.
    pub b: Option<ManifestFile>,
}

impl FileDifference {
    /// In a word, what happened from A to B.
    pub fn what(&self) -> &'static str {
        match (&self.a, &self.b) {
            (Some(a), Some(b)) if a.blake3 != b.blake3 => "changed",
            (Some(a), Some(b)) if a.file != b.file => "renamed",
            (Some(_), Some(_)) => "read otherwise",
            (Some(_), None) => "only in A",
            (None, _) => "only in B",
        }
    }
}

/// Every file that differs, by source; files are identified by name, a hub's without the commit, then by
/// content.
pub fn differences(a: &Manifest, b: &Manifest) -> Vec<FileDifference> {
    let mut found = Vec::new();
    let only_b = b.sources.keys().filter(|name| !a.sources.contains_key(*name));
    for source in a.sources.keys().chain(only_b) {
        let files = |manifest: &Manifest| manifest.sources.get(source).map(|source| source.files.clone());
        let (mut in_a, mut in_b) = (files(a).unwrap_or_default(), files(b).unwrap_or_default());
        let mut pairs = Vec::new();
        let same: [fn(&ManifestFile, &ManifestFile) -> bool; 3] = [
            |a, b| a.file == b.file,
            |a, b| without_commit(&a.file) == without_commit(&b.file),
            |a, b| a.blake3 == b.blake3,
        ];
        for same in same {
            in_a.retain(|file| {
                let Some(at) = in_b.iter().position(|other| same(file, other)) else { return true };
                pairs.push((file.clone(), in_b.remove(at)));
                false
            });
        }
        let differs = |(a, b): &(ManifestFile, ManifestFile)| {
            (&a.file, &a.blake3, a.records, &a.layout) != (&b.file, &b.blake3, b.records, &b.layout)
        };
        let difference = |a, b| FileDifference { source: source.clone(), a, b };
        found.extend(pairs.into_iter().filter(differs).map(|(a, b)| difference(Some(a), Some(b))));
        found.extend(in_a.into_iter().map(|file| difference(Some(file), None)));
        found.extend(in_b.into_iter().map(|file| difference(None, Some(file))));
    }
    found
}

/// `hub:owner/name@commit/path` as `hub:owner/name/path`.
fn without_commit(file: &str) -> String {
    let Some((data_set, rest)) = file.strip_prefix("hub:").and_then(|inside| inside.split_once('@')) else {
        return file.to_owned();
    };
    format!("hub:{data_set}{}", rest.find('/').map_or("", |at| &rest[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_no_part_of_a_name() {
        assert_eq!(without_commit("hub:owner/name@0af3/data/a.jsonl"), "hub:owner/name/data/a.jsonl");
        assert_eq!(without_commit("data/a@b/c.jsonl"), "data/a@b/c.jsonl");
    }
}
