//! Exam items as the mix sees them: texts that training data must not contain.

use serde::{Deserialize, Serialize};

/// The texts of an exam item that training data must not contain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExamItem {
    /// Identifier in the exam.
    pub id: String,
    /// The question.
    pub question: String,
    /// The options' texts, in order.
    pub options: Vec<String>,
    /// Passages of an open-book exam.
    pub passages: Vec<String>,
}

impl ExamItem {
    /// An item with a question only.
    pub fn asking(question: impl Into<String>) -> Self {
        Self { question: question.into(), ..Self::default() }
    }
}
