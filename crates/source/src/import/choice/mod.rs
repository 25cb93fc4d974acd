//! Exam items. As training data, the user's turn is question and options, the assistant's the right options and the explanation.
//!
//! A record is read by its own keys or by named columns (`record`). Options are an object, a list of texts, a list of objects,
//! columns of their own or lines of one text (`options`); the answer is letters (`letters`), texts or numbers of options, or a mark
//! on the option (`answers`). Where one record leaves several readings, the records of its whole file decide (`evidence`).

mod answers;
mod evidence;
mod letters;
mod options;
mod python;
mod record;

use medley_chat::{Message, Role};
use medley_mixture::Rejection;
use medley_reader::Problem;
use serde_json::Value;

use super::Imported;
use super::columns::is_blank;
use answers::{Source, loose, says_nothing};
use evidence::{How, Named};
pub use evidence::{KeyEvidence, Unanswered};
pub use letters::named_letters;
pub(super) use options::is_lettered;
use options::letter_at;
pub(super) use record::{OPTIONS, QUESTIONS, more_keys};

/// An option of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its letter, upper case.
    pub letter: char,
    /// Its index among all options of the record, those without text included.
    pub position: usize,
    /// Its label in the record; empty for an element of a plain list.
    pub label: String,
    /// Its text.
    pub text: String,
    /// Whether the record marks it as right.
    pub marked: bool,
}

impl Choice {
    /// The option at this index.
    fn at(position: usize, text: String) -> Self {
        let text = text.trim().to_owned();
        Self { letter: letter_at(position), position, label: String::new(), text, marked: false }
    }

    /// Its label as a number.
    fn number(&self) -> Option<u64> {
        self.label.trim().parse().ok()
    }
}

/// A question with options, as in CMB, CMExam, MedQA, MedMCQA and C-Eval.
#[derive(Clone, Debug, PartialEq)]
pub struct ChoiceQuestion<'a> {
    /// The question.
    pub question: String,
    /// The passage that the question is about; empty where the record has none.
    pub passage: String,
    /// The options with a text, in the record's order.
    pub choices: Vec<Choice>,
    /// The values that may hold the answer, the most reliable first.
    pub answers: Vec<&'a Value>,
    /// The explanation of the answer; empty where the record has none.
    pub explanation: String,
    /// Whether several options may be right, where the record says it.
    pub multiple: Option<bool>,
    /// The number of the first option in numeric answers, where the recipe sets it.
    pub answers_from: Option<u8>,
}

/// Why a record cannot be read, with a hint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordProblem {
    /// The problem, with its key.
    pub problem: String,
    /// How to mend it.
    pub hint: String,
}

impl From<Problem> for RecordProblem {
    fn from(Problem { problem, hint }: Problem) -> Self {
        Self { problem, hint }
    }
}

