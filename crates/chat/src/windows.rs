//! Generation prompts of a long conversation, rendered within windows of a few turns: linear instead of quadratic time.
//!
//! Templates treat an answer by its neighbours: is it the last turn, does it follow the last question (Qwen3, GLM-4.5 and
//! others drop the reasoning of earlier answers)? So a window begins at a question, and ends with the first answer to a
//! question after its own answers: none of these is the window's last turn or answers its last question unless the whole
//! conversation has it so.
//!
//! A template may still depend on more than neighbours: a switch in a user's turn (`/no_think`) may last until the next one,
//! a reminder may be inserted every N turns. Two checks detect this, and every prefix is rendered in whole if one fails:
//! overlapping windows must agree (an answer after a switch is in a window with it and in one without), and the template's
//! text before an answer must equal the whole conversation's, digits aside.

use std::ops::Range;

use crate::message::{Message, Role};
use crate::spans::{self, Rendered};
use crate::template::ChatTemplate;

/// Answers from the beginning of a window to that of the next.
const STRIDE: usize = 8;

/// Answers in both of two adjacent windows.
const OVERLAP: usize = 4;

/// Least number of messages before a window's first answer.
const LEAD: usize = 5;

/// Messages searched for a window's first or last turn.
const SEARCH: usize = 32;

/// Start of every answer's supervised range. `None` if a window has no bounds or does not render, if two windows differ, or
/// if the template's text before an answer differs from that of the whole conversation.
pub(crate) fn begins(template: &ChatTemplate, whole: &Rendered<'_>) -> Option<Vec<usize>> {
    let count = whole.contents.len();
    let mut begins = Vec::with_capacity(count);
    for first in (0..count).step_by(STRIDE) {
        let found = window(template, whole, first..(first + STRIDE + OVERLAP).min(count))?;
        let (again, new) = found.split_at(begins.len() - first);
        if begins[first..] != *again {
            return None;
        }
        begins.extend(new);
    }
    Some(begins)
}

/// Start of the supervised range of each of `answers` in the whole conversation, from a window around them.
fn window(template: &ChatTemplate, whole: &Rendered<'_>, answers: Range<usize>) -> Option<Vec<usize>> {
    let messages = whole.messages;
    let head = usize::from(messages.first().is_some_and(|message| message.role == Role::System));
    let start = start(messages, head, whole.contents.get(answers.start)?.0)?;
    let end = end(whole, answers.end)?;
    if end - start > 2 * SEARCH + 4 * (STRIDE + OVERLAP) + LEAD {
        return None;
    }
    let part: Vec<Message> = messages[..head].iter().chain(&messages[start..end]).cloned().collect();
    let rendered = spans::rendered(template, &part, None).ok()?;
    let mut begins = Vec::with_capacity(answers.len());
    for answer in answers {
        let (message, content) = &whole.contents[answer];
        let message = message - start + head;
        let place = rendered.contents.iter().position(|(found, _)| *found == message)?;
        let within = &rendered.contents[place].1;
        // The text since the answer before, where the window has that one.
        if let (Some(place), Some(answer)) = (place.checked_sub(1), answer.checked_sub(1)) {
            let ((found, before), (wanted, whole_before)) = (&rendered.contents[place], &whole.contents[answer]);
            let (text, whole_text) =
                (&rendered.text[before.end..within.start], &whole.text[whole_before.end..content.start]);
            if found + start != wanted + head || !is_same_but_for_numbers(text, whole_text) {
                return None;
            }
        }
        let before = rendered.turns.part(0, 0..message);
        let begin = spans::begin(template, &before, &rendered.text, within.start);
        let words = &rendered.text[begin..within.start];
        if !whole.text[..content.start].ends_with(words) {
            return None;
        }
        begins.push(content.start - words.len());
    }
    Some(begins)
}

/// Whether two texts are equal without their digits: templates may number turns.
fn is_same_but_for_numbers(one: &str, other: &str) -> bool {
    let letters = |text: &str| text.bytes().filter(|byte| !byte.is_ascii_digit()).collect::<Vec<_>>();
    one == other || letters(one) == letters(other)
}

/// The end of a window whose answers end before the answer `behind`: the first answer to a later question is the last turn.
fn end(whole: &Rendered<'_>, behind: usize) -> Option<usize> {
    let (messages, rest) = (whole.messages, whole.contents.get(behind..)?);
    let Some((next, _)) = rest.first() else { return Some(messages.len()) };
    let (last, _) = whole.contents.get(behind.checked_sub(1)?)?;
    let is_question = |place: &usize| messages[*place].role == Role::User;
    let Some(question) = (last + 1..messages.len()).find(is_question) else { return Some(messages.len()) };
    let answer = rest.iter().find(|(message, _)| *message > question);
    (question <= next + SEARCH).then(|| answer.map_or(messages.len(), |(message, _)| message + 1))
}

/// The user's turn before the message `answer` where a window begins. Its distance from `head` is even, since templates
/// check that roles alternate by the parity of the index.
fn start(messages: &[Message], head: usize, answer: usize) -> Option<usize> {
    let latest = answer.saturating_sub(LEAD);
    if latest <= head {
        return Some(head);
    }
    let fits = |place: &usize| messages[*place].role == Role::User && (place - head).is_multiple_of(2);
    (head.max(latest.saturating_sub(SEARCH))..=latest).rev().find(fits)
}
