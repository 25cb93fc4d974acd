//! A file of a repository, and the hashes that its content is known by.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// A file of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RemoteFile {
    /// Path in the repository.
    pub(super) name: String,
    /// Length in bytes, where the hub tells it.
    pub(super) size: Option<u64>,
    /// SHA-256 of its content, which the hub knows for large files.
    pub(super) sha256: Option<String>,
    /// Git's name for its content.
    pub(super) blob: Option<String>,
}

impl RemoteFile {
    /// A file of which nothing but the name is known.
    pub(super) fn named(name: String) -> Self {
        Self { name, size: None, sha256: None, blob: None }
    }

    /// The hash that the hub tells of its content, and that of what lies at `path`.
    pub(super) fn hashes(&self, path: &Path) -> io::Result<Option<(String, String)>> {
        let is_git = |name: &&String| name.len() == 40 && is_hash(name);
        match (&self.sha256, self.blob.as_ref().filter(is_git)) {
            (Some(expected), _) => Ok(Some((expected.clone(), sha256(path)?))),
            (None, Some(expected)) => Ok(Some((expected.clone(), git_sha1(path)?))),
            (None, None) => Ok(None),
        }
    }

    /// Name of its content in the cache.
    pub(super) fn etag(&self, commit: &str) -> String {
        let known = self.sha256.as_ref().or(self.blob.as_ref()).filter(|name| is_hash(name));
        known.cloned().unwrap_or_else(|| {
            let digest = Sha256::digest(format!("{commit}/{}", self.name));
            digest.iter().map(|byte| format!("{byte:02x}")).collect()
        })
    }
}

/// SHA-256 of a file, in lower-case hexadecimal.
fn sha256(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        hasher.update(&buffer[..read]);
    }
}

/// Git's name for a file's content, in lower-case hexadecimal.
fn git_sha1(path: &Path) -> io::Result<String> {
    let content = fs::read(path)?;
    let mut hasher = Sha1::new_with_prefix(format!("blob {}\0", content.len()));
    hasher.update(&content);
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A name that may become a file's.
pub(super) fn is_hash(text: &str) -> bool {
    (32..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_named_by_their_hash_and_nothing_else() {
        let commit = "c".repeat(40);
        let hash = "a".repeat(64);
        let mut file = RemoteFile { sha256: Some(hash.clone()), ..RemoteFile::named("x".to_owned()) };
        assert_eq!(file.etag(&commit), hash);
        file.sha256 = Some("../../escape".to_owned());
        assert!(is_hash(&file.etag(&commit)));
        assert_ne!(file.etag(&commit), RemoteFile::named("y".to_owned()).etag(&commit));
    }
}
