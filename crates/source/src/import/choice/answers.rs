//! All readings of an answer: by letters, texts, labels or numbers of options, or by a mark for each option.

use medley_mixture::canonical::fold;
use serde_json::Value;
use unicode_normalization::UnicodeNormalization;

use super::super::columns::is_blank;
use super::evidence::{How, Named};
use super::{Choice, ChoiceQuestion, letters};

/// An answer with its readings.
pub(in crate::import) struct Source {
    /// The readings that name options of the question.
    pub(super) readings: Vec<(How, Named)>,
    /// The numbers in it, if it consists of numbers alone.
    pub(super) numbers: Vec<u64>,
}

impl ChoiceQuestion<'_> {
    /// The answers with at least one reading.
    pub(in crate::import) fn readings(&self) -> Vec<Source> {
        let sources = self.answers.iter().filter(|value| !says_nothing(value)).map(|value| self.source(value));
        sources.filter(|source| !source.readings.is_empty()).collect()
    }

    fn source(&self, answer: &Value) -> Source {
        let mut source = Source { readings: Vec::new(), numbers: numbers(answer).unwrap_or_default() };
        type Way<'a> = fn(&ChoiceQuestion<'a>, &Value) -> Option<Named>;
        let ways: [(How, Way<'_>); 5] = [
            (How::Letters, Self::by_letters),
            (How::Labels, Self::by_labels),
            (How::Texts, Self::by_texts),
            (How::From0, |question, answer| question.by_numbers(answer, 0)),
            (How::From1, |question, answer| question.by_numbers(answer, 1)),
        ];
        let only = self.answers_from.filter(|_| !source.numbers.is_empty());
        let only = only.map(|first| if first == 0 { How::From0 } else { How::From1 });
        for (how, read) in ways.into_iter().filter(|(how, _)| only.is_none_or(|only| *how == only)) {
            if let Some(mut named) = read(self, answer) {
                named.sort_unstable_by_key(|letter| self.choices.iter().position(|choice| choice.letter == *letter));
                named.dedup();
                source.readings.push((how, named));
            }
        }
        source
    }

    fn by_letters(&self, answer: &Value) -> Option<Named> {
        match answer {
            Value::String(text) => letters::letters(text, &self.choices),
            Value::Array(list) => self.all_of(list, Self::by_letters),
            Value::Object(fields) => {
                ["label", "letter", "key", "option"].iter().find_map(|key| self.by_letters(fields.get(*key)?))
            }
            _ => None,
        }
    }

    fn by_texts(&self, answer: &Value) -> Option<Named> {
        match answer {
            Value::String(text) => self.with_text(text).or_else(|| self.with_texts(text)),
            Value::Number(number) => self.with_text(&number.to_string()),
            Value::Array(list) => self.all_of(list, Self::by_texts),
            Value::Object(fields) => {
                ["text", "value", "content"].iter().find_map(|key| self.by_texts(fields.get(*key)?))
            }
            _ => None,
        }
    }

    /// By the options' labels in the record: `option2`, or numbers where the labels are numbers.
    fn by_labels(&self, answer: &Value) -> Option<Named> {
        if let Value::Array(list) = answer {
            return self.all_of(list, Self::by_labels);
        }
        if let Some(numbers) = numbers(answer) {
            let with_number = |number: u64| self.choices.iter().find(|choice| choice.number() == Some(number));
            return numbers.into_iter().map(|number| with_number(number).map(|choice| choice.letter)).collect();
        }
        let labels = |text: &str| -> Option<Named> {
            let parts = text.split([',', ';', '|', '，', '；', '、']).map(str::trim).filter(|part| !part.is_empty());
            let with_label = |part: &str| {
                let same = |choice: &&Choice| choice.label.len() > 1 && choice.label.trim().eq_ignore_ascii_case(part);
                self.choices.iter().find(same).map(|choice| choice.letter)
            };
            parts.map(with_label).collect::<Option<Named>>().filter(|named| !named.is_empty())
        };
        labels(answer.as_str()?)
    }

    /// By indices counted from `first`, or by a mark for each option: `[0, 1, 0, 0]`.
    fn by_numbers(&self, answer: &Value, first: u64) -> Option<Named> {
        let with_position = |position: u64| {
            self.choices.iter().find(|choice| choice.position as u64 == position).map(|choice| choice.letter)
        };
        if let Some(marked) = self.marked_by(answer) {
            return marked;
        }
        let is_labelled = self.choices.iter().all(|choice| choice.number().is_some());
        if is_labelled && first == 1 && self.answers_from.is_none() {
            return None;
        }
        let numbers = numbers(answer)?;
        let is_repeated = numbers.iter().enumerate().any(|(index, number)| numbers[..index].contains(number));
        let position = |number: &u64| with_position(number.checked_sub(first)?);
        let named: Option<Named> = numbers.iter().map(position).collect();
        named.filter(|named| !named.is_empty() && !is_repeated)
    }

    /// By a mark for each option: `[false, true, false]`, `[0, 1, 0]`; `None` where the answer is something else. `[0, 1]` for two
    /// options may be marks or indices, so it names none.
    fn marked_by(&self, answer: &Value) -> Option<Option<Named>> {
        let marks = answer.as_array().filter(|marks| marks.len() > 1)?;
        let mark = |value: &Value| {
            value.as_bool().or_else(|| match value.as_u64()? {
                0 => Some(false),
                1 => Some(true),
                _ => None,
            })
        };
        let marks: Vec<bool> = marks.iter().map(mark).collect::<Option<_>>()?;
        let options = self.choices.iter().map(|choice| choice.position + 1).max().unwrap_or_default();
        let are_booleans = answer.get(0).is_some_and(Value::is_boolean);
        if marks.len() == 2 && options == 2 && !are_booleans {
            return Some(None);
        }
        (marks.len() >= options).then(|| {
            let right = |position: usize| {
                self.choices.iter().find(|choice| choice.position == position).map(|choice| choice.letter)
            };
            let named = marks.iter().enumerate().filter(|(_, right)| **right).map(|(position, _)| right(position));
            named.collect::<Option<Named>>().filter(|named| !named.is_empty())
        })
    }

    fn all_of(&self, list: &[Value], read: fn(&Self, &Value) -> Option<Named>) -> Option<Named> {
        let named: Option<Vec<Named>> = list.iter().map(|answer| read(self, answer)).collect();
        named.map(|named| named.concat()).filter(|named| !named.is_empty())
    }

    /// The option with this text; if none has exactly this text, the only one that has it up to case, width and white space.
    pub(super) fn with_text(&self, text: &str) -> Option<Named> {
        let exact = fold(text);
        if let Some(choice) = self.choices.iter().find(|choice| fold(&choice.text) == exact) {
            return Some(vec![choice.letter]);
        }
        let wanted = loose(text);
        let mut same = self.choices.iter().filter(|choice| !wanted.is_empty() && loose(&choice.text) == wanted);
        same.next().filter(|_| same.next().is_none()).map(|choice| vec![choice.letter])
    }

    /// Several texts in one: a JSON list, lines, or parts between separators.
    fn with_texts(&self, text: &str) -> Option<Named> {
        if text.trim_start().starts_with('[')
            && let Ok(Value::Array(list)) = serde_json::from_str(text)
        {
            return self.all_of(&list, Self::by_texts);
        }
        ["\n", ";", "；", "|"].iter().find_map(|separator| {
            let parts = text.split(separator).map(str::trim).filter(|part| !part.is_empty());
            let named = parts.map(|part| self.with_text(part)).collect::<Option<Vec<_>>>()?;
            (named.len() > 1).then(|| named.concat())
        })
    }
}

