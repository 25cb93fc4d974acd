//! A recipe's exam, read and checked before anything is trained.

use medley_chat::ChatTokenizer;
use medley_eval::{Papers, PromptTemplate, check_exam, load_papers};
use medley_hub::Hub;
use medley_recipe::Resolved;

use crate::errors::report;
use crate::progress;

/// What a recipe's exam is made of.
pub struct RecipeExam {
    /// The items; none where the recipe has no exam.
    pub papers: Papers,
    /// The wording; `None` where the recipe has no exam.
    pub template: Option<PromptTemplate>,
}

impl RecipeExam {
    /// Reads papers and template.
    ///
    /// # Errors
    /// Papers that cannot be found or read, a template that is missing or drops a part of the question.
    pub fn read(resolved: &Resolved) -> miette::Result<Self> {
        let spec = &resolved.recipe.exam;
        if spec.papers.is_empty() {
            return Ok(Self { papers: Papers::default(), template: None });
        }
        let template = PromptTemplate::load(&spec.prompt, &resolved.base_dir).map_err(report)?;
        Ok(Self { papers: papers(resolved)?, template: Some(template) })
    }

    /// The same, and checks that every item can be asked of a model of this tokenizer and context.
    ///
    /// # Errors
    /// As [`Self::read`], and an item that cannot be asked, with the setting that forbids it.
    pub fn checked(resolved: &Resolved, tokenizer: &ChatTokenizer, context: usize) -> miette::Result<Self> {
        let exam = Self::read(resolved)?;
        if let Some(template) = &exam.template {
            check_exam(&exam.papers, &resolved.recipe.exam, template, tokenizer, context).map_err(report)?;
        }
        Ok(exam)
    }
}

/// The papers of a recipe, those of the hub included.
///
/// # Errors
/// What [`load_papers`] refuses.
pub fn papers(resolved: &Resolved) -> miette::Result<Papers> {
    let hub = Hub::from_env().with_bars(progress::bars().clone());
    load_papers(&resolved.recipe.exam.papers, &resolved.base_dir, Some(&hub)).map_err(report)
}
