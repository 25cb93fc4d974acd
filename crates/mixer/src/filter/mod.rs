//! Which records of a source are taken, and why the others are not.
//!
//! Filters run after a record was read and before anything is drawn: what they decide depends on the record alone, so samples
//! stay nested and the order of records does not matter.

mod boilerplate;
mod condition;
mod contamination;
mod excerpt;
mod html;
mod keywords;
mod language;
mod near;
mod spec;
mod units;

use std::path::Path;

use medley_chat::{Message, Role};
use regex::Regex;

pub(crate) use condition::{Condition, Met};
pub(crate) use contamination::{ExamRuns, Shared};
pub(crate) use excerpt::excerpt;
use keywords::Keywords;
pub use language::language_name;
pub(crate) use near::{Near, NearIndex, Signature, Sketch};
pub use spec::{
    Boilerplate, Bounds, Contamination, ContaminationAction, FilterSpec, Html, KeywordList, KeywordSplit, Language,
    NearDuplicates, Patterns, Take,
};

use crate::rejection::Rejection;

/// What is wrong with a filter of a recipe.
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

    fn bounds(&self) -> impl Iterator<Item = (&'static str, Bounds)> {
        let named =
            [("question_chars", self.question_chars), ("answer_chars", self.answer_chars), ("chars", self.chars)];
        named.into_iter().filter_map(|(name, bounds)| Some((name, bounds?)))
    }
}

impl Patterns {
    /// The expressions by where they are looked for.
    fn places(&self) -> [(&'static str, &[String]); 3] {
        [("question", &self.question), ("answer", &self.answer), ("any", &self.any)]
    }
}

/// Why a record is left out (or what was found in it), with an example.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub reason: Rejection,
    /// Which of several conditions, expressions, languages it was.
    pub detail: String,
    /// A short piece of the text.
    pub excerpt: String,
}

impl Finding {
    pub fn new(reason: Rejection, detail: impl Into<String>, text: &str, at: usize) -> Box<Self> {
        Box::new(Self { reason, detail: detail.into(), excerpt: excerpt(text, at) })
    }

    /// Without a place in the text: its first question is shown.
    pub fn of_record(reason: Rejection, detail: impl Into<String>, messages: &[Message]) -> Box<Self> {
        let asked = messages.iter().find(|message| message.role == Role::User).or(messages.first());
        Self::new(reason, detail, asked.map_or("", |message| message.content.trim_start()), 0)
    }
}

/// The filters of one part of a source, ready to be asked.
pub(crate) struct Filter {
    spec: FilterSpec,
    reject: Expressions,
    require: Expressions,
    keywords: Option<Keywords>,
}

/// Compiled expressions with where they are looked for.
type Expressions = Vec<(Option<Role>, Regex)>;

impl Filter {
    /// The filters that `spec` asks for; `None` where it asks for nothing but conditions, which the importer knows. Files
    /// of words are looked for in `folder`, then in the working directory.
    ///
    /// # Errors
    /// What is wrong, and how to mend it.
    pub fn new(spec: &FilterSpec, folder: &Path) -> Result<Option<Self>, (String, String)> {
        if let Some(FilterProblem { path, problem, hint }) = spec.problems().into_iter().next() {
            return Err((format!("filter.{}: {problem}", path.join(".")), hint));
        }
        if (FilterSpec { conditions: None, ..spec.clone() }).is_empty() {
            return Ok(None);
        }
        let keywords = spec.keywords.as_ref().map(|split| Keywords::new(split, folder)).transpose();
        let keywords = keywords.map_err(|(problem, hint)| (format!("filter.keywords: {problem}"), hint))?;
        let expressions = |patterns: &Option<Patterns>| patterns.as_ref().map(expressions).unwrap_or_default();
        Ok(Some(Self {
            reject: expressions(&spec.reject),
            require: expressions(&spec.require),
            keywords,
            spec: spec.clone(),
        }))
    }

    /// The words that split the source, in words and for the hash.
    pub fn keywords(&self) -> Option<(String, &[String])> {
        self.keywords.as_ref().map(|keywords| (keywords.describe(), keywords.words()))
    }

