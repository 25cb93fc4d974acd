//! Regular expressions that a record must have, or must not.

use std::path::Path;

use medley_chat::{Message, Role};
use medley_mixture::filter::Finding;
use medley_mixture::{FilterSpec, Patterns, Rejection};
use regex::Regex;

use super::{Built, RecordFilter, Verdict};

/// Compiled expressions with the turns that they are searched in.
struct Expressions(Vec<(Option<Role>, Regex)>);

struct Reject(Expressions);

struct Require(Expressions);

pub(super) fn build_reject(spec: &FilterSpec, _folder: &Path) -> Built {
    Ok(spec.reject.as_ref().map(|patterns| Box::new(Reject(Expressions::new(patterns))) as _))
}

pub(super) fn build_require(spec: &FilterSpec, _folder: &Path) -> Built {
    Ok(spec.require.as_ref().map(|patterns| Box::new(Require(Expressions::new(patterns))) as _))
}

impl Expressions {
    fn new(patterns: &Patterns) -> Self {
        let places = patterns.places().into_iter().flat_map(|(place, expressions)| {
            let role = match place {
                "question" => Some(Role::User),
                "answer" => Some(Role::Assistant),
                _ => None,
            };
            expressions.iter().map(move |expression| (role, expression))
        });
        // Invalid ones are refused with the settings.
        Self(places.filter_map(|(role, expression)| Some((role, Regex::new(expression).ok()?))).collect())
    }

    /// Every expression with its first match.
    fn matches<'a>(
        &'a self,
        messages: &'a [Message],
    ) -> impl Iterator<Item = (&'a Regex, Option<(&'a Message, usize)>)> {
        self.0.iter().map(|(role, expression)| {
            let turns = messages.iter().filter(|message| role.is_none_or(|role| message.role == role));
            let at = |message: &'a Message| Some((message, expression.find(&message.content)?.start()));
            (expression, turns.into_iter().find_map(at))
        })
    }
}

impl RecordFilter for Reject {
    fn judge(&self, messages: &mut [Message]) -> Verdict {
        match self.0.matches(messages).find_map(|(expression, found)| Some((expression, found?))) {
            Some((expression, (message, at))) => {
                Err(Finding::new(Rejection::RejectedByExpression, expression.as_str(), &message.content, at))
            }
            None => Ok(None),
        }
    }
}

impl RecordFilter for Require {
    fn judge(&self, messages: &mut [Message]) -> Verdict {
        match self.0.matches(messages).find(|(_, found)| found.is_none()) {
            Some((expression, _)) => Err(Finding::of_record(Rejection::LacksExpression, expression.as_str(), messages)),
            None => Ok(None),
        }
    }
}
