//! A run by folder, name, hash or a prefix of these, in every command that takes a run.

use std::fs;

use serde_json::Value;

use crate::runs::{arguments, find, list, paper};
use crate::support::{refused, run, succeeds, text};

#[test]
fn every_command_finds_a_run_by_folder_name_and_hash() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    paper(folder);
    succeeds(folder, &arguments("checkpoints/group/first", &["--set", "name=apple"]));
    succeeds(folder, &arguments("checkpoints/second", &["--set", "name=banana", "--set", "mix.seed=7"]));
    let runs = list(folder, &[]);
    let hash = find(&runs, "checkpoints/group/first")["train_hash"].as_str().expect("a hash").to_owned();
    let names = ["checkpoints/group/first", "group/first", "first", "apple", "app", &hash, &hash[..8], &hash[..5]];
    for name in names {
        let shown = succeeds(folder, &["runs", "show", name, "--html", "page.html"]);
        assert!(shown.starts_with("apple  complete  checkpoints/group/first\n"), "{name}: {shown}");
        let json = succeeds(folder, &["report", name, "banana", "--json"]);
        assert!(json.contains("checkpoints/group/first") && json.contains("checkpoints/second"), "{name}: {json}");
    }
    for name in ["apple", &hash[..8]] {
        let compared = succeeds(folder, &["runs", "compare", name, "second"]);
        assert!(compared.contains("mix.seed"), "{name}: {compared}");
        let differ = run(folder, &["mix", "--diff", name, "second"]);
        assert_eq!(differ.status.code(), Some(1), "{name}: {}", text(&differ.stderr));
        succeeds(folder, &["mix", "--report-of", name]);
        let more = ["--limit", "2", "--device", "cpu", "--out", &format!("exam-{name}")];
        succeeds(folder, &[&["exam", "--model", name][..], &more].concat());
        succeeds(folder, &["chat", "--model", name, "--prompt", "?", "--max-new-tokens", "2", "--device", "cpu"]);
        let base = format!("model.base={name}");
        succeeds(folder, &["plan", "--recipe", "quickstart.toml", "--set", &base]);
        succeeds(folder, &["preview", "--recipe", "quickstart.toml", "--set", &base, "-n", "1"]);
    }
    assert!(folder.join("checkpoints/group/first/mix/report.html").is_file());
    succeeds(folder, &["preview", "--recipe", "apple", "-n", "1"]);
    // The stored recipe names a base run by its absolute folder: it does not depend on the working directory.
    succeeds(folder, &arguments("checkpoints/third", &["--set", "model.base=banana", "--set", "exam.papers=[]"]));
    let stored = fs::read_to_string(folder.join("checkpoints/third/recipe.toml")).expect("a recipe");
    let base = folder.join("checkpoints/second").canonicalize().expect("there");
    assert!(stored.contains(&format!("base = \"{}", base.display())), "{stored}");

    let ambiguous = refused(folder, &["runs", "show", "checkpoints/"]);
    assert!(ambiguous.contains("not a run"), "{ambiguous}");
    fs::create_dir_all(folder.join("checkpoints/copies")).expect("made");
    copy(&folder.join("checkpoints/second"), &folder.join("checkpoints/copies/second"));
    let ambiguous = refused(folder, &["runs", "show", "banana"]);
    for part in ["any of 2 runs", "checkpoints/copies/second", "checkpoints/second"] {
        assert!(ambiguous.contains(part), "no «{part}» in: {ambiguous}");
    }
    let near = refused(folder, &["chat", "--model", "aple", "--prompt", "x"]);
    assert!(near.contains("did you mean") && near.contains("checkpoints/group/first"), "{near}");
    one_training_is_one_seed(folder);
}

/// The copy that was made above does not count as a second seed, and an unreadable folder is skipped.
fn one_training_is_one_seed(folder: &std::path::Path) {
    let names = ["report", "checkpoints/second", "checkpoints/copies/second", "first", "gone", "--json"];
    let output = run(folder, &names);
    let (json, said) = (String::from_utf8_lossy(&output.stdout).into_owned(), text(&output.stderr));
    assert!(output.status.success() && said.contains("skipped") && said.contains("gone: no such run"), "{said}");
    let tables: Value = serde_json::from_str(&json).expect("JSON on standard output");
    assert_eq!(tables[0]["cells"][0]["seeds"], 2, "{tables:#}");
    let notes = tables[0]["notes"].to_string();
    assert!(notes.contains("the same training as") && notes.contains("counted once"), "{notes}");
    let nothing = refused(folder, &["report", "gone", "lost"]);
    assert!(nothing.contains("no run is left to tabulate"), "{nothing}");
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("readable") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("copied");
        }
    }
}
