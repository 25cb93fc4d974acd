//! The README's first command, and the control that its exam needs: without the right passages the score must fall.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{run, succeeds, text};

fn report(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).expect("a report")).expect("JSON")
}

fn average(report: &Value, book: &str) -> f64 {
    let books = report["books"].as_array().expect("books");
    let book = books.iter().find(|entry| entry["book"] == book).unwrap_or_else(|| panic!("no {book} book"));
    book["strict"]["average"]["value"].as_f64().expect("an average")
}

#[test]
fn it_reads_and_the_exam_knows() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("run");
    let out_text = out.to_string_lossy();
    let output = run(root, &["train", "--recipe", "recipes/quickstart.toml", "--device", "cpu", "--out", &out_text]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = String::from_utf8_lossy(&output.stdout);
    for column in ["guess", "string", "base", "fine-tuned", "closed book", "95 % interval"] {
        assert!(table.contains(column), "no «{column}» in:\n{table}");
    }

    let trained = report(&out.join("exam/report.json"));
    assert_eq!(trained["items"], 600);
    let guess = trained["guess"]["average"]["value"].as_f64().expect("a guess");
    let string_match = trained["string_match"]["average"]["value"].as_f64().expect("a string match");
    let open = average(&trained, "open");
    assert!(open > string_match + 0.3, "open book {open}, string match {string_match}");
    let difference = &trained["open_minus_closed"]["difference"];
    assert!(difference["low"].as_f64().expect("an interval") > 0.3, "{difference}");
    for source in ["general", "tcm", "western"] {
        let ledger = report(&out.join("mix/ledger.json"));
        let chosen = ledger["sources"][source]["chosen"].as_u64().expect("a count");
        assert_eq!(chosen, if source == "general" { 1800 } else { 100 });
    }

    let control = folder.path().join("control");
    let control_text = control.to_string_lossy();
    let fixed = ["exam", "--model", &out_text, "--device", "cpu", "--book", "open", "--shuffle-passages"];
    succeeds(root, &[fixed.as_slice(), &["--out", &control_text]].concat());
    let exchanged = average(&report(&control.join("report.json")), "open");
    assert!(exchanged < guess + 0.05, "with exchanged passages {exchanged}, guessing gets {guess}");
    check_same_run_again(root, &out_text, &table);
}

/// Bundled papers are unpacked into a cache folder, whose path is not printed.
#[test]
fn bundled_papers_are_printed_by_name() {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/base");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let base = base.to_string_lossy();
    let exam = ["exam", "--model", &base, "--recipe", "shipped:quickstart", "--device", "cpu", "--limit", "2"];
    let printed = |more: &[&str]| text(&run(folder.path(), &[&exam, more].concat()).stderr);
    let short = printed(&["--book", "open"]);
    assert!(short.contains("papers 600 items of 6 files (medley)") && !short.contains("nursing"), "{short}");
    let long = printed(&["--book", "closed", "-v"]);
    assert!(long.contains("papers bundled: exams/nursing.jsonl: 100 items (medley)"), "{long}");
}

/// The same command on a finished run shows the same table, and trains nothing.
fn check_same_run_again(root: &Path, out: &str, table: &str) {
    let again = succeeds(root, &["train", "--recipe", "recipes/quickstart.toml", "--device", "cpu", "--out", out]);
    assert_eq!(again, table);
}
