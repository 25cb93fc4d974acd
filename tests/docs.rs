//! The documents: links lead somewhere, commands have these subcommands and options, recipes load.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// README and its neighbours, and the pages of the book.
fn documents() -> Vec<PathBuf> {
    let pages = |folder: PathBuf| fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut documents: Vec<PathBuf> = pages(root().to_owned()).chain(pages(root().join("docs"))).collect();
    documents.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    documents.sort();
    documents
}

fn name(path: &Path) -> String {
    path.strip_prefix(root()).expect("inside").display().to_string()
}

/// The fenced blocks in a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(found) = line.trim_start().strip_prefix("```") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| !line.trim_start().starts_with("```")).collect();
            if found.trim() == language {
                blocks.push(block.join("\n"));
            }
        }
    }
    blocks
}

/// The text outside fenced blocks.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// The anchor that GitHub and mdBook make of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
    kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    prose(text).lines().filter(|line| line.starts_with('#')).map(|line| anchor(line.trim_start_matches('#'))).collect()
}

#[test]
fn links_lead_to_files_and_headings() {
    let mut checked = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).expect("readable");
        for link in prose(&text).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { document.clone() } else { document.with_file_name(path) };
            assert!(target.exists(), "{}: the link `{link}` leads nowhere", name(&document));
            if !heading.is_empty() {
                let text = fs::read_to_string(&target).expect("readable");
                assert!(anchors(&text).contains(heading), "{}: `{link}` names no heading", name(&document));
            }
            checked += 1;
        }
    }
    assert!(checked > 20, "{checked} links");
}

#[test]
fn every_page_is_in_the_books_summary() {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).expect("readable");
    for page in documents().iter().filter(|path| path.starts_with(root().join("docs"))) {
        let file = page.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(
            file == "SUMMARY.md" || summary.contains(&format!("({file})")),
            "docs/{file} is not in docs/SUMMARY.md"
        );
    }
}

/// The words of a command in a document: comments, redirections, brackets and further alternatives left out.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = line.split_whitespace();
    (words.next()? == "medley").then_some(())?;
    let mut command = Vec::new();
    for word in words {
        if word.starts_with('#') || matches!(word, "|" | ">") {
            break;
        }
        let word = word.replace(['[', ']', '\''], "");
        let word = word.trim_end_matches("...").split('|').next().unwrap_or_default().to_owned();
        if !word.is_empty() {
            command.push(word);
        }
    }
    Some(command)
}

#[test]
fn commands_have_these_subcommands_and_options() {
    let mut checked = BTreeSet::new();
    for document in documents() {
        let text = fs::read_to_string(&document).expect("readable");
        for line in blocks(&text, "sh").iter().flat_map(|block| block.lines()) {
            let Some(words) = words(line) else { continue };
            let output =
                Command::cargo_bin("medley").expect("built").args(&words).arg("--help").output().expect("runs");
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: `{line}`: {error}", name(&document));
            checked.insert(words[0].clone());
        }
    }
    assert!(checked.len() > 9, "{checked:?}");
}

#[test]
fn recipes_load() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut checked = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).expect("readable");
        for (number, block) in blocks(&text, "toml").into_iter().enumerate() {
            let is_whole = block.contains("extends = ");
            let recipe = if is_whole { block } else { format!("extends = \"quickstart\"\n{block}") };
            let path = folder.path().join(format!("{number}.toml"));
            fs::write(&path, &recipe).expect("written");
            if let Err(errors) = medley_recipe::load(&path.to_string_lossy(), &[] as &[&str]) {
                panic!("{}, block {}: {:?}", name(&document), number + 1, miette::Report::new(errors));
            }
            checked += 1;
        }
    }
    assert!(checked > 5, "{checked} recipes");
}