    /// Asks every filter, the cheap ones first.
    ///
    /// # Errors
    /// Why the record is left out. Otherwise what was taken out of its text, if anything was.
    pub fn judge(&self, messages: &mut [Message]) -> Result<Option<Box<Finding>>, Box<Finding>> {
        let cleaned = self.html(messages)?;
        self.lengths(messages)?;
        self.patterns(messages)?;
        if self.spec.boilerplate == Some(Boilerplate::Drop)
            && let Some((index, at, what)) = boilerplate::find(messages)
        {
            return Err(Finding::new(Rejection::Boilerplate, what, &messages[index].content, at));
        }
        if let Some(allowed) = &self.spec.language {
            let told = language::of(messages);
            if !told.is_among(allowed) {
                return Err(Finding::of_record(Rejection::OtherLanguage, told.name(), messages));
            }
        }
        if let Some(keywords) = &self.keywords {
            keywords.takes(messages).map_err(|word| Finding::of_record(Rejection::OtherSideOfSplit, word, messages))?;
        }
        Ok(cleaned)
    }

    fn html(&self, messages: &mut [Message]) -> Result<Option<Box<Finding>>, Box<Finding>> {
        let Some(action @ (Html::Drop | Html::Strip)) = self.spec.html else { return Ok(None) };
        let Some((index, at, what)) = html::remnant(messages) else { return Ok(None) };
        let finding = Finding::new(Rejection::HtmlRemnant, what, &messages[index].content, at);
        if action == Html::Drop {
            return Err(finding);
        }
        html::strip(messages);
        let is_blank = messages.iter().any(|message| message.content.trim().is_empty());
        if is_blank { Err(finding) } else { Ok(Some(finding)) }
    }

    fn lengths(&self, messages: &[Message]) -> Result<(), Box<Finding>> {
        let of = |wanted: fn(&Message) -> bool| -> usize {
            let turns = messages.iter().filter(|message| wanted(message));
            turns.map(|message| message.content.trim().chars().count()).sum()
        };
        for (name, bounds) in self.spec.bounds() {
            let (length, short, long) = match name {
                "question_chars" => {
                    let length = of(|message| message.role == Role::User);
                    (length, Rejection::QuestionTooShort, Rejection::QuestionTooLong)
                }
                "answer_chars" => {
                    let length = of(|message| message.role == Role::Assistant && !message.unlearned);
                    (length, Rejection::AnswerTooShort, Rejection::AnswerTooLong)
                }
                _ => (of(|_| true), Rejection::TooShort, Rejection::TooLong),
            };
            let reason = match bounds {
                Bounds { min: Some(min), .. } if length < min => short,
                Bounds { max: Some(max), .. } if length > max => long,
                _ => continue,
            };
            let mut answers = messages.iter().filter(|message| message.role == Role::Assistant && !message.unlearned);
            let shown = if name == "answer_chars" { answers.next_back() } else { None };
            return Err(match shown {
                Some(answer) => Finding::new(reason, "", answer.content.trim_start(), 0),
                None => Finding::of_record(reason, "", messages),
            });
        }
        Ok(())
    }

    fn patterns(&self, messages: &[Message]) -> Result<(), Box<Finding>> {
        let find = |(role, expression): &(Option<Role>, Regex)| {
            let turns = messages.iter().filter(|message| role.is_none_or(|role| message.role == role));
            turns
                .into_iter()
                .find_map(|message| expression.find(&message.content).map(|found| (message, found.start())))
        };
        for expression in &self.reject {
            if let Some((message, at)) = find(expression) {
                let reason = Rejection::RejectedByExpression;
                return Err(Finding::new(reason, expression.1.as_str(), &message.content, at));
            }
        }
        for expression in &self.require {
            if find(expression).is_none() {
                return Err(Finding::of_record(Rejection::LacksExpression, expression.1.as_str(), messages));
            }
        }
        Ok(())
    }
}

fn expressions(patterns: &Patterns) -> Expressions {
    let places = patterns.places().into_iter().flat_map(|(place, expressions)| {
        let role = match place {
            "question" => Some(Role::User),
            "answer" => Some(Role::Assistant),
            _ => None,
        };
        expressions.iter().map(move |expression| (role, expression))
    });
    // What cannot be read was refused before.
    places.filter_map(|(role, expression)| Some((role, Regex::new(expression).ok()?))).collect()
}

#[cfg(test)]
mod tests;
