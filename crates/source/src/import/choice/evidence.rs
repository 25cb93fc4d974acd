//! Evidence of how the answers of a file name options, from all of its records.
//!
//! An answer may have several readings: a number counts from 0 or from 1, `B` is a letter or the text of an option (blood groups).
//! Records with one reading are counted, and ambiguous ones follow them. The counts are a sum over the file's records, so the
//! decision does not depend on the part of the file that is read, or on the order.

use medley_mixture::Rejection;

use super::ChoiceQuestion;

/// A kind of reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// Letters of options.
    Letters,
    /// Texts of options.
    Texts,
    /// Labels of options, such as numbers in the record.
    Labels,
    /// Indices of options, counted from 0.
    From0,
    /// Indices of options, counted from 1.
    From1,
}

/// Letters of options, in the options' order.
pub(super) type Named = Vec<char>;

/// Evidence of how the answers of one file are to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyEvidence {
    /// Answers with a single reading, by [`How`].
    only: [u64; 5],
    /// The smallest and the largest number in an answer, and the largest number of options of those questions.
    numbers: Option<(u64, u64, usize)>,
}

/// Why a question has no right option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// The record is rejected.
    Record(Rejection),
    /// The file's numbers are ambiguous, and the recipe does not set `answers_from`.
    File(super::RecordProblem),
}

impl KeyEvidence {
    /// Adds a record.
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

    /// The reading that the evidence supports.
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

    /// The error that asks for `answers_from`.
    fn undecided(&self) -> Unanswered {
        let (least, most, options) = self.numbers.unwrap_or_default();
        let range = if least == most { format!("always {least}") } else { format!("{least} to {most}") };
        let problem = if self.has(How::From0) && self.has(How::From1) {
            format!(
                "the file's answers are numbers that count the options from 0 in some records and from 1 in others ({range} of {options} options)"
            )
        } else {
            format!(
                "the file's answers are numbers ({range} of {options} options), and no record shows whether they count the options from 0 or from 1"
            )
        };
        let hint =
            "set the number of the first option: `columns = { answers_from = 0 }` or `columns = { answers_from = 1 }`";
        Unanswered::File(super::RecordProblem { problem, hint: hint.to_owned() })
    }
}
