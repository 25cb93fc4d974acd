//! Generation prompts of a long conversation, each rendered within a window of a few turns.

use std::ops::Range;

use crate::message::{Message, Role};
use crate::spans::{self, Rendered};
use crate::template::ChatTemplate;

/// Answers that share a window.
const ANSWERS: usize = 8;

/// Messages of a window before its first answer, at least.
const LEAD: usize = 5;

/// Messages that are looked through for a window's beginning.
const SEARCH: usize = 32;

/// Where the model's writing of every answer begins, as far as a window around it tells. `None` where a window cannot be
/// cut out, cannot be rendered, or does not render as it stands in the whole.
pub(crate) fn begins(template: &ChatTemplate, whole: &Rendered<'_>) -> Option<Vec<usize>> {
    let mut begins = Vec::with_capacity(whole.contents.len());
    for first in (0..whole.contents.len()).step_by(ANSWERS) {
        let answers = first..(first + ANSWERS).min(whole.contents.len());
        window(template, whole, answers, &mut begins)?;
    }
    Some(begins)
}

fn window(template: &ChatTemplate, whole: &Rendered<'_>, answers: Range<usize>, begins: &mut Vec<usize>) -> Option<()> {
    let messages = whole.messages;
    let head = usize::from(messages.first().is_some_and(|message| message.role == Role::System));
    let place = |answer: usize| whole.contents.get(answer).map(|(message, _)| *message);
    let start = start(messages, head, place(answers.start)?)?;
    // One answer more, so that the last of the window is not the last of a conversation unless it is.
    let end = place(answers.end).unwrap_or(messages.len() - 1) + 1;
    if end - start > SEARCH + 4 * ANSWERS + LEAD {
        return None;
    }
    let part: Vec<Message> = messages[..head].iter().chain(&messages[start..end]).cloned().collect();
    let rendered = spans::rendered(template, &part, None).ok()?;
    for answer in answers {
        let (message, content) = &whole.contents[answer];
        let message = message - start + head;
        let (_, within) = rendered.contents.iter().find(|(found, _)| *found == message)?;
        let before = rendered.turns.part(0, 0..message);
        let begin = spans::begin(template, &before, &rendered.text, within.start);
        let words = &rendered.text[begin..within.start];
        if !whole.text[..content.start].ends_with(words) {
            return None;
        }
        begins.push(content.start - words.len());
    }
    Some(())
}

/// A user's turn before the message `answer` where a window may begin: as many turns are left out as keep the places
/// even or odd, which templates look at.
fn start(messages: &[Message], head: usize, answer: usize) -> Option<usize> {
    let latest = answer.saturating_sub(LEAD);
    if latest <= head {
        return Some(head);
    }
    let fits = |place: &usize| messages[*place].role == Role::User && (place - head).is_multiple_of(2);
    (head.max(latest.saturating_sub(SEARCH))..=latest).rev().find(fits)
}
