//! Where the assistant's words stand in a rendered conversation.
//!
//! A template is a program: it may trim what it is given, leave out turns or put words of its own before an answer. So
//! the conversation is rendered a second time with every answer replaced by a mark of its own; what stands between the
//! marks is the template's, and the rest of the real text is the assistant's.

use std::ops::Range;

use crate::error::Rejection;
use crate::message::{Message, Role};
use crate::template::ChatTemplate;

/// A private-use character, which no text of the world contains on purpose.
const MARK: char = '\u{e0fe}';

fn mark(number: usize) -> String {
    format!("{MARK}{number}{MARK}")
}

/// A rendered conversation and what the model must write of it. All ranges are bytes of `text`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) text: String,
    pub(crate) answers: Vec<Answer>,
}

/// One assistant turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Place of the message, from 0.
    pub(crate) message: usize,
    /// What the message says.
    pub(crate) content: Range<usize>,
    /// What the model must write after the generation prompt: the content, what the template puts before it, and the
    /// end of turn.
    pub(crate) supervised: Range<usize>,
}

/// Renders `messages` and finds every assistant turn. `closing` is what ends one; a last turn that the template leaves
/// open is closed with it.
pub(crate) fn layout(
    template: &ChatTemplate,
    messages: &[Message],
    closing: Option<&str>,
) -> Result<Layout, Rejection> {
    let mut text = template.render(messages, false)?;
    let contents = contents(template, messages, &text)?;
    if let (Some((_, last)), Some(closing)) = (contents.last(), closing)
        && text[last.end..].trim().is_empty()
    {
        text.truncate(last.end);
        text.push_str(closing);
    }
    let mut answers: Vec<Answer> = Vec::with_capacity(contents.len());
    for (message, content) in contents {
        let after = answers.last().map_or(0, |answer| answer.supervised.end);
        let start = begin(template, &messages[..message], &text, content.start).max(after);
        let closed = closing.filter(|closing| text[content.end..].starts_with(closing));
        let end = content.end + closed.map_or(0, str::len);
        answers.push(Answer { message, content, supervised: start..end });
    }
    Ok(Layout { text, answers })
}

/// The byte range of every answer's content in `text`, with the place of its message.
fn contents(
    template: &ChatTemplate,
    messages: &[Message],
    text: &str,
) -> Result<Vec<(usize, Range<usize>)>, Rejection> {
    let places: Vec<usize> = (0..messages.len()).filter(|place| messages[*place].role == Role::Assistant).collect();
    let marked: Vec<Message> = messages
        .iter()
        .enumerate()
        .map(|(place, message)| match message.role {
            Role::Assistant => Message::new(Role::Assistant, mark(place)),
            _ => message.clone(),
        })
        .collect();
    let skeleton = template.render(&marked, false)?;
    let unclear = |message: String| Rejection::SpansUnclear { message };
    // The template's own text before each answer, and after the last.
    let mut found = Vec::with_capacity(places.len());
    let mut rest = skeleton.as_str();
    for place in places {
        let mark = mark(place);
        // A template may leave a turn out; then there is nothing to supervise.
        let Some((before, after)) = rest.split_once(&mark) else { continue };
        if after.contains(&mark) {
            return Err(unclear(format!("the template repeats message {place}")));
        }
        found.push((place, before));
        rest = after;
    }
    if rest.contains(MARK) {
        return Err(unclear("the template puts the turns in another order".to_owned()));
    }
    let mut ranges = Vec::with_capacity(found.len());
    let mut position = 0;
    for (number, (place, before)) in found.iter().enumerate() {
        if !text[position..].starts_with(before) {
            return Err(unclear(format!("the template's words before message {place} depend on it")));
        }
        let start = position + before.len();
        let last = number + 1 == found.len();
        let next = found.get(number + 1).map_or(rest, |(_, before)| before);
        let length = content_length(&text[start..], &messages[*place].content, next, last)
            .ok_or_else(|| unclear(format!("the template's words after message {place} depend on it")))?;
        ranges.push((*place, start..start + length));
        position = start + length;
    }
    Ok(ranges)
}

/// How many bytes at the beginning of `text` are the answer: its content as it is or trimmed, before the template's
/// `next` words; otherwise (a template that rewrites it) all up to those words.
fn content_length(text: &str, content: &str, next: &str, last: bool) -> Option<usize> {
    let fits = |length: usize| if last { &text[length..] == next } else { text[length..].starts_with(next) };
    [content, content.trim(), content.trim_start(), content.trim_end()]
        .into_iter()
        .find(|form| text.starts_with(form) && fits(form.len()))
        .map(str::len)
        .or_else(|| if last { text.strip_suffix(next).map(str::len) } else { text.find(next) })
}

/// Where the model's writing begins: right after the generation prompt, where the template has one that ends before the
/// content; white space that only parts the two is the model's as well.
fn begin(template: &ChatTemplate, before: &[Message], text: &str, content: usize) -> usize {
    // A template may refuse a prefix of the conversation; then the content itself is the beginning.
    let Ok(prompt) = template.render(before, true) else { return content };
    if prompt.len() > content || !text.starts_with(&prompt) {
        return content;
    }
    let between = &text[prompt.len()..content];
    let has_prompt = between.trim().is_empty() || template.render(before, false).is_ok_and(|bare| bare != prompt);
    if has_prompt { prompt.len() } else { content }
}

