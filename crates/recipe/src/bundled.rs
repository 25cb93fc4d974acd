//! The quickstart's data and base model, which the binary carries and unpacks when a shipped recipe needs them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::{env, fs};

use medley_mixer::atomic;

/// Every file under `data/` when this was built: its path there with forward slashes, and its bytes.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/bundled.rs"));

/// Whether a shipped recipe's text names bundled files.
pub(crate) fn is_named_in(recipe: &str) -> bool {
    recipe.contains("../data/")
}

/// The folder that a shipped recipe's relative paths start from: `recipes` beside the unpacked `data`.
///
/// The files are unpacked once per version of them into the user's cache folder (`XDG_CACHE_HOME`, else `~/.cache`, else
/// `LOCALAPPDATA`, else the folder for temporary files). A copy with a file missing or cut is unpacked again.
///
/// # Errors
/// When the cache folder cannot be written, with the path.
pub(crate) fn recipes_folder() -> io::Result<PathBuf> {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    if let Some(folder) = FOLDER.get() {
        return Ok(folder.clone());
    }
    let folder = unpack(&cache_folder().join("medley").join("bundled"))?;
    Ok(FOLDER.get_or_init(|| folder).clone())
}

fn cache_folder() -> PathBuf {
    let from = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    from("XDG_CACHE_HOME")
        .or_else(|| from("HOME").map(|home| home.join(".cache")))
        .or_else(|| from("LOCALAPPDATA"))
        .unwrap_or_else(env::temp_dir)
}

/// Unpacks into a folder of `parent` that is named by the files' hash.
fn unpack(parent: &Path) -> io::Result<PathBuf> {
    let root = parent.join(&identity()[..16]);
    if !is_whole(&root) {
        atomic::write_folder(&root, |root| {
            for (name, bytes) in FILES {
                let path = root.join("data").join(name);
                fs::create_dir_all(path.parent().unwrap_or(root))?;
                fs::write(path, bytes)?;
            }
            fs::create_dir_all(root.join("recipes").join("base"))
        })?;
    }
    Ok(root.join("recipes"))
}

fn is_whole(root: &Path) -> bool {
    let has = |(name, bytes): &(&str, &[u8])| {
        fs::metadata(root.join("data").join(name)).is_ok_and(|file| file.is_file() && file.len() == bytes.len() as u64)
    };
    root.join("recipes").is_dir() && FILES.iter().all(has)
}

fn identity() -> String {
    let mut hash = blake3::Hasher::new();
    for (name, bytes) in FILES {
        hash.update(name.as_bytes()).update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    }
    hash.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_copy_is_unpacked_again() {
        let parent = tempfile::tempdir().expect("a folder");
        let recipes = unpack(parent.path()).expect("unpacked");
        let root = recipes.parent().expect("a parent").to_owned();
        let question = root.join("data/tcm/questions.jsonl");
        let whole = fs::read(&question).expect("a bundled file");
        fs::write(&question, &whole[..whole.len() / 2]).expect("cut");
        assert_eq!(unpack(parent.path()).expect("again"), recipes);
        assert_eq!(fs::read(&question).expect("a bundled file"), whole);
        assert_eq!(fs::read_dir(parent.path()).expect("a folder").count(), 1, "nothing half-written stays");
    }

    #[test]
    fn the_files_are_those_of_the_source_tree() {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data");
        for (name, bytes) in FILES {
            assert_eq!(&fs::read(data.join(name)).expect("a file of the source tree"), bytes, "{name}");
        }
        assert!(FILES.iter().any(|(name, _)| *name == "base/model.safetensors"));
    }
}
