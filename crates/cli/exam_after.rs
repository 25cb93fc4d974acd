//! The exam at the end of `medley train`, of the trained model and of its base.

use std::path::Path;

use burn::tensor::DType;
use medley_chat::ChatTokenizer;
use medley_eval::ExamReport;
use medley_model::{RunDevice, open_model};
use medley_recipe::{Resolved, bundled_name};
use medley_run::{RunDir, compare_exams};
use medley_trainer::Base;
use medley_view::{exam_table, gain_title, paired_note};

use crate::base::FoundBase;
use crate::card_exam::put_exam;
use crate::errors::report;
use crate::exam::{Examined, Options, examine, say_papers};
use crate::exam_check::RecipeExam;
use crate::models::model_hash;
use crate::progress::tell;

/// Folder of the base model's answers, inside the run's exam folder.
const BASE_FOLDER: &str = "base";

/// Runs the recipe's exam with the base, except fresh weights or with `skip_base`, and with the trained model.
///
/// # Errors
/// A model that cannot be used, or answers of another exam in the run's folder.
pub fn exam_after(
    resolved: &Resolved,
    exam: &RecipeExam,
    base: &FoundBase,
    device: &RunDevice,
    dtype: DType,
    run_dir: &RunDir,
    skip_base: bool,
) -> miette::Result<()> {
    let recipe = &resolved.recipe;
    let RecipeExam { papers, template: Some(template) } = exam else { return Ok(()) };
    say_papers(papers);
    let sit = |name: &str, directory: &Path, under: Option<&Path>, folder: &Path| -> miette::Result<()> {
        let of = bundled_name(directory).map_or_else(|| name.to_owned(), |bundled| format!("bundled {bundled}"));
        tell("exam", format!("{} items, {of}", papers.items.len()));
        let opened = open_model(directory, under, &device.device, dtype).map_err(report)?;
        let tokenizer = ChatTokenizer::from_dir(&opened.tokenizer_directory).map_err(report)?;
        let examined = Examined {
            name: name.to_owned(),
            hash: model_hash(&opened, directory)?,
            opened: &opened,
            tokenizer: &tokenizer.with_system(recipe.chat.system.clone()),
            device: device.to_string(),
        };
        examine(&examined, papers, &recipe.exam, template, Options::default(), folder).map(drop)
    };
    let base_folder = run_dir.exam().join(BASE_FOLDER);
    match &base.base {
        _ if skip_base => {}
        Base::Fresh { .. } => {}
        Base::Model { directory, name } => sit(name, directory, None, &base_folder)?,
        Base::Merged { model, adapter } => sit(&recipe.model.base, adapter, Some(model), &base_folder)?,
    }
    let under = match &base.base {
        Base::Model { directory, .. } => Some(directory.as_path()),
        Base::Merged { .. } | Base::Fresh { .. } => None,
    };
    sit(&recipe.name, &run_dir.model(), under, &run_dir.exam())?;
    put_exam(run_dir)
}

/// Prints the table of a run's exam, from its folder alone.
///
/// # Errors
/// Reports that cannot be read.
pub fn show_exam(run_dir: &RunDir) -> miette::Result<()> {
    let tuned = read_report(&run_dir.exam())?;
    let base = read_report(&run_dir.exam().join(BASE_FOLDER))?;
    let columns = [("base", &base), ("fine-tuned", &tuned)];
    let columns: Vec<(&str, &ExamReport)> =
        columns.into_iter().filter_map(|(title, report)| Some((title, report.as_ref()?))).collect();
    print!("{}", exam_table(&columns));
    if let (Some(tuned), Some(_)) = (&tuned, &base) {
        for book in &tuned.books {
            let base = run_dir.exam().join(BASE_FOLDER);
            let paired = compare_exams(&run_dir.exam(), &base, book.book).map_err(report)?;
            print!("{}", paired_note(&gain_title(book.book), &paired.average));
        }
    }
    Ok(())
}

fn read_report(folder: &Path) -> miette::Result<Option<ExamReport>> {
    let path = folder.join("report.json");
    if path.exists() { ExamReport::read(&path).map(Some).map_err(report) } else { Ok(None) }
}
