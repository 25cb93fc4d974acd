//! `medley mix --report`, `--report-of` and `--diff` over the shipped data, as a user runs them.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{refused, run, succeeds, text};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Mixes the quickstart's data with these settings to `folder/name`.
fn mixed(folder: &Path, name: &str, more: &[&str]) -> String {
    let out = folder.join(name).to_string_lossy().into_owned();
    let fixed = ["mix", "--recipe", "recipes/quickstart.toml", "--out", &out, "--set", "mix.size=400"];
    succeeds(root(), &[&fixed, more].concat());
    out
}

#[test]
fn a_mix_has_a_page() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = mixed(folder.path(), "mixed", &["--report"]);
    let page = Path::new(&out).join("report.html");
    let html = fs::read_to_string(&page).expect("a page");
    for part in [
        "general 9 : medical 1 (tcm 1 : western 1)",
        "Composition",
        "Lengths",
        "Languages",
        "MIT OR Apache-2.0",
        "<article",
    ] {
        assert!(html.contains(part), "no «{part}» in the page");
    }
    assert!(html.len() < 400_000 && !html.contains("https:"), "{} bytes", html.len());
    // Another mix in the same folder removes the page of the earlier one.
    mixed(folder.path(), "mixed", &["--set", "mix.seed=7"]);
    assert!(!page.exists(), "the page of an earlier mix is left");
    succeeds(root(), &["mix", "--report-of", &out]);
    assert!(fs::read_to_string(&page).expect("a page").contains("seed 7"));
    let message = refused(root(), &["mix", "--report-of", &folder.path().to_string_lossy()]);
    assert!(message.contains("there is no mix here") && message.contains("medley mix --out"), "{message}");
}

#[test]
fn two_mixes_are_compared_as_diff_does() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [a, same] = ["a", "same"].map(|name| mixed(folder.path(), name, &[]));
    let b = mixed(folder.path(), "b", &["--set", "mix.seed=7", "--set", "mix.validation.fraction=0.0"]);
    let code = |left: &str, right: &str| run(root(), &["mix", "--diff", left, right]).status.code();
    assert_eq!([code(&a, &same), code(&a, &b), code(&a, "gone")], [Some(0), Some(1), Some(2)]);
    let output = run(root(), &["mix", "--diff", &a, &b]);
    let told = text(&output.stdout);
    for part in [
        "mix.seed: 42 → 7",
        "mix.validation.fraction: 0.05 → 0.0",
        "source files: the same",
        "only in A, for example",
        "WARNING",
    ] {
        assert!(told.contains(part), "no «{part}» in: {told}");
    }
    let json = run(root(), &["mix", "--diff", &a, &b, "--json"]);
    let found: Value = serde_json::from_slice(&json.stdout).expect("JSON on standard output");
    let line = &found["records"]["train"]["sources"]["tcm"];
    let [same, only_a] = ["same", "only_a"].map(|key| line[key].as_u64().expect("a count"));
    assert_eq!((found["identical"].as_bool(), same + only_a), (Some(false), 20), "{found:#}");
    let message = refused(root(), &["mix", "--diff", &a, "gone"]);
    assert!(message.contains("gone: there is no mix here"), "{message}");
}

#[test]
fn a_task_is_named_and_only_one() {
    let message = refused(root(), &["mix"]);
    assert!(message.contains("--recipe <RECIPE>|--report-of <DIR>|--diff"), "{message}");
    let message = refused(root(), &["mix", "--recipe", "quickstart"]);
    assert!(message.contains("--out <DIR>"), "{message}");
    let message = refused(root(), &["mix", "--recipe", "quickstart", "--diff", "a", "b"]);
    assert!(message.contains("cannot be used with"), "{message}");
}
