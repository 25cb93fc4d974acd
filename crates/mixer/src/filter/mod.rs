//! Which records of a source are taken, and why the others are not.
//!
//! Filters run after a record was read and before anything is drawn: what they decide depends on the record alone, so samples
//! stay nested and the order of records does not matter.

mod boilerplate;
mod contamination;
mod html;
mod keywords;
mod near;
mod units;

use std::path::Path;

use medley_chat::{Message, Role};
use medley_mixture::filter::{FilterProblem, Finding, language};
use medley_mixture::{Boilerplate, Bounds, FilterSpec, Html, Patterns, Rejection};
use regex::Regex;

pub(crate) use contamination::{ExamRuns, Shared};
use keywords::Keywords;
pub(crate) use near::{Near, NearIndex, Signature, Sketch};

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
