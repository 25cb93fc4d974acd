//! Hashes of contents.

use std::fs::File;
use std::io;
use std::path::PathBuf;

/// Hexadecimal BLAKE3 of `bytes`.
pub fn hash_bytes(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// Hexadecimal BLAKE3 of files: their names (without folders), lengths and contents, in the given order.
///
/// # Errors
/// A file cannot be read; the message names it.
pub fn hash_files(files: &[PathBuf]) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new_derive_key("medley files");
    for path in files {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let file = File::open(path).map_err(named)?;
        let length = file.metadata().map_err(named)?.len();
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(&length.to_le_bytes());
        drop(file);
        hasher.update_mmap_rayon(path).map_err(named)?;
    }
    Ok(hasher.finalize().to_hex().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_borders_count() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            path
        };
        let (a, b, c) = (write("a", "xy"), write("b", "z"), write("c", "xyz"));
        let hash = |files: &[&PathBuf]| {
            hash_files(&files.iter().map(|&path| path.clone()).collect::<Vec<_>>()).expect("readable")
        };
        assert_eq!(hash(&[&a, &b]), hash(&[&a, &b]));
        assert_ne!(hash(&[&a, &b]), hash(&[&b, &a]));
        assert_ne!(hash(&[&a, &b]), hash(&[&c]));
        let missing = hash_files(&[folder.path().join("gone")]).expect_err("missing").to_string();
        assert!(missing.contains("gone"));
    }
}
