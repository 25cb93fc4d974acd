//! One turn of a conversation.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Standing instructions before the conversation.
    System,
    /// The person who asks.
    User,
    /// The model; the only role that is supervised.
    Assistant,
}

impl Role {
    /// The name that chat templates know the role by.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One turn: who said what.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// The text, unchanged from the source.
    pub content: String,
    /// The bytes of `content` that are reading matter rather than the question: what is cut first when the sample is
    /// too long. For an instruction with an input this is the input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passage: Option<Range<usize>>,
    /// True for an assistant's turn that is read and not learned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unlearned: bool,
}

impl Message {
    /// A turn of `role`.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into(), passage: None, unlearned: false }
    }

    /// A user's turn that asks `instruction` about `input`: the two on lines of their own, the input marked as passage.
    /// An empty part is left out.
    pub fn ask(instruction: &str, input: &str) -> Self {
        if input.is_empty() {
            return Self::new(Role::User, instruction);
        }
        let before = if instruction.is_empty() { String::new() } else { format!("{instruction}\n") };
        let passage = before.len()..before.len() + input.len();
        // A passage without an instruction holds the question itself, so nothing may be cut from it.
        let passage = (!instruction.is_empty()).then_some(passage);
        Self { passage, ..Self::new(Role::User, before + input) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ask_marks_the_input_alone() {
        let message = Message::ask("归纳要点", "麻黄发汗。");
        assert_eq!(message.content, "归纳要点\n麻黄发汗。");
        let passage = message.passage.expect("an input is a passage");
        assert_eq!(&message.content[passage], "麻黄发汗。");
        assert_eq!(Message::ask("只有问题", "").passage, None);
        assert_eq!(Message::ask("", "只有输入"), Message::new(Role::User, "只有输入"));
    }

    #[test]
    fn a_message_without_passage_is_read_and_written_in_two_fields() {
        let json = r#"{"role":"user","content":"问"}"#;
        let message: Message = serde_json::from_str(json).expect("two fields are enough");
        assert_eq!(serde_json::to_string(&message).expect("writes"), json);
    }
}
