//! Text from data, recipes, templates and file names cannot drive the terminal: no escape sequence, other control character or
//! override of the text direction is printed.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::json;

use crate::support::{medley, run};

/// Sets the title, clears the screen, colours, and reverses the line; 7-bit and 8-bit forms.
const HOSTILE: &str = "A\u{1b}]0;owned\u{7}B\u{1b}[2JC\u{1b}[31mD\u{9b}1mE\u{202e}F\u{2066}G\u{7f}H\u{8}I\rJ";

fn clean(output: &Output, what: &str) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8(both).expect("UTF-8");
    let hostile = |character: char| {
        (character.is_control() && !matches!(character, '\n' | '\t'))
            || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!text.contains(hostile), "{what} prints {text:?}");
    assert!(!text.contains("panicked"), "{what}: {text}");
    text
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Two records with hostile texts, and a recipe that mixes them for the bundled model.
fn pool(folder: &Path) {
    let lines: String = (0..40)
        .map(|number| {
            let question = format!("{number} {HOSTILE} which of the four?");
            format!(
                "{}\n",
                json!({ "instruction": question, "input": HOSTILE, "output": format!("{HOSTILE} the answer {number}") })
            )
        })
        .collect();
    fs::write(folder.join("pool.jsonl"), lines).expect("written");
    recipe(folder, &root().join("data/base"), "pool.jsonl");
}

fn recipe(folder: &Path, base: &Path, path: &str) {
    let text = format!(
        "name = \"x\"\ndescription = {description}\n[model]\nbase = {base:?}\n[mix]\nsize = 4\nratio = {{ pool = 1 }}\n\
         validation = {{ fraction = 0.0, max_samples = 1 }}\n[sources.pool]\npath = {path}\n",
        description = toml(HOSTILE),
        path = toml(path),
    );
    fs::write(folder.join("recipe.toml"), text).expect("written");
}

/// A basic TOML string with every character escaped.
fn toml(text: &str) -> String {
    let escaped: String = text.chars().map(|character| format!("\\u{:04x}", u32::from(character))).collect();
    format!("\"{escaped}\"")
}

#[test]
fn records_are_shown_and_never_sent() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    pool(folder);
    for arguments in [
        &["preview", "--recipe", "recipe.toml", "-n", "2"][..],
        &["preview", "--recipe", "recipe.toml", "-n", "2", "--json"],
        &["preview", "--recipe", "recipe.toml", "-n", "2", "--set", "chat.max_tokens=70"],
        &["mix", "--recipe", "recipe.toml", "--out", "mixed"],
        &["mix", "--recipe", "recipe.toml", "--explain", "pool.jsonl:1"],
        &["recipe", "show", "recipe.toml"],
        &["recipe", "show", "recipe.toml", "--json"],
        &["recipe", "list"],
    ] {
        clean(&run(folder, arguments), &arguments.join(" "));
    }
    let explained = clean(&run(folder, &["mix", "--recipe", "recipe.toml", "--explain", "pool.jsonl:1"]), "explain");
    assert!(explained.contains('␛') || explained.contains("which of the four"), "the record is shown: {explained}");
}

