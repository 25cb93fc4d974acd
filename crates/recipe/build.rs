//! Lists every recipe under `recipes/` and every file under `data/` so that the binary carries them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let crate_folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let recipes = crate_folder.join("../../recipes").canonicalize().expect("the repository has a recipes folder");
    let data = crate_folder.join("../../data").canonicalize().expect("the repository has a data folder");
    let is_recipe = |path: &Path| path.extension().is_some_and(|extension| extension == "toml");
    write_list("shipped.rs", "include_str", &recipes, &is_recipe);
    write_list("bundled.rs", "include_bytes", &data, &|_| true);
}

/// Writes a slice of (path below `root`, content) of the files that `wanted` takes.
fn write_list(name: &str, include: &str, root: &Path, wanted: &dyn Fn(&Path) -> bool) {
    let mut files = Vec::new();
    collect(root, root, wanted, &mut files);
    files.sort();

    let mut code = String::from("&[\n");
    for file in &files {
        let path = root.join(file);
        writeln!(code, "    ({file:?}, {include}!({path:?})),").expect("writing to a string");
    }
    code.push_str("]\n");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join(name), code).expect("the output folder is writable");
}

/// Gathers the wanted files below `folder`, by their path from `root` with forward slashes.
fn collect(root: &Path, folder: &Path, wanted: &dyn Fn(&Path) -> bool, files: &mut Vec<String>) {
    println!("cargo:rerun-if-changed={}", folder.display());
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            collect(root, &path, wanted, files);
        } else if wanted(&path) {
            let relative = path.strip_prefix(root).expect("below the root");
            files.push(relative.to_string_lossy().replace('\\', "/"));
        }
    }
}
