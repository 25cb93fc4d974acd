//! Structures packed into one text: a dialogue, a question with speaker marks, a passage with its question, a printed list.

use medley_chat::{Message, Role};

use super::columns::is_blank;

/// Place of a speaker mark that begins a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counts {
    /// Anywhere, even without the other speaker's: such a mark is never prose.
    Anywhere,
    /// Anywhere, if both speakers' marks occur: one alone may be a heading.
    Together,
    /// At the beginning of a line, if both speakers' marks occur: within a line it may be prose.
    AtLineStart,
}

/// Marks before the user's and the assistant's turns.
const MARKS: [([&str; 2], Counts); 9] = [
    (["<user>:", "<bot>:"], Counts::Anywhere),
    (["<human>:", "<bot>:"], Counts::Anywhere),
    (["<human>:", "<assistant>:"], Counts::Anywhere),
    (["### Human:", "### Assistant:"], Counts::Together),
    (["### Instruction:", "### Response:"], Counts::Together),
    (["Human:", "Assistant:"], Counts::AtLineStart),
    (["User:", "Assistant:"], Counts::AtLineStart),
    (["问：", "答："], Counts::AtLineStart),
    (["问题：", "回答："], Counts::AtLineStart),
];

/// Whether a text without white space before it, folded or not, may be what one of the functions below takes apart.
pub(super) fn may_be_packed(text: &[u8]) -> bool {
    ["<user>:", "<human>:", "### ", "Human:", "User:", "问", "<text>"]
        .iter()
        .any(|start| text.starts_with(start.as_bytes()))
}

/// The turns of a dialogue in one text that begins with the user's mark, without an empty last answer (the place for the model's).
/// `None` unless every mark begins a turn: the text is then kept as one turn.
pub(super) fn dialogue(text: &str) -> Option<Vec<Message>> {
    let text = text.trim();
    let (marks, counts) = MARKS.into_iter().find(|([user, assistant], counts)| {
        text.starts_with(user) && (*counts == Counts::Anywhere || text.contains(assistant))
    })?;
    let mut turns: Vec<Message> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let role = if turns.len().is_multiple_of(2) { Role::User } else { Role::Assistant };
        rest = rest.strip_prefix(marks[turns.len() % 2])?;
        let end = next_mark(rest, marks[(turns.len() + 1) % 2], counts).unwrap_or(rest.len());
        if holds_another_turn(&rest[..end], marks, counts) {
            return None;
        }
        turns.push(Message::new(role, rest[..end].trim()));
        rest = &rest[end..];
    }
    if counts != Counts::Anywhere && turns.len() < 2 {
        return None;
    }
    if turns.last().is_some_and(|turn| turn.role == Role::Assistant && turn.content.is_empty()) {
        turns.pop();
    }
    (!turns.is_empty() && turns.iter().all(|turn| !turn.content.is_empty())).then_some(turns)
}

fn next_mark(text: &str, mark: &str, counts: Counts) -> Option<usize> {
    let begins_line =
        |at: &usize| counts != Counts::AtLineStart || text[..*at].trim_end_matches([' ', '\t']).ends_with('\n');
    text.match_indices(mark).map(|(at, _)| at).find(begins_line)
}

/// Whether a turn contains a mark where it begins another turn, or both marks anywhere.
fn holds_another_turn(turn: &str, marks: [&str; 2], counts: Counts) -> bool {
    marks.iter().any(|mark| next_mark(turn, mark, counts).is_some()) || marks.iter().all(|mark| turn.contains(mark))
}

/// Whether a text begins with a user's mark.
pub(super) fn has_mark(text: &str) -> bool {
    MARKS.iter().any(|([user, _], _)| text.trim_start().starts_with(user))
}

/// The question behind a user's mark where no other mark follows.
pub(super) fn marked_question(text: &str) -> Option<&str> {
    let text = text.trim();
    let question = MARKS.iter().find_map(|([user, _], _)| text.strip_prefix(user))?.trim();
    (!question.is_empty() && !holds_mark(question)).then_some(question)
}

fn holds_mark(text: &str) -> bool {
    MARKS.iter().flat_map(|(marks, _)| marks).any(|mark| text.contains(mark))
}

/// The question in `问题：…\n回答：`, whose answer is in another field.
pub(super) fn wrapped_question(text: &str) -> Option<&str> {
    let starts = ["问题：", "问题:", "问：", "问:"];
    let inside = starts.iter().find_map(|mark| text.trim_start().strip_prefix(mark))?;
    let ends = ["回答：", "回答:", "答：", "答:"];
    let inside = ends.iter().find_map(|mark| inside.trim_end().strip_suffix(mark))?.trim();
    let holds_another = ends.iter().chain(&starts).any(|mark| inside.contains(mark));
    (!inside.is_empty() && !holds_another).then_some(inside)
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
    use medley_mixture::canonical::fold;

    use super::*;

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

    /// Either every mark begins a turn, or none does and no word is lost.
    #[test]
    fn marks_within_a_line_are_prose_or_all_turns() {
        for prose in [
            "User: what does Assistant: mean in a prompt?",
            "User:甲 Assistant:乙 User:丙",
            "User:甲 Assistant:乙\nUser:丙\nAssistant:",
            "User:甲\nAssistant:乙 User:丙\nAssistant:丁",
            "User:甲\nUser:乙\nAssistant:丙",
            "Human: 甲 Assistant: 乙 Human: 丙",
            "问：甲 答：乙 问：丙",
            "### Instruction: 使用说明",
            "<user>: 甲 <user>: 乙 <bot>: 丙",
        ] {
            assert_eq!(turns(prose), None, "{prose}");
        }
        assert_eq!(turns("### Human: 甲### Assistant: 乙### Human: 丙"), said(&["甲", "乙", "丙"]));
        assert_eq!(turns("### Instruction: 甲 ### Response:"), said(&["甲"]));
        assert_eq!(wrapped_question("问：甲 答：乙 问：丙 答："), None);
    }

    #[test]
    fn a_marked_question_has_one_mark() {
        assert_eq!(marked_question(" User: 甲\n乙 "), Some("甲\n乙"));
        for none in ["甲", "User:", "User:甲 Assistant:乙", "User:甲\nUser:乙"] {
            assert_eq!(marked_question(none), None, "{none}");
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
