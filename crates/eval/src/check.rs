//! Checks of an exam's settings, before anything is trained or asked.

use medley_recipe::ExamSpec;
use rayon::prelude::*;

use crate::error::{EvalError, PromptLimit};
use crate::item::Item;
use crate::model_solver::fit_context;
use crate::papers::Papers;
use crate::prompt::{Codec, PromptTemplate};

/// Checks that `spec` fits every item and a model with a context of `context` tokens: the template shows question and options
/// in every book, and the prompt without passages fits.
///
/// # Errors
/// The first item that does not fit, with the setting; no items; a context without room for an answer.
pub fn check_exam(
    papers: &Papers,
    spec: &ExamSpec,
    template: &PromptTemplate,
    codec: &(dyn Codec + Sync),
    context: usize,
) -> Result<(), EvalError> {
    if papers.items.is_empty() {
        let hint = "name files of items with exam.papers or --papers";
        return Err(EvalError::Papers { problem: "the exam has no items".to_owned(), hint: hint.to_owned() });
    }
    let fitted = fit_context(spec, context).ok_or(EvalError::NoRoom { context, answer: spec.max_new_tokens })?;
    let checked: Vec<Result<(), EvalError>> =
        papers.items.par_iter().map(|item| check_item(item, (spec, context), &fitted, template, codec)).collect();
    checked.into_iter().collect()
}

fn check_item(
    item: &Item,
    (spec, context): (&ExamSpec, usize),
    fitted: &ExamSpec,
    template: &PromptTemplate,
    codec: &(dyn Codec + Sync),
) -> Result<(), EvalError> {
    for &book in &spec.books {
        template.shows(item, book, spec.answer)?;
    }
    let refused = |reason| EvalError::Encode { id: item.id.clone(), reason };
    let tokens = codec.encode(&template.render(item, &[], spec.answer)?).map_err(refused)?.len();
    let limit = fitted.max_prompt_tokens;
    // Passages may be cut, the question never.
    if tokens <= limit {
        return Ok(());
    }
    let bound = if limit < spec.max_prompt_tokens { PromptLimit::Context { context } } else { PromptLimit::Setting };
    Err(EvalError::PromptTooLong { id: item.id.clone(), tokens, limit, bound })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use medley_recipe::{AnswerForm, Book};

    use medley_files::WithHelp as _;

    use super::*;
    use crate::item::{AnswerOption, Kind};
    use crate::test_codec::Characters;

    fn papers() -> Papers {
        let item = |(id, kind, question): (&str, Kind, String)| Item {
            id: id.to_owned(),
            exam: "nursing".to_owned(),
            kind,
            question,
            options: ["甲药", "乙药"]
                .iter()
                .zip('A'..)
                .map(|(text, letter)| AnswerOption { letter, text: (*text).to_owned() })
                .collect(),
            answer: if kind == Kind::Single { ['A'].into() } else { ['A', 'B'].into() },
            passages: vec!["资料".repeat(2000)],
            lure: None,
        };
        let items = [
            ("short", Kind::Single, "何药？".to_owned()),
            ("several", Kind::Multiple, "何药皆可？".to_owned()),
            ("long", Kind::Single, "题".repeat(300)),
        ];
        Papers { items: items.into_iter().map(item).collect(), files: Vec::new() }
    }

    fn spec() -> ExamSpec {
        ExamSpec {
            papers: Vec::new(),
            prompt: "zh".to_owned(),
            answer: AnswerForm::Letter,
            books: vec![Book::Open, Book::Closed],
            max_prompt_tokens: 1000,
            max_new_tokens: 32,
            batch_size: 4,
            keep_prompts: false,
        }
    }

    fn checked(papers: &Papers, spec: &ExamSpec, template: &str, context: usize) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("t.jinja");
        std::fs::write(&path, template).expect("written");
        let name = if template == "zh" { "zh".to_owned() } else { path.display().to_string() };
        let template = PromptTemplate::load(&name, Path::new("."));
        let checked = template.and_then(|template| check_exam(papers, spec, &template, &Characters, context));
        checked.map_or_else(|error| error.with_help(), |()| String::new())
    }

    #[test]
    fn an_exam_whose_passages_are_cut_to_fit_passes() {
        assert_eq!(checked(&papers(), &spec(), "zh", 4096), "", "long passages are cut");
    }

    #[test]
    fn prompts_beyond_the_limit_are_refused_with_item_and_setting() {
        let short = ExamSpec { max_prompt_tokens: 200, ..spec() };
        let message = checked(&papers(), &short, "zh", 4096);
        assert!(message.starts_with("item long: ") && message.contains("exam.max_prompt_tokens = 200"), "{message}");
        let message = checked(&papers(), &spec(), "zh", 250);
        assert!(
            message.starts_with("item long: ")
                && message.contains("the model's context less exam.max_new_tokens = 218"),
            "{message}"
        );
        assert!(message.contains("take a model with a context of more than 250 tokens"), "{message}");
        let tokens: usize =
            message.split(" has ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).expect("a number");
        let message = checked(&papers(), &spec(), "zh", tokens + 10);
        assert!(message.contains("lower exam.max_new_tokens to 10 or less"), "{message}");
        let message = checked(&papers(), &spec(), "zh", 32);
        assert!(message.contains("exam.max_new_tokens = 32 leaves no room"), "{message}");
        assert!(checked(&Papers::default(), &spec(), "zh", 4096).contains("the exam has no items"));
    }

    #[test]
    fn a_template_that_drops_a_part_of_some_item_is_refused() {
        let options = "{% for option in options %}{{ option.letter }}. {{ option.text }}\n{% endfor %}";
        for (template, expected) in [
            (format!("{{{{ passages }}}} {options}"), "does not show `question`"),
            ("{{ passages }} {{ question }}".to_owned(), "does not show `options`"),
            (
                format!("{{{{ passages }}}}{{% if kind == 'single' %}}{{{{ question }}}}{{% endif %}}{options}"),
                "item several: ",
            ),
            (format!("{{% if passages %}}{{{{ passages }}}}{{{{ question }}}}{{% endif %}}{options}"), "(closed book)"),
            (format!("{{{{ passages }}}}{{{{ question[:100] }}}}{options}"), "item long: "),
        ] {
            let message = checked(&papers(), &spec(), &template, 100_000);
            assert!(message.contains(expected), "{template}: {message}");
        }
    }
}
