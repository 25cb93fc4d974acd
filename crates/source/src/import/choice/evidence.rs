//! How the answers of a file name options, told by all of its records together.
//!
//! An answer may be read in several ways: a number counts from 0 or from 1, `B` is a letter or the text of an option (blood
//! groups). Most records leave one reading. Those that do are counted, and the others are read as they are. The counts are a
//! sum over the file's records, so every reader of a file takes the same decision, whatever part of it is read in what order.

use medley_mixture::Rejection;

use super::ChoiceQuestion;

/// A way to read an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// The letters of options.
    Letters,
    /// The texts of options.
    Texts,
    /// The options' own numbers, as the record has them.
    Labels,
    /// Numbers of options, counted from 0.
    From0,
    /// Numbers of options, counted from 1.
    From1,
}

/// Letters of options, in the options' order.
pub(super) type Named = Vec<char>;

/// What the records of a file tell of how its answers are to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyEvidence {
    /// Records that can be read in one way only, by [`How`].
    only: [u64; 5],
    /// The least and the greatest of the numbers, and the most options that one of their questions has.
    numbers: Option<(u64, u64, usize)>,
}

/// Why a question has no right option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The record is left out.
    Record(Rejection),
    /// The file cannot be read before it is said how its answers are written.
    File(super::RecordProblem),
}

impl KeyEvidence {
    /// Adds what a record tells.
    pub fn observe(&mut self, question: &ChoiceQuestion<'_>) {
        let sources = question.readings();
        for (index, source) in sources.iter().enumerate() {
            let others = sources.iter().enumerate().filter(|(other, _)| *other != index);
            let fits = |named: &Named| {
                others
                    .clone()
                    .all(|(_, other)| other.readings.iter().any(|(_, set)| question.are_same_options(set, named)))
            };
            let mut ways = source.readings.iter().filter(|(_, named)| fits(named)).map(|(how, _)| *how);
            if let (Some(how), None) = (ways.next(), ways.next()) {
                self.only[how as usize] += 1;
            }
            for number in &source.numbers {
                let (least, most, options) = self.numbers.unwrap_or((*number, *number, 0));
                self.numbers = Some((least.min(*number), most.max(*number), options.max(question.choices.len())));
            }
        }
    }

    fn has(&self, how: How) -> bool {
        self.only[how as usize] > 0
    }

    /// The reading that the file decides for.
    pub(super) fn choose(&self, readings: &[(How, Named)]) -> Result<Named, Unanswered> {
        let is = |how: How| readings.iter().any(|(other, _)| *other == how);
        if is(How::From0) && is(How::From1) && self.has(How::From0) && self.has(How::From1) {
            return Err(self.undecided());
        }
        let mut supported: Vec<&Named> = Vec::new();
        for (_, named) in readings.iter().filter(|(how, _)| self.has(*how)) {
            if !supported.contains(&named) {
                supported.push(named);
            }
        }
        match supported.as_slice() {
            [named] => Ok((*named).clone()),
            [] => match readings.iter().find(|(how, _)| *how == How::Labels) {
                Some((_, named)) if !is(How::Texts) => Ok(named.clone()),
                _ if is(How::From0) && self.only == [0; 5] => Err(self.undecided()),
                _ => Err(Unanswered::Record(Rejection::AnswerAmbiguous)),
            },
            _ => Err(Unanswered::Record(Rejection::AnswerAmbiguous)),
        }
    }

    /// The question that only the recipe can answer.
    fn undecided(&self) -> Unanswered {
        let (least, most, options) = self.numbers.unwrap_or_default();
        let range = if least == most { format!("always {least}") } else { format!("{least} to {most}") };
        let problem = if self.has(How::From0) && self.has(How::From1) {
            format!(
                "the file's answers are numbers that count the options from 0 in some records and from 1 in others ({range} of {options} options)"
            )
        } else {
            format!(
                "the file's answers are numbers ({range} of {options} options), and none of them tells whether they count the options from 0 or from 1"
            )
        };
        let hint = "say what the number of the first option is: `columns = { answers_from = 0 }` or `columns = { answers_from = 1 }`";
        Unanswered::File(super::RecordProblem { problem, hint: hint.to_owned() })
    }
}
