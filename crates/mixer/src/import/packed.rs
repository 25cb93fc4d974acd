//! Several things packed into one text: a dialogue, a question in its wrapping, a passage with its question, a list.

use medley_chat::{Message, Role};

use super::columns::is_blank;

/// What introduces the user's and the assistant's turns, and whether a turn must begin a line.
const MARKS: [([&str; 2], bool); 9] = [
    (["<user>:", "<bot>:"], false),
    (["<human>:", "<bot>:"], false),
    (["<human>:", "<assistant>:"], false),
    (["### Human:", "### Assistant:"], true),
    (["### Instruction:", "### Response:"], true),
    (["Human:", "Assistant:"], true),
    (["User:", "Assistant:"], true),
    (["问：", "答："], true),
    (["问题：", "回答："], true),
];

/// Whether a text without white space before it, folded or not, may be what one of the functions below takes apart.
pub(super) fn may_be_packed(text: &[u8]) -> bool {
    ["<user>:", "<human>:", "### ", "Human:", "User:", "问", "<text>"]
        .iter()
        .any(|start| text.starts_with(start.as_bytes()))
}

/// The turns of a dialogue that is packed into one text and begins with the user's mark. An empty last answer, left for
/// the model to write, is dropped. A text with one mark alone is a dialogue only where the mark cannot be prose.
pub(super) fn dialogue(text: &str) -> Option<Vec<Message>> {
    let text = text.trim();
    let (marks, at_line_start) = MARKS.into_iter().find(|([user, assistant], at_line_start)| {
        text.starts_with(user) && (!at_line_start || text.contains(assistant))
    })?;
    let mut turns: Vec<Message> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let role = if turns.len().is_multiple_of(2) { Role::User } else { Role::Assistant };
        rest = rest.strip_prefix(marks[turns.len() % 2])?;
        let end = next_mark(rest, marks[(turns.len() + 1) % 2], at_line_start).unwrap_or(rest.len());
        turns.push(Message::new(role, rest[..end].trim()));
        rest = &rest[end..];
    }
    if turns.last().is_some_and(|turn| turn.role == Role::Assistant && turn.content.is_empty()) {
        turns.pop();
    }
    (!turns.is_empty() && turns.iter().all(|turn| !turn.content.is_empty())).then_some(turns)
}

fn next_mark(text: &str, mark: &str, at_line_start: bool) -> Option<usize> {
    let begins_line = |at: &usize| !at_line_start || text[..*at].trim_end_matches([' ', '\t']).ends_with('\n');
    text.match_indices(mark).map(|(at, _)| at).find(begins_line)
}

/// The question in `问题：…\n回答：`, whose answer stands elsewhere.
pub(super) fn wrapped_question(text: &str) -> Option<&str> {
    let inside = ["问题：", "问题:", "问：", "问:"].iter().find_map(|mark| text.trim_start().strip_prefix(mark))?;
    let ends = ["回答：", "回答:", "答：", "答:"];
    let inside = ends.iter().find_map(|mark| inside.trim_end().strip_suffix(mark))?.trim();
    (!inside.is_empty()).then_some(inside)
}

/// The passage and the question in `<text>…<question>…`, closed or not.
pub(super) fn passage_and_question(text: &str) -> Option<(&str, &str)> {
    let inside = text.trim_start().strip_prefix("<text>")?;
    let (passage, question) = inside.split_once("<question>")?;
    let bare = |text: &'_ str, end: &str| -> usize { text.trim_end().strip_suffix(end).unwrap_or(text).len() };
    let (passage, question) = (&passage[..bare(passage, "</text>")], &question[..bare(question, "</question>")]);
    (!is_blank(passage) && !is_blank(question)).then_some((passage.trim(), question.trim()))
}

/// The items of a list that Python printed: `['玄参', '麦冬']`.
pub(super) fn printed_list(text: &str) -> Option<String> {
    let inside = text.trim().strip_prefix("['")?.strip_suffix("']")?;
    (!inside.contains('\n')).then(|| inside.split("', '").collect::<Vec<_>>().join("、"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::fold;

    fn turns(text: &str) -> Option<Vec<(Role, String)>> {
        dialogue(text).map(|turns| turns.into_iter().map(|turn| (turn.role, turn.content)).collect())
    }

    fn said(texts: &[&str]) -> Option<Vec<(Role, String)>> {
        let role = |index: usize| if index.is_multiple_of(2) { Role::User } else { Role::Assistant };
        Some(texts.iter().enumerate().map(|(index, text)| (role(index), (*text).to_owned())).collect())
    }

    #[test]
    fn dialogues() {
        assert_eq!(turns(" <user>: 甲？ <bot>: 乙。 <user>: 丙？"), said(&["甲？", "乙。", "丙？"]));
        assert_eq!(turns("<user>: 甲？"), said(&["甲？"]));
        assert_eq!(
            turns("Human:甲\nAssistant:乙 Human: 引\nHuman:丙\nAssistant:"),
            said(&["甲", "乙 Human: 引", "丙"])
        );
        assert_eq!(turns("### Human: a\n### Assistant: b"), said(&["a", "b"]));
        assert_eq!(turns("问：甲\n答：乙"), said(&["甲", "乙"]));
        for prose in
            ["Human: a being", "甲 <user>: 乙", "问：甲", "", "Human:\nAssistant: 乙", "<user>: 甲 <bot>:  <user>: 丙"]
        {
            assert_eq!(turns(prose), None, "{prose}");
        }
    }

    #[test]
    fn what_is_packed_may_be_packed() {
        let marks = MARKS.iter().map(|([user, _], _)| *user);
        for start in marks.chain(["问题：", "问题:", "问：", "问:", "<text>"]) {
            assert!(may_be_packed(start.as_bytes()) && may_be_packed(fold(start).as_bytes()), "{start}");
        }
        assert!(!may_be_packed("<b>".as_bytes()));
    }

    #[test]
    fn wrappings() {
        assert_eq!(wrapped_question("问题：甲？\n回答: "), Some("甲？"));
        assert_eq!(wrapped_question("问题：甲？"), None);
        assert_eq!(wrapped_question("回答:"), None);
        assert_eq!(passage_and_question("<text>文<question>问？"), Some(("文", "问？")));
        assert_eq!(passage_and_question("<text>文</text>\n<question>问？</question>"), Some(("文", "问？")));
        assert_eq!(passage_and_question("<text>文"), None);
        assert_eq!(passage_and_question("<text> <question>问"), None);
        assert_eq!(printed_list("['玄参', '麦冬']").as_deref(), Some("玄参、麦冬"));
        assert_eq!(printed_list("[玄参]"), None);
    }
}