/// A text normalised for comparison: NFKC, lower case, no white space, no punctuation at the end.
pub(super) fn loose(text: &str) -> String {
    let plain: String =
        text.nfkc().filter(|character| !character.is_whitespace()).flat_map(char::to_lowercase).collect();
    plain.trim_end_matches(['.', '。', ';', ',']).to_owned()
}

/// The numbers of an answer; `None` where it contains anything else.
fn numbers(answer: &Value) -> Option<Vec<u64>> {
    let whole = |number: f64| (number.fract() == 0.0 && (0.0..1e9).contains(&number)).then_some(number as u64);
    match answer {
        Value::Number(number) => whole(number.as_f64()?).map(|number| vec![number]),
        Value::Array(list) if !list.is_empty() => {
            list.iter().map(numbers).collect::<Option<Vec<_>>>().map(|numbers| numbers.concat())
        }
        Value::String(text) => {
            let bare = text.trim().trim_matches(['[', ']', '(', ')', '"', '\'']);
            let parts = bare
                .split(|character: char| ",;|/、，； ".contains(character))
                .map(str::trim)
                .filter(|part| !part.is_empty());
            let number = |part: &str| {
                let is_plain = part.chars().all(|character| character.is_ascii_digit() || character == '.');
                is_plain.then(|| whole(part.parse().ok()?)).flatten()
            };
            parts.map(number).collect::<Option<Vec<u64>>>().filter(|numbers| !numbers.is_empty())
        }
        _ => None,
    }
}

pub(super) fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => is_blank(text),
        Value::Array(list) => list.iter().all(says_nothing),
        // -1 stands for the hidden keys of test splits.
        Value::Number(number) => number.as_f64().is_some_and(|number| number < 0.0),
        _ => false,
    }
}
