//! Why a record is left out.

use serde::{Deserialize, Serialize};

/// Why a readable record is not part of its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// Nothing is asked.
    EmptyQuestion,
    /// Nothing is answered.
    EmptyAnswer,
    /// The record lacks a column that other records of its file have.
    MissingColumn,
    /// A turn of a role that cannot be trained on, such as a tool's.
    UnsupportedRole,
    /// A turn that holds more than text, such as an image.
    UnsupportedContent,
    /// Turns that are not user and assistant by turns, or do not end with the assistant.
    TurnsOutOfOrder,
    /// Two different system messages.
    TwoSystemMessages,
    /// Questions and answers are lists of the same length: a table by column in one record.
    ListsOfTexts,
    /// The record marks its answer as bad (`label`, `kto_tag`).
    MarkedBad,
    /// The record has the keys of no known layout, unlike other records of its file.
    Unrecognised,
    /// The record says itself that its generation failed.
    FailedGeneration,
    /// The answer of an exam item is none of its options.
    AnswerNotAmongOptions,
    /// The answer of an exam item is the letter or number of one option and the text of another.
    AnswerAmbiguous,
    /// The answers of an exam item under several keys differ.
    AnswersDisagree,
    /// An exam item with fewer than two options.
    TooFewOptions,
    /// A multiple choice item with a key of one letter: the key was cut short.
    KeyCutShort,
    /// A conversation none of whose answers is to be learned.
    NothingLearned,
    /// A condition of the recipe needs a field that the record lacks.
    ConditionFieldMissing,
    /// A condition of the recipe is not met.
    ConditionNotMet,
    /// The questions have fewer characters than the recipe wants.
    QuestionTooShort,
    /// The questions have more characters than the recipe wants.
    QuestionTooLong,
    /// The learned answers have fewer characters than the recipe wants.
    AnswerTooShort,
    /// The learned answers have more characters than the recipe wants.
    AnswerTooLong,
    /// The whole record has fewer characters than the recipe wants.
    TooShort,
    /// The whole record has more characters than the recipe wants.
    TooLong,
    /// HTML remnants.
    HtmlRemnant,
    /// An expression of the recipe that must not be found.
    RejectedByExpression,
    /// An expression of the recipe that must be found is not.
    LacksExpression,
    /// The answer is a formula of a model that talks of itself, refuses or failed.
    Boilerplate,
    /// Another language than the recipe wants.
    OtherLanguage,
    /// The other side of a split by keywords.
    OtherSideOfSplit,
    /// Shares a long run of text with an item of the recipe's exam.
    SharesExamText,
}

impl Rejection {
    /// In words, what became of a record that was kept although this was found in it.
    pub fn kept_as(self) -> &'static str {
        match self {
            Self::HtmlRemnant => "HTML remnants taken out",
            _ => "kept: shares text with the exam",
        }
    }

    /// In words, for tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EmptyQuestion => "empty question",
            Self::EmptyAnswer => "empty answer",
            Self::MissingColumn => "missing column",
            Self::UnsupportedRole => "unsupported role",
            Self::UnsupportedContent => "unsupported content",
            Self::TurnsOutOfOrder => "turns out of order",
            Self::TwoSystemMessages => "two system messages",
            Self::ListsOfTexts => "lists of questions and answers in one record",
            Self::MarkedBad => "answer marked as bad",
            Self::Unrecognised => "no known layout",
            Self::FailedGeneration => "failed generation",
            Self::AnswerNotAmongOptions => "answer not among the options",
            Self::AnswerAmbiguous => "answer names one option by letter and another by text",
            Self::AnswersDisagree => "answers under several keys disagree",
            Self::TooFewOptions => "fewer than two options",
            Self::KeyCutShort => "multiple choice with a key of one letter",
            Self::NothingLearned => "no answer to learn",
            Self::ConditionFieldMissing => "without a field that `where` needs",
            Self::ConditionNotMet => "not what `where` asks for",
            Self::QuestionTooShort => "question too short",
            Self::QuestionTooLong => "question too long",
            Self::AnswerTooShort => "answer too short",
            Self::AnswerTooLong => "answer too long",
            Self::TooShort => "too short",
            Self::TooLong => "too long",
            Self::HtmlRemnant => "HTML remnant",
            Self::RejectedByExpression => "has what `reject` names",
            Self::LacksExpression => "lacks what `require` names",
            Self::Boilerplate => "answer is boilerplate",
            Self::OtherLanguage => "other language",
            Self::OtherSideOfSplit => "other side of the split by keywords",
            Self::SharesExamText => "shares text with the exam",
        }
    }
}
