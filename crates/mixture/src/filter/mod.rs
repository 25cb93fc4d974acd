//! Filters as data: the settings of a recipe, and findings in records.

mod condition;
mod excerpt;
pub mod language;
mod spec;

use medley_chat::{Message, Role};
use regex::Regex;

pub use condition::{Condition, ConditionResult};
pub use excerpt::excerpt;
pub use language::language_name;
pub use spec::{
    Boilerplate, Bounds, Contamination, ContaminationAction, FilterSpec, Html, KeywordList, KeywordSplit, Language,
    NearDuplicates, Patterns, Take,
};

use crate::rejection::Rejection;

/// A problem in the filter settings of a recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterProblem {
    /// Keys from the filter's table to the setting: `["reject", "question", "0"]`.
    pub path: Vec<String>,
    /// What is wrong.
    pub problem: String,
    /// How to mend it.
    pub hint: String,
}

impl FilterSpec {
    /// Everything that is wrong with the settings themselves: expressions, conditions, bounds.
    pub fn problems(&self) -> Vec<FilterProblem> {
        let mut problems = Vec::new();
        let mut add = |path: &[&str], problem: String, hint: &str| {
            let path = path.iter().map(|key| (*key).to_owned()).collect();
            problems.push(FilterProblem { path, problem, hint: hint.to_owned() });
        };
        for (name, bounds) in self.bounds() {
            match bounds {
                Bounds { min: Some(min), max: Some(max) } if min > max => {
                    add(&[name], format!("`{name}` has min {min} above max {max}: no record fits"), "exchange the two");
                }
                _ => {}
            }
        }
        for (name, patterns) in [("reject", &self.reject), ("require", &self.require)] {
            for (place, expressions) in patterns.iter().flat_map(Patterns::places) {
                for (index, expression) in expressions.iter().enumerate() {
                    if let Err(error) = Regex::new(expression) {
                        let text = error.to_string();
                        let what = text.rsplit("error: ").next().unwrap_or(&text).trim().to_owned();
                        let hint = "write it in single quotes, so that backslashes stand for themselves; look-around and \
                                    back-references are not known";
                        add(&[name, place, &index.to_string()], format!("not a regular expression: {what}"), hint);
                    }
                }
            }
        }
        for (index, text) in self.conditions.iter().flatten().enumerate() {
            if let Err((problem, hint)) = Condition::parse(text) {
                add(&["where", &index.to_string()], problem, &hint);
            }
        }
        problems
    }

    /// The bounds that are set, by name.
    pub fn bounds(&self) -> impl Iterator<Item = (&'static str, Bounds)> {
        let named =
            [("question_chars", self.question_chars), ("answer_chars", self.answer_chars), ("chars", self.chars)];
        named.into_iter().filter_map(|(name, bounds)| Some((name, bounds?)))
    }
}

impl Patterns {
    /// The expressions by where they are looked for.
    pub fn places(&self) -> [(&'static str, &[String]); 3] {
        [("question", &self.question), ("answer", &self.answer), ("any", &self.any)]
    }
}

/// The reason for rejecting (or noting) a record, with an excerpt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The filter's verdict.
    pub reason: Rejection,
    /// Which of several conditions, expressions, languages it was.
    pub detail: String,
    /// A short piece of the text.
    pub excerpt: String,
}

impl Finding {
    /// With an excerpt of `text` around byte `at`.
    pub fn new(reason: Rejection, detail: impl Into<String>, text: &str, at: usize) -> Box<Self> {
        Box::new(Self { reason, detail: detail.into(), excerpt: excerpt(text, at) })
    }

    /// Without a place in the text: its first question is shown.
    pub fn of_record(reason: Rejection, detail: impl Into<String>, messages: &[Message]) -> Box<Self> {
        let asked = messages.iter().find(|message| message.role == Role::User).or(messages.first());
        Self::new(reason, detail, asked.map_or("", |message| message.content.trim_start()), 0)
    }
}
