//! Byte ranges of the assistant's turns in a rendered conversation.
//!
//! A template is a program: it may trim contents, drop turns or insert text before an answer. So the conversation is
//! rendered a second time with every answer replaced by a unique mark; the text between the marks is the template's, the
//! rest of the first rendering is the assistant's.
//!
//! An answer's supervised range begins where its generation prompt ends: the conversation before it is rendered with
//! `add_generation_prompt` and must be a prefix of the whole text. Rendering every prefix takes quadratic time. In
//! conversations of more than [`WHOLE_ANSWERS`] answers, prefixes are rendered within windows of a few turns (`windows`).
//! The first four answers, the last, and those at halving positions are compared with whole prefixes; on any difference,
//! every prefix is rendered in whole.

use std::ops::Range;

use crate::error::Rejection;
use crate::message::{Message, Role};
use crate::template::{ChatTemplate, Turns};
use crate::windows;

/// Delimiter of marks: a private-use character.
const MARK: char = '\u{e0fe}';

/// Largest number of answers whose prefixes are all rendered in whole.
const WHOLE_ANSWERS: usize = 12;

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
    /// The message's text.
    pub(crate) content: Range<usize>,
    /// Text that the model must write after the generation prompt: the content, what the template puts before it, and the
    /// end of turn.
    pub(crate) supervised: Range<usize>,
}

/// A rendered conversation and the content ranges of its answers.
pub(crate) struct Rendered<'a> {
    pub(crate) messages: &'a [Message],
    pub(crate) turns: Turns,
    pub(crate) text: String,
    /// Message index and content range of every answer that the template kept.
    pub(crate) contents: Vec<(usize, Range<usize>)>,
}

/// Renders `messages` and finds every assistant turn; see [`rendered`].
#[cfg(test)]
pub(crate) fn layout(
    template: &ChatTemplate,
    messages: &[Message],
    closing: Option<&str>,
) -> Result<Layout, Rejection> {
    Ok(complete(template, rendered(template, messages, closing)?, closing))
}

/// The layout of a conversation rendered with the same `closing`.
pub(crate) fn complete(template: &ChatTemplate, rendered: Rendered<'_>, closing: Option<&str>) -> Layout {
    let begins = begins(template, &rendered);
    let Rendered { text, contents, .. } = rendered;
    let mut answers: Vec<Answer> = Vec::with_capacity(contents.len());
    for ((message, content), begin) in contents.into_iter().zip(begins) {
        let after = answers.last().map_or(0, |answer| answer.supervised.end);
        let closed = closing.filter(|closing| text[content.end..].starts_with(closing));
        let end = content.end + closed.map_or(0, str::len);
        answers.push(Answer { message, content, supervised: begin.max(after)..end });
    }
    Layout { text, answers }
}

/// Renders `messages` and locates the content of every assistant turn. `closing` is the end of a turn; it is appended
/// where the template leaves the last turn open.
pub(crate) fn rendered<'a>(
    template: &ChatTemplate,
    messages: &'a [Message],
    closing: Option<&str>,
) -> Result<Rendered<'a>, Rejection> {
    let turns = Turns::new(messages);
    let mut text = template.render_turns(&turns, false)?;
    let contents = contents(template, messages, &turns, &text)?;
    if let (Some((_, last)), Some(closing)) = (contents.last(), closing)
        && text[last.end..].trim().is_empty()
    {
        text.truncate(last.end);
        text.push_str(closing);
    }
    Ok(Rendered { messages, turns, text, contents })
}

/// The marks in a skeleton: place of the message, and where its mark begins and ends.
fn marks(skeleton: &str, places: &[usize]) -> Result<Vec<(usize, Range<usize>)>, Rejection> {
    let unclear = |message: String| Rejection::SpansUnclear { message };
    let mut found: Vec<(usize, Range<usize>)> = Vec::with_capacity(places.len());
    let mut position = 0;
    while let Some(offset) = skeleton[position..].find(MARK) {
        let start = position + offset;
        let digits = &skeleton[start + MARK.len_utf8()..];
        let length = digits.bytes().take_while(u8::is_ascii_digit).count();
        let place = digits[..length].parse().ok().filter(|place| places.binary_search(place).is_ok());
        let Some(place) = place.filter(|_| digits[length..].starts_with(MARK)) else {
            position = start + MARK.len_utf8();
            continue;
        };
        match found.last() {
            Some((last, _)) if *last == place => {
                return Err(unclear(format!("the template repeats message {place}")));
            }
            Some((last, _)) if *last > place => {
                return Err(unclear("the template puts the turns in another order, or repeats them".to_owned()));
            }
            _ => {}
        }
        position = start + 2 * MARK.len_utf8() + length;
        found.push((place, start..position));
    }
    Ok(found)
}

