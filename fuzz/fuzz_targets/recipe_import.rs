//! Another tool's description of data: it ends in a recipe that is read again, or in errors that help.
//!
//! What follows a first NUL is the `dataset_info.json` that a training file of LLaMA-Factory names its sets in.
#![no_main]

#[path = "common.rs"]
mod common;

use std::path::Path;
use std::sync::Once;

use miette::Diagnostic;
use medley_import::{ImportOptions, import};
use medley_recipe::{RecipeErrors, load, parse};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let border = bytes.iter().position(|byte| *byte == 0);
    let (file, info) = border.map_or((bytes, &[][..]), |at| (&bytes[..at], &bytes[at + 1..]));
    common::in_folder(|folder| {
        static DATA: Once = Once::new();
        DATA.call_once(|| {
            std::fs::create_dir_all(folder.join("data")).expect("a folder");
            for name in ["a.json", "data/b.jsonl", "data/c.csv"] {
                std::fs::write(folder.join(name), "").expect("written");
            }
        });
        std::fs::write(folder.join("file"), file).expect("written");
        std::fs::write(folder.join("data/dataset_info.json"), info).expect("written");
        check(folder, Some(folder).filter(|_| bytes.len() % 2 == 0));
    });
});

fn check(folder: &Path, base: Option<&Path>) {
    let options = ImportOptions { base, only: &[], recipe_folder: folder };
    let imported = match import(&folder.join("file"), &options) {
        Ok(imported) => imported,
        Err(errors) => return check_errors(&errors),
    };
    std::fs::write(folder.join("imported.toml"), &imported.toml).expect("written");
    let name = folder.join("imported.toml");
    let resolved = load::<&str>(&name.to_string_lossy(), &[]).expect("an imported recipe is one");
    assert_eq!(resolved.recipe.mix.sources.len(), imported.sources);
    let written =
        parse::<&str>("written.toml", &resolved.to_toml(), Some(folder), &[]).expect("a written recipe is one");
    assert_eq!(written.to_toml(), resolved.to_toml());
}

/// Each error is of the file, not of the recipe made from it, and says what to do or at least where.
fn check_errors(errors: &RecipeErrors) {
    assert!(!errors.problems().is_empty());
    for problem in errors.problems() {
        let place = problem.location().unwrap_or_default();
        assert!(!place.contains("imported.toml"), "{place}: {problem}\n{errors:?}");
        let labelled = problem.labels().is_some_and(|mut labels| labels.any(|label| label.label().is_some()));
        assert!(labelled || problem.help().is_some(), "{place}: {problem}");
        let report = miette::GraphicalReportHandler::new();
        report.render_report(&mut String::new(), problem).expect("shown");
    }
}
