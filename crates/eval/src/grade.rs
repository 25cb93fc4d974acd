//! Strict grading: the exact set of options, in the form asked for, or the reason why not.

use std::collections::BTreeSet;

use medley_recipe::AnswerForm;
use serde::{Deserialize, Serialize};

use crate::item::Item;
use crate::read::{Reading, read_answer};

/// Why an answer does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// It chooses a wrong option.
    Wrong,
    /// It chooses right options only, but not all.
    Partial,
    /// It chooses rightly, but not in the form asked for.
    Form,
    /// It names several options without telling which it chooses.
    Ambiguous,
    /// It names no option.
    NoOption,
    /// Nothing was written.
    Empty,
    /// The passages had been cut to fit, and the answer is not right.
    TruncatedPrompt,
}

impl Failure {
    /// Name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wrong => "wrong",
            Self::Partial => "partial",
            Self::Form => "right in another form",
            Self::Ambiguous => "ambiguous",
            Self::NoOption => "no option found",
            Self::Empty => "empty",
            Self::TruncatedPrompt => "truncated prompt",
        }
    }
}

/// What an answer is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grade {
    /// Options chosen; empty where none could be read.
    pub chosen: BTreeSet<char>,
    /// Right, whatever the form.
    pub content: bool,
    /// In the form asked for, right or wrong.
    pub well_formed: bool,
    /// Why it is not right; `None` where it is.
    pub failure: Option<Failure>,
}

impl Grade {
    /// Right in content and form.
    pub fn strict(&self) -> bool {
        self.failure.is_none()
    }
}

/// Grades one answer.
pub fn grade(answer: &str, item: &Item, form: AnswerForm, truncated_prompt: bool) -> Grade {
    let (chosen, well_formed, failure) = match read_answer(answer, item, form) {
        Reading::Chosen { letters, well_formed } => {
            let failure = judge(&letters, item, well_formed);
            (letters, well_formed, failure)
        }
        Reading::Ambiguous => (BTreeSet::new(), false, Some(Failure::Ambiguous)),
        Reading::NoOption => (BTreeSet::new(), false, Some(Failure::NoOption)),
        Reading::Empty => (BTreeSet::new(), false, Some(Failure::Empty)),
    };
    let content = chosen == item.answer;
    let failure = if truncated_prompt && !content { Some(Failure::TruncatedPrompt) } else { failure };
    Grade { chosen, content, well_formed, failure }
}

fn judge(chosen: &BTreeSet<char>, item: &Item, well_formed: bool) -> Option<Failure> {
    if *chosen == item.answer {
        (!well_formed).then_some(Failure::Form)
    } else if chosen.is_subset(&item.answer) {
        Some(Failure::Partial)
    } else {
        Some(Failure::Wrong)
    }
}