/// The byte range of every answer's content in `text`, with the place of its message.
fn contents(
    template: &ChatTemplate,
    messages: &[Message],
    turns: &Turns,
    text: &str,
) -> Result<Vec<(usize, Range<usize>)>, Rejection> {
    let places: Vec<usize> = (0..messages.len()).filter(|place| messages[*place].role == Role::Assistant).collect();
    let skeleton = template.render_turns(&turns.with_contents(&places, mark), false)?;
    let unclear = |message: String| Rejection::SpansUnclear { message };
    let found = marks(&skeleton, &places)?;
    // The template's own text before each answer, and after the last.
    let before = |number: usize| {
        let start = number.checked_sub(1).map_or(0, |previous| found[previous].1.end);
        &skeleton[start..found.get(number).map_or(skeleton.len(), |(_, mark)| mark.start)]
    };
    let mut ranges = Vec::with_capacity(found.len());
    let mut position = 0;
    for (number, (place, _)) in found.iter().enumerate() {
        let words = before(number);
        if !text[position..].starts_with(words) {
            return Err(unclear(format!("the template's words before message {place} depend on it")));
        }
        let start = position + words.len();
        let last = number + 1 == found.len();
        let length = content_length(&text[start..], &messages[*place].content, before(number + 1), last)
            .ok_or_else(|| unclear(format!("the template's words after message {place} depend on it")))?;
        ranges.push((*place, start..start + length));
        position = start + length;
    }
    Ok(ranges)
}

/// Length in bytes of the answer at the beginning of `text`: its content as it is or trimmed, before the template's
/// `next` words; otherwise (a template that rewrites it) all up to those words.
fn content_length(text: &str, content: &str, next: &str, last: bool) -> Option<usize> {
    let fits = |length: usize| if last { &text[length..] == next } else { text[length..].starts_with(next) };
    [content, content.trim(), content.trim_start(), content.trim_end()]
        .into_iter()
        .find(|form| text.starts_with(form) && fits(form.len()))
        .map(str::len)
        .or_else(|| if last { text.strip_suffix(next).map(str::len) } else { text.find(next) })
}

/// Start of the supervised range of every answer.
fn begins(template: &ChatTemplate, rendered: &Rendered<'_>) -> Vec<usize> {
    let whole = |number| whole_begin(template, rendered, number);
    let count = rendered.contents.len();
    if count > WHOLE_ANSWERS
        && let Some(begins) = windows::begins(template, rendered)
    {
        // These prefixes add up to twice the conversation's length.
        let halving = std::iter::successors(Some(count - 1), |place| (*place > 0).then_some(place / 2));
        if (0..4).chain(halving).all(|number| whole(number) == begins[number]) {
            return begins;
        }
    }
    (0..count).map(whole).collect()
}

/// Start of the supervised range of one answer, from the whole conversation before it.
fn whole_begin(template: &ChatTemplate, rendered: &Rendered<'_>, number: usize) -> usize {
    let (message, content) = &rendered.contents[number];
    begin(template, &rendered.turns.part(0, 0..*message), &rendered.text, content.start)
}

/// Start of the supervised range: the end of the generation prompt if that is a prefix of `text` and ends before the
/// content, else the content's start. Without a generation prompt, white space before the content is supervised too.
pub(crate) fn begin(template: &ChatTemplate, before: &Turns, text: &str, content: usize) -> usize {
    // A template may refuse a prefix of the conversation.
    let Ok(prompt) = template.render_turns(before, true) else { return content };
    if prompt.len() > content || !text.starts_with(&prompt) {
        return content;
    }
    let between = &text[prompt.len()..content];
    let has_prompt = between.trim().is_empty() || template.render_turns(before, false).is_ok_and(|bare| bare != prompt);
    if has_prompt { prompt.len() } else { content }
}