impl ChoiceQuestion<'_> {
    /// Whether the record has an answer, in whatever form.
    pub fn is_answered(&self) -> bool {
        self.choices.iter().any(|choice| choice.marked) || self.answers.iter().any(|value| !says_nothing(value))
    }

    /// The letters of the right options, in the options' order. `evidence` gathers the evidence of the whole file; it is called
    /// only where this record leaves several readings.
    ///
    /// # Errors
    /// The record is rejected, or its file needs `answers_from`.
    pub fn right<'e>(&self, evidence: impl FnOnce() -> &'e KeyEvidence) -> Result<Vec<char>, Unanswered> {
        let rejected = |reason| Err(Unanswered::Record(reason));
        let marked: Vec<char> =
            self.choices.iter().filter(|choice| choice.marked).map(|choice| choice.letter).collect();
        let sources = self.readings();
        if !marked.is_empty() {
            let agrees =
                |source: &Source| source.readings.iter().any(|(_, named)| self.are_same_options(named, &marked));
            return if sources.iter().all(agrees) { Ok(marked) } else { rejected(Rejection::AnswersDisagree) };
        }
        let Some((first, others)) = sources.split_first() else {
            return rejected(if self.is_answered() {
                Rejection::AnswerNotAmongOptions
            } else {
                Rejection::EmptyAnswer
            });
        };
        let agrees = |named: &Named| {
            others.iter().all(|other| other.readings.iter().any(|(_, set)| self.are_same_options(set, named)))
        };
        let mut left: Vec<(How, Named)> = first.readings.clone();
        left.retain(|(_, named)| agrees(named));
        match left.as_slice() {
            [] => rejected(Rejection::AnswersDisagree),
            [(_, only), rest @ ..] if rest.iter().all(|(_, named)| named == only) => Ok(only.clone()),
            several => evidence().choose(several),
        }
    }

    /// Whether two answers name the same options, or options with equal texts: the text of two options names either.
    fn are_same_options(&self, one: &Named, other: &Named) -> bool {
        let texts = |named: &Named| -> Option<Vec<&str>> {
            let text = |letter: &char| self.choices.iter().find(|choice| choice.letter == *letter);
            named.iter().map(|letter| text(letter).map(|choice| choice.text.trim())).collect()
        };
        one == other || texts(one).is_some_and(|one| texts(other) == Some(one))
    }

    /// Whether an answer names options of the question in any reading.
    pub(super) fn names_options(&self) -> bool {
        self.choices.iter().any(|choice| choice.marked) || !self.readings().is_empty()
    }

    pub(super) fn conversation<'e>(self, evidence: impl FnOnce() -> &'e KeyEvidence) -> Result<Imported, Problem> {
        if is_blank(&self.question) {
            return Ok(Imported::Rejected(Rejection::EmptyQuestion));
        }
        if self.choices.len() < 2 {
            return Ok(self.without_options());
        }
        let right = match self.right(evidence) {
            Ok(right) => right,
            Err(Unanswered::Record(reason)) => return Ok(Imported::Rejected(reason)),
            Err(Unanswered::File(RecordProblem { problem, hint })) => return Err(Problem { problem, hint }),
        };
        if self.multiple == Some(true) && right.len() == 1 {
            return Ok(Imported::Rejected(Rejection::KeyCutShort));
        }
        let line = |choice: &Choice| format!("{}. {}", choice.letter, choice.text);
        let options: Vec<String> = self.choices.iter().map(line).collect();
        let answers = self.choices.iter().filter(|choice| right.contains(&choice.letter)).map(line);
        let mut answer = answers.collect::<Vec<_>>().join("\n");
        if !is_blank(&self.explanation) {
            answer = format!("{answer}\n\n{}", self.explanation.trim());
        }
        let question = format!("{}\n{}", self.question.trim(), options.join("\n"));
        let passage = if is_blank(&self.passage) { "" } else { &self.passage };
        let asked = Message::ask(&question, passage);
        Ok(Imported::Conversation(vec![asked, Message::new(Role::Assistant, answer)]))
    }

    /// A question with one option or none: rejected, unless the answer is the option's text, which makes it a plain pair.
    fn without_options(self) -> Imported {
        let texts = self.answers.iter().filter_map(|answer| match answer {
            Value::Array(texts) => texts.first().and_then(Value::as_str),
            other => other.as_str(),
        });
        let answered = texts.filter(|text| self.with_text(text).is_some()).map(str::to_owned).next();
        answered.map_or(Imported::Rejected(Rejection::TooFewOptions), |answer| {
            Imported::Conversation(vec![Message::new(Role::User, self.question), Message::new(Role::Assistant, answer)])
        })
    }
}

/// Whether an answer consists of option letters, so that a record without options has lost them.
pub(super) fn is_letters(answer: &Value) -> bool {
    let letters = |text: &str| !is_blank(text) && text.trim().chars().all(|letter| letter.is_ascii_uppercase());
    answer.as_str().is_some_and(letters)
}

#[cfg(test)]
mod tests;
