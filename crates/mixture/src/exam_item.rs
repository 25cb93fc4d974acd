//! Exam items as the mix sees them: texts that training data must not contain.

use serde::{Deserialize, Serialize};

/// An item of an exam, as far as training data must not give it away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExamItem {
    /// What the exam calls it.
    pub id: String,
    /// What is asked.
    pub question: String,
    /// The options' texts, in order.
    pub options: Vec<String>,
    /// What an open-book exam gives to read.
    pub passages: Vec<String>,
}

impl ExamItem {
    /// An item that asks this and nothing else.
    pub fn asking(question: impl Into<String>) -> Self {
        Self { question: question.into(), ..Self::default() }
    }
}
