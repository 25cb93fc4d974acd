//! The manifest as a lock file: the sources must be what they were.

use std::path::Path;

use medley_mixture::diff::{FileDifference, file_differences};
use medley_mixture::manifest::Manifest;
use medley_mixture::spec::MixSpec;
use medley_mixture::{MixError, MixFolder};

/// A manifest that the sources must match.
#[derive(Clone, Debug)]
pub struct Lock {
    name: String,
    manifest: Manifest,
}

impl Lock {
    /// Reads a lock: a `manifest.json`, or the folder of a mix or of a run.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn read(path: &Path) -> Result<Self, MixError> {
        let folder = if path.is_file() { path.parent().unwrap_or(path) } else { path };
        let folder = MixFolder::open(folder)?;
        Ok(Self { name: folder.path.join("manifest.json").display().to_string(), manifest: folder.manifest })
    }

    /// Takes every hub data set at the commit that the lock names.
    pub fn pin(&self, spec: &mut MixSpec) {
        for (name, source) in &mut spec.sources {
            let Some(locked) = self.manifest.sources.get(name) else { continue };
            for part in &mut source.parts {
                let start = format!("hub:{}@", part.path);
                let commit = locked.files.iter().find_map(|file| file.file.strip_prefix(&start)?.split('/').next());
                if let Some(commit) = commit {
                    part.revision = Some(commit.to_owned());
                }
            }
        }
    }

    /// Whether `manifest` was made of the very files that the lock names.
    ///
    /// # Errors
    /// [`MixError::Locked`] with every file that is another.
    pub fn check(&self, manifest: &Manifest) -> Result<(), MixError> {
        let differences = file_differences(&self.manifest, manifest);
        let changed: Vec<String> =
            differences.iter().filter(|difference| is_change(difference)).map(describe).collect();
        if changed.is_empty() {
            return Ok(());
        }
        Err(MixError::Locked { lock: self.name.clone(), changed })
    }
}

/// A file that only has another name is the same source.
fn is_change(difference: &FileDifference) -> bool {
    difference.what() != "renamed"
}

/// `general: data/a.jsonl changed (blake3 0af3… before, 77c1… now; 100 records before, 101 now)`.
pub(super) fn describe(difference: &FileDifference) -> String {
    let FileDifference { source, a, b } = difference;
    match (a, b) {
        (Some(a), Some(b)) if a.blake3 != b.blake3 => {
            let short = |hash: &str| hash.chars().take(12).collect::<String>();
            let hashes = format!("blake3 {}… before, {}… now", short(&a.blake3), short(&b.blake3));
            format!("{source}: {} changed ({hashes}; {} records before, {} now)", b.file, a.records, b.records)
        }
        (Some(a), Some(b)) if a.file != b.file => format!("{source}: {} is now {}", a.file, b.file),
        (Some(a), Some(b)) => format!(
            "{source}: {} is read otherwise ({} records as {} before, {} as {} now)",
            b.file, a.records, a.layout, b.records, b.layout
        ),
        (Some(a), None) => format!("{source}: {} is no longer read", a.file),
        (None, Some(b)) => format!("{source}: {} is new", b.file),
        (None, None) => source.clone(),
    }
}
