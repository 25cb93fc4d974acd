//! Bounds on the length of questions, answers and whole records, in characters.

use std::path::Path;

use medley_chat::{Message, Role};
use medley_mixture::filter::Finding;
use medley_mixture::{Bounds, FilterSpec, Rejection};

use super::{Built, RecordFilter, Verdict};

struct Lengths(Vec<(&'static str, Bounds)>);

pub(super) fn build(spec: &FilterSpec, _folder: &Path) -> Built {
    let bounds: Vec<_> = spec.bounds().collect();
    Ok((!bounds.is_empty()).then(|| Box::new(Lengths(bounds)) as _))
}

impl RecordFilter for Lengths {
    fn judge(&self, messages: &mut [Message]) -> Verdict {
        let of = |wanted: fn(&Message) -> bool| -> usize {
            let turns = messages.iter().filter(|message| wanted(message));
            turns.map(|message| message.content.trim().chars().count()).sum()
        };
        for (name, bounds) in &self.0 {
            let (length, short, long) = match *name {
                "question_chars" => {
                    let length = of(|message| message.role == Role::User);
                    (length, Rejection::QuestionTooShort, Rejection::QuestionTooLong)
                }
                "answer_chars" => (of(is_learned), Rejection::AnswerTooShort, Rejection::AnswerTooLong),
                _ => (of(|_| true), Rejection::TooShort, Rejection::TooLong),
            };
            let reason = match *bounds {
                Bounds { min: Some(min), .. } if length < min => short,
                Bounds { max: Some(max), .. } if length > max => long,
                _ => continue,
            };
            let answer = messages.iter().rfind(|message| is_learned(message)).filter(|_| *name == "answer_chars");
            return Err(match answer {
                Some(answer) => Finding::new(reason, "", answer.content.trim_start(), 0),
                None => Finding::of_record(reason, "", messages),
            });
        }
        Ok(None)
    }
}

fn is_learned(message: &Message) -> bool {
    message.role == Role::Assistant && !message.unlearned
}
