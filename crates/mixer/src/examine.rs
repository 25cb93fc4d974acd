//! Contamination of a record by the exam: the same question, or a long shared run of text.

use medley_chat::Message;
use medley_mixture::canonical::turns;
use medley_mixture::filter::{Contamination, ContaminationAction, Finding};
use medley_mixture::{ExamItem, Rejection};
use serde::Serialize;

use crate::exam::ExamItems;
use crate::filter::{ExamRuns, Shared};

/// The search for exam text in records.
pub(crate) struct Examination<'a> {
    items: &'a [ExamItem],
    same: ExamItems,
    runs: ExamRuns,
    action: ContaminationAction,
    /// Whether matches are kept with their texts.
    audit: bool,
}

/// Result of the search.
pub(crate) enum Examined {
    Nothing,
    /// The record asks what an item asks.
    SameQuestion,
    /// It shares a long run of text: left out.
    Shares(Box<Finding>),
    /// It shares a long run of text: only noted.
    Noted(Box<Finding>),
}

/// A record beside the exam item that it was found with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditPair {
    /// Name of the record's pool.
    pub source: String,
    /// Its file.
    pub file: String,
    /// Line on which it begins, from 1.
    pub line: u64,
    /// Its number in the file, from 1.
    pub record: u64,
    /// `same question` or `shared run`.
    pub found: &'static str,
    /// The turn in which it was found.
    pub text: String,
    /// Bytes of it that are in the item, too; empty where the question is too short for a run.
    pub shared: std::ops::Range<usize>,
    /// The item's id.
    pub exam_item: String,
    /// Its question and options, or its passage.
    pub exam_text: String,
    /// Bytes of it that are in the record, too.
    pub exam_shared: std::ops::Range<usize>,
    /// Length of the run: words, and characters of Chinese, Japanese or Korean.
    pub words: usize,
    /// See `words`.
    pub characters: usize,
}

impl<'a> Examination<'a> {
    pub fn new(items: &'a [ExamItem], settings: &Contamination, audit: bool) -> Self {
        let runs = ExamRuns::new(items, settings);
        Self { items, same: ExamItems::new(items), runs, action: settings.action, audit }
    }

    /// Searches a record; in an audit, also the pair to show.
    pub fn of(&self, messages: &[Message]) -> (Examined, Option<Box<AuditPair>>) {
        if self.items.is_empty() {
            return (Examined::Nothing, None);
        }
        if let Some((item, message)) = self.same.find(messages) {
            let pair = self.audit.then(|| self.pair("same question", messages, item, message));
            return (Examined::SameQuestion, pair);
        }
        let Some((message, at)) = self.runs.first(messages) else { return (Examined::Nothing, None) };
        let finding = Finding::new(Rejection::SharesExamText, "", &messages[message].content, at);
        let pair = self.audit.then(|| self.pair("shared run", messages, 0, message));
        match self.action {
            ContaminationAction::Drop => (Examined::Shares(finding), pair),
            ContaminationAction::Report => (Examined::Noted(finding), pair),
        }
    }

    /// Whether something may be found in a plain record, by its canonical content; in the user's turn, its input begins at
    /// `input`.
    pub fn suspects(&self, canonical: &[u8], input: Option<usize>) -> bool {
        let in_turn = |(role, text): (u8, &[u8])| {
            let Ok(text) = simdutf8::basic::from_utf8(text) else { return true };
            (role == b'u' && self.same.stand_in_folded(text, input)) || self.runs.may_share(text)
        };
        !self.items.is_empty() && turns(canonical).any(in_turn)
    }

    fn pair(&self, found: &'static str, messages: &[Message], item: usize, message: usize) -> Box<AuditPair> {
        let shared = self.runs.longest(messages).unwrap_or_else(|| Shared {
            item,
            message,
            range: 0..0,
            text: self.items[item].question.clone(),
            text_range: 0..0,
            words: 0,
            characters: 0,
        });
        Box::new(AuditPair {
            source: String::new(),
            file: String::new(),
            line: 0,
            record: 0,
            found,
            text: messages[shared.message].content.clone(),
            shared: shared.range,
            exam_item: self.items[shared.item].id.clone(),
            exam_text: shared.text,
            exam_shared: shared.text_range,
            words: shared.words,
            characters: shared.characters,
        })
    }
}