#[test]
fn errors_quote_and_never_send() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    pool(folder);
    let broken = format!("{{\"instruction\": \"{HOSTILE}\", \"{HOSTILE}\": }}\n");
    let name = "na\u{1b}[2Jme\u{9b}m\u{202e}.jsonl";
    fs::write(folder.join(name), &broken).expect("written");
    recipe(folder, &root().join("data/base"), name);
    clean(&run(folder, &["mix", "--recipe", "recipe.toml", "--out", "mixed"]), "a broken record");
    clean(&run(folder, &["mix", "--recipe", "recipe.toml", "--explain", &format!("{name}:1")]), "a broken record");
    recipe(folder, &root().join("data/base"), &format!("gone{name}"));
    clean(&run(folder, &["mix", "--recipe", "recipe.toml", "--out", "mixed"]), "a missing file");
    let texts = [
        format!("name = {}\nsize = 1\n", toml(HOSTILE)),
        format!("[mix]\n{} = 1\n", toml(HOSTILE)),
        format!("[mix]\nsize = {}\norder = {}\n", toml(HOSTILE), toml(HOSTILE)),
        format!("[mix]\nsize = \"{HOSTILE}\"\n"),
        format!("extends = {}\n", toml(HOSTILE)),
        format!("[sources.{}]\npath = 5\n", toml(HOSTILE)),
        format!("# {HOSTILE}\nnot toml\n"),
    ];
    for text in texts {
        fs::write(folder.join("bad.toml"), &text).expect("written");
        let output = run(folder, &["recipe", "show", "bad.toml"]);
        clean(&output, &text);
        let output = run(folder, &["mix", "--recipe", "bad.toml", "--set", &format!("mix.{HOSTILE}=1")]);
        clean(&output, &text);
    }
    for arguments in [
        vec!["report", HOSTILE],
        vec!["runs", "show", HOSTILE],
        vec!["runs", HOSTILE],
        vec!["runs", "compare", HOSTILE, "other"],
        vec!["chat", "--model", HOSTILE, "--prompt", "x", "--device", "cpu"],
        vec!["exam", "--model", HOSTILE, "--papers", HOSTILE],
        vec!["recipe", "import", HOSTILE],
        vec!["plan", "--recipe", HOSTILE],
        vec!["train", "--recipe", HOSTILE],
        vec![HOSTILE],
        vec!["mix", "--recipe", "x", HOSTILE],
        vec!["runs", "--sort", HOSTILE],
    ] {
        let output = medley(folder, &arguments).output().expect("the binary starts");
        clean(&output, &format!("{arguments:?}"));
    }
}

#[test]
fn a_templates_words_are_shown_and_never_sent() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    pool(folder);
    let base = folder.join("base");
    fs::create_dir(&base).expect("created");
    for entry in fs::read_dir(root().join("data/base")).expect("bundled").flatten() {
        fs::copy(entry.path(), base.join(entry.file_name())).expect("copied");
    }
    recipe(folder, &base, "pool.jsonl");
    for template in [
        format!("{{{{ raise_exception('{HOSTILE}') }}}}"),
        format!("{{% {HOSTILE} %}}"),
        format!("{{{{ '{HOSTILE}' + missing }}}}"),
        format!("{HOSTILE}{{% for m in messages %}}{{{{ m.content }}}}{{% endfor %}}"),
    ] {
        fs::write(base.join("chat_template.jinja"), &template).expect("written");
        let output = run(folder, &["preview", "--recipe", "recipe.toml", "-n", "1"]);
        clean(&output, &template);
    }
}

#[test]
fn runs_tell_of_themselves_in_visible_characters() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let state = json!({
        "name": HOSTILE, "train_hash": HOSTILE, "status": "failed", "version": HOSTILE, "device": HOSTILE,
        "started": 1, "updated": 2, "step": 1, "total_steps": 9, "error": HOSTILE,
    });
    for name in ["a\u{1b}[2J", "b\u{202e}c", "plain", "broken"] {
        let run = folder.join("checkpoints").join(name);
        fs::create_dir_all(run.join("mix")).expect("created");
        let text = if name == "broken" { format!("{{\"{HOSTILE}\": ") } else { state.to_string() };
        fs::write(run.join("run.json"), text).expect("written");
        fs::write(run.join("recipe.toml"), format!("name = {}\n{HOSTILE}\n", toml(HOSTILE))).expect("written");
        fs::write(run.join("metrics.jsonl"), format!("{HOSTILE}\n")).expect("written");
        fs::write(run.join("mix/manifest.json"), HOSTILE).expect("written");
        fs::write(run.join("mix/ledger.json"), HOSTILE).expect("written");
    }
    for arguments in [
        &["runs"][..],
        &["runs", "--json"],
        &["runs", "show", "plain"],
        &["runs", "show", "broken"],
        &["runs", "show", "a\u{1b}[2J"],
        &["runs", "compare", "checkpoints/plain", "checkpoints/b\u{202e}c"],
        &["report", "checkpoints/plain", "checkpoints/a\u{1b}[2J", "checkpoints/broken"],
        &["report", "checkpoints"],
    ] {
        clean(&run(folder, arguments), &format!("{arguments:?}"));
    }
}
