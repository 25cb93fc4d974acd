//! A recipe's exam, read and checked before training.

use std::path::Path;

use medley_chat::ChatTokenizer;
use medley_eval::{Papers, PromptTemplate, check_exam, load_papers};
use medley_mixture::SourcePart;
use medley_recipe::Resolved;

use crate::errors::report;
use crate::hub_bars;

/// Items and prompt template of a recipe's exam.
pub struct RecipeExam {
    /// The items; empty where the recipe has no exam.
    pub papers: Papers,
    /// The prompt template; `None` where the recipe has no exam.
    pub template: Option<PromptTemplate>,
}

impl RecipeExam {
    /// Reads papers and template.
    ///
    /// # Errors
    /// Papers that cannot be found or read, a template that is missing or omits a part of the question.
    pub fn read(resolved: &Resolved) -> miette::Result<Self> {
        let spec = &resolved.recipe.exam;
        let template = match spec.papers.is_empty() {
            true => None,
            false => Some(PromptTemplate::load(&spec.prompt, &resolved.base_dir).map_err(report)?),
        };
        Ok(Self { papers: papers(resolved)?, template })
    }

    /// [`Self::read`], with a check that every prompt fits the model's tokenizer and context.
    ///
    /// # Errors
    /// As [`Self::read`], and an item whose prompt does not fit, with the setting that limits it.
    pub fn checked(resolved: &Resolved, tokenizer: &ChatTokenizer, context: usize) -> miette::Result<Self> {
        let exam = Self::read(resolved)?;
        if let Some(template) = &exam.template {
            check_exam(&exam.papers, &resolved.recipe.exam, template, tokenizer, context).map_err(report)?;
        }
        Ok(exam)
    }
}

/// The papers of a recipe, local or on the hub; empty where it has none.
///
/// # Errors
/// As [`load_papers`].
pub fn papers(resolved: &Resolved) -> miette::Result<Papers> {
    read_papers(&resolved.recipe.exam.papers, &resolved.base_dir)
}

/// Papers relative to `base_dir`, local or on the hub.
///
/// # Errors
/// As [`load_papers`].
pub fn read_papers(parts: &[SourcePart], base_dir: &Path) -> miette::Result<Papers> {
    let hub = hub_bars::hub();
    load_papers(parts, base_dir, Some(&hub)).map_err(report)
}
