//! Answers that are formulas of a model rather than answers.

use std::path::Path;
use std::sync::LazyLock;

use medley_chat::{Message, Role};
use medley_mixture::filter::Finding;
use medley_mixture::{Boilerplate, FilterSpec, Rejection};
use regex::{Regex, RegexSet};

use super::{Built, RecordFilter, Verdict};

/// The formulas, one regular expression a line.
const FORMULAS: &str = include_str!("boilerplate.txt");

/// Characters of an answer that are looked at.
const BEGINNING: usize = 200;

/// The formulas together, which say quickly that there is none, and each for itself with the kind it belongs to.
static PATTERNS: LazyLock<(RegexSet, Vec<(&str, Regex)>)> = LazyLock::new(|| {
    let (mut kind, mut lines) = ("", Vec::new());
    for line in FORMULAS.lines().filter(|line| !line.is_empty()) {
        match line.strip_prefix("# ") {
            Some(comment) => kind = comment,
            None => lines.push((kind, line)),
        }
    }
    let all: Vec<&str> = lines.iter().map(|(_, line)| *line).collect();
    (set(&all), lines.into_iter().map(|(kind, line)| (kind, super::html::pattern(line))).collect())
});

#[expect(clippy::expect_used, reason = "the patterns are constants, compiled by a test")]
fn set(lines: &[&str]) -> RegexSet {
    RegexSet::new(lines).expect("constant patterns")
}

struct DropBoilerplate;

pub(super) fn build(spec: &FilterSpec, _folder: &Path) -> Built {
    Ok((spec.boilerplate == Some(Boilerplate::Drop)).then(|| Box::new(DropBoilerplate) as _))
}

impl RecordFilter for DropBoilerplate {
    fn judge(&self, messages: &mut [Message]) -> Verdict {
        match find(messages) {
            Some((index, at, kind)) => Err(Finding::new(Rejection::Boilerplate, kind, &messages[index].content, at)),
            None => Ok(None),
        }
    }
}

/// The first formula in a record's answers: index of the message, byte, and the formula's kind.
fn find(messages: &[Message]) -> Option<(usize, usize, &'static str)> {
    let (set, patterns) = &*PATTERNS;
    let answers = messages.iter().enumerate().filter(|(_, message)| message.role == Role::Assistant);
    answers.filter(|(_, message)| !message.unlearned).find_map(|(index, message)| {
        let text = message.content.trim_start();
        let end = text.char_indices().nth(BEGINNING).map_or(text.len(), |(end, _)| end);
        let first = set.matches(&text[..end]).iter().next()?;
        let (kind, pattern) = &patterns[first];
        let start = message.content.len() - text.len() + pattern.find(&text[..end])?.start();
        Some((index, start, *kind))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_formula(answer: &str) -> bool {
        find(&[Message::new(Role::User, "问"), Message::new(Role::Assistant, answer)]).is_some()
    }

    #[test]
    fn formulas_are_found() {
        for answer in [
            "作为一个AI助手，我无法知道您叔叔的名字，因为这是个人信息。",
            "抱歉，作为一个人工智能助手，我无法看到物体。",
            "As an AI language model, I do not have feelings.",
            "I'm sorry, but I can't help with that.",
            "抱歉，该任务涉及音频输出。由于模型生成不可靠，我们无法完成此任务。",
            "GPT 语言模型无法完成此指令。",
            "<nooutput> GPT模型无法完成此类指令。",
            "对不起，您没有给出任何一段文字，所以无法回答您的问题。",
            "对不起，我是一个语言AI，我无法通过图片来评估。",
        ] {
            assert!(is_formula(answer), "{answer}");
        }
    }

    #[test]
    fn what_people_say_is_none() {
        for answer in [
            "抱歉，我不能参加会议。",
            "我很抱歉听到您的痛苦，但我不能提供关于自杀的信息或建议。如果您有自杀念头，应该立即与专业医生联系。",
            "企业已经将人工智能作为一种强大的工具。",
            "很抱歉，您对购买不满意。",
            "您好，抱歉让您久等，建议到医院检查。",
            "人工智能可以完成人类无法完成的任务。",
            "I am sorry to hear that you are dissatisfied with our product.",
            "语言模型是一种统计模型。",
        ] {
            assert!(!is_formula(answer), "{answer}");
        }
        let unlearned = Message { unlearned: true, ..Message::new(Role::Assistant, "GPT模型无法完成此指令") };
        assert_eq!(find(&[Message::new(Role::User, "问"), unlearned]), None);
    }
}
