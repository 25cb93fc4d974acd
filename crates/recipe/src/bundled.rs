//! Quickstart data and base model embedded in the binary; unpacked on demand for shipped recipes.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;
use std::{env, fs};

use medley_files::atomic;

/// Every file under `data/` at build time: relative path with forward slashes, and contents.
const FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/bundled.rs"));

/// Whether a shipped recipe refers to bundled files.
pub(crate) fn is_named_in(recipe: &str) -> bool {
    recipe.contains("../data/")
}

/// Base folder for a shipped recipe's relative paths: `recipes` beside the unpacked `data`.
///
/// Files are unpacked once per content hash into the first writable of: `XDG_CACHE_HOME`, `~/.cache`, `LOCALAPPDATA`, the
/// folder for temporary files. A copy that differs from the embedded files is replaced.
///
/// # Errors
/// When none of the folders can be written: the first one's error, with its path.
pub(crate) fn recipes_folder() -> io::Result<PathBuf> {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    if let Some(folder) = FOLDER.get() {
        return Ok(folder.clone());
    }
    let folder = unpack_into_first(cache_folders())?;
    Ok(FOLDER.get_or_init(|| folder).clone())
}

fn cache_folders() -> Vec<PathBuf> {
    let from = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = from("HOME").map(|home| home.join(".cache"));
    [from("XDG_CACHE_HOME"), home, from("LOCALAPPDATA"), Some(env::temp_dir())].into_iter().flatten().collect()
}

/// Folder of the unpacked copies of all versions, below a cache folder.
const COPIES: &str = "medley/bundled";

/// Name of a bundled file or folder, such as `exams/nursing.jsonl`, by the path of its unpacked copy of any version, on
/// any machine; `None` for other paths.
pub fn bundled_name(path: &Path) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(parts.pop()),
            Component::Normal(part) => parts.push(part.to_str()?),
            _ => {}
        }
    }
    let is_copy =
        |window: &[&str]| window[..2] == ["medley", "bundled"] && window[2].len() == 16 && window[3] == "data";
    let at = parts.windows(4).position(is_copy)?;
    let name = parts.get(at + 4..)?.join("/");
    let below = format!("{name}/");
    FILES.iter().any(|(file, _)| *file == name || file.starts_with(&below)).then_some(name)
}

fn unpack_into_first(caches: Vec<PathBuf>) -> io::Result<PathBuf> {
    let mut first_error = None;
    for cache in caches {
        match unpack(&cache.join(COPIES)) {
            Ok(folder) => return Ok(folder),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.unwrap_or_else(|| io::ErrorKind::NotFound.into()))
}

/// Unpacks into `parent/HASH`, where HASH identifies the contents. A file lock keeps a second process from replacing
/// the copy that a first one has started to read.
fn unpack(parent: &Path) -> io::Result<PathBuf> {
    let root = parent.join(&identity()[..16]);
    if !is_whole(&root) {
        atomic::make_folder(parent)?;
        let lock = fs::File::create(parent.join(".lock"))?;
        lock.lock()?;
        atomic::remove_leftovers(parent)?;
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
    }
    Ok(root.join("recipes"))
}

fn is_whole(root: &Path) -> bool {
    let matches =
        |(name, bytes): &(&str, &[u8])| fs::read(root.join("data").join(name)).is_ok_and(|read| read == *bytes);
    root.join("recipes").is_dir() && FILES.iter().all(matches)
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
    fn processes_at_once_share_one_copy() {
        let parent = tempfile::tempdir().expect("a folder");
        let cache = parent.path();
        let folders = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| unpack(cache).expect("unpacked"))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
        });
        assert!(folders.iter().all(|folder| folder == &folders[0] && is_whole(folder.parent().expect("a parent"))));
    }

    #[test]
    fn a_cache_that_cannot_be_written_is_passed_over() {
        let parent = tempfile::tempdir().expect("a folder");
        let file = parent.path().join("no-folder");
        fs::write(&file, "").expect("a file");
        let second = parent.path().join("second");
        let folder = unpack_into_first(vec![file.clone(), second.clone()]).expect("unpacked");
        assert!(folder.starts_with(&second));
        let error = unpack_into_first(vec![file]).expect_err("no folder").to_string();
        assert!(error.contains("no-folder"), "{error}");
    }

    #[test]
    fn bundled_files_are_named_by_the_paths_of_their_copies() {
        let parent = tempfile::tempdir().expect("a folder");
        let recipes = unpack_into_first(vec![parent.path().to_path_buf()]).expect("unpacked");
        let name = |path: &str| bundled_name(&recipes.join(path));
        assert_eq!(name("../data/tcm/questions.jsonl").as_deref(), Some("tcm/questions.jsonl"));
        assert_eq!(name("../data/base").as_deref(), Some("base"));
        assert_eq!(
            (name("../data/gone.jsonl"), name("../data"), name("."), name("../../../..")),
            (None, None, None, None)
        );
        let elsewhere = "/home/other/.cache/medley/bundled/0123456789abcdef/recipes/../data/base";
        assert_eq!(bundled_name(Path::new(elsewhere)).as_deref(), Some("base"));
        assert_eq!(bundled_name(Path::new(env!("CARGO_MANIFEST_DIR"))), None);
    }

    #[test]
    fn a_damaged_copy_is_unpacked_again() {
        let parent = tempfile::tempdir().expect("a folder");
        let recipes = unpack(parent.path()).expect("unpacked");
        let root = recipes.parent().expect("a parent").to_owned();
        let question = root.join("data/tcm/questions.jsonl");
        let whole = fs::read(&question).expect("a bundled file");
        let mut changed = whole.clone();
        changed[0] ^= 1;
        // As left by a killed process.
        fs::create_dir(parent.path().join(format!("{}x", atomic::TEMPORARY))).expect("made");
        for damaged in [&whole[..whole.len() / 2], &changed] {
            fs::write(&question, damaged).expect("damaged");
            assert_eq!(unpack(parent.path()).expect("again"), recipes);
            assert_eq!(fs::read(&question).expect("a bundled file"), whole);
        }
        let names = fs::read_dir(parent.path()).expect("a folder").map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<_> = names.collect();
        names.sort();
        assert_eq!(names.len(), 2, "the lock and one copy: {names:?}");
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
