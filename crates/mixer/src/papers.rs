//! The questions of a recipe's exam, as far as the mixer needs them.

use std::path::Path;

use serde::Deserialize;

use crate::error::MixError;
use crate::locate::locate;
use crate::read::{Problem, Splitter, open};
use crate::spec::{SourcePart, SourceSpec};

/// The only key of an exam item that matters here.
#[derive(Deserialize)]
struct Item {
    question: String,
}

/// The `question` of every item of the exam papers (files, directories and globs of JSON Lines or JSON arrays, relative
/// to `base_dir` or the working directory): what [`crate::MixContext::exam_questions`] takes.
///
/// # Errors
/// A paper that cannot be found or read, an item without a question.
pub fn exam_questions(papers: &[String], base_dir: &Path) -> Result<Vec<String>, MixError> {
    if papers.is_empty() {
        return Ok(Vec::new());
    }
    let parts = papers.iter().map(|path| SourcePart { path: path.clone(), ..SourcePart::default() }).collect();
    let mut questions = Vec::new();
    for file in locate("exam.papers", &SourceSpec { parts }, base_dir, None)? {
        let whole = |Problem { problem, hint }| MixError::File { file: file.name.clone(), problem, hint };
        let at = |(line, record), Problem { problem, hint }| MixError::Record {
            file: file.name.clone(),
            line,
            record,
            problem,
            hint,
        };
        let (reader, _) = open(&file.path).map_err(whole)?;
        let mut splitter = Splitter::new(reader);
        let next = |splitter: &mut Splitter| {
            splitter.next_batch().map_err(|(place, problem)| match place {
                Some(place) => at(place, problem),
                None => whole(problem),
            })
        };
        while let Some(batch) = next(&mut splitter)? {
            for span in &batch.spans {
                let item: Item = serde_json::from_slice(&batch.bytes[span.range.clone()]).map_err(|error| {
                    at((span.line, span.record), Problem::new(format!("no exam item: {error}"), ITEM))
                })?;
                questions.push(item.question);
            }
        }
    }
    Ok(questions)
}

const ITEM: &str = "an exam item is an object with a text `question`";