/// What ends an assistant turn: the template's text between an answer and the end of the first special token after it.
pub(crate) fn closing(template: &ChatTemplate, specials: &[String]) -> Option<String> {
    let turn = |role, number| Message::new(role, mark(number));
    let conversation = [turn(Role::User, 0), turn(Role::Assistant, 1), turn(Role::User, 2)];
    let renderings = [
        template.render(&conversation, false),
        template.render(&conversation[..2], false),
        template.render(&conversation[..2], true),
    ];
    renderings.into_iter().flatten().find_map(|text| {
        let after = text.split_once(&mark(1))?.1;
        let after = after.split_once(&mark(2)).map_or(after, |(between, _)| between);
        let end = specials
            .iter()
            .filter_map(|special| Some((after.find(special)?, special.len())))
            .min_by_key(|(start, length)| (*start, std::cmp::Reverse(*length)))
            .map(|(start, length)| start + length)?;
        Some(after[..end].to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first revision of Qwen1.5: the last turn stays open.
    pub(crate) const EARLY_QWEN: &str = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content']}}{% if (loop.last and add_generation_prompt) or not loop.last %}{{ '<|im_end|>' + '\n'}}{% endif %}{% endfor %}{% if add_generation_prompt and messages[-1]['role'] != 'assistant' %}{{ '<|im_start|>assistant\n' }}{% endif %}";
    const LLAMA2: &str = "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token + '[INST] ' + m.content.strip() + ' [/INST]' }}{% else %}{{ ' ' + m.content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}";
    const GLM: &str = "[gMASK]<sop>{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}";
    const THINKING: &str = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.role == 'assistant' %}{% if loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{{ m.content.split('</think>')[-1].lstrip('\n') }}{% else %}{{ m.content }}{% endif %}{{ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

    fn supervised(source: &str, specials: &[&str], turns: &[&str]) -> Vec<String> {
        let template = ChatTemplate::new(source, Some("<s>".into()), Some("</s>".into())).expect("compiles");
        let messages: Vec<Message> = turns
            .iter()
            .enumerate()
            .map(|(place, text)| {
                Message::new(if place.is_multiple_of(2) { Role::User } else { Role::Assistant }, *text)
            })
            .collect();
        let specials: Vec<String> = specials.iter().map(|special| (*special).to_owned()).collect();
        let closing = closing(&template, &specials);
        let layout = layout(&template, &messages, closing.as_deref()).expect("renders");
        layout.answers.iter().map(|answer| layout.text[answer.supervised.clone()].to_owned()).collect()
    }

    #[test]
    fn an_open_last_turn_is_closed_as_the_earlier_ones_are() {
        let specials = ["<|im_start|>", "<|im_end|>"];
        let turns = ["甲", "答 一", "乙", "答二"];
        assert_eq!(supervised(EARLY_QWEN, &specials, &turns), ["答 一<|im_end|>", "答二<|im_end|>"]);
        assert_eq!(supervised(EARLY_QWEN, &specials, &turns[..2]), ["答 一<|im_end|>"]);
    }

    #[test]
    fn a_template_without_generation_prompt_supervises_its_space_and_end() {
        let turns = ["q", " a ", "r", "b"];
        assert_eq!(supervised(LLAMA2, &["<s>", "</s>"], &turns), [" a </s>", " b </s>"]);
    }

    #[test]
    fn the_next_speaker_may_be_the_end_of_turn() {
        let specials = ["<|user|>", "<|assistant|>", "[gMASK]", "<sop>"];
        assert_eq!(supervised(GLM, &specials, &["q", "a", "r", "b"]), ["a<|user|>", "b<|user|>"]);
    }

    #[test]
    fn what_the_template_writes_in_the_models_name_is_supervised_and_rewritten_answers_are_found() {
        let turns = ["q", "<think>long</think>\n\na", "r", "b"];
        let specials = ["<|im_start|>", "<|im_end|>"];
        assert_eq!(supervised(THINKING, &specials, &turns), ["a<|im_end|>", "<think>\n\n</think>\n\nb<|im_end|>"]);
    }

    #[test]
    fn an_answer_that_repeats_the_question_or_the_header_is_still_found() {
        let specials = ["<|im_start|>", "<|im_end|>"];
        let turns = ["assistant\n答", "assistant\n答", "assistant", "答\nuser\nassistant"];
        assert_eq!(
            supervised(EARLY_QWEN, &specials, &turns),
            ["assistant\n答<|im_end|>", "答\nuser\nassistant<|im_end|>"]
        );
    }

    #[test]
    fn a_template_that_repeats_a_turn_is_refused() {
        let source = "{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}";
        let template = ChatTemplate::new(source, None, None).expect("compiles");
        let error = layout(&template, &[Message::new(Role::Assistant, "a")], None).expect_err("unclear");
        assert_eq!(error.reason(), "spans_unclear");
    }
}