/// The end of an assistant turn: the template's text between an answer and the end of the first special token after it.
/// First what ends the turns within a conversation, then what ends the last, where that differs.
pub(crate) fn closings(template: &ChatTemplate, specials: &[String]) -> Vec<String> {
    let turn = |role, number| Message::new(role, mark(number));
    let conversation = [turn(Role::User, 0), turn(Role::Assistant, 1), turn(Role::User, 2)];
    let closing = |messages: &[Message], generation_prompt: bool| {
        let text = template.render(messages, generation_prompt).ok()?;
        let after = text.split_once(&mark(1))?.1;
        let after = after.split_once(&mark(2)).map_or(after, |(between, _)| between);
        let end = specials
            .iter()
            .filter_map(|special| Some((after.find(special)?, special.len())))
            .min_by_key(|(start, length)| (*start, std::cmp::Reverse(*length)))
            .map(|(start, length)| start + length)?;
        Some(after[..end].to_owned())
    };
    let mut closings: Vec<String> = Vec::new();
    let found = [closing(&conversation, false), closing(&conversation[..2], false)];
    for closing in found.into_iter().flatten() {
        if !closings.contains(&closing) {
            closings.push(closing);
        }
    }
    // A template that closes a turn only when the next begins.
    if closings.is_empty() {
        closings.extend(closing(&conversation[..2], true));
    }
    closings
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
        let template = ChatTemplate::new(source, &[("bos_token", "<s>".to_owned()), ("eos_token", "</s>".to_owned())])
            .expect("compiles");
        let messages: Vec<Message> = turns
            .iter()
            .enumerate()
            .map(|(place, text)| {
                Message::new(if place.is_multiple_of(2) { Role::User } else { Role::Assistant }, *text)
            })
            .collect();
        let specials: Vec<String> = specials.iter().map(|special| (*special).to_owned()).collect();
        let closings = closings(&template, &specials);
        let layout = layout(&template, &messages, closings.first().map(String::as_str)).expect("renders");
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

    const NUMBERED: &str = "{% for m in messages %}{{ '<|im_start|>' ~ m.role ~ ' ' ~ loop.index ~ '\n' ~ m.content ~ '<|im_end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant ' ~ (messages|length + 1) ~ '\n' }}{% endif %}";
    /// Marks the last question, so only the last prompt is a prefix of the text.
    const LAST_QUESTION: &str = "{% set users = messages|selectattr('role', 'equalto', 'user')|list %}{% for m in messages %}{% if m.role == 'user' and m == users[-1] %}[LAST]{% endif %}{{ '<' + m.role + '>' + m.content }}{% endfor %}{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}";
    const ALTERNATING: &str = "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate') }}{% endif %}{{ '<' + m.role + '>' + m.content }}{% endfor %}{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}";
    /// Generation prompts of the first answers differ from later ones.
    const EARLY: &str = "{% for m in messages %}{{ '<' + m.role + '> ' + m.content }}{% endfor %}{% if add_generation_prompt %}{{ '<assistant>' if messages|length > 50 else '<other>' }}{% endif %}";

    #[test]
    fn windows_of_a_long_conversation_give_the_same_ranges_as_whole_prefixes() {
        for (source, windowed) in [
            (EARLY_QWEN, true),
            (LLAMA2, true),
            (GLM, true),
            (THINKING, true),
            (ALTERNATING, true),
            (NUMBERED, true),
            (LAST_QUESTION, true),
            (EARLY, false),
        ] {
            let tokens = [("bos_token", "<s>".to_owned()), ("eos_token", "</s>".to_owned())];
            let template = ChatTemplate::new(source, &tokens).expect("compiles");
            for system in [false, true] {
                let turn = |number: usize| match number % 2 {
                    0 => Message::new(Role::User, format!("question {number} assistant")),
                    _ if number % 10 == 3 => {
                        Message::new(Role::Assistant, format!("<think>t</think>\n\n answer {number} "))
                    }
                    _ => Message::new(Role::Assistant, format!(" answer {number}\n")),
                };
                let first = system.then(|| Message::new(Role::System, "be brief"));
                let messages: Vec<Message> = first.into_iter().chain((0..80).map(turn)).collect();
                let Ok(rendered) = rendered(&template, &messages, None) else {
                    assert!(system, "{source}");
                    continue;
                };
                let whole: Vec<usize> = (0..40).map(|number| whole_begin(&template, &rendered, number)).collect();
                assert_eq!(begins(&template, &rendered), whole, "{source}");
                let fast = windows::begins(&template, &rendered) == Some(whole);
                assert_eq!(fast, windowed, "{source}");
            }
        }
    }

    /// Keeps the reasoning of answers to the last question, as Qwen3 does.
    const LAST_REASONING: &str = "{% set ns = namespace(last=-1) %}{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}{% for m in messages %}{{ '<' + m.role + '>\n' }}{{ m.content if loop.index0 > ns.last else m.content.split('</think>')[-1] }}{% endfor %}{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}";

    #[test]
    fn windows_do_not_end_within_answers_to_one_question() {
        let template = ChatTemplate::new(LAST_REASONING, &[]).expect("compiles");
        let turn = |number: usize| match number % 4 {
            0 => Message::new(Role::User, format!("question {number}")),
            1 => Message::new(Role::Assistant, format!("<think>t</think>answer {number}")),
            _ => Message::new(Role::Assistant, format!("more {number}")),
        };
        let messages: Vec<Message> = (0..80).map(turn).collect();
        let rendered = rendered(&template, &messages, None).expect("renders");
        let whole: Vec<usize> = (0..60).map(|number| whole_begin(&template, &rendered, number)).collect();
        // The prompt of a second answer still has the reasoning of the first, which the conversation drops.
        let starts: Vec<usize> = rendered.contents.iter().map(|(_, content)| content.start).collect();
        assert_eq!((whole[6], whole[7]), (starts[6] - 1, starts[7]));
        assert_eq!(windows::begins(&template, &rendered), Some(whole));
    }

    /// `/no_think` in a user's turn holds until `/think`, and is seen in generation prompts only.
    const SWITCH: &str = "{% set ns = namespace(think=true) %}{% for m in messages %}{% if m.role == 'user' %}{% if '/think' in m.content %}{% set ns.think = true %}{% elif '/no_think' in m.content %}{% set ns.think = false %}{% endif %}{% endif %}{{ '<' + m.role + '>' }}{% if m.role == 'assistant' %}{{ '<think></think>' }}{% endif %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}{{ '<assistant>' if ns.think else '<assistant><think></think>' }}{% endif %}";
    /// A reminder before one answer, which the generation prompt does not show.
    const REMINDER: &str = "{% for m in messages %}{{ '<' + m.role + '>' }}{% if loop.index == 242 %}{{ '[be brief]' }}{% endif %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}";
    /// Marks every question that is equal to the last one.
    const EQUAL_QUESTIONS: &str = "{% set users = messages|selectattr('role', 'equalto', 'user')|list %}{% for m in messages %}{% if m == users[-1] %}[LAST]{% endif %}{{ '<' + m.role + '> ' + m.content }}{% endfor %}{% if add_generation_prompt %}{{ '<assistant>' }}{% endif %}";

    #[test]
    fn a_dependence_on_more_than_a_window_is_noticed_between_the_compared_answers() {
        let question = |number: usize| match number {
            204 => "/no_think".to_owned(),
            300 => "/think".to_owned(),
            160 | 398 => "the same".to_owned(),
            _ => format!("question {number}"),
        };
        let turn = |number: usize| match number % 2 {
            0 => Message::new(Role::User, question(number)),
            _ => Message::new(Role::Assistant, format!("answer {number}")),
        };
        let messages: Vec<Message> = (0..400).map(turn).collect();
        for source in [SWITCH, REMINDER, EQUAL_QUESTIONS] {
            let template = ChatTemplate::new(source, &[]).expect("compiles");
            let rendered = rendered(&template, &messages, None).expect("renders");
            assert_eq!(windows::begins(&template, &rendered), None, "{source}");
            let content = |number: usize| rendered.contents[number].1.start;
            let whole: Vec<usize> = (0..200).map(|number| whole_begin(&template, &rendered, number)).collect();
            let odd: Vec<usize> = (0..200).filter(|number| whole[*number] == content(*number)).collect();
            match source {
                SWITCH => assert_eq!(odd, (102..150).collect::<Vec<_>>()),
                REMINDER => assert!(!odd.contains(&120) && odd.len() == 199),
                _ => assert!(!odd.contains(&80) && odd.contains(&79)),
            }
            assert_eq!(begins(&template, &rendered), whole, "{source}");
        }
    }

    #[test]
    fn a_template_that_repeats_a_turn_is_refused() {
        let source = "{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}";
        let template = ChatTemplate::new(source, &[]).expect("compiles");
        let error = layout(&template, &[Message::new(Role::Assistant, "a")], None).expect_err("unclear");
        assert_eq!(error.reason(), "spans_unclear");
    }
}
