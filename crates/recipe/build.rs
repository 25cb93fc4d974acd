//! Lists every recipe under `recipes/` so that the binary carries them.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let crate_folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let recipes = crate_folder.join("../../recipes").canonicalize().expect("the repository has a recipes folder");
    let mut files = Vec::new();
    collect(&recipes, &recipes, &mut files);
    files.sort();

    let mut code = String::from("&[\n");
    for file in &files {
        let path = recipes.join(file);
        writeln!(code, "    ({file:?}, include_str!({path:?})),").expect("writing to a string");
    }
    code.push_str("]\n");
    // Where a shipped recipe's relative paths start from, as long as the source tree is still there.
    println!("cargo:rustc-env=MEDLEY_RECIPES={}", recipes.display());
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("shipped.rs"), code).expect("the output folder is writable");
}

/// Gathers the `*.toml` files below `folder`, by their path from `root` with forward slashes.
fn collect(root: &Path, folder: &Path, files: &mut Vec<String>) {
    println!("cargo:rerun-if-changed={}", folder.display());
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            collect(root, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            let relative = path.strip_prefix(root).expect("below the root");
            files.push(relative.to_string_lossy().replace('\\', "/"));
        }
    }
}
